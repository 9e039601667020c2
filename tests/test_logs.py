"""The logs of a worker: opened as the settings say, over reloads, to the end."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.memory import Wire
from twistedproxy.logs import CannotLog, TrafficLogs, access_log_file, message_log_file, try_out
from twistedproxy.record.access_log import AccessLog, NoAccessLog
from twistedproxy.record.formats import JSONFormat
from twistedproxy.record.log_file import LogFile
from twistedproxy.record.message_log import MessageLog
from twistedproxy.settings.load import load
from twistedproxy.settings.log import LogSettings

UNUSED = "/nowhere/unused.log"


def log_settings(**wanted: str) -> LogSettings:
    return load("", "test", [(f"log.{name}", value) for name, value in wanted.items()]).settings.log


class Fixture:
    """The logs of a proxy in memory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.wire = Wire()
        self.output = LogFile("-", self.wire.reactor, standard_output=2)
        self.logs = TrafficLogs(
            self.wire.reactor,
            self.wire.plane,
            4,
            default_access_log=directory / "access.log",
            standard_output=self.output,
        )
        self.wire.plane.access_log = NoAccessLog()

    def open(self, **wanted: str) -> None:
        """Open those of such settings."""
        self.wire.reload(*[(f"log.{name}", value) for name, value in wanted.items()])
        self.logs.open()

    @property
    def messages(self) -> MessageLog:
        """The one listener that there is."""
        (listener,) = self.wire.plane.message_listeners
        assert isinstance(listener, MessageLog)
        return listener


@pytest.fixture
def fixture(tmp_path: Path) -> Iterator[Fixture]:
    made = Fixture(tmp_path)
    yield made
    made.logs.close()


# ---------------------------------------------------------------- the access log


def test_access_log_goes_on_in_another_format(fixture: Fixture) -> None:
    fixture.open()
    log = fixture.wire.plane.access_log
    assert isinstance(log, AccessLog)
    fixture.open(format="json")
    assert fixture.wire.plane.access_log is log
    assert isinstance(log.format, JSONFormat)
    assert repr(fixture.logs).startswith("<TrafficLogs <AccessLog <JSONFormat>")


def test_access_log_file(fixture: Fixture) -> None:
    reactor, directory = fixture.wire.reactor, fixture.directory
    assert access_log_file(log_settings(access="off"), UNUSED, None, reactor) is None
    file = access_log_file(log_settings(), directory / "default.log", None, reactor)
    assert file is not None
    assert file.path == str(directory / "default.log")
    assert stat.S_IMODE((directory / "default.log").stat().st_mode) == 0o640
    file.close()
    assert access_log_file(log_settings(access="-"), UNUSED, fixture.output, reactor) is fixture.output
    with pytest.raises(CannotLog, match=r'^a daemon has no standard output: let log\.access name a file, or "off"$'):
        access_log_file(log_settings(access="-"), UNUSED, None, reactor)
    with pytest.raises(CannotLog, match=r"^the access log .* cannot be opened: Is a directory"):
        access_log_file(log_settings(access=str(directory)), UNUSED, None, reactor)


# ---------------------------------------------------------------- the log of messages


def test_message_log_file(fixture: Fixture) -> None:
    """It is for the proxy's own account, and only there when it was asked for."""
    reactor, path = fixture.wire.reactor, fixture.directory / "websocket.log"
    assert message_log_file(log_settings(), None, reactor) is None
    assert message_log_file(log_settings(websocket=""), None, reactor) is None
    file = message_log_file(log_settings(websocket=str(path)), None, reactor)
    assert file is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    file.close()
    assert message_log_file(log_settings(websocket="-"), fixture.output, reactor) is fixture.output
    with pytest.raises(CannotLog, match=r'^a daemon has no standard output: let log\.websocket name a file, or "off"$'):
        message_log_file(log_settings(websocket="-"), None, reactor)
    with pytest.raises(CannotLog, match=r"^the log of messages .* cannot be opened: Is a directory"):
        message_log_file(log_settings(websocket=str(fixture.directory)), None, reactor)


def test_log_of_messages_comes_and_goes_with_reloads(fixture: Fixture) -> None:
    fixture.open()
    assert fixture.messages.file is None
    path = fixture.directory / "websocket.log"
    fixture.open(websocket=str(path))
    file = fixture.messages.file
    assert file is not None
    fixture.open(websocket=str(path), websocket_max_content="1KiB")
    assert fixture.messages.file is file
    fixture.open(websocket="-")
    assert fixture.messages.file is fixture.output
    assert "closed" in repr(file)
    fixture.open(websocket="off")
    assert fixture.messages.file is None
    assert "closed" not in repr(fixture.output)


def test_one_that_cannot_be_opened_leaves_the_other_alone(fixture: Fixture) -> None:
    with pytest.raises(CannotLog, match=r"^the access log .* Is a directory$"):
        fixture.open(access=str(fixture.directory), websocket=str(fixture.directory / "websocket.log"))
    assert isinstance(fixture.wire.plane.access_log, NoAccessLog)
    assert fixture.messages.file is not None
    file = fixture.messages.file
    with pytest.raises(CannotLog, match=r"^the access log .*; the log of messages .* Is a directory$"):
        fixture.open(access=str(fixture.directory), websocket=str(fixture.directory))
    assert fixture.messages.file is file


# ---------------------------------------------------------------- both


def test_reopen_and_close(fixture: Fixture) -> None:
    paths = [fixture.directory / name for name in ("access.log", "websocket.log")]
    fixture.open(websocket=str(paths[1]))
    for path in paths:
        path.rename(path.with_suffix(".1"))
    fixture.logs.reopen()
    assert [path.exists() for path in paths] == [True, True]
    file = fixture.messages.file
    fixture.logs.close()
    assert "closed" in repr(fixture.wire.plane.access_log)
    assert "closed" in repr(file)
    fixture.logs.reopen()


def test_lost_lines_are_counted_over_all_logs(fixture: Fixture) -> None:
    fixture.open(access=str(fixture.directory / "first.log"), websocket=str(fixture.directory / "websocket.log"))
    fixture.wire.plane.access_log.unformatted = 3
    fixture.open(access=str(fixture.directory / "second.log"), websocket=str(fixture.directory / "websocket.log"))
    fixture.wire.plane.access_log.unformatted = 4
    assert fixture.messages.file is not None
    fixture.messages.file.lost_lines = 10
    assert fixture.logs.lost_lines == 17
    fixture.open(access="off")
    assert fixture.logs.lost_lines == 17


def test_lines_lost_on_the_standard_output_are_not_counted_twice(fixture: Fixture) -> None:
    fixture.open(access="-", websocket="-")
    fixture.output.lost_lines = 5
    assert fixture.logs.lost_lines == 5


def test_try_out(fixture: Fixture) -> None:
    """Whoever starts the daemon hears of it, when others will open them."""
    path = fixture.directory / "websocket.log"
    try_out(log_settings(websocket=str(path)), fixture.directory / "access.log", None, fixture.wire.reactor)
    assert (path.exists(), (fixture.directory / "access.log").exists()) == (True, True)
    try_out(log_settings(access="off"), UNUSED, None, fixture.wire.reactor)
    with pytest.raises(CannotLog, match="log of messages"):
        try_out(log_settings(access="off", websocket=str(fixture.directory)), UNUSED, None, fixture.wire.reactor)
