"""Bytes in, events out: the readers of HTTP/1.1 messages (RFC 9112), without I/O.

Theory of operation. The owner of a connection gives the bytes it got to `receive` and asks `next_event` until that
says None, "more bytes are needed". A message is: its head, any number of ``bytes`` (content, already without its
transfer coding), and `End`. After the `End` of a request the next call reads the next request; whoever does not
want it yet does not ask. How the bytes were split changes where content is cut into pieces, and nothing else.

    state           on                      then
    HEAD            a whole head            SIZED, CHUNK_LINE or REST, by the framing
    SIZED           content                 END when all of it came
    CHUNK_LINE      a chunk's first line    CHUNK_DATA, or TRAILERS for the last chunk
    CHUNK_DATA      content and its CR LF   CHUNK_LINE
    TRAILERS        the empty line          END
    REST            content                 END when the connection closes
    END             (gives the `End`)       HEAD

Bytes are kept only until an event can be made of them: at most one head, one chunk line or one trailer section, each
with its limit. Whatever is wrong is raised as soon as it can be known, and a reader that has raised is not asked again.
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
)
from twistedproxy.http.grammar import CHUNK_LINE, FORBIDDEN_IN_HEAD, REQUEST_LINE, STATUS_LINE, is_token
from twistedproxy.http.head import (
    HeadLimits,
    diagnose_request_line,
    parse_request_head,
    parse_response_head,
    parse_trailers,
)
from twistedproxy.http.message import CHUNKED, END, UNTIL_CLOSE, End, RequestHead, ResponseHead

Event = RequestHead | ResponseHead | bytes | End

MAX_CHUNK_LINE = 4096
"""Bytes of one chunk's first line: its size and its extensions."""

MAX_CHUNK_EXTENSIONS = 64 * 1024
"""Bytes of chunk extensions in one message; they are read and dropped, so a peer gets nothing for sending more."""

MAX_LEADING_LINES = 8
"""Empty lines before a request line (RFC 9112 section 2.2)."""


class _State(Enum):
    HEAD = auto()
    SIZED = auto()
    CHUNK_LINE = auto()
    CHUNK_DATA = auto()
    TRAILERS = auto()
    REST = auto()
    END = auto()


# The members as plain globals: looked up several times for every event.
_HEAD, _SIZED, _CHUNK_LINE, _CHUNK_DATA, _TRAILERS, _REST, _END = _State


class _MessageReader:
    """What requests and responses have in common: the buffer, and the content."""

    __slots__ = ("_buffer", "_end", "_extensions", "_limits", "_remaining", "_scanned", "_state", "consumed")

    _is_request: bool
    _error: type[ProxyError]
    _framing_error: type[ProxyError]
    _cut: type[ProxyError]
    _too_large: type[ProxyError]

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._buffer: bytes | bytearray = b""
        self._state = _HEAD
        self._scanned = 0
        self._remaining = 0
        self._extensions = 0
        self._end = END
        self.consumed = 0
        """Bytes that events have been made of so far."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state.name} buffered={len(self._buffer)}>"

    @property
    def buffered(self) -> int:
        """How many bytes wait for the rest of their event."""
        return len(self._buffer)

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
        elif type(buffer) is bytearray:
            buffer += data
        else:
            # A bytearray grows in place: a head that comes byte by byte costs no more than one that comes at once.
            self._buffer = bytearray(buffer)
            self._buffer += data

    def take_rest(self) -> bytes:
        """Give back the bytes that no event was made of: the connection has become something else than HTTP."""
        rest = bytes(self._buffer)
        self._buffer = b""
        return rest

    def next_event(self) -> Event | None:
        """The next event, or None when it needs more bytes. Raises `ProxyError` when the bytes are not valid."""
        state = self._state
        if state is _HEAD:
            return self._next_head()
        if state is _END:
            self._state = _HEAD
            end = self._end
            self._end = END
            return end
        if state is _SIZED:
            return self._next_sized()
        if state is _REST:
            return self._take(len(self._buffer)) if self._buffer else None
        return self._next_chunked()

    def receive_close(self) -> End | None:
        """Take the news that the peer will send no more.

        Returns the `End` when that ends the message (`UNTIL_CLOSE`), None when no message was under way, and raises
        when it cuts one short.
        """
        if self._state is _REST and not self._buffer:
            self._state = _HEAD
            return END
        if self.between_messages:
            return None
        raise self._cut("the connection closed in the middle of a message")

    def _next_head(self) -> Event | None:
        raise AssertionError("the reader of a kind of message reads its head")

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
        buffer = self._buffer
        self.consumed += size
        if size == len(buffer):
            self._buffer = b""
            return bytes(buffer)
        taken = bytes(buffer[:size])
        self._drop(size)
        return taken

    def _drop(self, size: int) -> None:
        """Forget the first ``size`` bytes. A bytearray does so in place, in constant time."""
        buffer = self._buffer
        if type(buffer) is bytearray:
            del buffer[:size]
        else:
            self._buffer = buffer[size:]

    def _take_section(self) -> bytes | None:
        """A head or trailer section that is whole, through its empty line; None while it is not."""
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n", max(0, self._scanned - 3))
        if end < 0:
            if len(buffer) > self._limits.max_head_size:
                self._refuse_size()
            self._scan(len(buffer))
            return None
        if end + 4 > self._limits.max_head_size:
            self._refuse_size()
        self._scanned = 0
        return self._take(end + 4)

    def _scan(self, end: int) -> None:
        """Refuse bytes that no section can hold as soon as they are seen."""
        # One back, because a line feed is judged by what stands before it; and a trailing CR is judged next time.
        found = FORBIDDEN_IN_HEAD.search(self._buffer, max(0, self._scanned - 1), end)
        if found is not None:
            raise self._forbidden(found.start())
        self._scanned = end

    def _forbidden(self, position: int) -> ProxyError:
        if self._buffer[position] in b"\r\n":
            return self._error("a line does not end with CR LF")
        return self._error("there is a control character")

    def _refuse_size(self) -> None:
        raise self._too_large(f"it is larger than {self._limits.max_head_size} bytes")

    def _next_sized(self) -> bytes | None:
        size = len(self._buffer)
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
        buffer = self._buffer
        size = len(buffer)
        position = 0
        pieces: list[bytes | bytearray] = []
        while position < size:
            if self._state is _CHUNK_LINE:
                line_end = buffer.find(b"\r\n", position)
                if line_end < 0:
                    self._check_partial_chunk_line(buffer, position)
                    break
                if line_end - position > MAX_CHUNK_LINE:
                    raise self._framing_error(f"a chunk's first line is longer than {MAX_CHUNK_LINE} bytes")
                length = self._read_chunk_line(buffer, position, line_end)
                position = line_end + 2
                if length:
                    self._remaining = length
                    self._state = _CHUNK_DATA
                    continue
                self._state = _TRAILERS
                break
            # CHUNK_DATA: the content, then exactly CR LF.
            if self._remaining:
                end = min(size, position + self._remaining)
                pieces.append(buffer[position:end])
                self._remaining -= end - position
                position = end
                continue
            ending = buffer[position : position + 2]
            if ending != b"\r\n":
                if ending == b"\r":
                    break
                raise self._framing_error("a chunk is longer than its size says")
            position += 2
            self._state = _CHUNK_LINE
        if position:
            self.consumed += position
            if position == size:
                self._buffer = b""
            else:
                self._drop(position)
        if pieces:
            return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)
        if self._state is _TRAILERS:
            return self._next_trailers()
        return None

    def _check_partial_chunk_line(self, buffer: bytes | bytearray, position: int) -> None:
        if len(buffer) - position > MAX_CHUNK_LINE:
            raise self._framing_error(f"a chunk's first line is longer than {MAX_CHUNK_LINE} bytes")
        if FORBIDDEN_IN_HEAD.search(buffer, position) is not None:
            raise self._framing_error("a chunk's first line is not valid")

    def _read_chunk_line(self, buffer: bytes | bytearray, start: int, end: int) -> int:
        match = CHUNK_LINE.fullmatch(buffer, start, end)
        if match is None:
            raise self._framing_error("a chunk's first line is not valid")
        extensions = match.end(2) - match.start(2)
        if extensions:
            self._extensions += extensions
            if self._extensions > MAX_CHUNK_EXTENSIONS:
                raise self._framing_error(f"there are more than {MAX_CHUNK_EXTENSIONS} bytes of chunk extensions")
        return int(bytes(match[1]), 16)

    def _next_trailers(self) -> End | None:
        buffer = self._buffer
        if buffer.startswith(b"\r\n"):
            self._take(2)
            self._state = _HEAD
            self._scanned = 0
            return END
        if len(buffer) < 2:
            if buffer and buffer != b"\r":
                self._scan(len(buffer))
            return None
        block = self._take_section()
        if block is None:
            return None
        self._state = _HEAD
        return End(parse_trailers(block, self._limits, self._is_request))


class RequestReader(_MessageReader):
    """Reads the requests of one client connection, one after the other."""

    __slots__ = ("_leading_lines", "_line_checked")

    _is_request = True
    _error = RequestError
    _framing_error = FramingError
    _cut = RequestCut
    _too_large = HeadTooLarge

    def __init__(self, limits: HeadLimits) -> None:
        super().__init__(limits)
        self._leading_lines = 0
        self._line_checked = False

    def _next_head(self) -> RequestHead | None:
        buffer = self._buffer
        if not buffer:
            return None
        if buffer[0] == 13 and not self._skip_leading_lines():
            return None
        try:
            head = self._take_section()
        except ProxyError:
            # A request line that is wrong has its own answer, better than what is wrong behind it.
            self._check_line()
            raise
        if head is None:
            self._check_line()
            return None
        self._leading_lines = 0
        self._line_checked = False
        request = parse_request_head(head, self._limits)
        self._begin_content(request.length)
        return request

    def _skip_leading_lines(self) -> bool:
        """Drop empty lines before the request line; whether anything follows them."""
        while self._buffer.startswith(b"\r\n"):
            self._leading_lines += 1
            if self._leading_lines > MAX_LEADING_LINES:
                raise RequestError("there are too many empty lines before the request line")
            self._take(2)
            self._scanned = 0
        return bool(self._buffer) and self._buffer != b"\r"

    def _check_line(self) -> None:
        """Judge the request line before the rest of the head is there, so that what is not HTTP hears so at once."""
        if self._line_checked:
            return
        buffer = self._buffer
        line_end = buffer.find(b"\r\n")
        if line_end >= 0:
            self._line_checked = True
            if REQUEST_LINE.fullmatch(buffer, 0, line_end) is None:
                raise diagnose_request_line(bytes(buffer[:line_end]), self._limits)
            return
        # Only what a valid line could still grow out of may stand here.
        if len(buffer) > self._limits.max_target_size:
            raise diagnose_request_line(bytes(buffer), self._limits)
        if not is_token(bytes(buffer[:1])):
            raise RequestError("the request line does not begin with a method")


class ResponseReader(_MessageReader):
    """Reads the responses on one upstream connection; each must be announced by `expect`."""

    __slots__ = ("_line_checked", "_method")

    _is_request = False
    _error = ResponseError
    _framing_error = ResponseError
    _cut = ResponseCut
    _too_large = ResponseHeadTooLarge

    def __init__(self, limits: HeadLimits) -> None:
        super().__init__(limits)
        self._method = b""
        self._line_checked = False

    def expect(self, method: bytes) -> None:
        """The next response answers a request with this method."""
        self._method = method

    def _next_head(self) -> ResponseHead | None:
        if not self._buffer:
            return None
        head = self._take_section()
        if head is None:
            self._check_line()
            return None
        self._line_checked = False
        response = parse_response_head(head, self._limits, self._method)
        if response.status >= 200 or response.status == 101:
            self._begin_content(response.length)
        return response

    def _check_line(self) -> None:
        """Refuse an answer that is not HTTP at once, instead of waiting for an empty line that never comes."""
        if self._line_checked:
            return
        buffer = self._buffer
        line_end = buffer.find(b"\r\n")
        if line_end >= 0:
            self._line_checked = True
            if STATUS_LINE.fullmatch(buffer, 0, line_end) is None:
                raise ResponseError("the status line is not valid")
        elif not buffer.startswith(b"HTTP/"[: len(buffer)]):
            raise ResponseError("the status line is not valid")


__all__ = [
    "UNTIL_CLOSE",
    "Event",
    "RequestReader",
    "ResponseReader",
]
