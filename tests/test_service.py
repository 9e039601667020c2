"""The service in process: what it opens, what a reload swaps, what it says, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.application.service import Application, IServiceCollection
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver

from twistedproxy import service as service_module
from twistedproxy.listeners import CannotListen
from twistedproxy.logs import CannotLog
from twistedproxy.record.access_log import AccessLog, NoAccessLog
from twistedproxy.record.formats import CombinedFormat, JSONFormat, SquidFormat
from twistedproxy.record.log_file import STANDARD_OUTPUT, LogFile
from twistedproxy.record.operational_log import OperationalLog
from twistedproxy.service import ProxyService
from twistedproxy.settings.load import load
from twistedproxy.surroundings import Surroundings
from twistedproxy.systemd.notify import Notifier
from twistedproxy.worker import Worker

LOOPBACK = ("downstream.listen", "tcp:0:interface=127.0.0.1")

Settings = tuple[tuple[str, str], ...]


class Reactor:
    """The real one, but for its beginning and its end."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.triggers: list[tuple[Any, ...]] = []
        self.stopped = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def addSystemEventTrigger(self, *trigger: Any) -> None:
        self.triggers.append(trigger)

    def stop(self) -> None:
        self.stopped += 1


class Fixture:
    """A service whose settings the test chooses, and everything it is given."""

    def __init__(self, reactor: Any, directory: Path, operational_log: OperationalLog | None) -> None:
        self.reactor = Reactor(reactor)
        self.directory = directory
        self.operational_log = operational_log
        self.settings: Settings = ()
        self.text = ""
        self.environment: dict[str, str] = {}
        self.services: list[ProxyService] = []

    def load(self, candidate: str | None = None) -> Any:
        text = self.text if candidate is None else candidate
        return load(text, "pyproxy.toml", [LOOPBACK, ("log.access", str(self.log)), *self.settings])

    @property
    def log(self) -> Path:
        return self.directory / "access.log"

    def make(self, *settings: tuple[str, str], foreground: bool = True) -> ProxyService:
        """A service that listens."""
        self.settings = settings
        surroundings = Surroundings(
            operational_log=self.operational_log,
            standard_output=LogFile(STANDARD_OUTPUT, self.reactor) if foreground else None,
            access_log_path=self.log,
            control_socket=self.directory / "control.sock",
            state_directory=self.directory / "state",
            descriptors=1000,
            settings_file=str(self.directory / "pyproxy.toml"),
            in_foreground=foreground,
            notifier=Notifier(self.environment, pid=os.getpid(), monotonic=time.monotonic),
        )
        made = ProxyService(self.reactor, self.load(), self.load, surroundings)
        self.services.append(made)
        made.listen()
        return made

    def reload(self, made: ProxyService, *settings: tuple[str, str]) -> str:
        """Why the reload was refused; empty when it was not."""
        self.settings = settings
        refused: list[str] = []
        made.reload().addErrback(lambda failure: refused.append(str(failure.value)))
        return "".join(refused)


@pytest_twisted.async_yield_fixture
async def fixture(running_reactor: Any, tmp_path: Path) -> Any:
    """Makes services, which are stopped at the end."""
    made = Fixture(running_reactor, tmp_path, None)
    yield made
    for one in made.services:
        one.workforce.stop()
        await Deferred.fromCoroutine(ended(one))


def worker(made: ProxyService) -> Worker:
    """The worker in this process."""
    local = made.workforce.local
    assert local is not None
    return local


async def ended(one: ProxyService) -> None:
    await one.stopService()  # type: ignore[misc]  # Twisted's Deferred is awaitable


def port_of(made: ProxyService) -> int:
    return int(made.addresses()[0].port)


# ---------------------------------------------------------------- what it opens


def test_listens_and_counts_itself_among_what_is_refused(fixture: Fixture) -> None:
    made = fixture.make()
    port = port_of(made)
    with socket.create_connection(("127.0.0.1", port)):
        pass
    assert worker(made).plane.snapshot.access.listeners.keys() == {port}
    assert repr(made).startswith(
        f"<ProxyService starting <Listeners 127.0.0.1:{port}> <Workforce <LocalWorker <Worker 0 "
    )


def test_address_that_is_taken(fixture: Fixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        with pytest.raises(CannotListen, match=f"cannot listen on {endpoint}: Address already in use"):
            fixture.make(("downstream.listen", endpoint))


@pytest.mark.parametrize(("name", "kind"), [("squid", SquidFormat), ("combined", CombinedFormat), ("json", JSONFormat)])
def test_access_log(fixture: Fixture, name: str, kind: type) -> None:
    made = fixture.make(("log.format", name))
    assert fixture.log.exists()
    assert isinstance(worker(made).plane.access_log, AccessLog)
    assert isinstance(worker(made).plane.access_log.format, kind)


def test_access_log_that_is_off(fixture: Fixture) -> None:
    made = fixture.make(("log.access", "off"))
    assert isinstance(worker(made).plane.access_log, NoAccessLog)
    assert not fixture.log.exists()


def test_access_log_has_a_place_of_its_own(fixture: Fixture) -> None:
    fixture.make(("log.access", ""))
    assert fixture.log.exists()


def test_access_log_that_cannot_be_opened(fixture: Fixture) -> None:
    with pytest.raises(CannotLog) as raised:
        fixture.make(("log.access", str(fixture.directory)))
    assert str(raised.value) == f"the access log {fixture.directory} cannot be opened: Is a directory"


def test_standard_output_is_for_the_foreground(fixture: Fixture) -> None:
    assert repr(worker(fixture.make(("log.access", "-"))).plane.access_log).startswith(
        "<AccessLog <SquidFormat> <LogFile - "
    )
    with pytest.raises(CannotLog, match="a daemon has no standard output"):
        fixture.make(("log.access", "-"), foreground=False)


# ---------------------------------------------------------------- reload


def test_reload_is_one_swap(fixture: Fixture, said: list[str]) -> None:
    made = fixture.make(("forwarding.via", "first"))
    old, port = worker(made).plane.snapshot, port_of(made)
    assert not fixture.reload(made, ("forwarding.via", "second"), ("log.format", "json"))
    new = worker(made).plane.snapshot
    assert (new.pseudonym, new.generation) == ("second", old.generation + 1)
    assert (old.pseudonym, old.settings.log.format) == ("first", "squid")
    assert port_of(made) == port
    assert isinstance(worker(made).plane.access_log, AccessLog)
    assert isinstance(worker(made).plane.access_log.format, JSONFormat)
    assert said == ["info the settings have been reloaded", f"info listening on 127.0.0.1:{port}"]


def test_name_stays_the_same_over_reloads(fixture: Fixture) -> None:
    """A request that is under way must be known again when it comes round."""
    made = fixture.make()
    name = worker(made).plane.snapshot.pseudonym
    assert not fixture.reload(made)
    assert worker(made).plane.snapshot.pseudonym == name


def test_reload_of_settings_that_mean_nothing(fixture: Fixture, said: list[str], logged_errors: Any) -> None:
    made = fixture.make()
    old = worker(made).plane.snapshot
    fixture.text = "[upstream]\nconnect_timeout = -1\nidle = 3\n"
    assert fixture.reload(made)
    assert worker(made).plane.snapshot is old
    assert [line.partition(": expected")[0] for line in said] == [
        "error pyproxy.toml:2: upstream.connect_timeout",
        'error pyproxy.toml:3: upstream.idle: unknown key (did you mean "upstream.max_idle"?)',
        "error the settings were not reloaded: the old ones stay in force",
    ]
    assert len(logged_errors.flush_messages()) == 3


def test_reload_with_a_listener_that_cannot_be_had(fixture: Fixture, said: list[str], logged_errors: Any) -> None:
    made = fixture.make()
    old, port = worker(made).plane.snapshot, port_of(made)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        assert fixture.reload(made, ("downstream.listen", endpoint))
    assert (worker(made).plane.snapshot, port_of(made)) == (old, port)
    assert said == [
        f"error cannot listen on {endpoint}: Address already in use",
        "error the settings were not reloaded: the old ones stay in force",
    ]
    logged_errors.flush_messages()


def test_reload_with_other_listeners(fixture: Fixture) -> None:
    made = fixture.make()
    assert not fixture.reload(made, ("downstream.listen", '["tcp:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.2"]'))
    ports = {address.port for address in made.addresses()}
    assert len(ports) == 2
    assert worker(made).plane.snapshot.access.listeners.keys() == ports


@pytest.mark.parametrize("key", ["cache_size", "threads"])
def test_reload_makes_a_new_resolver_only_for_new_settings(fixture: Fixture, key: str) -> None:
    made = fixture.make()
    resolver = worker(made).plane.dialer.resolver
    assert not fixture.reload(made, ("upstream.connect_timeout", "3"))
    assert worker(made).plane.dialer.resolver is resolver
    assert not fixture.reload(made, (f"resolver.{key}", "5"))
    assert worker(made).plane.dialer.resolver is not resolver


def test_reload_moves_the_access_log(fixture: Fixture) -> None:
    made = fixture.make()
    other = fixture.directory / "other.log"
    old = worker(made).plane.access_log
    assert not fixture.reload(made, ("log.access", str(other)))
    assert other.exists()
    assert "closed" in repr(old)
    assert not fixture.reload(made, ("log.access", "off"))
    assert isinstance(worker(made).plane.access_log, NoAccessLog)
    assert not fixture.reload(made, ("log.access", "-"))
    standard_output = worker(made).plane.access_log
    assert not fixture.reload(made)
    # It is not ours to close.
    assert "closed" not in repr(standard_output)


def test_reload_with_an_access_log_that_cannot_be_opened(fixture: Fixture, logged_errors: Any) -> None:
    made = fixture.make()
    old = worker(made).plane.access_log
    assert not fixture.reload(made, ("log.access", str(fixture.directory)), ("forwarding.via", "new"))
    assert worker(made).plane.access_log is old
    assert worker(made).plane.snapshot.pseudonym == "new"
    assert logged_errors.flush_messages() == [
        f"the access log {fixture.directory} cannot be opened: Is a directory: the old one stays in use"
    ]


def test_level_of_the_operational_log(running_reactor: Any, fixture: Fixture) -> None:
    log = fixture.operational_log = OperationalLog(lambda entry: None, "info", running_reactor)
    made = fixture.make()
    assert not fixture.reload(made, ("log.level", "debug"))
    assert log.level == "debug"
    application: Any = Application("pyproxy")
    made.setServiceParent(application)
    assert application.getComponent(ILogObserver) is log
    IServiceCollection(application).removeService(made)


def test_level_until_the_next_reload(running_reactor: Any, fixture: Fixture, said: list[str]) -> None:
    log = fixture.operational_log = OperationalLog(lambda entry: None, "info", running_reactor)
    made = fixture.make()
    made.set_level("error")
    assert (log.level, made.level) == ("error", "error")
    assert said == ["info the operational log is written from the level error on"]
    assert not fixture.reload(made)
    assert (log.level, made.level) == ("info", "info")


def test_rotation(fixture: Fixture, said: list[str]) -> None:
    made = fixture.make()
    fixture.log.rename(fixture.directory / "access.log.1")
    made.reopen_logs()
    assert fixture.log.exists()
    assert said == ["info the logs have been reopened"]


# ---------------------------------------------------------------- beginning and end


Handlers = dict[int, Callable[[int, object], object]]


@pytest.fixture
def handlers(monkeypatch: pytest.MonkeyPatch) -> Handlers:
    """What is installed for which signal, instead of installing it."""
    installed: Handlers = {}
    monkeypatch.setattr(service_module.signal, "signal", installed.__setitem__)
    return installed


def started(fixture: Fixture, *settings: tuple[str, str], foreground: bool = True) -> ProxyService:
    made = fixture.make(*settings, foreground=foreground)
    made.heed_signals()
    made.startService()
    return made


@pytest_twisted.ensureDeferred
async def test_says_what_is_unwise(fixture: Fixture, said: list[str], handlers: Handlers) -> None:
    started(fixture, ("access.clients", "all"), ("access.connect_ports", "all"))
    assert said[0].startswith("info listening on 127.0.0.1:")
    assert [line.split()[0] for line in said[1:-1]] == ["warn"] * len(said[1:-1])
    assert len(said) > 2
    assert said[-1] == "info ready"


@pytest_twisted.ensureDeferred
async def test_authority_that_cannot_be_used_is_only_said(
    fixture: Fixture, said: list[str], handlers: Handlers, logged_errors: Any
) -> None:
    none = f"{fixture.directory}/none.pem"
    made = started(fixture, ("tls.authority", none))
    line = f"error the certificate authority cannot be used: {none}: No such file or directory"
    assert line in said
    assert said[-1] == "info ready"
    said.clear()
    assert not fixture.reload(made, ("tls.authority", ""))
    assert line not in said
    assert not fixture.reload(made, ("tls.authority", none))
    assert line in said
    assert len(logged_errors.flush_messages()) == 2


@pytest_twisted.ensureDeferred
async def test_authority_is_kept_with_the_state(fixture: Fixture, handlers: Handlers) -> None:
    made = started(fixture)
    assert not (fixture.directory / "state").exists()
    await made.custody.authority()
    assert (fixture.directory / "state" / "ca" / "twistedproxy-ca.pem").exists()


async def turn(fixture: Fixture) -> None:
    over: Deferred[None] = Deferred()
    fixture.reactor.callLater(0, over.callback, None)
    await over


@pytest_twisted.ensureDeferred
async def test_signals(fixture: Fixture, said: list[str], handlers: Handlers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_module, "controlling_terminal", lambda: False)
    started(fixture)
    assert set(handlers) == {signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT}
    said.clear()
    handlers[signal.SIGHUP](signal.SIGHUP, None)
    handlers[signal.SIGUSR1](signal.SIGUSR1, None)
    # Not in the middle of whatever the signal came into.
    assert said == []
    await turn(fixture)
    assert said[0] == "info the settings have been reloaded"
    assert said[-1] == "info the logs have been reopened"
    # The reactor is told once, however often it is asked for before it gets to it.
    handlers[signal.SIGTERM](signal.SIGTERM, None)
    handlers[signal.SIGINT](signal.SIGINT, None)
    await turn(fixture)
    assert fixture.reactor.stopped == 1


@pytest_twisted.ensureDeferred
async def test_says_nothing_before_the_reactor_runs(fixture: Fixture, said: list[str], handlers: Handlers) -> None:
    """Who reads that it listens, or is ready, may send a signal at once, or count what it has open."""
    put_off: list[tuple[Any, ...]] = []
    fixture.reactor.callWhenRunning = lambda *call: put_off.append(call)  # type: ignore[attr-defined]  # in its place
    made = started(fixture)
    assert [line for line in said if "listening" in line or "ready" in line] == []
    assert made.state == "starting"
    ((call, *arguments),) = put_off
    call(*arguments)
    assert said[0].startswith("info listening on 127.0.0.1:")
    assert (said[-1], made.state) == ("info ready", "ready")


@pytest.mark.parametrize(
    ("foreground", "remains", "reloads"), [(True, True, 1), (True, False, 0), (False, True, 1), (False, False, 1)]
)
@pytest_twisted.ensureDeferred
async def test_terminal_that_is_closed(
    fixture: Fixture,
    handlers: Handlers,
    monkeypatch: pytest.MonkeyPatch,
    foreground: bool,
    remains: bool,
    reloads: int,
) -> None:
    """SIGHUP is a wish for a reload, but not when it says that the terminal of the foreground is gone.

    A daemon leaves the terminal that it was started in.
    """
    terminals = iter([True, remains])
    monkeypatch.setattr(service_module, "controlling_terminal", lambda: next(terminals))
    made = started(fixture, foreground=foreground)
    generation = worker(made).plane.snapshot.generation
    handlers[signal.SIGHUP](signal.SIGHUP, None)
    await turn(fixture)
    assert worker(made).plane.snapshot.generation - generation == reloads
    assert fixture.reactor.stopped == 1 - reloads


def test_terminal_of_this_process() -> None:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
        there = True
    except OSError:
        there = False
    assert service_module.controlling_terminal() is there


@pytest_twisted.ensureDeferred
async def test_end_without_connections(fixture: Fixture, said: list[str], handlers: Handlers) -> None:
    made = started(fixture)
    port = port_of(made)
    said.clear()
    await ended(made)
    assert said == ["info stopped"]
    assert "closed" in repr(worker(made).plane.access_log)
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0


def say(made: ProxyService, stack: ExitStack, text: bytes) -> socket.socket:
    client = stack.enter_context(socket.create_connection(("127.0.0.1", port_of(made))))
    client.sendall(text)
    return client


async def connections(fixture: Fixture, made: ProxyService, count: int) -> None:
    while worker(made).factory.connections != count:
        await turn(fixture)


@pytest_twisted.ensureDeferred
async def test_end_at_the_deadline(fixture: Fixture, said: list[str], handlers: Handlers) -> None:
    """The record of what was cut is in the log before it is closed."""
    made = started(fixture, ("service.drain_timeout", "0.05"))
    with ExitStack() as stack, socket.create_server(("127.0.0.1", 0)) as origin:
        authority = f"127.0.0.1:{origin.getsockname()[1]}".encode()
        say(made, stack, b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (authority, authority))
        await connections(fixture, made, 1)
        while not worker(made).plane.pool.open_connections:
            await turn(fixture)
        said.clear()
        await ended(made)
    assert said == [
        "info draining 1 connections, for 0.05 s at most",
        "warn 1 connections did not end in time",
        "info stopped",
    ]
    assert fixture.log.read_text().endswith(" stopped\n")


@pytest_twisted.ensureDeferred
async def test_end_in_time_leaves_no_deadline(fixture: Fixture, said: list[str], handlers: Handlers) -> None:
    made = started(fixture, ("service.drain_timeout", "3600"))
    with ExitStack() as stack:
        client = say(made, stack, b"GET ")
        await connections(fixture, made, 1)
        stopped: Any = made.stopService()
        client.close()
        await stopped
    assert said[-1] == "info stopped"


@pytest_twisted.ensureDeferred
async def test_second_wish_to_stop_is_for_now(fixture: Fixture, said: list[str], handlers: Handlers) -> None:
    made = started(fixture)
    with ExitStack() as stack:
        say(made, stack, b"GET ")
        await connections(fixture, made, 1)
        stopped: Any = made.stopService()
        handlers[signal.SIGTERM](signal.SIGTERM, None)
        await stopped
    assert said[-2:] == ["warn stopping now, as asked for a second time", "info stopped"]
    assert fixture.reactor.stopped == 0
