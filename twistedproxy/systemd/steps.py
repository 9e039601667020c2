"""The steps of an installation as data, each with its reason; and taking them, one after the other.

Theory of operation. A plan is made whole before anything is done, so that it can be shown instead. Each step can be
taken again where it was taken already: a file with the right content is left alone, and what is gone is not missed. A
file appears whole or not at all, because it is written beside its place and then renamed.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from twistedproxy.replacing import replace_content
from twistedproxy.systemd.layout import under


class InstallationError(Exception):
    """The proxy cannot be installed or removed like this. The text is one line that says why."""


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Make a directory, where there is none."""

    path: Path
    why: str
    mode: int = 0o755


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Write a file, over one that is there."""

    path: Path
    content: str
    why: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a file or a link. ``whole`` removes a directory with all that is in it, ``empty`` only an empty one."""

    path: Path
    why: str
    whole: bool = False
    empty: bool = False


@dataclass(frozen=True, slots=True)
class RunCommand:
    """Run a command. One that is not ``required`` may fail. One of ``systemd``'s waits until there is a systemd."""

    command: tuple[str, ...]
    why: str
    required: bool = True
    systemd: bool = False

    def __str__(self) -> str:
        return shlex.join(self.command)


@dataclass(frozen=True, slots=True)
class Note:
    """Something to tell the operator."""

    text: str


Step: TypeAlias = MakeDirectory | WriteFile | Remove | RunCommand | Note

Run: TypeAlias = Callable[[Sequence[str]], tuple[int, str]]
"""Runs a command: its exit status, and what it said. FileNotFoundError when there is no such command."""


def described(step: Step) -> str:
    """The step as one line, before it is taken."""
    match step:
        case MakeDirectory():
            return f"make {step.path}/ ({step.mode:04o}): {step.why}"
        case WriteFile():
            return f"write {step.path} ({step.mode:04o}): {step.why}"
        case Remove():
            return f"remove {step.path}{'/' if step.whole or step.empty else ''}: {step.why}"
        case RunCommand():
            return f"run {step}: {step.why}"
        case Note():
            return f"note: {step.text}"


def shown(steps: Sequence[Step]) -> Iterator[str]:
    """The lines of a plan that is only to be looked at, with the content of its files."""
    for step in steps:
        yield described(step)
        if isinstance(step, WriteFile):
            yield from ("    " + line if line else "" for line in step.content.splitlines())


def take(
    steps: Sequence[Step], *, run: Run, say: Callable[[str], object], root: Path = Path("/"), systemd: bool = True
) -> list[RunCommand]:
    """Take the steps in their order, telling ``say`` of each; the commands that could not be run yet.

    Those are systemd's where there is no ``systemd`` that runs, or no such command. ``root`` is where the file system
    begins. Raises `InstallationError` at the first step that fails; taking them all again is safe.
    """
    left: list[RunCommand] = []
    for step in steps:
        try:
            match step:
                case MakeDirectory():
                    _make_directory(step, under(root, step.path), say)
                case WriteFile():
                    _write_file(step, under(root, step.path), say)
                case Remove():
                    _remove(step, under(root, step.path), say)
                case RunCommand():
                    if not _run_command(step, run, say, systemd):
                        left.append(step)
                case Note():
                    say(step.text)
        except OSError as error:
            raise InstallationError(f"cannot {described(step).partition(': ')[0]}: {error.strerror}") from error
    return left


def _make_directory(step: MakeDirectory, path: Path, say: Callable[[str], object]) -> None:
    if path.is_dir():
        return
    path.mkdir()
    # Whatever the umask is.
    path.chmod(step.mode)
    say(f"made {step.path}/")


def _write_file(step: WriteFile, path: Path, say: Callable[[str], object]) -> None:
    content = step.content.encode()
    if _has(path, content, step.mode):
        say(f"unchanged {step.path}")
        return
    replace_content(path, content, lambda file: os.fchmod(file, step.mode), prefix=f".{path.name}.")
    say(f"wrote {step.path}")


def _has(path: Path, content: bytes, mode: int) -> bool:
    try:
        found = path.lstat()
        return stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == mode and path.read_bytes() == content
    except OSError:
        return False


def _remove(step: Remove, path: Path, say: Callable[[str], object]) -> None:
    if not os.path.lexists(path):
        return
    if step.empty:
        if any(path.iterdir()):
            say(f"kept {step.path}/: it is not empty")
            return
        path.rmdir()
    elif step.whole and path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    say(f"removed {step.path}{'/' if step.whole or step.empty else ''}")


def _run_command(step: RunCommand, run: Run, say: Callable[[str], object], systemd: bool) -> bool:
    if step.systemd and not systemd:
        return False
    try:
        status, output = run(step.command)
    except FileNotFoundError:
        if step.required:
            return False
        status, output = 127, ""
    if status == 0:
        say(f"ran {step}")
    elif step.required:
        last = (output.strip().splitlines() or [f"exit status {status}"])[-1]
        raise InstallationError(f"{step} failed: {last}")
    return True
