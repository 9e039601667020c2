"""One run: origins and a proxy are started, traffic flows while trouble is made, and all of it is judged and ended."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

import msgspec

from scripts.soaking.judging import complaints_of, descriptor_leaks, is_late
from scripts.soaking.ledger import Ledger
from scripts.soaking.processes import children, command, is_gone
from scripts.soaking.report import Memory, Report, by_kind
from scripts.soaking.subject import ROOT, CannotGoOn, Conduct, Subject, until
from scripts.soaking.traffic import Traffic
from scripts.soaking.trouble import Trouble
from scripts.soaking.watch import Watch

WARM_UP_SECONDS: Final = 1.0
WARM_UP_KINDS: Final = frozenset(("get", "get kept alive", "tunnel", "upload"))
REST_SECONDS: Final = 20.0
"""How long it may take until nothing is left of the traffic: the proxy's deadlines are shorter."""

CALM_SECONDS: Final = 0.5
ORIGIN_SECONDS: Final = 5.0


class Plan(msgspec.Struct, frozen=True):
    """What a run is: ``requests`` 0 is for any number, ``lag_limit`` in seconds."""

    seed: str
    seconds: float
    workers: int
    clients: int
    requests: int
    lag_limit: float


class Run:
    """One run of ``plan``, with its files in ``directory``."""

    def __init__(self, plan: Plan, directory: Path) -> None:
        self.report = Report(plan.seed, plan.seconds, plan.workers, lag_limit=plan.lag_limit)
        self.ledger = Ledger()
        self._plan = plan
        self._base = Conduct(plan.workers)
        self._subject = Subject(directory, self._base)
        self._origins: list[subprocess.Popen[bytes]] = []

    def __repr__(self) -> str:
        return f"<Run {self._plan} {self.ledger!r}>"

    async def go(self) -> None:
        """All of it. Whatever is wrong is in the ledger; processes are left only where it fails."""
        began = time.monotonic()
        ports = self._start_origins()
        await self._subject.start()
        traffic = Traffic(self._plan.seed, self._subject.port, ports, self.ledger)
        trouble = Trouble(self._plan.seed, self._subject, self.ledger, self._plan.seconds)
        watch = Watch(self._subject, self.ledger, self._plan.workers)
        try:
            await self._warm_up(traffic)
            await self._work(traffic, trouble, watch)
            await self._rest(trouble)
            await self._end()
        except CannotGoOn as error:
            self.ledger.problem(str(error))
        self._judge(traffic, trouble, watch)
        self.report.seconds = time.monotonic() - began

    def _start_origins(self) -> dict[str, int]:
        ports: dict[str, int] = {}
        for kind in ("honest", "faulty", "echo"):
            origin = subprocess.Popen(
                [sys.executable, "-m", "scripts.soaking.origin_server", kind, self._plan.seed],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            self._origins.append(origin)
            assert origin.stdout is not None, "as asked for"
            ports |= json.loads(origin.stdout.readline())
        return ports

    def stop_origins(self) -> None:
        """End the origins in good order."""
        for origin in self._origins:
            if origin.stdin is not None:
                origin.stdin.close()
            try:
                status = origin.wait(ORIGIN_SECONDS)
            except subprocess.TimeoutExpired:
                origin.kill()
                status = origin.wait()
            if origin.stdout is not None:
                origin.stdout.close()
            if status:
                self.ledger.problem(f"an origin ended with status {status}")
        self._origins.clear()

    # ------------------------------------------------------------ the phases

    async def _warm_up(self, traffic: Traffic) -> None:
        """A little of everything, so that what is opened for good is open; then see how many descriptors that is."""
        flowing = asyncio.create_task(traffic.flow(self._plan.clients, WARM_UP_KINDS))
        await asyncio.sleep(WARM_UP_SECONDS)
        traffic.stop()
        await flowing
        await self._calm()
        self.report.descriptors_before = dict(self._subject.descriptors())

    async def _work(self, traffic: Traffic, trouble: Trouble, watch: Watch) -> None:
        over = asyncio.Event()
        traffic.start()
        traffic.most_requests = self._plan.requests
        flowing = asyncio.create_task(traffic.flow(self._plan.clients))
        looking = asyncio.create_task(watch.look(over))
        making = asyncio.create_task(trouble.make(over))
        try:
            await asyncio.wait((flowing, making), timeout=self._plan.seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            traffic.stop()
            over.set()
            results = await asyncio.gather(flowing, looking, making, return_exceptions=True)
        for result in results:
            if isinstance(result, CannotGoOn):
                self.ledger.problem(str(result))
            elif isinstance(result, BaseException):
                raise result

    async def _rest(self, trouble: Trouble) -> None:
        """Back to the settings of the start, and to what was open then."""
        await trouble.reload(self._base)
        await self._calm()
        await until(lambda: self._subject.is_staffed(self._plan.workers), REST_SECONDS * 2, "only the wanted processes")
        before = self.report.descriptors_before
        end = time.monotonic() + REST_SECONDS
        while True:
            after = self._subject.descriptors()
            leaks = descriptor_leaks(before, after, self._plan.workers)
            if not leaks or time.monotonic() > end:
                break
            await asyncio.sleep(CALM_SECONDS)
        self.report.descriptors_after = dict(after)
        self.ledger.problems += leaks

    async def _calm(self) -> None:
        """Wait until there are no connections. Raises `CannotGoOn`."""
        end = time.monotonic() + REST_SECONDS
        while time.monotonic() < end:
            await asyncio.sleep(CALM_SECONDS)
            numbers = (await self._subject.ask("status"))["statistics"]
            if not (numbers["connections"] or numbers["upstream_open"] or numbers["tunnels"]):
                # The connection to the control socket is to be gone too.
                await asyncio.sleep(CALM_SECONDS)
                return
        raise CannotGoOn(f"there are connections left after {REST_SECONDS:g} s: {numbers}")

    async def _end(self) -> None:
        subject = self._subject
        self.report.drain_seconds = await subject.stop()
        self.ledger.problems += [
            f"daemon {pid} ended with status {status}" for pid, status in subject.exits.items() if status
        ]
        if subject.pid not in subject.exits:
            self.ledger.problem(f"nobody knows how daemon {subject.pid} ended")
        if subject.socket.exists():
            self.ledger.problem("the control socket is still there after the end")
        origins = {origin.pid for origin in self._origins}
        left = [pid for pid in children(os.getpid()) if pid not in origins]
        for pid in left:
            state = "a process that nobody waited for" if is_gone(pid) else command(pid)
            self.ledger.problem(f"process {pid} is left after the end: {state}")

    # ------------------------------------------------------------ what it comes to

    def _judge(self, traffic: Traffic, trouble: Trouble, watch: Watch) -> None:
        ledger, report, subject = self.ledger, self.report, self._subject
        ledger.settle()
        trouble.read_rotated()
        if subject.access_log.exists():
            ledger.read_log(subject.access_log.name, subject.access_log.read_text(errors="replace"))
        ledger.check_log(traffic.tunnels_answered + traffic.unreadable_answered, traffic.unnumbered_sent)
        ledger.problems += [
            f"the log says: {line}" for line in complaints_of(subject.said(), frozenset(trouble.killed))
        ]
        for whose, grown in watch.growths().items():
            report.memory[whose] = Memory(grown.second, grown.last, grown.limit)
            if grown.is_leak:
                ledger.problem(f"the memory of {whose} grows: {grown.second:.0f} bytes, and later {grown.last:.0f}")
        if is_late(watch.lag, watch.own_lag, report.lag_limit):
            ledger.problem(f"the reactor was late by {watch.lag:.3f} s, and this process by {watch.own_lag:.3f} s")
        report.requests = by_kind(ledger.counts)
        report.trouble = dict(Counter(trouble.counts))
        report.polls = watch.polls
        report.lag, report.own_lag = watch.lag, watch.own_lag
        report.log_lines = ledger.lines
