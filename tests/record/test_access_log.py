"""The access log: a format and a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock

from twistedproxy.record.access_log import AccessLog, NoAccessLog
from twistedproxy.record.finished import FinishedExchange
from twistedproxy.record.formats import SquidFormat
from twistedproxy.record.log_file import LogFile

Make = Callable[..., FinishedExchange]


def method_line(exchange: FinishedExchange) -> bytes:
    return exchange.method + b"\n"


def url_line(exchange: FinishedExchange) -> bytes:
    return exchange.url + b"\n"


def broken(exchange: FinishedExchange) -> bytes:
    raise ZeroDivisionError


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


@pytest.fixture
def log(path: Path, clock: Clock) -> Iterator[AccessLog]:
    file = LogFile(str(path), clock)
    file.open()
    log = AccessLog(method_line, file)
    yield log
    log.close()
    assert clock.getDelayedCalls() == []


def test_each_exchange_is_a_line_within_a_second(log: AccessLog, path: Path, clock: Clock, finished: Make) -> None:
    log.finished(finished(method=b"GET"))
    log.finished(finished(method=b"PUT"))
    assert path.read_bytes() == b""
    clock.advance(1)
    assert path.read_bytes() == b"GET\nPUT\n"


def test_close_writes_what_waits(log: AccessLog, path: Path, finished: Make) -> None:
    log.finished(finished())
    log.close()
    assert path.read_bytes() == b"GET\n"


def test_reopen_goes_on_in_a_new_file(log: AccessLog, path: Path, finished: Make) -> None:
    log.finished(finished(method=b"GET"))
    old = path.rename(path.with_suffix(".1"))
    log.reopen()
    log.finished(finished(method=b"PUT"))
    log.close()
    assert (old.read_bytes(), path.read_bytes()) == (b"GET\n", b"PUT\n")


def test_the_format_can_be_changed_in_place(log: AccessLog, path: Path, finished: Make) -> None:
    log.finished(finished(method=b"GET", url=b"http://origin.example/"))
    log.format = url_line
    log.finished(finished(method=b"GET", url=b"http://origin.example/"))
    log.close()
    assert path.read_bytes() == b"GET\nhttp://origin.example/\n"


def test_a_format_that_fails_is_logged_once_and_counted(
    log: AccessLog, path: Path, finished: Make, logged_errors: Any
) -> None:
    log.format = broken
    log.finished(finished())
    log.finished(finished())
    assert log.unformatted == 2
    (failure,) = logged_errors.flush(ZeroDivisionError)
    assert failure.type is ZeroDivisionError
    log.format = method_line
    log.finished(finished())
    log.format = lambda exchange: broken(exchange)
    log.finished(finished())
    assert log.unformatted == 3
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    log.close()
    assert path.read_bytes() == b"GET\n"


def test_repr_says_what_goes_where(path: Path, clock: Clock) -> None:
    log = AccessLog(SquidFormat(), LogFile(str(path), clock))
    assert repr(log) == (f"<AccessLog <SquidFormat> <LogFile {path} not open waiting=0 lost_lines=0> unformatted=0>")


def test_a_log_that_is_off_does_nothing(finished: Make) -> None:
    log = NoAccessLog()
    log.format = broken
    log.finished(finished())
    log.reopen()
    log.close()
    assert log.unformatted == 0
    assert repr(log) == "<NoAccessLog>"
    assert NoAccessLog().format(finished()) == b""


def test_lines_that_are_lost(path: Path, clock: Clock, finished: Make, logged_errors: Any) -> None:
    """Those that could not be made, and those that the file has lost since this log has it."""
    file = LogFile(str(path), clock)
    file.close()
    file.write(b"before\n")
    log = AccessLog(broken, file)
    assert (file.lost_lines, log.lost_lines) == (1, 0)
    log.finished(finished())
    log.format = method_line
    log.finished(finished())
    assert (log.unformatted, log.lost_lines) == (1, 2)
    assert NoAccessLog().lost_lines == 0
    assert len(logged_errors.flush()) == 1
