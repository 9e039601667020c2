"""What the tests of the workers share: orders, first words, and the log of what is said."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock, deferLater
from twisted.protocols.amp import Command
from twisted.python.failure import Failure

from twistedproxy import __version__
from twistedproxy.control import link
from twistedproxy.control.link import LinkEnd, Listing, Orders, Report, Startup, connect_end
from twistedproxy.record.statistics import Statistics
from twistedproxy.settings.load import load
from twistedproxy.usage import Usage

LOOPBACK = "tcp:0:interface=127.0.0.1"

MakeOrders = Callable[..., Orders]


@pytest.fixture
def make_orders(tmp_path: Path) -> MakeOrders:
    """Orders for settings such as ``service__drain_timeout="3"``."""

    def make(generation: int = 1, workers: int = 2, level: str = "info", **settings: str) -> Orders:
        wanted = {"downstream.listen": LOOPBACK, "log.access": str(tmp_path / "access.log")}
        wanted |= {name.replace("__", "."): value for name, value in settings.items()}
        loaded = load("", "test", list(wanted.items())).settings
        return Orders(loaded, generation, workers, tuple(loaded.downstream.listen), level)

    return make


@pytest.fixture
def startup(tmp_path: Path) -> Startup:
    """The first words to a worker of a daemon."""
    options: dict[str, str | int | None] = {"nodaemon": 0, "logfile": str(tmp_path / "proxy.log"), "syslog": 0}
    return Startup(__version__, 0, "pyproxy-test", False, str(tmp_path / "access.log"), str(tmp_path), options)


@pytest.fixture
def environment() -> dict[str, str]:
    """The variables of a worker's process."""
    return dict(os.environ)


@pytest.fixture
def turn(running_reactor: Any) -> Callable[[], Any]:
    """One turn of the real reactor."""
    return lambda: deferLater(running_reactor, 0)


class Far(LinkEnd):
    """A worker as its parent sees it: it notes what it is told, and answers as the test wishes.

    ``answers`` has what it says to a command instead of the usual: a value, an exception, or a Deferred.
    """

    def __init__(self) -> None:
        super().__init__(lambda: None)
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.sockets: dict[str, int] = {}
        self.answers: dict[str, Any] = {}
        self.report = Report(Statistics(), Usage())

    def locateResponder(self, name: bytes) -> Any:
        command: type[Command] = getattr(link, name.decode())

        def respond(**arguments: Any) -> Any:
            if command is link.Listen:
                arguments["descriptor"], descriptor = os.fstat(arguments["descriptor"]).st_ino, arguments["descriptor"]
                os.close(descriptor)
            self.heard.append((command.__name__, arguments))
            answer = self.answers.get(command.__name__, self._usual(command))
            if isinstance(answer, list):
                answer = answer.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return self._wrapWithSerialization(respond, command)

    def _usual(self, command: type[Command]) -> dict[str, Any]:
        usual: dict[str, dict[str, Any]] = {
            "Begin": {"version": __version__},
            "Obey": {"complaint": ""},
            "Pulse": {"report": self.report},
            "ListConnections": {"listing": Listing(0, [])},
            "CloseConnection": {"closed": False},
        }
        return usual.get(command.__name__, {})

    def heard_of(self, name: str) -> list[dict[str, Any]]:
        """What it was told with the command of that name."""
        return [arguments for command, arguments in self.heard if command == name]


class FakeProcess:
    """A child process that does nothing; the test says when it ends."""

    def __init__(self, processes: Processes, protocol: Any, command: Any, **options: Any) -> None:
        self.protocol = protocol
        self.command = command
        self.environment = options["env"]
        self.descriptors = options["childFDs"]
        self.pid = 1000 + len(processes.all)
        self.signals: list[str] = []
        self.ended = False
        self.far = Far()
        self.far.answers |= processes.answers
        self.descriptor = os.dup(self.descriptors[3])
        if processes.linked:
            connect_end(processes.real, self.descriptor, self.far)
            self.hang_up()

    def signalProcess(self, signal: str) -> None:
        if self.ended:
            raise ProcessExitedAlready
        self.signals.append(signal)

    def hang_up(self) -> None:
        """Let go of the descriptor that it was started with."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def die(self, status: int | None = None, signal: int | None = None) -> None:
        """It has ended: in good order, with a status, or by a signal."""
        self.ended = True
        self.hang_up()
        if self.far.transport is not None:
            self.far.transport.abortConnection()
        reason: Exception = ProcessTerminated(status, signal) if status or signal else ProcessDone(0)
        self.protocol.processEnded(Failure(reason))


class Processes(Clock):
    """A reactor of the slots: time is the test's, sockets are real, and processes are not.

    ``failure`` is raised instead of starting one, and ``answers`` are given to each that starts.
    """

    def __init__(self, real: Any) -> None:
        super().__init__()
        # A moment of 0 means none to a slot, and the machine has been up for longer.
        self.advance(1000)
        self.real = real
        self.all: list[FakeProcess] = []
        self.failure: Exception | None = None
        self.adoption: Exception | None = None
        self.linked = True
        self.answers: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def spawnProcess(self, protocol: Any, _executable: str, command: Any, **options: Any) -> FakeProcess:
        if self.failure is not None:
            raise self.failure
        self.all.append(FakeProcess(self, protocol, command, **options))
        return self.all[-1]

    def adoptStreamConnection(self, *arguments: Any) -> Any:
        if self.adoption is not None:
            raise self.adoption
        return self.real.adoptStreamConnection(*arguments)

    async def until(self, true: Callable[[], object]) -> None:
        """Let the real reactor run until it is so."""
        while not true():
            await deferLater(self.real, 0)

    async def settle(self) -> None:
        """Let everything arrive that has been said."""
        for _ in range(10):
            await deferLater(self.real, 0)

    def pass_time(self, seconds: float) -> None:
        """Time passes, in steps that nobody is late for."""
        while seconds > 0:
            self.advance(min(0.5, seconds))
            seconds -= 0.5


@pytest.fixture
def processes(running_reactor: Any) -> Iterator[Processes]:
    """Processes that the test says everything of; all have ended when it is over, and no timer waits."""
    made = Processes(running_reactor)
    yield made
    left = [call.getTime() - made.seconds() for call in made.getDelayedCalls()]
    running = [one for one in made.all if not one.ended]
    for one in running:
        one.die()
    assert (left, running) == ([], [])
