"""Durations and sizes: read from what an operator writes, and written so that they read back the same.

A duration is a number of seconds, or a number and a unit: ``"250ms"``, ``"10s"``, ``"5m"``, ``"1h"``,
``"7d"``. A size is a number of bytes, or a number and a unit: ``"64KiB"``, ``"1MiB"``, ``"500kB"``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from math import isfinite
from types import MappingProxyType
from typing import Final

DURATION_UNITS: Final[Mapping[str, Decimal]] = MappingProxyType(
    {
        "ms": Decimal("0.001"),
        "s": Decimal(1),
        "m": Decimal(60),
        "h": Decimal(3600),
        "d": Decimal(86400),
    }
)
SIZE_UNITS: Final[Mapping[str, int]] = MappingProxyType(
    {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
)

_NUMBER = r"([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]{1,3})?)"
_DURATION = re.compile(_NUMBER + r" ?(ms|s|m|h|d)")
_SIZE = re.compile(_NUMBER + r" ?([KMG]iB|[kKMG]?B)")
_LONGEST = 64
"""Characters; nobody writes a longer quantity, and Decimal's work grows with the digits."""

_EXACT_BELOW = 1e12
"""Seconds; a larger duration is written as a plain number, where a remainder would no longer be exact."""


def parse_duration(value: object) -> float:
    """Seconds from a number of seconds or a string such as ``"250ms"``; ValueError where it is neither."""
    if isinstance(value, str):
        match = _DURATION.fullmatch(value) if len(value) <= _LONGEST else None
        if match is None:
            raise ValueError("not a duration")
        seconds = float(Decimal(match[1]) * DURATION_UNITS[match[2]])
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except OverflowError:
            raise ValueError("not a duration") from None
    else:
        raise ValueError("not a duration")
    if not isfinite(seconds):
        raise ValueError("not a duration")
    # Adding a positive zero turns -0.0 into 0.0, which has only one way to be written.
    return seconds + 0.0


def parse_size(value: object) -> int:
    """Bytes from a number of bytes or a string such as ``"64KiB"``; ValueError where it is neither."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        match = _SIZE.fullmatch(value) if len(value) <= _LONGEST else None
        if match is not None:
            unit = "kB" if match[2] == "KB" else match[2]
            size = Decimal(match[1]) * SIZE_UNITS[unit]
            # Compared before it is made an integer: 1e999 would become one of a thousand digits.
            if size < 2**63 and size == size.to_integral_value():
                return int(size)
    raise ValueError("not a size")


def duration_text(seconds: float) -> str:
    """A duration in the largest unit that needs no fraction; `parse_duration` undoes it."""
    exact = Decimal(repr(seconds))
    if seconds < _EXACT_BELOW:
        for unit in ("d", "h", "m", "s"):
            if seconds and exact % DURATION_UNITS[unit] == 0:
                return f"{int(exact / DURATION_UNITS[unit])}{unit}"
        if seconds < 1 and exact % DURATION_UNITS["ms"] == 0:
            return f"{int(exact / DURATION_UNITS['ms'])}ms" if seconds else "0s"
    return f"{seconds!r}s"


def size_text(size: int) -> str:
    """A size in the largest unit that needs no fraction; `parse_size` undoes it."""
    for unit in ("GiB", "MiB", "KiB"):
        if size and size % SIZE_UNITS[unit] == 0:
            return f"{size // SIZE_UNITS[unit]}{unit}"
    return f"{size}B"
