"""One fleet after the other, at the same listeners: in this process, or as processes that do what the test says."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.workers.conftest import LOOPBACK, FakeProcess, MakeOrders, Processes
from twistedproxy.control.link import CannotUse, Report, Startup
from twistedproxy.listeners import Listeners
from twistedproxy.logs import CannotLog
from twistedproxy.record.statistics import Statistics
from twistedproxy.usage import Usage
from twistedproxy.worker import Worker
from twistedproxy.workers.local import LocalWorker
from twistedproxy.workers.supervisor import Supervisor
from twistedproxy.workers.workforce import STARTING, Workforce


class Daemon:
    """A workforce with open listeners."""

    def __init__(self, processes: Processes, startup: Startup, make_orders: MakeOrders) -> None:
        self.processes = processes
        self.make_orders = make_orders
        self.workforce = Workforce(processes, processes, startup, {}, descriptors=1000, standard_output=None)
        self.listeners = Listeners(processes.real)
        self.listeners.open([LOOPBACK], self.workforce.entrance.at)

    def prepare(self, **orders: Any) -> None:
        self.workforce.prepare(self.make_orders(**orders), self.listeners)

    def start(self, **orders: Any) -> Deferred[None]:
        self.prepare(**orders)
        return self.workforce.start(self.make_orders(**orders), self.listeners)

    def use(self, **orders: Any) -> Deferred[list[str]]:
        return self.workforce.use(self.make_orders(**orders), self.listeners)

    @property
    def port(self) -> int:
        return int(self.listeners.addresses()[0].port)

    @property
    def accepts(self) -> bool:
        """Whether this process takes the connections that come."""
        return self.listeners.ports[0] in self.processes.real.getReaders()

    @property
    def running(self) -> list[FakeProcess]:
        return [one for one in self.processes.all if not one.ended]

    @property
    def local(self) -> Worker:
        worker = self.workforce.local
        assert worker is not None
        return worker

    async def client(self) -> socket.socket:
        """One that the local worker serves, and that is in the middle of a request."""
        worker = self.local
        before = worker.factory.connections
        client = socket.create_connection(("127.0.0.1", self.port))
        client.sendall(b"GET ")
        await self.processes.until(lambda: worker.factory.connections > before)
        return client

    async def left(self) -> None:
        """Nobody drains any more; the worker in this process closes in a turn after its last connection."""

        def gone() -> bool:
            self.processes.advance(0)
            return not self.workforce._leaving

        await self.processes.until(gone)

    async def end(self) -> None:
        drained = self.workforce.drain(0)
        self.workforce.stop()
        for one in self.running:
            one.die()

        def over() -> bool:
            self.processes.advance(0)
            return drained.called

        await self.processes.until(over)
        await self.left()
        await self.listeners.close()


@pytest_twisted.async_yield_fixture
async def daemon(processes: Processes, startup: Startup, make_orders: MakeOrders) -> Any:
    """A daemon without workers so far."""
    made = Daemon(processes, startup, make_orders)
    yield made
    await made.end()


# ---------------------------------------------------------------- the beginning


@pytest_twisted.ensureDeferred
async def test_one_worker_is_in_this_process(daemon: Daemon) -> None:
    assert daemon.workforce.local is None
    assert repr(daemon.workforce) == "<Workforce None>"
    daemon.prepare(workers=1, generation=1)
    assert (daemon.local.plane.snapshot.generation, daemon.accepts) == (1, True)
    assert daemon.workforce.entrance.server is daemon.local.factory
    await daemon.workforce.start(daemon.make_orders(workers=1), daemon.listeners)
    assert daemon.processes.all == []
    assert repr(daemon.workforce).startswith("<Workforce <LocalWorker <Worker 0 ")


@pytest_twisted.ensureDeferred
async def test_several_are_processes(daemon: Daemon) -> None:
    await daemon.start(workers=2)
    assert len(daemon.processes.all) == 2
    assert (daemon.workforce.local, daemon.accepts) == (None, False)


@pytest.mark.parametrize("workers", [1, 2])
def test_access_log_that_cannot_be_opened(daemon: Daemon, tmp_path: Path, workers: int) -> None:
    """Whoever starts the daemon hears of it, also when the workers will open it."""
    with pytest.raises(CannotLog, match="Is a directory"):
        daemon.prepare(workers=workers, log__access=str(tmp_path))


@pytest.mark.parametrize("workers", [1, 2])
def test_log_of_messages_that_cannot_be_opened(daemon: Daemon, tmp_path: Path, workers: int) -> None:
    with pytest.raises(CannotLog, match=r"^the log of messages .* cannot be opened: Is a directory$"):
        daemon.prepare(workers=workers, log__websocket=str(tmp_path))


def test_logs_of_processes_are_tried_out(daemon: Daemon, tmp_path: Path) -> None:
    daemon.prepare(workers=2, log__websocket=str(tmp_path / "websocket.log"))
    assert (tmp_path / "access.log").exists()
    assert (tmp_path / "websocket.log").exists()


@pytest_twisted.ensureDeferred
async def test_end_before_it_serves(daemon: Daemon) -> None:
    started = daemon.start(workers=2)
    drained = daemon.workforce.drain(1.0)
    for one in daemon.running:
        one.die(signal=9)
    await drained
    assert not started.called


@pytest_twisted.ensureDeferred
async def test_replaced_before_it_served(daemon: Daemon) -> None:
    """The beginning is over when anybody serves."""
    daemon.processes.answers["Obey"] = Deferred()
    started = daemon.start(workers=2)
    await daemon.use(workers=1, generation=2)
    assert started.called
    assert [one.signals for one in daemon.running] == [["KILL"], ["KILL"]]


# ---------------------------------------------------------------- other orders


@pytest_twisted.ensureDeferred
async def test_same_kind_stays(daemon: Daemon, tmp_path: Path) -> None:
    await daemon.start(workers=1)
    worker = daemon.local
    assert await daemon.use(workers=1, generation=2, log__access=str(tmp_path)) == [
        f"the access log {tmp_path} cannot be opened: Is a directory: the old one stays in use"
    ]
    assert (daemon.local, worker.plane.snapshot.generation) == (worker, 2)


@pytest_twisted.ensureDeferred
async def test_processes_go_by_other_orders(daemon: Daemon) -> None:
    await daemon.start(workers=2)
    assert await daemon.use(workers=3, generation=2) == []
    assert len(daemon.processes.all) == 3
    assert isinstance(daemon.workforce.fleets[0], Supervisor)


@pytest_twisted.ensureDeferred
async def test_from_one_to_several(daemon: Daemon) -> None:
    """The old one serves until the new ones do, and then drains."""
    await daemon.start(workers=1)
    old = daemon.local
    client = await daemon.client()
    used = daemon.use(workers=2, generation=2)
    obeyed: Deferred[Any] = Deferred()
    daemon.processes.all[1].far.answers["Obey"] = obeyed
    await daemon.processes.settle()
    assert (daemon.local, daemon.accepts, used.called) == (old, True, False)
    (await daemon.client()).close()
    await daemon.processes.until(lambda: old.factory.connections == 1)
    obeyed.callback({"complaint": ""})
    assert await used == []
    assert (daemon.workforce.local, daemon.accepts, old.factory.draining) == (None, False, True)
    assert repr(daemon.workforce).endswith(" leaving=1>")
    client.close()
    await daemon.left()
    assert "closed" in repr(old.plane.access_log)


@pytest_twisted.ensureDeferred
async def test_from_several_to_one(daemon: Daemon) -> None:
    await daemon.start(workers=2)
    assert await daemon.use(workers=1, generation=2, service__drain_timeout="7") == []
    assert (daemon.accepts, daemon.local.plane.snapshot.generation) == (True, 2)
    (await daemon.client()).close()
    await daemon.processes.until(lambda: not daemon.local.factory.connections)
    await daemon.processes.until(lambda: all(one.far.heard_of("Drain") for one in daemon.processes.all))
    assert daemon.processes.all[0].far.heard_of("Drain") == [{"timeout": 7.0}]


@pytest_twisted.ensureDeferred
async def test_new_ones_that_never_serve(daemon: Daemon, logged_errors: Any) -> None:
    """Their orders were nothing; the old one has not stopped to serve."""
    await daemon.start(workers=1)
    old = daemon.local
    daemon.processes.answers["Begin"] = Deferred()
    used = daemon.use(workers=2, generation=2)
    daemon.processes.pass_time(STARTING)
    with pytest.raises(CannotUse, match=r"^the new workers did not serve within 60 s$"):
        await used
    assert (daemon.local, daemon.accepts) == (old, True)
    # Once each because they took too long themselves; these did not end by that.
    assert [one.signals for one in daemon.processes.all] == [["KILL"] * 2] * 2
    for one in daemon.running:
        one.die(signal=9)
    await daemon.left()
    (await daemon.client()).close()
    await daemon.processes.until(lambda: not old.factory.connections)
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_new_one_that_cannot_be_made_to_serve(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    await daemon.start(workers=2)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(Worker, "use", fail)
        with pytest.raises(ZeroDivisionError):
            await daemon.use(workers=1, generation=2)
    assert isinstance(daemon.workforce.fleets[0], Supervisor)
    await daemon.left()


@pytest_twisted.ensureDeferred
async def test_end_while_others_come(daemon: Daemon) -> None:
    """They end as well, and whoever wanted them hears that."""
    await daemon.start(workers=1)
    daemon.processes.answers["Begin"] = Deferred()
    used = daemon.use(workers=2, generation=2)
    daemon.workforce.reopen_logs()
    daemon.workforce.set_level("debug")
    drained = daemon.workforce.drain(1.0)
    with pytest.raises(CannotUse, match="end before all of them served"):
        await used
    assert [one.signals for one in daemon.processes.all] == [["KILL"], ["KILL"]]
    for one in daemon.running:
        one.die(signal=9)
    daemon.processes.advance(0)
    await drained


# ---------------------------------------------------------------- what is asked of all


@pytest_twisted.ensureDeferred
async def test_numbers_of_the_past(daemon: Daemon) -> None:
    """What has been counted stays counted, whoever counted it."""
    await daemon.start(workers=1)
    (await daemon.client()).close()
    await daemon.processes.until(lambda: not daemon.local.factory.connections)
    ((worker,), together) = await daemon.workforce.numbers()
    assert (worker.number, worker.pid, worker.state, worker.answered) == (0, os.getpid(), "ready", 0.0)
    assert (together.connections_accepted, together.connections) == (1, 0)
    await daemon.use(workers=2, generation=2)
    await daemon.left()
    for one in daemon.processes.all:
        one.far.report = Report(Statistics(connections_accepted=10, connections=4), Usage())
    workers, together = await daemon.workforce.numbers()
    assert [one.pid for one in workers] == [1000, 1001]
    assert (together.connections_accepted, together.connections) == (21, 8)
    await daemon.use(workers=1, generation=3)
    for one in daemon.running:
        one.die()
    await daemon.left()
    workers, together = await daemon.workforce.numbers()
    assert [one.pid for one in workers] == [os.getpid()]
    assert (together.connections_accepted, together.connections) == (21, 0)


@pytest_twisted.ensureDeferred
async def test_numbers_at_the_end_are_counted_once(daemon: Daemon) -> None:
    await daemon.start(workers=1)
    (await daemon.client()).close()
    await daemon.processes.until(lambda: not daemon.local.factory.connections)
    drained = daemon.workforce.drain(1.0)
    ((worker,), _) = await daemon.workforce.numbers()
    assert worker.state == "draining"
    daemon.processes.advance(0)
    await drained
    workers, together = await daemon.workforce.numbers()
    assert (workers, together.connections_accepted) == ([], 1)


@pytest_twisted.ensureDeferred
async def test_connections_of_old_and_new(daemon: Daemon) -> None:
    await daemon.start(workers=2)
    old = daemon.processes.all[0]
    old.far.answers["CloseConnection"] = {"closed": True}
    await daemon.use(workers=1, generation=2)
    client = await daemon.client()
    listing = await daemon.workforce.connections(5, "", "")
    assert (listing.total, [one.id for one in listing.connections]) == (1, ["0-1"])
    # The one that serves has it, so that the one that drains is left alone.
    assert await daemon.workforce.close_connection(0, 1)
    assert old.far.heard_of("CloseConnection") == []
    assert await daemon.workforce.close_connection(0, 2)
    assert old.far.heard_of("CloseConnection") == [{"number": 2}]
    assert not await daemon.workforce.close_connection(5, 1)
    client.close()


@pytest_twisted.ensureDeferred
async def test_logs_are_reopened(daemon: Daemon, tmp_path: Path) -> None:
    await daemon.start(workers=1)
    (tmp_path / "access.log").rename(tmp_path / "access.log.1")
    daemon.workforce.reopen_logs()
    assert (tmp_path / "access.log").exists()
    await daemon.use(workers=2, generation=2)
    daemon.workforce.reopen_logs()
    daemon.workforce.set_level("warn")
    await daemon.processes.until(lambda: all(one.far.heard_of("SetLevel") for one in daemon.processes.all))
    assert [len(one.far.heard_of("ReopenLogs")) for one in daemon.processes.all] == [1, 1]


# ---------------------------------------------------------------- the end


@pytest_twisted.ensureDeferred
async def test_end_of_all(daemon: Daemon) -> None:
    await daemon.start(workers=1)
    assert isinstance(daemon.workforce.fleets[0], LocalWorker)
    client = await daemon.client()
    await daemon.use(workers=2, generation=2, service__drain_timeout="3600")
    drained = daemon.workforce.drain(3600.0)
    daemon.workforce.stop()
    await daemon.processes.until(lambda: all(one.far.heard_of("Stop") for one in daemon.processes.all))
    for one in daemon.processes.all:
        one.die()
    await daemon.left()
    assert [ended for ended, _ in await drained] == [True, True]
    client.close()
