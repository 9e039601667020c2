"""The exchange that is forwarded to an origin: the stages of an ordinary request, in order."""

from __future__ import annotations

from twistedproxy.access.blocklists.names import is_address
from twistedproxy.accounts.account import Account
from twistedproxy.data_plane import DataPlane
from twistedproxy.downstream_side import Downstream
from twistedproxy.errors import NoCommonVersion, NotAProxyRequest, ProxyError, RequestError, UpgradeFailed
from twistedproxy.http.forwarding import (
    authenticates_connection,
    forwarded_trailer_lines,
    max_forwards,
    upgrade_offered,
)
from twistedproxy.http.grammar import list_tokens
from twistedproxy.http.message import HTTP2, NO_OPTIONS, FieldLine, Fields, RequestHead, ResponseHead
from twistedproxy.http.target import Form, Target, parse_target
from twistedproxy.http.writer import field_section, request_bytes
from twistedproxy.opaque import OpaqueExchange
from twistedproxy.portal.names import HOSTS
from twistedproxy.portal.visit import visit, visit_as_origin
from twistedproxy.privacy.names import NameRules
from twistedproxy.privacy.policy import Privacy
from twistedproxy.record.finished import CLIENT_LEFT
from twistedproxy.upstream.carrier import Carrier, Key
from twistedproxy.upstream.ticket import Ticket
from twistedproxy.watching import watch

# RFC 9110 section 9.2.2.
_IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))

_WEBSOCKET = b"websocket"

_ALLOW = b"CONNECT, DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, TRACE"

# RFC 9110 section 9.3.8: what a TRACE must not tell.
_SECRET_FIELDS = frozenset((b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"))


class Forward(OpaqueExchange):
    """A request on its way to an origin, and the response on its way back."""

    __slots__ = (
        "_alone",
        "_discretion",
        "_held",
        "_request_ended",
        "_response_options",
        "_retried",
        "_sent_before",
        "_target",
        "_ticket",
        "_trailers",
        "_upgrade",
        "_upstream",
    )

    def __init__(self, plane: DataPlane, downstream: Downstream, request: RequestHead) -> None:
        super().__init__(plane, downstream, request)
        self._target: Target
        self._upgrade: tuple[bytes, ...] = ()
        # Whether it needs a connection of its own.
        self._alone = False
        self._upstream: Carrier | None = None
        self._ticket: Ticket | None = None
        self._held: list[bytes] = []
        self._trailers: list[FieldLine] = []
        self._request_ended = False
        self._retried = False
        self._sent_before = 0
        self._response_options = NO_OPTIONS
        # What the client is not to learn of the response.
        self._discretion: NameRules | None = None

    def start(self) -> None:
        """Take the request through its stages until it is on its way, waits for something, or has an answer."""
        try:
            request = self.admit()
            self._target = parse_target(request.method, request.target)
            if self.identify():
                self.go_on()
        except NotAProxyRequest as error:
            self._asked_as_origin(error)
        except ProxyError as error:
            self.fail(error)

    def go_on(self) -> None:
        """The stages after it is known whose request it is. Raises `ProxyError`."""
        request = self.request
        assert request is not None
        target = self._target
        if target.host in HOSTS:
            visit(self, target)
            return
        if request.method == b"TRACE" and request.length:
            raise RequestError("a TRACE has no content")
        if target.form is Form.ASTERISK or max_forwards(request) == 0:
            self._answer(request)
            return
        if self.snapshot.rules is not None:
            self.judge(target)
        if self.snapshot.routes is not None:
            target = self._target = self.find_way(target)
        if self.blocklists is not None:
            self.check_lists(target.host, target.scheme, target.port, target.path)
        if b"upgrade" in request.options:
            self._upgrade = upgrade_offered(request)
        if self.snapshot.limits is None or self.is_let_in(bool(self._upgrade)):
            self.set_out()

    def set_out(self) -> None:
        request = self.request
        assert request is not None
        target = self._target
        self.kind = "forward"
        key = self._key()
        pool = self.plane.pool
        carrier: Carrier | None = None
        if self._upgrade:
            self._alone = True
            if len(self._upgrade) == 1 and self._upgrade[0].lower() == _WEBSOCKET:
                carrier = pool.websocket_stream(key, self.destinations)
        elif target.scheme == "https":
            mirrored = self.snapshot.http2.mirrors and request.version != HTTP2 and not pool.knows_no_http1(key)
            self._alone = mirrored or authenticates_connection(request)
        if carrier is None:
            carrier = pool.take_idle(key, request.method not in _IDEMPOTENT, self._alone, self.destinations)
        if carrier is None:
            self._acquire()
        else:
            self._use(carrier)

    def identified(self, account: Account) -> None:
        super().identified(account)
        self._catch_up()

    def may_enter(self) -> None:
        super().may_enter()
        self._catch_up()

    def _catch_up(self) -> None:
        """Go on with the content that was held up, if there is somebody to send it to: nobody else tells of a turn."""
        if self._upstream is not None:
            self.request_turn_ended()
            self._let_request_go_on()

    def _asked_as_origin(self, error: NotAProxyRequest) -> None:
        """Somebody speaks to us as to a web server."""
        try:
            visit_as_origin(self, error)
        except ProxyError as wrong:
            self.fail(wrong)

    def _answer(self, request: RequestHead) -> None:
        """Answer as the last recipient: ``OPTIONS *``, or Max-Forwards has come to its end."""
        self.status = 200
        if request.method == b"TRACE":
            lines = [line for line in request.fields.lines if line[0].lower() not in _SECRET_FIELDS]
            content = request_bytes(request.method, request.target, field_section(lines))
            self.downstream.send_answer(200, [(b"Content-Type", b"message/http")], content)
        else:
            self.downstream.send_answer(200, [(b"Allow", _ALLOW)], b"")
        self.finish()

    # ------------------------------------------------------------ the connection to the origin

    def _key(self) -> Key:
        """What connection carries it."""
        target = self._target
        route = self.route
        if route is None:
            return (target.scheme, target.host, target.port, "")
        if route.forwards and target.scheme == "http" and not self._upgrade:
            return ("http", "", 0, route.name)
        # An upgrade needs a tunnel (RFC 6455 section 4.1): most proxies take no other.
        return (target.scheme, target.host, target.port, route.name)

    def _acquire(self) -> None:
        self._ticket = self.plane.pool.acquire(
            self._key(), self, self.snapshot, self.client_address, self._alone, self.destinations
        )

    def upstream_ready(self, carrier: Carrier) -> None:
        """The pool has a connection."""
        self._ticket = None
        if not carrier.exchanges:
            self.connect_seconds = self.plane.deadlines.seconds() - self.started_at
        self._use(carrier)
        self._catch_up()

    def upstream_failed(self, error: ProxyError) -> None:
        """The pool has none."""
        self._ticket = None
        if isinstance(error, NoCommonVersion) and self._alone and not (self._retried or self._upgrade):
            # HTTP/1.1 was only what the client speaks.
            self._retried = True
            self._alone = False
            self._acquire()
        else:
            self.fail(error)

    def _use(self, carrier: Carrier) -> None:
        request = self.request
        assert request is not None
        self._upstream = carrier
        self.connected_to(carrier.address)
        self.reused = carrier.exchanges > 0
        self._sent_before = carrier.sent
        self.bytes_from_upstream = -carrier.received
        target = self._target
        if self.blocklists is not None and target.scheme == "https" and not self._takes_server(target):
            return
        if self.snapshot.privacy is not None and (privacy := self._privacy()) is not None:
            request, target, self._discretion = privacy.request(request, target, self.client_address)
        hold = self.hold
        if hold is not None and hold.up is not None and hold.down is not None:
            hold.up.go_on, hold.down.go_on = self._let_request_go_on, self._response_rested
        carrier.send_head(self, request, target, self.snapshot.via, self._upgrade)
        if self._held:
            for content in self._held:
                carrier.send_content(content)
            self._held.clear()
        if self._request_ended:
            self._send_end(carrier)

    def _send_end(self, carrier: Carrier) -> None:
        trailers = self._trailers
        if trailers and (privacy := self._privacy()) is not None:
            trailers = privacy.request_trailers(trailers)
        carrier.send_end(trailers)

    def _privacy(self) -> Privacy | None:
        privacy = self.snapshot.privacy
        return None if privacy is None else privacy.towards(self._target.host)

    def _takes_server(self, target: Target) -> bool:
        """Whether no list blocks the server, where only its certificate says who it is.

        Where a name was asked for, that is held against the lists, and others in the certificate are its neighbours'.
        """
        if not is_address(target.host.encode("ascii")):
            return True
        names = self.plane.pool.tls.leaf_names(target.host, target.port)
        try:
            for host in names.hosts if names is not None else ():
                self.check_lists(host, target.scheme, target.port, target.path)
        except ProxyError as error:
            self.fail(error)
            return False
        return True

    # ------------------------------------------------------------ the request, as it comes

    def request_content(self, content: bytes) -> None:
        upstream = self._upstream
        if upstream is not None:
            upstream.send_content(content)
        elif not self.over:
            self._held.append(content)
            self.downstream.pause_request()

    def request_ended(self, trailers: Fields) -> None:
        self._request_ended = True
        if trailers.lines:
            request = self.request
            assert request is not None
            self._trailers = forwarded_trailer_lines(trailers, request.options)
        if self._upstream is not None:
            self._send_end(self._upstream)

    def request_turn_ended(self) -> None:
        upstream = self._upstream
        if upstream is not None:
            upstream.flush()
            if self._request_ended:
                return
            if upstream.full:
                self.downstream.pause_request()
            if self._rests(upload=True):
                self.downstream.pause_request()

    def request_room_made(self) -> None:
        """The origin reads again."""
        if not self._rests(upload=True):
            self.downstream.resume_request()

    def _let_request_go_on(self) -> None:
        """More of the request may come, as far as the client and the limits are concerned."""
        upstream = self._upstream
        if upstream is not None and not (upstream.full or self._request_ended or self._rests(upload=True)):
            self.downstream.resume_request()

    # ------------------------------------------------------------ the response, as it comes

    def response_began(self, head: ResponseHead) -> None:
        """A response's head came."""
        if self.first_byte_seconds < 0:
            self.first_byte_seconds = self.plane.deadlines.seconds() - self.started_at
        fields = head.fields
        if self._discretion is not None:
            head = self._discretion.response(head)
        if head.status >= 200:
            self.status = head.status
            self.response = fields
            self._response_options = head.options
            self.downstream.send_head(head)
        elif head.status == 101:
            self._switch(head)
        elif self.request is not None and self.request.minor:
            # RFC 9110 section 15.2: never to an HTTP/1.0 client.
            self.downstream.send_interim(head)

    def response_content(self, content: bytes) -> None:
        """A piece of the response's content came."""
        self.downstream.send_content(content)

    def response_ended(self, trailers: Fields) -> None:
        """The response is complete, and the connection no longer ours."""
        self._settle_upstream()
        lines = forwarded_trailer_lines(trailers, self._response_options) if trailers.lines else []
        if lines and self._discretion is not None:
            lines = self._discretion.trailers(lines)
        self.downstream.send_end(lines)
        self.finish()

    def response_failed(self, error: ProxyError, retriable: bool) -> None:
        """There will be no (more) response."""
        request = self.request
        assert request is not None
        self._settle_upstream()
        if retriable and not self._retried and request.method in _IDEMPOTENT and not request.length:
            # RFC 9112 section 9.3.1: the origin closed the idle connection while the request was on its way.
            self._retried = True
            self._alone = self._alone and not isinstance(error, NoCommonVersion)
            self._acquire()
        else:
            self.fail(error)

    def response_turn_ended(self) -> None:
        """All that came in this turn of the reactor has been told."""
        downstream = self.downstream
        downstream.flush()
        upstream = self._upstream
        if upstream is None:
            return
        if downstream.full:
            upstream.pause()
        if self._rests(upload=False):
            upstream.pause()

    def response_room_made(self) -> None:
        upstream = self._upstream
        if upstream is None:
            return
        if not self._rests(upload=False):
            upstream.resume()

    def _response_rested(self) -> None:
        """The limits let more of the response come."""
        if self._upstream is not None and not self.downstream.full:
            self._upstream.resume()

    def _rests(self, *, upload: bool) -> bool:
        """Whether a limit lets no more of the request, or of the response, come for now."""
        hold = self.hold
        if hold is None or (flow := hold.up if upload else hold.down) is None:
            return False
        from_client, to_client, _, _ = self.moved_so_far()
        hold.measure(from_client, to_client)
        return flow.rests()

    # ------------------------------------------------------------ another protocol

    def _switch(self, head: ResponseHead) -> None:
        """The origin has switched protocols: what follows is opaque (RFC 9110 section 7.8)."""
        upstream = self._upstream
        assert upstream is not None
        offered = list_tokens(self._upgrade)
        chosen = list_tokens(head.fields.values(b"upgrade"))
        if not chosen or not chosen <= offered or not self._request_ended or upstream.full:
            raise UpgradeFailed()
        self.status = 101
        self.response = head.fields
        self.downstream.send_interim(head)
        self.downstream.flush()
        if self.downstream.broken:
            self.client_left(CLIENT_LEFT)
            return
        if self.downstream.full:
            # 101 is a few hundred bytes: a client that has no room for them is not reading at all.
            raise UpgradeFailed("the client does not read")
        observer = watch(self, self._target.host) if b"websocket" in chosen else None
        self._settle_upstream()
        upstream_transport, to_client = upstream.detach()
        client_transport, to_upstream = self.downstream.detach()
        self.kind = "tunnel"
        self.become_relay(client_transport, upstream_transport, to_upstream, to_client, observer)

    # ------------------------------------------------------------ the end

    def release(self) -> None:
        if self._ticket is not None:
            self._ticket.cancel()
            self._ticket = None
        upstream = self._upstream
        if upstream is not None:
            self._settle_upstream()
            upstream.abandon()

    def moved_so_far(self) -> tuple[int, int, int, int]:
        from_client, to_client, to_upstream, from_upstream = super().moved_so_far()
        upstream = self._upstream
        if upstream is not None:
            to_upstream += upstream.sent - self._sent_before
            from_upstream += upstream.received
        return from_client, to_client, to_upstream, from_upstream

    def _settle_upstream(self) -> None:
        upstream = self._upstream
        if upstream is not None:
            self.bytes_to_upstream += upstream.sent - self._sent_before
            self.bytes_from_upstream += upstream.received
            self._upstream = None
