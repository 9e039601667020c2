"""``install-service`` and ``uninstall-service`` as commands: their options, what they say, and their exit status."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tests.systemd.recorded import PROGRAM, Commands
from twistedproxy.cli import installing
from twistedproxy.cli.installing import Machine, install_service, this_machine, uninstall_service
from twistedproxy.systemd.program import Program
from twistedproxy.systemd.steps import InstallationError

UNIT = "etc/systemd/system/pyproxy.service"
SOCKET = "etc/systemd/system/pyproxy.socket"
SETTINGS = "etc/twistedproxy/pyproxy.toml"


def no_program() -> Program:
    raise InstallationError("there is no twistd")


class Shell:
    """Invokes the commands on a machine in ``root``."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.commands = Commands()
        self.is_root = True
        self.systemd = True
        self.program: Callable[[], Program] = lambda: PROGRAM
        monkeypatch.setattr(installing, "this_machine", self.machine)

    def machine(self) -> Machine:
        return Machine(
            root=self.root,
            environment={"HOME": "/me"},
            is_root=self.is_root,
            has_systemd=self.systemd,
            has_account=lambda name: False,
            run=self.commands,
            program=self.program,
        )

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())

    def install(self, *arguments: str) -> Result:
        return CliRunner().invoke(install_service, list(arguments))

    def uninstall(self, *arguments: str) -> Result:
        return CliRunner().invoke(uninstall_service, list(arguments))


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path, monkeypatch)


def test_there_and_back(shell: Shell) -> None:
    done = shell.install()
    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == "pyproxy is installed and started."
    assert f"wrote /{UNIT}" in done.output
    assert UNIT in shell.files()
    assert "systemctl enable --now pyproxy.service" in shell.commands.run
    done = shell.uninstall()
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "pyproxy is removed.")
    assert list(shell.root.iterdir()) == []
    done = shell.uninstall()
    assert done.exit_code == 0
    assert done.output == "Nothing is installed: there is no /var/lib/twistedproxy-install.json.\n"


@pytest.mark.parametrize("is_root", [True, False])
def test_for_a_user(shell: Shell, is_root: bool) -> None:
    shell.is_root = is_root
    done = shell.install(*(["--user"] if is_root else []), "--no-start")
    assert done.output.splitlines()[-1] == "pyproxy is installed."
    assert "me/.config/systemd/user/pyproxy.service" in shell.files()
    assert shell.commands.run[-1] == "systemctl --user enable pyproxy.service"
    assert shell.uninstall(*(["--user"] if is_root else [])).exit_code == 0
    assert shell.files() == []


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_system_is_roots(shell: Shell, command: str) -> None:
    shell.is_root = False
    done: Result = getattr(shell, command)("--system")
    assert done.exit_code == 1
    assert done.output.startswith("Error: only root can ")
    assert len(done.output.splitlines()) == 1
    # To look is everybody's.
    assert getattr(shell, command)("--system", "--dry-run").exit_code == 0


def test_dry_run(shell: Shell) -> None:
    done = shell.install("--dry-run", "--socket-activation", "--credential", "token:/etc/keys/token")
    assert done.exit_code == 0
    assert f"write /{UNIT} (0644): the service" in done.output
    assert "    LoadCredential=token:/etc/keys/token\n" in done.output
    assert "    ListenStream=127.0.0.1:8080\n" in done.output
    assert "run systemctl enable --now pyproxy.socket pyproxy.service: starts it now and at every boot" in done.output
    assert (shell.files(), shell.commands.run) == ([], [])
    shell.install()
    before = shell.files()
    done = shell.uninstall("--dry-run")
    assert f"remove /{SETTINGS}: the settings, in which nothing was changed" in done.output
    assert shell.files() == before


def test_settings_in_effect(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / SETTINGS).parent.mkdir(parents=True)
    (tmp_path / SETTINGS).write_text(
        'downstream.listen = ["tcp:80"]\nservice.drain_timeout = "10m"\nlog.access = "off"\n'
    )
    assert shell.install("--socket-activation").exit_code == 0
    assert "ListenStream=0.0.0.0:80\n" in (tmp_path / SOCKET).read_text()
    unit = (tmp_path / UNIT).read_text()
    assert "TimeoutStopSec=615\n" in unit
    assert "CapabilityBoundingSet=\n" in unit
    assert not (tmp_path / "etc/twistedproxy/pyproxy.d").exists()


def test_named_settings(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv/proxy.toml").write_text('downstream.listen = ["tcp:81"]\n')
    assert shell.install("--config", "/srv/proxy.toml").exit_code == 0
    unit = (tmp_path / UNIT).read_text()
    assert "pyproxy --config /srv/proxy.toml\n" in unit
    assert "CapabilityBoundingSet=CAP_NET_BIND_SERVICE\n" in unit


def test_without_systemd(shell: Shell) -> None:
    shell.systemd = False
    done = shell.install()
    assert done.exit_code == 0
    assert done.output.splitlines()[-3:] == [
        "Everything is written. There is no systemd that runs here, so this is left for you:",
        "    systemctl daemon-reload",
        "    systemctl enable --now pyproxy.service",
    ]
    assert shell.uninstall().exit_code == 0
    assert shell.files() == []


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (["--config", "/nowhere.toml"], None, "/nowhere.toml: cannot be read: No such file or directory"),
        ([], "[nothing]\n", ":1: nothing: unknown table"),
        ([], "[nothing]\n[more]\n", " (and 1 more: see twistd pyproxy --check)"),
        (["--socket-activation"], 'downstream.listen = ["tcp:0"]\n', "none of the endpoints in downstream.listen"),
        (["--credential", "token"], None, "--credential takes NAME:PATH with an absolute path, not 'token'"),
        (["--credential", "token:relative"], None, "--credential takes NAME:PATH"),
        (["--credential", "to ken:/a"], None, "--credential takes NAME:PATH"),
        (["--credential", "token:/a\nUser=root"], None, "control characters"),
    ],
)
def test_one_line_when_it_cannot(
    shell: Shell, tmp_path: Path, arguments: list[str], settings: str | None, message: str
) -> None:
    if settings is not None:
        (tmp_path / SETTINGS).parent.mkdir(parents=True)
        (tmp_path / SETTINGS).write_text(settings)
    before = shell.files()
    done = shell.install(*arguments)
    assert done.exit_code == 1
    assert message in done.output
    assert len(done.output.splitlines()) == 1
    assert shell.files() == before


def test_command_that_fails(shell: Shell) -> None:
    shell.commands.answers["systemctl enable"] = (1, "Failed to enable unit: no.\n")
    done = shell.install()
    assert done.exit_code == 1
    expected = "Error: systemctl enable --now pyproxy.service failed: Failed to enable unit: no."
    assert done.output.splitlines()[-1] == expected


def test_no_program(shell: Shell) -> None:
    shell.program = no_program
    done = shell.install()
    assert (done.exit_code, done.output) == (1, "Error: there is no twistd\n")


def test_something_in_the_way(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / UNIT).mkdir(parents=True)
    done = shell.install()
    assert (done.exit_code, len(done.output.splitlines())) == (1, 1)


@pytest.mark.parametrize("command", [install_service, uninstall_service])
def test_help_says_what_each_option_does(command: click.Command) -> None:
    text = CliRunner().invoke(command, ["--help"]).output
    assert str(command.help).splitlines()[0] in text
    for option in command.params:
        assert isinstance(option, click.Option)
        assert option.help
        assert option.opts[0] in text


def test_this_machine(tmp_path: Path) -> None:
    machine = this_machine()
    assert machine.run(["sh", "-c", "echo out; echo err >&2; exit 3"]) == (3, "out\nerr\n")
    assert machine.has_account("root")
    assert not machine.has_account("no such account")
    assert machine.layout(True).system
    assert not machine.layout(False).system
    assert machine.layout(None).system is machine.is_root
    with pytest.raises(FileNotFoundError):
        machine.run([str(tmp_path / "none")])


def test_reader_that_has_read_enough(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_text: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(click, "echo", gone)
    done = shell.install("--dry-run")
    assert (done.exit_code, done.output) == (1, "")
