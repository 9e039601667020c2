"""The library ``h2``, without those of its judgments that a proxy makes itself.

The library ends the connection for a Content-Length that is not right and for one stream too many. It counts all
streams whenever one is opened, answers every frame that is late with a reset, and remembers every setting that a peer
makes up. Here a stream that is not right ends, and its siblings go on.
"""

from __future__ import annotations

from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import AllowedStreamIDs, ConnectionInputs, H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, Event
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes, Settings
from h2.stream import H2Stream, StreamClosedBy, StreamInputs
from hpack import HPACKError, OversizedHeaderListError
from hyperframe.frame import DataFrame, RstStreamFrame

from twistedproxy.http2.compression import LinearDecoder, PlainEncoder
from twistedproxy.http2.fields import Block
from twistedproxy.http2.frames import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    HEADER_SIZE,
    HEADERS,
    SETTINGS,
    Frame,
    frame_header,
)
from twistedproxy.http2.terms import SessionLimits

LARGEST_TABLE: Final = 4096
"""Bytes of the compression table that we fill: a peer may allow any size, with what it makes us say."""

_SETTING_SIZE: Final = 6
_KNOWN: Final = frozenset(int(code) for code in SettingCodes)
_TABLE_SIZE: Final = int(SettingCodes.HEADER_TABLE_SIZE)


class CompressionError(ProtocolError):
    """A field block cannot be read (RFC 9113 section 4.3)."""

    error_code = ErrorCodes.COMPRESSION_ERROR


class _Decoder(LinearDecoder):
    """Says what the library would call a fault of the protocol."""

    def decode(self, data: bytes, raw: bool = False) -> Any:
        try:
            return super().decode(data, raw)
        except OversizedHeaderListError:
            raise
        except HPACKError as error:
            raise CompressionError(f"a field block cannot be read: {error}") from error


class Connection(H2Connection):
    """What ``h2`` is for a `Session`. ``settings`` are what this side says first."""

    # The library's 65536 would be some MiB for each connection.
    MAX_CLOSED_STREAMS = 1000

    def __init__(self, client: bool, settings: dict[SettingCodes, int], max_head_size: int) -> None:
        super().__init__(
            H2Configuration(
                client_side=client,
                header_encoding=None,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.encoder = PlainEncoder()
        self.decoder = _Decoder()
        self.local_settings = Settings(client=client, initial_values=settings)
        self.max_inbound_frame_size = settings[SettingCodes.MAX_FRAME_SIZE]
        self.decoder.max_header_list_size = max_head_size

    # How many streams there are is the session's to count: the library would look at each of them every time.
    open_inbound_streams = 0
    open_outbound_streams = 0

    def _begin_new_stream(self, stream_id: int, allowed_ids: Any) -> H2Stream:
        stream = super()._begin_new_stream(stream_id, allowed_ids)
        stream._initialize_content_length = _nothing  # type: ignore[method-assign]  # the session's to judge
        return stream

    def _handle_data_on_closed_stream(
        self, events: list[Event], exc: StreamClosedError, frame: DataFrame
    ) -> tuple[list[Any], list[Event]]:
        # RFC 9113 section 5.1: what was on its way when we reset the stream is dropped in silence. It is counted for
        # the connection all the same.
        number = frame.stream_id
        late = not exc._events and self._stream_closed_by(number) is StreamClosedBy.SEND_RST_STREAM
        size = frame.flow_controlled_length
        received = DataReceived(stream_id=number, data=b"", flow_controlled_length=size)
        answer = [] if late else [RstStreamFrame(number, error_code=ErrorCodes.STREAM_CLOSED)]
        return answer, [*events, *exc._events, received]

    def forget(self, number: int) -> None:
        """The stream is over. How it ended is remembered for a while."""
        stream = self.streams.pop(number, None)
        if stream is not None:
            self._closed_streams[number] = stream.closed_by

    def is_idle(self, number: int) -> bool:
        """Whether no stream of this number has been opened (RFC 9113 section 5.1)."""
        ours = number % 2 == int(self.config.client_side)
        return number > (self.highest_outbound_stream_id if ours else self.highest_inbound_stream_id)

    def window(self, number: int) -> int:
        """How many bytes of content the peer takes on the stream; can be negative."""
        return min(self.outbound_flow_control_window, self.streams[number].outbound_flow_control_window)

    def head_frames(self, number: int, block: Block, end: bool) -> bytes:
        """A field block of the stream, which opens it when it is the first one of a client's.

        The library would convert and look through the fields several times.
        """
        client = self.config.client_side
        self.state_machine.process_input(ConnectionInputs.SEND_HEADERS)
        stream = self._get_or_create_stream(number, AllowedStreamIDs(int(client)))
        machine = stream.state_machine
        name, value = block[0]
        interim = name == b":status" and value.startswith(b"1")
        machine.process_input(StreamInputs.SEND_INFORMATIONAL_HEADERS if interim else StreamInputs.SEND_HEADERS)
        if end:
            machine.process_input(StreamInputs.SEND_END_STREAM)
        data = self.encoder.encode(block)
        most = self.max_outbound_frame_size
        ending = END_STREAM if end else 0
        if len(data) <= most:
            return frame_header(len(data), HEADERS, ending | END_HEADERS, number) + data
        frames = [frame_header(most, HEADERS, ending, number), data[:most]]
        for start in range(most, len(data), most):
            piece = data[start : start + most]
            flags = END_HEADERS if start + most >= len(data) else 0
            frames += (frame_header(len(piece), CONTINUATION, flags, number), piece)
        return b"".join(frames)

    def data_frame(self, number: int, content: bytes, end: bool) -> bytes:
        """A frame of content, for which the `window` has room.

        The library would copy the content three times.
        """
        stream = self.streams[number]
        size = len(content)
        self.outbound_flow_control_window -= size
        stream.outbound_flow_control_window -= size
        if end:
            stream.end_stream()
        return frame_header(size, 0, END_STREAM if end else 0, number) + content

    def settings_changed(self) -> None:
        """The peer has sent settings: say of the table's sizes the smallest and the last (RFC 7541 section 4.2).

        The library would say all, and so sizes that are not allowed any more.
        """
        encoder = self.encoder
        changes = encoder.table_size_changes
        if changes:
            # The library would forget a change that is made twice.
            encoder.header_table.resized = True
            changes[:] = sorted({min(changes), changes[-1]})


def _nothing(headers: object) -> None:
    """In place of what reads the Content-Length."""


def settings_said(client: bool, limits: SessionLimits, frame_size: int) -> dict[SettingCodes, int]:
    """What a side takes, as it says it first (RFC 9113 section 6.5.2, RFC 8441 section 3)."""
    settings = {
        SettingCodes.MAX_CONCURRENT_STREAMS: limits.max_streams,
        SettingCodes.MAX_HEADER_LIST_SIZE: limits.max_head_size,
        SettingCodes.INITIAL_WINDOW_SIZE: limits.stream_window,
        SettingCodes.MAX_FRAME_SIZE: frame_size,
        SettingCodes.ENABLE_PUSH: 0,
    }
    if not client:
        settings[SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
    return settings


def settings_taken(frame: Frame) -> bytes:
    """A SETTINGS frame with the settings that mean something to us.

    Unknown ones are ignored (RFC 9113 section 6.5.2); the library would keep them all.
    """
    octets = frame.octets
    size = len(octets) - HEADER_SIZE
    if frame.flags & ACK or size % _SETTING_SIZE:
        return octets
    taken: dict[int, int] = {}
    for start in range(HEADER_SIZE, len(octets), _SETTING_SIZE):
        code = octets[start] << 8 | octets[start + 1]
        if code in _KNOWN:
            taken[code] = int.from_bytes(octets[start + 2 : start + _SETTING_SIZE], "big")
    if _TABLE_SIZE in taken:
        taken[_TABLE_SIZE] = min(taken[_TABLE_SIZE], LARGEST_TABLE)
    kept = b"".join(code.to_bytes(2, "big") + value.to_bytes(4, "big") for code, value in taken.items())
    return frame_header(len(kept), SETTINGS, 0, frame.stream) + kept
