"""The messages of a WebSocket, read from copies of the bytes that pass in one direction (RFC 6455, RFC 7692).

Theory of operation. wsproto finds the frames, and gives their payload as it comes, however long they are. Here the
fragments become messages, and what permessage-deflate has packed is unpacked in pieces, of which only the first bytes
are kept: a message that grows to any size costs no more memory than a small one. How the bytes were cut on their way
makes no difference.

It only reads along, and has no say. So it raises nothing: when the bytes are no WebSocket's it says why, and looks no
further. What an endpoint has to check, such as whether text is UTF-8, is for the endpoints.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from wsproto.extensions import Extension
from wsproto.frame_protocol import Frame, FrameDecoder, FrameProtocol, Opcode, ParseFailed, RsvBits

from twistedproxy.http.grammar import list_members

Kind: TypeAlias = Literal["text", "binary", "close", "ping", "pong"]
Direction: TypeAlias = Literal["from_client", "from_upstream"]

FRAME_EFFORT: Final = 4096
"""What a frame counts for in `MessageReader.effort`: it takes about as long as to unpack so many bytes."""

PIECE: Final = 1 << 16
"""The most that is unpacked at a time, in bytes."""

MOST_FINAL_BLOCKS: Final = 64
"""How often the compressed data of one message may end and begin anew (BFINAL); nobody does it more than once."""

_KINDS: Final[dict[int, Kind]] = {
    Opcode.TEXT: "text",
    Opcode.BINARY: "binary",
    Opcode.CLOSE: "close",
    Opcode.PING: "ping",
    Opcode.PONG: "pong",
}

# RFC 7692 section 7.2.1: what a sender leaves away at the end of a message.
_TAIL: Final = b"\x00\x00\xff\xff"

# RFC 7692 section 7.1. How large the sender's window is makes no difference: 15 bits unpack what any fewer have packed.
_WINDOW_BITS: Final = -15
_DEFLATE_PARAMETER: Final = re.compile(
    rb"(?:(client|server)_no_context_takeover|(?:client|server)_max_window_bits=(\"?)(?:[89]|1[0-5])\2)", re.IGNORECASE
)


# ---------------------------------------------------------------- what is read


@dataclass(frozen=True, slots=True)
class Message:
    """One message, or one control frame.

    ``content`` are its first bytes, unpacked, and ``length`` is how many there were in all; ``payload_length`` is how
    many bytes they were in the ``frames`` that carried them. A message that is ``opaque`` is as it was sent: an
    extension that is not known here has a say in what it means.
    """

    kind: Kind
    content: bytes
    length: int
    payload_length: int
    frames: int
    compressed: bool = False
    opaque: bool = False

    @property
    def truncated(self) -> bool:
        """Whether there was more content than was kept."""
        return len(self.content) < self.length

    @property
    def text(self) -> str | None:
        """What it says, where it is text, or the reason of a close frame; else None."""
        if self.opaque or self.kind not in ("text", "close"):
            return None
        content = self.content[2:] if self.kind == "close" else self.content
        if self.truncated:
            content = _whole_characters(content)
        return content.decode("utf-8", "replace")

    def shortened(self, most: int) -> Message:
        """The same with no more than ``most`` bytes of content; a status code is none."""
        most = max(2, most) if self.kind == "close" else most
        return self if len(self.content) <= most else replace(self, content=self.content[:most])

    @property
    def code(self) -> int | None:
        """The status code of a close frame that has one (RFC 6455 section 7.4)."""
        return int.from_bytes(self.content[:2]) if self.kind == "close" and len(self.content) >= 2 else None


@dataclass(frozen=True, slots=True)
class Extensions:
    """What client and server have agreed upon: the response's Sec-WebSocket-Extensions (RFC 6455 section 9.1).

    ``deflate`` is for permessage-deflate, and ``client_takeover`` and ``server_takeover`` say whether that side keeps
    its window from one message to the next. ``unknown`` has the names of all others.
    """

    deflate: bool = False
    client_takeover: bool = True
    server_takeover: bool = True
    unknown: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: tuple[bytes, ...]) -> Extensions:
        """Read the field's values. Whatever is not understood to the last parameter is unknown."""
        deflate = False
        resetting: set[bytes] = set()
        unknown: list[str] = []
        for member in list_members(values):
            name, *parameters = (part.strip(b" \t") for part in member.split(b";"))
            read = [_DEFLATE_PARAMETER.fullmatch(parameter) for parameter in parameters]
            if name.lower() == b"permessage-deflate" and not deflate and all(read):
                deflate = True
                resetting = {match[1].lower() for match in read if match is not None and match[1]}
            else:
                unknown.append(name.decode("latin-1"))
        return cls(deflate, b"client" not in resetting, b"server" not in resetting, tuple(unknown))


# ---------------------------------------------------------------- the reader


class MessageReader:
    """Reads one direction: the client's with ``from_client``, whose frames are masked, or else the server's.

    ``most`` is how many bytes of a message's content are kept, and with that the memory that it takes, beside a window
    of 32 KiB where the messages are compressed.
    """

    __slots__ = ("_begins", "_bits", "_decoder", "_inflation", "_most", "_opaque", "_under_way", "effort", "fault")

    def __init__(self, extensions: Extensions, *, from_client: bool, most: int) -> None:
        self.fault = ""
        """Why it looks no further; empty while it does, and after a close frame."""
        self.effort = 0
        """How much work it has had so far, in bytes that were unpacked, with `FRAME_EFFORT` for each frame."""
        self._opaque = bool(extensions.unknown)
        self._bits = _Bits(extensions.deflate, self._opaque)
        self._decoder: FrameDecoder | None = FrameDecoder(not from_client, [self._bits])
        takeover = extensions.client_takeover if from_client else extensions.server_takeover
        self._inflation = _Inflation(takeover)
        self._most = most
        self._begins = True
        """Whether the next piece is the first one of a frame."""
        self._under_way: _UnderWay | None = None

    def __repr__(self) -> str:
        state = "reading" if self._decoder is not None else f"over: {self.fault}" if self.fault else "over"
        return f"<MessageReader {state} effort={self.effort}>"

    def feed(self, data: bytes) -> list[Message]:
        """Read ``data``, which followed what came before; the messages that it completes.

        After a close frame there are none, and after a ``fault`` neither.
        """
        read: list[Message] = []
        decoder = self._decoder
        if decoder is None:
            return read
        decoder.receive_bytes(data)
        try:
            while (frame := decoder.process_buffer()) is not None:
                message = self._read(frame)
                if message is not None:
                    read.append(message)
                    if message.kind == "close":
                        self.stop()
                        break
        except (ParseFailed, _Malformed) as error:
            self.stop(str(error))
        return read

    def stop(self, fault: str = "") -> None:
        """Look no further, and forget what was kept."""
        self.fault = fault
        self._decoder = None
        self._under_way = None
        self._inflation.forget()

    def _read(self, frame: Frame) -> Message | None:
        """Take a piece of a frame's payload; the message that is complete with it."""
        opcode, payload = frame.opcode, frame.payload
        assert isinstance(payload, bytes)
        begins, self._begins = self._begins, frame.frame_finished
        if begins:
            self.effort += FRAME_EFFORT
        if opcode >= Opcode.CLOSE:
            # These are whole, and may come between the fragments of a message.
            size = len(payload)
            return Message(_KINDS[opcode], payload, size, size, 1, opaque=self._opaque).shortened(self._most)
        message = self._under_way
        if message is None:
            if opcode is Opcode.CONTINUATION:
                raise _Malformed("a fragment continues no message")
            compressed = self._bits.compressed
            message = self._under_way = _UnderWay(_KINDS[opcode], self._most, compressed)
        elif begins:
            if opcode is not Opcode.CONTINUATION:
                raise _Malformed("a message begins within another one")
            message.frames += 1
        message.payload_length += len(payload)
        if not message.compressed:
            message.add(payload)
        elif payload:
            self._unpack(message, payload)
        if not (frame.frame_finished and frame.message_finished):
            return None
        if message.compressed:
            self._unpack(message, None)
        self._under_way = None
        return message.ended(self._opaque)

    def _unpack(self, message: _UnderWay, payload: bytes | None) -> None:
        pieces = self._inflation.end() if payload is None else self._inflation.inflate(payload)
        for piece in pieces:
            self.effort += len(piece)
            message.add(piece)


class _UnderWay:
    """A message that is not complete yet."""

    __slots__ = ("compressed", "content", "frames", "kind", "length", "most", "payload_length")

    def __init__(self, kind: Kind, most: int, compressed: bool) -> None:
        self.kind = kind
        self.most = most
        self.compressed = compressed
        self.content = bytearray()
        self.length = 0
        self.payload_length = 0
        self.frames = 1

    def add(self, piece: bytes) -> None:
        room = self.most - len(self.content)
        if room > 0:
            self.content += piece[:room]
        self.length += len(piece)

    def ended(self, opaque: bool) -> Message:
        content = bytes(self.content)
        return Message(self.kind, content, self.length, self.payload_length, self.frames, self.compressed, opaque)


class _Malformed(Exception):
    """The bytes are no WebSocket's; the text says why."""


class _Bits(Extension):
    """Tells wsproto which reserved bits may be set (RFC 6455 section 5.2), and remembers what they said."""

    name = "reserved bits"

    def __init__(self, deflate: bool, unknown: bool) -> None:
        self.compressed = False
        """Whether the message that began last is compressed, and in no other way packed."""
        self._unknown = unknown
        self._none = RsvBits(unknown, unknown, unknown)
        self._of_a_message = RsvBits(deflate or unknown, unknown, unknown)

    def offer(self) -> bool | str:
        """Nothing: nobody is asked."""
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> RsvBits:
        # Called again for the same header when that came in pieces.
        if opcode is not Opcode.TEXT and opcode is not Opcode.BINARY:
            return self._none
        self.compressed = rsv.rsv1 and not self._unknown
        return self._of_a_message


class _Inflation:
    """Unpacks the messages of one direction (RFC 7692 section 7.2.2).

    With ``takeover`` each may refer to what was in the ones before.
    """

    __slots__ = ("_final_blocks", "_takeover", "_unpacking")

    def __init__(self, takeover: bool) -> None:
        self._takeover = takeover
        self._unpacking: zlib._Decompress | None = None
        self._final_blocks = 0

    def forget(self) -> None:
        """Let go of the window."""
        self._unpacking = None

    def inflate(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` comes to, in pieces."""
        try:
            while True:
                unpacking = self._unpacking
                if unpacking is None:
                    unpacking = self._unpacking = zlib.decompressobj(_WINDOW_BITS)
                piece = unpacking.decompress(data, PIECE)
                if piece:
                    yield piece
                if unpacking.eof:
                    # A final block. What follows it, if only its padding, begins afresh.
                    data = unpacking.unused_data
                    self._unpacking = None
                    self._final_blocks += 1
                    if self._final_blocks > MOST_FINAL_BLOCKS:
                        raise _Malformed("the compressed data ends again and again")
                    if not data:
                        return
                else:
                    data = unpacking.unconsumed_tail
                    if not data and len(piece) < PIECE:
                        return
        except zlib.error as error:
            raise _Malformed("the compressed data is malformed") from error

    def end(self) -> Iterator[bytes]:
        """The rest of the message."""
        if self._unpacking is not None:
            yield from self.inflate(_TAIL)
        self._final_blocks = 0
        if not self._takeover:
            self._unpacking = None


def _whole_characters(text: bytes) -> bytes:
    """``text`` without the beginning of a character that was cut (RFC 3629 section 3)."""
    for back in range(1, min(4, len(text)) + 1):
        byte = text[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return text[:-back] if back < needed else text
    return text
