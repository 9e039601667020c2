"""A client's side of HTTP/2 (RFC 9113) for one GET, sent again and again: as little of it as a load needs.

It costs much less than a whole implementation, and is as strict: what it does not expect is an error. It lets the other
side have no dynamic table (RFC 7541 section 4.2), so that the status 200 is one byte wherever it comes from.
"""

from __future__ import annotations

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, INITIAL_WINDOW_SIZE = 1, 2, 4
WINDOW = 2**31 - 1
STATUS_200 = 0x88
_HEAD = struct.Struct(">HBBBL")


class Unexpected(Exception):
    """The other side said what it should not have said."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame (RFC 9113 section 4.1)."""
    return _HEAD.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


def _string(text: str) -> bytes:
    """A string literal without Huffman coding (RFC 7541 section 5.2)."""
    raw = text.encode()
    if len(raw) >= 0x7F:
        raise ValueError(f"too long for one byte of length: {text}")
    return bytes((len(raw),)) + raw


def get_block(authority: str, path: str) -> bytes:
    """The field block of a GET, the same each time: literals that leave the table alone (RFC 7541 section 6.2.2)."""
    block = b"\x82\x87"  # :method GET, :scheme https
    block += b"\x01" + _string(authority) + b"\x04" + _string(path)
    for name, value in (("user-agent", "load/1"), ("accept", "*/*")):
        block += b"\x00" + _string(name) + _string(value)
    return block


class HTTP2Client:
    """One connection. ``feed`` it what comes, and send what ``reply`` holds after that."""

    def __init__(self, authority: str, path: str, body: bytes) -> None:
        self._block = get_block(authority, path)
        self._body = body
        self._next = 1
        self._buffer = bytearray()
        self._received: dict[int, bytearray | None] = {}
        """By stream: the body so far; None where there is no head yet."""
        self._block_of: int | None = None
        self._window = WINDOW
        self.reply = b""

    def opening(self) -> bytes:
        """What the connection begins with."""
        settings = struct.pack(">HLHLHL", HEADER_TABLE_SIZE, 0, ENABLE_PUSH, 0, INITIAL_WINDOW_SIZE, WINDOW)
        update = struct.pack(">L", WINDOW - 0xFFFF)
        return PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, update)

    def request(self) -> bytes:
        """One more request."""
        stream = self._next
        self._next += 2
        self._received[stream] = None
        return frame(HEADERS, END_STREAM | END_HEADERS, stream, self._block)

    def feed(self, data: bytes) -> int:
        """How many responses ``data`` completes, each with status 200 and the whole body. Raises `Unexpected`."""
        buffer = self._buffer
        buffer += data
        done = 0
        start = 0
        while len(buffer) - start >= 9:
            high, low, kind, flags, stream = _HEAD.unpack_from(buffer, start)
            end = start + 9 + (high << 8 | low)
            if len(buffer) < end:
                break
            done += self._frame(kind, flags, stream & WINDOW, bytes(buffer[start + 9 : end]))
            start = end
        del buffer[:start]
        return done

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> int:
        if self._block_of is not None and (kind != CONTINUATION or stream != self._block_of):
            raise Unexpected(f"frame {kind} in the middle of a field block")
        if kind == DATA:
            return self._data(flags, stream, payload)
        if kind == HEADERS:
            self._head(flags, stream, payload)
            return self._ended(stream) if flags & END_STREAM else 0
        if kind == CONTINUATION and self._block_of is not None:
            if flags & END_HEADERS:
                self._block_of = None
        elif kind == SETTINGS:
            if not flags & ACK:
                self.reply += frame(SETTINGS, ACK, 0)
        elif kind == PING:
            if not flags & ACK:
                self.reply += frame(PING, ACK, 0, payload)
        elif kind in (RST_STREAM, PUSH_PROMISE, GOAWAY, CONTINUATION):
            raise Unexpected(f"frame {kind} on stream {stream}: {payload!r}")
        # Of others nothing is asked (RFC 9113 section 5.5); WINDOW_UPDATE does not matter to who sends no body.
        return 0

    def _head(self, flags: int, stream: int, payload: bytes) -> None:
        if stream not in self._received or self._received[stream] is not None:
            raise Unexpected(f"a head on stream {stream}")
        start = (1 if flags & PADDED else 0) + (5 if flags & PRIORITY else 0)
        # A new size of the table, which is nothing, may come first (RFC 7541 section 6.3).
        while payload[start : start + 1] == b"\x20":
            start += 1
        if payload[start] != STATUS_200:
            raise Unexpected(f"not the status 200: {payload!r}")
        self._received[stream] = bytearray()
        if not flags & END_HEADERS:
            self._block_of = stream

    def _data(self, flags: int, stream: int, payload: bytes) -> int:
        body = self._received.get(stream)
        if body is None:
            raise Unexpected(f"data on stream {stream}")
        self._window -= len(payload)
        if self._window < WINDOW // 2:
            self.reply += frame(WINDOW_UPDATE, 0, 0, struct.pack(">L", WINDOW - self._window))
            self._window = WINDOW
        body += payload[1 : len(payload) - payload[0]] if flags & PADDED else payload
        return self._ended(stream) if flags & END_STREAM else 0

    def _ended(self, stream: int) -> int:
        body = self._received.pop(stream)
        if body != self._body:
            raise Unexpected(f"stream {stream}: not the body that was to come, but {len(body or b'')} bytes")
        return 1
