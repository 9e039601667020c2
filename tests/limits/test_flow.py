"""One direction: what it owes, and when it goes on."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.limits.samples import Limited, table


@pytest.mark.parametrize(
    ("rate", "piece"), [("1KiB", 4096), ("100KiB", 10240), ("1MiB", 104857), ("64MiB", 1 << 20), ("1GiB", 1 << 20)]
)
def test_pieces_are_of_a_tenth_of_a_second(rate: str, piece: int) -> None:
    hold = Limited(table(download=rate)).ask().hold
    assert hold.down.piece == piece
    assert hold.up.piece == 1 << 20


def test_the_slowest_limit_decides() -> None:
    limited = Limited(table(download="100KiB"), table("b", "all", download="1MiB"))
    hold = limited.ask().hold
    assert hold.down.piece == 10240
    assert hold.down.passed(25600)
    assert not hold.down.passed(10240)
    assert repr(hold.down) == "<Flow down resting>"
    went_on: list[float] = []
    hold.down.go_on = lambda: went_on.append(limited.clock.seconds())
    limited.pass_time(0.2)
    assert went_on == [pytest.approx(1000.1, abs=0.051)]
    assert not hold.down.resting
    assert limited.restraint.slowings == {"a": 1}


def test_a_flow_that_is_over_is_not_told() -> None:
    limited = Limited(table(upload="1KiB"))
    hold = limited.ask().hold
    flow = hold.up
    assert flow is not None
    flow.go_on = lambda: pytest.fail("it is over")
    assert not flow.passed(5000)
    assert not flow.passed(1)
    hold.leave(5001, 0)
    assert hold.up is hold.down is None
    limited.pass_time(10)
    assert repr(flow) == "<Flow up>"


def test_where_bytes_do_not_matter_there_is_none() -> None:
    hold = Limited(table(requests_per_second=5, connections=3)).ask().hold
    assert hold.up is hold.down is None
    hold.measure(100, 100)
    assert not hold.resting
    hold.leave(100, 100)


@settings(max_examples=50)
@given(
    st.lists(st.lists(st.integers(1, 3000), min_size=1, max_size=30), min_size=1, max_size=5),
    st.sampled_from(["4KiB", "16KiB"]),
)
def test_flows_that_share_a_bucket_share_its_rate(flows: list[list[int]], rate: str) -> None:
    """Each sends its next piece as soon as it may: together they are as fast as one may be, and none is left behind."""
    limited = Limited(table("a", "all", download=rate))
    per_second = 4096 if rate == "4KiB" else 16384
    total, last = 0, 1000.0

    def send(number: int) -> None:
        nonlocal total, last
        pieces = flows[number]
        while pieces:
            total, last = total + pieces[0], limited.clock.seconds()
            held = len(flows) * 3000
            assert total <= per_second * 0.25 + per_second * (last - 1000) + held
            if not holds[number].down.passed(pieces.pop(0)):
                return

    holds = [limited.ask().hold for _ in flows]
    for number, hold in enumerate(holds):
        hold.down.go_on = lambda number=number: send(number)
        send(number)
    limited.pass_time(100)
    assert not any(flows)
    # All have ended by the time in which so much may pass, or a moment later.
    assert last - 1000 <= max(0.0, total / per_second) + 0.1
