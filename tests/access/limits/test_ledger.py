"""What is known of each who is limited, and who is forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from twistedproxy.access.limits.buckets import Rate
from twistedproxy.access.limits.calendar import Calendar
from twistedproxy.access.limits.ledger import OTHERS, Ledger
from twistedproxy.access.limits.limits import Limit
from twistedproxy.access.limits.spending import Spending, UnderWay, Used

WALL = 1_800_000_000.0
"""A morning, in UTC."""


def ledger(most: int = 100, **keys: Any) -> Ledger:
    calendar = Calendar("UTC")
    calendar.turn(WALL)
    return Ledger(Limit("a", "client", everybody=True, slows=False, **keys), calendar, most)


def test_connections_are_counted_once() -> None:
    share = ledger(connections=2, tunnels=1).share("x", 0.0)
    assert share.takes(1, True) == ""
    share.begin(1, True)
    share.begin(1, False)
    assert share.takes(1, False) == ""
    assert share.takes(1, True) == "tunnels"
    share.begin(2, False)
    assert share.takes(3, False) == "connections"
    assert share.takes(2, False) == ""
    share.end(1, False)
    assert share.takes(3, False) == "connections"
    share.end(1, True)
    assert share.takes(3, True) == ""
    assert repr(share) == "<Share a x connections=1 tunnels=0>"


def test_what_others_have_under_way_counts() -> None:
    made = ledger(connections=3, tunnels=3)
    share = made.share("x", 0.0)
    made.under_way_elsewhere({"x": UnderWay(2, 3), "y": UnderWay(1, 0)}, 0.0)
    share.begin(1, False)
    assert (share.connection_count, share.tunnel_count) == (3, 3)
    assert share.takes(2, False) == "connections"
    assert share.takes(1, True) == "tunnels"
    made.under_way_elsewhere({"y": UnderWay(1, 0)}, 0.0)
    assert share.takes(2, True) == ""


def test_quotas_begin_anew() -> None:
    made = ledger(daily=100, monthly=150)
    share = made.share("x", 0.0)
    share.use(99)
    assert share.used_up_until == 0
    share.use(1)
    assert share.used_up_until == made.calendar.day_ends
    made.calendar.turn(made.calendar.day_ends)
    assert share.used == Used(0, 100)
    assert share.used_up_until == 0
    share.use(50)
    assert share.used_up_until == made.calendar.month_ends
    made.calendar.turn(made.calendar.month_ends)
    assert share.used == Used(0, 0)


def test_what_is_spent_elsewhere_is_charged_here() -> None:
    made = ledger(requests=Rate(10.0, 10.0), download=Rate(100.0, 25.0), upload=Rate(100.0, 25.0), daily=500)
    share = made.share("x", 50.0)
    share.spent_elsewhere(Spending(5, 200, 100), 50.0)
    assert share.requests.full_at == 50.5
    assert share.download.full_at == 52.0
    assert share.upload.full_at == 51.0
    assert share.used == Used(300, 300)
    assert made.unsaid == {}
    share.spend(1, 2, 3)
    share.spend(1, 0, 0)
    assert made.unsaid == {"x": share}
    assert share.spent == Spending(2, 2, 3)
    share.refill()
    assert (share.requests.full_at, share.used) == (0.0, Used(0, 0))


@pytest.mark.parametrize("taken", ["requests", "download", "upload", "connection", "waiting", "elsewhere", "unsaid"])
def test_who_has_something_missing_is_not_forgotten(taken: str) -> None:
    made = ledger(most=4, requests=Rate(1.0, 5.0), download=Rate(100.0, 25.0), upload=Rate(100.0, 25.0))
    for number in range(4):
        share = made.share(str(number), 50.0)
        match taken:
            case "requests" | "download" | "upload":
                getattr(share, taken).charge(1, getattr(made.limit, taken), 50.0)
            case "connection":
                share.begin(number, False)
            case "waiting":
                share.waiting.append(None)
            case "elsewhere":
                share.elsewhere = UnderWay(1, 0)
            case _:
                share.spend(1, 0, 0)
    for number in range(100):
        assert made.share(f"new {number}", 50.0).key == OTHERS
    assert len(made) == 5
    assert made.known("0") is not None


def test_who_has_used_a_quota_is_remembered_until_it_begins_anew() -> None:
    made = ledger(most=4, daily=100)
    for number in range(4):
        made.share(str(number), 0.0).use(1)
    assert made.share("new", 1e9).key == OTHERS
    made.calendar.turn(made.calendar.day_ends)
    assert made.share("new", 1e9).key == "new"


def test_who_has_nothing_missing_makes_room() -> None:
    made = ledger(most=4, requests=Rate(1.0, 5.0))
    for number in range(4):
        made.share(str(number), 50.0).requests.charge(number + 1, Rate(1.0, 5.0), 50.0)
    assert made.share("new", 50.5).key == OTHERS
    # The first of them is full again, and only that one is forgotten.
    assert made.share("new", 51.1).key == "new"
    assert made.known("0") is None
    assert all(made.known(str(number)) is not None for number in (1, 2, 3))
    assert repr(made) == "<Ledger a 4/4>"


def test_a_flood_of_clients_costs_little_and_resets_nobody() -> None:
    made = ledger(most=1000, requests=Rate(1.0, 5.0))
    rate = made.limit.requests
    assert rate is not None
    for number in range(20_000):
        made.share(f"{number}", 50.0).requests.charge(1, rate, 50.0)
    assert len(made) == 1001
    assert made.share("5", 50.0).requests.used(rate, 50.0) == pytest.approx(0.2)
    assert made.share(OTHERS, 50.0).requests.used(rate, 50.0) == pytest.approx(19_000 / 5)
    assert len(list(made)) == 1001
