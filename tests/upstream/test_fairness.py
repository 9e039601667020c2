"""Turns that are shared between clients; more of it with threads in `test_lookup_threads`."""

from __future__ import annotations

import pytest

from twistedproxy.upstream.fairness import FairQueue, Queued


class Named(Queued):
    """A job that a test can tell from others."""

    def __init__(self, name: str, *, prompt: bool = False) -> None:
        super().__init__(prompt=prompt)
        self.name = name


class Turns(FairQueue[Named]):
    """A queue that notes what has started."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, lambda job: self.started.append(job.name))
        self.started: list[str] = []


@pytest.mark.parametrize(("limit", "share"), [(1, 1), (2, 1), (3, 1), (8, 2), (32, 8)])
def test_one_client_has_a_quarter_of_the_turns(limit: int, share: int) -> None:
    turns = Turns(limit)
    for number in range(100):
        turns.add(Named(f"{number}"), "greedy")
    assert turns.started == [f"{number}" for number in range(share)]
    assert repr(turns) == f"<FairQueue busy={share}/{limit} waiting={100 - share}>"


def test_a_turn_that_is_over_is_the_next_clients() -> None:
    turns = Turns(1)
    jobs = {name: Named(name) for name in ("a0", "a1", "b0", "a2")}
    for name, job in jobs.items():
        turns.add(job, name[0])
    for name in ("a0", "a1", "b0", "a2"):
        assert turns.started[-1] == name
        turns.over(jobs[name])
    assert repr(turns) == "<FairQueue busy=0/1 waiting=0>"


def test_what_is_closed_starts_nothing() -> None:
    turns = Turns(2)
    running, waiting = Named("running"), Named("waiting")
    turns.add(running, "a")
    turns.add(waiting, "a")
    turns.close()
    assert not turns.withdraw(waiting)
    turns.over(running)
    turns.add(Named("late", prompt=True), "a")
    assert turns.started == ["running"]
