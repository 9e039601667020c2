"""How late the reactor is."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from twistedproxy.record.lag import INTERVAL, WINDOW, ReactorLag


class LateClock(Clock):
    """Its timers go off late by ``late`` seconds of the steady time."""

    late = 0.0

    def steady(self) -> float:
        return float(self.seconds()) + self.late

    def measure(self, late: float) -> None:
        self.late += late
        self.advance(INTERVAL)
        # Whatever held it up is over, and the next one is expected from now on.


def test_measures_the_worst() -> None:
    clock = LateClock()
    lag = ReactorLag(clock, clock.steady)
    lag.start()
    assert (lag.worst, repr(lag)) == (0.0, "<ReactorLag 0.0 ms>")
    for late in (0.0, 0.25, 0.125):
        clock.measure(late)
    assert lag.worst == pytest.approx(0.25)
    assert repr(lag) == "<ReactorLag 250.0 ms>"
    lag.stop()


def test_forgets_after_two_windows() -> None:
    clock = LateClock()
    lag = ReactorLag(clock, clock.steady)
    lag.start()
    clock.measure(0.5)
    for _ in range(2 * WINDOW - 2):
        clock.measure(0.0)
        assert lag.worst == pytest.approx(0.5)
    clock.measure(0.0)
    assert lag.worst == pytest.approx(0.0)
    lag.stop()


def test_stops() -> None:
    clock = LateClock()
    lag = ReactorLag(clock, clock.steady)
    lag.stop()
    lag.start()
    lag.stop()
    lag.stop()
    assert clock.getDelayedCalls() == []
