"""A worker at the other end of the link: here in this process, over a real socket pair."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed

from tests.workers.conftest import LOOPBACK, MakeOrders
from twistedproxy import __version__
from twistedproxy.access.limits.spending import Spending, Tidings, Used
from twistedproxy.control.link import (
    Begin,
    CannotUse,
    CloseConnection,
    Drain,
    ListConnections,
    Listen,
    Obey,
    Orders,
    Pulse,
    Refill,
    ReopenLogs,
    SetLevel,
    Startup,
    Stop,
    TellLearned,
    TellLimits,
    connect_end,
)
from twistedproxy.headcount import Headcount
from twistedproxy.record.operational_log import OperationalLog
from twistedproxy.usage import Usage
from twistedproxy.workers import process
from twistedproxy.workers.process import WorkerEnd
from twistedproxy.workers.slot import ParentEnd

Turn = Callable[[], Deferred[None]]


class Reactor:
    """The real one, which goes on when it is told to stop."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.stopped: Deferred[None] = Deferred()
        self.stops = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def stop(self) -> None:
        self.stops += 1
        self.stopped.callback(None)


class LogBeginner:
    """Twisted's beginner of the log, of which a process has one."""

    def __init__(self) -> None:
        self.observers: list[OperationalLog] = []

    def beginLoggingTo(self, observers: list[OperationalLog], **_options: bool) -> None:
        self.observers += observers


class Crew:
    """A parent's end, and a worker's, with a listening socket that the parent has opened."""

    def __init__(self, reactor: Any, startup: Startup, beginner: LogBeginner) -> None:
        self.reactor = Reactor(reactor)
        self.startup = startup
        self.beginner = beginner
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.port: int = self.listener.getsockname()[1]
        self.lost: Deferred[None] = Deferred()
        self.spent: list[Tidings] = []
        self.parent = ParentEnd(lambda: self.lost.callback(None), self.spent.append)
        self.headcount = Headcount.new()
        self.worker = WorkerEnd(self.reactor, self.headcount)
        for one, end in zip(socket.socketpair(), (self.parent, self.worker), strict=True):
            connect_end(reactor, one.fileno(), end)
            one.close()

    async def begin(self) -> None:
        await self.parent.ask(Begin, startup=self.startup)

    async def obey(self, orders: Orders) -> str:
        """Pass the socket on, and the orders."""
        await self.parent.ask(Listen, description=LOOPBACK, descriptor=self.listener.fileno())
        answer = await self.parent.ask(Obey, orders=orders)
        return str(answer["complaint"])

    async def serve(self, orders: Orders) -> None:
        await self.begin()
        assert not await self.obey(orders)

    def client(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port))

    async def connected(self, count: int, turn: Turn) -> None:
        while self.real.factory.connections != count:
            await turn()

    @property
    def real(self) -> Any:
        """What moves the traffic."""
        return self.worker._worker


@pytest_twisted.async_yield_fixture
async def crew(running_reactor: Any, startup: Startup, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A link with a worker, which has ended when the test has."""
    beginner = LogBeginner()
    monkeypatch.setattr(process, "globalLogBeginner", beginner)
    made = Crew(running_reactor, startup, beginner)
    yield made
    made.worker._end(0)
    if made.real is not None:
        made.real.stop()
    await made.reactor.stopped
    if made.parent.transport is not None:
        made.parent.transport.abortConnection()
    await made.lost
    made.listener.close()
    made.headcount.close()
    for left in made.worker._listeners.inherited.unused():
        os.close(left.descriptor)


# ---------------------------------------------------------------- the beginning


@pytest_twisted.ensureDeferred
async def test_begins(crew: Crew, tmp_path: Path) -> None:
    assert await crew.parent.ask(Begin, startup=crew.startup) == {"version": __version__}
    (observer,) = crew.beginner.observers
    assert (observer.level, observer.path) == ("info", str(tmp_path / "proxy.log"))
    observer({"log_format": "here", "log_time": 0.0})
    assert (tmp_path / "proxy.log").read_text() == "1970-01-01T00:00:00.000Z info  worker 0: here\n"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"nodaemon": 0, "logfile": "-"}, "a daemon has no standard output to log to: let --logfile name a file"),
        ({"nodaemon": 0, "logfile": "/"}, "[Errno 21] Is a directory: '/'"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_log_that_cannot_be_opened(crew: Crew, options: dict[str, Any], why: str) -> None:
    startup = Startup(__version__, 0, "p", False, "", "", options)
    with pytest.raises(CannotUse) as raised:
        await crew.parent.ask(Begin, startup=startup)
    assert str(raised.value) == f"its log cannot be opened: {why}"
    assert crew.reactor.stops == 0


@pytest_twisted.ensureDeferred
async def test_serves(crew: Crew, make_orders: MakeOrders, turn: Turn) -> None:
    await crew.serve(make_orders(generation=7, workers=3, level="warn"))
    assert crew.beginner.observers[0].level == "warn"
    assert (crew.real.number, crew.real.workers, crew.real.plane.snapshot.generation) == (0, 3, 7)
    assert crew.real.plane.snapshot.pseudonym == "pyproxy-test"
    with crew.client() as client:
        client.sendall(b"nonsense\r\n\r\n")
        await crew.connected(1, turn)
        client.setblocking(False)
        while True:
            await turn()
            try:
                assert client.recv(12) == b"HTTP/1.1 400"
                break
            except BlockingIOError:
                continue


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (Pulse, {"elsewhere": Usage(), "complete": True}),
        (ListConnections, {"limit": 1, "client": "", "state": ""}),
        (CloseConnection, {"number": 1}),
        (TellLearned, {"host": "", "forget": False}),
    ],
)
@pytest_twisted.ensureDeferred
async def test_without_orders_there_is_nothing_to_tell(crew: Crew, command: Any, arguments: dict[str, Any]) -> None:
    await crew.begin()
    with pytest.raises(CannotUse, match=r"^the worker has no orders yet$"):
        await crew.parent.ask(command, **arguments)


# ---------------------------------------------------------------- orders


@pytest_twisted.ensureDeferred
async def test_other_orders(crew: Crew, make_orders: MakeOrders, tmp_path: Path) -> None:
    await crew.serve(make_orders(generation=1))
    listener = crew.real.factory._ports[0]
    answer = await crew.parent.ask(
        Obey, orders=make_orders(2, workers=4, level="debug", forwarding__via="new", log__access=str(tmp_path))
    )
    assert answer["complaint"] == (
        f"the access log {tmp_path} cannot be opened: Is a directory: the old one stays in use"
    )
    assert (crew.real.plane.snapshot.pseudonym, crew.real.workers) == ("new", 4)
    assert crew.beginner.observers[0].level == "debug"
    assert crew.real.factory._ports == [listener]


@pytest_twisted.ensureDeferred
async def test_orders_for_a_listener_that_cannot_be_had(crew: Crew, make_orders: MakeOrders) -> None:
    await crew.serve(make_orders(generation=1))
    with pytest.raises(CannotUse) as raised:
        await crew.parent.ask(Obey, orders=make_orders(2, downstream__listen="systemd:domain=INET:index=0"))
    assert str(raised.value).startswith("cannot listen on systemd:domain=INET:index=0: ")
    assert (crew.real.plane.snapshot.generation, crew.reactor.stops) == (1, 0)


@pytest_twisted.ensureDeferred
async def test_another_socket_for_the_same_listener(crew: Crew, make_orders: MakeOrders, turn: Turn) -> None:
    """The parent had to open it again; what counts is the last that came before the orders."""
    await crew.serve(make_orders(generation=1))
    others = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    for other in others:
        other.setblocking(False)
        await crew.parent.ask(Listen, description=LOOPBACK, descriptor=other.fileno())
    await crew.parent.ask(Obey, orders=make_orders(generation=2))
    assert [address.port for address in crew.worker._listeners.addresses()] == [others[1].getsockname()[1]]
    with socket.create_connection(others[1].getsockname()):
        await crew.connected(1, turn)
    await crew.connected(0, turn)
    for other in others:
        other.close()


@pytest_twisted.ensureDeferred
async def test_descriptor_that_does_not_listen(crew: Crew) -> None:
    await crew.begin()
    with socket.socket() as other, pytest.raises(CannotUse, match="does not listen"):
        await crew.parent.ask(Listen, description=LOOPBACK, descriptor=other.fileno())
    assert crew.reactor.stops == 0


@pytest_twisted.ensureDeferred
async def test_level(crew: Crew, make_orders: MakeOrders) -> None:
    await crew.serve(make_orders())
    await crew.parent.ask(SetLevel, level="error")
    assert crew.beginner.observers[0].level == "error"


@pytest.mark.parametrize("has_orders", [True, False])
@pytest_twisted.ensureDeferred
async def test_logs_that_were_moved(crew: Crew, make_orders: MakeOrders, tmp_path: Path, has_orders: bool) -> None:
    """Also when it has only begun: its operational log is open then, and its access log will be a new one."""
    await crew.begin()
    if has_orders:
        await crew.obey(make_orders())
    for name in ("access.log", "proxy.log")[not has_orders :]:
        (tmp_path / name).rename(tmp_path / f"{name}.1")
    await crew.parent.ask(ReopenLogs)
    assert (tmp_path / "proxy.log").exists()
    assert (tmp_path / "access.log").exists() is has_orders


# ---------------------------------------------------------------- what it tells


@pytest_twisted.ensureDeferred
async def test_pulse(crew: Crew, make_orders: MakeOrders, turn: Turn) -> None:
    await crew.serve(make_orders(downstream__max_connections_per_client="64"))
    elsewhere = Usage({"192.0.2.1": 5}, {("http", "a.test", 80, ""): 7}, 9)
    with crew.client():
        await crew.connected(1, turn)
        answer = await crew.parent.ask(Pulse, elsewhere=elsewhere, complete=True)
    report = answer["report"]
    assert (report.statistics.connections, report.statistics.connections_accepted) == (1, 1)
    assert report.statistics.descriptors > 3
    assert report.usage == Usage({"127.0.0.1": 1}, {}, 0)
    assert crew.real.factory.elsewhere == {"192.0.2.1": 5}
    assert (crew.real.plane.pool._elsewhere, crew.real.plane.pool._all_elsewhere) == (
        {("http", "a.test", 80, ""): 7},
        9,
    )
    await crew.connected(0, turn)


LIMITS = '[{ name = "a", per = "client", requests_per_second = 5, daily = "1GiB" }]'


@pytest_twisted.ensureDeferred
async def test_limits_are_told_of(crew: Crew, make_orders: MakeOrders) -> None:
    await crew.serve(make_orders(limits__tables=LIMITS))
    elsewhere = Usage(limits=Tidings(used={"a": {"x": Used(5, 7)}}))
    await crew.parent.ask(Pulse, elsewhere=elsewhere, complete=False)
    (state,) = (await crew.parent.ask(TellLimits, name="a", most=5))["states"]
    assert (state.key, state.today, state.in_month) == ("x", 5, 7)
    share = crew.real.plane.restraint._ledgers["a"].share("x", 0.0)
    share.spend(1, 20, 3)
    answer = await crew.parent.ask(Pulse, elsewhere=Usage(), complete=False)
    assert answer["report"].usage.limits == Tidings({"a": {"x": Spending(1, 20, 3)}})
    await crew.parent.ask(Refill, limit="a", key="x")
    assert (await crew.parent.ask(TellLimits, name="", most=5))["states"] == []
    # What it has not told of are its last words.
    share.spend(1, 7, 0)
    await crew.parent.ask(Drain, timeout=1.0)
    await crew.reactor.stopped
    assert crew.spent == [Tidings({"a": {"x": Spending(1, 7, 0)}})]


@pytest_twisted.ensureDeferred
async def test_last_words_that_nobody_hears(crew: Crew, make_orders: MakeOrders, logged_errors: Any) -> None:
    await crew.serve(make_orders(limits__tables=LIMITS))
    crew.real.plane.restraint._ledgers["a"].share("x", 0.0).spend(1, 7, 0)
    crew.parent.cut()
    await crew.reactor.stopped
    assert crew.spent == []
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_connections(crew: Crew, make_orders: MakeOrders, turn: Turn) -> None:
    await crew.serve(make_orders())
    with crew.client() as client:
        await crew.connected(1, turn)
        answer = await crew.parent.ask(ListConnections, limit=5, client="127.0.0.1", state="idle")
        (found,) = answer["listing"].connections
        assert (answer["listing"].total, found.id) == (1, "0-1")
        assert found.client == f"127.0.0.1:{client.getsockname()[1]}"
        assert await crew.parent.ask(CloseConnection, number=2) == {"closed": False}
        assert await crew.parent.ask(CloseConnection, number=1) == {"closed": True}
        await crew.connected(0, turn)


@pytest_twisted.ensureDeferred
async def test_learned(crew: Crew, make_orders: MakeOrders) -> None:
    await crew.serve(make_orders())
    crew.real.plane.rejections.rejected("192.0.2.1", "a.test")
    answer = await crew.parent.ask(TellLearned, host="", forget=True)
    (found,) = answer["learned"]
    assert (found.client, found.host, found.times) == ("192.0.2.1", "a.test", 1)
    assert await crew.parent.ask(TellLearned, host="", forget=False) == {"learned": []}


# ---------------------------------------------------------------- the end


@pytest_twisted.ensureDeferred
async def test_drains(crew: Crew, make_orders: MakeOrders, turn: Turn) -> None:
    """It leaves the socket that others go on with, and ends with its last connection."""
    await crew.serve(make_orders())
    client = crew.client()
    client.sendall(b"GET ")
    await crew.connected(1, turn)
    while crew.worker._worker.factory._by_client == {}:  # type: ignore[union-attr]  # it has orders
        await turn()
    assert await crew.parent.ask(Drain, timeout=3600.0) == {}
    assert (crew.worker._listeners.addresses(), crew.reactor.stops) == ([], 0)
    with crew.client():
        crew.listener.accept()[0].close()
    # There is nothing that it would listen for any more.
    assert await crew.parent.ask(Obey, orders=make_orders(2, forwarding__via="late")) == {"complaint": ""}
    assert crew.worker._listeners.addresses() == []
    assert crew.real.plane.snapshot.generation == 1
    client.close()
    await crew.reactor.stopped
    assert "closed" in repr(crew.real.plane.access_log)


@pytest_twisted.ensureDeferred
async def test_drains_after_its_parent_has_shut_the_socket_down(
    crew: Crew, make_orders: MakeOrders, turn: Turn
) -> None:
    """The end of the listeners may be noticed before the wish is read."""
    await crew.serve(make_orders())
    (port,) = crew.real.factory._ports
    crew.listener.shutdown(socket.SHUT_RDWR)
    while port.connected:
        await turn()
    assert await crew.parent.ask(Drain, timeout=3600.0) == {}
    await crew.reactor.stopped


@pytest_twisted.ensureDeferred
async def test_stops_while_it_drains(crew: Crew, make_orders: MakeOrders, turn: Turn) -> None:
    await crew.serve(make_orders())
    with crew.client() as client:
        client.sendall(b"GET ")
        await crew.connected(1, turn)
        await crew.parent.ask(Drain, timeout=3600.0)
        await crew.parent.ask(Stop)
        await crew.reactor.stopped
    assert crew.reactor.stops == 1


@pytest_twisted.ensureDeferred
async def test_stops_before_it_has_orders(crew: Crew) -> None:
    await crew.begin()
    with pytest.raises(CannotUse):
        await crew.parent.ask(Stop)
    await crew.reactor.stopped


@pytest_twisted.ensureDeferred
async def test_signal_drains(crew: Crew, make_orders: MakeOrders, turn: Turn) -> None:
    await crew.serve(make_orders(service__drain_timeout="3600"))
    client = crew.client()
    client.sendall(b"GET ")
    await crew.connected(1, turn)
    crew.worker.terminate()
    crew.worker.terminate()
    assert crew.worker._listeners.addresses() == []
    client.close()
    await crew.reactor.stopped
    assert crew.reactor.stops == 1


@pytest_twisted.ensureDeferred
async def test_parent_that_is_gone(crew: Crew, make_orders: MakeOrders, said: list[str], logged_errors: Any) -> None:
    await crew.serve(make_orders())
    crew.parent.transport.abortConnection()
    await crew.reactor.stopped
    assert logged_errors.flush_messages() == ["the daemon that this worker belongs to is gone: it stops"]
    with pytest.raises(ConnectionClosed):
        await crew.parent.ask(Drain, timeout=1.0)


def test_what_its_process_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reactor that the parent names, the signals that are for the worker, and the link at descriptor 3."""
    installed: list[str] = []
    signals: dict[int, Any] = {}
    connected: list[Any] = []

    class Module:
        install = staticmethod(lambda: installed.append("it"))

    class Running:
        """The reactor as far as it is used here."""

        def run(self, installSignalHandlers: bool) -> None:
            installed.append(f"runs, with signals: {installSignalHandlers}")

        def callFromThread(self, function: Callable[[], None]) -> None:
            installed.append(function.__name__)

    running = Running()
    monkeypatch.setattr("twisted.internet.reactor", running)
    monkeypatch.setattr(process.importlib, "import_module", lambda name: Module if name == "some.reactor" else None)
    monkeypatch.setattr(process.signal, "signal", signals.__setitem__)
    monkeypatch.setattr(process, "connect_end", lambda *arguments: connected.append(arguments))
    parents = Headcount.new()
    monkeypatch.setattr(process, "HEADCOUNT_DESCRIPTOR", parents.descriptor)
    process.main(["4", "some.reactor"])
    assert installed == ["it", "runs, with signals: False"]
    ((reactor, descriptor, end),) = connected
    assert (reactor, descriptor, type(end)) == (running, 3, WorkerEnd)
    assert [signals[number] for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)] == [signal.SIG_IGN] * 3
    assert repr(end._headcount) == repr(parents)
    signals[signal.SIGTERM](signal.SIGTERM, None)
    assert installed[2:] == ["terminate"]
    parents.close()
