"""What a peer may ask for that costs it nothing."""

from __future__ import annotations

import pytest

from tests.http2.peers import frame
from twistedproxy.http2.allowance import CHEAP, FOR_WORK, MOST, PER_SECOND, RESET, Allowance, price_of
from twistedproxy.http2.frames import CONTINUATION, DATA, END_STREAM, HEADERS, PING, RST_STREAM, WINDOW_UPDATE


class Seconds:
    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


def test_it_is_spent_and_fills_with_time() -> None:
    seconds = Seconds()
    allowance = Allowance(seconds)
    assert repr(allowance) == "<Allowance left=2000>"
    for _ in range(int(MOST)):
        assert allowance.spend(1)
    assert not allowance.spend(1)
    seconds.now += 1
    for _ in range(int(PER_SECOND) - 1):
        assert allowance.spend(1)
    assert not allowance.spend(1)


def test_it_holds_no_more_than_at_the_beginning() -> None:
    seconds = Seconds()
    allowance = Allowance(seconds)
    allowance.spend(MOST)
    seconds.now += 1e6
    assert allowance.spend(MOST)
    assert not allowance.spend(1)


def test_work_fills_it() -> None:
    allowance = Allowance(Seconds())
    for _ in range(1000):
        allowance.add_for_work()
    assert repr(allowance) == "<Allowance left=2000>"
    allowance.spend(MOST)
    allowance.add_for_work()
    assert allowance.spend(FOR_WORK)
    assert not allowance.spend(1)


@pytest.mark.parametrize(
    ("kind", "flags", "size", "opens", "known", "client", "price"),
    [
        (DATA, 0, 1, False, True, False, 0),
        (DATA, 0, 1, False, False, False, 0),
        (DATA, 0, 0, False, True, False, CHEAP),
        # A request without content may end with an empty frame; that happens once.
        (DATA, END_STREAM, 0, False, True, False, 0),
        (DATA, END_STREAM, 0, False, False, False, CHEAP),
        (HEADERS, 0, 0, True, False, False, 0),
        (HEADERS, 0, 0, False, True, False, CHEAP),
        (HEADERS, 0, 0, False, False, False, CHEAP),
        (HEADERS, 0, 0, False, True, True, CHEAP),
        (RST_STREAM, 0, 0, False, True, False, RESET),
        (RST_STREAM, 0, 0, False, False, False, CHEAP),
        (RST_STREAM, 0, 0, False, True, True, CHEAP),
        (PING, 0, 0, False, False, False, CHEAP),
        (WINDOW_UPDATE, 0, 0, False, True, False, CHEAP),
        (CONTINUATION, 0, 0, False, True, False, CHEAP),
        (99, 0, 0, False, False, True, CHEAP),
    ],
)
def test_prices(kind: int, flags: int, size: int, opens: bool, known: bool, client: bool, price: float) -> None:
    assert price_of(frame(kind, flags, 1), size, opens, known, client) == price
