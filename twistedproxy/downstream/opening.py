"""How a connection that carried a CONNECT goes on as one to the origin itself.

Its requests are those of a `DownstreamConnection`, made absolute. Whether its client takes our certificate is told by
how it ends: an alert says so (RFC 8446 section 6.2), in TLS 1.3 perhaps after a handshake that was complete for us; and
some clients just close in the middle of one. A connection that was made in advance and is never used has completed its
handshake, and says nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IHandshakeListener, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedproxy.access.hosts import canonical_host
from twistedproxy.connect import Connect
from twistedproxy.data_plane import DataPlane
from twistedproxy.downstream.http1 import DownstreamConnection
from twistedproxy.errors import ProxyError
from twistedproxy.forward import Forward
from twistedproxy.http.inner import Inside, make_absolute
from twistedproxy.tls.serving import REFUSING_ALERTS
from twistedproxy.tunnel.copying import give

if TYPE_CHECKING:
    from twistedproxy.downstream.factory import DownstreamFactory


@implementer(IHandshakeListener)
class InnerConnection(DownstreamConnection):
    """A client's connection to one origin, through a tunnel that was opened; ``secured`` with TLS, or plain.

    To everybody who counts, it is the connection ``outer``, which it goes on with.
    """

    _log = Logger()

    def __init__(
        self, factory: DownstreamFactory, plane: DataPlane, outer: DownstreamConnection, inside: Inside, secured: bool
    ) -> None:
        super().__init__(factory, plane, outer.client_address, outer.client_port)
        self.number = outer.number
        self.opened_at = outer.opened_at
        self.alert = 0
        """The last alert that the client sent; 0 when there was none, or one that only says that it closes."""
        self._inside = inside
        self._untried = secured
        self._handshaken = False

    def handshakeCompleted(self) -> None:
        """TLS stands, as far as we can tell."""
        self._handshaken = True

    def _start(self, exchange: Connect | Forward) -> None:
        request = exchange.request
        assert request is not None
        if self._untried:
            self._untried = False
            self._plane.rejections.accepted(self.client_address, canonical_host(self._inside.host))
        try:
            make_absolute(request, self._inside)
        except ProxyError as error:
            exchange.fail(error)
        else:
            super()._start(exchange)

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's default
        ended_by_us = self.gone or self.lingering
        if self._untried and not ended_by_us and (self.alert in REFUSING_ALERTS or not self._handshaken):
            self._rejected()
        super().connectionLost(reason)

    def _rejected(self) -> None:
        host = canonical_host(self._inside.host)
        if self._plane.rejections.rejected(self.client_address, host):
            self._log.info(
                "{client} does not take our certificate for {host}: its tunnels there are left alone",
                client=self.client_address,
                host=host,
            )


def begin(
    inner: InnerConnection, transport: Any, context: SSL.Context | None, reactor: Any
) -> Callable[[bytes], object]:
    """Let ``inner`` have ``transport``; with ``context`` through TLS. What comes back takes the bytes that came."""
    protocol: Any = inner
    if context is not None:
        factory = TLSMemoryBIOFactory(_Server(context), False, _Only(inner), clock=reactor)
        protocol = factory.buildProtocol(None)
    give(transport, protocol)
    protocol.makeConnection(transport)
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

    def __init__(self, made: InnerConnection) -> None:
        self._made = made

    def buildProtocol(self, addr: IAddress | None) -> InnerConnection:
        return self._made
