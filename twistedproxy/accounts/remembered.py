"""What is known of credentials that were checked of late: whose they are, or that they are nobody's.

Theory of operation. They are not kept: the key is a MAC of them, with a key that only this process has, so that whoever
reads its memory has nothing to try passwords against but the slow hashes. Right and wrong ones are kept apart, or
strangers could push out the former. All of one kind are kept for the same time, so the first is always the oldest.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from hashlib import blake2b
from typing import Final, NamedTuple

from twistedproxy.accounts.account import Account
from twistedproxy.accounts.roster import NO_GROUPS, Roster

REFUSED_FOR: Final = 10.0
"""Seconds for which wrong credentials are remembered: a program that sends them over and over costs nothing."""

_MOST_REFUSED: Final = 1000

CERTIFIED: Final = b"certificate"
"""What a certificate fits, in the place of a hash. With another roster it has to be looked at anew."""


class Remembered(NamedTuple):
    """Credentials that were checked. ``account`` is None for wrong ones, ``hash`` what they fitted, if that is here."""

    expires: float
    name: bytes
    account: Account | None
    hash: bytes | None = None


class Results:
    """The results of checks, by the keys that `key_of` makes. ``seconds`` tells the time."""

    def __init__(self, seconds: Callable[[], float], ttl: float, size: int) -> None:
        self.ttl = ttl
        self.size = size
        self._seconds = seconds
        # With the key in it already, which is half of the work.
        self._mac = blake2b(key=secrets.token_bytes(32), digest_size=16)
        self._right: dict[bytes, Remembered] = {}
        self._wrong: dict[bytes, Remembered] = {}

    def __repr__(self) -> str:
        return f"<Results right={len(self._right)} wrong={len(self._wrong)}>"

    def key_of(self, value: bytes) -> bytes:
        """The key of credentials, as the field has them."""
        mac = self._mac.copy()
        mac.update(value)
        return mac.digest()

    def get(self, key: bytes, now: float) -> Remembered | None:
        """What is known of the credentials of that key ``now``; None when that is nothing."""
        found = self._right.get(key) or self._wrong.get(key)
        return found if found is not None and now < found.expires else None

    def right(self, key: bytes, account: Account, hashed: bytes | None) -> None:
        """They are those of ``account``, and fit ``hashed``."""
        self._wrong.pop(key, None)
        if self.ttl:
            found = Remembered(self._seconds() + self.ttl, account.name, account, hashed)
            _put(self._right, key, found, self.size)

    def wrong(self, key: bytes, name: bytes) -> None:
        """They are nobody's, though they claim to be those of ``name``."""
        self._right.pop(key, None)
        _put(self._wrong, key, Remembered(self._seconds() + REFUSED_FOR, name, None), _MOST_REFUSED)

    def go_by(self, roster: Roster, *, same_checkers: bool) -> None:
        """Forget what another ``roster`` makes wrong; and whatever checkers said, unless they are the same."""
        self._wrong.clear()
        kept = {}
        for key, found in self._right.items():
            there = roster.hashes.get(found.name)
            if there == found.hash and (found.hash is not None or same_checkers):
                groups = found.account.found if found.account is not None else NO_GROUPS
                kept[key] = found._replace(account=roster.account(found.name, groups))
        self._right = kept

    def clear(self) -> None:
        """Forget everything."""
        self._right.clear()
        self._wrong.clear()


def _put(table: dict[bytes, Remembered], key: bytes, found: Remembered, size: int) -> None:
    # To the end, where the youngest is.
    table.pop(key, None)
    table[key] = found
    while len(table) > size:
        del table[next(iter(table))]
