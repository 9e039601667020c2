"""How a daemon starts its successor, and what that hears: with real processes where descriptors cross."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet import process
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from twistedproxy import upgrade
from twistedproxy.control.steering import CannotBeDone
from twistedproxy.systemd.activation import ActivationError
from twistedproxy.upgrade import STARTING, VARIABLE, Handover, Socket, start_successor

LISTENS = """
import socket, sys
from twistedproxy.upgrade import Handover
import os
handover = Handover.received(os.environ)
(inherited,) = handover.inherited()
with open(sys.argv[1], "w") as file:
    print(inherited.place, inherited.description, inherited.owned, handover.pseudonym, handover.pid_file, file=file)
handover.tell_ready()
"""


class Processes(Clock):
    """Time is the test's, and the process does what it says."""

    def __init__(self) -> None:
        super().__init__()
        self.pid = 4711
        self.signals: list[str] = []
        self.started: dict[str, Any] = {}
        self.protocol: Any = None
        self.failure: Exception | None = None
        self.exited = False

    def spawnProcess(self, protocol: Any, executable: str, command: Any, **options: Any) -> None:
        if self.failure is not None:
            raise self.failure
        self.protocol = protocol
        self.started = {"executable": executable, "command": command, **options}
        protocol.makeConnection(self)

    def signalProcess(self, signal: str) -> None:
        if self.exited:
            raise ProcessExitedAlready
        self.signals.append(signal)

    def end(self, status: int | None = None, signal: int | None = None) -> None:
        reason = ProcessTerminated(status, signal) if status or signal else ProcessDone(0)
        self.protocol.processEnded(Failure(reason))

    def start(self) -> Deferred[int]:
        return start_successor(
            self,
            ["--nodaemon", "pyproxy"],
            {"PATH": "/bin"},
            {"tcp:1": (17, False), "unix:/run/p": (18, True)},
            pseudonym="pyproxy-old",
            in_foreground=False,
            pid_file="/run/pid",
        )


@pytest.fixture
def processes() -> Iterator[Processes]:
    """No time is waited for when the test is over."""
    made = Processes()
    yield made
    assert made.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_what_it_is_told(processes: Processes) -> None:
    started = processes.start()
    command = processes.started["command"]
    assert (processes.started["executable"], command[:3]) == (sys.executable, (sys.executable, "-P", "-c"))
    assert command[4:] == ("--nodaemon", "pyproxy")
    assert processes.started["childFDs"] == {0: 0, 1: 1, 2: 2, 3: "r", 4: 17, 5: 18}
    environment = processes.started["env"]
    assert environment.keys() == {"PATH", "PYTHONPATH", VARIABLE}
    assert environment["PYTHONPATH"].split(os.pathsep) == [path for path in sys.path if path]
    assert Handover.received(environment) == Handover(
        3, [Socket(4, "tcp:1", False), Socket(5, "unix:/run/p", True)], "pyproxy-old", False, "/run/pid"
    )
    assert not started.called
    processes.protocol.childDataReceived(3, b"1")
    assert await started == 4711
    # Whatever it does later, and however it ends, is its own affair.
    processes.protocol.childDataReceived(3, b"1")
    processes.end(status=1)


@pytest.mark.parametrize(
    ("status", "signal", "how"), [(None, None, "with status 0"), (3, None, "with status 3"), (None, 9, "by signal 9")]
)
@pytest_twisted.ensureDeferred
async def test_end_before_it_serves(processes: Processes, status: int | None, signal: int | None, how: str) -> None:
    started = processes.start()
    processes.end(status, signal)
    with pytest.raises(CannotBeDone) as raised:
        await started
    assert str(raised.value) == f"the successor ended {how} before it served, and its log says why: this one goes on"


@pytest.mark.parametrize("exited", [False, True])
@pytest_twisted.ensureDeferred
async def test_too_long_a_beginning(processes: Processes, exited: bool) -> None:
    started = processes.start()
    processes.exited = exited
    processes.advance(STARTING)
    with pytest.raises(CannotBeDone, match=r"^the successor did not serve within 60 s: this one goes on$"):
        await started
    assert processes.signals == ["KILL"] * (not exited)
    processes.protocol.childDataReceived(3, b"1")
    processes.end(signal=9)


@pytest_twisted.ensureDeferred
async def test_it_is_not_wanted_any_more(processes: Processes) -> None:
    started = processes.start()
    started.cancel()
    with pytest.raises(CannotBeDone, match=r"^the daemon stops, and its successor with it$"):
        await started
    assert processes.signals == ["KILL"]
    processes.end(signal=9)


@pytest_twisted.ensureDeferred
async def test_process_that_cannot_be_started(processes: Processes) -> None:
    processes.failure = OSError(11, "Resource temporarily unavailable")
    with pytest.raises(CannotBeDone, match=r"^the successor could not be started: .*unavailable: this one goes on$"):
        await processes.start()


# ---------------------------------------------------------------- as the successor


def test_nobody_hands_over() -> None:
    assert Handover.received({"PATH": "/bin"}) is None


def test_says_that_it_is_ready() -> None:
    hears, says = os.pipe()
    Handover(says, [], "p", True, "").tell_ready()
    assert os.read(hears, 10) == b"1"
    # And it has let go of the pipe.
    assert os.read(hears, 10) == b""
    os.close(hears)


def test_nobody_waits_for_it() -> None:
    hears, says = os.pipe()
    os.close(hears)
    with pytest.raises(BrokenPipeError):
        Handover(says, [], "p", True, "").tell_ready()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(says)


def test_sockets_that_it_gets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as other:
        port = listener.getsockname()[1]
        handover = Handover(3, [Socket(listener.fileno(), "tcp:1", True)], "p", True, "")
        (inherited,) = handover.inherited()
        assert (inherited.description, inherited.owned, inherited.address) == ("tcp:1", True, ("127.0.0.1", port))
        assert not os.get_inheritable(listener.fileno())
        wrong = msgspec.structs.replace(handover, sockets=[Socket(other.fileno(), "tcp:1", True)])
        with pytest.raises(ActivationError, match="does not listen"):
            wrong.inherited()


@pytest_twisted.ensureDeferred
async def test_real_one(running_reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process finds the sockets and the pipe where it is told, and only those."""
    monkeypatch.setattr(upgrade, "_START", LISTENS)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        pid = await start_successor(
            running_reactor,
            [str(tmp_path / "told")],
            dict(os.environ),
            {"tcp:8080": (listener.fileno(), True)},
            pseudonym="pyproxy-old",
            in_foreground=True,
            pid_file="/run/pid",
        )
    while pid in {one.pid for one in process.reapProcessHandlers.values()}:
        await deferLater(running_reactor, 0.01)
    assert (tmp_path / "told").read_text() == f"127.0.0.1:{port} tcp:8080 True pyproxy-old /run/pid\n"


@pytest_twisted.ensureDeferred
async def test_real_one_that_fails(running_reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "_START", "raise SystemExit(7)")
    with pytest.raises(CannotBeDone, match="ended with status 7 before it served"):
        await start_successor(running_reactor, [], dict(os.environ), {}, pseudonym="p", in_foreground=True, pid_file="")
