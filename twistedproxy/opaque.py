"""How two connections stop being HTTP and become a relay: after CONNECT, and after 101."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Protocol

from twistedproxy.data_plane import DataPlane
from twistedproxy.downstream_side import Downstream
from twistedproxy.errors import LimitReached
from twistedproxy.exchange import Exchange
from twistedproxy.http.message import RequestHead
from twistedproxy.limits.hold import Hold
from twistedproxy.settings.types import TunnelSettings
from twistedproxy.tunnel.copying import CopyingRelay, Observer
from twistedproxy.tunnel.relay import Relay
from twistedproxy.tunnel.splice import SPLICE_AVAILABLE, SpliceRelay
from twistedproxy.upstream.adopting import Only, adopt


class OpaqueExchange(Exchange):
    """The base of the exchanges whose connections can become a relay; their record then comes at its end."""

    __slots__ = ("_relay",)

    def __init__(self, plane: DataPlane, downstream: Downstream, request: RequestHead) -> None:
        super().__init__(plane, downstream, request)
        self._relay: Relay | None = None

    def become_relay(
        self, client: Any, upstream: Any, to_upstream: bytes, to_client: bytes, observer: Observer | None = None
    ) -> None:
        """Relay between ``client`` and ``upstream``, after what either has said already; see `relay_between`."""
        relay = self._relay = relay_between(
            self.plane,
            self.snapshot.settings.tunnel,
            client,
            upstream,
            to_upstream=to_upstream,
            to_client=to_client,
            ended=self._relay_ended,
            observer=observer,
            hold=self.hold,
        )
        relay.start()

    @property
    def relaying(self) -> bool:
        """Whether it has become a relay."""
        return self._relay is not None

    @property
    def relayed(self) -> tuple[int, int]:
        """The bytes that its relay has moved so far, from the client and to it."""
        relay = self._relay
        return (0, 0) if relay is None else (relay.bytes_to_upstream, relay.bytes_to_client)

    def moved_so_far(self) -> tuple[int, int, int, int]:
        from_client, to_client, to_upstream, from_upstream = super().moved_so_far()
        up, down = self.relayed
        return from_client + up, to_client + down, to_upstream + up, from_upstream + down

    def _relay_ended(self, relay: Relay) -> None:
        # `finish` takes these two from what the connection had counted before it was detached.
        self.bytes_from_client -= relay.bytes_to_upstream
        self.bytes_to_client -= relay.bytes_to_client
        self.bytes_to_upstream += relay.bytes_to_upstream
        self.bytes_from_upstream += relay.bytes_to_client
        self._relay = None
        self.finish(relay.reason)

    def exceeded(self, error: LimitReached) -> None:
        if self._relay is None:
            super().exceeded(error)
        else:
            self.detail = error.detail
            self._relay.stop(error.reason)

    def stop(self, reason: str) -> None:
        if self._relay is not None:
            self._relay.stop(reason)
        else:
            super().stop(reason)


def relay_between(
    plane: DataPlane,
    settings: TunnelSettings,
    client: Any,
    upstream: Any,
    *,
    to_upstream: bytes,
    to_client: bytes,
    ended: Callable[[Relay], None],
    observer: Observer | None = None,
    hold: Hold | None = None,
) -> Relay:
    """The relay that suits two connections, which it owns from now on. ``hold`` is what limits it.

    ``client`` is a transport, ``upstream`` a transport or a bare socket. Splice needs the sockets themselves on both
    sides; where there is more than a socket, such as TLS, the relay copies, and for an ``observer`` too.
    """
    meters = (None, None) if hold is None else (hold.up, hold.down)
    client_socket = _socket_of(client)
    upstream_socket = upstream if isinstance(upstream, socket.socket) else _socket_of(upstream)
    spliced = settings.splice and SPLICE_AVAILABLE and observer is None
    if spliced and client_socket is not None and upstream_socket is not None:
        _let_go(client)
        if upstream is not upstream_socket:
            _let_go(upstream)
        return SpliceRelay(
            client_socket,
            upstream_socket,
            to_upstream=to_upstream,
            to_client=to_client,
            idle_timeout=settings.idle_timeout,
            ended=ended,
            deadlines=plane.deadlines,
            pipes=plane.pipes,
            reactor=plane.reactor,
            meters=meters,
        )
    if upstream is upstream_socket:
        upstream = _adopt(plane.reactor, upstream_socket)
    return CopyingRelay(
        client,
        upstream,
        to_upstream=to_upstream,
        to_client=to_client,
        idle_timeout=settings.idle_timeout,
        ended=ended,
        deadlines=plane.deadlines,
        observer=observer,
        meters=meters,
    )


def _socket_of(transport: Any) -> socket.socket | None:
    """The socket under a transport, when there is nothing more to it than that."""
    get_handle = getattr(transport, "getHandle", None)
    handle = get_handle() if get_handle is not None else None
    return handle if type(handle) is socket.socket else None


def _let_go(transport: Any) -> None:
    """Make the reactor and the transport forget about the socket, without closing it."""
    transport.stopReading()
    transport.stopWriting()
    # The two know each other, and nobody else knows them: broken here, they need no garbage collector.
    transport.protocol = None
    # Whatever somebody may still ask of it must not touch a socket that is not its own any more.
    transport.connected = 0
    transport.disconnected = 1


def _adopt(reactor: Any, sock: socket.socket) -> Any:
    """A transport of the reactor's for a connected socket."""
    made = Protocol()
    adopt(reactor, sock, Only(made))
    return made.transport
