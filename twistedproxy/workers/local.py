"""The one worker that lives in the daemon's own process."""

from __future__ import annotations

import os
import time
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed

from twistedproxy.blocklists.files import ListOrders
from twistedproxy.control.link import Listing, Orders
from twistedproxy.control.types import Worker as WorkerStatus
from twistedproxy.limits.clearing import Clearing
from twistedproxy.limits.state import ShareState
from twistedproxy.listeners import Listeners
from twistedproxy.logs import CannotLog
from twistedproxy.record.learned import Learned
from twistedproxy.record.statistics import Statistics, grown
from twistedproxy.worker import Worker

TELLING: Final = 1.0
"""Seconds between two times that what was used of quotas is told."""


class LocalWorker:
    """A fleet of one: every call goes straight to the worker. The ``clearing`` is told what it has used of quotas."""

    def __init__(self, worker: Worker, clearing: Clearing | None = None) -> None:
        self.worker = worker
        self._clearing = clearing or Clearing(time.time)
        self._telling: Any = None
        self.departed = Statistics()
        self._draining = self._ended = False

    def __repr__(self) -> str:
        return f"<LocalWorker {self.worker!r}>"

    def start(self, orders: Orders, listeners: Listeners) -> Deferred[None]:
        self.worker.start()
        self._tell()
        return self.use(orders, listeners).addCallback(lambda _: None)

    def use(self, orders: Orders, listeners: Listeners) -> Deferred[list[str]]:
        self.worker.use(orders.settings, orders.generation, listeners, orders.lists)
        self._tell_on()
        try:
            self.worker.logs.open()
        except CannotLog as error:
            return succeed([f"{error}: the old one stays in use"])
        return succeed([])

    def _tell(self) -> None:
        """Tell what was used of quotas, and hear of it."""
        self._telling = None
        restraint = self.worker.plane.restraint
        if restraint.has_quotas:
            self._clearing.report(self, restraint.told())
            restraint.learn(self._clearing.news(self))
            self._tell_on()

    def _tell_on(self) -> None:
        if self._telling is None and not self._ended and self.worker.plane.restraint.has_quotas:
            self._telling = self.worker.plane.reactor.callLater(TELLING, self._tell)

    def numbers(self) -> Deferred[list[WorkerStatus]]:
        if self._ended:
            # It is among those that have departed.
            return succeed([])
        worker = self.worker
        status = WorkerStatus(
            number=worker.number,
            pid=os.getpid(),
            state="draining" if self._draining else "ready",
            uptime=time.monotonic() - worker.started,
            restarts=0,
            last_end="",
            answered=0.0,
            statistics=worker.statistics(complete=True),
        )
        return succeed([status])

    def connections(self, limit: int, client: str, state: str) -> Deferred[Listing]:
        return succeed(Listing(*self.worker.connections(limit, client, state)))

    def close_connection(self, worker: int, number: int) -> Deferred[bool]:
        return succeed(worker == self.worker.number and self.worker.close_connection(number))

    def learned(self, host: str, forget: bool) -> Deferred[list[Learned]]:
        return succeed(self.worker.learned(host, forget))

    def limit_states(self, name: str, most: int) -> Deferred[list[ShareState]]:
        return succeed(self.worker.plane.restraint.states(name, most))

    def refill(self, limit: str, key: str) -> Deferred[None]:
        self.worker.plane.restraint.refill(limit, key)
        return succeed(None)

    def reopen_logs(self) -> None:
        self.worker.logs.reopen()

    def set_level(self, level: str) -> None:
        """The daemon's log is the worker's."""

    def use_lists(self, lists: ListOrders) -> Deferred[None]:
        self.worker.use_lists(lists)
        return succeed(None)

    def drain(self, timeout: float) -> Deferred[None]:
        self._draining = True
        return self.worker.drain(timeout).addCallback(self._over)

    def _over(self, _: None) -> None:
        self._ended = True
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        self._clearing.report(self, self.worker.plane.restraint.told())
        self._clearing.leave(self)
        self.departed = grown(self.worker.statistics(complete=False))

    def stop(self) -> None:
        self.worker.stop()
