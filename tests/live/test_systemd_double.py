"""The double of systemd, with a small program in the place of the daemon."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.daemon import PATIENCE
from tests.live.systemd_double import SystemdDouble, environment_of_nobody

SERVICE = """
import os, socket, time
from twistedproxy.systemd.activation import InheritedSockets, activated
from twistedproxy.systemd.notify import Notifier
notifier = Notifier(os.environ, pid=os.getpid(), monotonic=time.monotonic)
sockets = InheritedSockets(activated(os.environ, os.getpid()))
notifier.status(f"{len(sockets.unused())} sockets, watchdog every {notifier.watchdog_interval}")
notifier.ready()
for description in ("systemd:domain=INET:name=web", "unix:proxy.sock"):
    taken = sockets.take(description)
    if taken is not None:
        listener = socket.socket(fileno=taken.descriptor)
        listener.setblocking(True)
        accepted, _ = listener.accept()
        accepted.sendall(taken.name.encode())
        accepted.close()
notifier.stopping()
"""


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[SystemdDouble]:
    with SystemdDouble(tmp_path, watchdog=3.0) as double:
        yield double


def started(systemd: SystemdDouble, directory: Path) -> subprocess.Popen[bytes]:
    return systemd.start(sys.executable, "-c", SERVICE, environment=environment_of_nobody(), cwd=directory)


def test_notifications(systemd: SystemdDouble, tmp_path: Path) -> None:
    process = started(systemd, tmp_path)
    try:
        ready = systemd.awaited("READY", "1")
        # The launcher became the service.
        assert ready.pid == process.pid
        # So is the watchdog addressed.
        assert systemd.awaited("STATUS").assignments["STATUS"] == "0 sockets, watchdog every 1.5"
        seen = systemd.received.index(ready)
        assert systemd.awaited("STOPPING", after=seen).assignments == {"STOPPING": "1"}
    finally:
        assert process.wait(PATIENCE) == 0
    assert not systemd.receive()
    assert repr(systemd) == f"<SystemdDouble {tmp_path}/notify received=3 sockets=0>"


def test_sockets(systemd: SystemdDouble, tmp_path: Path) -> None:
    web = systemd.listen(("127.0.0.1", 0), "web")
    systemd.listen(tmp_path / "proxy.sock", "local")
    process = started(systemd, tmp_path)
    try:
        assert systemd.awaited("STATUS").assignments["STATUS"].startswith("2 sockets,")
        for family, address, name in (
            (socket.AF_INET, web.getsockname(), b"web"),
            (socket.AF_UNIX, str(tmp_path / "proxy.sock"), b"local"),
        ):
            with socket.socket(family) as client:
                client.settimeout(PATIENCE)
                client.connect(address)
                assert client.recv(16) == name
        systemd.awaited("STOPPING")
    finally:
        assert process.wait(PATIENCE) == 0


def test_many_sockets_at_their_places(systemd: SystemdDouble, tmp_path: Path) -> None:
    """Wherever they were before, and nothing else is open."""
    ports = [systemd.listen(("127.0.0.1", 0), f"name-{number}").getsockname()[1] for number in range(9)]
    code = (
        "import os; from twistedproxy.systemd.activation import activated\n"
        "print([(one.descriptor, one.address[1], one.name) for one in activated(os.environ, os.getpid())])"
    )
    process = systemd.start(
        sys.executable, "-c", code, environment=environment_of_nobody(), cwd=tmp_path, stdout=subprocess.PIPE
    )
    said, _ = process.communicate(timeout=PATIENCE)
    expected = [(3 + number, port, f"name-{number}") for number, port in enumerate(ports)]
    assert said.decode().strip() == repr(expected)


def test_environment_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"):
        monkeypatch.setenv(name, "1")
    assert environment_of_nobody().keys() == os.environ.keys() - {"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS"}
