"""The worker in the daemon's own process."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest
import pytest_twisted

from tests.workers.conftest import LOOPBACK, MakeOrders, Processes
from twistedproxy.access.limits.limits import Limits
from twistedproxy.access.limits.spending import Used
from twistedproxy.limits.clearing import Clearing, Spender
from twistedproxy.listeners import Listeners
from twistedproxy.worker import Worker
from twistedproxy.workers.local import TELLING, LocalWorker


class Alone:
    """A fleet of one, and its listeners."""

    def __init__(self, processes: Processes, make_orders: MakeOrders, **settings: str) -> None:
        self.processes = processes
        self.orders = make_orders(generation=1, workers=1, **settings)
        self.clearing = Clearing(lambda: 1.8e9)
        worker = Worker(
            processes,
            self.orders.settings,
            number=0,
            workers=1,
            pseudonym="p",
            descriptors=1000,
            standard_output=None,
            access_log_path="unused",
            state_directory="unused",
        )
        self.fleet = LocalWorker(worker, self.clearing)
        self.listeners = Listeners(processes.real)
        self.listeners.open([LOOPBACK], worker.factory.at)

    @property
    def lag(self) -> list[Any]:
        """The timer by which the reactor's lag is measured, which is always there."""
        return [call for call in self.processes.getDelayedCalls() if "Lag" in repr(call)]

    async def end(self) -> None:
        drained = self.fleet.drain(0)
        self.fleet.stop()

        def over() -> bool:
            self.processes.advance(0)
            return drained.called

        await self.processes.until(over)
        await self.listeners.close()


@pytest_twisted.async_yield_fixture
async def alone(processes: Processes, make_orders: MakeOrders) -> Any:
    """A worker that has started."""
    made = Alone(processes, make_orders)
    await made.fleet.start(made.orders, made.listeners)
    yield made
    await made.end()


@pytest_twisted.ensureDeferred
async def test_serves_at_once(alone: Alone) -> None:
    worker = alone.fleet.worker
    assert (worker.plane.snapshot.generation, worker.factory._ports) == (1, alone.listeners.ports)
    assert repr(alone.fleet) == f"<LocalWorker {worker!r}>"
    (status,) = await alone.fleet.numbers()
    assert (status.number, status.pid, status.state, status.restarts, status.last_end) == (
        *(0, os.getpid(), "ready", 0, ""),
    )
    assert status.statistics.descriptors > 0


@pytest_twisted.ensureDeferred
async def test_other_orders(alone: Alone, make_orders: MakeOrders) -> None:
    assert await alone.fleet.use(make_orders(generation=2, forwarding__via="new"), alone.listeners) == []
    assert alone.fleet.worker.plane.snapshot.pseudonym == "new"


@pytest.mark.parametrize(("worker", "number", "closed"), [(0, 1, True), (0, 2, False), (1, 1, False)])
@pytest_twisted.ensureDeferred
async def test_connections(alone: Alone, worker: int, number: int, closed: bool) -> None:
    address = alone.listeners.addresses()[0]
    with socket.create_connection((address.host, address.port)):
        await alone.processes.until(lambda: alone.fleet.worker.factory.connections)
        listing = await alone.fleet.connections(5, "", "")
        assert (listing.total, listing.connections[0].id) == (1, "0-1")
        assert await alone.fleet.close_connection(worker, number) is closed


@pytest_twisted.ensureDeferred
async def test_learned(alone: Alone) -> None:
    alone.fleet.worker.plane.rejections.rejected("192.0.2.1", "a.test")
    assert [one.host for one in await alone.fleet.learned("", False)] == ["a.test"]
    assert len(await alone.fleet.learned("a.test", True)) == 1
    assert await alone.fleet.learned("", False) == []


@pytest_twisted.ensureDeferred
async def test_end(alone: Alone) -> None:
    address = alone.listeners.addresses()[0]
    with socket.create_connection((address.host, address.port)) as client:
        client.sendall(b"GET ")
        await alone.processes.until(lambda: alone.fleet.worker.factory.connections)
        drained = alone.fleet.drain(3600.0)
        # The level is the daemon's, in whose log it writes.
        alone.fleet.set_level("debug")
        assert [one.state for one in await alone.fleet.numbers()] == ["draining"]
        assert alone.fleet.departed.connections_accepted == 0
        alone.fleet.stop()
        await alone.processes.until(lambda: not alone.fleet.worker.factory.connections)
        alone.processes.advance(0)
        await drained
    assert (await alone.fleet.numbers(), alone.fleet.departed.connections_accepted) == ([], 1)


@pytest_twisted.ensureDeferred
async def test_what_was_used_of_quotas_is_told(alone: Alone, make_orders: MakeOrders) -> None:
    clearing = alone.clearing
    spender = Spender("a", "192.0.2.1")
    assert alone.processes.getDelayedCalls() == alone.lag
    tables = '[{ name = "a", per = "client", daily = "1GiB" }]'
    orders = make_orders(generation=2, workers=1, limits__tables=tables)
    await alone.fleet.use(orders, alone.listeners)
    limits = Limits.of(orders.settings.limits)
    clearing.use(limits)
    clearing.learned(spender, Used(5, 50))
    restraint = alone.fleet.worker.plane.restraint
    alone.processes.advance(TELLING)
    (state,) = await alone.fleet.limit_states("", 5)
    assert (state.key, state.today, state.in_month) == ("192.0.2.1", 5, 50)
    share = restraint._ledgers["a"].share("192.0.2.1", 0.0)
    share.use(10)
    share.spend(1, 10, 0)
    alone.processes.advance(TELLING)
    assert clearing.used(spender) == Used(15, 60)
    await alone.fleet.refill("a", "192.0.2.1")
    assert await alone.fleet.limit_states("", 5) == []
    share.spend(1, 3, 0)
    await alone.fleet.use(alone.orders, alone.listeners)
    alone.processes.advance(TELLING)
    assert alone.processes.getDelayedCalls() == alone.lag


@pytest_twisted.ensureDeferred
async def test_the_last_of_it_is_told_at_the_end(processes: Processes, make_orders: MakeOrders) -> None:
    alone = Alone(processes, make_orders, limits__tables='[{ name = "a", per = "client", monthly = "1GiB" }]')
    alone.clearing.use(Limits.of(alone.orders.settings.limits))
    await alone.fleet.start(alone.orders, alone.listeners)
    alone.fleet.worker.plane.restraint._ledgers["a"].share("x", 0.0).spend(1, 7, 0)
    await alone.end()
    assert alone.clearing.used(Spender("a", "x")) == Used(7, 7)
