"""One stream of an HTTP/2 connection to an origin: what carries one exchange.

A WebSocket is asked for with an extended CONNECT (RFC 8441), and the answer to that is told as the 101 that it stands
for, so that whoever listens need not know.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final

from h2.errors import ErrorCodes

from twistedproxy.errors import (
    BodyTimeout,
    ConnectionTerminated,
    FirstByteTimeout,
    ProxyError,
    ResponseCut,
    ResponseError,
)
from twistedproxy.http.message import FieldLine, Fields, RequestHead, ResponseHead
from twistedproxy.http.target import Target
from twistedproxy.http.websocket_handshake import accept_for
from twistedproxy.http2.fields import Block, request_block, response_head, response_trailers, trailer_block
from twistedproxy.http2.session import Session
from twistedproxy.http2.stream import UNKNOWN, Stream
from twistedproxy.stream_transport import StreamTransport
from twistedproxy.upstream.carrier import MAX_INTERIM_RESPONSES, ResponseListener

if TYPE_CHECKING:
    from twistedproxy.upstream.http2 import SharedConnection

_WEBSOCKET: Final = b"websocket"


class UpstreamStream(Stream):
    """See the head of the module. It is a `Carrier`."""

    __slots__ = (
        "_connection",
        "_interim_responses",
        "_key",
        "_listener",
        "_method",
        "_response",
        "_switching",
        "deadline",
        "deadline_bucket",
        "exchanges",
    )

    def __init__(self, connection: SharedConnection, session: Session) -> None:
        super().__init__(session, 0)
        self.deadline = inf
        self.deadline_bucket = 0
        self.exchanges = connection.exchanges
        self._connection = connection
        self._listener: ResponseListener | None = None
        self._method = b""
        self._key = b""
        self._response: ResponseHead | None = None
        self._interim_responses = 0
        self._switching = False

    @property
    def address(self) -> str:
        """The origin's address and port."""
        return self._connection.address

    @property
    def full(self) -> bool:
        """Whether the origin has yet to read what it was sent; a switch does not depend on the siblings."""
        return self.unsaid > 0 or (self.session.blocked and not self._switching)

    # ------------------------------------------------------------ the request

    def send_head(
        self,
        listener: ResponseListener,
        head: RequestHead,
        target: Target,
        via: bytes,
        upgrade: tuple[bytes, ...] = (),
    ) -> None:
        connection = self._connection
        connection.begin(self)
        self.exchanges = connection.exchanges
        self._listener = listener
        self._method = head.method
        self._switching = bool(upgrade)
        self._key = head.fields.first(b"sec-websocket-key")
        block = request_block(head, target, via, _WEBSOCKET if upgrade else b"")
        self.say_head(block, end=not head.length and not upgrade)

    def send_content(self, content: bytes) -> None:
        self.say(content)

    def send_end(self, trailers: list[FieldLine]) -> None:
        if not (self.output_ended or self._switching):
            self.say_end(trailer_block(trailers))
        if self._response is None and not self.over:
            self._connection.deadlines.expire_in(self, self._connection.settings.first_byte_timeout)

    def flush(self) -> None:
        self._connection.flush()
        if self.deadline == inf and self._response is None and self.full:
            # It has to hear the question first.
            self._connection.deadlines.expire_in(self, self._connection.settings.first_byte_timeout)

    def room_made(self) -> None:
        listener = self._listener
        if listener is not None and not self.output_ended:
            if self._response is None:
                self._connection.deadlines.suspend(self)
            listener.request_room_made()

    # ------------------------------------------------------------ the response

    def head_received(self, block: Block, ended: bool) -> int:
        listener = self._listener
        assert listener is not None
        connection = self._connection
        head = response_head(block, ended, self._method, connection.head_limits)
        if head.status < 200:
            self._interim_responses += 1
            if self._interim_responses > MAX_INTERIM_RESPONSES:
                raise ResponseError(f"there are more than {MAX_INTERIM_RESPONSES} interim answers")
            listener.response_began(head)
            return UNKNOWN
        if self._switching and head.status < 300:
            head = self._switched(head)
        self._response = head
        connection.deadlines.expire_in(self, connection.settings.body_timeout)
        listener.response_began(head)
        return head.length if head.status != 101 and head.length >= 0 else UNKNOWN

    def _switched(self, head: ResponseHead) -> ResponseHead:
        """The 101 that HTTP/1.1 would have had (RFC 8441 section 5)."""
        lines = [line for line in head.fields.lines if line[0] != b"content-length"]
        lines.append((b"upgrade", _WEBSOCKET))
        if self._key:
            lines.append((b"sec-websocket-accept", accept_for(self._key)))
        return ResponseHead(101, b"Switching Protocols", 1, Fields(lines), version=head.version)

    def content_received(self, content: bytes) -> None:
        listener = self._listener
        if listener is not None:
            listener.response_content(content)
            if not self.resting:
                self._connection.deadlines.expire_in(self, self._connection.settings.body_timeout)

    def end_received(self, trailers: Block) -> None:
        fields = response_trailers(trailers, self._connection.head_limits)
        listener = self._listener
        if listener is None:
            return
        if self._response is None:
            raise ResponseError("the answer ends before its head")
        self._leave()
        listener.response_ended(fields)
        if not self.output_ended:
            # The origin has answered before it had heard everything, and nobody is left who would tell it.
            self.reset(ErrorCodes.NO_ERROR)

    def turn_ended(self) -> None:
        listener = self._listener
        if listener is not None:
            listener.response_turn_ended()

    def pause(self) -> None:
        self.rest()
        self._connection.deadlines.suspend(self)

    def resume(self) -> None:
        if self.resting:
            self._connection.deadlines.expire_in(self, self._connection.settings.body_timeout)
            self.go_on()
            self._connection.flush()

    # ------------------------------------------------------------ the end

    def malformed(self, error: ProxyError) -> None:
        self.lost(error, code=ErrorCodes.PROTOCOL_ERROR)

    def reset_received(self, code: int) -> None:
        if code == ErrorCodes.HTTP_1_1_REQUIRED:
            self._connection.http1_required()
        unseen = code in (ErrorCodes.REFUSED_STREAM, ErrorCodes.HTTP_1_1_REQUIRED)
        self.lost(ConnectionTerminated(f"the server has reset the stream ({_name(code)})"), unseen)

    def lost(self, error: ProxyError, unseen: bool = False, code: int = ErrorCodes.CANCEL) -> None:
        """There will be no (more) response. ``unseen``: the origin has not looked at the request; ``code`` tells it."""
        listener = self._listener
        self._leave()
        self.reset(code)
        if listener is None:
            return
        terminated = isinstance(error, ConnectionTerminated)
        if terminated and self._response is not None:
            error = ResponseCut(error.detail)
        # An old connection may have been closed while the request was on its way (RFC 9112 section 9.3.1).
        silent = terminated and self.exchanges > 1 and not self.received
        listener.response_failed(error, unseen or silent)
        listener.response_turn_ended()

    def deadline_passed(self) -> None:
        connection = self._connection
        # Perhaps it is not this exchange alone that nobody answers.
        connection.retire()
        if self._response is None:
            self.lost(FirstByteTimeout(f"nothing came for {connection.settings.first_byte_timeout:g} s"))
        else:
            self.lost(BodyTimeout(f"nothing came for {connection.settings.body_timeout:g} s"))
        connection.flush()

    def abandon(self) -> None:
        self._leave()
        self.reset(ErrorCodes.CANCEL)
        self._connection.flush()

    def detach(self) -> tuple[Any, bytes]:
        self._leave()
        connection = self._connection
        transport = StreamTransport(self, connection.transport, connection.flush, connection.call_later)
        return transport, b""

    def _leave(self) -> None:
        self._listener = None
        self._connection.deadlines.forget(self)


def _name(code: int) -> str:
    """An error code as RFC 9113 section 7 calls it."""
    try:
        return ErrorCodes(code).name
    except ValueError:
        return f"{code:#x}"
