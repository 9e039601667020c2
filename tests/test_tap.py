"""The options of ``twistd pyproxy``, and the service that they ask for."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.application.service import IServiceMaker
from twisted.python.usage import UsageError
from zope.interface.verify import verifyObject

from twistedproxy import tap
from twistedproxy.record.access_log import AccessLog
from twistedproxy.service import ProxyService
from twistedproxy.settings.problems import SettingsError
from twistedproxy.tap import Options, makeService

LOOPBACK = "tcp:0:interface=127.0.0.1"


@pytest.fixture(autouse=True)
def nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings and state in a directory of the test's own, and the limit of descriptors as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONFIGURATION_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    for name in [name for name in os.environ if name.startswith("PYPROXY_")]:
        monkeypatch.delenv(name)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def options(*arguments: str, **twistd: object) -> Options:
    """The options, as twistd hands them over with its own."""
    made = Options()
    made.parent = twistd
    made.parseOptions(list(arguments))
    return made


def settings(*arguments: str) -> Any:
    return options(*arguments).loaded.settings


# ---------------------------------------------------------------- the options


def test_nothing_said() -> None:
    made = options()
    assert made["config"] is None
    assert made.loaded.settings.downstream.listen == ("tcp:8080:interface=127.0.0.1",)
    assert set(made.loaded.sources.values()) == {"default"}


def test_listen_goes_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "pyproxy.toml").write_text('downstream.listen = ["tcp:1"]\nupstream.max_idle = 5\n')
    made = settings("--listen", LOOPBACK, "--listen", r"tcp6:0:interface=\:\:1")
    assert made.downstream.listen == (LOOPBACK, r"tcp6:0:interface=\:\:1")
    assert made.upstream.max_idle == 5


@pytest.mark.parametrize("endpoint", ["unix:it's.sock", 'unix:a"b.sock', "unix:a'''b.sock", r"unix:a\\b.sock"])
def test_listen_takes_any_text(endpoint: str) -> None:
    assert settings("--listen", endpoint).downstream.listen == (endpoint,)


def test_set() -> None:
    made = settings(
        "--set", "upstream.connect_timeout = 3s", "--set", "access.clients=all", "--set", "upstream.connect_timeout=4"
    )
    assert made.upstream.connect_timeout == 4.0
    assert made.access.clients == ("all",)


def test_set_without_a_value() -> None:
    with pytest.raises(UsageError, match=r"--set takes table\.key=value, not 'access\.clients'"):
        options("--set", "access.clients")


def test_set_of_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        options("--set", "access.clint=all")
    assert raised.value.code == 1
    assert capsys.readouterr().err.startswith("--set: access.clint: unknown key")


def test_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[forwarding]\nvia = "mine"\n')
    made = options("--config", "mine.toml")
    assert made.sources.path == str(file)
    assert made.loaded.settings.forwarding.via == "mine"
    # A daemon goes elsewhere, and reads it again.
    monkeypatch.chdir("/")
    file.write_text('[forwarding]\nvia = "changed"\n')
    assert made.load().settings.forwarding.via == "changed"


def test_config_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        options("-c", "nowhere.toml")
    assert raised.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith(f"{tmp_path / 'nowhere.toml'}: ")
    assert error.count("\n") == 1


def test_first_file_is_found_by_a_reload_and_missed_after(tmp_path: Path) -> None:
    made = options()
    file = tmp_path / "pyproxy.toml"
    file.write_text('[forwarding]\nvia = "first"\n')
    assert made.load().settings.forwarding.via == "first"
    file.unlink()
    # Falling back to the defaults would let go of whatever the file forbade.
    with pytest.raises(SettingsError):
        made.load()


def test_drop_ins_and_variables_go_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Also where there is no file.
    (tmp_path / "pyproxy.d").mkdir()
    (tmp_path / "pyproxy.d" / "a.toml").write_text("upstream.max_idle = 1\nupstream.max_fields = 1\n")
    monkeypatch.setenv("PYPROXY_UPSTREAM_MAX_FIELDS", "2")
    monkeypatch.setenv("PYPROXY_DOWNSTREAM_LISTEN", "tcp:1")
    made = options("--listen", LOOPBACK)
    upstream = made.loaded.settings.upstream
    assert (upstream.max_idle, upstream.max_fields) == (1, 2)
    assert made.loaded.settings.downstream.listen == (LOOPBACK,)
    assert made.loaded.files == (str(tmp_path / "pyproxy.d" / "a.toml"),)
    # A reload sees new files, but goes by the environment of the start.
    (tmp_path / "pyproxy.toml").write_text("upstream.max_idle = 3\nlog.level = 'warn'\n")
    (tmp_path / "pyproxy.d" / "a.toml").unlink()
    monkeypatch.setenv("PYPROXY_UPSTREAM_MAX_FIELDS", "4")
    again = made.load().settings
    assert (again.upstream.max_idle, again.upstream.max_fields, again.log.level) == (3, 2, "warn")


def test_drop_ins_of_a_named_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text("")
    (tmp_path / "mine.d").mkdir()
    (tmp_path / "mine.d" / "a.toml").write_text("forwarding.via = 'a'")
    made = options("--config", "mine.toml")
    monkeypatch.chdir("/")
    assert made.load().settings.forwarding.via == made.loaded.settings.forwarding.via == "a"


def test_candidate(tmp_path: Path) -> None:
    (tmp_path / "pyproxy.toml").write_text("forwarding.via = 'file'")
    made = options("--set", "log.level=warn")
    loaded = made.load("forwarding.via = 'candidate'")
    assert (loaded.settings.forwarding.via, loaded.settings.log.level) == ("candidate", "warn")
    assert made.load().settings.forwarding.via == "file"


def test_problems_of_all_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pyproxy.toml").write_text("[log]\nlevl = 1\n")
    (tmp_path / "pyproxy.d").mkdir()
    (tmp_path / "pyproxy.d" / "a.toml").write_text("\nx = 1")
    monkeypatch.setenv("PYPROXY_TUNNEL_SPLICE", "perhaps")
    with pytest.raises(SystemExit) as raised:
        options("--set", "y=1")
    assert raised.value.code == 1
    assert capsys.readouterr().err.splitlines() == [
        f'{tmp_path}/pyproxy.toml:2: log.levl: unknown key (did you mean "level"?)',
        f"{tmp_path}/pyproxy.d/a.toml:2: x: unknown key",
        'PYPROXY_TUNNEL_SPLICE: tunnel.splice: expected true or false, got "perhaps"',
        "--set: y: unknown key",
    ]


def test_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        options("--check")
    assert raised.value.code == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "The settings are valid (no settings file)."
    assert second == "It listens on port 8080 of 127.0.0.1; only this machine can reach it."
    (tmp_path / "pyproxy.toml").write_text("")
    with pytest.raises(SystemExit):
        options("--check")
    assert capsys.readouterr().out.startswith(f"The settings are valid ({tmp_path / 'pyproxy.toml'}).\n")
    (tmp_path / "pyproxy.d").mkdir()
    (tmp_path / "pyproxy.d" / "a.toml").write_text("")
    monkeypatch.setenv("PYPROXY_PORT", "tcp://10.0.0.1:8080")
    with pytest.raises(SystemExit):
        options("--check")
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first == f"The settings are valid ({tmp_path}/pyproxy.toml, {tmp_path}/pyproxy.d/a.toml)."
    assert last == "warning: the variable PYPROXY_PORT is ignored: no key has that name."


def test_print_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        options("--print-settings", "--set", "log.format=json")
    assert raised.value.code == 0
    printed = capsys.readouterr().out
    assert '\nformat = "json"  # --set\n' in printed
    (tmp_path / "pyproxy.toml").write_text(printed)
    assert settings() == settings("--set", "log.format=json")


def test_twistd_knows_it() -> None:
    from twisted.plugin import getPlugins

    (maker,) = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "pyproxy"]
    assert verifyObject(IServiceMaker, maker)
    assert maker.options is Options
    assert maker.makeService is makeService


# ---------------------------------------------------------------- the service


@pytest_twisted.async_yield_fixture
async def services(running_reactor: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The services that a test makes, or fails to; stopped at the end."""
    made: list[Any] = []

    class Noted(ProxyService):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            self.heeded_before: bool | None = None
            made.append(self)

        def heed_signals(self) -> None:
            # Those of the tests' own process are not its.
            self.heeded_before = not self._listeners.ports

    monkeypatch.setattr(tap, "ProxyService", Noted)
    yield made
    for service in made:
        await service.stopService()
        if service.surroundings.operational_log is not None:
            service.surroundings.operational_log.close()


def made_of(*arguments: str, **twistd: object) -> Any:
    return makeService(options("--listen", LOOPBACK, *arguments, **twistd))


def test_daemon(services: list[Any], tmp_path: Path) -> None:
    service = made_of(nodaemon=0)
    assert isinstance(service, ProxyService)
    # Before it forks, so that whoever starts it sees what is wrong.
    with socket.create_connection(("127.0.0.1", service.addresses()[0].port)):
        pass
    # And whoever finds it there may end it.
    assert service.heeded_before
    assert (tmp_path / "state" / "access.log").exists()
    assert (tmp_path / "twistd.log").exists()


def test_foreground(services: list[Any], tmp_path: Path) -> None:
    service = made_of(nodaemon=1)
    log = service.workforce.local.plane.access_log
    assert isinstance(log, AccessLog)
    assert "<LogFile - " in repr(log)
    assert list(tmp_path.iterdir()) == []


def test_logger_of_another(services: list[Any], tmp_path: Path) -> None:
    service = made_of("--set", "log.access=off", nodaemon=0, logger="theirs")
    assert service.surroundings.operational_log is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "twistd", "line"),
    [
        (("--set", "log.access=-"), {}, "pyproxy: a daemon has no standard output: let log.access name a file"),
        (
            ("--set", "log.access=/proc/none/log"),
            {},
            "pyproxy: the access log /proc/none/log cannot be opened: No such",
        ),
        ((), {"logfile": "/proc/none/log"}, "the log cannot be opened: "),
        ((), {"logfile": "-"}, "the log cannot be opened: a daemon has no standard output"),
        (("--listen", "tcp:PORT:interface=127.0.0.1"), {}, "pyproxy: cannot listen on tcp:PORT:interface=127.0.0.1: "),
    ],
    ids=["no standard output", "access log", "log", "log on standard output", "port"],
)
def test_what_cannot_be_had_is_one_line(
    services: list[Any], arguments: tuple[str, ...], twistd: dict[str, object], line: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        arguments = tuple(argument.replace("PORT", port) for argument in arguments)
        with pytest.raises(SystemExit) as raised:
            made_of(*arguments, nodaemon=0, **twistd)
    text = str(raised.value)
    assert text.startswith(line.replace("PORT", port))
    assert "\n" not in text


# ---------------------------------------------------------------- for a successor


def test_what_a_successor_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings file by its whole name, for this process changes its directory; and where the service manager is."""
    monkeypatch.setattr(
        tap, "starting_environment", lambda _: {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_PID": "1", "A": "b"}
    )
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/n")
    monkeypatch.setenv("LISTEN_FDS", "1")
    (tmp_path / "my.toml").touch()
    made = tap._surroundings(options("-c", "my.toml", "--set", "log.level=debug", nodaemon=True), None)
    assert made.arguments == ["-c", "my.toml", "--set", "log.level=debug", f"--config={tmp_path / 'my.toml'}"]
    assert options(*made.arguments).sources.path == str(tmp_path / "my.toml")
    assert made.notifications == {"NOTIFY_SOCKET": "/run/n"}
    assert not {"NOTIFY_SOCKET", "LISTEN_FDS"} & made.environment.keys()


def test_file_that_was_not_named_may_be_missing(tmp_path: Path) -> None:
    assert tap._surroundings(options("--set", "log.level=debug", nodaemon=True), None).arguments == [
        *("--set", "log.level=debug"),
    ]
