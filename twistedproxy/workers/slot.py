"""One worker's place: the process in it, and the next one when that has ended."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost, ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.protocols.amp import Command
from twisted.python.failure import Failure

from twistedproxy import __version__
from twistedproxy.control.link import (
    Begin,
    CannotUse,
    Drain,
    LinkEnd,
    Listen,
    Obey,
    Orders,
    Pulse,
    Report,
    Startup,
    connect_end,
)
from twistedproxy.control.types import Worker
from twistedproxy.record.statistics import Statistics
from twistedproxy.usage import Usage
from twistedproxy.workers.process import LINK_DESCRIPTOR

BACK_OFF: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds until the next process starts, by how many have failed one after the other."""

LIVED: Final = 60.0
"""Seconds after which a process counts as one that worked: the next failure is the first again."""

STARTING: Final = 30.0
"""Seconds that a process may take until it serves."""

State = Literal["starting", "ready", "draining", "waiting"]


class Slot:
    """The place of worker ``number``.

    ``startup`` is what each process in it is told first, ``environment`` its variables. ``sockets`` and ``orders`` are
    asked for what the workers go by at that moment, ``became_ready`` is called when one serves, and ``died`` with its
    last report when one is gone.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        startup: Startup,
        environment: Mapping[str, str],
        *,
        sockets: Callable[[], Mapping[str, int]],
        orders: Callable[[], Orders],
        became_ready: Callable[[], object],
        died: Callable[[Report | None], object],
    ) -> None:
        self.number = startup.number
        self.state: State = "waiting"
        self.restarts = 0
        self.report: Report | None = None
        self.gone: Deferred[None] | None = None
        """Fires when the last process has ended; None while another would follow."""
        self._reactor = reactor
        self._startup = startup
        self._environment = environment
        self._sockets = sockets
        self._orders = orders
        self._became_ready = became_ready
        self._died = died
        self.pid = 0
        """The process's number; 0 while there is none."""
        self._process: Any = None
        self._link: LinkEnd | None = None
        self._told: set[str] = set()
        self._started = 0.0
        self._answered = 0.0
        self._unanswered_since = 0.0
        self._failures = 0
        self._last_end = ""
        self._killed_because = ""
        self._timer: Any = None

    def __repr__(self) -> str:
        return f"<Slot {self.number} {self.state} pid={self.pid} restarts={self.restarts}>"

    def status(self) -> Worker:
        """What is told of it."""
        now = time.monotonic()
        report = self.report
        return Worker(
            number=self.number,
            pid=self.pid,
            state=self.state,
            uptime=now - self._started if self._process else 0.0,
            restarts=self.restarts,
            last_end=self._last_end,
            answered=now - self._answered if report else 0.0,
            statistics=report.statistics if report else Statistics(),
        )

    # ------------------------------------------------------------ a process begins

    def start(self) -> None:
        """Start a process."""
        self._timer = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        link = LinkEnd(self._link_broke)
        self.state = "starting"
        self._started = time.monotonic()
        self._told.clear()
        self._killed_because = ""
        self.report = None
        try:
            self._process = self._reactor.spawnProcess(
                _Watcher(self._ended),
                sys.executable,
                (sys.executable, "-P", "-m", "twistedproxy.workers.process", str(self.number), self._reactor_module),
                env=dict(self._environment),
                childFDs={0: 0, 1: 1, 2: 2, LINK_DESCRIPTOR: theirs.fileno()},
            )
            connect_end(self._reactor, ours.fileno(), link)
            self.pid = self._process.pid
        except OSError as error:
            self._after_end(f"could not be started: {error}")
            return
        finally:
            ours.close()
            theirs.close()
        self._link = link
        self._timer = self._reactor.callLater(STARTING, self.kill, f"it did not serve within {STARTING:g} s")
        link.ask(Begin, startup=self._startup).addCallback(self._began).addErrback(self._not_begun)

    @property
    def _reactor_module(self) -> str:
        return type(self._reactor).__module__

    def _began(self, answer: dict[str, Any]) -> Deferred[object]:
        if answer["version"] != __version__:
            raise CannotUse(
                f"it is of version {answer['version']}, and this daemon of {__version__}: run pyproxyctl upgrade"
            )
        return self.obey().addCallback(self._serves)

    def _serves(self, complaint: str) -> None:
        self._cancel_timer()
        self.state = "ready"
        self._answered = time.monotonic()
        self._log.info("worker {number} (process {pid}) serves", number=self.number, pid=self.pid)
        if complaint:
            self._log.error("worker {number}: {complaint}", number=self.number, complaint=complaint)
        self._became_ready()

    def _not_begun(self, failure: Failure) -> None:
        if failure.check(ConnectionDone, ConnectionLost) is None:
            self.kill(str(failure.value))

    # ------------------------------------------------------------ what it is told and asked

    def ask(self, command: type[Command], **arguments: Any) -> Deferred[dict[str, Any]] | None:
        """Send a command to its process; None when there is none that serves."""
        if self._link is None or self.state not in ("ready", "draining"):
            return None
        return self._link.ask(command, **arguments)

    def obey(self) -> Deferred[str]:
        """Let its process go by the orders of the moment. Fires with a complaint, or nothing."""
        link = self._link
        assert link is not None
        sockets = self._sockets()
        for description, descriptor in sockets.items():
            if description not in self._told:
                link.ask(Listen, description=description, descriptor=descriptor).addErrback(_link_is_gone)
        self._told = set(sockets)
        return link.ask(Obey, orders=self._orders()).addCallback(lambda answer: answer["complaint"])

    def pulse(self, elsewhere: Usage, complete: bool) -> Deferred[None] | None:
        """Ask for its numbers, and keep them. None when there is nobody to ask."""
        if not self._unanswered_since:
            self._unanswered_since = time.monotonic()
        asked = self.ask(Pulse, elsewhere=elsewhere, complete=complete)
        if asked is None:
            self._unanswered_since = 0.0
            return None
        return asked.addCallback(self._pulsed).addErrback(_link_is_gone)

    def _pulsed(self, answer: dict[str, Any]) -> None:
        self.report = answer["report"]
        self._answered = time.monotonic()
        self._unanswered_since = 0.0

    @property
    def silent(self) -> float:
        """Seconds that it has owed an answer for."""
        return time.monotonic() - self._unanswered_since if self._unanswered_since else 0.0

    # ------------------------------------------------------------ a process ends

    def drain(self, timeout: float) -> Deferred[None]:
        """Let it end for good within ``timeout`` seconds. Fires when it has."""
        if self.gone is not None:
            return self.gone
        self.gone = Deferred()
        gone = self.gone
        self._cancel_timer()
        if self._process is None:
            self._reactor.callLater(0, gone.callback, None)
        elif self.ask(Drain, timeout=timeout) is None:
            self.kill("")
        else:
            self.state = "draining"
            # It cuts what is left when the time is over; one that cannot even do that is not waited for.
            self._timer = self._reactor.callLater(timeout + STARTING, self.kill, "it did not end in time")
        return gone

    def kill(self, why: str) -> None:
        """End its process at once, whatever it does. ``why`` goes to the log."""
        self._cancel_timer()
        self._killed_because = why
        if self._process is not None:
            try:
                self._process.signalProcess("KILL")
            except ProcessExitedAlready:
                pass  # and is about to be noticed

    def _link_broke(self) -> None:
        self._link = None
        self._unanswered_since = 0.0

    def _ended(self, reason: Failure) -> None:
        self._process = None
        value: Any = reason.value
        if self._killed_because:
            how = f"was killed, because {self._killed_because}"
        elif reason.check(ProcessDone):
            how = "ended"
        elif value.signal is not None:
            how = f"was ended by signal {value.signal}"
        else:
            how = f"ended with status {value.exitCode}"
        self._after_end(how)

    def _after_end(self, how: str) -> None:
        self._cancel_timer()
        report, self.report = self.report, None
        pid, self.pid = self.pid, 0
        self.state = "waiting"
        self._last_end = how
        self._unanswered_since = 0.0
        self._died(report)
        if self.gone is not None:
            self._log.debug("worker {number} (process {pid}) {how}", number=self.number, pid=pid, how=how)
            self.gone.callback(None)
            return
        lived = time.monotonic() - self._started
        self._failures = 0 if lived >= LIVED else self._failures
        delay = BACK_OFF[min(self._failures, len(BACK_OFF) - 1)]
        self._failures += 1
        self.restarts += 1
        self._log.error(
            "worker {number} (process {pid}) {how} after {lived:.1f} s; another starts {when}",
            number=self.number,
            pid=pid,
            how=how,
            lived=lived,
            when=f"in {delay:g} s" if delay else "now",
        )
        self._timer = self._reactor.callLater(delay, self.start)

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


class _Watcher(ProcessProtocol):
    def __init__(self, ended: Callable[[Failure], object]) -> None:
        self._on_end = ended

    def processEnded(self, reason: Failure) -> None:
        self._on_end(reason)


def _link_is_gone(failure: Failure) -> None:
    """The process has ended, which is told otherwise."""
    failure.trap(ConnectionDone, ConnectionLost)


def worker_environment(environment: Mapping[str, str], without: tuple[str, ...]) -> dict[str, str]:
    """The variables of a process of ours: it finds the same modules, and none of what is meant for the daemon alone."""
    kept = {name: value for name, value in environment.items() if name not in without}
    kept["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return kept
