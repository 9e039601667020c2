"""The doors on real sockets: who may do what where, what happens when the settings change, and the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue

from twistedproxy.control.door import CannotOpen, ControlDoor

LOOPBACK = "tcp:0:interface=127.0.0.1"
OTHER = "tcp:0:interface=127.0.0.2"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory whose path is short enough for a socket."""
    made = Path(tempfile.mkdtemp())
    yield made
    shutil.rmtree(made)


@pytest.fixture
def path(directory: Path) -> str:
    """Where the socket is."""
    return str(directory / "control.sock")


@pytest.fixture
def door(running_reactor: Any, steered: Any, directory: Path) -> Iterator[ControlDoor]:
    """The doors to the daemon of these tests, closed at the end, while the directory is there."""
    made = ControlDoor(running_reactor, steered)
    yield made
    pytest_twisted.blockon(made.close())


async def curl(*arguments: str) -> tuple[int, str]:
    """What curl's exit status and output are."""
    command = ("-sS", "--max-time", "20", "--noproxy", "*", *arguments)
    output, errors, code = await getProcessOutputAndValue("curl", command, os.environ)
    return code, (output + errors).decode()


def port_of(door: ControlDoor) -> int:
    [address] = door.metrics_addresses()
    return int(address.port)


def accepts(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


@pytest_twisted.ensureDeferred
async def test_at_the_socket(door: ControlDoor, path: str, steered: Any) -> None:
    door.open(path)
    assert repr(door) == f"<ControlDoor {path} <Listeners >>"
    code, output = await curl("--unix-socket", path, "http://localhost/api/v1/status")
    assert (code, json.loads(output)["version"]) == (0, "1.2.3")
    code, output = await curl(
        "-i",
        *("--unix-socket", path, "-H", "Content-Type: application/json", "-d", '{"timeout": 5}'),
        "http://localhost/api/v1/drain",
    )
    assert (code, re.sub(r"Date: .*\r\n", "", output)) == (
        0,
        (
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 21\r\n"
            'Cache-Control: no-store\r\n\r\n{"detail":"draining"}'
        ),
    )
    assert steered.asked == ["status", ("drain", 5.0)]


@pytest_twisted.ensureDeferred
async def test_a_large_upload_is_told_that_it_is(door: ControlDoor, path: str, directory: Path) -> None:
    door.open(path)
    (directory / "large").write_bytes(b"x" * 8_000_000)
    _code, output = await curl(
        *("--unix-socket", path, "-H", "Content-Type: application/json"),
        *("--data-binary", f"@{directory}/large", "http://localhost/api/v1/settings/validate"),
    )
    assert output.startswith('{"title":"Content Too Large","status":413,')


@pytest_twisted.ensureDeferred
async def test_at_an_endpoint(door: ControlDoor, steered: Any) -> None:
    """Health and numbers, whatever the host is called, and nothing else."""
    door.open_metrics([LOOPBACK])
    origin = f"http://127.0.0.1:{port_of(door)}"
    assert await curl(f"{origin}/healthz", "-H", "Host: any.test") == (0, '{"status":"ok"}')
    steered.state = "draining"
    assert await curl(f"{origin}/readyz", "-w", " %{http_code}") == (0, '{"status":"draining"} 503')
    _code, numbers = await curl(f"{origin}/metrics", "-H", "Accept: application/openmetrics-text")
    assert numbers.startswith("# HELP pyproxy The version that runs.\n")
    assert numbers.endswith("\n# EOF\n")
    asked = ["/api/v1/status", "/api/v1/openapi.json", "/metrics/../api/v1/settings", "/%61pi/v1/status"]
    for target in asked:
        _code, output = await curl("--path-as-is", origin + target, "-w", " %{http_code}")
        assert output.endswith(" 404")
    _code, output = await curl(f"{origin}/api/v1/drain", "-X", "POST", "-w", " %{http_code}")
    assert output.endswith(" 404")
    assert steered.asked == ["status"]


@pytest_twisted.ensureDeferred
async def test_the_settings_change(door: ControlDoor, path: str) -> None:
    """What is not wanted any more goes on until the reload has succeeded."""
    door.open(path)
    door.open_metrics([LOOPBACK])
    port = port_of(door)
    other = f"{path}2"
    door.open(other)
    door.open_metrics([OTHER])
    assert door.path == other
    assert accepts(path)
    assert accepts(other)
    assert (await curl(f"http://127.0.0.1:{port}/healthz"))[0] == 0
    door.close_gone()
    assert not os.path.exists(path)
    code, _ = await curl("--unix-socket", other, "http://localhost/healthz")
    assert code == 0
    code, _ = await curl(f"http://127.0.0.1:{port}/healthz")
    assert code == 7


def test_the_reload_fails(door: ControlDoor, path: str) -> None:
    """The old path is asked for again, and has been open all the time."""
    door.open(path)
    inode = os.stat(path).st_ino
    door.open(f"{path}2")
    door.open(path)
    door.close_gone()
    assert os.stat(path).st_ino == inode
    assert not os.path.exists(f"{path}2")
    door.open(path)
    assert os.stat(path).st_ino == inode


def test_no_socket_any_more(door: ControlDoor, path: str) -> None:
    door.open(path)
    door.open("")
    assert door.path == ""
    door.close_gone()
    assert not os.path.exists(path)
    assert repr(door) == "<ControlDoor closed <Listeners >>"


def test_relative_path(door: ControlDoor, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon changes its directory."""
    monkeypatch.chdir(directory)
    door.open("control.sock")
    assert door.path == os.path.join(os.getcwd(), "control.sock")


@pytest_twisted.ensureDeferred
async def test_the_next_version_takes_over(door: ControlDoor, path: str, running_reactor: Any, steered: Any) -> None:
    """A connection to the old one is served to its end, and the path never leads nowhere."""
    door.open(path)
    steered.waiting = Deferred()
    upgrading = curl("--unix-socket", path, "-X", "POST", "http://localhost/api/v1/upgrade")
    upgrade = Deferred.fromCoroutine(upgrading)
    while not steered.asked:
        await turn(running_reactor)
    following = ControlDoor(running_reactor, type(steered)())
    with pytest.raises(CannotOpen, match=f"process {os.getpid()} listens there"):
        following.open(path)
    following.open(path, replace=True)
    closed = door.close()
    steered.waiting.callback(4711)
    await closed
    assert await upgrade == (0, '{"detail":"process 4711 goes on"}')
    code, output = await curl("--unix-socket", path, "http://localhost/api/v1/log-level")
    assert (code, output) == (0, '{"level":"info"}')
    await following.close()
    assert not os.path.exists(path)


def test_what_cannot_be_had_is_said_and_the_rest_is_open(door: ControlDoor, path: str) -> None:
    door.open(path)
    Path(f"{path}2").touch()
    said = f"cannot open the control socket {path}2: something else than a socket is there: there is no control socket"
    assert door.use(f"{path}2", [LOOPBACK]) == [said]
    assert (door.path, port_of(door) > 0) == (path, True)
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
        (complaint,) = door.use("", [taken])
    assert complaint.startswith("cannot listen on")
    # What was there before is closed at once.
    assert (door.path, os.path.exists(path)) == ("", False)


def test_neither_can_be_had(door: ControlDoor, path: str) -> None:
    door.open(path)
    door.open_metrics([LOOPBACK])
    port = port_of(door)
    Path(f"{path}2").touch()
    with pytest.raises(CannotOpen, match="something else than a socket is there"):
        door.open(f"{path}2")
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
        with pytest.raises(CannotOpen) as raised:
            door.open_metrics([taken])
    assert str(raised.value) == f"cannot listen on {taken}: Address already in use"
    assert accepts(path)
    assert port_of(door) == port


def test_after_the_fork(door: ControlDoor, path: str) -> None:
    door.own()
    door.open(path)
    door.open_metrics([f"unix:{path}.metrics"])
    door.own()
    assert accepts(path)
    assert accepts(f"{path}.metrics")


@pytest_twisted.ensureDeferred
async def test_a_file_that_cannot_be_removed(
    door: ControlDoor, path: str, logged_errors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and the rest is closed."""
    door.open(path)

    def refuses(name: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", refuses)
        await door.close()
    assert len(logged_errors.flush(PermissionError)) == 1
    assert not accepts(path)


def turn(reactor: Any) -> Deferred[None]:
    over: Deferred[None] = Deferred()
    reactor.callLater(0.01, over.callback, None)
    return over
