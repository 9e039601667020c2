"""The one timer: never early, at most a tick late, and nothing kept that is not watched."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from twistedproxy.deadlines import Deadlines

TICK = 0.25


class Thing:
    """Remembers when its deadline passed."""

    def __init__(self, clock: Clock) -> None:
        self.deadline = inf
        self.deadline_bucket = 0
        self.passed: list[float] = []
        self.clock = clock

    def deadline_passed(self) -> None:
        self.passed.append(self.clock.seconds())


def made() -> tuple[Clock, Deadlines, Thing]:
    clock = Clock()
    clock.advance(100)
    return clock, Deadlines(clock, TICK), Thing(clock)


def run(clock: Clock, seconds: float) -> None:
    for _ in range(int(seconds / 0.05)):
        clock.advance(0.05)


def test_passes_once_in_time() -> None:
    clock, deadlines, thing = made()
    deadlines.expire_in(thing, 2)
    run(clock, 1.95)
    assert thing.passed == []
    run(clock, 1)
    assert len(thing.passed) == 1
    assert 102 <= thing.passed[0] <= 102 + TICK + 0.05
    assert clock.getDelayedCalls() == []


def test_pushing_back_costs_no_timer() -> None:
    clock, deadlines, thing = made()
    deadlines.expire_in(thing, 1)
    call = clock.getDelayedCalls()[0]
    for _ in range(10):
        clock.advance(0.5)
        deadlines.expire_in(thing, 1)
    assert thing.passed == []
    assert len(clock.getDelayedCalls()) == 1
    assert not call.active()
    run(clock, 1.5)
    assert len(thing.passed) == 1


def test_an_earlier_one_goes_first() -> None:
    clock, deadlines, thing = made()
    deadlines.expire_in(thing, 3600)
    deadlines.expire_in(thing, 1)
    run(clock, 1.5)
    assert len(thing.passed) == 1


def test_suspended_ones_wait_for_the_next_word() -> None:
    clock, deadlines, thing = made()
    deadlines.expire_in(thing, 1)
    deadlines.suspend(thing)
    run(clock, 10)
    assert thing.passed == []
    deadlines.expire_in(thing, 1)
    run(clock, 1.5)
    assert len(thing.passed) == 1


def test_forgotten_ones_are_gone() -> None:
    clock, deadlines, thing = made()
    deadlines.expire_in(thing, 1)
    deadlines.forget(thing)
    assert clock.getDelayedCalls() == []
    assert repr(deadlines) == "<Deadlines watching=0 buckets=0>"
    run(clock, 2)
    assert thing.passed == []


def test_what_was_forgotten_meanwhile_leaves_no_timer() -> None:
    clock, deadlines, thing = made()
    other = Thing(clock)
    deadlines.expire_in(thing, 1)
    deadlines.expire_in(other, 5)
    deadlines.forget(other)
    run(clock, 1.5)
    assert len(thing.passed) == 1
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("how", ["forget", "suspend", "put off"])
def test_one_that_passes_may_end_another_of_the_same_moment(how: str) -> None:
    clock, deadlines, _ = made()

    class Ending(Thing):
        other: Thing

        def deadline_passed(self) -> None:
            super().deadline_passed()
            if how == "put off":
                deadlines.expire_in(self.other, 3)
            else:
                getattr(deadlines, how)(self.other)

    first, second = Ending(clock), Ending(clock)
    first.other, second.other = second, first
    deadlines.expire_in(first, 1)
    deadlines.expire_in(second, 1)
    run(clock, 1.5)
    # Which of the two goes first is not said.
    assert sorted((len(first.passed), len(second.passed))) == [0, 1]
    deadlines.forget(first)
    deadlines.forget(second)
    run(clock, 5)
    assert sorted((len(first.passed), len(second.passed))) == [0, 1]


def test_one_that_fails_does_not_keep_the_others(logged_errors: object) -> None:
    clock, deadlines, thing = made()

    class Broken(Thing):
        def deadline_passed(self) -> None:
            raise ZeroDivisionError

    deadlines.expire_in(Broken(clock), 1)
    deadlines.expire_in(thing, 1)
    run(clock, 2)
    assert len(thing.passed) == 1
    assert len(logged_errors.flush(ZeroDivisionError)) == 1  # type: ignore[attr-defined]  # the fixture's own type


def test_a_steady_clock_may_stand_beside_the_timer() -> None:
    clock = Clock()
    steady = [500.0]
    deadlines = Deadlines(clock, TICK, lambda: steady[0])
    thing = Thing(clock)
    deadlines.expire_in(thing, 5)
    clock.advance(1000)
    assert thing.passed == []
    steady[0] = 506
    clock.advance(10)
    assert len(thing.passed) == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["in", "suspend", "forget", "wait"]), st.floats(0, 10)),
        max_size=40,
    )
)
def test_agrees_with_the_simplest_model(steps: list[tuple[int, str, float]]) -> None:
    """Each thing's deadline passes between its time and a tick (and a step of this clock) later."""
    clock = Clock()
    clock.advance(100)
    deadlines = Deadlines(clock, TICK)
    things = [Thing(clock) for _ in range(4)]
    due = [inf] * 4

    def check() -> None:
        for number, thing in enumerate(things):
            if thing.passed:
                assert len(thing.passed) == 1
                assert due[number] <= thing.passed[0] <= due[number] + TICK + 0.11
                thing.passed.clear()
                due[number] = inf
            else:
                assert clock.seconds() <= due[number] + TICK + 0.11

    for number, step, seconds in steps:
        if step == "in":
            due[number] = clock.seconds() + seconds
            deadlines.expire_in(things[number], seconds)
        elif step == "suspend":
            due[number] = inf
            deadlines.suspend(things[number])
        elif step == "forget":
            due[number] = inf
            deadlines.forget(things[number])
        else:
            for _ in range(int(seconds * 10)):
                clock.advance(0.1)
                check()
    for _ in range(110):
        clock.advance(0.1)
        check()
    assert due == [inf] * 4
