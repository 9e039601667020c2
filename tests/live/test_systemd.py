"""The daemon as a service: what it tells the service manager, and the sockets that it gets from there."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.crew import children, state, workers
from tests.live.daemon import ANY_PORT, Daemon, awaited
from tests.live.fetch import connected, fetch, request_for
from tests.live.load import Load
from tests.live.origin import LINE, Origin
from tests.live.systemd_double import Notification, SystemdDouble

MakeDaemon = Callable[..., Daemon]

WATCHDOG = 0.4

OF_THE_MAIN_PROCESS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[SystemdDouble]:
    """A double of systemd without a watchdog."""
    with SystemdDouble(tmp_path) as double:
        yield double


def file(more: str = "", *, workers: int = 1, listen: str = ANY_PORT) -> str:
    """The text of a settings file."""
    return f"[downstream]\nlisten = ['{listen}']\n[log]\naccess = 'off'\n[service]\nworkers = {workers}\n{more}"


def endpoint_of(opened: socket.socket) -> str:
    """The description of the listener that a socket at an IPv4 address is for."""
    host, port = opened.getsockname()
    return f"tcp:{port}:interface={host}"


def address_of(opened: socket.socket) -> str:
    host, port = opened.getsockname()
    return f"{host}:{port}"


def microseconds() -> int:
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def those_with(systemd: SystemdDouble, name: str) -> list[Notification]:
    """The messages with this assignment that have come in."""
    systemd.receive()
    return [one for one in systemd.received if name in one.assignments]


def environment_of(pid: int) -> dict[str, str]:
    """The environment that a process was started with."""
    content = Path(f"/proc/{pid}/environ").read_bytes().decode()
    return dict(entry.split("=", 1) for entry in content.split("\0") if "=" in entry)


# ---------------------------------------------------------------- notifications


@pytest.mark.parametrize("count", [1, 2])
def test_ready_when_it_serves(make_daemon: MakeDaemon, systemd: SystemdDouble, origin: Origin, count: int) -> None:
    proxy = make_daemon(systemd=systemd, settings={"service.workers": str(count)}).start()
    message = systemd.awaited("READY", "1")
    # Nobody waits for anything but an answer.
    assert fetch(proxy, origin.url("http")).content == LINE
    assert systemd.received[0] is message
    assert message.pid == proxy.pid
    crew = workers(proxy, count) if count > 1 else []
    assert children(proxy.pid) == crew
    plural = "s" if count > 1 else ""
    assert message.assignments == {"READY": "1", "STATUS": f"{count} worker{plural}, listening on {proxy.address}"}
    for pid in crew:
        environment = environment_of(pid)
        assert [name for name in OF_THE_MAIN_PROCESS if name in environment] == []
    seen = len(systemd.received)
    last = proxy.pid
    proxy.stop()
    assert systemd.awaited("STOPPING", "1", after=seen) == Notification(last, {"STOPPING": "1", "STATUS": "draining"})
    assert {one.pid for one in systemd.received} == {last}


def test_stopping_comes_before_the_drain(make_daemon: MakeDaemon, systemd: SystemdDouble, origin: Origin) -> None:
    proxy = make_daemon(systemd=systemd).start()
    stream = connected(proxy, request_for(origin.url("http", "/events/stopping")))
    assert stream.read_through(b"data: first\n\n")
    proxy.signal(signal.SIGTERM)
    assert systemd.awaited("STOPPING", "1").pid == proxy.pid
    origin.open("stopping")
    assert stream.read_through(b"0\r\n\r\n")
    stream.close()
    proxy.await_end()
    assert proxy.status == 0
    assert len(those_with(systemd, "STOPPING")) == 1


@pytest.mark.parametrize("count", [1, 2])
def test_reload(make_daemon: MakeDaemon, systemd: SystemdDouble, origin: Origin, count: int) -> None:
    """As ``Type=notify-reload`` has it: the end of the reload is told too, whatever came of it."""
    proxy = make_daemon(systemd=systemd, listen=(), file=file(workers=count)).start()
    systemd.awaited("READY")
    for text, via, status in (
        (file("[forwarding]\nvia = 'new'\n", workers=count), "1.1 new", "listening on"),
        (file("[forwarding]\nvya = 'worse'\n", workers=count), "1.1 new", "the last reload failed: the old settings"),
    ):
        proxy.settings_file.write_text(text)
        seen = len(systemd.received)
        before = microseconds()
        proxy.signal(signal.SIGHUP)
        reloading = systemd.awaited("RELOADING", "1", after=seen)
        assert before <= int(reloading.assignments["MONOTONIC_USEC"]) <= microseconds()
        ready = systemd.awaited("READY", "1", after=systemd.received.index(reloading) + 1)
        assert fetch(proxy, origin.url("http")).fields["Via"] == via
        assert (reloading.pid, ready.pid) == (proxy.pid, proxy.pid)
        assert status in ready.assignments["STATUS"]


@pytest.mark.parametrize("count", [1, 2])
def test_watchdog(make_daemon: MakeDaemon, tmp_path: Path, count: int) -> None:
    """It is told in half of the time, by a process that can do what it is there for."""
    with SystemdDouble(tmp_path, watchdog=WATCHDOG) as systemd:
        proxy = make_daemon(systemd=systemd, settings={"service.workers": str(count)}).start()
        systemd.awaited("WATCHDOG", "1")
        began = time.monotonic()
        for _ in range(5):
            assert systemd.awaited("WATCHDOG", "1", after=len(systemd.received)).pid == proxy.pid
        # Five times half of it, of which some may have waited here; a busy machine is late.
        assert 2 * WATCHDOG / 2 <= time.monotonic() - began < 10 * WATCHDOG
        proxy.signal(signal.SIGSTOP)
        awaited(lambda: state(proxy.pid) == "T", "a stopped process")
        while systemd.receive():
            pass
        seen = len(systemd.received)
        assert not systemd.receive(2 * WATCHDOG), systemd.received[seen:]
        proxy.signal(signal.SIGCONT)
        systemd.awaited("WATCHDOG", "1", after=seen)


def test_watchdog_goes_on_while_it_drains(make_daemon: MakeDaemon, tmp_path: Path, origin: Origin) -> None:
    """And in the successor of an upgrade."""
    with SystemdDouble(tmp_path, watchdog=2.5 * WATCHDOG) as systemd:
        proxy = make_daemon(systemd=systemd).start()
        upgrade = threading.Thread(target=proxy.upgrade)
        upgrade.start()
        # As systemd does it listens all the time: only a few messages wait for it.
        told = systemd.awaited("MAINPID")
        upgrade.join()
        assert told.assignments["MAINPID"] == str(proxy.pid)
        stream = connected(proxy, request_for(origin.url("http", "/events/watchdog")))
        assert stream.read_through(b"data: first\n\n")
        proxy.signal(signal.SIGTERM)
        stopping = systemd.awaited("STOPPING")
        for _ in range(2):
            message = systemd.awaited("WATCHDOG", "1", after=len(systemd.received))
            assert message.pid == stopping.pid == proxy.pid
        origin.open("watchdog")
        assert stream.read_through(b"0\r\n\r\n")
        stream.close()
        proxy.await_end()


# ---------------------------------------------------------------- activation


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("which", ["address", "name", "index"])
def test_sockets_that_it_gets(
    make_daemon: MakeDaemon, systemd: SystemdDouble, origin: Origin, which: str, count: int
) -> None:
    opened = systemd.listen(("127.0.0.1", 0), "web")
    endpoint = {
        "address": endpoint_of(opened),
        "name": "systemd:domain=INET:name=web",
        "index": "systemd:domain=INET:index=0",
    }[which]
    proxy = make_daemon(systemd=systemd, listen=(endpoint,), settings={"service.workers": str(count)}).start()
    assert proxy.addresses == [address_of(opened)]
    systemd.awaited("READY")
    assert fetch(proxy, origin.url("http")).content == LINE
    assert "warn" not in proxy.log
    main = environment_of(proxy.pid)
    assert (main["LISTEN_PID"], main["LISTEN_FDS"]) == (str(proxy.pid), "1")
    for pid in children(proxy.pid):
        assert [name for name in OF_THE_MAIN_PROCESS if name in environment_of(pid)] == []


@pytest.mark.parametrize("count", [1, 2])
def test_unix_socket_stays(
    make_daemon: MakeDaemon, systemd: SystemdDouble, origin: Origin, tmp_path: Path, count: int
) -> None:
    """Its file is systemd's, at the end of the daemon and of one that took its place."""
    path = tmp_path / "web.sock"
    systemd.listen(path)
    proxy = make_daemon(systemd=systemd, listen=(f"unix:{path}",), settings={"service.workers": str(count)}).start()
    assert proxy.addresses == [str(path)]
    proxy.upgrade()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(request_for(origin.url("http"), "GET", "Connection: close"))
        with client.makefile("rb") as answer:
            assert answer.read().endswith(LINE)
    proxy.stop()
    assert path.is_socket()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["notify", "proxy-0", "web.sock"]


def test_nobody_is_refused_over_a_restart(make_daemon: MakeDaemon, systemd: SystemdDouble, origin: Origin) -> None:
    """The socket is systemd's, and who comes meanwhile waits in its queue; also when several share it."""
    opened = systemd.listen(("127.0.0.1", 0), "web")
    endpoint = endpoint_of(opened)
    with Load(address_of(opened), origin.url("http")) as load:
        for count in ("1", "2", "1"):
            proxy = make_daemon(systemd=systemd, listen=(endpoint,), settings={"service.workers": count}).start()
            so_far = len(load.statuses)
            awaited(lambda so_far=so_far: len(load.statuses) > so_far + 20, "requests through this one")
            # Not by `stop`, which does not wait for those who are being served.
            proxy.signal(signal.SIGTERM)
            proxy.await_end()
            assert proxy.status == 0
        make_daemon(systemd=systemd, listen=(endpoint,)).start()
    load.assert_no_failure()


def test_socket_that_nobody_names(make_daemon: MakeDaemon, systemd: SystemdDouble) -> None:
    opened = systemd.listen(("127.0.0.1", 0), "stray")
    proxy = make_daemon(systemd=systemd).start()
    proxy.await_log(
        rf"warn  no listener names the socket {address_of(opened)} \(descriptor 3, stray\) that was handed in\n"
    )
    assert proxy.address != address_of(opened)


def test_sockets_of_another_process(make_daemon: MakeDaemon, origin: Origin) -> None:
    """Whoever starts it may have been a service, whose variables it has not taken away."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        environment = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"}
        proxy = make_daemon(environment=environment).start()
        proxy.await_log(" ready\n")
        assert proxy.address != address_of(opened)
        assert fetch(proxy, origin.url("http")).content == LINE
        assert "warn" not in proxy.log
        refused = make_daemon(environment=environment, listen=("systemd:domain=INET:name=web",))
        line = "pyproxy: cannot listen on systemd:domain=INET:name=web: systemd has passed on no such socket\n"
        assert refused.attempt() == (1, line)


def test_socket_of_another_domain(make_daemon: MakeDaemon, systemd: SystemdDouble) -> None:
    opened = systemd.listen(("127.0.0.1", 0), "web")
    refused = make_daemon(systemd=systemd, listen=("systemd:domain=INET6:name=web",))
    line = (
        "pyproxy: cannot listen on systemd:domain=INET6:name=web: "
        f"systemd's socket {address_of(opened)} is one of the domain INET, not INET6\n"
    )
    assert refused.attempt() == (1, line)
