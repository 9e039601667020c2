"""Steps: what each does, that it can be done twice, and what is said of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.systemd.recorded import Commands
from twistedproxy.systemd.steps import (
    InstallationError,
    MakeDirectory,
    Note,
    Remove,
    RunCommand,
    Step,
    WriteFile,
    described,
    shown,
    take,
)

DIRECTORY = MakeDirectory(Path("/etc"), "for settings", 0o750)
FILE = WriteFile(Path("/etc/a"), "one\n\ntwo\n", "the settings", 0o640)
RELOAD = RunCommand(("systemctl", "daemon-reload"), "lets systemd read the units", systemd=True)


def taken(root: Path, *steps: Step, commands: Commands | None = None, systemd: bool = True) -> list[str]:
    said: list[str] = []
    left = take(steps, run=commands or Commands(), say=said.append, root=root, systemd=systemd)
    return [*said, *(f"left {command}" for command in left)]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directories_and_files(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        assert taken(tmp_path, DIRECTORY, FILE) == ["made /etc/", "wrote /etc/a"]
    finally:
        os.umask(old)
    assert (tmp_path / "etc/a").read_text() == FILE.content
    assert (mode(tmp_path / "etc"), mode(tmp_path / "etc/a")) == (0o750, 0o640)
    before = (tmp_path / "etc/a").stat()
    assert taken(tmp_path, DIRECTORY, FILE) == ["unchanged /etc/a"]
    assert (tmp_path / "etc/a").stat() == before
    (tmp_path / "etc/a").chmod(0o666)
    assert taken(tmp_path, FILE) == ["wrote /etc/a"]
    assert mode(tmp_path / "etc/a") == 0o640


def test_file_appears_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reads the old one goes on reading it; and what fails leaves it, and nothing else."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/a").write_text("old")
    with (tmp_path / "etc/a").open() as reader:
        taken(tmp_path, FILE)
        assert reader.read() == "old"

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InstallationError) as raised:
        taken(tmp_path, WriteFile(FILE.path, "new", "x"))
    assert str(raised.value) == "cannot write /etc/a (0644): No space left on device"
    assert os.listdir(tmp_path / "etc") == ["a"]
    assert (tmp_path / "etc/a").read_text() == FILE.content


def test_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "elsewhere").write_text(FILE.content)
    (tmp_path / "etc/a").symlink_to(tmp_path / "elsewhere")
    assert taken(tmp_path, WriteFile(FILE.path, "new", "x")) == ["wrote /etc/a"]
    assert not (tmp_path / "etc/a").is_symlink()
    assert (tmp_path / "elsewhere").read_text() == FILE.content


def test_removing(tmp_path: Path) -> None:
    taken(tmp_path, DIRECTORY, FILE)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").touch()
    (tmp_path / "etc/link").symlink_to(tmp_path / "outside")
    (tmp_path / "etc/dangling").symlink_to("/nowhere")
    whole = Remove(Path("/etc/link"), "x", whole=True)
    empty = Remove(Path("/etc"), "x", empty=True)
    assert taken(tmp_path, whole, Remove(Path("/etc/dangling"), "x")) == ["removed /etc/link/", "removed /etc/dangling"]
    assert (tmp_path / "outside/file").exists()
    assert taken(tmp_path, empty) == ["kept /etc/: it is not empty"]
    assert taken(tmp_path, Remove(FILE.path, "x"), empty) == ["removed /etc/a", "removed /etc/"]
    assert taken(tmp_path, Remove(FILE.path, "x"), empty, whole) == []
    taken(tmp_path, DIRECTORY, FILE)
    assert taken(tmp_path, Remove(Path("/etc"), "x", whole=True)) == ["removed /etc/"]


def test_commands(tmp_path: Path) -> None:
    commands = Commands()
    commands.answers = {"false": (1, "first\nlast\n"), "quiet": (3, "")}
    assert taken(tmp_path, RELOAD, commands=commands) == ["ran systemctl daemon-reload"]
    assert taken(tmp_path, RunCommand(("false",), "x", required=False), commands=commands) == []
    for command, why in (("false", "last"), ("quiet", "exit status 3")):
        with pytest.raises(InstallationError) as raised:
            taken(tmp_path, RunCommand((command, "a b"), "x"), commands=commands)
        assert str(raised.value) == f"{command} 'a b' failed: {why}"


@pytest.mark.parametrize(("systemd", "missing"), [(False, []), (True, ["systemctl"])])
def test_commands_that_cannot_be_run_are_left(tmp_path: Path, systemd: bool, missing: Sequence[str]) -> None:
    commands = Commands()
    commands.missing.update(missing)
    gone = RunCommand(("systemctl", "stop"), "x", required=False)
    said = taken(tmp_path, RELOAD, gone, Note("that is all"), commands=commands, systemd=systemd)
    assert said[-1] == "left systemctl daemon-reload"
    assert "that is all" in said


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (DIRECTORY, "make /etc/ (0750): for settings"),
        (FILE, "write /etc/a (0640): the settings"),
        (Remove(Path("/a"), "gone"), "remove /a: gone"),
        (Remove(Path("/a"), "gone", whole=True), "remove /a/: gone"),
        (RELOAD, "run systemctl daemon-reload: lets systemd read the units"),
        (Note("so it is"), "note: so it is"),
    ],
)
def test_described(step: Step, expected: str) -> None:
    assert described(step) == expected


def test_shown() -> None:
    assert list(shown([FILE])) == ["write /etc/a (0640): the settings", "    one", "", "    two"]


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    (tmp_path / "etc").touch()
    with pytest.raises(InstallationError) as raised:
        taken(tmp_path, DIRECTORY)
    assert str(raised.value) == "cannot make /etc/ (0750): File exists"
