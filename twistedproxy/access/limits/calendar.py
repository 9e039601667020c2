"""The day and the month that it is, and when they end."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo


class Calendar:
    """The periods of quotas, in the time zone ``zone``. Times are in seconds since 1970."""

    __slots__ = ("_zone", "day", "day_ends", "month", "month_ends", "zone")

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self._zone = ZoneInfo(zone)
        self.day = self.month = ""
        """What they are called: ``2027-01-15`` and ``2027-01``. Both are empty before the first `turn`."""
        self.day_ends = self.month_ends = 0.0

    def __repr__(self) -> str:
        return f"<Calendar {self.day} {self.zone}>"

    def turn(self, when: float) -> None:
        """Let it be ``when``. A clock that is set back does not bring a day back that is over."""
        if when < self.day_ends:
            return
        date = datetime.fromtimestamp(when, self._zone)
        year, month, day = date.year, date.month, date.day
        self.day, self.month = f"{year:04}-{month:02}-{day:02}", f"{year:04}-{month:02}"
        following = date.fromordinal(date.toordinal() + 1)
        self.day_ends = self._midnight(following.year, following.month, following.day)
        self.month_ends = self._midnight(year + month // 12, month % 12 + 1, 1)

    def _midnight(self, year: int, month: int, day: int) -> float:
        return datetime(year, month, day, tzinfo=self._zone).timestamp()
