"""Bytes in, events out: the readers of HTTP/1.1 messages (RFC 9112), without I/O.

Theory of operation. The owner of a connection gives the bytes it got to `receive` and asks `next_event` until that
says None, "more bytes are needed". A message is: its head, any number of ``bytes`` (content, already without its
transfer coding), and `End`. After the `End` of a request the next call reads the next request; whoever does not
want it yet does not ask. How the bytes were split changes where content is cut into pieces, and nothing else: not
even which of two errors is met.

    state           on                      then
    HEAD            a whole head            SIZED, CHUNK_LINE or REST, by the framing
    SIZED           content                 END when all of it came
    CHUNK_LINE      a chunk's first line    CHUNK_DATA, or TRAILERS for the last chunk
    CHUNK_DATA      content and its CR LF   CHUNK_LINE
    TRAILERS        the empty line          HEAD, with the `End`
    REST            content                 HEAD when the connection closes
    END             (gives the `End`)       HEAD
    FAILED          (raises again)

Bytes are kept only until an event can be made of them: at most one head, one chunk line or one trailer section, each
with its limit. They are looked at once, however they come, so that the cost is linear. A reader that has raised an
error raises it again: where the next message would begin is not known.
"""

from __future__ import annotations

from enum import Enum, auto

from twistedproxy.errors import (
    FramingError,
    HeadTooLarge,
    ProxyError,
    RequestCut,
    RequestError,
    ResponseCut,
    ResponseError,
    ResponseHeadTooLarge,
    TargetTooLong,
)
from twistedproxy.http.grammar import CHUNK_LINE, CHUNK_LINE_START, FORBIDDEN_IN_HEAD, forbidden_octet, is_token
from twistedproxy.http.head import (
    HeadLimits,
    parse_request_head,
    parse_response_head,
    parse_trailers,
    read_request_line,
    read_status_line,
)
from twistedproxy.http.message import CHUNKED, END, UNTIL_CLOSE, End, RequestHead, ResponseHead

Event = RequestHead | ResponseHead | bytes | End

MAX_CHUNK_LINE = 4096
"""Bytes of one chunk's first line: its size and its extensions."""

MAX_CHUNK_EXTENSIONS = 64 * 1024
"""Bytes of chunk extensions in one message; they are read and dropped, so a peer gets nothing for sending more."""

MAX_LEADING_LINES = 8
"""Empty lines before a request line (RFC 9112 section 2.2)."""

_CR = 13


class _State(Enum):
    HEAD = auto()
    SIZED = auto()
    CHUNK_LINE = auto()
    CHUNK_DATA = auto()
    TRAILERS = auto()
    REST = auto()
    END = auto()
    FAILED = auto()


# The members as plain globals: looked up several times for every event.
_HEAD, _SIZED, _CHUNK_LINE, _CHUNK_DATA, _TRAILERS, _REST, _END, _FAILED = _State


class _MessageReader:
    """What requests and responses have in common: the buffer, and the content."""

    # `_start` is how much of the buffer is used up, and `_scanned` how much of what follows that was found to be
    # without forbidden octets.
    __slots__ = (
        "_buffer",
        "_extensions",
        "_failure",
        "_limits",
        "_line_checked",
        "_remaining",
        "_scanned",
        "_start",
        "_state",
        "consumed",
    )

    _is_request: bool
    _error: type[ProxyError]
    _framing_error: type[ProxyError]
    _cut: type[ProxyError]
    _too_large: type[ProxyError]

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._buffer: bytes | bytearray = b""
        self._start = 0
        self._scanned = 0
        self._state = _HEAD
        self._line_checked = False
        self._remaining = 0
        self._extensions = 0
        self._failure: ProxyError | None = None
        self.consumed = 0
        """Bytes that events have been made of so far."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state.name} buffered={self.buffered}>"

    @property
    def buffered(self) -> int:
        """How many bytes wait for the rest of their event."""
        return len(self._buffer) - self._start

    @property
    def between_messages(self) -> bool:
        """Whether no message is under way: nothing has come since the last one ended."""
        return self._state is _HEAD and not self._buffer

    @property
    def in_content(self) -> bool:
        """Whether a head has been read and its `End` has not."""
        return self._state is not _HEAD

    def receive(self, data: bytes) -> None:
        """Take bytes as they came from the connection."""
        buffer = self._buffer
        if not buffer:
            self._buffer = data
            return
        # A bytearray grows in place, and forgets its beginning in place: a head that comes byte by byte costs no more
        # than one that comes at once.
        start = self._start
        if not isinstance(buffer, bytearray):
            self._buffer = buffer = bytearray(buffer[start:])
        elif start:
            del buffer[:start]
        self._start = 0
        buffer += data

    def take_rest(self) -> bytes:
        """Give back the bytes that no event was made of: the connection has become something else than HTTP."""
        rest = bytes(self._buffer[self._start :])
        self._buffer = b""
        self._start = self._scanned = 0
        return rest

    def next_event(self) -> Event | None:
        """The next event, or None when it needs more bytes. Raises `ProxyError` when the bytes are not valid."""
        state = self._state
        try:
            if state is _HEAD:
                return self._next_head() if self._buffer else None
            if state is _END:
                self._state = _HEAD
                return END
            if state is _SIZED:
                return self._next_sized()
            if state is _REST:
                return self._take(len(self._buffer) - self._start) if self._buffer else None
            if state is _FAILED:
                assert self._failure is not None
                raise self._failure
            return self._next_chunked()
        except ProxyError as error:
            self._state = _FAILED
            self._failure = error
            raise

    def receive_close(self) -> End | None:
        """Take the news that the peer will send no more.

        Returns the `End` when that ends the message (`UNTIL_CLOSE`), None when no message was under way, and raises
        when it cuts one short.
        """
        if self._failure is not None:
            raise self._failure
        if self._state is _END or (self._state is _REST and not self._buffer):
            self._state = _HEAD
            return END
        if self.between_messages:
            return None
        raise self._cut("the connection closed in the middle of a message")

    def _next_head(self) -> Event | None:
        raise AssertionError("the reader of a kind of message reads its head")

    def _check_line(self, end: int) -> None:
        raise AssertionError("the reader of a kind of message checks its first line")

    def _refuse_size(self) -> ProxyError:
        return self._too_large(f"it is larger than {self._limits.max_head_size} bytes")

    def _begin_content(self, length: int) -> None:
        if length > 0:
            self._remaining = length
            self._state = _SIZED
        elif length == 0:
            self._state = _END
        elif length == CHUNKED:
            self._extensions = 0
            self._state = _CHUNK_LINE
        else:
            self._state = _REST

    def _take(self, size: int) -> bytes:
        """The next ``size`` bytes, for an event."""
        buffer = self._buffer
        start = self._start
        end = start + size
        taken = buffer[start:end]
        self._advance(end)
        return taken if isinstance(taken, bytes) else bytes(taken)

    def _advance(self, end: int) -> None:
        """The buffer is used up as far as ``end``."""
        self.consumed += end - self._start
        if end == len(self._buffer):
            self._buffer = b""
            self._start = 0
        else:
            self._start = end

    def _section_end(self) -> int:
        """Where the buffer's head or trailer section ends, its empty line included; 0 while it is not whole.

        Raises what can be known to be wrong with it already.
        """
        buffer = self._buffer
        start = self._start
        scanned = self._scanned
        limit = start + self._limits.max_head_size
        end = buffer.find(b"\r\n\r\n", start + scanned - 3 if scanned > 3 else start, limit)
        if end >= 0:
            self._scanned = 0
            return end + 4
        # As much as a reader of single octets would have seen when the section becomes too large.
        end = min(len(buffer), limit + 1)
        if self._state is _HEAD and not self._line_checked:
            self._check_line(end)
        # One back, because an octet at the end is judged by the one that follows it.
        forbidden = forbidden_octet(buffer, start + scanned - 1 if scanned else start, end)
        if forbidden:
            raise self._error(forbidden)
        if end > limit:
            raise self._refuse_size()
        self._scanned = end - start
        return 0

    def _next_sized(self) -> bytes | None:
        size = len(self._buffer) - self._start
        if not size:
            return None
        if size >= self._remaining:
            size = self._remaining
            self._state = _END
        self._remaining -= size
        return self._take(size)

    def _next_chunked(self) -> Event | None:
        """All the content that the buffer holds, as one piece; or the end.

        One piece, because a peer that sends chunks of one byte must not make us do more work for each of them.
        """
        if self._state is not _TRAILERS:
            content = self._read_chunks()
            if content:
                return content
        return self._next_trailers() if self._state is _TRAILERS else None

    def _read_chunks(self) -> bytes:
        """The content of all the chunks that the buffer holds, and of the part of one at its end."""
        buffer = self._buffer
        size = len(buffer)
        position = self._start
        remaining = self._remaining
        state = self._state
        pieces: list[bytes | bytearray] = []
        try:
            while position < size:
                if state is _CHUNK_LINE:
                    match = None
                    end = position + MAX_CHUNK_LINE + 2
                    # A line that was incomplete before is not read again until its end is there.
                    if not self._scanned or buffer.find(b"\r\n", position + self._scanned - 1, end) >= 0:
                        match = CHUNK_LINE.match(buffer, position, end)
                    if match is None:
                        self._check_chunk_line(buffer, position)
                        break
                    digits, extensions = match.groups()
                    if extensions:
                        self._count_extensions(len(extensions))
                    self._scanned = 0
                    position = match.end()
                    remaining = int(digits, 16)
                    if not remaining:
                        state = _TRAILERS
                        break
                    state = _CHUNK_DATA
                # The content, then exactly CR LF.
                if remaining:
                    end = min(size, position + remaining)
                    pieces.append(buffer[position:end])
                    remaining -= end - position
                    position = end
                    if position == size:
                        break
                if not buffer.startswith(b"\r\n", position):
                    if buffer[position] == _CR and position + 1 == size:
                        break
                    raise self._framing_error("a chunk is longer than its size says")
                position += 2
                state = _CHUNK_LINE
        except ProxyError:
            # What came before the mistake comes first; it is met again by the next call.
            if not pieces:
                raise
        finally:
            self._state = state
            self._remaining = remaining
            self._advance(position)
        return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)

    def _check_chunk_line(self, buffer: bytes | bytearray, start: int) -> None:
        """Refuse a chunk's first line that did not match; return while it may still become one that does."""
        end = min(len(buffer), start + MAX_CHUNK_LINE + 2)
        scanned = self._scanned
        if (
            CHUNK_LINE_START.match(buffer, start, end) is None
            or buffer.find(b"\r\n", start + scanned - 1 if scanned else start, end) >= 0
            or FORBIDDEN_IN_HEAD.search(buffer, start + scanned - 1 if scanned else start, end) is not None
        ):
            raise self._framing_error("a chunk's first line is not valid")
        self._scanned = end - start
        if self._scanned == MAX_CHUNK_LINE + 2:
            raise self._framing_error(f"a chunk's first line is longer than {MAX_CHUNK_LINE} bytes")

    def _count_extensions(self, size: int) -> None:
        self._extensions += size
        if self._extensions > MAX_CHUNK_EXTENSIONS:
            raise self._framing_error(f"there are more than {MAX_CHUNK_EXTENSIONS} bytes of chunk extensions")

    def _next_trailers(self) -> End | None:
        if self._buffer.startswith(b"\r\n", self._start):
            self._advance(self._start + 2)
            self._scanned = 0
            self._state = _HEAD
            return END
        end = self._section_end()
        if not end:
            return None
        trailers = parse_trailers(bytes(self._buffer[self._start : end]), self._limits, self._is_request)
        self._advance(end)
        self._state = _HEAD
        return End(trailers)


class RequestReader(_MessageReader):
    """Reads the requests of one client connection, one after the other."""

    __slots__ = ("_before", "_leading_lines")

    _is_request = True
    _error = RequestError
    _framing_error = FramingError
    _cut = RequestCut
    _too_large = HeadTooLarge

    def __init__(self, limits: HeadLimits) -> None:
        super().__init__(limits)
        self._before: RequestHead | None = None
        self._leading_lines = 0

    def _next_head(self) -> RequestHead | None:
        if self._buffer[self._start] == _CR and not self._skip_leading_lines():
            return None
        end = self._section_end()
        if not end:
            return None
        head = bytes(self._buffer[self._start : end])
        request = self._before = parse_request_head(head, self._limits, self._before)
        self._advance(end)
        self._leading_lines = 0
        self._line_checked = False
        self._begin_content(request.length)
        return request

    def _skip_leading_lines(self) -> bool:
        """Drop empty lines before the request line; whether anything follows them."""
        buffer = self._buffer
        position = self._start
        try:
            while buffer.startswith(b"\r\n", position):
                self._leading_lines += 1
                if self._leading_lines > MAX_LEADING_LINES:
                    raise RequestError("there are too many empty lines before the request line")
                position += 2
        finally:
            self._advance(position)
        # The line feed may follow.
        return bool(self._buffer) and not (self.buffered == 1 and buffer[position] == _CR)

    def _check_line(self, end: int) -> None:
        """Judge the request line before the rest of the head is there, so that what is not HTTP hears so at once."""
        buffer = self._buffer
        start = self._start
        if not is_token(buffer[start : start + 1]):
            raise RequestError("the request line does not begin with a method")
        longest = self._limits.max_request_line
        scanned = self._scanned
        if (
            buffer.find(b"\r\n", start + scanned - 1 if scanned else start, min(end, start + longest)) >= 0
            or end - start >= longest
        ):
            read_request_line(buffer, start, self._limits)
            self._line_checked = True

    def _refuse_size(self) -> ProxyError:
        if self._state is _HEAD and not self._line_checked:
            return TargetTooLong(f"the request line is longer than {self._limits.max_head_size} bytes")
        return super()._refuse_size()


class ResponseReader(_MessageReader):
    """Reads the responses on one upstream connection; each must be announced by `expect`."""

    __slots__ = ("_method",)

    _is_request = False
    _error = ResponseError
    _framing_error = ResponseError
    _cut = ResponseCut
    _too_large = ResponseHeadTooLarge

    def __init__(self, limits: HeadLimits) -> None:
        super().__init__(limits)
        self._method = b""

    def expect(self, method: bytes) -> None:
        """The next response answers a request with this method."""
        self._method = method

    def _next_head(self) -> ResponseHead | None:
        end = self._section_end()
        if not end:
            return None
        response = parse_response_head(bytes(self._buffer[self._start : end]), self._limits, self._method)
        self._advance(end)
        self._line_checked = False
        if response.status >= 200 or response.status == 101:
            self._begin_content(response.length)
        return response

    def _check_line(self, end: int) -> None:
        """Refuse an answer that is not HTTP at once, instead of waiting for an empty line that never comes."""
        buffer = self._buffer
        start = self._start
        if not buffer.startswith(b"HTTP/"[: end - start], start):
            raise ResponseError("the status line is not valid")
        scanned = self._scanned
        if buffer.find(b"\r\n", start + scanned - 1 if scanned else start, end) >= 0:
            read_status_line(buffer, start)
            self._line_checked = True


__all__ = [
    "UNTIL_CLOSE",
    "Event",
    "RequestReader",
    "ResponseReader",
]
