"""The exchange that becomes a tunnel: CONNECT (RFC 9110 section 9.3.6)."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from twistedproxy.access.hosts import canonical_host
from twistedproxy.data_plane import DataPlane
from twistedproxy.downstream_side import Downstream, Protocols
from twistedproxy.errors import AuthorityUnusable, Blocked, FramingError, NotOpened, OwnName, ProxyError
from twistedproxy.http.inner import Inside
from twistedproxy.http.message import Fields, RequestHead
from twistedproxy.http.target import Target, parse_target
from twistedproxy.opaque import OpaqueExchange
from twistedproxy.peek import Peek, Seen, Spoken
from twistedproxy.portal.names import HOSTS
from twistedproxy.record.finished import CLIENT_LEFT
from twistedproxy.tls.authority import AuthorityError
from twistedproxy.tls.client_hello import TLS12, ClientHello
from twistedproxy.tls.leaves import Leaves
from twistedproxy.tls.names import InvalidName, LeafNames, asked_for
from twistedproxy.tls.serving import HTTP1, HTTP2
from twistedproxy.upstream.connector import Connected


class Connect(OpaqueExchange):
    """A CONNECT, from its admission to the end of its tunnel, or until that is opened.

    What may be opened is looked into before anybody is connected to, since requests inside take their connections from
    the pool. It becomes a tunnel when there is nothing to open. Until then the client's transport is ours.
    """

    __slots__ = ("_dialed", "_dialing", "_leaves", "_names", "_peek", "_request_ended", "_target", "_transport")

    def __init__(self, plane: DataPlane, downstream: Downstream, request: RequestHead) -> None:
        super().__init__(plane, downstream, request)
        self._target: Target
        self._dialing: Deferred[Connected] | None = None
        self._dialed: socket.socket | None = None
        self._request_ended = False
        # What it is opened with, when it may be.
        self._names: LeafNames
        self._leaves: Leaves | None = None
        self._peek: Peek | None = None
        self._transport: Any = None

    def start(self) -> None:
        """Admit it, and connect to where it leads, or get ready to look at what its client says first."""
        try:
            request = self.admit()
            if request.length:
                # What follows a CONNECT is the tunnel's; content would be one thing to us and another to others.
                raise FramingError("a CONNECT has no content")
            self._target = parse_target(request.method, request.target)
            if self.identify():
                self.go_on()
        except ProxyError as error:
            self.fail(error)

    def go_on(self) -> None:
        """The stages after it is known whose tunnel it is. Raises `ProxyError`."""
        target = self._target
        if target.host in HOSTS:
            raise OwnName()
        self.snapshot.access.check_connect_port(target.port)
        if self.snapshot.rules is not None:
            self.judge(target)
        if self.snapshot.routes is not None:
            target = self._target = self.find_way(target)
        self._check_lists(target.host)
        if self.snapshot.limits is None or self.is_let_in(True):
            self.set_out()

    def set_out(self) -> None:
        self.kind = "tunnel"
        if self._may_open():
            leaves = self.plane.issuer.leaves()
            leaves.addCallbacks(self._can_open, self._cannot_open)
            leaves.addErrback(self._broke)
        else:
            self._dial()

    def _check_lists(self, host: str) -> None:
        """Raise `Blocked` when a list blocks ``host``; more than that of a URL is not known of a tunnel."""
        if self.blocklists is not None:
            self.check_lists(host, "https", self._target.port, b"/")

    def _dial(self) -> None:
        target = self._target
        dialer = self.plane.dialer
        if self.route is not None:
            request = self.request
            assert request is not None
            vias = request.fields.values(b"via")
            dialing = dialer.parents.connect(self.route, target.host, target.port, self.snapshot, vias)
        else:
            dialing = dialer.dial(
                target.host,
                target.port,
                self.destinations or self.snapshot.access,
                self.snapshot.settings.upstream.connect_timeout,
                self.client_address,
            )
        self._dialing = dialing
        dialing.addCallbacks(self._connected, self._not_connected)
        dialing.addErrback(self._broke)

    def request_ended(self, trailers: Fields) -> None:
        self._request_ended = True
        if self._dialed is not None:
            self._begin_tunnel()
        elif self._leaves is not None:
            self._look_inside()

    def _connected(self, dialed: Connected) -> None:
        self._dialing = None
        self.connect_seconds = self.plane.deadlines.seconds() - self.started_at
        self.connected_to(dialed.address_text)
        self._dialed = dialed.socket
        if self._request_ended:
            self._begin_tunnel()

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

    # ------------------------------------------------------------ a tunnel

    def _established(self) -> bool:
        """Say that there is a tunnel; whether there still is a client."""
        downstream = self.downstream
        self.status = 200
        downstream.send_established()
        downstream.flush()
        if downstream.broken:
            return False
        if downstream.full:
            # It is the first thing said on this connection: a client without room for it is not reading at all.
            self.stop("client_stalled")
            return False
        return True

    def _begin_tunnel(self) -> None:
        peek, self._peek = self._peek, None
        if peek is not None:
            peek.stop()
            transport, received = self._transport, bytes(peek.received)
            transport.resumeProducing()
        elif self.blocklists is not None:
            # Whom the tunnel is for may be said only in there.
            self._look_inside()
            return
        elif self._established():
            transport, received = self.downstream.detach()
        else:
            return
        upstream, self._dialed = self._dialed, None
        self._transport = None
        self.become_relay(transport, upstream, received, b"")

    # ------------------------------------------------------------ a look inside

    def _may_open(self) -> bool:
        target = self._target
        client = self.client_address
        if not self.snapshot.interception.opens(target.host, target.port, client, self.profile.intercept):
            return False
        if self.plane.rejections.learned(client, canonical_host(target.host)):
            return False
        try:
            self._names = asked_for(target.host)
        except InvalidName:
            # No client takes a certificate for it.
            return False
        return True

    def _can_open(self, leaves: Leaves) -> None:
        if not self.over:
            self._leaves = leaves
            if self._request_ended:
                self._look_inside()

    def _cannot_open(self, failure: Failure) -> None:
        failure.trap(AuthorityError)
        self.fail(AuthorityUnusable())

    def _look_inside(self) -> None:
        if self._established():
            self._transport, received = self.downstream.detach()
            seconds = self.snapshot.settings.intercept.peek_timeout
            self._peek = Peek(self._transport, received, self._seen, self._left, self.plane.deadlines, seconds)
            self._peek.start()

    def _seen(self, what: Seen) -> None:
        """The client has said enough to decide what becomes of it."""
        if isinstance(what, ClientHello) and what.server_name:
            try:
                self._check_lists(what.server_name)
            except Blocked as error:
                self.fail(error)
                return
        if self._dialed is not None:
            # It was only about the name.
            self._begin_tunnel()
        elif isinstance(what, ClientHello):
            if self._is_for_us(what):
                self._open_tls()
            else:
                self._leave_alone()
        elif what is Spoken.HTTP:
            self._open(b"http", None)
        elif self.snapshot.settings.intercept.unreadable == "refuse":
            self.fail(NotOpened())
        else:
            self._leave_alone()

    def _is_for_us(self, hello: ClientHello) -> bool:
        """Whether it names who was asked for, and HTTP over a version of TLS that we speak can come of it.

        Encrypted Client Hello does not matter: where it is meant, the name outside is not that of who was asked for.
        """
        return (
            canonical_host(hello.server_name) in ("", canonical_host(self._target.host))
            and (not hello.protocols or not set(self._protocols()).isdisjoint(hello.protocols))
            and max(hello.versions, default=0) >= TLS12
        )

    def _protocols(self) -> Protocols:
        """What may be spoken inside, the best first."""
        use = self.snapshot.http2
        return (HTTP2, HTTP1) if use.with_client(self.downstream.listener, self._target.host) else (HTTP1,)

    def _leave_alone(self) -> None:
        """It becomes a tunnel after all."""
        self._transport.pauseProducing()
        self._dial()

    def _open_tls(self) -> None:
        leaves = self._leaves
        assert leaves is not None
        try:
            # What the server has shown before is what its client would have seen (RFC 9525 section 6.3).
            names = self.plane.pool.tls.leaf_names(self._target.host, self._target.port) or self._names
            context = leaves.context(names)
        except AuthorityError:
            # It ended in this moment; the next tunnel is told in time.
            self.fail(AuthorityUnusable())
        else:
            self._open(b"https", context, self._protocols())

    def _open(self, scheme: bytes, context: Any, protocols: Protocols = ()) -> None:
        """What comes now are requests for the origin, each an exchange of its own."""
        peek, self._peek = self._peek, None
        assert peek is not None
        peek.stop()
        transport, self._transport = self._transport, None
        self.kind = "intercept"
        inside = Inside.of(scheme, self._target.host, self._target.port)
        receive = self.downstream.open_up(transport, inside, context, protocols)
        self.finish()
        receive(bytes(peek.received))

    def _left(self) -> None:
        self.client_left(CLIENT_LEFT)

    # ------------------------------------------------------------ the end

    def fail(self, error: ProxyError) -> None:
        if self._transport is None:
            super().fail(error)
        elif not self.over:
            # It was told that there is a tunnel, and nothing more can be said in there.
            self.detail = error.detail
            self._break_off(error.reason)

    def stop(self, reason: str) -> None:
        if self._transport is None:
            super().stop(reason)
        elif not self.over:
            self._break_off(reason)

    def _break_off(self, reason: str) -> None:
        transport = self._transport
        self.release()
        self.finish(reason)
        transport.abortConnection()

    def release(self) -> None:
        self._transport = None
        if self._peek is not None:
            self._peek.stop()
            self._peek = None
        if self._dialing is not None:
            dialing, self._dialing = self._dialing, None
            dialing.cancel()
        if self._dialed is not None:
            self._dialed.close()
            self._dialed = None
