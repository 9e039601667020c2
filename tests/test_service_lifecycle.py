"""The service from its beginning to its end: what state it is in, whom it tells, and who follows it.

Sockets are real, time is the test's, and the processes do what the test says.
"""

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

from tests.ports import free_port
from tests.workers.conftest import Processes
from twistedproxy import service as service_module
from twistedproxy.control.link import CannotUse
from twistedproxy.control.steering import CannotBeDone
from twistedproxy.listeners import CannotListen
from twistedproxy.service import STATUS_INTERVAL, ProxyService
from twistedproxy.settings.load import Loaded, load
from twistedproxy.surroundings import Surroundings
from twistedproxy.systemd.activation import InheritedSocket, InheritedSockets
from twistedproxy.systemd.notify import Notifier
from twistedproxy.upgrade import Handover
from twistedproxy.workers.workforce import workers_of

LOOPBACK = "tcp:0:interface=127.0.0.1"


class Reactor(Processes):
    """One that is neither started nor stopped."""

    def __init__(self, real: Any) -> None:
        super().__init__(real)
        self.stopped = 0

    def addSystemEventTrigger(self, *_: Any) -> None:
        """There is no beginning."""

    def stop(self) -> None:
        self.stopped += 1


class Daemon:
    """A service that listens, with everything that it is given."""

    def __init__(self, reactor: Any, directory: Path) -> None:
        self.reactor = Reactor(reactor)
        self.directory = directory
        self.settings: dict[str, str] = {"downstream.listen": LOOPBACK}
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(directory / "notify"))
        self.manager.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": str(directory / "notify")}
        self.given: dict[str, Any] = {}
        self.handlers: dict[int, Callable[[int, object], object]] = {}
        self._service: ProxyService | None = None

    def load(self, text: str | None = None) -> Loaded:
        path = self.directory / "pyproxy.toml"
        on_disk = path.read_text() if path.exists() else ""
        wanted = {"log.access": str(self.directory / "access.log")} | self.settings
        return load(on_disk if text is None else text, "pyproxy.toml", list(wanted.items()))

    def make(self, **settings: str) -> ProxyService:
        self.wants(**settings)
        surroundings = Surroundings(
            operational_log=None,
            standard_output=None,
            access_log_path=self.directory / "access.log",
            control_socket=self.directory / "control.sock",
            state_directory=self.directory / "state",
            descriptors=1000,
            settings_file=str(self.directory / "pyproxy.toml"),
            environment={"PATH": "/bin"},
            notifier=Notifier(self.environment, pid=os.getpid(), monotonic=self.reactor.seconds),
            **self.given,
        )
        self._service = ProxyService(self.reactor, self.load(), self.load, surroundings)
        self._service.listen()
        return self._service

    def start(self, **settings: str) -> ProxyService:
        made = self.make(**settings)
        made.heed_signals()
        made.privilegedStartService()
        made.startService()
        return made

    def wants(self, **settings: str) -> None:
        self.settings |= {name.replace("__", "."): value for name, value in settings.items()}

    @property
    def service(self) -> ProxyService:
        assert self._service is not None
        return self._service

    @property
    def told(self) -> list[str]:
        """What the service manager has been told since the last time."""
        messages = []
        while True:
            try:
                messages.append(self.manager.recv(4096).decode())
            except BlockingIOError:
                return messages

    async def signal(self, number: int) -> None:
        self.handlers[number](number, None)
        await self.reactor.settle()

    async def ready(self) -> None:
        await self.reactor.until(lambda: self.service.state == "ready")

    async def end(self) -> None:
        if self._service is not None:
            self._service.workforce.stop()
            stopped = self._service.stopService()
            for one in self.reactor.all:
                if not one.ended:
                    one.die()
            over: list[object] = []
            stopped.addBoth(over.append)

            def ended() -> bool:
                self.reactor.advance(0)
                return bool(over) and not self._service.workforce._leaving  # type: ignore[union-attr]  # it is there

            await self.reactor.until(ended)
            assert self.reactor.getDelayedCalls() == []
            for unused in self._service._listeners.inherited.unused():
                os.close(unused.descriptor)
        self.manager.close()


@pytest_twisted.async_yield_fixture
async def daemon(running_reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A daemon that has not been made yet."""
    made = Daemon(running_reactor, tmp_path)
    monkeypatch.setattr(service_module.signal, "signal", made.handlers.__setitem__)
    monkeypatch.setattr(service_module, "controlling_terminal", lambda: False)
    yield made
    await made.end()


def port_of(made: ProxyService) -> int:
    return int(made.addresses()[0].port)


# ---------------------------------------------------------------- states


@pytest_twisted.ensureDeferred
async def test_from_beginning_to_end(daemon: Daemon) -> None:
    made = daemon.start(service__workers="2", service__drain_delay="5")
    assert (made.state, daemon.told) == ("starting", [])
    await daemon.ready()
    where = f"2 workers, listening on 127.0.0.1:{port_of(made)}"
    assert daemon.told == [f"READY=1\nSTATUS={where}", f"STATUS={where}"]
    daemon.reactor.all[1].far.answers["Obey"] = obeyed = Deferred()
    reloaded = made.reload()
    assert made.state == "reloading"
    obeyed.callback({"complaint": ""})
    await reloaded
    assert (made.state, made.generation, made.reloads) == ("ready", 2, 1)
    assert daemon.told == [
        f"RELOADING=1\nMONOTONIC_USEC={int(daemon.reactor.seconds() * 1_000_000)}",
        f"READY=1\nSTATUS={where}",
    ]
    await daemon.signal(signal.SIGTERM)
    assert (made.state, daemon.reactor.stopped, daemon.told) == ("draining", 0, ["STOPPING=1\nSTATUS=draining"])
    daemon.reactor.advance(5)
    assert (made.state, daemon.reactor.stopped) == ("draining", 1)
    made.begin_to_stop(1.0)
    assert (daemon.reactor.stopped, daemon.told) == (1, [])


@pytest.mark.parametrize("more", [1, 2])
@pytest_twisted.ensureDeferred
async def test_second_signal_ends_the_delay(daemon: Daemon, more: int) -> None:
    made = daemon.start(service__drain_delay="3600")
    assert made.state == "ready"
    await daemon.signal(signal.SIGTERM)
    assert daemon.reactor.stopped == 0
    for _ in range(more):
        await daemon.signal(signal.SIGTERM)
    assert daemon.reactor.stopped == 1


@pytest_twisted.ensureDeferred
async def test_clients_are_taken_during_the_delay(daemon: Daemon) -> None:
    made = daemon.start(service__drain_delay="3600")
    made.begin_to_stop(None)
    with socket.create_connection(("127.0.0.1", port_of(made))):
        local = made.workforce.local
        assert local is not None
        await daemon.reactor.until(lambda: local.factory.connections == 1)
    with pytest.raises(CannotBeDone, match=r"^the daemon is stopping$"):
        await made.reload()


@pytest.mark.parametrize(("asked", "expected"), [(7.0, 7.0), (0.0, 0.0), (None, 3.0)])
@pytest_twisted.ensureDeferred
async def test_how_long_it_drains(daemon: Daemon, asked: float | None, expected: float) -> None:
    made = daemon.start(service__workers="2", service__drain_timeout="3")
    await daemon.ready()
    made.begin_to_stop(asked)
    stopped = made.stopService()
    await daemon.reactor.until(lambda: all(one.far.heard_of("Drain") for one in daemon.reactor.all))
    assert [one.far.heard_of("Drain") for one in daemon.reactor.all] == [[{"timeout": expected}]] * 2
    assert (made.state, stopped.called) == ("draining", False)
    for one in daemon.reactor.all:
        one.die()
    assert stopped.called


@pytest_twisted.ensureDeferred
async def test_end_before_it_serves(daemon: Daemon) -> None:
    daemon.reactor.answers["Begin"] = {}
    made = daemon.start(service__workers="2")
    made.begin_to_stop(None)
    made.stopService()
    for one in daemon.reactor.all:
        one.die(signal=9)
    assert (made.state, daemon.told) == ("draining", ["STOPPING=1\nSTATUS=draining"])


@pytest_twisted.ensureDeferred
async def test_reload_before_it_serves(daemon: Daemon) -> None:
    """It does not become ready by that; with other workers it may."""
    daemon.reactor.answers["Obey"] = CannotUse("no")
    made = daemon.start(service__workers="2")
    await made.reload()
    assert (made.state, daemon.told) == ("starting", [])
    daemon.wants(service__workers="1")
    await made.reload()
    assert made.state == "ready"
    status = f"STATUS=1 worker, listening on 127.0.0.1:{port_of(made)}"
    assert daemon.told == [f"READY=1\n{status}"]


@pytest_twisted.ensureDeferred
async def test_manager_hears_that_it_lives(daemon: Daemon) -> None:
    daemon.environment |= {"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}
    made = daemon.start()
    status = f"STATUS=1 worker, listening on 127.0.0.1:{port_of(made)}"
    assert daemon.told == [f"READY=1\n{status}", "WATCHDOG=1", status]
    daemon.reactor.advance(2.0)
    assert daemon.told == ["WATCHDOG=1", status]
    made.begin_to_stop(None)
    daemon.reactor.advance(2.0)
    # Its state is another one's to tell by now, but it lives.
    assert daemon.told == ["STOPPING=1\nSTATUS=draining", "WATCHDOG=1"]


@pytest_twisted.ensureDeferred
async def test_manager_hears_now_and_then_without_a_watchdog(daemon: Daemon) -> None:
    made = daemon.start()
    assert len(daemon.told) == 2
    daemon.reactor.advance(STATUS_INTERVAL)
    assert daemon.told == [f"STATUS=1 worker, listening on 127.0.0.1:{port_of(made)}"]


@pytest.mark.parametrize(("wanted", "expected"), [("3", 3), ('"auto"', len(os.sched_getaffinity(0)))])
def test_how_many_workers(wanted: str, expected: int) -> None:
    assert workers_of(load("", "test", [("service.workers", wanted)]).settings) == expected


# ---------------------------------------------------------------- changes that come to nothing


@pytest_twisted.ensureDeferred
async def test_refused_reload_changes_nothing(daemon: Daemon, logged_errors: Any, said: list[str]) -> None:
    """What was opened for it is closed, what was to go stays, and the workers that had followed go back."""
    made = daemon.start(service__workers="2", log__level="warn")
    await daemon.ready()
    port, ports = port_of(made), made._listeners.ports
    new = free_port()
    assert len(daemon.told) == 2
    daemon.reactor.all[0].far.answers["Obey"] = [CannotUse("no"), {"complaint": ""}]
    daemon.wants(downstream__listen=f"tcp:{new}:interface=127.0.0.1", log__level="debug")
    said.clear()
    with pytest.raises(CannotBeDone, match=r"^no$"):
        await made.reload()
    await daemon.reactor.settle()
    assert (made._listeners.ports, port_of(made), made.generation, made.level) == (ports, port, 1, "warn")
    assert (made.state, made.reloads, made.reloads_failed) == ("ready", 0, 1)
    obeyed = [one["orders"] for one in daemon.reactor.all[1].far.heard_of("Obey")]
    assert [(one.generation, one.level, one.listen) for one in obeyed] == [
        (1, "warn", (LOOPBACK,)),
        (2, "debug", (f"tcp:{new}:interface=127.0.0.1",)),
        (1, "warn", (LOOPBACK,)),
    ]
    daemon.reactor.advance(0)
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", new)) != 0
    assert said == ["error no", "error the settings were not reloaded: the old ones stay in force"]
    assert [message.splitlines() for message in daemon.told][1] == [
        "READY=1",
        "STATUS=the last reload failed: the old settings stay in force",
    ]
    logged_errors.flush_messages()


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest_twisted.ensureDeferred
async def test_listener_that_made_room_in_vain(daemon: Daemon, logged_errors: Any, workers: str) -> None:
    """It is another socket afterwards: whoever serves gets to know it, and nobody else accepts."""
    port = free_port()
    old = f"tcp:{port}:interface=127.0.0.1"
    made = daemon.start(service__workers=workers, downstream__listen=old)
    await daemon.ready()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        occupied = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        daemon.wants(downstream__listen=f'["tcp:{port}", "{occupied}"]')
        with pytest.raises(CannotBeDone, match=f"^cannot listen on {occupied}: Address already in use$"):
            await made.reload()
    (listener,) = made._listeners.ports
    assert (made.addresses()[0].host, made.addresses()[0].port) == ("127.0.0.1", port)
    local = made.workforce.local
    if local is not None:
        assert local.factory._ports == [listener]
    else:
        assert listener not in daemon.reactor.real.getReaders()
        told = [heard["descriptor"] for heard in daemon.reactor.all[0].far.heard_of("Listen")]
        assert told[-1] == os.fstat(listener.fileno()).st_ino
        assert len(set(told)) == 2
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_listener_that_is_lost(daemon: Daemon, logged_errors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = daemon.start(service__workers="2")
    await daemon.ready()
    daemon.reactor.all[0].far.answers["Obey"] = [CannotUse("no"), CannotUse("nor that")]
    opened = made._listeners.open
    answers = iter([None, CannotListen("cannot listen on it")])

    def open_once(*arguments: Any) -> None:
        answer = next(answers)
        if answer is not None:
            raise answer
        opened(*arguments)

    monkeypatch.setattr(made._listeners, "open", open_once)
    with pytest.raises(CannotBeDone, match=r"^no$"):
        await made.reload()
    assert "not all listeners are as they were: cannot listen on it" in logged_errors.flush_messages()
    assert [str(failure.value) for failure in logged_errors.flush(CannotUse)] == ["nor that"]


@pytest_twisted.ensureDeferred
async def test_bug_in_a_reload(daemon: Daemon, logged_errors: Any) -> None:
    made = daemon.start()

    def fault() -> Loaded:
        raise ZeroDivisionError

    with pytest.raises(CannotBeDone, match=r"^the proxy is at fault; its log says how$"):
        await made.change(fault)
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    logged_errors.flush_messages()
    assert made.state == "ready"


@pytest_twisted.ensureDeferred
async def test_undone_before_the_next_has_its_turn(daemon: Daemon, logged_errors: Any) -> None:
    made = daemon.start(service__workers="2")
    await daemon.ready()
    refuses: Deferred[Any] = Deferred()
    daemon.reactor.all[0].far.answers["Obey"] = [refuses, {"complaint": ""}, {"complaint": ""}]
    order: list[str] = []

    def undo() -> None:
        order.append("undone")
        raise OSError("no space")

    first = made.change(lambda: daemon.load(None), undo)
    second = made.change(lambda: (order.append("second"), daemon.load(None))[1])
    refuses.errback(CannotUse("no"))
    with pytest.raises(CannotBeDone):
        await first
    await second
    assert order == ["undone", "second"]
    assert logged_errors.flush_messages()[0] == "what was changed for it could not be undone: no space"


@pytest_twisted.ensureDeferred
async def test_end_during_a_reload(daemon: Daemon) -> None:
    """Nothing is opened any more, and the service manager is not told that it is ready."""
    made = daemon.start(service__workers="2")
    await daemon.ready()
    daemon.reactor.all[0].far.answers["Obey"] = Deferred()
    daemon.wants(control__socket=str(daemon.directory / "other.sock"))
    reloaded = made.reload()
    await daemon.reactor.settle()
    made.begin_to_stop(None)
    made.stopService()
    for one in daemon.reactor.all:
        one.die()
    await reloaded
    assert not (daemon.directory / "other.sock").exists()
    assert [message.partition("\n")[0] for message in daemon.told[2:]] == ["RELOADING=1", "STOPPING=1"]


# ---------------------------------------------------------------- a successor


def ready_of(process: Any) -> None:
    process.protocol.childDataReceived(3, b"1")


@pytest.fixture
def successors(monkeypatch: pytest.MonkeyPatch, daemon: Daemon) -> list[Any]:
    """The successors that are started: processes that only the test speaks for."""
    started: list[Any] = []

    class Successor:
        def __init__(self, protocol: Any, command: Any, environment: dict[str, str], descriptors: Any) -> None:
            self.protocol = protocol
            self.command = command
            self.handover = Handover.received(environment)
            self.environment = environment
            self.descriptors = descriptors
            self.pid = 4711
            self.signals: list[str] = []

        def signalProcess(self, number: str) -> None:
            self.signals.append(number)

    def spawn(protocol: Any, _executable: str, command: Any, env: Any, childFDs: Any) -> Any:
        one = Successor(protocol, command, env, childFDs)
        started.append(one)
        protocol.makeConnection(one)
        return one

    daemon.reactor.spawnProcess = spawn  # type: ignore[method-assign,assignment]  # these are no workers
    return started


@pytest_twisted.ensureDeferred
async def test_gives_way(daemon: Daemon, successors: list[Any], said: list[str]) -> None:
    daemon.given = {
        "twistd": {"pidfile": "/run/pyproxy.pid"},
        "arguments": ["--set", "log.level=info"],
        "notifications": {"NOTIFY_SOCKET": daemon.environment["NOTIFY_SOCKET"]},
    }
    made = daemon.start(service__drain_delay="3600", control__metrics=LOOPBACK)
    port, listener = port_of(made), made._listeners.ports[0]
    upgraded = made.upgrade()
    (successor,) = successors
    handover = successor.handover
    assert [one.description for one in handover.sockets] == [LOOPBACK]
    assert successor.descriptors[3] == "r"
    assert (handover.in_foreground, handover.pid_file) == (True, "/run/pyproxy.pid")
    assert handover.pseudonym == made._pseudonym
    assert successor.command[-3:] == ("pyproxy", "--set", "log.level=info")
    # It becomes the main process, and has to tell the service manager so.
    assert successor.environment["NOTIFY_SOCKET"] == daemon.environment["NOTIFY_SOCKET"]
    other = socket.socket(fileno=os.dup(listener.fileno()))
    assert made.state == "ready"
    assert len(daemon.told) == 2
    ready_of(successor)
    assert await upgraded == 4711
    assert daemon.told == ["MAINPID=4711"]
    assert daemon.reactor.stopped == 0
    daemon.reactor.advance(0)
    # At once: the sockets are taken care of.
    assert (made.state, daemon.reactor.stopped, daemon.told) == ("draining", 1, [])
    assert made.surroundings.twistd["pidfile"] == ""
    stopped: Any = made.stopService()
    with socket.create_connection(("127.0.0.1", port)):
        other.accept()[0].close()
    other.close()
    for _ in range(5):
        daemon.reactor.advance(0)
        await daemon.reactor.settle()
    await stopped
    assert said[-1] == "info stopped"


@pytest_twisted.ensureDeferred
async def test_successor_that_fails(daemon: Daemon, successors: list[Any], logged_errors: Any) -> None:
    made = daemon.start()
    upgraded = made.upgrade()
    successors[0].protocol.failed("no")
    with pytest.raises(CannotBeDone, match=r"^no$"):
        await upgraded
    assert (made.state, daemon.reactor.stopped) == ("ready", 0)
    assert logged_errors.flush_messages() == ["the upgrade failed: no"]
    # And another one may be tried.
    again = made.upgrade()
    assert len(successors) == 2
    successors[1].protocol.failed("no")
    with pytest.raises(CannotBeDone):
        await again
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_upgrade_in_the_wrong_state(daemon: Daemon, successors: list[Any]) -> None:
    made = daemon.start(service__drain_delay="3600")
    made.begin_to_stop(None)
    with pytest.raises(CannotBeDone, match=r"^the daemon is draining$"):
        await made.upgrade()
    assert successors == []


@pytest_twisted.ensureDeferred
async def test_end_during_an_upgrade(daemon: Daemon, successors: list[Any], logged_errors: Any) -> None:
    """The listeners are shut down for everybody, so that a successor would have nothing."""
    made = daemon.start()
    upgraded = made.upgrade()
    made.begin_to_stop(None)
    made.stopService()
    with pytest.raises(CannotBeDone, match=r"^the daemon stops, and its successor with it$"):
        await upgraded
    assert successors[0].signals == ["KILL"]
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_successor_that_is_ready_while_the_end_is_near(daemon: Daemon, successors: list[Any]) -> None:
    made = daemon.start(service__drain_delay="3600")
    listener = made._listeners.ports[0]
    other = socket.socket(fileno=os.dup(listener.fileno()))
    upgraded = made.upgrade()
    made.begin_to_stop(None)
    ready_of(successors[0])
    assert await upgraded == 4711
    daemon.reactor.advance(3600)
    assert daemon.reactor.stopped == 1
    made.stopService()
    with socket.create_connection(other.getsockname()):
        other.accept()[0].close()
    other.close()


# ---------------------------------------------------------------- as a successor


class Predecessor:
    """An old daemon, as its successor finds it."""

    def __init__(self, pid_file: str) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.hears, says = os.pipe()
        inherited = InheritedSocket.of(os.dup(self.listener.fileno()), description=LOOPBACK)
        self.given = {
            "handover": Handover(says, [], "pyproxy-old", True, pid_file),
            "inherited": InheritedSockets([inherited]),
            "twistd": {"pidfile": ""},
        }

    def heard(self) -> bytes:
        try:
            return os.read(self.hears, 10)
        finally:
            os.close(self.hears)
            self.listener.close()


@pytest_twisted.ensureDeferred
async def test_takes_over(daemon: Daemon) -> None:
    pid_file = daemon.directory / "pid"
    pid_file.write_text("1")
    old = Predecessor(str(pid_file))
    port = old.listener.getsockname()[1]
    daemon.given = old.given
    made = daemon.start()
    assert (made.state, port_of(made), made._pseudonym) == ("ready", port, "pyproxy-old")
    assert old.heard() == b"1"
    assert (pid_file.read_text(), made.surroundings.twistd["pidfile"]) == (str(os.getpid()), str(pid_file))
    assert (daemon.directory / "control.sock").exists()


@pytest_twisted.ensureDeferred
async def test_takes_over_when_all_of_it_serves(daemon: Daemon) -> None:
    old = Predecessor("")
    daemon.given = old.given
    made = daemon.start(service__workers="2")
    os.set_blocking(old.hears, False)
    with pytest.raises(BlockingIOError):
        os.read(old.hears, 1)
    assert not (daemon.directory / "control.sock").exists()
    await daemon.ready()
    assert old.heard() == b"1"
    assert made.surroundings.twistd["pidfile"] == ""


@pytest_twisted.ensureDeferred
async def test_predecessor_that_is_gone(daemon: Daemon, said: list[str]) -> None:
    """It goes on alone, and the service manager hears of it."""
    old = Predecessor(str(daemon.directory / "none" / "pid"))
    os.close(old.hears)
    daemon.given = old.given
    made = daemon.start()
    assert made.state == "ready"
    assert len(daemon.told) == 2
    warned = [line for line in said if line.startswith("warn the")]
    path = f"{daemon.directory}/none/pid"
    assert warned == [
        f"warn the process number could not be written to {path}: [Errno 2] No such file or directory: '{path}'",
        "warn the daemon before this one did not wait for it: [Errno 32] Broken pipe",
    ]
    old.listener.close()


@pytest_twisted.ensureDeferred
async def test_socket_that_nobody_named(daemon: Daemon, said: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        inherited = InheritedSocket.of(os.dup(unused.fileno()), name="other", index=0)
        daemon.given = {"inherited": InheritedSockets([inherited])}
        daemon.start()
    assert f"warn no listener names the socket {inherited} that was handed in" in said
