"""One worker's place: the process in it, and the next one when that has ended."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionClosed, ProcessDone, ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.protocols.amp import Command
from twisted.python.failure import Failure

from twistedproxy import __version__
from twistedproxy.access.limits.spending import Tidings
from twistedproxy.control.link import (
    Begin,
    CannotUse,
    Drain,
    LinkEnd,
    Listen,
    Obey,
    Orders,
    Part,
    Pulse,
    ReopenLogs,
    Report,
    Startup,
    Stop,
    connect_end,
)
from twistedproxy.control.types import Worker
from twistedproxy.headcount import ABSENT, Headcount
from twistedproxy.record.statistics import Statistics
from twistedproxy.usage import Usage
from twistedproxy.workers.process import HEADCOUNT_DESCRIPTOR, LINK_DESCRIPTOR

BACK_OFF: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds until the next process starts, by how many have failed one after the other."""

LIVED: Final = 60.0
"""Seconds after which a process counts as one that worked: the next failure is the first again."""

STARTING: Final = 30.0
"""Seconds that a process may take until it serves."""

State = Literal["starting", "ready", "draining", "waiting"]


class Slot:
    """The place of worker ``number``.

    ``startup`` is what each process in it is told first, ``environment`` its variables; it is counted in ``headcount``.
    ``sockets`` and ``orders`` are asked for what the workers go by at that moment, ``became_ready`` is called when one
    serves, ``spent`` with what it tells of limits, and ``died`` with its last report when one is gone. ``seconds`` is
    the steady time.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        startup: Startup,
        environment: Mapping[str, str],
        headcount: Headcount,
        *,
        sockets: Callable[[], Mapping[str, int]],
        orders: Callable[[], Orders],
        became_ready: Callable[[], object],
        spent: Callable[[Tidings], object],
        died: Callable[[Report | None], object],
        seconds: Callable[[], float] = time.monotonic,
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
        self._headcount = headcount
        self._sockets = sockets
        self._orders = orders
        self._became_ready = became_ready
        self._spent = spent
        self._died = died
        self._seconds = seconds
        self.pid = 0
        """The process's number; 0 while there is none."""
        self._process: Any = None
        self._link: LinkEnd | None = None
        self._told: dict[str, int] = {}
        # Whether it may take connections: it has the orders, be it that it has not said so yet.
        self._has_orders = False
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
        now = self._seconds()
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
        link = ParentEnd(lambda: self._link_broke(link), self._spent)
        self.state = "starting"
        self._started = self._seconds()
        self._told = {}
        self._has_orders = False
        self._killed_because = ""
        self.report = None
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            with ours, theirs:
                self._process = self._reactor.spawnProcess(
                    _Watcher(self._ended),
                    sys.executable,
                    (
                        sys.executable,
                        "-P",
                        "-m",
                        "twistedproxy.workers.process",
                        str(self.number),
                        self._reactor_module,
                    ),
                    env=with_our_modules(self._environment),
                    childFDs={
                        0: 0,
                        1: 1,
                        2: 2,
                        LINK_DESCRIPTOR: theirs.fileno(),
                        HEADCOUNT_DESCRIPTOR: self._headcount.descriptor,
                    },
                )
                self.pid = self._process.pid
                connect_end(self._reactor, ours.fileno(), link)
        except OSError as error:
            if self._process is None:
                self._after_end(f"could not be started: {error}")
            else:
                self.kill(f"it could not be linked: {error}")
            return
        self._link = link
        self._timer = self._reactor.callLater(STARTING, self.kill, f"it did not serve within {STARTING:g} s")
        link.ask(Begin, startup=self._startup).addCallback(self._began).addErrback(self._refused)

    @property
    def _reactor_module(self) -> str:
        return type(self._reactor).__module__

    def _began(self, answer: dict[str, Any]) -> Deferred[object]:
        if answer["version"] != __version__:
            raise CannotUse(
                f"it is of version {answer['version']}, and this daemon of {__version__}: run pyproxyctl upgrade"
            )
        return self._catch_up().addCallback(self._serves)

    def _catch_up(self) -> Deferred[str]:
        """Let it go by the orders of the moment, and by those that have come when it does."""
        orders = self._orders()

        def obeyed(complaint: str) -> str | Deferred[str]:
            return complaint if self._orders() is orders else self._catch_up()

        return self.obey().addCallback(obeyed)

    def _serves(self, complaint: str) -> None:
        if self.gone is not None or self._killed_because:
            return
        self._cancel_timer()
        self.state = "ready"
        self._answered = self._seconds()
        self._log.info("worker {number} (process {pid}) serves", number=self.number, pid=self.pid)
        if complaint:
            self._log.error("worker {number}: {complaint}", number=self.number, complaint=complaint)
        self._became_ready()

    def _refused(self, failure: Failure) -> None:
        if failure.check(ConnectionClosed) is None:
            self.kill(str(failure.value))

    # ------------------------------------------------------------ what it is told and asked

    def ask(self, command: type[Command], **arguments: Any) -> Deferred[dict[str, Any]] | None:
        """Send a command to its process; None when there is none that serves."""
        if self._link is None or not self.listens:
            return None
        return self._link.ask(command, **arguments)

    @property
    def listens(self) -> bool:
        """Whether there is a process that takes commands."""
        return self._link is not None and self.state in ("ready", "draining")

    def reopen_logs(self) -> None:
        """Let its process go on in new log files. Its first have been open since soon after it began."""
        if self._link is not None:
            self._link.ask(ReopenLogs).addErrback(_not_done)

    def obey(self) -> Deferred[str]:
        """Let its process go by the orders of the moment. Fires with a complaint, or nothing; fails as `LinkEnd.ask`.

        One that cannot be reached ends, and the next one goes by the orders of its time.
        """
        link = self._link
        if link is None:
            return succeed("")
        told = {}
        for description, descriptor in self._sockets().items():
            # The same description may mean another socket by now, which the number of the descriptor does not tell.
            told[description] = os.fstat(descriptor).st_ino
            if self._told.get(description) != told[description]:
                self._pass_on(link, description, descriptor)
        self._told = told
        self._has_orders = True
        return link.ask(Obey, orders=self._orders()).addCallback(lambda answer: answer["complaint"])

    def _pass_on(self, link: LinkEnd, description: str, descriptor: int) -> None:
        # It is sent when there is room, by when the listener may be closed, and its number be somebody else's.
        own = os.dup(descriptor)
        sent = link.ask(Listen, description=description, descriptor=own)
        sent.addErrback(_not_done).addCallback(lambda _: os.close(own))

    def pulse(self, elsewhere: Usage, complete: bool) -> Deferred[None] | None:
        """Ask for its numbers, and keep them. None when there is nobody to ask."""
        if not self._unanswered_since:
            self._unanswered_since = self._seconds()
        asked = self.ask(Pulse, elsewhere=elsewhere, complete=complete)
        if asked is None:
            self._unanswered_since = 0.0
            return None
        return asked.addCallbacks(self._pulsed, self._not_pulsed)

    def _pulsed(self, answer: dict[str, Any]) -> None:
        before, self.report = self.report, answer["report"]
        if before is not None:
            # Only a complete answer has what is under way, and bytes that have been told of stay true.
            moved = self.report.statistics.bytes
            for direction, count in before.statistics.bytes.items():
                moved[direction] = max(count, moved.get(direction, 0))
        self._answered = self._seconds()
        self._unanswered_since = 0.0
        self._spent(self.report.usage.limits)

    def _not_pulsed(self, failure: Failure) -> None:
        _not_done(failure)
        # A refusal is an answer: its reactor runs.
        self._unanswered_since = 0.0

    @property
    def silent(self) -> float:
        """Seconds that it has owed an answer for."""
        return self._seconds() - self._unanswered_since if self._unanswered_since else 0.0

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
        elif self.state == "starting" and not self._has_orders:
            self.kill("it is not needed any more")
        else:
            self._drains(timeout)
            asked = self.ask(Drain, timeout=float(timeout))
            if asked is not None:
                asked.addErrback(self._refused)
        return gone

    def _drains(self, timeout: float) -> None:
        self.state = "draining"
        # It cuts what is left when the time is over; one that cannot even do that is not waited for.
        self._timer = self._reactor.callLater(timeout + STARTING, self.kill, "it did not end in time")

    def stop(self) -> None:
        """Let its process cut what is under way; one that cannot be told so is killed."""
        asked = self.ask(Stop)
        if asked is not None:
            asked.addErrback(_not_done)
        else:
            self.kill("it was to stop at once")

    def kill(self, why: str) -> None:
        """End its process at once, whatever it does. ``why`` goes to the log."""
        self._cancel_timer()
        self._killed_because = why
        if self._process is not None:
            try:
                self._process.signalProcess("KILL")
            except ProcessExitedAlready:
                pass  # and is about to be noticed

    def _link_broke(self, link: LinkEnd) -> None:
        if link is not self._link:
            # An earlier process's.
            return
        self._link = None
        self._unanswered_since = 0.0
        if self.state == "ready":
            # Its process has ended, or takes this for the daemon's end and drains.
            self._drains(self._orders().settings.service.drain_timeout)

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
        link, self._link = self._link, None
        if link is not None:
            link.cut()
        report, self.report = self.report, None
        pid, self.pid = self.pid, 0
        self.state = "waiting"
        self._last_end = how
        self._unanswered_since = 0.0
        self._headcount.tell(self.number, ABSENT)
        self._died(report)
        if self.gone is not None:
            self._log.debug("worker {number} (process {pid}) {how}", number=self.number, pid=pid, how=how)
            self.gone.callback(None)
            return
        lived = self._seconds() - self._started
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


class ParentEnd(LinkEnd):
    """The parent's end of the link to one process; ``spent`` is called with its last words."""

    def __init__(self, lost: Callable[[], object], spent: Callable[[Tidings], object]) -> None:
        super().__init__(lost)
        self._spent = spent

    @Part.responder
    def part(self, tidings: Tidings) -> dict[str, Any]:
        """Hear them."""
        self._spent(tidings)
        return {}


class _Watcher(ProcessProtocol):
    def __init__(self, ended: Callable[[Failure], object]) -> None:
        self._on_end = ended

    def processEnded(self, reason: Failure) -> None:
        self._on_end(reason)


def _not_done(failure: Failure) -> None:
    """The process has ended, or is at fault; either is told elsewhere."""
    failure.trap(ConnectionClosed, CannotUse)


def with_our_modules(environment: Mapping[str, str]) -> dict[str, str]:
    """``environment`` for a process of ours, which finds the same modules."""
    return dict(environment) | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
