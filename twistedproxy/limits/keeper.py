"""Keeps what has been used of quotas over the end of the process: writes it down, and reads it at the start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedproxy.access.limits.limits import Limits
from twistedproxy.access.limits.spending import Used
from twistedproxy.limits.clearing import Clearing, Spender
from twistedproxy.limits.quota_file import Damaged, Entry, QuotaFile

INTERVAL: Final = 2.0
"""Seconds between two writes while something is used."""

AFTER_FAILURE: Final = 10.0
"""Seconds until a write that has failed is tried again."""

T = TypeVar("T")


class QuotaKeeper:
    """Keeps what the ``clearing`` adds up, in the directory ``state_directory``. ``wall`` is the time of day."""

    _log = Logger()

    def __init__(self, reactor: Any, state_directory: str | Path, wall: Callable[[], float]) -> None:
        self.clearing = Clearing(wall)
        self.clearing.has_unwritten = self._schedule
        self.file = QuotaFile(Path(state_directory) / "limits" / "quotas.sqlite")
        self._reactor = reactor
        self._wall = wall
        self._call: Any = None
        self._one_at_a_time = DeferredLock()
        self._failing = self._stopped = False

    def __repr__(self) -> str:
        return f"<QuotaKeeper {self.clearing!r}{' failing' if self._failing else ''}>"

    def use(self, limits: Limits | None) -> None:
        """Go by ``limits``, and have read what was used of quotas that are new when this returns.

        That takes milliseconds, and nobody may come in before.
        """
        new = self.clearing.use(limits)
        if not new:
            return
        calendar = self.clearing.calendar
        try:
            entries = self.file.read(new, (calendar.day, calendar.month))
        except (Damaged, OSError) as error:
            self._complain(error)
            return
        for entry in entries:
            used = Used(entry.bytes, 0) if entry.period == calendar.day else Used(0, entry.bytes)
            self.clearing.learned(Spender(entry.limit, entry.key), used)

    # ------------------------------------------------------------ writing

    def _schedule(self) -> None:
        if self._call is None and not self._stopped:
            self._call = self._reactor.callLater(AFTER_FAILURE if self._failing else INTERVAL, self._write)

    def _write(self) -> None:
        self._call = None
        self._one_at_a_time.run(self._write_now)

    def _write_now(self) -> Deferred[None]:
        clearing = self.clearing
        taken, clearing.unwritten = clearing.unwritten, {}
        if not taken:
            return succeed(None)
        calendar = clearing.calendar
        entries = [
            Entry(*spender, period, size, ends)
            for spender, used in taken.items()
            for period, size, ends in (
                (calendar.day, used.today, calendar.day_ends),
                (calendar.month, used.in_month, calendar.month_ends),
            )
        ]
        expected = [clearing.used(spender) for spender in taken]

        def written(sums: list[int]) -> None:
            self._failing = False
            for spender, known, today, in_month in zip(taken, expected, sums[::2], sums[1::2], strict=True):
                if today > known.today or in_month > known.in_month:
                    # Another daemon's.
                    more = Used(max(0, today - known.today), max(0, in_month - known.in_month))
                    clearing.learned(spender, more)

        def not_written(failure: Failure) -> None:
            if failure.check(Damaged):
                # All that is known goes into the new file.
                clearing.unwritten = dict(clearing.all_used())
            else:
                for spender, used in taken.items():
                    clearing.unwritten[spender] = used.and_more(clearing.unwritten.get(spender, Used()))
            self._complain(failure.value)
            self._schedule()

        return self._in_thread(self.file.add, entries, self._wall()).addCallbacks(written, not_written)

    def _complain(self, error: BaseException | None) -> None:
        if isinstance(error, Damaged):
            self._log.error("the file of quotas was damaged, and was moved to {path}", path=str(error))
        elif not self._failing:
            self._failing = True
            self._log.error("what was used of quotas could not be read or written down: {error}", error=error)

    def _in_thread(self, call: Callable[..., T], *arguments: Any) -> Deferred[T]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), call, *arguments)

    # ------------------------------------------------------------ what is asked

    def refill(self, limit: str, key: str) -> Deferred[list[Spender]]:
        """Forget what ``key`` has used of ``limit``, or all when it is empty. Who that was; fails as the file does."""
        spenders = self.clearing.refill(limit, key)
        forgotten: Deferred[None] = self._one_at_a_time.run(self._in_thread, self.file.forget, limit, key)
        return forgotten.addCallback(lambda _: spenders)

    def stop(self) -> Deferred[None]:
        """Write down the last of it. Fires when that is done, or could not be."""
        self._stopped = True
        if self._call is not None:
            self._call.cancel()
            self._call = None
        stopped: Deferred[None] = self._one_at_a_time.run(self._write_now)
        return stopped
