"""What the daemon was given, and what it gives to others."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from twistedproxy.places import DIRECTORY
from twistedproxy.record.log_file import LogFile
from twistedproxy.record.operational_log import OperationalLog, to_file
from twistedproxy.surroundings import Surroundings


def somebody_elses_observer() -> None:
    """As ``--logger`` names one."""


def surroundings(directory: Path, log: str | None = None, **more: Any) -> Surroundings:
    made = None
    if log is not None:
        file = LogFile(log, None)  # type: ignore[arg-type]  # nothing is written
        made = OperationalLog(to_file(file), "info", None, file)  # type: ignore[arg-type]  # as above
    return Surroundings(
        operational_log=made,
        standard_output=None,
        access_log_path=directory / "state" / DIRECTORY / "access.log",
        control_socket=directory / "run" / DIRECTORY / "control.sock",
        state_directory=directory / "state" / DIRECTORY,
        descriptors=100,
        **more,
    )


def test_given_nothing(tmp_path: Path) -> None:
    one, other = surroundings(tmp_path), surroundings(tmp_path)
    assert (one.notifier.enabled, one.handover, one.inherited, one.in_foreground) == (False, None, None, True)
    assert (one.twistd, one.arguments, one.environment, one.notifications) == ({}, (), {}, {})
    assert one.twistd is not other.twistd


# ---------------------------------------------------------------- the account


class Owners:
    """Who gets what, instead of getting it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, user: int = 0) -> None:
        self.given: dict[str, tuple[int, int]] = {}
        monkeypatch.setattr(os, "geteuid", lambda: user)
        monkeypatch.setattr(os, "chown", lambda path, user, group: self.given.update({path: (user, group)}))


@pytest.mark.parametrize(
    ("twistd", "expected"),
    [
        ({"uid": 7, "gid": 8}, (7, 8)),
        ({"gid": 8}, (-1, 8)),
        ({"uid": os.getuid()}, (os.getuid(), pwd.getpwuid(os.getuid()).pw_gid)),
    ],
)
def test_account_gets_what_it_has_to_open_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, twistd: dict[str, int], expected: tuple[int, int]
) -> None:
    owners = Owners(monkeypatch)
    log, access = tmp_path / "proxy.log", tmp_path / "access.log"
    log.touch()
    access.touch()
    made = surroundings(tmp_path, str(log), twistd=twistd)
    made.give_to_account([str(access), "-", "off", str(tmp_path / "none")])
    paths = [tmp_path / "run" / DIRECTORY, tmp_path / "state" / DIRECTORY, access, log]
    assert owners.given == {str(path): expected for path in paths}
    assert (tmp_path / "run" / DIRECTORY).stat().st_mode & 0o777 == 0o750


def test_only_directories_of_its_own_are_given_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owners = Owners(monkeypatch)
    made = surroundings(tmp_path, twistd={"uid": 7, "gid": 8})
    made.control_socket = tmp_path / "control.sock"
    made.access_log_path = "-"
    made.state_directory = tmp_path / "state"
    made.give_to_account([])
    assert owners.given == {}


def test_state_is_given_away_wherever_the_logs_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate authority is made there, when it is asked for."""
    owners = Owners(monkeypatch)
    made = surroundings(tmp_path, twistd={"uid": 7, "gid": 8})
    made.access_log_path = "-"
    made.give_to_account([])
    assert owners.given == {str(tmp_path / room / DIRECTORY): (7, 8) for room in ("run", "state")}


@pytest.mark.parametrize(("user", "twistd"), [(1000, {"uid": 7, "gid": 8}), (0, {}), (0, {"uid": None, "gid": None})])
def test_nothing_is_given_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, twistd: dict[str, Any]
) -> None:
    owners = Owners(monkeypatch, user)
    surroundings(tmp_path, twistd=twistd).give_to_account([str(tmp_path)])
    assert owners.given == {}


# ---------------------------------------------------------------- other processes


@pytest.mark.parametrize("in_foreground", [True, False])
def test_where_workers_log(tmp_path: Path, in_foreground: bool) -> None:
    path = "-" if in_foreground else str(tmp_path / "proxy.log")
    made = surroundings(tmp_path, path, in_foreground=in_foreground, twistd={"prefix": "proxy"})
    assert made.log_options() == {"nodaemon": int(in_foreground), "logfile": path, "syslog": 0, "prefix": "proxy"}


def test_workers_log_to_syslog(tmp_path: Path) -> None:
    made = surroundings(tmp_path, twistd={"syslog": True, "prefix": "proxy"}, in_foreground=False)
    assert made.log_options() == {"nodaemon": 0, "logfile": None, "syslog": 1, "prefix": "proxy"}


@pytest.mark.parametrize(
    ("log", "twistd", "expected"),
    [
        (None, {}, []),
        ("/var/log/proxy.log", {}, ["--logfile=/var/log/proxy.log"]),
        ("-", {"reactor": "poll"}, ["--logfile=-", "--reactor=poll"]),
        (None, {"syslog": True, "prefix": "proxy"}, ["--syslog", "--prefix=proxy"]),
        (
            None,
            {"logger": somebody_elses_observer, "syslog": True},
            [f"--logger={__name__}.somebody_elses_observer"],
        ),
    ],
    ids=["nothing", "a file", "standard output", "syslog", "an observer"],
)
def test_what_a_successor_is_told(tmp_path: Path, log: str | None, twistd: dict[str, Any], expected: list[str]) -> None:
    made = surroundings(tmp_path, log, twistd=twistd, arguments=["--set", "log.level=debug"])
    assert made.successor_arguments() == [
        *("--nodaemon", "--pidfile=", *expected, "pyproxy", "--set", "log.level=debug"),
    ]
