"""One timer for every deadline of every connection.

Theory of operation. Almost every deadline is pushed back before it passes, so pushing back must cost next to
nothing. Each watched object sits in one bucket, a span of ``tick`` seconds. A deadline that moves later is just an
assignment: the object stays where it is, and when its bucket's time comes it is put into a later one. Only a
deadline that moves *earlier* than its bucket moves the object at once. One ``callLater`` is pending, for the
earliest bucket, and none when nothing is watched.

A deadline never passes early, and passes at most one tick late.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from math import inf
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from twistedproxy.turns import Turn


class Timed(Protocol):
    """Something with a deadline."""

    deadline: float
    """When it passes, in the clock's seconds; ``inf`` for never. Written by `Deadlines` and by nobody else."""

    deadline_bucket: int
    """Where `Deadlines` keeps it; 0 for nowhere."""

    def deadline_passed(self) -> None:
        """The deadline is over. It is no longer watched when this is called."""


class Deadlines:
    """Watches deadlines; see the head of the module.

    ``tick`` is in seconds. ``seconds`` tells the time where the clock's own is not steady: the reactor's follows the
    time of day, which can be set.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, tick: float = 0.25, seconds: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._tick = tick
        self._buckets: dict[int, set[Timed]] = {}
        self._due: list[int] = []
        self._call: IDelayedCall | None = None
        self._scheduled = 0
        self.seconds: Callable[[], float] = seconds or clock.seconds
        self.turn = Turn(clock)
        """The turns of the same clock, for all that have their deadlines here."""

    def __repr__(self) -> str:
        watched = sum(map(len, self._buckets.values()))
        return f"<Deadlines watching={watched} buckets={len(self._buckets)}>"

    def expire_at(self, timed: Timed, when: float) -> None:
        """Let ``timed``'s deadline pass at ``when``, in the clock's seconds, instead of at any earlier choice."""
        timed.deadline = when
        bucket = timed.deadline_bucket
        if bucket and when >= (bucket - 1) * self._tick:
            return
        if bucket:
            self._buckets[bucket].discard(timed)
            timed.deadline_bucket = 0
        if when != inf:
            self._put(timed, when)

    def expire_in(self, timed: Timed, seconds: float) -> None:
        """Let ``timed``'s deadline pass ``seconds`` from now."""
        when = self.seconds() + seconds
        bucket = timed.deadline_bucket
        if bucket and when >= (bucket - 1) * self._tick:
            # As nearly always; `expire_at` would do the same.
            timed.deadline = when
        else:
            self.expire_at(timed, when)

    def suspend(self, timed: Timed) -> None:
        """Let nothing pass until the next `expire_at`; the cheap way to pause."""
        timed.deadline = inf

    def forget(self, timed: Timed) -> None:
        """Stop watching ``timed`` and drop every reference to it."""
        timed.deadline = inf
        if timed.deadline_bucket:
            self._buckets[timed.deadline_bucket].discard(timed)
            timed.deadline_bucket = 0
            if self._call is not None and not any(self._buckets.values()):
                self._call.cancel()
                self._call = None
                self._buckets.clear()
                self._due.clear()

    def _put(self, timed: Timed, when: float) -> None:
        bucket = int(when / self._tick) + 1
        timed.deadline_bucket = bucket
        members = self._buckets.get(bucket)
        if members is None:
            members = self._buckets[bucket] = set()
            heapq.heappush(self._due, bucket)
        members.add(timed)
        if self._call is None or bucket < self._scheduled:
            self._schedule()

    def _schedule(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
        while self._due and not self._buckets[self._due[0]]:
            del self._buckets[heapq.heappop(self._due)]
        if self._due:
            self._scheduled = self._due[0]
            delay = self._scheduled * self._tick - self.seconds()
            self._call = self._clock.callLater(max(0.0, delay), self._turn)

    def _turn(self) -> None:
        self._call = None
        now = self.seconds()
        passed: list[Timed] = []
        while self._due and self._due[0] * self._tick <= now:
            for timed in self._buckets.pop(heapq.heappop(self._due)):
                timed.deadline_bucket = 0
                when = timed.deadline
                if when <= now:
                    passed.append(timed)
                elif when != inf:
                    self._put(timed, when)
        self._schedule()
        for timed in passed:
            if timed.deadline > now or timed.deadline_bucket:
                # One before it has ended what it stands for, or put it off.
                continue
            timed.deadline = inf
            # One that fails must not keep the others from hearing of theirs.
            try:
                timed.deadline_passed()
            except Exception:
                self._log.failure("a deadline could not be acted on: {timed!r}", timed=timed)
