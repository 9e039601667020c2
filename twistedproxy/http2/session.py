"""An HTTP/2 connection without I/O: frames in, streams told; streams speak, frames out.

Theory of operation. The library ``h2`` knows the frames, the compression of fields and the states of streams. Around
it stands what a connection needs that is a proxy's. Bytes are taken apart into frames first: each is paid for from the
peer's `Allowance`, counted for its stream, and judged by the length that the message has promised, so that a malformed
message ends its stream and not the connection. So does a stream too many. GOAWAY is ours, since streams outlive it.
Fields are validated by `twistedproxy.http2.fields` and not a second time.

Content leaves in turns: `pump` sends one frame of each stream that has something to say, until the windows or the
connection are full.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, NoReturn

from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import NoSuchStreamError, ProtocolError, StreamClosedError
from hyperframe.frame import GoAwayFrame, RstStreamFrame

from twistedproxy.errors import FramingError, ProxyError, ResponseError
from twistedproxy.http2 import frames
from twistedproxy.http2.allowance import RESET, Allowance, price_of
from twistedproxy.http2.connection import Connection, settings_said, settings_taken
from twistedproxy.http2.fields import Block
from twistedproxy.http2.frames import Frame, FrameReader, FrameTooLarge
from twistedproxy.http2.stream import UNKNOWN, Stream
from twistedproxy.http2.terms import Owner, SessionError, SessionLimits

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first (RFC 9113 section 3.4)."""

FRAME_SIZE: Final = 64 * 1024
"""Bytes of the largest payload that is taken, and that is sent where the peer takes so much."""

CONNECTION_WINDOW: Final = 4 * 1024 * 1024
"""Bytes that a peer may send on all streams before it hears from us. What holds it back is the streams' own windows."""

_INITIAL_WINDOW: Final = 65535
_LAST_STREAM: Final = 2**31 - 1
_PING: Final = b"pyproxy?"
_BLOCK_FRAMES: Final = frozenset((frames.HEADERS, frames.PUSH_PROMISE, frames.CONTINUATION))

# A smaller piece of content that the peer's window cuts off is no work done: windows can be opened byte by byte.
_SMALL: Final = 1024


class Session:
    """One side of a connection. ``write`` sends bytes, ``is_blocked`` tells whether those sent before still wait."""

    def __init__(
        self,
        owner: Owner,
        *,
        client: bool,
        limits: SessionLimits,
        write: Callable[[bytes], object],
        is_blocked: Callable[[], bool],
        seconds: Callable[[], float],
    ) -> None:
        self.streams: dict[int, Stream] = {}
        """Those that are not over."""
        self._owner = owner
        self.client = client
        self._limits = limits
        self._write = write
        self._is_blocked = is_blocked
        self._allowance = Allowance(seconds)
        self._preface = b"" if client else PREFACE
        self.frames = FrameReader(FRAME_SIZE)
        self._settled = False
        self._ready: OrderedDict[Stream, None] = OrderedDict()
        self._touched: dict[Stream, None] = {}
        self.in_head = False
        """Whether more of a field block has to come."""
        self._block_size = 0
        self._unacknowledged = 0
        self._unacknowledged_by: dict[int, int] = {}
        self._trailers: Block = ()
        self._highest = 0
        self._last = _LAST_STREAM
        self._pings = 0
        self._over = False
        self._pumping = False
        self._h2 = Connection(client, settings_said(client, limits, FRAME_SIZE), 2 * limits.max_head_size)
        self._told: dict[type, Callable[[Any], object]] = {
            events.RequestReceived: self._request_received,
            events.ResponseReceived: self._response_received,
            events.InformationalResponseReceived: self._response_received,
            events.TrailersReceived: self._trailers_received,
            events.DataReceived: self._data_received,
            events.StreamEnded: self._stream_ended,
            events.StreamReset: self._stream_reset,
            events.WindowUpdated: self._window_updated,
            events.RemoteSettingsChanged: self._settings_changed,
            events.PingAckReceived: self._ping_answered,
        }

    def __repr__(self) -> str:
        side = "client" if self.client else "server"
        return f"<Session {side} streams={len(self.streams)} {self._allowance!r}>"

    def start(self) -> None:
        """Say what this side takes."""
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW - _INITIAL_WINDOW)
        self._send()

    @property
    def blocked(self) -> bool:
        """Whether the connection takes no more bytes for the moment."""
        return self._is_blocked()

    @property
    def room_for_streams(self) -> int:
        """How many more streams this side may open, as far as the peer has said."""
        if self._over or self._h2.highest_outbound_stream_id >= _LAST_STREAM - 1:
            return 0
        return min(self._limits.max_streams, self._h2.remote_settings.max_concurrent_streams) - len(self.streams)

    @property
    def takes_websocket(self) -> bool:
        """Whether the peer has said that it knows extended CONNECT (RFC 8441 section 3)."""
        return bool(self._h2.remote_settings.enable_connect_protocol)

    @property
    def highest_stream(self) -> int:
        """The number of the last stream that the peer has opened."""
        return self._highest

    # ------------------------------------------------------------ what comes

    def receive(self, data: bytes) -> None:
        """Act on the bytes that came. Raises `SessionError` when the connection cannot go on; the peer is told why."""
        if self._over:
            return
        try:
            if self._preface:
                data = self._take_preface(data)
            self.frames.receive(data)
            while not self._over and (frame := self.frames.next_frame()) is not None:
                self._receive_frame(frame)
        except FrameTooLarge as error:
            self.fail(ErrorCodes.FRAME_SIZE_ERROR, str(error))
        self._send()

    def turn_ended(self) -> None:
        """Tell every stream that was told something that this was all."""
        while self._touched:
            touched, self._touched = self._touched, {}
            for stream in touched:
                stream.turn_ended()

    def _take_preface(self, data: bytes) -> bytes:
        expected = self._preface[: len(data)]
        if not data.startswith(expected):
            self.fail(ErrorCodes.PROTOCOL_ERROR, "the connection does not begin with the preface of HTTP/2")
        self._preface = self._preface[len(expected) :]
        self._h2.receive_data(expected)
        return data[len(expected) :]

    def _receive_frame(self, frame: Frame) -> None:
        kind = frame.kind
        if not self._settled:
            if kind != frames.SETTINGS or frame.flags & frames.ACK:
                self.fail(ErrorCodes.PROTOCOL_ERROR, "the first frame is no SETTINGS")
            self._settled = True
        stream = self.streams.get(frame.stream)
        size = frame.content_size if kind == frames.DATA else 0
        opens = not self.client and frame.stream > self._highest
        price = price_of(frame, size, opens, stream is not None, self.client)
        if price and not self._allowance.spend(price):
            self._too_much("there are too many frames that only cost us work")
        octets = frame.octets
        if stream is not None:
            stream.received += len(octets)
            if kind == frames.DATA and stream.expected != UNKNOWN and not stream.input_ended:
                stream.expected -= size
                if stream.expected < 0 or (stream.expected and frame.flags & frames.END_STREAM):
                    self._malformed(stream, self._error("the content is not as long as its Content-Length"))
        if kind in _BLOCK_FRAMES:
            self._count_block(frame)
        elif kind == frames.GOAWAY:
            self._goaway_received(frame)
            return
        elif kind == frames.SETTINGS:
            octets = settings_taken(frame)
        elif kind == frames.RST_STREAM and stream is None and self._h2.is_idle(frame.stream):
            self.fail(ErrorCodes.PROTOCOL_ERROR, "a stream is reset that was never opened")
        try:
            told = self._h2.receive_data(octets)
        except ProtocolError as error:
            # The library has written its own GOAWAY.
            self._send()
            self._over = True
            raise SessionError(error.error_code, str(error)) from error
        for event in told:
            tell = self._told.get(type(event))
            if tell is not None:
                tell(event)

    def _count_block(self, frame: Frame) -> None:
        """A part of a field block came."""
        self._block_size = len(frame.octets) + (self._block_size if frame.kind == frames.CONTINUATION else 0)
        self.in_head = not frame.flags & frames.END_HEADERS
        if self._block_size > 2 * self._limits.max_head_size:
            self._too_much(f"a field block has more than {2 * self._limits.max_head_size} bytes")

    def _too_much(self, detail: str) -> NoReturn:
        self.fail(ErrorCodes.ENHANCE_YOUR_CALM, detail)

    def _error(self, detail: str) -> ProxyError:
        return ResponseError(detail) if self.client else FramingError(detail)

    def _malformed(self, stream: Stream, error: ProxyError) -> None:
        """The message is not valid; that ends its stream, after what that has to say at once."""
        if not (self.client or self._allowance.spend(RESET)):
            self._too_much("there are too many streams that are not valid")
        self._touched[stream] = None
        stream.malformed(error)
        self.pump()
        self.reset(stream, ErrorCodes.PROTOCOL_ERROR)

    def _request_received(self, event: events.RequestReceived) -> None:
        number = event.stream_id
        assert number is not None
        self._highest = number
        if number > self._last or len(self.streams) >= self._limits.max_streams:
            if not self._allowance.spend(RESET):
                self._too_much("there are too many streams")
            self._h2.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            self._h2.forget(number)
            return
        stream = self._owner.new_stream(number)
        self.streams[number] = stream
        stream.received = self._block_size
        self._head(stream, event)

    def _response_received(self, event: events.ResponseReceived | events.InformationalResponseReceived) -> None:
        stream = self.streams.get(event.stream_id or 0)
        if stream is not None:
            self._head(stream, event)

    def _head(self, stream: Stream, event: Any) -> None:
        self._touched[stream] = None
        try:
            stream.expected = stream.head_received(event.headers, getattr(event, "stream_ended", None) is not None)
        except ProxyError as error:
            self._malformed(stream, error)

    def _trailers_received(self, event: events.TrailersReceived) -> None:
        self._trailers = event.headers or ()

    def _data_received(self, event: events.DataReceived) -> None:
        size = event.flow_controlled_length or 0
        self._acknowledge_connection(size)
        stream = self.streams.get(event.stream_id or 0)
        if stream is None:
            return
        self._touched[stream] = None
        if event.data:
            stream.content_received(event.data)
        if event.stream_ended is None:
            stream.hold(size)

    def _stream_ended(self, event: events.StreamEnded) -> None:
        trailers, self._trailers = self._trailers, ()
        stream = self.streams.get(event.stream_id or 0)
        if stream is None:
            return
        self._touched[stream] = None
        stream.input_ended = True
        try:
            if stream.expected > 0:
                raise self._error("the content is not as long as its Content-Length")
            stream.end_received(trailers)
        except ProxyError as error:
            self._malformed(stream, error)
        self._settle(stream)

    def _stream_reset(self, event: events.StreamReset) -> None:
        stream = self.streams.get(event.stream_id or 0)
        if stream is None:
            return
        if not (event.remote_reset or self.client or self._allowance.spend(RESET)):
            # CVE-2025-8671: a frame that makes us reset the stream is as good as a reset.
            self._too_much("there are too many streams that are not valid")
        self._touched[stream] = None
        self._forget(stream)
        stream.reset_received(int(event.error_code or 0))

    def _window_updated(self, event: events.WindowUpdated) -> None:
        if event.stream_id:
            stream = self.streams.get(event.stream_id)
            if stream is not None and stream.wants_to_speak:
                self.ready(stream)

    def _settings_changed(self, event: events.RemoteSettingsChanged) -> None:
        self._h2.settings_changed()
        # The acknowledgement comes before what it allows.
        self._send()
        for stream in self.streams.values():
            if stream.wants_to_speak:
                self.ready(stream)
        self._owner.settings_received()

    def _ping_answered(self, event: events.PingAckReceived) -> None:
        # Answers that nobody has asked for say nothing.
        if self._pings and event.ping_data == _PING:
            self._pings -= 1
            self._owner.pong_received()

    def _goaway_received(self, frame: Frame) -> None:
        payload = frame.octets[frames.HEADER_SIZE :]
        if frame.stream or self.in_head:
            self.fail(ErrorCodes.PROTOCOL_ERROR, "a GOAWAY is where it does not belong")
        if len(payload) < 8:
            self.fail(ErrorCodes.FRAME_SIZE_ERROR, "a GOAWAY is too short")
        last = int.from_bytes(payload[:4], "big") & _LAST_STREAM
        self._owner.going_away(last, int.from_bytes(payload[4:8], "big"))

    # ------------------------------------------------------------ flow control of what comes

    def acknowledge(self, stream: Stream, size: int) -> None:
        """Let the peer send ``size`` bytes more on ``stream``; it is told of half a window at once."""
        total = self._unacknowledged_by.get(stream.id, 0) + size
        if total * 2 >= self._limits.stream_window:
            self._unacknowledged_by.pop(stream.id, None)
            if not (stream.over or stream.input_ended or self._over):
                self._h2.increment_flow_control_window(total, stream.id)
                self._send()
        else:
            self._unacknowledged_by[stream.id] = total

    def _acknowledge_connection(self, size: int) -> None:
        self._unacknowledged += size
        if self._unacknowledged * 2 >= CONNECTION_WINDOW:
            self._h2.increment_flow_control_window(self._unacknowledged)
            self._unacknowledged = 0

    # ------------------------------------------------------------ what is said

    def open(self, stream: Stream) -> None:
        """Open ``stream``, one of this side's. What it says first comes before another is opened."""
        stream.id = self._h2.get_next_available_stream_id()
        self.streams[stream.id] = stream

    def send_block(self, stream: Stream, block: Block, end: bool) -> None:
        """Send a field block on ``stream``; ``end`` says that nothing follows."""
        if self._over:
            return
        data = self._h2.head_frames(stream.id, block, end)
        self._write(data)
        stream.sent += len(data)
        if end:
            self._said_all(stream)

    def ready(self, stream: Stream) -> None:
        """``stream`` has something to say, or may say it."""
        self._ready[stream] = None

    def pump(self) -> None:
        """Send what the streams have to say, in turns, as far as there is room; one under way goes on with it."""
        if self._pumping:
            return
        self._pumping = True
        ready = self._ready
        try:
            while ready and not (self._over or self._is_blocked()):
                stream, _ = ready.popitem(last=False)
                if stream.over:
                    continue
                if stream.unsaid and not self._send_piece(stream):
                    if self._h2.outbound_flow_control_window > 0:
                        # Its own window: it comes back with the peer's update.
                        continue
                    # The connection's window: nobody's turn.
                    ready[stream] = None
                    ready.move_to_end(stream, last=False)
                    break
                if stream.unsaid:
                    ready[stream] = None
                else:
                    self._end_or_ask(stream)
        finally:
            self._pumping = False

    def _end_or_ask(self, stream: Stream) -> None:
        """All of the content is said: say the end, or let the stream say more."""
        end = stream.take_end()
        if end:
            self.send_block(stream, end, True)
        elif end is not None:
            self._h2.end_stream(stream.id)
            stream.sent += self._send()
            self._said_all(stream)
        elif not (stream.over or stream.output_ended):
            stream.room_made()

    def _send_piece(self, stream: Stream) -> int:
        """Send one frame of content; how many bytes of it there was room for."""
        queue = stream.queue
        room = min(self._h2.window(stream.id), self._h2.max_outbound_frame_size, FRAME_SIZE)
        if room <= 0:
            return 0
        piece = queue.popleft()
        if len(piece) > room:
            queue.appendleft(piece[room:])
            piece = piece[:room]
        if room >= _SMALL or len(piece) < room:
            self._allowance.add_for_work()
        stream.unsaid -= len(piece)
        end = not stream.unsaid and stream.ends_after_queue
        data = self._h2.data_frame(stream.id, piece, end)
        self._write(data)
        stream.sent += len(data)
        if end:
            stream.take_end()
            self._said_all(stream)
        return len(piece)

    def drained(self) -> None:
        """The connection takes bytes again: whoever waited for that may go on."""
        for stream in self.streams.values():
            if not stream.output_ended:
                self.ready(stream)
        self.pump()

    def _said_all(self, stream: Stream) -> None:
        stream.output_ended = True
        if stream.ends_with_output and not stream.input_ended:
            self.reset(stream, ErrorCodes.CANCEL if self.client else ErrorCodes.NO_ERROR)
        self._settle(stream)

    def reset(self, stream: Stream, code: int) -> None:
        """End ``stream`` at once."""
        if stream.id not in self.streams:
            return
        if not self._over:
            try:
                self._h2.reset_stream(stream.id, code)
            except NoSuchStreamError as error:
                # Nothing was said yet; or both sides have said all, and what was wrong is still told.
                if code and isinstance(error, StreamClosedError):
                    self._write(RstStreamFrame(stream.id, error_code=code).serialize())
            stream.sent += self._send()
        self._forget(stream)

    def _settle(self, stream: Stream) -> None:
        if stream.input_ended and stream.output_ended and not stream.over:
            self._allowance.add_for_work()
            self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        if self.streams.pop(stream.id, None) is not None:
            self._unacknowledged_by.pop(stream.id, None)
            self._h2.forget(stream.id)
            stream.drop()
            self._owner.stream_over(stream)

    def ping(self) -> None:
        """Ask the peer for a sign of life; `Owner.pong_received` tells of it."""
        if not self._over:
            self._pings += 1
            self._h2.ping(_PING)
            self._send()

    def go_away(self, code: int = 0, last: int = _LAST_STREAM) -> None:
        """Say that no stream after number ``last`` will be looked at (RFC 9113 section 6.8). The others go on."""
        if not self._over:
            self._last = min(self._last, last)
            frame = GoAwayFrame(0, last_stream_id=self._last, error_code=code)
            self._write(frame.serialize())

    def fail(self, code: int, detail: str) -> NoReturn:
        """Say why the connection cannot go on, and raise `SessionError`."""
        self._send()
        self.go_away(code, self._highest)
        self._over = True
        raise SessionError(code, detail)

    def end(self) -> list[Stream]:
        """The connection is gone, or goes: nothing is said any more. The streams that it had are over."""
        self._over = True
        streams = list(self.streams.values())
        for stream in streams:
            self._forget(stream)
        return streams

    def _send(self) -> int:
        data = self._h2.data_to_send()
        if data:
            self._write(data)
        return len(data)


__all__ = ["Owner", "Session", "SessionError", "SessionLimits"]
