"""The socket's file: whose it is, in whose place it comes, and that nobody else's is removed."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.protocol import Factory, Protocol

from twistedproxy.control.socket_file import LONGEST_PATH, CannotOpen, SocketFile

FACTORY = Factory.forProtocol(Protocol)
FACTORY.noisy = False

Open = Callable[..., SocketFile]

LISTENS = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("listens", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory whose path is short enough, which pytest's need not be."""
    made = Path(tempfile.mkdtemp())
    yield made
    shutil.rmtree(made)


@pytest.fixture
def open_at(running_reactor: Any, directory: Path) -> Iterator[Open]:
    """Opens socket files, and closes them at the end, while the directory is there."""
    opened: list[SocketFile] = []

    def open_one(path: Path, *, replace: bool = False) -> SocketFile:
        opened.append(SocketFile(running_reactor, str(path), FACTORY, replace=replace))
        return opened[-1]

    yield open_one
    for one in opened:
        pytest_twisted.blockon(one.close())


def accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def mode(path: Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest_twisted.ensureDeferred
async def test_opens_and_closes(open_at: Open, directory: Path) -> None:
    path = directory / "control.sock"
    opened = open_at(path)
    assert repr(opened) == f"<SocketFile {path}>"
    assert accepts(path)
    assert mode(path) == 0o600
    assert os.listdir(directory) == ["control.sock"]
    await opened.close()
    assert os.listdir(directory) == []


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_nobody_else_could_connect_at_any_moment(
    open_at: Open, directory: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    """It does not listen before it is its owner's, nor is it at its path before it listens."""
    seen: list[Any] = []
    listen, rename = socket.socket.listen, os.rename

    def listens(listener: socket.socket, *arguments: Any) -> None:
        bound = Path(listener.getsockname())
        seen.append(("listens", bound.parent, mode(bound), accepts(bound)))
        listen(listener, *arguments)

    def renames(old: str, new: str) -> None:
        seen.append(("renames", Path(new), mode(Path(old)), accepts(Path(old))))
        rename(old, new)

    monkeypatch.setattr(socket.socket, "listen", listens)
    monkeypatch.setattr(os, "rename", renames)
    path = directory / "control.sock"
    before = os.umask(umask)
    try:
        open_at(path)
    finally:
        os.umask(before)
    assert seen == [("listens", directory, 0o600, False), ("renames", path, 0o600, True)]
    assert mode(path) == 0o600


def test_directory_is_made_for_the_owner(open_at: Open, directory: Path) -> None:
    path = directory / "run" / "control.sock"
    open_at(path)
    assert mode(path.parent) == 0o700
    assert accepts(path)


def test_directory_that_is_there_is_left_as_it_is(open_at: Open, directory: Path) -> None:
    directory.chmod(0o755)
    open_at(directory / "control.sock")
    assert mode(directory) == 0o755


def test_socket_that_a_dead_daemon_left(open_at: Open, directory: Path) -> None:
    path = directory / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    assert not accepts(path)
    open_at(path)
    assert accepts(path)
    assert os.listdir(directory) == ["control.sock"]


def test_socket_of_a_daemon_that_runs(open_at: Open, directory: Path) -> None:
    path = directory / "control.sock"
    command = (sys.executable, "-c", LISTENS, str(path))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"listens\n"
        with pytest.raises(CannotOpen) as raised:
            open_at(path)
        other.communicate()
    assert str(raised.value) == f"cannot open the control socket {path}: process {other.pid} listens there"
    assert os.listdir(directory) == ["control.sock"]


def test_socket_of_a_daemon_that_is_busy(open_at: Open, directory: Path) -> None:
    path = directory / "control.sock"
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as client:
        other.bind(str(path))
        other.listen(0)
        client.connect(str(path))
        with pytest.raises(CannotOpen, match="a process that is busy listens there"):
            open_at(path)


@pytest_twisted.ensureDeferred
async def test_another_takes_its_place(open_at: Open, directory: Path) -> None:
    """As the next version does; what the first has left behind is not its any more."""
    path = directory / "control.sock"
    first = open_at(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        second = open_at(path, replace=True)
        assert os.listdir(directory) == ["control.sock"]
        await first.close()
    assert accepts(path)
    await second.close()
    assert os.listdir(directory) == []


@pytest_twisted.ensureDeferred
async def test_file_that_somebody_has_removed(open_at: Open, directory: Path) -> None:
    path = directory / "control.sock"
    opened = open_at(path)
    path.unlink()
    await opened.close()


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("elsewhere")])
@pytest.mark.parametrize("replace", [False, True])
def test_something_else_is_there(open_at: Open, directory: Path, make: Callable[[Path], None], replace: bool) -> None:
    path = directory / "control.sock"
    make(path)
    with pytest.raises(CannotOpen) as raised:
        open_at(path, replace=replace)
    assert str(raised.value) == f"cannot open the control socket {path}: something else than a socket is there"
    assert os.listdir(directory) == ["control.sock"]


def test_longest_path(open_at: Open, directory: Path) -> None:
    room = LONGEST_PATH - len(f"{directory}/")
    path = directory / ("s" * room)
    open_at(path)
    assert accepts(path)


@pytest.mark.parametrize("name", ["s", "é"])
def test_path_that_is_too_long(open_at: Open, directory: Path, name: str) -> None:
    room = LONGEST_PATH - len(f"{directory}/")
    path = directory / (name * (room // len(name.encode()) + 1))
    length = len(os.fsencode(path))
    with pytest.raises(CannotOpen) as raised:
        open_at(path)
    assert str(raised.value) == (
        f"cannot open the control socket {path}: "
        f"a path of {length} bytes is too long for a socket, which has room for 107"
    )
    assert os.listdir(directory) == []


def test_directory_that_cannot_be_made(open_at: Open, directory: Path) -> None:
    (directory / "run").touch()
    path = directory / "run" / "control.sock"
    with pytest.raises(CannotOpen, match=r"^cannot open the control socket .*: File exists$"):
        open_at(path)


# Twisted leaves a socket that it could not bind to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_directory_that_takes_no_files(open_at: Open) -> None:
    with pytest.raises(CannotOpen) as raised:
        open_at(Path("/proc/control.sock"))
    assert str(raised.value) == "cannot open the control socket /proc/control.sock: No such file or directory"


def test_nothing_is_left_when_it_cannot_have_its_name(
    open_at: Open, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(old: str, new: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", refuses)
        with pytest.raises(CannotOpen, match="Operation not permitted"):
            open_at(directory / "control.sock")
    assert os.listdir(directory) == []


def test_it_is_the_daemons_after_the_fork(open_at: Open, directory: Path) -> None:
    """It goes on listening, and the system knows whose it is."""
    path = directory / "control.sock"
    opened = open_at(path)
    opened.own()
    assert accepts(path)
    with pytest.raises(CannotOpen, match=f": process {os.getpid()} listens there$"):
        open_at(path)
