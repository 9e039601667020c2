"""Sets of ports: numbers, ranges such as ``"8000-8999"``, and ``"all"``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_ALL = "all"


@dataclass(frozen=True, slots=True, repr=False)
class PortSet:
    """The ports that a list of entries names. Made with `of`; it never changes."""

    single: frozenset[int]
    ranges: tuple[range, ...]

    @classmethod
    def of(cls, entries: Sequence[int | str]) -> PortSet:
        """The ports of ``entries``; ValueError when one of them means nothing."""
        single = frozenset(port for port in entries if isinstance(port, int))
        return cls(single, tuple(_range(entry) for entry in entries if isinstance(entry, str)))

    def __repr__(self) -> str:
        return f"<PortSet {self}>"

    def __str__(self) -> str:
        return ",".join([*map(str, sorted(self.single)), *(f"{span[0]}-{span[-1]}" for span in self.ranges)])

    def __contains__(self, port: object) -> bool:
        return port in self.single or any(port in span for span in self.ranges)


def _range(entry: str) -> range:
    if entry == _ALL:
        return range(1, 65536)
    low, _, high = entry.partition("-")
    if low.isdecimal() and high.isdecimal() and int(low) <= int(high):
        return range(int(low), int(high) + 1)
    raise ValueError(f'{entry!r} is not a port, a range of ports or "all"')
