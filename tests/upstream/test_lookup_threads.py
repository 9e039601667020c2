"""Threads for calls that may hang: limits, fairness, and an end without waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from twistedproxy.upstream.lookup_threads import Job, LookupThreads


class Hung:
    """Jobs that wait for `release`, and what became of them."""

    def __init__(self) -> None:
        self._events: dict[str, threading.Event] = {}
        self.started: list[str] = []
        self.done: list[str] = []
        self._watchers: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def job(self, name: str, *, prompt: bool = False) -> Job[str]:
        event = self._events[name] = threading.Event()

        def work() -> str:
            self.started.append(name)
            assert event.wait(10)
            return name

        def done(result: str | None, error: Exception | None) -> None:
            assert result == name
            assert error is None
            self.done.append(name)
            for watcher in [watcher for watcher in self._watchers if watcher[0]()]:
                self._watchers.remove(watcher)
                watcher[1].callback(None)

        return Job(work, done, prompt=prompt)

    def finished(self, *names: str) -> Deferred[None]:
        """Fires when all of these have been done."""
        over: Deferred[None] = Deferred()
        if set(names) <= set(self.done):
            over.callback(None)
        else:
            self._watchers.append((lambda: set(names) <= set(self.done), over))
        return over

    def release(self, *names: str) -> Deferred[None]:
        for name in names:
            self._events[name].set()
        return self.finished(*names)

    def release_all(self) -> None:
        for event in self._events.values():
            event.set()


@pytest.fixture
def hung() -> Iterator[Hung]:
    jobs = Hung()
    yield jobs
    jobs.release_all()


@pytest.fixture
def make(running_reactor: Any, hung: Hung) -> Iterator[Callable[[int], LookupThreads]]:
    made: list[LookupThreads] = []

    def make_threads(limit: int) -> LookupThreads:
        made.append(LookupThreads(running_reactor, limit, "test"))
        return made[-1]

    yield make_threads
    for threads in made:
        threads.close()


def own_threads() -> int:
    return sum(thread.name.startswith("test-") for thread in threading.enumerate())


@pytest_twisted.ensureDeferred
async def test_threads_start_when_they_are_needed_and_are_used_again(
    make: Callable[[int], LookupThreads], hung: Hung
) -> None:
    threads = make(8)
    assert own_threads() == 0
    for name in ("a", "b", "c"):
        threads.add(hung.job(name), "client")
        await hung.release(name)
    assert own_threads() == 1
    assert repr(threads) == "<LookupThreads test busy=0/8 waiting=0>"


@pytest_twisted.ensureDeferred
async def test_one_client_has_a_quarter_of_the_threads_at_most(
    make: Callable[[int], LookupThreads], hung: Hung
) -> None:
    threads = make(8)
    for number in range(1000):
        threads.add(hung.job(f"hostile-{number}"), "hostile")
    assert repr(threads) == "<LookupThreads test busy=2/8 waiting=998>"
    for number in range(3):
        threads.add(hung.job(f"other-{number}"), f"client {number}")
    await hung.release("other-0", "other-1", "other-2")
    assert set(hung.started) == {"hostile-0", "hostile-1", "other-0", "other-1", "other-2"}
    assert own_threads() <= 5
    await hung.release("hostile-1")
    assert repr(threads) == "<LookupThreads test busy=2/8 waiting=997>"


@pytest_twisted.ensureDeferred
async def test_clients_take_turns(make: Callable[[int], LookupThreads], hung: Hung) -> None:
    threads = make(1)
    for client in "abc":
        for number in range(3):
            threads.add(hung.job(f"{client}{number}"), client)
    # The first starts at once; turns are taken by those that wait.
    order = ["a0", "a1", "b0", "c0", "a2", "b1", "c1", "b2", "c2"]
    for name in order:
        await hung.release(name)
    assert hung.started == order


@pytest_twisted.ensureDeferred
async def test_a_client_without_a_name_may_have_all_but_one(make: Callable[[int], LookupThreads], hung: Hung) -> None:
    threads = make(4)
    for number in range(6):
        threads.add(hung.job(f"{number}"), "")
    assert repr(threads) == "<LookupThreads test busy=3/4 waiting=3>"
    threads.add(hung.job("prompt", prompt=True), "")
    assert repr(threads) == "<LookupThreads test busy=4/4 waiting=3>"
    await hung.release("prompt")


@pytest_twisted.ensureDeferred
async def test_prompt_jobs_go_first_and_count_for_nobody(make: Callable[[int], LookupThreads], hung: Hung) -> None:
    threads = make(2)
    threads.add(hung.job("first"), "client")
    threads.add(hung.job("second"), "client")
    threads.add(hung.job("prompt-1", prompt=True), "client")
    threads.add(hung.job("prompt-2", prompt=True), "client")
    await hung.release("prompt-1")
    await hung.release("prompt-2")
    await hung.release("first")
    assert set(hung.started[:2]) == {"first", "prompt-1"}
    assert hung.started[2:3] == ["prompt-2"]
    await hung.release("second")


@pytest_twisted.ensureDeferred
async def test_a_job_that_another_client_waits_for_too_starts_in_the_others_turn(
    make: Callable[[int], LookupThreads], hung: Hung
) -> None:
    threads = make(4)
    threads.add(hung.job("stuck"), "hostile")
    shared = hung.job("shared")
    threads.add(shared, "hostile")
    assert repr(threads) == "<LookupThreads test busy=1/4 waiting=1>"
    threads.join(shared, "hostile")
    assert repr(threads) == "<LookupThreads test busy=1/4 waiting=1>"
    threads.join(shared, "good")
    assert repr(threads) == "<LookupThreads test busy=2/4 waiting=0>"
    threads.join(shared, "third")
    await hung.release("shared")
    assert hung.done == ["shared"]


@pytest_twisted.ensureDeferred
async def test_a_job_that_has_not_started_can_be_withdrawn(make: Callable[[int], LookupThreads], hung: Hung) -> None:
    threads = make(2)
    running, waiting = hung.job("running"), hung.job("waiting")
    threads.add(running, "a")
    threads.add(waiting, "b")
    threads.join(waiting, "c")
    prompt_running, prompt_waiting = hung.job("p1", prompt=True), hung.job("p2", prompt=True)
    threads.add(prompt_running, "a")
    threads.add(prompt_waiting, "a")
    assert repr(threads) == "<LookupThreads test busy=2/2 waiting=3>"
    assert not threads.withdraw(running)
    assert not threads.withdraw(prompt_running)
    assert threads.withdraw(waiting)
    assert threads.withdraw(prompt_waiting)
    assert repr(threads) == "<LookupThreads test busy=2/2 waiting=0>"
    await hung.release("running", "p1")
    assert sorted(hung.started) == ["p1", "running"]


@pytest_twisted.ensureDeferred
async def test_an_exception_is_told(make: Callable[[int], LookupThreads]) -> None:
    over: Deferred[tuple[object, Exception | None]] = Deferred()
    error = OSError(24, "Too many open files")

    def work() -> str:
        raise error

    make(1).add(Job(work, lambda result, problem: over.callback((result, problem))), "client")
    assert await over == (None, error)


@pytest_twisted.ensureDeferred
async def test_closing_waits_for_nothing_and_starts_nothing(make: Callable[[int], LookupThreads], hung: Hung) -> None:
    threads = make(4)
    stuck, waiting = hung.job("stuck"), hung.job("waiting")
    threads.add(stuck, "client")
    threads.add(waiting, "client")
    while hung.started != ["stuck"]:
        await turn()
    threads.close()
    assert not threads.withdraw(stuck)
    assert not threads.withdraw(waiting)
    threads.add(hung.job("late"), "client")
    hung.release_all()
    while own_threads():
        await turn()
    assert hung.started == ["stuck"]
    assert hung.done == []


@pytest_twisted.ensureDeferred
async def test_a_system_without_threads_is_an_error_not_a_wait(
    make: Callable[[int], LookupThreads], hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    over: Deferred[Exception | None] = Deferred()
    threads = make(1)
    threads.add(Job(lambda: "", lambda _, error: over.callback(error)), "client")
    assert str(await over) == "the system starts no thread"
    assert repr(threads) == "<LookupThreads test busy=0/1 waiting=0>"


def turn() -> Deferred[None]:
    from twisted.internet import reactor

    over: Deferred[None] = Deferred()
    reactor.callLater(0.001, over.callback, None)  # type: ignore[attr-defined]  # the module stands for the reactor
    return over
