"""A session whose owner writes down what it is told, and the other side of its connection, played by the library."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event
from hyperframe.frame import Frame as LibraryFrame
from hyperframe.frame import GoAwayFrame

from twistedproxy.errors import FramingError, ProxyError
from twistedproxy.http2.compression import PlainEncoder
from twistedproxy.http2.fields import Block
from twistedproxy.http2.frames import Frame, FrameReader, frame_header
from twistedproxy.http2.session import PREFACE, Session, SessionError, SessionLimits
from twistedproxy.http2.stream import UNKNOWN, Stream

GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"h"), (b":path", b"/")]
POST = [(b":method", b"POST"), *GET[1:]]
OK = [(b":status", b"200")]


class Told(Stream):
    """A stream that writes down what it is told. ``lengths`` and ``errors`` say what its heads and ends amount to."""

    __slots__ = ("content", "owner", "room")

    def __init__(self, owner: Owner, session: Session, number: int = 0) -> None:
        super().__init__(session, number)
        self.owner = owner
        self.content = b""
        self.room = 0

    def _tell(self, what: str, *details: object) -> None:
        self.owner.log.append((self.id, what, *details))

    def head_received(self, block: Block, ended: bool) -> int:
        self._tell("head", dict(block).get(b":status", b""), ended)
        error = self.owner.head_error
        if error is not None:
            raise error
        status = dict(block).get(b":status", b"200")
        if status.startswith(b"1"):
            return UNKNOWN
        if status in (b"204", b"304"):
            return 0
        length = dict(block).get(b"content-length")
        if length is None:
            return UNKNOWN
        if not length.isdigit():
            raise FramingError("the length is not valid")
        return int(length)

    def content_received(self, content: bytes) -> None:
        self.content += content
        if self.owner.log and self.owner.log[-1][:2] == (self.id, "content"):
            content = self.owner.log.pop()[2] + content
        self._tell("content", content)

    def end_received(self, trailers: Block) -> None:
        self._tell("end", [tuple(line) for line in trailers])
        error = self.owner.end_error
        if error is not None:
            raise error

    def malformed(self, error: ProxyError) -> None:
        self._tell("malformed", error.detail)
        if self.owner.says_when_malformed:
            self.say_head([(b":status", b"400")], False)
            self.say(b"no")
            self.say_end(())

    def reset_received(self, code: int) -> None:
        self._tell("reset", code)

    def room_made(self) -> None:
        self.room += 1
        self.owner.when_room_is_made(self)

    def turn_ended(self) -> None:
        self._tell("turn")


class Owner:
    """The owner of the session under test."""

    def __init__(self, client: bool, **limits: int) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.over: list[int] = []
        self.out = b""
        self.blocked = False
        self.now = 0.0
        self.head_error: ProxyError | None = None
        self.end_error: ProxyError | None = None
        self.says_when_malformed = False
        self.when_room_is_made: Callable[[Told], object] = lambda stream: None
        self.opened: dict[int, Told] = {}
        self.session = Session(
            self,
            client=client,
            limits=SessionLimits(**limits),
            write=self._write,
            is_blocked=lambda: self.blocked,
            seconds=lambda: self.now,
        )
        self.session.start()

    def _write(self, data: bytes) -> None:
        self.out += data

    def new_stream(self, number: int) -> Stream:
        stream = self.opened[number] = Told(self, self.session, number)
        return stream

    def stream_over(self, stream: Stream) -> None:
        self.over.append(stream.id)

    def settings_received(self) -> None:
        self.log.append((0, "settings"))

    def going_away(self, last: int, code: int) -> None:
        self.log.append((0, "goaway", last, code))

    def pong_received(self) -> None:
        self.log.append((0, "pong"))

    # ------------------------------------------------------------ for tests

    def open(self, block: Block, end: bool = False) -> Told:
        """Begin a stream of a client's."""
        stream = Told(self, self.session)
        self.session.open(stream)
        self.opened[stream.id] = stream
        stream.say_head(block, end)
        return stream

    def take(self) -> bytes:
        """What has been written since."""
        out, self.out = self.out, b""
        return out

    def received(self, data: bytes) -> None:
        """A turn of the connection."""
        self.session.receive(data)
        self.session.turn_ended()
        self.session.pump()

    def failed(self, data: bytes) -> tuple[int, str]:
        """The code and text of the error that ends the connection; the GOAWAY has the same code."""
        self.out = b""
        with pytest.raises(SessionError) as raised:
            self.received(data)
        error = raised.value
        goaway = frames_of(self.out)[-1]
        assert isinstance(goaway, GoAwayFrame)
        assert goaway.error_code == error.code
        return error.code, error.detail

    def calls(self, *kinds: str) -> list[tuple[Any, ...]]:
        """What was told, of these kinds."""
        return [call for call in self.log if call[1] in kinds]


class Pair:
    """A session and the library at its other end."""

    def __init__(self, client: bool = False, **limits: int) -> None:
        self.owner = Owner(client, **limits)
        self.session = self.owner.session
        self.peer = H2Connection(
            H2Configuration(client_side=not client, header_encoding=None, validate_outbound_headers=False)
        )
        self.peer.encoder = PlainEncoder()
        self.peer.initiate_connection()
        self.events: list[Event] = []
        self.run()

    def run(self) -> list[Event]:
        """Carry bytes to and fro until nobody has any; what the peer was told."""
        events: list[Event] = []
        while True:
            data = self.peer.data_to_send()
            if data:
                self.owner.received(data)
            out = self.owner.take()
            if out:
                events += self.peer.receive_data(out)
            if not (data or out):
                self.events += events
                return events

    def request(self, number: int = 1, block: Block = (), end: bool = True) -> Told:
        """A request of the peer's has come."""
        self.peer.send_headers(number, block or GET, end_stream=end)
        self.run()
        return self.owner.opened[number]


def frames_of(data: bytes) -> list[LibraryFrame]:
    """The frames in what was written."""
    result = []
    reader = FrameReader(1 << 24)
    reader.receive(data.removeprefix(PREFACE))
    while (found := reader.next_frame()) is not None:
        frame, size = LibraryFrame.parse_frame_header(memoryview(found.octets[:9]))
        frame.parse_body(memoryview(found.octets[9 : 9 + size]))
        result.append(frame)
    assert not reader.buffered
    return result


def kinds_of(data: bytes) -> list[str]:
    """The names and streams of the frames in what was written."""
    return [f"{type(frame).__name__.removesuffix('Frame')} {frame.stream_id}" for frame in frames_of(data)]


def octets(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame, valid or not."""
    return frame_header(len(payload), kind, flags, stream) + payload


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> Frame:
    """The same as a `FrameReader` gives it."""
    return Frame(kind, flags, stream, octets(kind, flags, stream, payload))


def hello(settings: Iterable[tuple[int, int]] = ()) -> bytes:
    """A SETTINGS frame."""
    return octets(4, 0, 0, b"".join(code.to_bytes(2, "big") + value.to_bytes(4, "big") for code, value in settings))


def started(client: bool = False, settings: Iterable[tuple[int, int]] = (), **limits: int) -> Owner:
    """A session that has heard the other side's first frame; what it wrote until then is forgotten."""
    owner = Owner(client, **limits)
    owner.received((b"" if client else PREFACE) + hello(settings))
    owner.take()
    owner.log.clear()
    return owner
