"""Content that can be told from any other: each answer has bytes of its own, which both ends can work out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

PIECE: Final = 1 << 16
"""Bytes that are made and compared at a time."""

_COUNTER: Final = 8


class Content:
    """``size`` bytes that belong to ``key``. Each full piece ends with its number: none can stand for another."""

    def __init__(self, key: str, size: int) -> None:
        self.size = size
        self._block = hashlib.shake_128(key.encode()).digest(min(size, PIECE))

    def piece(self, number: int) -> bytes:
        """The piece of that number; the last one may be short."""
        left = self.size - number * PIECE
        if left < PIECE:
            return self._block[: max(left, 0)]
        return self._block[:-_COUNTER] + number.to_bytes(_COUNTER, "big")

    def pieces(self) -> Iterator[bytes]:
        """All of it."""
        for number in range(-(-self.size // PIECE)):
            yield self.piece(number)

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces())


class Comparison:
    """Compares what comes, in whatever pieces, with the content that should."""

    def __init__(self, content: Content) -> None:
        self.received = 0
        self.same = True
        """Whether all that came so far is as it should be."""
        self._content = content
        self._piece = b""
        self._number = -1

    @property
    def whole(self) -> bool:
        """Whether it is all there, and right."""
        return self.same and self.received == self._content.size

    def feed(self, data: bytes) -> None:
        """Compare what comes next."""
        position = 0
        while position < len(data) and self.same:
            number, offset = divmod(self.received + position, PIECE)
            if number != self._number:
                self._number, self._piece = number, self._content.piece(number)
            take = min(len(data) - position, PIECE - offset)
            self.same = self._piece[offset : offset + take] == data[position : position + take]
            position += take
        self.received += len(data)
