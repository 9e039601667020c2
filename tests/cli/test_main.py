"""``pyproxyctl`` as a whole: its help, its completion, its ends, and what it costs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from tests.cli.api import API, answer
from tests.cli.samples import STATUS
from twistedproxy import __version__
from twistedproxy.cli.client import Client
from twistedproxy.cli.main import SHELLS, commands
from twistedproxy.cli.outcomes import EXIT_CODES

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("pyproxyctl")
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")


def all_commands(group: click.Group = commands, path: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from all_commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installed program."""
    return subprocess.run(
        [PROGRAM, *arguments], env=dict(os.environ) | environment, capture_output=True, text=True, timeout=50
    )


def test_help_names_every_command_and_code(run: Callable[..., Any]) -> None:
    ended = run("--help")
    assert (ended.code, ended.err) == (0, "")
    for name in commands.list_commands(click.Context(commands)):
        assert re.search(rf"^  {name} +\S", ended.out, re.MULTILINE)
    for code, meaning in EXIT_CODES:
        assert f"\n    {code}  {meaning}\n" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80
    assert run("-h").out == ended.out


def test_every_command_has_the_common_options_and_help(run: Callable[..., Any]) -> None:
    for path, command in all_commands():
        ended = run(*path.split(), "--help")
        assert ended.code == 0
        assert command.help
        missing = {"--json", "--socket", "--answer-timeout"} - set(re.findall(r"--[a-z-]+", ended.out))
        asks_nobody = path in ("completion", "install-service", "passwd", "uninstall-service")
        assert missing == ({"--json", "--socket", "--answer-timeout"} if asks_nobody else set()), path


def test_guide_has_every_command_and_code() -> None:
    section = GUIDE.partition("\n## pyproxyctl\n")[2].partition("\n## ")[0]
    for path, _ in all_commands():
        assert f"`{path.removesuffix(' list').removesuffix(' show')}" in section, path
    for code, _ in EXIT_CODES:
        assert f"| {code} |" in section


def test_version(run: Callable[..., Any]) -> None:
    assert run("--version").out == f"pyproxyctl, version {__version__}\n"


@pytest.mark.parametrize("arguments", [("nonsense",), ("--nonsense",), ("status", "stray"), ("completion", "csh")])
def test_wrong_usage(arguments: tuple[str, ...], run: Callable[..., Any]) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "Error: " in ended.err


def test_fault_of_its_own(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def status(_: Client) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Client, "status", status)
    ended = run("status")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("pyproxyctl: this is a fault of pyproxyctl itself; please report it")
    assert ended.err.endswith("ZeroDivisionError\n")


def test_program_that_is_installed(api: API) -> None:
    api.answers["GET", "/api/v1/status"] = answer(STATUS)
    ended = program("status")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("state        ready\n")


def test_other_character_sets(api: API) -> None:
    api.answers["POST", "/api/v1/reload"] = answer({"detail": "☃ é"})
    environment = dict(os.environ) | {"PYTHONIOENCODING": "latin1:strict"}
    ended = subprocess.run([PROGRAM, "reload"], env=environment, capture_output=True, timeout=50)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"\\u2603 \xe9\n", b"")


def test_reader_that_leaves(api: API) -> None:
    api.answers["GET", "/metrics"] = answer("line 1\n" * 100_000, kind="text/plain")
    ended = subprocess.run(
        ["bash", "-c", '"$0" metrics | head -n 1', PROGRAM], capture_output=True, text=True, timeout=50
    )
    assert (ended.stdout, ended.stderr) == ("line 1\n", "")


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_script(shell: str, run: Callable[..., Any], tmp_path: Path) -> None:
    ended = run("completion", shell)
    assert (ended.code, ended.err) == (0, "")
    assert f"_PYPROXYCTL_COMPLETE={shell}_complete" in ended.out
    assert "%(" not in ended.out
    for opening, closing in ("{}", "()", "[]"):
        assert ended.out.count(opening) == ended.out.count(closing)
    assert ended.out.count('"') % 2 == 0


def test_completion_script_for_bash_is_bash(run: Callable[..., Any]) -> None:
    script = run("completion", "bash").out
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True, timeout=50)
    assert (checked.returncode, checked.stderr) == (0, "")
    # What the shell calls when TAB is pressed.
    typed = f"""
        PATH={PROGRAM.parent}:$PATH
        {script}
        COMP_WORDS=(pyproxyctl se)
        COMP_CWORD=1
        _pyproxyctl_completion pyproxyctl
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "--norc", "-c", typed], capture_output=True, text=True, timeout=50)
    assert (done.stdout, done.stderr) == ("settings\n", "")


@pytest.mark.parametrize(
    ("shell", "words", "current", "expected"),
    [
        ("bash", "pyproxyctl log-level e", "2", "plain,error"),
        ("zsh", "pyproxyctl log-level e", "2", "plain\nerror\n_"),
        ("fish", "pyproxyctl log-level e", "e", "plain,error"),
        ("bash", "pyproxyctl connections --state t", "3", "plain,tunnel"),
        ("bash", "pyproxyctl connections cl", "2", "plain,close"),
        ("bash", "pyproxyctl settings apply x", "3", "file,x"),
        ("bash", "pyproxyctl completion f", "2", "plain,fish"),
    ],
)
def test_what_is_completed(
    shell: str, words: str, current: str, expected: str, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("_PYPROXYCTL_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", current)
    assert run().out.strip().startswith(expected)


def loaded(code: str, **environment: str) -> set[str]:
    """The packages that are loaded after ``code``."""
    ending = "import sys; print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    full = f"import atexit; atexit.register(lambda: exec({ending!r})); {code}"
    done = subprocess.run(
        [sys.executable, "-c", full], env=dict(os.environ) | environment, capture_output=True, text=True, timeout=50
    )
    return set(done.stderr.split())


def test_help_loads_little() -> None:
    """It is also what completion loads, each time that TAB is pressed."""
    packages = loaded("from twistedproxy.cli.main import main; main(['--help'])")
    assert "click" in packages
    assert packages & {"twisted", "rich", "msgspec", "http", "asyncio"} == set()


def test_no_command_loads_twisted(api: API) -> None:
    api.answers["GET", "/api/v1/status"] = answer(STATUS)
    packages = loaded("from twistedproxy.cli.main import main; main(['status'])")
    assert "msgspec" in packages
    assert packages & {"twisted", "rich"} == set()


def test_help_takes_little_time() -> None:
    """CPU time, which a busy machine does not stretch much; the best of three."""

    def taken() -> float:
        before = os.times()
        assert program("--help").returncode == 0
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(taken() for _ in range(3)) < 0.25
