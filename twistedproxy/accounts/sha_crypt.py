"""The hashes ``$5$`` and ``$6$`` of crypt(3): many rounds of SHA-256 and SHA-512 over password and salt.

Ulrich Drepper's specification of 2007. Python has no module for them any more. The rounds are Python's own, which run
under the interpreter's lock: every few of them it is let go, or the reactor would wait for it in each of its turns. A
hash that should cost more is better one of bcrypt or scrypt.
"""

from __future__ import annotations

import hashlib
import re
import select
from collections.abc import Callable
from hmac import compare_digest
from typing import Any, Final, NamedTuple

ROUNDS: Final = 5000
"""How many there are where a hash does not say."""

MOST_ROUNDS: Final = 1_000_000
"""More would keep a thread busy for seconds."""

_LEAST_ROUNDS: Final = 1000
_ROUNDS_A_TURN: Final = 100
_PAUSE: Final = 1e-5
_LONGEST_SALT: Final = 16
_ALPHABET: Final = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_FORM: Final = re.compile(rb"\$([56])\$(?:rounds=([1-9][0-9]{0,8})\$)?([./0-9A-Za-z]{0,16})\$([./0-9A-Za-z]+)")


class _Variant(NamedTuple):
    new: Callable[..., Any]
    size: int
    order: tuple[tuple[int, ...], ...]
    characters: int


def _order(
    size: int, step: Callable[[int], tuple[int, int, int]], last: tuple[int, ...]
) -> tuple[tuple[int, ...], ...]:
    return (*(step(group) for group in range(size // 3)), last)


def _turned(group: int, third: int, backwards: bool) -> tuple[int, int, int]:
    """Which three bytes are written together: one of each third, and the thirds turn from group to group."""
    places = (group, group + third, group + 2 * third)
    turn = -group % 3 if backwards else group % 3
    return places[turn], places[(turn + 1) % 3], places[(turn + 2) % 3]


_VARIANTS: Final = {
    b"5": _Variant(hashlib.sha256, 32, _order(30, lambda group: _turned(group, 10, True), (31, 30)), 43),
    b"6": _Variant(hashlib.sha512, 64, _order(63, lambda group: _turned(group, 21, False), (63,)), 86),
}


def unusable(text: bytes) -> str:
    """What is wrong with a hash that begins with ``$5$`` or ``$6$``; empty when it can be used."""
    match = _FORM.fullmatch(text)
    if match is None or len(match[4]) != _VARIANTS[match[1]].characters:
        return "is not complete, or malformed"
    if match[2] is not None and int(match[2]) > MOST_ROUNDS:
        return f"has more than {MOST_ROUNDS} rounds"
    return ""


def verify(text: bytes, password: bytes) -> bool:
    """Whether ``text``, which can be used, is the hash of ``password``."""
    match = _FORM.fullmatch(text)
    assert match is not None
    rounds = ROUNDS if match[2] is None else max(int(match[2]), _LEAST_ROUNDS)
    return compare_digest(digest(match[1], password, match[3], rounds), match[4])


def digest(variant: bytes, password: bytes, salt: bytes, rounds: int) -> bytes:
    """The last part of a hash: of ``b"5"`` or ``b"6"``."""
    new, size, order, _ = _VARIANTS[variant]
    salt = salt[:_LONGEST_SALT]
    length = len(password)
    alternate = new(password + salt + password).digest()
    first = new(password + salt + _repeated(alternate, length))
    bits = length
    while bits:
        first.update(alternate if bits & 1 else password)
        bits >>= 1
    current = first.digest()
    p = _repeated(new(password * length).digest(), length)
    s = _repeated(new(salt * (16 + current[0])).digest(), len(salt))
    for number in range(rounds):
        odd = number & 1
        content = p if odd else current
        if number % 3:
            content += s
        if number % 7:
            content += p
        current = new(content + (current if odd else p)).digest()
        if not number % _ROUNDS_A_TURN:
            # To wait, however shortly, is what lets others have the lock.
            select.select((), (), (), _PAUSE)
    assert len(current) == size
    return b"".join(_written([current[place] for place in places]) for places in order)


def _repeated(block: bytes, length: int) -> bytes:
    return (block * (length // len(block) + 1))[:length]


def _written(octets: list[int]) -> bytes:
    """Up to three bytes in crypt's own base 64, the lowest six bits first."""
    number = int.from_bytes(bytes(octets), "big")
    return bytes(_ALPHABET[number >> shift & 63] for shift in range(0, 8 * len(octets), 6))
