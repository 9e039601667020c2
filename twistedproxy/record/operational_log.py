"""The operational log: what the proxy says about itself, as lines of text.

It takes the place of the observer that twistd would make. Just after ``makeService``, and before it forks,
twistd asks the application for its `ILogObserver` component. With one there it makes no observer and leaves
SIGUSR1 alone, whose default action ends the process: so ``--logfile``, ``--syslog`` and ``--prefix`` are this
module's to honour, and the signal is the service's. ``--logger`` still comes first. ``makeService`` does not
see the application, but the service that it returns does::

    def setServiceParent(self, parent):
        parent.setComponent(ILogObserver, self.operational_log)
        super().setServiceParent(parent)

A line is the event's time in UTC, its level and its text. Whatever follows in further lines, such as a
traceback, is indented, so that every line that begins with a time is an event::

    2026-11-23T08:12:03.123Z info  forwarding for loopback clients on 127.0.0.1:8080
    2026-11-23T08:12:09.870Z error a response could not be read
        Traceback (most recent call last):
        ...

What Twisted remarks about each factory and port counts as debug here.
"""

from __future__ import annotations

import re
import syslog
import time
from collections import deque
from collections.abc import Callable, Mapping
from threading import get_ident
from types import MappingProxyType
from typing import Final, NamedTuple

from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.logger import ILogObserver, LogEvent, eventAsText
from zope.interface import implementer

from twistedproxy.record.log_file import STANDARD_OUTPUT, LogFile

LEVELS: Final = ("debug", "info", "warn", "error", "critical")
"""The names of the levels, the least important first."""

DEFAULT_FILE: Final = "twistd.log"
"""Where a daemon logs to that was not told, as twistd has it."""

_INDENT = "    "

_CHATTER: Final = frozenset(
    {
        "Starting factory {factory!r}",
        "Stopping factory {factory!r}",
        "reactor class: {reactor}.",
        "Main loop terminated.",
        "{cls} connection established (HOST:{host} PEER:{peer})",
        "{cls} connection lost (HOST:{host} PEER:{peer})",
    }
)

_LEGACY_CHATTER: Final = re.compile(
    r"\A(?:.+ starting on .+|\(.+ Port .+ Closed\)|(?:Starting|Stopping) protocol .+)\Z", re.DOTALL
)

_PRIORITIES: Final[Mapping[str, int]] = MappingProxyType(
    {
        "debug": syslog.LOG_DEBUG,
        "info": syslog.LOG_INFO,
        "warn": syslog.LOG_WARNING,
        "error": syslog.LOG_ERR,
        "critical": syslog.LOG_CRIT,
    }
)


class Entry(NamedTuple):
    """An event as it is written."""

    moment: float
    """Seconds of Unix time."""
    level: str
    """One of `LEVELS`."""
    lines: list[str]
    """At least one, all printable."""


Destination = Callable[[Entry], None]


def to_file(file: LogFile) -> Destination:
    """Entries as text in ``file``, each written at once: one that explains a crash must not wait."""

    def write(entry: Entry) -> None:
        file.write_at_once(entry_as_text(entry).encode("utf-8", "backslashreplace"))

    return write


def to_syslog(write_line: Callable[[int, str], object]) -> Destination:
    """Entries as calls of ``write_line`` with priority and text, one a line, such as `syslog.syslog`."""

    def write(entry: Entry) -> None:
        priority = _PRIORITIES[entry.level]
        for at, line in enumerate(entry.lines):
            write_line(priority, _INDENT + line if at else line)

    return write


def entry_as_text(entry: Entry) -> str:
    """The lines of ``entry``, each with its newline."""
    milliseconds = int(entry.moment * 1000.0)
    second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    text = f"\n{_INDENT}".join(entry.lines)
    return f"{second}.{milliseconds % 1000:03d}Z {entry.level:<5} {text}\n"


@implementer(ILogObserver)
class OperationalLog:
    """Writes the events of twisted.logger that are at ``level`` or above to ``destination``.

    ``speaker`` is who says it all, when several processes write to one log.

    Events may come from any thread. They are written by the thread that made this object, the reactor's:
    ``reactor`` brings it those of the others.
    """

    def __init__(
        self,
        destination: Destination,
        level: str,
        reactor: IReactorFromThreads,
        file: LogFile | None = None,
        speaker: str = "",
    ) -> None:
        self.level = level
        self._speaker = f"{speaker}: " if speaker else ""
        self._destination = destination
        self._reactor = reactor
        self._file = file
        self._thread = get_ident()
        self._from_threads: deque[Entry] = deque()

    def __repr__(self) -> str:
        return f"<OperationalLog {self.level} {self._file or 'syslog'!r}>"

    @property
    def level(self) -> str:
        """The least important level that is written; one of `LEVELS`. Setting another raises `ValueError`."""
        return LEVELS[self._least]

    @level.setter
    def level(self, name: str) -> None:
        self._least = LEVELS.index(name)

    def __call__(self, event: LogEvent) -> None:
        """Write ``event``. Never raises."""
        try:
            entry = self._entry(event)
        except Exception as error:
            entry = Entry(time.time(), "error", [_printable(f"an event could not be logged: {error!r}")])
        if entry is None:
            return
        self._from_threads.append(entry)
        if get_ident() == self._thread:
            self._write_gathered()
        else:
            self._reactor.callFromThread(self._write_gathered)

    @property
    def path(self) -> str | None:
        """The file that it is written to; None for another destination."""
        return None if self._file is None else self._file.path

    def reopen(self) -> None:
        """Go on in a new file, since the old one has been moved away."""
        if self._file is not None:
            self._file.reopen()

    def close(self) -> None:
        """Write what other threads have left, and close the file."""
        self._write_gathered()
        if self._file is not None:
            self._file.close()

    def _write_gathered(self) -> None:
        while self._from_threads:
            self._destination(self._from_threads.popleft())

    def _entry(self, event: LogEvent) -> Entry | None:
        level = getattr(event.get("log_level"), "name", "info")
        if level == "info" and _is_chatter(event):
            level = "debug"
        if LEVELS.index(level) < self._least:
            return None
        text = eventAsText(event, includeTimestamp=False, includeSystem=False).strip("\n")
        if not text:
            return None
        moment = event.get("log_time")
        lines = [_printable(line) for line in f"{self._speaker}{text}".split("\n")]
        return Entry(time.time() if moment is None else float(moment), level, lines)


def _is_chatter(event: LogEvent) -> bool:
    template = event.get("log_format")
    if event.get("log_namespace") == "log_legacy":
        return _LEGACY_CHATTER.match(str(event.get("log_text", ""))) is not None
    return isinstance(template, str) and template in _CHATTER


def _printable(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(
        character if character.isprintable() or character == "\t" else _escape(ord(character)) for character in line
    )


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def operational_log(
    twistd_options: Mapping[str, object],
    level: str,
    reactor: IReactorFromThreads,
    clock: IReactorTime,
    standard_output: LogFile,
    speaker: str = "",
) -> OperationalLog:
    """The log that twistd's own options ask for, open and ready to be the application's `ILogObserver`.

    It goes to syslog with ``--syslog``; else to ``--logfile``; else to ``standard_output`` in the foreground
    and to `DEFAULT_FILE` as a daemon. Raises `OSError` when the file cannot be opened, and `ValueError` for a
    daemon that is to log to the standard output.
    """
    if twistd_options.get("syslog"):
        syslog.openlog(str(twistd_options.get("prefix") or "twisted"))
        return OperationalLog(to_syslog(syslog.syslog), level, reactor, speaker=speaker)
    in_foreground = twistd_options.get("nodaemon")
    path = str(twistd_options.get("logfile") or (STANDARD_OUTPUT if in_foreground else DEFAULT_FILE))
    if path != STANDARD_OUTPUT:
        file = LogFile(path, clock)
    elif in_foreground:
        file = standard_output
    else:
        raise ValueError("a daemon has no standard output to log to: let --logfile name a file")
    file.open()
    return OperationalLog(to_file(file), level, reactor, file, speaker)
