"""What is put off to the end of a turn: done there once, in order, and for one scheduled call in all."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from twistedproxy.turns import Turn


def test_calls_are_made_together_and_in_order() -> None:
    clock = Clock()
    turn = Turn(clock)
    done: list[int] = []
    for number in range(3):
        turn.put_off(lambda number=number: done.append(number))
    assert (done, len(clock.getDelayedCalls()), repr(turn)) == ([], 1, "<Turn 3 put off>")
    clock.advance(0)
    assert (done, clock.getDelayedCalls(), repr(turn)) == ([0, 1, 2], [], "<Turn 0 put off>")


def test_what_is_put_off_at_the_end_is_for_the_next_turn() -> None:
    clock = Clock()
    turn = Turn(clock)
    done: list[object] = []

    def first() -> None:
        turn.put_off(lambda: done.append("third"))
        done.append(len(clock.getDelayedCalls()))

    turn.put_off(first)
    turn.put_off(lambda: done.append("second"))
    clock.advance(0)
    assert done == [1, "second", "third"]


def test_one_that_fails_stops_no_other(logged_errors: Any) -> None:
    clock = Clock()
    turn = Turn(clock)
    done: list[str] = []

    def fail() -> None:
        raise RuntimeError("no")

    turn.put_off(fail)
    turn.put_off(lambda: done.append("other"))
    clock.advance(0)
    assert done == ["other"]
    assert [type(failure.value) for failure in logged_errors.flush(RuntimeError)] == [RuntimeError]
