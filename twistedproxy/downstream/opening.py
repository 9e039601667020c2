"""How a connection that carried a CONNECT goes on as one to the origin itself.

Through TLS the handshake decides which version of HTTP is spoken (ALPN), and until then the connection is a
`Handshake`. Whether its client takes our certificate is told by how it ends: an alert says so (RFC 8446 section 6.2),
in TLS 1.3 perhaps after a handshake that was complete for us; and some clients just close in the middle of one. A
connection that was made in advance and is never used has completed its handshake, and says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IHandshakeListener, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import ServerFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedproxy.connect import Connect
from twistedproxy.data_plane import DataPlane
from twistedproxy.downstream.connection import LINGER, ClientConnection
from twistedproxy.downstream.http1 import DownstreamConnection
from twistedproxy.downstream.http2 import HTTP2Connection
from twistedproxy.downstream.opened_tunnel import OpenedTunnel
from twistedproxy.downstream_side import Protocols
from twistedproxy.exchange import Exchange
from twistedproxy.forward import Forward
from twistedproxy.http.inner import Inside
from twistedproxy.tls.serving import HTTP2
from twistedproxy.tls_transport import TLSTransportFactory
from twistedproxy.tunnel.copying import give

if TYPE_CHECKING:
    from twistedproxy.downstream.factory import DownstreamFactory


class InnerConnection(DownstreamConnection):
    """A client's HTTP/1.1 connection to one origin, through a tunnel that was opened; with TLS, or plain."""

    def __init__(
        self, factory: DownstreamFactory, plane: DataPlane, outer: ClientConnection, tunnel: OpenedTunnel
    ) -> None:
        super().__init__(factory, plane, outer.client_address, outer.client_port, outer.listener)
        self._tunnel = tunnel

    def alert_received(self, alert: int) -> None:
        """The client has sent an alert of TLS."""
        self._tunnel.alert = alert

    def _start(self, exchange: Connect | Forward) -> None:
        self._tunnel.start(exchange)

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's default
        self._tunnel.connection_lost(by_us=self.gone or self.lingering)
        super().connectionLost(reason)


@implementer(IHandshakeListener)
class Handshake(ClientConnection):
    """A client's connection through a tunnel that was opened, until TLS stands there.

    ``protocols`` may be spoken then, the best first.
    """

    def __init__(
        self,
        factory: DownstreamFactory,
        plane: DataPlane,
        outer: ClientConnection,
        tunnel: OpenedTunnel,
        protocols: Protocols,
    ) -> None:
        super().__init__(factory, plane, outer.client_address, outer.client_port, outer.listener)
        self.protocols = protocols
        self._tunnel = tunnel

    @property
    def exchanges(self) -> Sequence[Exchange]:
        return ()

    @property
    def received(self) -> int:
        return 0

    @property
    def sent(self) -> int:
        return 0

    def connectionMade(self) -> None:
        self._deadlines.expire_in(self, self._settings.idle_timeout)

    def alert_received(self, alert: int) -> None:
        """The client has sent an alert of TLS."""
        self._tunnel.alert = alert

    def handshakeCompleted(self) -> None:
        """TLS stands, as far as we can tell."""
        self._tunnel.proven = True
        self._deadlines.forget(self)
        transport = self._transport
        kind = HTTP2Connection if transport.negotiatedProtocol == HTTP2 else InnerConnection
        chosen = kind(self._factory, self._plane, self, self._tunnel)

        def connect() -> None:
            give(transport, chosen)
            chosen.makeConnection(transport)

        self._factory.replace(self, chosen, connect)

    def deadline_passed(self) -> None:
        self._leave()
        self._transport.abortConnection()

    def drain(self) -> None:
        self._deadlines.expire_in(self, LINGER)

    def stop(self, reason: str) -> None:
        self.deadline_passed()

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's default
        self._tunnel.connection_lost(by_us=self.gone)
        self._leave()


def begin(
    factory: DownstreamFactory,
    plane: DataPlane,
    outer: ClientConnection,
    transport: Any,
    inside: Inside,
    context: SSL.Context | None,
    protocols: Protocols,
) -> Callable[[bytes], object]:
    """Go on with ``outer``'s ``transport`` as a connection to ``inside``; with ``context`` through TLS.

    What comes back takes the bytes that came.
    """
    # Whose CONNECT it was.
    account = next((exchange.account for exchange in outer.exchanges), None)
    tunnel = OpenedTunnel(plane, outer.client_address, inside, context is not None, account)
    inner: ClientConnection
    protocol: Any
    if context is None:
        inner = protocol = InnerConnection(factory, plane, outer, tunnel)
    else:
        inner = handshake = Handshake(factory, plane, outer, tunnel, protocols)
        only, turn = _Only(handshake), plane.deadlines.turn
        secured = TLSTransportFactory(_Server(context), False, only, plane.reactor, turn, plane.records)
        protocol = secured.buildProtocol(None)

    def connect() -> None:
        give(transport, protocol)
        protocol.makeConnection(transport)

    factory.replace(outer, inner, connect)
    return protocol.dataReceived  # type: ignore[no-any-return]  # Twisted's are not typed


@implementer(IOpenSSLServerConnectionCreator)
class _Server:
    """Makes a server's side of TLS."""

    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        connection.set_app_data(tlsProtocol)
        return connection


class _Only(ServerFactory):
    """Makes the one protocol that there is already."""

    noisy = False

    def __init__(self, made: Handshake) -> None:
        self._made = made

    def buildProtocol(self, addr: IAddress | None) -> Handshake:
        return self._made
