"""What every test gets: one that leaves something behind fails.

Theory of operation. `nothing_left_behind` notes what the process holds before a test and compares
afterwards: timers, readers and writers of the reactor, threads, children and file descriptors; and it takes
every error that was logged meanwhile and that the test did not ask for through `logged_errors`. What
remains gets some turns of the reactor to go away by itself, because the other end of a closed connection
only notices in the next one; a timer that still waits then is a leak, however short it is. A failed
Deferred speaks up when it is freed, so garbage is collected after each test. That costs microseconds, since
all that has long been there is frozen out of it.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import greenlet
import hypothesis
import pytest
import pytest_twisted
from twisted.internet import process
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ProcessExitedAlready
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    formatEvent,
    globalLogBeginner,
    globalLogPublisher,
)
from twisted.python.failure import Failure
from zope.interface import implementer

# The machine that runs the tests may be busy, and how long one example takes says nothing about the code.
hypothesis.settings.register_profile("house", hypothesis.settings(deadline=None))
hypothesis.settings.load_profile("house")

QUICK_TURNS = 10
SLOW_TURNS = 10
SLOW_TURN = 0.02
"""The grace, in turns of the reactor; a slow one waits this many seconds for other threads."""

LONGEST_TEST = 60.0
"""What waits for the reactor for more seconds than this, waits for something that will not happen."""

LONG_COLLECTION = 0.001
"""When a garbage collection takes more seconds than this, what survived it is frozen."""

DESCRIPTORS = "/proc/self/fd"


@implementer(ILogObserver)
class LoggedErrors:
    """The errors logged since the test began; a test that provokes some takes them with `flush`."""

    def __init__(self) -> None:
        self._events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        """Observe the log. A Deferred announces its failure in a line of its own; that one says nothing."""
        if event.get("log_level") not in (LogLevel.error, LogLevel.critical):
            return
        if event.get("log_format") != "Unhandled error in Deferred:":
            self._events.append(event)

    def __repr__(self) -> str:
        return f"<LoggedErrors {[_in_words(event) for event in self._events]}>"

    def flush(self, *kinds: type[BaseException]) -> list[Failure]:
        """Take the failures logged so far, oldest first; only those of the given kinds when any are named."""
        collect_garbage()
        return [event["log_failure"] for event in self._take(lambda failure: not kinds or failure.check(*kinds))]

    def flush_messages(self) -> list[str]:
        """Take the errors logged so far that hold no failure, as text, oldest first."""
        return [formatEvent(event) for event in self._take(None)]

    def take_in_words(self) -> list[str]:
        """Take everything, each with its traceback."""
        events, self._events = self._events, []
        return [f"a logged error: {_in_words(event)}" for event in events]

    def _take(self, wanted: Callable[[Failure], object] | None) -> list[LogEvent]:
        taken: list[LogEvent] = []
        kept: list[LogEvent] = []
        for event in self._events:
            failure = event.get("log_failure")
            matches = failure is None if wanted is None else failure is not None and wanted(failure)
            (taken if matches else kept).append(event)
        self._events = kept
        return taken


def _in_words(event: LogEvent) -> str:
    text = formatEvent(event)
    failure = event.get("log_failure")
    if failure is None:
        return text
    return f"{text or 'Unhandled error in Deferred'}\n{failure.getTraceback()}"


def held(reactor: Any) -> set[tuple[str, Any]]:
    """What the process holds at this moment: what kind of thing, and the thing."""
    things = {("a timer", call) for call in reactor.getDelayedCalls()}
    things.update(("a reader of the reactor", reader) for reader in reactor.getReaders())
    things.update(("a writer of the reactor", writer) for writer in reactor.getWriters())
    things.update(("a child process", child) for child in process.reapProcessHandlers.values())
    things.update(("a file descriptor", descriptor) for descriptor in open_descriptors())
    things.update(
        ("a thread", thread)
        for thread in threading.enumerate()
        if not thread.name.startswith("PoolThread-twisted.internet.reactor")
    )
    return things


def open_descriptors() -> Iterator[tuple[str, str]]:
    """The number of each open file descriptor, and on what; nothing where the system does not tell.

    Descriptors on the null device are left out: Twisted holds some in reserve for when there are no others.
    """
    if not os.path.isdir(DESCRIPTORS):
        return
    for number in os.listdir(DESCRIPTORS):
        try:
            opened = os.readlink(f"{DESCRIPTORS}/{number}")
        except FileNotFoundError:
            continue  # the listing's own
        if opened != os.devnull:
            yield number, opened


def dispose(reactor: Any, things: set[tuple[str, Any]]) -> None:
    """Get rid of what can be, so that one test's leftovers do not disturb the next."""
    for kind, thing in things:
        if kind in ("a reader of the reactor", "a writer of the reactor"):
            reactor.removeReader(thing)
            reactor.removeWriter(thing)
            thing.connectionLost(Failure(ConnectionAborted()))
        elif kind == "a child process":
            try:
                thing.signalProcess("KILL")
            except ProcessExitedAlready:
                pass  # since it was found
    for call in reactor.getDelayedCalls():
        if ("a timer", call) in things:
            call.cancel()


def collect_garbage() -> None:
    """Free every unreachable object, and keep it cheap to do so after each test."""
    began = time.perf_counter()
    gc.collect()
    if time.perf_counter() - began > LONG_COLLECTION:
        gc.freeze()


def turn(reactor: Any, seconds: float = 0.0) -> None:
    """Let the reactor run, for one turn or for longer."""
    over: Deferred[None] = Deferred()
    reactor.callLater(seconds, over.callback, None)
    pytest_twisted.blockon(over)


def left_behind(reactor: Any, before: set[tuple[str, Any]]) -> set[tuple[str, Any]]:
    """What is held beyond what was ``before``, after the grace."""
    for number in range(QUICK_TURNS + SLOW_TURNS):
        collect_garbage()
        left = held(reactor) - before
        slow = number >= QUICK_TURNS
        if not left or (slow and any(kind == "a timer" for kind, _ in left)):
            break
        turn(reactor, SLOW_TURN if slow else 0.0)
    return left


@pytest.fixture(scope="session")
def error_log() -> Iterator[LoggedErrors]:
    """What is logged from the first test on, by whatever logs."""
    errors = LoggedErrors()
    # Until it has begun, twisted.logger keeps every event, and with it all that its failure refers to.
    globalLogBeginner.beginLoggingTo([errors], redirectStandardIO=False)
    collect_garbage()
    yield errors
    globalLogPublisher.removeObserver(errors)
    if remaining := errors.take_in_words():
        pytest.fail("\n".join(["after the last test:", *remaining]), pytrace=False)


@pytest.fixture
def logged_errors(error_log: LoggedErrors) -> LoggedErrors:
    """For a test that provokes errors in the log: it takes them out with ``flush`` and asserts on them."""
    return error_log


@pytest.fixture(scope="session")
def running_reactor(twisted_greenlet: object) -> Any:
    """The real reactor, after it has opened what it keeps open."""
    from twisted.internet import reactor

    turn(reactor)
    return reactor


@pytest.fixture(autouse=True)
def nothing_left_behind(running_reactor: Any, error_log: LoggedErrors) -> Iterator[None]:
    """Fail the test that leaves behind something held, or an error in the log; and one that never ends."""
    # The test waits in this greenlet while the reactor runs in another, from which it can be given up.
    too_long = pytest.fail.Exception(f"the test took more than {LONGEST_TEST} seconds")
    limit = running_reactor.callLater(LONGEST_TEST, greenlet.getcurrent().throw, too_long)
    before = held(running_reactor)
    yield
    if limit.active():
        limit.cancel()
    left = left_behind(running_reactor, before)
    complaints = sorted(f"{kind}: {thing!r}" for kind, thing in left) + error_log.take_in_words()
    if complaints:
        dispose(running_reactor, left)
        pytest.fail("\n".join(["the test left behind:", *complaints]), pytrace=False)


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What the operational log is told by the house's own, each with its level."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_namespace"].startswith("twistedproxy."):
            lines.append(f"{event['log_level'].name} {formatEvent(event)}")

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)
