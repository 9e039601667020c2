"""A client that speaks HTTP/2 inside TLS inside a tunnel, all in memory: the library ``h2`` and what it was told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes

from tests.inner import Inner, established
from tests.memory import MemoryTransport, Wire
from twistedproxy.http2.frames import GOAWAY, HEADER_SIZE, RST_STREAM, FrameReader

Lines = Sequence[tuple[bytes, bytes]]

GET: Lines = (
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"origin.test"),
    (b":path", b"/a?b"),
)
POST: Lines = ((b":method", b"POST"), *GET[1:])
WEBSOCKET: Lines = (
    (b":method", b"CONNECT"),
    (b":protocol", b"websocket"),
    *GET[1:],
    (b"sec-websocket-version", b"13"),
)


class Answer:
    """What has come on one stream."""

    def __init__(self) -> None:
        self.interim: list[dict[bytes, bytes]] = []
        self.head: dict[bytes, bytes] = {}
        self.content = b""
        self.trailers: dict[bytes, bytes] = {}
        self.ended = False
        self.reset: int | None = None

    def __repr__(self) -> str:
        return f"<Answer {self.head} {len(self.content)} bytes ended={self.ended} reset={self.reset}>"

    @property
    def status(self) -> int:
        """The final response's status; 0 before it came."""
        return int(self.head.get(b":status", b"0"))


class HTTP2Client:
    """A connection of a client's to ``authority``. With ``reads`` it takes in content as fast as it comes.

    ``fields`` are lines that its CONNECT has.
    """

    def __init__(
        self,
        wire: Wire,
        authority: str = "origin.test:443",
        *,
        reads: bool = True,
        window: int = 0,
        fields: bytes = b"",
    ) -> None:
        self.wire = wire
        self.reads = reads
        self.transport: MemoryTransport = established(wire, authority, fields)
        self.inner = Inner(wire, self.transport, authority.rpartition(":")[0], protocols=["h2", "http/1.1"])
        self.inner.shake_hands()
        assert self.inner.tls.selected_alpn_protocol() == "h2"
        self.h2 = H2Connection(
            H2Configuration(header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        self.answers: dict[int, Answer] = {}
        self.goaways: list[tuple[int, int]] = []
        self.pings = 0
        self._frames = FrameReader(65536)
        self.settings: dict[Any, int] = {}
        self.h2.initiate_connection()
        if window:
            self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.turn()

    @property
    def connection(self) -> Any:
        """The proxy's end."""
        return next(one for one in self.wire.factory if one.client_port == self.transport.getPeer().port)

    def turn(self) -> None:
        """Send what there is to send, and take in what has come, until there is no more."""
        resting = 0
        # What is written in small pieces leaves with the next turn.
        while resting < 2:
            said = self.h2.data_to_send()
            if said:
                self.inner.tls.write(said)
            heard = self.inner.heard()
            resting = 0 if heard or said else resting + 1
            self.take(heard)

    def say(self, octets: bytes) -> None:
        """Send bytes that ``h2`` knows nothing of."""
        self.inner.tls.write(octets)
        self.turn()

    def take(self, heard: bytes) -> None:
        """Take note of what the proxy has said."""
        self._frames.receive(heard)
        while (frame := self._frames.next_frame()) is not None:
            payload = frame.octets[HEADER_SIZE:]
            if frame.kind == GOAWAY:
                # The library would understand nothing any more.
                self.goaways.append((int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")))
                continue
            if frame.kind == RST_STREAM:
                # The library says nothing of one that comes after the end.
                self.answer(frame.stream).reset = int.from_bytes(payload, "big")
            self._take_frame(frame.octets)

    def _take_frame(self, octets: bytes) -> None:
        for event in self.h2.receive_data(octets):
            match event:
                case events.InformationalResponseReceived():
                    self.answer(event.stream_id).interim.append(dict(event.headers))
                case events.ResponseReceived():
                    self.answer(event.stream_id).head = dict(event.headers)
                case events.DataReceived():
                    self.answer(event.stream_id).content += event.data
                    if self.reads and event.flow_controlled_length:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case events.TrailersReceived():
                    self.answer(event.stream_id).trailers = dict(event.headers)
                case events.StreamEnded():
                    self.answer(event.stream_id).ended = True
                case events.PingReceived():
                    self.pings += 1
                case events.RemoteSettingsChanged():
                    self.settings |= {code: change.new_value for code, change in event.changed_settings.items()}

    def answer(self, stream: Any) -> Answer:
        """What came on a stream."""
        return self.answers.setdefault(stream, Answer())

    def ask(self, lines: Lines = GET, content: bytes | None = None, *, end: bool = True) -> int:
        """Send a request; its stream."""
        stream = self.h2.get_next_available_stream_id()
        self.answers[stream] = Answer()
        self.h2.send_headers(stream, list(lines), end_stream=content is None and end)
        if content is not None:
            self.h2.send_data(stream, content, end_stream=end)
        self.turn()
        return stream

    def send(self, stream: int, content: bytes, *, end: bool = False) -> None:
        """Send content."""
        self.h2.send_data(stream, content, end_stream=end)
        self.turn()
