"""All the workers that the daemon has: the fleet that serves, and those that it has replaced and that drain still."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList, TimeoutError, gatherResults, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedproxy.access.limits.limits import Limits
from twistedproxy.blocklists.files import ListOrders
from twistedproxy.control.link import CannotUse, Listing, Orders, Startup
from twistedproxy.control.types import Worker as WorkerStatus
from twistedproxy.limits.clearing import Spender
from twistedproxy.limits.keeper import QuotaKeeper
from twistedproxy.limits.state import ShareState, joined, nearest
from twistedproxy.listeners import Listeners
from twistedproxy.logs import try_out
from twistedproxy.record.learned import Learned
from twistedproxy.record.log_file import LogFile
from twistedproxy.record.statistics import Statistics, added_up
from twistedproxy.settings.types import Settings
from twistedproxy.worker import Worker
from twistedproxy.workers.entrance import Entrance
from twistedproxy.workers.fleet import Fleet
from twistedproxy.workers.local import LocalWorker
from twistedproxy.workers.supervisor import Supervisor

STARTING: Final = 60.0
"""Seconds that the workers of other orders may take until they serve."""


class Workforce:
    """One fleet after the other, at the same listeners.

    ``connections``, ``descriptors`` and ``standard_output`` are this process's, for a worker in it: the first is what
    `polled` has made of ``reactor``. ``startup`` is what a worker of its own process is told first; ``environment`` are
    its variables.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        connections: Any,
        startup: Startup,
        environment: Mapping[str, str],
        *,
        descriptors: int,
        standard_output: LogFile | None,
    ) -> None:
        self.entrance = Entrance()
        self._reactor = reactor
        self._connections = connections
        self._startup = startup
        self._environment = environment
        self._descriptors = descriptors
        self._standard_output = standard_output
        self.keeper = QuotaKeeper(reactor, startup.state_directory, time.time)
        self._fleet: Fleet | None = None
        self._coming: Fleet | None = None
        self._leaving: set[Fleet] = set()
        self._serving: Deferred[None] = Deferred()
        self._departed = Statistics()

    def __repr__(self) -> str:
        leaving = f" leaving={len(self._leaving)}" if self._leaving else ""
        return f"<Workforce {self._fleet!r}{leaving}>"

    @property
    def fleets(self) -> list[Fleet]:
        """The one that serves, and those that drain."""
        return [fleet for fleet in (self._fleet, *self._leaving) if fleet is not None]

    @property
    def _all(self) -> list[Fleet]:
        return [*self.fleets, self._coming] if self._coming is not None else self.fleets

    @property
    def local(self) -> Worker | None:
        """The worker in this process."""
        return self._fleet.worker if isinstance(self._fleet, LocalWorker) else None

    def _new_fleet(self, orders: Orders) -> Fleet:
        if orders.workers > 1:
            return Supervisor(self._reactor, self._startup, self._environment, clearing=self.keeper.clearing)
        worker = Worker(
            self._connections,
            orders.settings,
            number=0,
            workers=1,
            pseudonym=self._startup.pseudonym,
            descriptors=self._descriptors,
            standard_output=self._standard_output,
            access_log_path=self._startup.access_log_path,
            state_directory=self._startup.state_directory,
        )
        return LocalWorker(worker, self.keeper.clearing)

    # ------------------------------------------------------------ orders

    def prepare(self, orders: Orders, listeners: Listeners) -> None:
        """Have the workers that ``orders`` ask for, at ``listeners``, which are open. Raises `CannotLog`."""
        fleet = self._fleet = self._new_fleet(orders)
        if isinstance(fleet, LocalWorker):
            self.entrance.server = fleet.worker.factory
            fleet.worker.use(orders.settings, orders.generation, listeners)
            fleet.worker.logs.open()
            return
        listeners.rest()
        # They open them in time; whoever starts the daemon should hear now when that is not possible.
        try_out(orders.settings.log, self._startup.access_log_path, self._standard_output, self._reactor)

    def start(self, orders: Orders, listeners: Listeners) -> Deferred[None]:
        """Begin to serve. Fires when all take connections, be it that a reload has replaced them meanwhile."""
        assert self._fleet is not None, "prepare comes first"
        self._use_limits(orders)
        started = self._fleet.start(orders, listeners)
        started.addCallbacks(self._serve, lambda failure: failure.trap(CannotUse))
        return self._serving

    def _serve(self, _: object) -> None:
        if not self._serving.called:
            self._serving.callback(None)

    def use(self, orders: Orders, listeners: Listeners) -> Deferred[list[str]]:
        """Go by other orders. Fires with what could not be done as wished; fails with `CannotUse`."""
        fleet = self._fleet
        if fleet is not None and (orders.workers > 1) == isinstance(fleet, Supervisor):
            used = fleet.use(orders, listeners)
        else:
            used = self._replace(orders, listeners)

        def known(complaints: list[str]) -> list[str]:
            # Not before the workers know the limits that they are then told of.
            self._use_limits(orders)
            return complaints

        return used.addCallback(known)

    def _use_limits(self, orders: Orders) -> None:
        self.keeper.use(Limits.of(orders.settings.limits))

    def _replace(self, orders: Orders, listeners: Listeners) -> Deferred[list[str]]:
        """From one worker to several, or back: the new ones serve before the old ones drain."""
        fleet = self._coming = self._new_fleet(orders)
        started = maybeDeferred(fleet.start, orders, listeners)
        started.addTimeout(STARTING, self._reactor)

        def serves(_: object) -> list[str]:
            self._coming = None
            old, self._fleet = self._fleet, fleet
            if isinstance(fleet, LocalWorker):
                self.entrance.server = fleet.worker.factory
            if old is not None:
                self._leave(old, orders.settings.service.drain_timeout)
            if isinstance(fleet, Supervisor):
                listeners.rest()
            self._serve(None)
            return []

        def do_not_serve(failure: Failure) -> Failure:
            self._coming = None
            self._leave(fleet, 0)
            if failure.check(TimeoutError):
                raise CannotUse(f"the new workers did not serve within {STARTING:g} s")
            return failure

        return started.addCallbacks(serves, do_not_serve)

    def _leave(self, fleet: Fleet, timeout: float) -> None:
        self._leaving.add(fleet)
        drained = fleet.drain(timeout)
        drained.addErrback(lambda failure: self._log.failure("the old workers did not end in good order", failure))
        drained.addCallback(self._left, fleet)

    def _left(self, _: object, fleet: Fleet) -> None:
        self._leaving.discard(fleet)
        self._departed = added_up([self._departed, fleet.departed])

    # ------------------------------------------------------------ what is asked of all

    def numbers(self) -> Deferred[tuple[list[WorkerStatus], Statistics]]:
        """How each of the workers goes, and what all of them, those of the past included, come to together."""

        def told(of_fleets: list[list[WorkerStatus]]) -> tuple[list[WorkerStatus], Statistics]:
            workers = [worker for fleet in of_fleets for worker in fleet]
            past = [self._departed, *(fleet.departed for fleet in self.fleets)]
            return workers, added_up([*(worker.statistics for worker in workers), *past])

        return gatherResults([fleet.numbers() for fleet in self.fleets]).addCallback(told)

    def connections(self, limit: int, client: str, state: str) -> Deferred[Listing]:
        """The oldest connections; the arguments are those of `twistedproxy.worker.Worker.connections`."""
        asked = [fleet.connections(limit, client, state) for fleet in self.fleets]
        return gatherResults(asked).addCallback(Listing.joined, limit)

    def close_connection(self, worker: int, number: int) -> Deferred[bool]:
        """Close one; False when there is none. While one fleet follows another, both have a worker of that number."""

        def close_next(closed: bool, fleets: list[Fleet]) -> bool | Deferred[bool]:
            if closed or not fleets:
                return closed
            return fleets[0].close_connection(worker, number).addCallback(close_next, fleets[1:])

        return succeed(False).addCallback(close_next, self.fleets)

    def learned(self, host: str, forget: bool) -> Deferred[list[Learned]]:
        """Who does not take our certificates; the arguments are those of `twistedproxy.worker.Worker.learned`."""
        asked = gatherResults([fleet.learned(host, forget) for fleet in self.fleets])
        return asked.addCallback(lambda of_fleets: [one for of_fleet in of_fleets for one in of_fleet])

    def limit_states(self, name: str, most: int) -> Deferred[list[ShareState]]:
        """The ``most`` who are nearest to their limits, or to the limit ``name``; put together of all workers."""
        asked = gatherResults([fleet.limit_states(name, most) for fleet in self.fleets])
        together = asked.addCallback(lambda of_fleets: joined(one for of_fleet in of_fleets for one in of_fleet))
        return together.addCallback(nearest, most)

    def refill(self, limit: str, key: str) -> Deferred[list[Spender]]:
        """Let ``key`` begin anew under ``limit``, or all when it is empty. Whose quotas were; fails with `OSError`."""
        told = gatherResults([fleet.refill(limit, key) for fleet in self.fleets])
        return told.addCallback(lambda _: self.keeper.refill(limit, key))

    def reopen_logs(self) -> None:
        """Go on in new access logs."""
        for fleet in self._all:
            fleet.reopen_logs()

    def set_level(self, level: str) -> None:
        """Write the workers' operational logs from ``level`` on."""
        for fleet in self._all:
            fleet.set_level(level)

    def use_lists(self, lists: ListOrders) -> Deferred[None]:
        """Let what is blocked go by ``lists`` everywhere. Fires when all that serve do."""
        return gatherResults([fleet.use_lists(lists) for fleet in self._all]).addCallback(lambda _: None)

    # ------------------------------------------------------------ the end

    def drain(self, timeout: float) -> Deferred[list[tuple[bool, object]]]:
        """Take no new connections, and end what is under way within ``timeout`` seconds. Fires when all is over."""
        drained: list[Deferred[Any]] = [fleet.drain(timeout) for fleet in self._all]
        ended: Deferred[Any] = DeferredList(drained, consumeErrors=True)
        return ended.addCallback(lambda results: self.keeper.stop().addCallback(lambda _: results))

    def stop(self) -> None:
        """Cut what is under way."""
        for fleet in self._all:
            fleet.stop()


def workers_of(settings: Settings) -> int:
    """How many workers the settings ask for."""
    wanted = settings.service.workers
    return len(os.sched_getaffinity(0)) if isinstance(wanted, str) else wanted
