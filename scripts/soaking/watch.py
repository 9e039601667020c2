"""Looks at the proxy once a second: its memory, and what it says of itself at its control socket."""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from typing import Final

from scripts.soaking.judging import Growth, growth
from scripts.soaking.ledger import Ledger
from scripts.soaking.subject import CannotGoOn, Subject

INTERVAL: Final = 1.0
_LAG = re.compile(r"^pyproxy_reactor_lag_seconds ([0-9.e+-]+)$", re.MULTILINE)


class Watch:
    """Samples of ``subject`` while it has ``workers``; of other moments only each process's own."""

    def __init__(self, subject: Subject, ledger: Ledger, workers: int) -> None:
        self.polls = 0
        self.lag = 0.0
        """The longest that a reactor was late, in seconds."""
        self.own_lag = 0.0
        """The longest that this process was, on the same machine."""
        self.together: list[tuple[float, int]] = []
        """When, and the memory of all its processes, in bytes."""
        self._of_each: dict[int, list[tuple[float, int]]] = defaultdict(list)
        self._subject = subject
        self._ledger = ledger
        self._workers = workers

    def __repr__(self) -> str:
        return f"<Watch polls={self.polls} lag={self.lag:.3f}>"

    async def look(self, over: asyncio.Event) -> None:
        """Look until ``over``."""
        while not over.is_set():
            due = time.monotonic() + INTERVAL
            self._measure()
            await self._poll()
            due = max(due, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
            self.own_lag = max(self.own_lag, time.monotonic() - due)

    def _measure(self) -> None:
        now = time.monotonic()
        sizes = self._subject.memory()
        for pid, size in sizes.items():
            self._of_each[pid].append((now, size))
        if self._subject.is_staffed(self._workers):
            self.together.append((now, sum(sizes.values())))

    async def _poll(self) -> None:
        try:
            found = _LAG.search(await self._subject.metrics())
            if found is None:
                raise CannotGoOn("the metrics do not tell the reactor's lag")
            self.lag = max(self.lag, float(found[1]))
            await self._subject.ask("connections?limit=5")
        except CannotGoOn as error:
            self._ledger.problem(str(error))
        self.polls += 1

    def growths(self) -> dict[str, Growth]:
        """How memory has grown: of all processes together, and of each that lived for long enough to tell."""
        each = {f"process {pid}": growth(samples) for pid, samples in self._of_each.items()}
        found = {"all processes": growth(self.together)} | each
        return {name: one for name, one in found.items() if one is not None}
