"""How late the reactor is: the delay that everything it does has at the moment.

A timer that should go off every `INTERVAL` seconds goes off late by as much as the reactor was busy with something
else, or the machine with other processes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

INTERVAL: Final = 0.5
"""Seconds between two measurements."""

WINDOW: Final = 20
"""How many measurements make one window; the worst of the running window and the one before is told."""


class ReactorLag:
    """Measures how late timers of ``reactor`` are; ``seconds`` is the steady time that it is measured in."""

    def __init__(self, reactor: Any, seconds: Callable[[], float]) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._expected = 0.0
        self._worst = self._worst_before = 0.0
        self._measurements = 0
        self._call: IDelayedCall | None = None

    def __repr__(self) -> str:
        return f"<ReactorLag {self.worst * 1000:.1f} ms>"

    @property
    def worst(self) -> float:
        """The longest delay of the last 10 to 20 seconds, in seconds."""
        return max(self._worst, self._worst_before)

    def start(self) -> None:
        """Begin to measure."""
        self._wait()

    def stop(self) -> None:
        """Measure no more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _wait(self) -> None:
        self._expected = self._seconds() + INTERVAL
        self._call = self._reactor.callLater(INTERVAL, self._measure)

    def _measure(self) -> None:
        self._worst = max(self._worst, self._seconds() - self._expected)
        self._measurements += 1
        if self._measurements == WINDOW:
            self._measurements = 0
            self._worst_before, self._worst = self._worst, 0.0
        self._wait()
