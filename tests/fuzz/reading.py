"""What a reader says about bytes, in a form that can be compared however the bytes came."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from twistedproxy.errors import ProxyError
from twistedproxy.http import websocket
from twistedproxy.http.head import HeadLimits
from twistedproxy.http.message import End, FieldLine, RequestHead, ResponseHead
from twistedproxy.http.reader import RequestReader, ResponseReader
from twistedproxy.http.websocket import Extensions, MessageReader

MOST_CONTENT = 40
"""Bytes of a WebSocket's message that are kept."""

# Small, so that messages of a few hundred bytes meet every limit.
SMALL = HeadLimits(max_head_size=600, max_fields=12, max_target_size=200)


@dataclass
class Message:
    """One message: its head, its content joined, and its trailers once it is complete."""

    head: RequestHead | ResponseHead
    content: bytes = b""
    trailers: list[FieldLine] | None = None
    end: int = 0
    """How many bytes there were through its end, once it is complete."""

    @property
    def complete(self) -> bool:
        return self.trailers is not None

    def described(self) -> tuple[object, ...]:
        """Everything that a reader says about it."""
        return (*described(self.head), self.content, self.trailers)


def described(head: RequestHead | ResponseHead) -> tuple[object, ...]:
    """Everything that a reader says in a head."""
    common = (head.minor, head.fields.lines, head.length, sorted(head.options), head.keep_alive)
    if isinstance(head, RequestHead):
        return (head.method, head.target, head.expects_continue, *common)
    return (head.status, head.phrase, *common)


@dataclass
class Reading:
    """All that came of some bytes."""

    messages: list[Message] = field(default_factory=list)
    error: ProxyError | None = None
    consumed: int = 0
    closed: str = ""
    said: list[websocket.Message] = field(default_factory=list)
    """The messages of a WebSocket."""

    def described(self) -> tuple[object, ...]:
        """In a form that is equal when the readings are."""
        error = (type(self.error), self.error.detail) if self.error is not None else None
        return ([message.described() for message in self.messages], error, self.consumed, self.closed, self.said)


def pieces(data: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    """The bytes, cut where ``cuts`` (ascending) says; empty pieces are left out."""
    start = 0
    for cut in (*cuts, len(data)):
        if cut > start:
            yield data[start:cut]
            start = cut


def octets(data: bytes) -> Iterator[bytes]:
    """The bytes, one by one."""
    return pieces(data, range(len(data)))


def read_requests(received: Iterable[bytes], limits: HeadLimits = SMALL) -> Reading:
    """What a reader of requests makes of bytes that come in pieces, and then of the peer's close."""
    return _read(RequestReader(limits), received)


def read_responses(received: Iterable[bytes], methods: Sequence[bytes] = (), limits: HeadLimits = SMALL) -> Reading:
    """What a reader of responses makes of them; ``methods`` are those of the requests, GET after the last of them."""
    reader = ResponseReader(limits)
    waiting = list(methods)
    reader.expect(waiting.pop(0) if waiting else b"GET")
    return _read(reader, received, waiting)


def read_messages(received: Iterable[bytes], most: int = MOST_CONTENT) -> Reading:
    """What a reader of a WebSocket's messages makes of them, of a server's that permessage-deflate may have packed."""
    reader = MessageReader(Extensions(deflate=True), from_client=False, most=most)
    said = [message for piece in received for message in reader.feed(piece)]
    return Reading(said=said, closed=reader.fault)


def _read(reader: RequestReader | ResponseReader, received: Iterable[bytes], waiting: Sequence[bytes] = ()) -> Reading:
    reading = Reading()
    methods = list(waiting)
    try:
        for piece in received:
            reader.receive(piece)
            while (event := reader.next_event()) is not None:
                _add(reading, event, reader.consumed)
                if type(event) is End and isinstance(reader, ResponseReader):
                    reader.expect(methods.pop(0) if methods else b"GET")
        end = reader.receive_close()
        if end is not None:
            _add(reading, end, reader.consumed)
        reading.closed = "in between" if end is None else "at the end"
    except ProxyError as error:
        reading.error = error
    reading.consumed = reader.consumed
    return reading


def _add(reading: Reading, event: object, consumed: int) -> None:
    if isinstance(event, RequestHead | ResponseHead):
        _require_bytes(event.fields.lines)
        message = Message(event)
        reading.messages.append(message)
        if isinstance(event, ResponseHead) and 100 <= event.status < 200 and event.status != 101:
            message.trailers = []
            message.end = consumed
        return
    message = reading.messages[-1]
    assert not message.complete
    if type(event) is bytes:
        assert event
        message.content += event
    else:
        assert type(event) is End
        _require_bytes(event.trailers.lines)
        message.trailers = event.trailers.lines
        message.end = consumed


def _require_bytes(lines: list[FieldLine]) -> None:
    # A bytearray is equal to bytes, but is no key of a dict and may change.
    assert all(type(line) is tuple and type(line[0]) is bytes and type(line[1]) is bytes for line in lines)
