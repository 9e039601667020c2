"""How long a client's address waits after wrong passwords: longer with each, and never on account of others.

Theory of operation. The wait begins at a sixteenth of the longest and doubles with each failure. An address whose last
failure is long ago has none; a success in between does not matter, or somebody who has one account could try out the
passwords of others for nothing. Addresses of IPv6 count by their first 64 bits, since a client has all of those. The
table is bounded: the address whose last failure is the longest ago goes first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Final

MOST: Final = 10_000
"""Addresses that are remembered."""

_SHARE: Final = 16
_FORGOTTEN_AFTER: Final = 60.0
"""Seconds since the last failure, or eight times the longest wait."""


class Slowing:
    """The failures of each address; ``seconds`` tells the time, ``longest`` is the longest wait, in seconds."""

    def __init__(self, seconds: Callable[[], float], longest: float) -> None:
        self.longest = longest
        self._seconds = seconds
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Slowing addresses={len(self._failures)} longest={self.longest:g}>"

    def failed(self, place: str) -> None:
        """A password from ``place`` was wrong."""
        if not self.longest:
            return
        count = self._count(place)
        self._failures[place] = (min(count + 1, 64), self._seconds())
        self._failures.move_to_end(place)
        if len(self._failures) > MOST:
            self._failures.popitem(last=False)

    def wait(self, place: str) -> float:
        """The seconds from now until a password from ``place`` is looked at; 0 for at once."""
        count = self._count(place)
        if not count:
            return 0.0
        until = self._failures[place][1] + min(self.longest, self.longest / _SHARE * 2.0 ** (count - 1))
        return max(0.0, until - self._seconds())

    def _count(self, place: str) -> int:
        found = self._failures.get(place)
        if found is None:
            return 0
        if self._seconds() - found[1] >= max(_FORGOTTEN_AFTER, 8 * self.longest):
            del self._failures[place]
            return 0
        return found[0]


def place_of(address: str) -> str:
    """What counts as one place: an address of IPv4, the first 64 bits of one of IPv6."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address)
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped is not None else str(IPv6Address(int(parsed) >> 64 << 64))
