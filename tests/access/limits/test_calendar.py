"""Days and months, in the zone in which they are counted."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from twistedproxy.access.limits.calendar import Calendar


def at(text: str, zone: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("zone", "when", "day", "day_ends", "month_ends"),
    [
        ("UTC", "2027-01-15T08:00", "2027-01-15", "2027-01-16", "2027-02-01"),
        ("UTC", "2026-12-31T23:59:59", "2026-12-31", "2027-01-01", "2027-01-01"),
        ("UTC", "2028-02-28T00:00", "2028-02-28", "2028-02-29", "2028-03-01"),
        ("Europe/Berlin", "2027-03-28T01:00", "2027-03-28", "2027-03-29", "2027-04-01"),
        ("Europe/Berlin", "2027-10-31T12:00", "2027-10-31", "2027-11-01", "2027-11-01"),
        ("Pacific/Auckland", "2027-01-15T00:00", "2027-01-15", "2027-01-16", "2027-02-01"),
    ],
)
def test_periods_end_at_midnight(zone: str, when: str, day: str, day_ends: str, month_ends: str) -> None:
    calendar = Calendar(zone)
    calendar.turn(at(when, zone))
    assert (calendar.day, calendar.month) == (day, day[:7])
    assert calendar.day_ends == at(day_ends, zone)
    assert calendar.month_ends == at(month_ends, zone)


def test_a_day_in_which_clocks_are_changed_is_not_24_hours_long() -> None:
    calendar = Calendar("Europe/Berlin")
    begin = at("2027-03-28T00:00", "Europe/Berlin")
    calendar.turn(begin)
    assert calendar.day_ends - begin == 23 * 3600


def test_the_next_day_comes_at_its_time_and_not_before() -> None:
    calendar = Calendar("UTC")
    calendar.turn(at("2027-01-31T12:00", "UTC"))
    calendar.turn(calendar.day_ends - 0.001)
    assert calendar.day == "2027-01-31"
    calendar.turn(calendar.day_ends)
    assert (calendar.day, calendar.month) == ("2027-02-01", "2027-02")
    # A clock that is set back.
    calendar.turn(at("2027-01-31T12:00", "UTC"))
    assert calendar.day == "2027-02-01"
    assert repr(calendar) == "<Calendar 2027-02-01 UTC>"
