"""What is told of those who are limited."""

from __future__ import annotations

from twistedproxy.access.limits.buckets import Rate
from twistedproxy.access.limits.calendar import Calendar
from twistedproxy.access.limits.ledger import Ledger
from twistedproxy.access.limits.limits import Limit
from twistedproxy.limits.state import ShareState, joined, nearest


def test_of_a_share() -> None:
    calendar = Calendar("UTC")
    calendar.turn(1.8e9)
    rate = Rate(10.0, 20.0)
    ledger = Ledger(Limit("a", "client", everybody=True, slows=False, requests=rate, upload=rate), calendar, 10)
    share = ledger.share("x", 50.0)
    share.requests.charge(5, rate, 50.0)
    share.upload.charge(40, rate, 50.0)
    share.begin(1, True)
    share.begin(1, False)
    share.use(7)
    expected = ShareState("a", "x", requests=0.25, upload=2.0, connections=1, tunnels=1, today=7, in_month=7, taken=2.0)
    assert ShareState.of(share, 50.0) == expected


def test_those_of_several_workers() -> None:
    parts = [
        ShareState("a", "x", 0.5, 1.0, 0.0, 1, 0, 2, 100, 300),
        ShareState("b", "x", connections=1),
        ShareState("a", "x", 0.6, 0.5, 0.0, 2, 1, 1, 90, 310),
        ShareState("a", "y", tunnels=3),
    ]
    assert joined(parts) == [
        ShareState("a", "x", 0.6, 1.0, 0.0, 3, 1, 3, 100, 310),
        ShareState("b", "x", connections=1),
        ShareState("a", "y", tunnels=3),
    ]


def test_the_nearest_come_first() -> None:
    states = [ShareState("a", str(number), taken=number % 4) for number in range(10)]
    assert [(one.key, one.taken) for one in nearest(states, 4)] == [("3", 3), ("7", 3), ("2", 2), ("6", 2)]
    assert nearest([], 4) == []
