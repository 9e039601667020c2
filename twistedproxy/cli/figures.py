"""Figures as a person reads them at a glance: times, sizes, and what a histogram says about durations.

These round; what has to be exact is in ``--json``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

NOTHING: Final = "-"
"""Stands where there is no figure."""

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def age_text(seconds: float) -> str:
    """A time that passed, in its two largest units: ``3d 4h``, ``5m 12s``, ``0s``."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if parts:
            if count:
                parts.append(f"{count}{unit}")
            break
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"


def duration_text(seconds: float) -> str:
    """How long something took, to three digits: ``0.85ms``, ``42ms``, ``1.3s``; from a minute on as `age_text`."""
    if seconds >= 60:
        return age_text(seconds)
    if seconds >= 0.9995:
        return f"{seconds:.3g}s"
    return f"{max(0.0, seconds) * 1000:.3g}ms"


def size_text(size: int) -> str:
    """Bytes, to three digits or the next unit: ``512 B``, ``1.5 KiB``, ``1010 MiB``."""
    shown = float(size)
    for unit in _SIZES:
        if shown < 1023.5 or unit == _SIZES[-1]:
            break
        shown /= 1024
    if shown >= 99.95 or shown == int(shown):
        return f"{shown:.0f} {unit}"
    return f"{shown:.3g} {unit}"


def quantile(counts: Sequence[int], bounds: Sequence[float], share: float) -> float | None:
    """The value that the ``share`` of what was counted does not exceed; None when that cannot be told.

    ``counts`` are those of the buckets that end at ``bounds``, and of one more without an end. Within a bucket the
    values are taken to be spread evenly, as Prometheus does it. In the last one all that is known is that it is more
    than the last bound, which is ``inf`` here.
    """
    total = sum(counts)
    if not total or len(counts) != len(bounds) + 1:
        return None
    rank = share * total
    below = 0
    least = 0.0
    for count, most in zip(counts, bounds, strict=False):
        if count and below + count >= rank:
            return least + (most - least) * max(0.0, rank - below) / count
        below += count
        least = most
    return float("inf")


def quantile_text(counts: Sequence[int], bounds: Sequence[float], share: float) -> str:
    """`quantile` as a duration; ``>1h`` beyond the last bound."""
    value = quantile(counts, bounds, share)
    if value is None:
        return NOTHING
    if value == float("inf"):
        return f">{duration_text(bounds[-1])}"
    return duration_text(value)


def average_text(counts: Sequence[int], total: float) -> str:
    """The mean duration, of ``counts`` together and their sum."""
    count = sum(counts)
    return duration_text(total / count) if count else NOTHING
