"""A set of names in few bytes, with what each is good for: a million of them in 18 MiB, which processes can share.

Theory of operation. A hash table with open addressing, in one buffer of 64-bit words, so that it can be a file that is
mapped into memory. A word is a name's hash, of 59 bits, and four flags; 0 is an empty place. A name is looked up by
itself and by each of its endings, since an entry can stand for all that is below it.

The hash is the name, read as one number, modulo a prime that was drawn at random and is secret. Whoever writes a list
could make names collide with ones that should not be blocked, if they knew the prime; they do not, and two names of n
bytes have the same remainder under at most (n + 8)/7 of the 2**52 primes there are. A name's first byte is the number's
lowest, so that an ending's number is what is left when it is shifted; the eight bytes that follow the last one make all
numbers larger than the prime. The place is from the hash's square, modulo another prime, or names that are counted
through would stand in each other's way. All of it has to be the same in each process, which is why it is not the hash
that Python has.

Most hosts are on no list, and most entries are for a domain of two labels, or just below one that is no entry itself.
So the last two labels are looked for first, in a table of their own, with a byte for each word of the other and four
columns of two signs in it: one says that some name ends so, the other that this is one. By the first most hosts are
told at once: a sixth of them is set at most where the table had room enough to begin with, and more where it has grown.
By the second they need not be looked for among the words in vain. Then the other endings are looked up, from the
shortest on: most that are listed are so by that, and where nothing is excepted, the first that is found is enough.
"""

from __future__ import annotations

import secrets
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Final

SELF: Final = 1
"""The name itself is blocked."""
BELOW: Final = 2
"""All names below it are."""
PASS_SELF: Final = 4
"""The name itself is excepted."""
PASS_BELOW: Final = 8
"""All names below it are."""

_FLAGS: Final = 4
_HASH_BITS: Final = 59
_LEAST: Final = 1 << 8
_LONGEST: Final = 255

_PAD: Final = b"\xff" * 8
# The largest prime below 2**30. Python divides by a number of 30 bits much faster than by a larger one.
_SCATTER: Final = 1_073_741_789
# The two highest bits of the remainder are the column; its signs, in the first one.
_COLUMN: Final = 28
_ENDS: Final = 0x01
_IS: Final = 0x10

_NOWHERE: Final = (-1, -1)
_from_bytes: Final = int.from_bytes

Tails = bytes | bytearray | memoryview
"""What is known of two last labels, by their hash: a byte for each word."""


def random_prime() -> int:
    """A prime of 59 bits that nobody else knows."""
    while True:
        candidate = secrets.randbits(_HASH_BITS) | 1 << (_HASH_BITS - 1) | 1
        if is_prime(candidate):
            return candidate


def is_prime(number: int) -> bool:
    """Whether ``number``, below 2**64, is prime (Miller-Rabin, whose first twelve primes decide that far)."""
    witnesses = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
    if number < 2:
        return False
    for prime in witnesses:
        if number % prime == 0:
            return number == prime
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd //= 2
        twos += 1
    for witness in witnesses:
        power = pow(witness, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


class Table:
    """See the head of the module. ``prime`` makes its hashes; ``room`` is for how many names it begins."""

    __slots__ = (
        "_mask",
        "_most",
        "count",
        "has_exceptions",
        "has_tops",
        "prime",
        "tails",
        "words",
    )

    def __init__(self, prime: int, room: int = 0) -> None:
        self.prime = prime
        self.count = 0
        self.has_tops = self.has_exceptions = False
        size = _size_for(room)
        self._take(array("Q", bytes(8 * size)), bytearray(size))

    def __repr__(self) -> str:
        return f"<Table {self.count} names in {8 * len(self.words)} bytes>"

    @classmethod
    def over(
        cls,
        words: Sequence[int],
        tails: Tails,
        count: int,
        prime: int,
        *,
        has_tops: bool = True,
        has_exceptions: bool = True,
    ) -> Table:
        """The table of ``count`` names that has these ``words`` and ``tails``, to be read.

        Without tops and exceptions it need not be looked up so often. ValueError when they cannot be one.
        """
        size = len(words)
        if size < _LEAST or size & size - 1 or count > _most(size) or len(tails) != size:
            raise ValueError(f"a table of {size} words with {count} names")
        table = cls.__new__(cls)
        table.prime = prime
        table.count = count
        table.has_tops = has_tops
        table.has_exceptions = has_exceptions
        table._take(words, tails)
        return table

    @property
    def buffer(self) -> array[int]:
        """The words of a table that has been filled here."""
        assert isinstance(self.words, array), "this table is only read"
        return self.words

    def _take(self, words: Sequence[int], tails: Tails) -> None:
        self.words = words
        self.tails = tails
        self._mask = len(words) - 1
        self._most = _most(len(words))

    def add(self, names: Iterable[bytes], flags: int) -> None:
        """Add ``names``, for what ``flags`` say beside what they are good for already; see `add_top`."""
        words: Any = self.words
        tails: Any = self.tails
        mask, prime = self._mask, self.prime
        count, most = self.count, self._most
        assert isinstance(words, array), "this table is only read"
        self.has_exceptions |= flags & (PASS_SELF | PASS_BELOW) > 0
        for name in names:
            number = _from_bytes(name + _PAD, "little")
            found = number % prime
            square = found * found % _SCATTER
            place = square & mask
            while word := words[place]:
                if word >> _FLAGS == found:
                    words[place] = word | flags
                    break
                place = place + 1 & mask
            else:
                words[place] = found << _FLAGS | flags
                dot = name.rfind(b".", 0, name.rfind(b"."))
                signs = _ENDS | _IS
                if dot >= 0:
                    found = (number >> 8 * dot + 8) % prime
                    square = found * found % _SCATTER
                    signs = _ENDS
                tails[square & mask] |= signs << (square >> _COLUMN)
                count += 1
                if count > most:
                    self.count = count
                    self._grow()
                    words, tails, mask, most = self.words, self.tails, self._mask, self._most
        self.count = count

    def add_top(self, name: bytes, flags: int) -> None:
        """Add a name without a dot. Few lists have any, and the others need not look for them."""
        self.has_tops = True
        self.add((name,), flags)

    def _grow(self) -> None:
        old = self.words
        words = array("Q", bytes(16 * len(old)))
        mask = len(words) - 1
        for word in old:
            if word:
                found = word >> _FLAGS
                place = found * found % _SCATTER & mask
                while words[place]:
                    place = place + 1 & mask
                words[place] = word
        # A place has one bit more now, which is not known of those that were set.
        self._take(words, bytearray(self.tails) * 2)

    def look_up(self, name: bytes, below: bool = True) -> tuple[int, int]:
        """Which ending of ``name`` blocks it, and which excepts it: where in it that begins, -1 for none.

        Of several it is the shortest, under which most is blocked or excepted. Nothing is ``below`` an address, whose
        endings mean nothing.
        """
        if len(name) > _LONGEST:
            return _NOWHERE
        words, mask, prime = self.words, self._mask, self.prime
        number = _from_bytes(name + _PAD, "little")
        by_tail = below and not self.has_tops
        start = name.rfind(b".") + 1 if below else 0
        if by_tail:
            start = name.rfind(b".", 0, start - 1) + 1
        blocks = passes = -1
        while True:
            found = (number >> 8 * start) % prime
            square = found * found % _SCATTER
            place = square & mask
            if by_tail:
                by_tail = False
                signs = self.tails[place] >> (square >> _COLUMN)
                if not signs & _ENDS:
                    return _NOWHERE
                if start and not signs & _IS:
                    start = name.rfind(b".", 0, start - 1) + 1
                    continue
            while word := words[place]:
                if word >> _FLAGS == found:
                    if word & (BELOW if start else SELF) and blocks < 0:
                        if not self.has_exceptions:
                            return start, -1
                        blocks = start
                    if word & (PASS_BELOW if start else PASS_SELF) and passes < 0:
                        passes = start
                    break
                place = place + 1 & mask
            if not start:
                return blocks, passes
            start = name.rfind(b".", 0, start - 1) + 1


def _size_for(names: int) -> int:
    size = _LEAST
    while _most(size) < names:
        size *= 2
    return size


def _most(size: int) -> int:
    return size * 5 // 8
