"""Several workers, each a process: started, told what to go by, watched, replaced and ended.

Theory of operation. The parent opens the listeners and accepts nothing; the workers inherit the sockets and take the
connections in their turn, so a connection in the queue is lost with nobody. Once a second each worker is asked for its
numbers and told what the others have taken up of the limits that they share. One that owes an answer for longer than
`service.lag_limit` does not move traffic either, and is replaced.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final

import msgspec
from twisted.internet.defer import Deferred, DeferredList, gatherResults, maybeDeferred, succeed
from twisted.internet.error import ConnectionClosed
from twisted.logger import Logger
from twisted.protocols.amp import Command
from twisted.python.failure import Failure

from twistedproxy.blocklists.files import ListOrders
from twistedproxy.control.link import (
    CannotUse,
    CloseConnection,
    ListConnections,
    Listing,
    Orders,
    Refill,
    Report,
    SetLevel,
    Startup,
    TellLearned,
    TellLimits,
    UseLists,
)
from twistedproxy.control.types import Worker
from twistedproxy.headcount import Headcount
from twistedproxy.limits.clearing import Clearing
from twistedproxy.limits.state import ShareState
from twistedproxy.listeners import Listeners
from twistedproxy.record.learned import Learned
from twistedproxy.record.statistics import Statistics, added_up, grown
from twistedproxy.usage import Usage, together
from twistedproxy.workers.slot import Slot

PULSE: Final = 1.0
"""Seconds between two questions to each worker."""

PATIENCE: Final = 1.0
"""Seconds that an answer is waited for when somebody wants to see the numbers."""


class Supervisor:
    """A fleet of processes.

    ``startup`` is what they are told first, each with its own number; ``seconds`` is the steady time. What they take up
    of limits is told in the ``clearing``.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        startup: Startup,
        environment: Mapping[str, str],
        seconds: Callable[[], float] = time.monotonic,
        clearing: Clearing | None = None,
    ) -> None:
        self._reactor = reactor
        self._clearing = clearing or Clearing(time.time)
        self._startup = startup
        self._environment = environment
        self._headcount = Headcount.new()
        self._over_already = False
        self._slots: list[Slot] = []
        self._leaving: set[Slot] = set()
        self.departed = Statistics()
        self._orders: Orders
        self._listeners: Listeners
        self._ready: Deferred[None] | None = None
        self._seconds = seconds
        self._pulse: Any = None
        self._pulsed_at = 0.0
        self._ending = False

    def __repr__(self) -> str:
        return f"<Supervisor {self._slots!r}>"

    @property
    def _all(self) -> list[Slot]:
        """Those that serve, and those that drain."""
        return [*self._slots, *self._leaving]

    # ------------------------------------------------------------ orders

    def start(self, orders: Orders, listeners: Listeners) -> Deferred[None]:
        self._orders, self._listeners = orders, listeners
        ready: Deferred[None] = Deferred()
        self._ready = ready
        self._staff()
        self._pulsed_at = self._seconds()
        self._pulse = self._reactor.callLater(PULSE, self._pulse_all)
        return ready

    def use(self, orders: Orders, listeners: Listeners) -> Deferred[list[str]]:
        before = self._orders
        self._orders, self._listeners = orders, listeners
        listeners.rest()
        asked = [maybeDeferred(slot.obey).addErrback(_ended_meanwhile) for slot in self._slots if slot.state == "ready"]
        told: Deferred[list[tuple[bool, Any]]] = DeferredList(asked, consumeErrors=True)
        return told.addCallback(self._told, before)

    def _told(self, answers: list[tuple[bool, Any]], before: Orders) -> list[str]:
        refusals = {str(failure.value) for obeys, failure in answers if not obeys}
        if refusals:
            # Whoever starts meanwhile must not go by what the others refuse.
            self._orders = before
            raise CannotUse("\n".join(sorted(refusals)))
        if not self._ending:
            self._staff()
            self._slot_ready()
        return sorted({complaint for _, complaint in answers if complaint})

    def _staff(self) -> None:
        """Have as many slots as the orders say."""
        wanted = self._orders.workers
        while len(self._slots) < wanted:
            taken = {slot.number for slot in self._all}
            number = next(number for number in count() if number not in taken)
            self._slots.append(self._new_slot(number))
            self._slots[-1].start()
        while len(self._slots) > wanted:
            slot = self._slots.pop()
            self._leaving.add(slot)
            timeout = self._orders.settings.service.drain_timeout
            slot.drain(timeout).addCallback(lambda _, left: self._leaving.discard(left), slot)

    def _new_slot(self, number: int) -> Slot:
        slot = Slot(
            self._reactor,
            _numbered(self._startup, number),
            self._environment,
            self._headcount,
            sockets=lambda: self._listeners.sockets(),
            orders=lambda: self._orders,
            became_ready=lambda: self._slot_serves(slot),
            spent=lambda tidings: self._clearing.report(slot, tidings),
            died=lambda report: self._slot_died(slot, report),
            seconds=self._seconds,
        )
        return slot

    def _slot_serves(self, slot: Slot) -> None:
        if self._orders.settings.limits.tables:
            # What was used of quotas must not have to wait.
            slot.pulse(self._elsewhere(slot), False)
        self._slot_ready()

    def _slot_ready(self) -> None:
        if self._ready is not None and all(slot.state == "ready" for slot in self._slots):
            ready, self._ready = self._ready, None
            ready.callback(None)

    def _slot_died(self, slot: Slot, report: Report | None) -> None:
        self._clearing.leave(slot)
        if report is not None:
            self.departed = added_up([self.departed, grown(report.statistics)])

    # ------------------------------------------------------------ watching

    def _pulse_all(self) -> None:
        self._pulse = self._reactor.callLater(PULSE, self._pulse_all)
        now = self._seconds()
        # Who was late itself, because the machine or its own process stood still, has not read their answers yet.
        late, self._pulsed_at = now - self._pulsed_at > 2 * PULSE, now
        limit = self._orders.settings.service.lag_limit
        for slot in self._all:
            if slot.silent > limit and not late:
                slot.kill(f"its reactor did not answer for {slot.silent:.1f} s")
            elif not slot.silent:
                slot.pulse(self._elsewhere(slot), False)

    def _elsewhere(self, slot: Slot) -> Usage:
        """What all but ``slot`` have taken up."""
        usage = together(other.report.usage for other in self._all if other is not slot and other.report is not None)
        if slot.listens:
            usage.limits = self._clearing.news(slot)
        return usage

    def numbers(self) -> Deferred[list[Worker]]:
        slots = [*self._slots, *sorted(self._leaving, key=lambda slot: slot.number)]
        asked = [slot.pulse(self._elsewhere(slot), True) for slot in slots]
        answered = DeferredList([one for one in asked if one is not None])
        told: Deferred[None] = Deferred()
        late = self._reactor.callLater(PATIENCE, told.callback, None)

        def all_answered(_: object) -> None:
            if late.active():
                late.cancel()
                told.callback(None)

        answered.addCallback(all_answered)
        return told.addCallback(lambda _: [slot.status() for slot in slots])

    # ------------------------------------------------------------ connections

    def connections(self, limit: int, client: str, state: str) -> Deferred[Listing]:
        asked = self._ask_all(ListConnections, limit=limit, client=client, state=state)
        listings = gatherResults([one.addCallback(_listing) for one in asked])
        return listings.addCallback(Listing.joined, limit)

    def close_connection(self, worker: int, number: int) -> Deferred[bool]:
        for slot in self._all:
            if slot.number == worker:
                asked = slot.ask(CloseConnection, number=number)
                if asked is not None:
                    return asked.addCallbacks(lambda answer: bool(answer["closed"]), lambda _: False)
        return succeed(False)

    def learned(self, host: str, forget: bool) -> Deferred[list[Learned]]:
        asked = gatherResults(self._ask_all(TellLearned, host=host, forget=forget))
        return asked.addCallback(lambda answers: [one for answer in answers for one in answer.get("learned", ())])

    def limit_states(self, name: str, most: int) -> Deferred[list[ShareState]]:
        asked = gatherResults(self._ask_all(TellLimits, name=name, most=most))
        return asked.addCallback(lambda answers: [one for answer in answers for one in answer.get("states", ())])

    def refill(self, limit: str, key: str) -> Deferred[None]:
        return gatherResults(self._ask_all(Refill, limit=limit, key=key)).addCallback(lambda _: None)

    def reopen_logs(self) -> None:
        for slot in self._all:
            slot.reopen_logs()

    def set_level(self, level: str) -> None:
        # Also for those that start later, or are about to.
        self._orders = msgspec.structs.replace(self._orders, level=level)
        self._ask_all(SetLevel, level=level)

    def use_lists(self, lists: ListOrders) -> Deferred[None]:
        # As above; one that is about to serve catches up with the orders, since they are others now.
        self._orders = msgspec.structs.replace(self._orders, lists=lists)
        return gatherResults(self._ask_all(UseLists, lists=lists)).addCallback(lambda _: None)

    def _ask_all(self, command: type[Command], **arguments: Any) -> list[Deferred[dict[str, Any]]]:
        """Send a command to every worker that is there. One that goes meanwhile has answered nothing."""
        asked = [slot.ask(command, **arguments) for slot in self._all]
        return [one.addErrback(_nothing) for one in asked if one is not None]

    # ------------------------------------------------------------ the end

    def drain(self, timeout: float) -> Deferred[None]:
        self._ending = True
        drained = DeferredList([slot.drain(timeout) for slot in self._all]).addCallback(self._over)
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.errback(CannotUse("the workers end before all of them served"))
        return drained

    def _over(self, _: object) -> None:
        if self._pulse is not None and self._pulse.active():
            self._pulse.cancel()
        if not self._over_already:
            self._over_already = True
            self._headcount.close()

    def stop(self) -> None:
        for slot in self._all:
            slot.stop()


def _numbered(startup: Startup, number: int) -> Startup:
    return msgspec.structs.replace(startup, number=number)


def _ended_meanwhile(failure: Failure) -> str:
    """The next one goes by the orders of its time."""
    failure.trap(ConnectionClosed)
    return ""


def _nothing(failure: Failure) -> dict[str, Any]:
    failure.trap(CannotUse, ConnectionClosed)
    return {}


def _listing(answer: dict[str, Any]) -> Listing:
    return answer.get("listing") or Listing(0, [])
