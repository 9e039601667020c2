"""Days and hours, in zones, over midnight, and where the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from twistedproxy.access.hours import Hours, days_of, in_zone, span_of


def minute(text: str) -> int:
    """The minute since 1970 of a moment in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) // 60


@pytest.mark.parametrize(
    ("entries", "days"),
    [
        (["sat"], {5}),
        (["mon-fri"], {0, 1, 2, 3, 4}),
        (["fri-mon"], {4, 5, 6, 0}),
        (["Tue", "thu-thu"], {1, 3}),
        ([], set()),
    ],
)
def test_days(entries: list[str], days: set[int]) -> None:
    assert days_of(entries) == days


@pytest.mark.parametrize("entry", ["monday", "mon-", "-mon", "", "mon-fri-sat", "8"])
def test_no_days(entry: str) -> None:
    with pytest.raises(ValueError, match="is not a day of the week"):
        days_of([entry])


@pytest.mark.parametrize("entry", ["8:00-9:00", "08:00", "08:00-08:00", "24:00-08:00", "08:00-25:00", "08:60-09:00"])
def test_no_hours(entry: str) -> None:
    with pytest.raises(ValueError, match="is no span of hours"):
        span_of(entry)


# 2026-11-27 is a Friday.
@pytest.mark.parametrize(
    ("days", "spans", "zone", "inside", "outside"),
    [
        (
            (),
            ("08:00-17:00",),
            "UTC",
            ["2026-11-27T08:00", "2026-11-27T16:59"],
            ["2026-11-27T07:59", "2026-11-27T17:00"],
        ),
        (("fri",), (), "UTC", ["2026-11-27T00:00", "2026-11-27T23:59"], ["2026-11-28T00:00", "2026-11-26T23:59"]),
        # Over midnight a span belongs to the day on which it began.
        (
            ("fri",),
            ("22:00-06:00",),
            "UTC",
            ["2026-11-27T22:00", "2026-11-28T05:59"],
            ["2026-11-27T05:00", "2026-11-28T06:00", "2026-11-28T22:00"],
        ),
        # Sunday's night is over on Monday.
        (("sun",), ("23:00-01:00",), "UTC", ["2026-11-30T00:59"], ["2026-11-29T00:59"]),
        ((), ("00:00-24:00",), "UTC", ["2026-11-27T23:59"], []),
        ((), ("08:00-09:00", "18:00-19:00"), "UTC", ["2026-11-27T18:30", "2026-11-27T08:30"], ["2026-11-27T12:00"]),
        # In Berlin it is an hour later in winter, and two in summer.
        (("fri",), ("08:00-09:00",), "Europe/Berlin", ["2026-11-27T07:30", "2026-07-03T06:30"], ["2026-11-27T08:30"]),
        # In Kathmandu it is 5:45 later.
        (("sat",), (), "Asia/Kathmandu", ["2026-11-27T18:15"], ["2026-11-27T18:14"]),
        # On the day on which the clocks go back this hour comes twice; when they go forward it does not come.
        (("sun",), ("02:00-03:00",), "Europe/Berlin", ["2026-10-25T00:30", "2026-10-25T01:30"], ["2026-03-29T01:00"]),
    ],
)
def test_hours(days: tuple[str, ...], spans: tuple[str, ...], zone: str, inside: list[str], outside: list[str]) -> None:
    hours = Hours(days, spans, zone)
    assert [moment for moment in inside if minute(moment) not in hours] == []
    assert [moment for moment in outside if minute(moment) in hours] == []


def test_without_a_zone_it_is_the_systems() -> None:
    now = datetime(2026, 11, 27, 9, 30).astimezone()
    assert in_zone(int(now.timestamp()) // 60, "") == (4, 9 * 60 + 30)


def test_a_repr() -> None:
    assert repr(Hours(("sat",), (), "UTC")) == "<Hours days=[5] spans=1 UTC>"
