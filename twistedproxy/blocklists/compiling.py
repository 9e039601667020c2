"""Compiling a list, in a process of its own: a million lines take a second, which traffic need not wait for.

Theory of operation. A thread would be no help: it holds the interpreter's lock most of the time, and the reactor waits
5 ms for it at each system call. The process is ``python -m twistedproxy.blocklists.compiling``; it reads a `Job` from
its standard input, writes the image, and answers with an `Outcome`. It is nice to everything else on the machine. Lists
of a few thousand lines are compiled where one is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from twistedproxy.access.blocklists.image import compile_list
from twistedproxy.access.blocklists.patterns import RegexesUnavailable
from twistedproxy.access.blocklists.report import Report
from twistedproxy.blocklists.files import BlocklistError, blocks_of, write_image

SMALL: Final = 1 << 16
"""Bytes; what is not larger is compiled at once."""

TIMEOUT: Final = 300.0
"""Seconds that the process may take."""

_NICENESS: Final = 10
_MOST_OUTPUT: Final = 1 << 20


class Job(msgspec.Struct, frozen=True):
    """One list to compile: the file that it is in, how to read it, and where the image goes.

    ``source`` is kept in the image, and says what it was made from. ``most`` is how many bytes there may be.
    """

    path: str
    image: str
    format: str
    subdomains: bool
    prime: int
    source: str
    most: int


class Outcome(msgspec.Struct):
    """What came of a job: a report, or why there is none."""

    report: Report | None = None
    error: str = ""


class Compile(Protocol):
    """What compiles lists."""

    def __call__(self, job: Job) -> Deferred[Report]:
        """Do ``job``. Fails with `BlocklistError`, and nothing has changed then."""

    def stop(self) -> None:
        """Give up what is under way."""


def compile_now(job: Job) -> Report:
    """Do ``job`` here. Raises `BlocklistError`, and nothing has changed then."""
    try:
        size = os.stat(job.path).st_size
        if size > job.most:
            raise BlocklistError(f"it is larger than {job.most} bytes")
        report, pieces = compile_list(
            blocks_of(job.path, job.most),
            format=job.format,
            subdomains=job.subdomains,
            prime=job.prime,
            source=job.source,
            size=size,
        )
        write_image(Path(job.image), pieces)
    except (OSError, RegexesUnavailable) as error:
        raise BlocklistError(getattr(error, "strerror", None) or str(error)) from error
    return report


class Compiler:
    """Compiles lists; the large ones in processes with the variables ``environment``, one after the other."""

    def __init__(self, reactor: Any, environment: Mapping[str, str]) -> None:
        self._reactor = reactor
        self._environment = environment
        self._process: _Process | None = None

    def __repr__(self) -> str:
        return f"<Compiler {'at work' if self._process else 'idle'}>"

    def __call__(self, job: Job) -> Deferred[Report]:
        """Do ``job``. Fails with `BlocklistError`, and nothing has changed then."""
        try:
            if os.stat(job.path).st_size <= SMALL:
                return succeed(compile_now(job))
        except OSError as error:
            return _failed(BlocklistError(error.strerror or str(error)))
        except BlocklistError as error:
            return _failed(error)
        process = self._process = _Process(job)
        self._reactor.spawnProcess(
            process,
            sys.executable,
            (sys.executable, "-P", "-m", "twistedproxy.blocklists.compiling"),
            env=self._environment,
        )
        process.result.addTimeout(TIMEOUT, self._reactor, _took_too_long)
        return process.result.addBoth(self._over, process)

    def _over(self, result: object, process: _Process) -> Any:
        if self._process is process:
            self._process = None
        process.kill()
        return result

    def stop(self) -> None:
        """Give up what is under way."""
        if self._process is not None:
            self._process.kill()


class _Process(ProcessProtocol):
    def __init__(self, job: Job) -> None:
        self.result: Deferred[Report] = Deferred(lambda _: None)
        self._job = job
        self._said = b""

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.write(msgspec.json.encode(self._job))
        transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        self._said = (self._said + data)[:_MOST_OUTPUT]

    def kill(self) -> None:
        transport: Any = self.transport
        try:
            transport.signalProcess("KILL")
        except ProcessExitedAlready:
            pass

    def processEnded(self, reason: Failure) -> None:
        if self.result.called:
            return
        try:
            outcome = msgspec.json.decode(self._said, type=Outcome)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            outcome = Outcome(error=f"the process that compiled it has failed: {reason.getErrorMessage()}")
        if outcome.report is not None:
            self.result.callback(outcome.report)
        else:
            self.result.errback(BlocklistError(outcome.error))


def _failed(error: BlocklistError) -> Deferred[Report]:
    failed: Deferred[Report] = Deferred()
    failed.errback(error)
    return failed


def _took_too_long(result: object, seconds: float) -> object:
    raise BlocklistError(f"it took more than {seconds:g} s to compile")


def main() -> None:
    """Do the job on the standard input."""
    os.nice(_NICENESS)
    try:
        outcome = Outcome(compile_now(msgspec.json.decode(sys.stdin.buffer.read(), type=Job)))
    except BlocklistError as error:
        outcome = Outcome(error=str(error))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main()
