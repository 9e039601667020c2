"""Days of the week and times of the day, in a time zone.

Time is counted in whole minutes since 1970, since no zone differs from another by less, and what a minute is called in
a zone is remembered. A span of hours that ends before it begins goes on over midnight, and belongs to the day on which
it began.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""The days of the week, as they are written."""

_HOURS: Final = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")
_WHOLE_DAY: Final = 24 * 60


class Span(NamedTuple):
    """From one minute of the day up to, but not with, another."""

    start: int
    end: int


def days_of(entries: Iterable[str]) -> frozenset[int]:
    """The days that entries such as ``"sat"`` and ``"mon-fri"`` name, Monday being 0; ValueError for another entry."""
    days: set[int] = set()
    for entry in entries:
        first, dash, last = entry.lower().partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"{entry!r} is not a day of the week")
        start, end = DAYS.index(first), DAYS.index(last or first)
        days.update((start + step) % 7 for step in range((end - start) % 7 + 1))
    return frozenset(days)


def span_of(entry: str) -> Span:
    """The span that an entry such as ``"08:00-17:30"`` names; ValueError for another one."""
    match = _HOURS.fullmatch(entry)
    if match is None:
        raise ValueError(f"{entry!r} is no span of hours")
    start, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
    if start >= _WHOLE_DAY or end > _WHOLE_DAY or start == end:
        raise ValueError(f"{entry!r} is no span of hours")
    return Span(start, end)


class Hours:
    """Moments of the week: on ``days`` (all, where there are none), in one of ``spans`` (the same), in ``zone``."""

    __slots__ = ("_days", "_spans", "_zone")

    def __init__(self, days: Sequence[str], spans: Sequence[str], zone: str) -> None:
        self._days = days_of(days) or frozenset(range(7))
        self._spans = tuple(map(span_of, spans)) or (Span(0, _WHOLE_DAY),)
        self._zone = zone

    def __repr__(self) -> str:
        return f"<Hours days={sorted(self._days)} spans={len(self._spans)} {self._zone or 'local'}>"

    def __contains__(self, minute: int) -> bool:
        """Whether a minute since 1970 is among them."""
        day, of_day = in_zone(minute, self._zone)
        for start, end in self._spans:
            if start < end:
                if start <= of_day < end and day in self._days:
                    return True
            elif of_day >= start:
                if day in self._days:
                    return True
            elif of_day < end and (day - 1) % 7 in self._days:
                return True
        return False


@lru_cache(maxsize=256)
def in_zone(minute: int, zone: str) -> tuple[int, int]:
    """The day of the week (0 for Monday) and the minute of the day; without a zone, as the system's clock has it."""
    moment = datetime.fromtimestamp(minute * 60, UTC)
    there = moment.astimezone(ZoneInfo(zone) if zone else None)
    return there.weekday(), there.hour * 60 + there.minute
