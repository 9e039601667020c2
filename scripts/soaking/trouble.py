"""What is done to the proxy while it works, one at a time: reloads, rotations, killed and hung workers, upgrades."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from scripts.soaking.judging import Kill
from scripts.soaking.ledger import Ledger
from scripts.soaking.processes import carried, is_gone, state
from scripts.soaking.subject import DRAIN_SECONDS, CannotGoOn, Conduct, Subject, until

FORMATS: Final = ("squid", "combined", "json")
MOST_WORKERS: Final = 3
GONE_SECONDS: Final = 15.0

INTERVALS: Final = {
    "reload": (2.0, 20, 30.0),
    "rotation": (3.0, 12, 60.0),
    "kill": (3.0, 10, 90.0),
    "upgrade": (5.0, 4, 600.0),
    "hang": (12.0, 5, 300.0),
}
"""Seconds between two of a kind: at least, how many of them in a whole run, and at most."""

STEADY: Final = ("reload", "rotation")
"""What leaves the processes as they are."""

STEADY_SHARE: Final = 0.25
"""The last part of the time in which no process is replaced: what leaks would be gone with it."""


class Trouble:
    """Makes trouble for ``subject`` until it is told to stop, and notes in the ledger what that excuses."""

    def __init__(self, seed: str, subject: Subject, ledger: Ledger, seconds: float) -> None:
        self.counts: Counter[str] = Counter()
        self.killed: set[int] = set()
        self.rotated: list[Path] = []
        self._random = random.Random(f"{seed} trouble")
        self._subject = subject
        self._ledger = ledger
        self._base = subject.conduct
        self._seconds = seconds
        self._is_steady = False
        self._kinds: dict[str, Callable[[], Awaitable[bool]]] = {
            "reload": self.reload,
            "rotation": self.rotate,
            "kill": self._kill,
            "upgrade": self._upgrade,
            "hang": self._hang,
        }
        self._every = {kind: min(max(seconds / times, least), most) for kind, (least, times, most) in INTERVALS.items()}

    def __repr__(self) -> str:
        return f"<Trouble {dict(self.counts)}>"

    async def make(self, over: asyncio.Event) -> None:
        """One thing after the other, until ``over``. Raises `CannotGoOn`."""
        began = time.monotonic()
        due = {kind: began + every for kind, every in self._every.items()}
        steady_from = began + self._seconds * (1 - STEADY_SHARE)
        while True:
            kind = min(due, key=lambda one: due[one])
            if due[kind] > steady_from and not self._is_steady:
                self._is_steady = True
                due = {steady: max(due[steady], steady_from) for steady in STEADY}
                # Back to as many workers as at the start, and from then on no other number.
                kind, due["reload"] = "reload", steady_from
            try:
                await asyncio.wait_for(over.wait(), max(0.0, due[kind] - time.monotonic()))
                return
            except TimeoutError:
                pass
            if await self._kinds[kind]():
                self.counts[kind] += 1
            self._subject.reap()
            due[kind] = time.monotonic() + self._every[kind] * self._random.uniform(0.7, 1.1)

    # ------------------------------------------------------------ settings and logs

    async def reload(self, conduct: Conduct | None = None) -> bool:
        """Go by other settings: those given, or any."""
        subject = self._subject
        if conduct is None:
            workers = self._base.workers
            if self._random.random() < 0.35 and not self._is_steady:
                workers = self._random.randint(1, MOST_WORKERS)
            conduct = Conduct(workers, self._random.choice(FORMATS), f"soak-{self._random.randint(1, 9)}")
        before = await subject.ask("status")
        if conduct.workers != subject.conduct.workers:
            self._drained()
        subject.conduct = conduct
        subject.write_settings()
        subject.signal(signal.SIGHUP)
        end = time.monotonic() + GONE_SECONDS * 2
        while (after := await subject.ask("status"))["reloads"] == before["reloads"]:
            if after["reloads_failed"] > before["reloads_failed"] or time.monotonic() > end:
                raise CannotGoOn(f"a reload did not go well: {after}")
            await asyncio.sleep(0.1)
        await subject.ready()
        return True

    def _drained(self) -> None:
        now = time.monotonic()
        self._ledger.drains.append((now, now + DRAIN_SECONDS + GONE_SECONDS))

    async def rotate(self) -> bool:
        """Move the access log away, and read those that nobody has open any more."""
        subject = self._subject
        moved = subject.access_log.with_name(f"access.log.{self.counts['rotation']}")
        if not subject.access_log.exists():
            return False
        subject.access_log.rename(moved)
        self.rotated.append(moved)
        subject.signal(signal.SIGUSR1)
        await until(subject.access_log.exists, GONE_SECONDS, "a new access log")
        self.read_rotated()
        return True

    def read_rotated(self) -> None:
        """Read the moved logs that are complete, and remove them."""
        for path in list(self.rotated):
            if not self._subject.has_open(path):
                self._ledger.read_log(path.name, path.read_text(errors="replace"))
                path.unlink()
                self.rotated.remove(path)

    # ------------------------------------------------------------ processes

    async def _victim(self) -> dict[str, Any] | None:
        """A worker that may be killed: not the only one that serves."""
        workers = (await self._subject.ask("status"))["workers"]
        if len(workers) < 2 or any(worker["state"] != "ready" for worker in workers):
            return None
        victim: dict[str, Any] = self._random.choice(workers)
        # With one worker the daemon is it; next to others it is an old one on its way out.
        return victim if all(worker["pid"] != self._subject.pid for worker in workers) else None

    async def _kill(self) -> bool:
        return await self._end(signal.SIGKILL)

    async def _hang(self) -> bool:
        return await self._end(signal.SIGSTOP)

    async def _end(self, number: int) -> bool:
        """Stop a worker, note what it carries, and end it, or let the proxy find that it is stuck."""
        victim = await self._victim()
        if victim is None:
            return False
        pid = victim["pid"]
        at = time.monotonic()
        try:
            # A stopped process takes no more connections, and is not in the middle of a line.
            os.kill(pid, signal.SIGSTOP)
            await until(lambda: state(pid) in ("T", "Z", ""), GONE_SECONDS, f"process {pid} stops")
            ports = carried(pid, self._subject.port)
            os.kill(pid, number)
        except ProcessLookupError:
            # It has ended by itself, for which there is no excuse.
            return False
        self.killed.add(pid)
        await until(lambda: is_gone(pid), GONE_SECONDS, f"the end of process {pid}")
        self._ledger.kills.append(Kill(at, time.monotonic(), ports))
        return True

    async def _upgrade(self) -> bool:
        self._drained()
        await self._subject.upgrade()
        return True
