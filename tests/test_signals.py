"""Signals, from before the reactor starts until nothing is left."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest

from twistedproxy.signals import Signals

NUMBERS = (signal.SIGTERM, signal.SIGUSR1)


class Reactor:
    """One whose turns and triggers are the test's."""

    def __init__(self) -> None:
        self.triggers: dict[str, Callable[[], object]] = {}
        self.calls: list[Callable[[], object]] = []
        self.sigTerm: Callable[[int, object], object] = lambda *_: None

    def addSystemEventTrigger(self, phase: str, event: str, call: Callable[[], object]) -> None:
        self.triggers[f"{phase} {event}"] = call

    def callFromThread(self, call: Callable[[], object]) -> None:
        self.calls.append(call)

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    """The reactor; what signals do in the tests' process is put back in the end."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield Reactor()
    for number, action in before.items():
        signal.signal(number, action)


def heeded(reactor: Reactor) -> list[str]:
    """What has been called for the signals that are heeded."""
    called: list[str] = []
    made = Signals(reactor, {number: lambda name=number.name: called.append(name) for number in NUMBERS})
    assert repr(made) == "<Signals SIGTERM SIGUSR1>"
    made.heed()
    return called


def test_calls_are_made_in_a_turn(reactor: Reactor) -> None:
    called = heeded(reactor)
    for number in NUMBERS:
        signal.raise_signal(number)
    assert called == []
    reactor.turn()
    assert called == ["SIGTERM", "SIGUSR1"]


def test_what_the_reactor_installs_is_ours(reactor: Reactor) -> None:
    called = heeded(reactor)
    signal.signal(signal.SIGTERM, reactor.sigTerm)
    signal.raise_signal(signal.SIGTERM)
    reactor.turn()
    assert called == ["SIGTERM"]


def test_ignored_when_all_is_over(reactor: Reactor) -> None:
    called = heeded(reactor)
    reactor.triggers["after shutdown"]()
    assert [signal.getsignal(number) for number in NUMBERS] == [signal.SIG_IGN, signal.SIG_IGN]
    for number in NUMBERS:
        signal.raise_signal(number)
    reactor.turn()
    assert called == []
