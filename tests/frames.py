"""Frames of WebSockets, made byte by byte (RFC 6455 section 5.2), and what a reader makes of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from random import Random
from typing import Final

from twistedproxy.http.websocket import Extensions, Message, MessageReader

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
RSV1: Final = 0x40
MASK: Final = b"\x37\xfa\x21\x3d"

DEFLATE: Final = Extensions(deflate=True)
PLAIN: Final = Extensions()


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, mask: bytes | None = None
) -> bytes:
    """One frame; a client's has a ``mask``."""
    size = len(payload)
    masked = 0 if mask is None else 0x80
    if size < 126:
        length = bytes((masked | size,))
    elif size < 1 << 16:
        length = bytes((masked | 126,)) + size.to_bytes(2)
    else:
        length = bytes((masked | 127,)) + size.to_bytes(8)
    if mask is not None:
        key = int.from_bytes((mask * (size // 4 + 1))[:size])
        payload = mask + (int.from_bytes(payload) ^ key).to_bytes(size)
    return bytes(((0x80 if fin else 0) | reserved | opcode,)) + length + payload


class Deflating:
    """Packs messages as permessage-deflate does (RFC 7692 section 7.2.1), with a window of so many bits."""

    def __init__(self, takeover: bool = True, bits: int = 15) -> None:
        self._takeover = takeover
        self._bits = bits
        self._packing = zlib.compressobj(wbits=-bits)

    def __call__(self, content: bytes) -> bytes:
        packed = self._packing.compress(content) + self._packing.flush(zlib.Z_SYNC_FLUSH)
        if not self._takeover:
            self._packing = zlib.compressobj(wbits=-self._bits)
        return packed.removesuffix(b"\x00\x00\xff\xff")


def message(
    opcode: int,
    content: bytes,
    *,
    cuts: Iterable[int] = (),
    mask: bytes | None = None,
    reserved: int = 0,
    between: bytes = b"",
) -> bytes:
    """A message in fragments that end at ``cuts``, with ``between`` after each but the last."""
    ends = [*sorted({min(cut, len(content)) for cut in cuts}), len(content)]
    frames: list[bytes] = []
    start = 0
    for number, end in enumerate(ends):
        last = number == len(ends) - 1
        kind, bits = (CONTINUATION, 0) if number else (opcode, reserved)
        frames.append(frame(kind, content[start:end], fin=last, reserved=bits, mask=mask))
        if not last:
            frames.append(between)
        start = end
    return b"".join(frames)


def read(
    data: Iterable[bytes], extensions: Extensions = PLAIN, *, from_client: bool = False, most: int = 1 << 20
) -> tuple[list[Message], str]:
    """The messages in bytes that come in pieces, and what is wrong with them."""
    reader = MessageReader(extensions, from_client=from_client, most=most)
    messages = [message for piece in data for message in reader.feed(piece)]
    return messages, reader.fault


def some(random: Random) -> bytes:
    """Frames of a server's that permessage-deflate may have packed, mostly as they should be."""
    deflating = Deflating(random.random() < 0.5)
    made: list[bytes] = []
    for _ in range(random.randrange(1, 6)):
        content = random.choice((b"", b"Hello", b"a" * 200, random.randbytes(random.randrange(300)), "Grüße".encode()))
        kind = random.randrange(8)
        if kind == 0:
            made.append(frame(random.choice((PING, PONG)), content[:125]))
        elif kind == 1:
            made.append(
                frame(random.randrange(16), content, fin=random.random() < 0.7, reserved=random.randrange(8) << 4)
            )
        else:
            packed = random.random() < 0.5
            sent = deflating(content) if packed else content
            cuts = [random.randrange(len(sent) + 1) for _ in range(random.randrange(3))]
            between = frame(PING, b"?") if random.random() < 0.2 else b""
            opcode = random.choice((TEXT, BINARY))
            made.append(message(opcode, sent, cuts=cuts, reserved=RSV1 if packed else 0, between=between))
    if random.random() < 0.2:
        made.append(frame(CLOSE, b"\x03\xe8bye"))
    return b"".join(made)
