"""The nonces of Digest: each can be told from others' by itself, and no use of one counts twice (RFC 7616 section 5.4).

Theory of operation. A nonce is the time at which it was made, some random bytes, and a MAC over both with a key that
only this process has: who asks for many of them takes up no memory. Only with the first proof of a password that came
with a nonce is there an entry for it, with the highest count so far and which of the 64 before it have been used, since
a client's connections overtake each other. When the oldest entry has to make room, no nonce made up to then is valid
any more. Whoever comes with one that is not valid gets another (``stale``), and nobody has to be asked again.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from hmac import compare_digest
from typing import Final

LIFETIME: Final = 300.0
"""Seconds for which a nonce is valid."""

MOST: Final = 10_000
"""Nonces in use that are remembered."""

_WINDOW: Final = 64
_MAC: Final = 16
_SIZE: Final = 8 + 8 + _MAC


class Nonces:
    """Makes nonces and judges them. ``seconds`` tells the time."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._key = secrets.token_bytes(32)
        self._used: OrderedDict[bytes, tuple[int, int]] = OrderedDict()
        # What was made up to then, in microseconds, has to be in the table.
        self._floor = -1

    def __repr__(self) -> str:
        return f"<Nonces used={len(self._used)}>"

    def new(self) -> bytes:
        """One that nobody has had."""
        content = int(self._seconds() * 1e6).to_bytes(8, "big") + secrets.token_bytes(8)
        return base64.b64encode(content + self._mac(content))

    def fresh(self, nonce: bytes, count: int) -> bool:
        """Whether the use number ``count`` of a nonce is a new one of a valid one."""
        made = self._made(nonce)
        if made is None or not count:
            return False
        now = int(self._seconds() * 1e6)
        if not 0 <= now - made < LIFETIME * 1e6:
            return False
        entry = self._used.get(nonce)
        if entry is None:
            return made > self._floor
        highest, seen = entry
        behind = highest - count
        return behind < 0 or (behind < _WINDOW and not seen >> behind & 1)

    def use(self, nonce: bytes, count: int) -> None:
        """Take note of a use that is `fresh`, and comes with the proof of a password."""
        highest, seen = self._used.get(nonce, (0, 0))
        if count > highest:
            shift = min(count - highest, _WINDOW)
            highest, seen = count, (seen << shift | 1) & ((1 << _WINDOW) - 1)
        else:
            seen |= 1 << (highest - count)
        self._used[nonce] = (highest, seen)
        if len(self._used) > MOST:
            oldest, _ = self._used.popitem(last=False)
            made = self._made(oldest)
            assert made is not None
            self._floor = max(self._floor, made)

    def _made(self, nonce: bytes) -> int | None:
        """When a nonce of ours was made, in microseconds; None when it is not ours."""
        if len(nonce) != 4 * -(-_SIZE // 3):
            return None
        try:
            content = base64.b64decode(nonce, validate=True)
        except binascii.Error:
            return None
        # One nonce must not have two spellings, or it could be used twice.
        if base64.b64encode(content) != nonce or not compare_digest(self._mac(content[:-_MAC]), content[-_MAC:]):
            return None
        return int.from_bytes(content[:8], "big")

    def _mac(self, content: bytes) -> bytes:
        return blake2b(content, key=self._key, digest_size=_MAC).digest()
