"""``pyproxyctl upgrade``: a successor on the same sockets, and nobody notices."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.live.crew import await_gone, children, state, workers
from tests.live.daemon import ANY_PORT, PATIENCE, Daemon
from tests.live.fetch import connected, fetch, request_for, tunnel
from tests.live.load import Load
from tests.live.origin import LINE, Origin
from tests.live.systemd_double import SystemdDouble
from tests.live.test_reload import refuses_connections
from tests.ports import free_port

MakeDaemon = Callable[..., Daemon]


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[SystemdDouble]:
    """A double of systemd without a watchdog."""
    with SystemdDouble(tmp_path) as double:
        yield double


def settings(*listen: str, workers: int = 1, more: str = "") -> str:
    """The text of a settings file."""
    endpoints = ", ".join(f"'{endpoint}'" for endpoint in listen or (ANY_PORT,))
    return f"[downstream]\nlisten = [{endpoints}]\n[log]\naccess = 'off'\n[service]\nworkers = {workers}\n{more}"


def ready(port: int) -> tuple[int, bytes]:
    """What is answered to a probe that asks whether it is ready."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def of_sockets(proxy: Daemon) -> list[str]:
    """The files of sockets in its directory, and their locks."""
    return sorted(path.name for path in proxy.directory.iterdir() if path.suffix in (".sock", ".lock"))


@pytest.mark.parametrize(("count", "upgrades"), [(1, 6), (2, 3)])
def test_many_of_them_lose_nothing(make_daemon: MakeDaemon, origin: Origin, count: int, upgrades: int) -> None:
    """A client with a new connection every few milliseconds sees none; and they leave nothing behind."""
    proxy = make_daemon(settings={"service.workers": str(count), "log.access": "off"}).start()
    open_before = 0
    replaced: set[int] = set()
    with Load(proxy.address, origin.url("http"), threads=1, least=upgrades) as load:
        for number in range(upgrades):
            replaced.add(proxy.upgrade())
            if not number:
                open_before = proxy.descriptors()
    load.assert_no_failure()
    for pid in replaced:
        await_gone(pid)
    assert len(replaced - {proxy.pid}) == upgrades
    # But for connections under way when they were counted first.
    assert proxy.descriptors() <= open_before
    crew = workers(proxy, count) if count > 1 else []
    assert children(proxy.pid) == crew
    assert [line for line in proxy.log.splitlines() if not re.search(" (?:info ) ", line)] == []
    last = proxy.pid
    proxy.stop()
    assert [pid for pid in (last, *crew) if state(pid) not in ("", "Z")] == []
    assert of_sockets(proxy) == []


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_under_way_finishes_in_the_old_one(make_daemon: MakeDaemon, origin: Origin, count: int) -> None:
    proxy = make_daemon(settings={"service.workers": str(count), "access.connect_ports": "all"}).start()
    gate = f"upgrade-{count}"
    stream = connected(proxy, request_for(origin.url("http", f"/events/{gate}")))
    assert stream.read_through(b"data: first\n\n")
    through = tunnel(proxy, origin.port("http"))
    replaced = proxy.upgrade()
    assert fetch(proxy, origin.url("http")).content == LINE
    proxy.await_log("draining [12] connections, for 30 s at most")
    origin.open(gate)
    assert stream.read_to_end() == b"\r\ne\r\ndata: second\n\n\r\n0\r\n\r\n"
    assert state(replaced) not in ("", "Z")
    through.send(b"GET /hello HTTP/1.1\r\nHost: origin\r\n\r\n")
    assert through.read_response().content == LINE
    through.close()
    stream.close()
    await_gone(replaced)
    assert fetch(proxy, origin.url("http")).content == LINE


def test_doors_and_unix_sockets_pass_on(make_daemon: MakeDaemon, origin: Origin) -> None:
    """The path of a Unix socket, the probes' port and the control socket are the successor's to serve and remove."""
    port = free_port()
    proxy = make_daemon(
        listen=(ANY_PORT, "unix:proxy.sock"),
        settings={"control.metrics": f'["tcp:{port}:interface=127.0.0.1", "unix:metrics.sock"]'},
    ).start()
    proxy.await_log(" ready\n")
    assert ready(port) == (200, b'{"status":"ok"}')
    for _ in range(2):
        replaced = proxy.upgrade()
        assert ready(port) == (200, b'{"status":"ok"}')
        assert os.readlink(proxy.directory / "proxy.sock.lock") == str(proxy.pid)
        await_gone(replaced)
        assert of_sockets(proxy) == [
            *("control.sock", "metrics.sock", "metrics.sock.lock", "proxy.sock", "proxy.sock.lock")
        ]
        assert os.readlink(proxy.directory / "metrics.sock.lock") == str(proxy.pid)
        assert json.loads(proxy.control("status", "--json").stdout)["pid"] == proxy.pid
    proxy.stop()
    assert of_sockets(proxy) == []
    assert "error" not in proxy.log


def test_daemon_keeps_its_pid_file_and_its_log(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(daemonized=True, settings={"forwarding.via": "command-line"}).start()
    lines = proxy.log
    replaced = proxy.upgrade()
    assert proxy.pid_file.read_text() == str(proxy.pid) != str(replaced)
    await_gone(replaced)
    assert proxy.pid_file.read_text() == str(proxy.pid)
    assert proxy.log.startswith(lines)
    assert proxy.log.count(" ready\n") == 2
    # What was said on the command line is said again.
    assert fetch(proxy, origin.url("http")).fields["Via"] == "1.1 command-line"
    assert len(proxy.access_lines(1)) == 1
    proxy.signal(signal.SIGTERM)
    proxy.await_end()
    assert not proxy.pid_file.exists()
    assert proxy.said == ""


@pytest.mark.parametrize("count", [1, 2])
def test_service_manager_follows(make_daemon: MakeDaemon, systemd: SystemdDouble, origin: Origin, count: int) -> None:
    proxy = make_daemon(systemd=systemd, settings={"service.workers": str(count)}).start()
    assert systemd.awaited("READY").pid == proxy.pid
    for _ in range(2):
        seen = len(systemd.received)
        replaced = proxy.upgrade()
        told = systemd.awaited("MAINPID", after=seen)
        assert (told.pid, told.assignments["MAINPID"]) == (replaced, str(proxy.pid))
        assert systemd.awaited("READY", "1", after=seen).pid == proxy.pid
        await_gone(replaced)
        systemd.receive()
        # It says nothing of its own end, which is not the service's.
        assert [one for one in systemd.received[seen:] if "STOPPING" in one.assignments] == []
    last = proxy.pid
    proxy.stop()
    assert systemd.awaited("STOPPING").pid == last


def test_successor_that_cannot_start_changes_nothing(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(listen=(), file=settings(ANY_PORT, "unix:proxy.sock")).start()
    proxy.await_log(" ready\n")
    before = proxy.pid, of_sockets(proxy)
    proxy.settings_file.write_text(settings(more="drain_timout = 1\n"))
    with Load(proxy.address, origin.url("http")) as load:
        done = proxy.control("upgrade")
    load.assert_no_failure()
    assert done.returncode == 1
    assert done.stdout == ""
    assert "the successor ended with status 1 before it served, and its log says why: this one goes on" in done.stderr
    assert (proxy.pid, of_sockets(proxy)) == before
    assert 'service.drain_timout: unknown key (did you mean "drain_timeout"?)' in proxy.log
    assert proxy.control("health").returncode == 0
    # It is not too late to do better.
    proxy.settings_file.write_text(settings(ANY_PORT, "unix:proxy.sock", more="drain_timeout = 1\n"))
    proxy.upgrade()
    proxy.stop()
    assert of_sockets(proxy) == []


def test_listener_that_the_successor_does_not_name(make_daemon: MakeDaemon, origin: Origin) -> None:
    """Nobody would take the connections that come in there."""
    goes = free_port()
    listen = (ANY_PORT, f"tcp:{goes}:interface=127.0.0.1", "unix:goes.sock")
    proxy = make_daemon(listen=(), file=settings(*listen)).start()
    proxy.settings_file.write_text(settings())
    await_gone(proxy.upgrade())
    assert refuses_connections(goes)
    assert of_sockets(proxy) == ["control.sock"]
    assert fetch(proxy, origin.url("http")).content == LINE


def test_successor_that_dies_half_way_changes_nothing(make_daemon: MakeDaemon, origin: Origin) -> None:
    """What has to belong to one process still belongs to the old one."""
    proxy = make_daemon(listen=(ANY_PORT, "unix:proxy.sock"), settings={"service.workers": "2"}).start()
    crew = workers(proxy, 2)
    asked = threading.Thread(target=lambda: answers.append(proxy.control("upgrade")))
    answers: list[subprocess.CompletedProcess[str]] = []
    asked.start()
    # It listens twice as soon as it starts, and serves when its workers do.
    proxy.await_log("listening on", 3)
    (successor,) = set(children(proxy.pid)) - set(crew)
    os.kill(successor, signal.SIGKILL)
    asked.join()
    assert answers[0].returncode == 1
    assert "the successor ended by signal 9 before it served" in answers[0].stderr
    assert os.readlink(proxy.directory / "proxy.sock.lock") == str(proxy.pid)
    assert fetch(proxy, origin.url("http")).content == LINE
    assert workers(proxy, 2) == crew
    proxy.stop()
    assert of_sockets(proxy) == []
