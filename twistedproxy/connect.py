"""The exchange that becomes a tunnel: CONNECT (RFC 9110 section 9.3.6)."""

from __future__ import annotations

import socket

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from twistedproxy.data_plane import DataPlane
from twistedproxy.errors import FramingError, ProxyError
from twistedproxy.exchange import Downstream
from twistedproxy.http.message import Fields, RequestHead
from twistedproxy.http.target import parse_target
from twistedproxy.opaque import OpaqueExchange
from twistedproxy.upstream.connector import Connected


class Connect(OpaqueExchange):
    """A CONNECT, from its admission to the end of its tunnel."""

    __slots__ = ("_dialed", "_dialing", "_request_ended")

    def __init__(self, plane: DataPlane, downstream: Downstream, request: RequestHead) -> None:
        super().__init__(plane, downstream, request)
        self._dialing: Deferred[Connected] | None = None
        self._dialed: socket.socket | None = None
        self._request_ended = False

    def start(self) -> None:
        """Admit it, and connect to where it leads."""
        try:
            request = self.admit()
            if request.length:
                # What follows a CONNECT is the tunnel's; content would be one thing to us and another to others.
                raise FramingError("a CONNECT has no content")
            target = parse_target(request.method, request.target)
            self.snapshot.access.check_connect_port(target.port)
        except ProxyError as error:
            self.fail(error)
            return
        self.kind = "tunnel"
        self._dialing = dialing = self.plane.dialer.dial(
            target.host,
            target.port,
            self.snapshot.access,
            self.snapshot.settings.upstream.connect_timeout,
            self.client_address,
        )
        dialing.addCallbacks(self._connected, self._not_connected)
        dialing.addErrback(self._broke)

    def request_ended(self, trailers: Fields) -> None:
        self._request_ended = True
        if self._dialed is not None:
            self._begin_tunnel(self._dialed)

    def _connected(self, dialed: Connected) -> None:
        self._dialing = None
        self.connect_seconds = self.plane.deadlines.seconds() - self.started_at
        self.upstream_address = dialed.address_text
        self._dialed = dialed.socket
        if self._request_ended:
            self._begin_tunnel(dialed.socket)

    def _not_connected(self, failure: Failure) -> None:
        error = failure.value
        if self._dialing is None:
            # `release` has given it up; whoever called that knows why.
            failure.trap(ProxyError, CancelledError)
        elif isinstance(error, ProxyError):
            self._dialing = None
            self.fail(error)
        else:
            failure.raiseException()

    def _broke(self, failure: Failure) -> None:
        self._log.failure("{exchange!r} met a fault of the proxy's own", failure, exchange=self)
        self.fail(ProxyError())

    def _begin_tunnel(self, upstream: socket.socket) -> None:
        downstream = self.downstream
        self.status = 200
        downstream.send_established()
        downstream.flush()
        if downstream.broken:
            return
        if downstream.full:
            # It is the first thing said on this connection: a client without room for it is not reading at all.
            self.stop("client_stalled")
            return
        self._dialed = None
        transport, to_upstream = downstream.detach()
        self.become_relay(transport, upstream, to_upstream, b"")

    def release(self) -> None:
        if self._dialing is not None:
            dialing, self._dialing = self._dialing, None
            dialing.cancel()
        if self._dialed is not None:
            self._dialed.close()
            self._dialed = None
