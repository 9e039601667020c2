"""A set of names in few bytes, with what each is good for: a million of them in 16 MiB, which processes can share.

Theory of operation. A hash table with open addressing, in one buffer of 64-bit words, so that it can be a file that is
mapped into memory. A word is a name's hash, of 59 bits, and four flags; 0 is an empty place. A name is looked up by
itself and by each of its endings, since an entry can stand for all that is below it.

The hash is the name, read as one number, times a factor, modulo a prime that was drawn at random and is secret, as the
factor is, which is made from it: short names would be left as they are without. It is squared, or names that are
counted through would stand in each other's way with some of the primes. Whoever writes a list could make names collide
with ones that should not be blocked, if they knew the prime; they do not, and the remainder of one number says nothing
about that of another: two names of n bytes have the same remainder under at most n/7 of the 2**53 primes there are, and
as few have opposite ones, whose squares are the same.
An ending's hash comes from the same number, with a mask, which is why it is not a hash from the standard library.

Most hosts are on no list. So it is seen first whether any name ends in the last two labels of the one that is asked
for: each name sets a bit for those, by their hash. A sixth of the bits is set at most where the table had room enough
to begin with, and more where it has grown. Then the endings are looked up, from the shortest on: most that are listed
are so by that, and where nothing is excepted, the first that is found is enough.
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
_GENERATOR: Final = 0x9E3779B97F4A7C15

_LONGEST: Final = 255
_MASKS: Final = tuple((1 << 8 * length) - 1 for length in range(_LONGEST + 1))


Tails = bytes | bytearray | memoryview
"""A bit for each hash of two last labels."""


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
        "_factor",
        "_mask",
        "_most",
        "_tail_mask",
        "count",
        "has_exceptions",
        "has_tops",
        "prime",
        "tails",
        "words",
    )

    def __init__(self, prime: int, room: int = 0) -> None:
        self.prime = prime
        self._factor = _factor_of(prime)
        self.count = 0
        self.has_tops = self.has_exceptions = False
        size = _size_for(room)
        self._take(array("Q", bytes(8 * size)), bytearray(tails_size(size)))

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
        if size < _LEAST or size & size - 1 or count > _most(size) or len(tails) != tails_size(size):
            raise ValueError(f"a table of {size} words with {count} names")
        table = cls.__new__(cls)
        table.prime = prime
        table._factor = _factor_of(prime)
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
        self._tail_mask = 8 * len(tails) - 1
        self._most = _most(len(words))

    def add(self, names: Iterable[bytes], flags: int) -> None:
        """Add ``names``, for what ``flags`` say beside what they are good for already; see `add_top`."""
        words: Any = self.words
        tails: Any = self.tails
        mask, tail_mask, prime, factor = self._mask, self._tail_mask, self.prime, self._factor
        count, most = self.count, self._most
        from_bytes = int.from_bytes
        assert isinstance(words, array), "this table is only read"
        self.has_exceptions |= flags & (PASS_SELF | PASS_BELOW) > 0
        for name in names:
            number = from_bytes(name, "big")
            found = number * factor % prime
            found = found * found % prime
            place = found & mask
            while word := words[place]:
                if word >> 4 == found:
                    words[place] = word | flags
                    break
                place = place + 1 & mask
            else:
                words[place] = found << 4 | flags
                dot = name.rfind(b".", 0, name.rfind(b"."))
                if dot >= 0:
                    found = (number & _MASKS[len(name) - dot - 1]) * factor % prime
                    found = found * found % prime
                bit = found & tail_mask
                tails[bit >> 3] |= 1 << (bit & 7)
                count += 1
                if count > most:
                    self.count = count
                    self._grow()
                    words, tails, mask, tail_mask, most = (
                        self.words,
                        self.tails,
                        self._mask,
                        self._tail_mask,
                        self._most,
                    )
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
                place = word >> 4 & mask
                while words[place]:
                    place = place + 1 & mask
                words[place] = word
        # A hash has one bit more now, which is not known of those that were set.
        self._take(words, bytearray(self.tails) * 2)

    def look_up(self, name: bytes, below: bool = True) -> tuple[int, int]:
        """Which ending of ``name`` blocks it, and which excepts it: how many labels that lacks, -1 for none.

        Of several it is the shortest, under which most is blocked or excepted. Nothing is ``below`` an address, whose
        endings mean nothing.
        """
        words, mask, prime, factor = self.words, self._mask, self.prime, self._factor
        length = len(name)
        if length > _LONGEST:
            return -1, -1
        number = int.from_bytes(name, "big")
        top = name.rfind(b".") + 1
        last = name.rfind(b".", 0, top - 1) + 1 if top else 0
        tail = (number & _MASKS[length - last]) * factor % prime
        tail = tail * tail % prime
        bit = tail & self._tail_mask
        if not (self.tails[bit >> 3] >> (bit & 7) & 1 or self.has_tops):
            return -1, -1
        blocks = passes = -1
        start = 0 if not below else top if self.has_tops else last
        while True:
            if start == last:
                found = tail
            else:
                found = (number & _MASKS[length - start]) * factor % prime
                found = found * found % prime
            place = found & mask
            while word := words[place]:
                if word >> 4 == found:
                    if word & (BELOW if start else SELF) and blocks < 0:
                        blocks = start
                    if word & (PASS_BELOW if start else PASS_SELF) and passes < 0:
                        passes = start
                    break
                place = place + 1 & mask
            if not start or (blocks >= 0 and not self.has_exceptions):
                break
            start = name.rfind(b".", 0, start - 1) + 1
        return (
            blocks if blocks <= 0 else name.count(b".", 0, blocks),
            passes if passes <= 0 else name.count(b".", 0, passes),
        )


def _factor_of(prime: int) -> int:
    return pow(_GENERATOR, 3, prime)


def _size_for(names: int) -> int:
    size = _LEAST
    while _most(size) < names:
        size *= 2
    return size


def tails_size(size: int) -> int:
    """How many bytes of tails a table of ``size`` words has: four bits for each."""
    return size // 2


def _most(size: int) -> int:
    return size * 5 // 8
