"""How a daemon gives way to its successor: another process, of the version installed now, on the same sockets.

Theory of operation. The daemon starts the successor with the same options, gives it its listening sockets, and goes on
as before. The successor opens everything else, and says by one byte on a pipe that it serves. Only then does the old
one leave the sockets, drain and end; a successor that ends before has changed nothing. Nobody's connection is refused
meanwhile, because the sockets are never closed, and none waits in the queue of a socket that only the old one has.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, ClassVar, Final

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedproxy.control.steering import CannotBeDone
from twistedproxy.systemd.activation import InheritedSocket
from twistedproxy.workers.slot import with_our_modules

VARIABLE: Final = "TWISTEDPROXY_HANDOVER"
"""The variable that brings a successor its `Handover`."""

STARTING: Final = 60.0
"""Seconds that a successor may take until it serves."""

_READY_DESCRIPTOR: Final = 3
_FIRST_SOCKET: Final = 4
_START: Final = "from twisted.scripts.twistd import run; run()"


class Socket(msgspec.Struct, frozen=True):
    """A listening socket; ``owned`` when it is the daemon's to remove from the file system at the end."""

    descriptor: int
    description: str
    owned: bool


class Handover(msgspec.Struct, frozen=True):
    """What an old daemon tells its successor. ``ready`` is the descriptor of the pipe."""

    ready: int
    sockets: list[Socket]
    pseudonym: str
    in_foreground: bool
    pid_file: str
    _log: ClassVar[Logger] = Logger()

    @classmethod
    def received(cls, environment: Mapping[str, str]) -> Handover | None:
        """What an old daemon has told this process; None when there was none."""
        text = environment.get(VARIABLE)
        return msgspec.json.decode(text, type=cls) if text else None

    def inherited(self) -> list[InheritedSocket]:
        """The listening sockets."""
        return [
            InheritedSocket.of(one.descriptor, description=one.description, owned=one.owned) for one in self.sockets
        ]

    def tell_ready(self) -> None:
        """Say that this process serves. Raises `OSError` when nobody waits for that any more."""
        try:
            os.write(self.ready, b"1")
        finally:
            os.close(self.ready)

    def take_over_pid_file(self, twistd: MutableMapping[str, Any]) -> None:
        """Write this process's number to the old one's file, if it had one, and let ``twistd``'s options name that."""
        path = self.pid_file
        if not path:
            return
        try:
            with open(path, "w", encoding="ascii") as file:
                file.write(str(os.getpid()))
        except OSError as error:
            self._log.warn("the process number could not be written to {path}: {error}", path=path, error=error)
        # twistd removes it at the end.
        twistd["pidfile"] = path


def start_successor(
    reactor: Any,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    sockets: Mapping[str, tuple[int, bool]],
    *,
    pseudonym: str,
    in_foreground: bool,
    pid_file: str,
) -> Deferred[int]:
    """Start a successor with twistd's ``arguments``. Fires with its process number when it serves.

    Cancelling ends the successor; it fails as when that had ended by itself.
    ``sockets`` are the descriptors by description, and whether they are owned. Fails with `CannotBeDone`.
    """
    descriptors = {0: 0, 1: 1, 2: 2, _READY_DESCRIPTOR: "r"}
    handed: list[Socket] = []
    for number, (description, (descriptor, owned)) in enumerate(sockets.items(), _FIRST_SOCKET):
        descriptors[number] = descriptor
        handed.append(Socket(number, description, owned))
    handover = Handover(_READY_DESCRIPTOR, handed, pseudonym, in_foreground, pid_file)
    variables = with_our_modules(environment) | {VARIABLE: msgspec.json.encode(handover).decode()}
    successor = _Successor(reactor)
    command = (sys.executable, "-P", "-c", _START, *arguments)
    try:
        reactor.spawnProcess(successor, sys.executable, command, env=variables, childFDs=descriptors)
    except OSError as error:
        successor.failed(f"the successor could not be started: {error}: this one goes on")
    return successor.ready


class _Successor(ProcessProtocol):
    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self.ready: Deferred[int] = Deferred(self._cancelled)
        self._limit = reactor.callLater(STARTING, self._took_too_long)

    @property
    def _process(self) -> Any:
        return self.transport

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        if not self.ready.called:
            self._limit.cancel()
            self.ready.callback(self._process.pid)

    def failed(self, why: str) -> None:
        """It does not become one."""
        if self._limit.active():
            self._limit.cancel()
        if not self.ready.called:
            self.ready.errback(CannotBeDone(why))

    def _took_too_long(self) -> None:
        self.failed(f"the successor did not serve within {STARTING:g} s: this one goes on")
        self._kill()

    def _cancelled(self, _: object) -> None:
        self.failed("the daemon stops, and its successor with it")
        self._kill()

    def _kill(self) -> None:
        try:
            self._process.signalProcess("KILL")
        except ProcessExitedAlready:
            pass

    def processEnded(self, reason: Failure) -> None:
        value: Any = reason.value
        how = f"by signal {value.signal}" if value.signal is not None else f"with status {value.exitCode}"
        self.failed(f"the successor ended {how} before it served, and its log says why: this one goes on")
