"""Which of several workers takes the next connection: one that has fewer than the others, when it can.

Theory of operation. The kernel wakes all the workers for a connection, and whoever runs first could take all that wait:
on two busy cores, where the other gets the processor some milliseconds later, one of two workers took 40 of the 50
connections that were opened at once, and often all of them. So each sees how many the others have (`Headcount`), and
takes only as many as bring it `SLACK` ahead of the one with the fewest. Then it rests: it leaves the queue to the
others, looks each `LOOK` whether they have caught up, and goes on after `LOOKS` of them at the latest. The same 50 then
come to 25 and 25, or to 27 and 23 at worst.

Whoever has moved nothing in all that time is asleep: hung, or just killed, or without a processor. It is waited for
once, and counts again when its number has changed. So no connection waits longer than one rest, and those after it do
not wait at all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twistedproxy.headcount import ABSENT, Headcount

SLACK: Final = 4
"""How many connections a worker may be ahead of the one with the fewest. Fewer in a turn would cost more turns."""

PART: Final = 16
"""And one more for each so many that the other has: with thousands, a few more or less are no matter."""

LOOK: Final = 0.001
"""Seconds between two looks at the others while it rests."""

LOOKS: Final = 10
"""How often it looks before it goes on without them. A Linux kernel lets a process run for some 3 ms before another's
turn comes, and there may be a few others."""

ANY_NUMBER: Final = 1 << 20


class FairShare:
    """The share of worker ``number`` of ``workers``. ``go_on`` is called when a rest is over."""

    def __init__(
        self, reactor: Any, headcount: Headcount, number: int, workers: int, go_on: Callable[[], object]
    ) -> None:
        self.workers = workers
        self._reactor = reactor
        self._headcount = headcount
        self._number = number
        self._go_on = go_on
        # Not what the others see: a predecessor in its place may have been taken away a moment ago.
        self._own = 0
        self._asleep: dict[int, int] = {}
        self._at_first: list[int] = []
        self._looks_left = 0
        self._timer: Any = None

    def __repr__(self) -> str:
        return f"<FairShare {self._number} of {self.workers}{' resting' if self.resting else ''}>"

    @property
    def resting(self) -> bool:
        """Whether others have their head start."""
        return self._timer is not None

    def tell(self, count: int) -> None:
        """This worker has ``count`` connections."""
        self._own = count
        self._headcount.tell(self._number, count)

    def quota(self) -> int:
        """How many connections it may take now."""
        counts = self._headcount.all(self.workers)
        least = ABSENT
        asleep = self._asleep
        for number, count in enumerate(counts):
            if count < least and number != self._number:
                if asleep and number in asleep:
                    if asleep[number] == count:
                        continue
                    del asleep[number]
                least = count
        if least == ABSENT:
            return ANY_NUMBER
        return max(0, least + SLACK + least // PART - self._own)

    def rest(self) -> None:
        """Let others go first."""
        self._at_first = self._headcount.all(self.workers)
        self._looks_left = LOOKS
        self._timer = self._reactor.callLater(LOOK, self._look)

    def _look(self) -> None:
        self._looks_left -= 1
        if not self.quota():
            if self._looks_left:
                self._timer = self._reactor.callLater(LOOK, self._look)
                return
            self._asleep.update(
                (number, count)
                for number, (before, count) in enumerate(
                    zip(self._at_first, self._headcount.all(self.workers), strict=False)
                )
                if before == count and number != self._number
            )
        self._timer = None
        self._go_on()

    def leave(self) -> None:
        """Take no more, and let nobody wait for this worker."""
        self.tell(ABSENT)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
