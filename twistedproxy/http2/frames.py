"""Whole frames from the bytes of a connection (RFC 9113 section 4.1), before anybody reads what is in them.

A frame is judged by its header, so that one which is too large is refused before it is there.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8

HEADER_SIZE: Final = 9

_HEADER: Final = Struct(">HBBBL")


def frame_header(size: int, kind: int, flags: int, stream: int) -> bytes:
    """The header of a frame whose payload has ``size`` bytes."""
    return _HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream)


class FrameTooLarge(ValueError):
    """A frame is larger than this side has said it takes. The text says how large it is."""


class Frame(NamedTuple):
    """A frame as it came. ``octets`` are all of its bytes, header included."""

    kind: int
    flags: int
    stream: int
    octets: bytes

    @property
    def content_size(self) -> int:
        """The bytes of content in a DATA frame, without its padding; negative when that is not valid."""
        size = len(self.octets) - HEADER_SIZE
        if self.flags & PADDED:
            size -= 1 + (self.octets[HEADER_SIZE] if size else 0)
        return size


class FrameReader:
    """Takes the bytes of a connection apart. ``max_size`` is the largest payload of a frame, in bytes."""

    __slots__ = ("_data", "_max_size", "_start")

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._data: bytes | bytearray = b""
        self._start = 0

    def __repr__(self) -> str:
        return f"<FrameReader buffered={self.buffered}>"

    @property
    def buffered(self) -> int:
        """Bytes of a frame that is not complete, or has not been asked for."""
        return len(self._data) - self._start

    def receive(self, data: bytes) -> None:
        """Take the bytes that came next."""
        buffer = self._data
        if self._start == len(buffer):
            self._data = data
        elif isinstance(buffer, bytearray):
            # It grows in place, so that a frame that comes byte by byte costs no more than one that comes at once.
            del buffer[: self._start]
            buffer += data
        else:
            self._data = bytearray(buffer[self._start :])
            self._data += data
        self._start = 0

    def next_frame(self) -> Frame | None:
        """The next whole frame; None when more bytes are needed. Raises `FrameTooLarge`."""
        data = self._data
        start = self._start
        if len(data) - start < HEADER_SIZE:
            return None
        size = data[start] << 16 | data[start + 1] << 8 | data[start + 2]
        if size > self._max_size:
            raise FrameTooLarge(f"a frame has {size} bytes, more than {self._max_size}")
        end = start + HEADER_SIZE + size
        if end > len(data):
            return None
        self._start = end
        stream = int.from_bytes(data[start + 5 : start + 9], "big") & 0x7FFFFFFF
        octets = data[start:end]
        return Frame(data[start + 3], data[start + 4], stream, octets if isinstance(octets, bytes) else bytes(octets))
