"""The operational log: its lines, its levels, and that twistd takes it for its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import syslog
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, LogPublisher, globalLogPublisher
from twisted.python import log as legacy_log
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from twistedproxy.record.log_file import STANDARD_OUTPUT, LogFile
from twistedproxy.record.operational_log import (
    Entry,
    OperationalLog,
    entry_as_text,
    operational_log,
    to_file,
    to_syslog,
)

MOMENT = 1795421523.123


class Calls:
    """The part of a reactor that takes calls from other threads."""

    def __init__(self) -> None:
        self.gathered: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    def callFromThread(self, callable: Callable[..., object], *args: object) -> None:
        self.gathered.append((callable, args))

    def turn(self) -> None:
        while self.gathered:
            callable, args = self.gathered.pop(0)
            callable(*args)


@pytest.fixture
def calls() -> Calls:
    return Calls()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "twistd.log"


@pytest.fixture
def file(path: Path, clock: Clock) -> Iterator[LogFile]:
    file = LogFile(str(path), clock)
    file.open()
    yield file
    file.close()


@pytest.fixture
def observer(file: LogFile, calls: Calls) -> OperationalLog:
    return OperationalLog(to_file(file), "info", calls, file)


@pytest.fixture
def entries() -> list[Entry]:
    return []


@pytest.fixture
def gathering(entries: list[Entry], calls: Calls) -> OperationalLog:
    """A log whose entries can be looked at."""
    return OperationalLog(entries.append, "debug", calls)


def event(text: str, level: LogLevel = LogLevel.info, **more: Any) -> LogEvent:
    return {"log_level": level, "log_format": text, "log_time": MOMENT, **more}


# ---------------------------------------------------------------- lines


@pytest.mark.parametrize(
    ("level", "line"),
    [
        (LogLevel.debug, b""),
        (LogLevel.info, b"2026-11-23T08:12:03.123Z info  listening on 8080\n"),
        (LogLevel.warn, b"2026-11-23T08:12:03.123Z warn  listening on 8080\n"),
        (LogLevel.error, b"2026-11-23T08:12:03.123Z error listening on 8080\n"),
        (LogLevel.critical, b"2026-11-23T08:12:03.123Z critical listening on 8080\n"),
    ],
)
def test_an_event_is_a_line_that_is_written_at_once(
    observer: OperationalLog, path: Path, clock: Clock, level: LogLevel, line: bytes
) -> None:
    observer(event("listening on {port}", level, port=8080))
    assert path.read_bytes() == line
    assert clock.getDelayedCalls() == []


def test_the_level_can_be_changed(observer: OperationalLog, path: Path) -> None:
    log = Logger(observer=observer)
    assert observer.level == "info"
    log.debug("1")
    observer.level = "debug"
    log.debug("2")
    observer.level = "error"
    log.warn("3")
    log.error("4")
    assert [line.split()[1:] for line in path.read_bytes().splitlines()] == [[b"debug", b"2"], [b"error", b"4"]]
    with pytest.raises(ValueError, match="not in tuple"):
        observer.level = "loud"
    assert observer.level == "error"


def test_a_level_that_is_none_is_refused(calls: Calls) -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        OperationalLog([].append, "INFO", calls)


def test_a_failure_brings_its_traceback_indented(observer: OperationalLog, path: Path) -> None:
    log = Logger(observer=observer)
    try:
        raise ZeroDivisionError("by\nzero")
    except ZeroDivisionError:
        log.failure("no answer to {client}", client="192.0.2.7")
    first, *others = path.read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z critical no answer to 192\.0\.2\.7", first)
    assert others[0] == "    Traceback (most recent call last):"
    assert others[-2:] == ["    builtins.ZeroDivisionError: by", "    zero"]
    assert all(line.startswith("    ") for line in others)


def test_a_failure_without_words_is_still_seen(gathering: OperationalLog, entries: list[Entry]) -> None:
    gathering({"log_level": LogLevel.critical, "log_failure": Failure(ZeroDivisionError("x")), "log_time": MOMENT})
    (entry,) = entries
    assert "ZeroDivisionError" in entry.lines[-1]
    assert entry.lines[0].startswith("Traceback")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb\r\nc", "a\n    b\\x0d\n    c"),
        ("2026-11-23\n2026-11-23T08:12:03.123Z info  forged", "2026-11-23\n    2026-11-23T08:12:03.123Z info  forged"),
        ("\x00\x1b[31m\x7f\x85", "\\x00\\x1b[31m\\x7f\\x85"),
        ("\u2028\udc80\U000e0001", "\\u2028\\udc80\\U000e0001"),
        ("tab\there, größer", "tab\there, größer"),
        (b"\r\n", "b'\\r\\n'"),
    ],
)
def test_what_a_stranger_says_cannot_forge_an_event(
    observer: OperationalLog, path: Path, value: object, text: str
) -> None:
    observer(event("said: {value}", value=value))
    assert path.read_bytes().decode() == f"2026-11-23T08:12:03.123Z info  said: {text}\n"


@given(st.text(alphabet=st.characters()), st.floats(0, 4e9))
def test_every_line_that_begins_with_a_time_is_an_event(value: str, moment: float) -> None:
    entries: list[Entry] = []
    OperationalLog(entries.append, "info", Calls())(event("said: {value}", value=value, log_time=moment))
    (entry,) = entries
    first, *others, last = entry_as_text(entry).split("\n")
    assert last == ""
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z info  said: ", first)
    assert all(line.startswith("    ") for line in others)
    assert all(line.replace("\t", "").isprintable() for line in [first, *others])


class Unprintable:
    def __repr__(self) -> str:
        raise ZeroDivisionError

    __str__ = __format__ = __repr__


@pytest.mark.parametrize(
    "broken",
    [
        event("{missing}"),
        event("{unclosed"),
        event("{value}", value=Unprintable()),
        {"log_level": LogLevel.info, "log_format": 5, "log_time": MOMENT},
        event("no time", log_time="yesterday"),
        {"log_level": LogLevel.info, "log_format": "no time"},
        {"log_format": "no level"},
        {"log_level": "odd", "log_format": "odd level"},
        event("odd failure", log_failure=5),
        event("odd legacy", log_namespace="log_legacy", log_text=Unprintable()),
    ],
    ids=lambda broken: str(broken.get("log_format")),
)
def test_an_event_that_is_broken_is_logged_all_the_same(
    gathering: OperationalLog, entries: list[Entry], broken: LogEvent
) -> None:
    gathering(broken)
    (entry,) = entries
    assert entry.lines[0]
    assert entry.moment >= MOMENT - 86400 * 365 * 10
    assert entry_as_text(entry).endswith("\n")


def test_an_event_without_text_is_no_line(gathering: OperationalLog, entries: list[Entry]) -> None:
    gathering({"log_level": LogLevel.info, "log_time": MOMENT})
    gathering(event(""))
    assert entries == []


# ---------------------------------------------------------------- what Twisted says


@pytest.fixture
def everything(gathering: OperationalLog) -> Iterator[OperationalLog]:
    """The gathering log, hearing all that Twisted says."""
    globalLogPublisher.addObserver(gathering)
    yield gathering
    globalLogPublisher.removeObserver(gathering)


@pytest_twisted.inlineCallbacks
def test_ports_and_factories_are_debug(everything: OperationalLog, entries: list[Entry]) -> Any:
    from twisted.internet import reactor

    port = reactor.listenTCP(0, Factory(), interface="127.0.0.1")
    number = port.getHost().port
    yield port.stopListening()
    said = [(entry.level, entry.lines[0]) for entry in entries]
    assert [level for level, _ in said] == ["debug"] * 4
    assert said[0][1] == f"Factory starting on {number}"
    assert said[1][1].startswith("Starting factory <twisted.internet.protocol.Factory object")
    assert {said[2][1], said[3][1].partition(" <")[0]} == {f"(TCP Port {number} Closed)", "Stopping factory"}


@pytest.mark.parametrize(
    ("level", "template"),
    [
        ("info", "twistd {version} ({exe} {pyVersion}) starting up."),
        ("debug", "reactor class: {reactor}."),
        ("info", "Received SIGTERM, shutting down."),
        ("debug", "Main loop terminated."),
        ("info", "Server Shut Down."),
    ],
)
def test_twistds_own_words(gathering: OperationalLog, entries: list[Entry], level: str, template: str) -> None:
    gathering(event(template, version="26.10", exe="python", pyVersion="3.11", reactor="epoll"))
    assert [entry.level for entry in entries] == [level]


def test_legacy_messages_are_info(everything: OperationalLog, entries: list[Entry]) -> None:
    legacy_log.msg("an extension", "says")
    assert [(entry.level, entry.lines) for entry in entries] == [("info", ["an extension says"])]


def test_legacy_errors_are_critical_with_one_traceback(
    everything: OperationalLog, entries: list[Entry], logged_errors: Any
) -> None:
    try:
        raise ZeroDivisionError("legacy")
    except ZeroDivisionError:
        legacy_log.err(None, "an extension failed")
    (entry,) = entries
    assert entry.level == "critical"
    assert entry.lines[0] == "an extension failed"
    assert [line for line in entry.lines if line.startswith("Traceback")] == ["Traceback (most recent call last):"]
    assert entry.lines[-1] == "builtins.ZeroDivisionError: legacy"
    logged_errors.take_in_words()


# ---------------------------------------------------------------- threads


def test_events_of_other_threads_are_written_by_the_reactors(
    observer: OperationalLog, path: Path, calls: Calls
) -> None:
    thread = threading.Thread(target=observer, args=(event("from a thread"),))
    thread.start()
    thread.join()
    assert path.read_bytes() == b""
    calls.turn()
    assert path.read_bytes() == b"2026-11-23T08:12:03.123Z info  from a thread\n"


def test_events_of_other_threads_keep_their_place_and_are_not_lost(
    observer: OperationalLog, path: Path, calls: Calls
) -> None:
    for text in ("1", "3"):
        thread = threading.Thread(target=observer, args=(event(text),))
        thread.start()
        thread.join()
        if text == "1":
            observer(event("2"))
    observer.close()
    assert [line.split()[2] for line in path.read_bytes().splitlines()] == [b"1", b"2", b"3"]
    calls.turn()


# ---------------------------------------------------------------- where it goes


def test_reopen_goes_on_in_a_new_file(observer: OperationalLog, path: Path) -> None:
    observer(event("1"))
    old = path.rename(path.with_suffix(".1"))
    observer(event("2"))
    observer.reopen()
    observer(event("3"))
    assert [line.split()[2] for line in old.read_bytes().splitlines()] == [b"1", b"2"]
    assert [line.split()[2] for line in path.read_bytes().splitlines()] == [b"3"]


def test_a_log_that_cannot_be_written_does_not_report_to_itself_for_ever(
    path: Path, clock: Clock, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.symlink_to("/dev/full")
    file = LogFile(str(path), clock)
    file.open()
    observer = OperationalLog(to_file(file), "info", calls, file)
    monkeypatch.setattr(LogFile, "_log", Logger(namespace="test", observer=LogPublisher(observer)))
    observer(event("1"))
    assert file.lost_lines == 2
    observer(event("2"))
    assert file.lost_lines == 3
    path.unlink()
    observer.reopen()
    observer(event("3"))
    observer.close()
    lines = path.read_text().splitlines()
    assert [line.partition("Z ")[2] for line in lines] == [
        "info  3",
        f"warn  {path} can be written again; 3 lines are lost",
    ]


def test_syslog_gets_a_call_for_each_line(calls: Calls) -> None:
    said: list[tuple[int, str]] = []
    observer = OperationalLog(to_syslog(lambda priority, line: said.append((priority, line))), "debug", calls)
    observer(event("one\x00\ntwo", LogLevel.warn))
    for level in (LogLevel.debug, LogLevel.info, LogLevel.error, LogLevel.critical):
        observer(event("x", level))
    observer.reopen()
    observer.close()
    assert said == [
        (syslog.LOG_WARNING, "one\\x00"),
        (syslog.LOG_WARNING, "    two"),
        (syslog.LOG_DEBUG, "x"),
        (syslog.LOG_INFO, "x"),
        (syslog.LOG_ERR, "x"),
        (syslog.LOG_CRIT, "x"),
    ]
    assert repr(observer) == "<OperationalLog debug 'syslog'>"


def test_the_component_is_an_observer(observer: OperationalLog, path: Path) -> None:
    assert verifyObject(ILogObserver, observer)
    assert repr(observer) == f"<OperationalLog info <LogFile {path} open waiting=0 lost_lines=0>>"


# ---------------------------------------------------------------- twistd's options


@pytest.fixture
def standard_output(tmp_path: Path, clock: Clock) -> Iterator[LogFile]:
    descriptor = os.open(tmp_path / "stdout", os.O_WRONLY | os.O_CREAT, 0o600)
    yield LogFile(STANDARD_OUTPUT, clock, descriptor)
    os.close(descriptor)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"nodaemon": 1, "logfile": None, "syslog": 0}, "stdout"),
        ({"nodaemon": 1, "logfile": "-", "syslog": 0}, "stdout"),
        ({"nodaemon": 1, "logfile": "own.log", "syslog": 0}, "own.log"),
        ({"nodaemon": 0, "logfile": "own.log", "syslog": 0}, "own.log"),
        ({"nodaemon": 0, "logfile": None, "syslog": 0}, "twistd.log"),
        ({}, "twistd.log"),
    ],
)
def test_the_options_of_twistd_say_where_it_goes(
    options: dict[str, object],
    name: str,
    standard_output: LogFile,
    tmp_path: Path,
    clock: Clock,
    calls: Calls,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    observer = operational_log(options, "warn", calls, clock, standard_output)
    observer(event("x", LogLevel.error))
    assert (tmp_path / name).read_bytes() == b"2026-11-23T08:12:03.123Z error x\n"
    assert observer.level == "warn"
    observer.close()


def test_syslog_is_opened_with_the_prefix(
    standard_output: LogFile, clock: Clock, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[object, ...]] = []
    monkeypatch.setattr(syslog, "openlog", lambda *args: said.append(args))
    monkeypatch.setattr(syslog, "syslog", lambda *args: said.append(args))
    options = {"syslog": 1, "prefix": "pyproxy", "nodaemon": 0, "logfile": None}
    observer = operational_log(options, "info", calls, clock, standard_output)
    observer(event("x"))
    observer.close()
    assert said == [("pyproxy",), (syslog.LOG_INFO, "x")]


def test_a_daemon_cannot_log_to_the_standard_output(standard_output: LogFile, clock: Clock, calls: Calls) -> None:
    with pytest.raises(ValueError, match="a daemon has no standard output"):
        operational_log({"nodaemon": 0, "logfile": "-"}, "info", calls, clock, standard_output)


def test_a_file_that_cannot_be_opened_is_an_error(
    standard_output: LogFile, tmp_path: Path, clock: Clock, calls: Calls
) -> None:
    with pytest.raises(IsADirectoryError):
        operational_log({"logfile": str(tmp_path)}, "info", calls, clock, standard_output)


# ---------------------------------------------------------------- in twistd

APPLICATION = """
import sys
from twisted.application.service import Application, Service
from twisted.internet import reactor
from twisted.internet.protocol import Factory
from twisted.logger import ILogObserver, Logger
from twistedproxy.record.log_file import LogFile
from twistedproxy.record.operational_log import operational_log

observer = operational_log({options}, "info", reactor, reactor, LogFile("-", reactor))

class Rehearsal(Service):
    def startService(self):
        reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        Logger(namespace="test").info("the service starts")
        reactor.callInThread(Logger(namespace="test").info, "a thread says hello")
        print("printed")
        reactor.callLater(0, reactor.stop)

application = Application("rehearsal")
application.setComponent(ILogObserver, observer)
Rehearsal().setServiceParent(application)
"""

RUN_TWISTD = "from twisted.scripts.twistd import run; run()"

EXPECTED = [
    "Loading rehearsal.tac...",
    "Loaded.",
    "starting up.",
    "the service starts",
    "printed",
    "a thread says hello",
    "Server Shut Down.",
]


def texts(log: bytes) -> list[str]:
    """What the events say, without their times."""
    return [text for line in log.decode().splitlines() if (text := line.partition("Z info  ")[2])]


def assert_expected(said: list[str]) -> None:
    assert len(said) == len(EXPECTED)
    for text, end in zip(said, EXPECTED, strict=True):
        assert text.endswith(end)


def run_twistd(directory: Path, options: str, *arguments: str) -> bytes:
    """Run twistd in ``directory`` until it and what it forked are gone; what it wrote to its standard output."""
    (directory / "rehearsal.tac").write_text(APPLICATION.replace("{options}", options))
    reading, writing = os.pipe()
    ran = subprocess.run(
        [sys.executable, "-c", RUN_TWISTD, *arguments, "-oy", "rehearsal.tac"],
        cwd=directory,
        pass_fds=[writing],
        capture_output=True,
        timeout=60,
        check=False,
    )
    os.close(writing)
    # The end comes when nobody holds the other end any more, the daemon included.
    assert os.read(reading, 1) == b""
    os.close(reading)
    assert (ran.returncode, ran.stderr) == (0, b"")
    return ran.stdout


def test_twistd_logs_through_it_in_the_foreground(tmp_path: Path) -> None:
    said = texts(run_twistd(tmp_path, "{'nodaemon': True}", "-n"))
    assert_expected(said)
    assert not (tmp_path / "twistd.log").exists()


def test_twistd_logs_through_it_as_a_daemon(tmp_path: Path) -> None:
    assert run_twistd(tmp_path, "{'nodaemon': False}") == b""
    said = texts((tmp_path / "twistd.log").read_bytes())
    assert_expected(said)


def test_it_says_who_speaks(calls: Calls) -> None:
    """Several processes write to one log; what follows in further lines belongs to the first."""
    entries: list[Entry] = []
    log = OperationalLog(entries.append, "info", calls, speaker="worker 3")
    log({"log_format": "one\ntwo", "log_time": 0.0})
    assert entries == [Entry(0.0, "info", ["worker 3: one", "two"])]


def test_where_it_writes(calls: Calls, tmp_path: Path) -> None:
    """Others are told to write there too."""
    file = LogFile(str(tmp_path / "proxy.log"), Clock())
    assert OperationalLog(to_file(file), "info", calls, file).path == str(tmp_path / "proxy.log")
    assert OperationalLog([].append, "info", calls).path is None
