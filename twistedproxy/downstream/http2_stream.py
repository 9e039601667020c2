"""One request over HTTP/2 and its response: what a client's connection is to the exchange that the stream carries.

Theory of operation. The head of the response waits here until the end of the turn, so that an answer can be taken back,
and leaves with what there is of its content. From then on the content waits in the stream's own queue for the client's
windows. The deadlines are the stream's:

    content is arriving            body_timeout         408; until the response has begun: a stream may be a dialogue
    the client takes no content    write_timeout        reset

An extended CONNECT (RFC 8441) is a request for an upgrade here. The server is asked with a key of ours, and its 101
becomes a 200; what the client says before that waits, up to a window.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from h2.errors import ErrorCodes

from twistedproxy.accounts.certificates import VerifiedCertificate
from twistedproxy.downstream.pages import error_page
from twistedproxy.downstream_side import Protocols, Reached
from twistedproxy.errors import ProxyError, RequestTimeout, UpgradeFailed
from twistedproxy.exchange import Exchange
from twistedproxy.forward import Forward
from twistedproxy.http.inner import Inside
from twistedproxy.http.message import HTTP2, FieldLine, Fields, RequestHead, ResponseHead
from twistedproxy.http.websocket_handshake import accept_for, new_key
from twistedproxy.http2.fields import Block, request_head, request_trailers, response_block, trailer_block
from twistedproxy.http2.stream import UNKNOWN, Stream
from twistedproxy.record.finished import CLIENT_LEFT, CLIENT_STALLED
from twistedproxy.stream_transport import StreamTransport

if TYPE_CHECKING:
    from twistedproxy.downstream.http2 import HTTP2Connection

_NO_FIELDS = Fields()


class RequestStream(Stream):
    """A stream that a client has opened on ``connection``."""

    __slots__ = (
        "_accept",
        "_answered",
        "_connection",
        "_content",
        "_early",
        "_end",
        "_head",
        "_invalid",
        "_left",
        "_mark",
        "_request",
        "_switched",
        "client_address",
        "client_port",
        "deadline",
        "deadline_bucket",
        "exchange",
        "listener",
        "number",
    )

    broken = False

    def __init__(self, connection: HTTP2Connection, number: int) -> None:
        super().__init__(connection.session, number)
        self.client_address = connection.client_address
        self.client_port = connection.client_port
        self.number = connection.number
        self.listener = connection.listener
        self.deadline = inf
        self.deadline_bucket = 0
        self.exchange: Exchange | None = None
        self._connection = connection
        self._request: RequestHead | None = None
        # What is said in this turn, for as long as it can be taken back.
        self._head: Block | None = None
        self._content: list[bytes] = []
        self._end: Block | None = None
        self._answered = False
        # How much of the response's content is still to come; negative when that is not known.
        self._left = UNKNOWN
        # What had been sent when the client was last seen to take something; negative when it does not have to.
        self._mark = -1
        # What the server has to prove that it speaks WebSocket with, and what the client has said meanwhile.
        self._accept = b""
        self._early: list[bytes] = []
        self._switched = self._invalid = False

    @property
    def stream(self) -> int:
        """Its number."""
        return self.id

    @property
    def reached(self) -> Reached:
        """Where the client has found us."""
        return self._connection.reached

    @property
    def certificate(self) -> VerifiedCertificate | None:
        """What the client has shown."""
        return self._connection.certificate

    # ------------------------------------------------------------ the request

    def head_received(self, block: Block, ended: bool) -> int:
        connection = self._connection
        # What has ended needs no reset, which would only come to nothing.
        self.ends_with_output = not ended
        request = self._request = request_head(block, ended, connection.head_limits)
        connection.requests += 1
        exchange = Forward(connection.plane, self, request)
        self.exchange = exchange
        connection.exchange_began(self, exchange)
        websocket = bool(request.options)
        if websocket:
            self._offer_websocket(request)
        try:
            connection.tunnel.start(exchange)
            if websocket and not exchange.over:
                exchange.request_ended(_NO_FIELDS)
        except Exception:
            exchange.fail_unexpectedly()
        return UNKNOWN if websocket else request.length

    def _offer_websocket(self, request: RequestHead) -> None:
        """Give the request what a server of HTTP/1.1 wants to see (RFC 8441 section 5.1)."""
        key = new_key()
        self._accept = accept_for(key)
        lines = [line for line in request.fields.lines if line[0] != b"sec-websocket-key"]
        request.fields = Fields([*lines, (b"sec-websocket-key", key)])
        self.rest()

    def content_received(self, content: bytes) -> None:
        exchange = self.exchange
        if self._accept:
            self._early.append(content)
        elif exchange is not None:
            try:
                exchange.request_content(content)
            except Exception:
                exchange.fail_unexpectedly()

    def end_received(self, trailers: Block) -> None:
        fields = request_trailers(trailers, self._connection.head_limits) if trailers else _NO_FIELDS
        exchange = self.exchange
        if exchange is not None and not self._accept:
            try:
                exchange.request_ended(fields)
            except Exception:
                exchange.fail_unexpectedly()

    def turn_ended(self) -> None:
        exchange = self.exchange
        if exchange is not None:
            exchange.request_turn_ended()
            self._watch()

    def malformed(self, error: ProxyError) -> None:
        # RFC 9113 section 8.1.1: the answer does not end the stream, a reset with an error does. What is only too
        # large, or not to be had here, follows the rules.
        self._invalid = error.status == 400
        self.ends_with_output = not self._invalid
        if self._invalid:
            self.input_ended = False
        exchange = self.exchange
        if exchange is None:
            if self._answered or self._request is not None:
                # It has its answer, and sends on.
                return
            exchange = self.exchange = Exchange(self._connection.plane, self, None)
            self._connection.exchange_began(self, exchange)
        exchange.fail(error)

    def reset_received(self, code: int) -> None:
        self.lose_client(CLIENT_LEFT)

    def lose_client(self, reason: str) -> None:
        """Nobody wants an answer any more."""
        exchange = self.exchange
        if exchange is not None:
            # An origin may take its time to say that this was all, which the client knows.
            complete = reason == CLIENT_LEFT and self._head is None and not (self._left or self.unsaid)
            exchange.client_left("" if complete else reason)

    def pause_request(self) -> None:
        self.rest()
        self._watch()

    def resume_request(self) -> None:
        if not self._accept:
            self.go_on()
            self._watch()
            self._connection.flush()

    # ------------------------------------------------------------ the response

    @property
    def full(self) -> bool:
        """Whether the client has yet to take what was said; a switch of protocols does not depend on that."""
        return not self._switched and (self.unsaid > 0 or self.session.blocked)

    def send_interim(self, head: ResponseHead) -> None:
        if head.status == 101:
            self._check_switch(head)
        self.say_head(self._block(head), False)

    def _check_switch(self, head: ResponseHead) -> None:
        # RFC 6455 section 4.1. In HTTP/2 there is nothing like it.
        if head.version != HTTP2 and head.fields.values(b"sec-websocket-accept") != (self._accept,):
            raise UpgradeFailed("its Sec-WebSocket-Accept is not for the key that it was sent")
        self._switched = True

    def send_head(self, head: ResponseHead) -> None:
        if self._accept and head.status < 300:
            # To the client it would be the beginning of WebSocket.
            raise UpgradeFailed(f"it was asked for WebSocket, and answered {head.status}")
        self._answered = True
        self._left = head.length
        self._head = self._block(head)

    def _block(self, head: ResponseHead) -> Block:
        connection = self._connection
        assert self._request is not None
        return response_block(head, self._request.method, connection.plane.snapshot.via, connection.date())

    def send_content(self, content: bytes) -> None:
        self._left -= len(content)
        if self._head is None:
            self.say(content)
        else:
            self._content.append(content)

    def send_end(self, trailers: list[FieldLine]) -> None:
        end = trailer_block(trailers) if trailers else ()
        if self._head is None:
            self.say_end(end)
        else:
            self._end = end
        self._say_last()

    def take_back(self) -> bool:
        if self._answered and self._head is None:
            return False
        self._head = self._end = None
        self._content.clear()
        self._answered = False
        return not self._switched

    def send_answer(self, status: int, lines: list[FieldLine], content: bytes) -> None:
        self._answered = True
        self._head = [
            (b":status", b"%d" % status),
            *((name.lower(), value) for name, value in lines),
            (b"content-length", b"%d" % len(content)),
            (b"date", self._connection.date()),
        ]
        if content and (self._request is None or self._request.method != b"HEAD"):
            self._content.append(content)
        self._end = ()
        self._say_last()

    def send_error(self, error: ProxyError) -> None:
        plane = self._connection.plane
        lines, content = error_page(error, self._request, plane.snapshot.pseudonym, plane.authenticator)
        self.send_answer(error.status, lines, content)

    def send_established(self) -> None:
        raise AssertionError("a CONNECT inside a tunnel is never answered with success")

    def flush(self) -> None:
        self._say()
        self._connection.flush()
        self._watch()

    def _say(self) -> None:
        """Let the session have what was said in this turn."""
        head, self._head = self._head, None
        if head is not None:
            end, self._end = self._end, None
            content = self._content
            complete = end is not None and not end and not content
            self.say_head(head, complete)
            if content:
                for piece in content:
                    self.say(piece)
                content.clear()
            if end is not None and not complete:
                self.say_end(end)
        self.session.pump()

    def _say_last(self) -> None:
        """Say the end, and settle what the exchange has cost: what waits for the client's windows is said, too."""
        self._say()
        self.sent += self.unsaid

    def cut(self) -> None:
        self.reset(ErrorCodes.PROTOCOL_ERROR if self._invalid else ErrorCodes.INTERNAL_ERROR)
        self._connection.flush()

    def detach(self) -> tuple[Any, bytes]:
        early = b"".join(self._early)
        self._early.clear()
        connection = self._connection
        transport = StreamTransport(self, connection.transport, connection.flush, connection.plane.reactor.callLater)
        return transport, early

    def open_up(self, transport: Any, inside: Inside, context: Any, protocols: Protocols) -> Callable[[bytes], object]:
        raise AssertionError("a CONNECT inside a tunnel is never answered with success")

    def exchange_over(self, exchange: Exchange) -> None:
        self.exchange = None
        self._accept = b""
        self._early.clear()
        self._connection.exchange_over(self)
        # What the client still sends is of no use to anybody.
        self.go_on()
        self.flush()

    def room_made(self) -> None:
        exchange = self.exchange
        if exchange is not None:
            exchange.response_room_made()
        self._watch()

    # ------------------------------------------------------------ deadlines

    def _watch(self) -> None:
        """Choose the deadline for what is going on."""
        if self.over:
            return
        connection = self._connection
        if self.unsaid:
            if self._mark < 0:
                self._mark = self.sent
                connection.plane.deadlines.expire_in(self, connection.settings.write_timeout)
            return
        self._mark = -1
        if not (self.input_ended or self.resting or self._answered or self._accept) and self.exchange is not None:
            connection.plane.deadlines.expire_in(self, connection.settings.body_timeout)
        else:
            connection.plane.deadlines.suspend(self)

    def deadline_passed(self) -> None:
        connection = self._connection
        if self.unsaid:
            if self.sent > self._mark or self.session.blocked:
                # It reads, or nothing can be said on the whole connection, which has a deadline of its own.
                self._mark = -1
                self._watch()
            else:
                self.lose_client(CLIENT_STALLED)
                self.reset(ErrorCodes.CANCEL)
                connection.flush()
            return
        seconds = connection.settings.body_timeout
        if self.session.frames.buffered and connection.heard_at + seconds > connection.plane.deadlines.seconds():
            # A large frame comes slowly, perhaps this stream's.
            connection.plane.deadlines.expire_at(self, connection.heard_at + seconds)
        elif self.exchange is not None:
            self.exchange.fail(RequestTimeout(f"none of its content came for {seconds:g} s"))

    def drop(self) -> None:
        if self.unsaid:
            self._left = UNKNOWN
        super().drop()
        if self.deadline_bucket:
            self._connection.plane.deadlines.forget(self)


__all__ = ["RequestStream"]
