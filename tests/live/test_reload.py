"""SIGHUP: new requests go by the new settings, running ones by the old, and no listener that stays is closed."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable

import pytest

from tests.live.crew import children
from tests.live.daemon import ANY_PORT, TWISTD, Daemon, awaited
from tests.live.fetch import connected, fetch, request_for, tunnel
from tests.live.load import Load
from tests.live.origin import LINE, Origin
from tests.live.wire.raw import Connection
from tests.ports import free_port

MakeDaemon = Callable[..., Daemon]

RELOADS = 20

HUNDRED = 100

# Starts a command as somebody at a terminal does.
AT_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
screen, terminal = os.openpty()
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
os.set_inheritable(screen, True)
os.execv(sys.argv[1], sys.argv[1:])
"""


def settings(directory_log: str = "off", listen: tuple[str, ...] = (ANY_PORT,), more: str = "") -> str:
    """The text of a settings file."""
    endpoints = ", ".join(f"'{endpoint}'" for endpoint in listen)
    return f'[downstream]\nlisten = [{endpoints}]\n[log]\naccess = "{directory_log}"\n{more}'


def refuses_connections(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def test_new_requests_see_the_new_settings(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(listen=(), file=settings()).start()
    with_keep_alive = connected(proxy, request_for(origin.url("http")))
    assert with_keep_alive.read_response().content == LINE
    proxy.reload(settings(more='[access]\nclients = ["10.0.0.0/8"]\n'))
    assert fetch(proxy, origin.url("http")).status == 403
    # Also on a connection that was there before.
    with_keep_alive.send(request_for(origin.url("http")))
    assert with_keep_alive.read_response().status == 403
    with_keep_alive.close()
    proxy.reload(settings())
    assert fetch(proxy, origin.url("http")).status == 200


@pytest.mark.parametrize("daemonized", [False, True], ids=["foreground", "daemonized"])
def test_started_at_a_terminal(make_daemon: MakeDaemon, origin: Origin, daemonized: bool) -> None:
    """A daemon has left it, which is no reason to take the signal for its end."""
    program = (sys.executable, "-c", AT_A_TERMINAL, TWISTD)
    proxy = make_daemon(listen=(), file=settings(), daemonized=daemonized, program=program).start()
    proxy.reload(settings(more='[access]\nclients = ["10.0.0.0/8"]\n'))
    assert fetch(proxy, origin.url("http")).status == 403


def test_drop_ins_come_and_go(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(listen=(), file=settings()).start()
    assert fetch(proxy, origin.url("http")).status == 200
    drop_in = proxy.directory / "pyproxy.d" / "closed.toml"
    drop_in.parent.mkdir()
    drop_in.write_text('[access]\nclients = ["10.0.0.0/8"]\n')
    proxy.reload()
    assert fetch(proxy, origin.url("http")).status == 403
    drop_in.unlink()
    proxy.reload()
    assert fetch(proxy, origin.url("http")).status == 200


def test_running_exchange_finishes_under_the_old_settings(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(listen=(), file=settings(more='[access]\nconnect_ports = ["all"]\n')).start()
    running = connected(proxy, request_for(origin.url("http", "/events/reload")))
    assert running.read_through(b"data: first\n\n")
    through = tunnel(proxy, origin.port("http"))
    proxy.reload(settings(more="[access]\nclients = []\nconnect_ports = []\n"))
    assert fetch(proxy, origin.url("http")).status == 403
    origin.open("reload")
    assert running.read_through(b"0\r\n\r\n") == b"\r\ne\r\ndata: second\n\n\r\n0\r\n\r\n"
    through.send(b"GET /hello HTTP/1.1\r\nHost: origin\r\n\r\n")
    assert through.read_response().content == LINE
    running.close()
    through.close()


def test_listener_that_stays_is_never_closed(make_daemon: MakeDaemon, origin: Origin) -> None:
    """A client that goes on and on, each time with a new connection, sees none of twenty reloads."""
    proxy = make_daemon(listen=(), file=settings()).start()
    enough = threading.Event()
    statuses: list[int] = []
    address = proxy.address

    def go_on() -> None:
        while not enough.is_set():
            try:
                statuses.append(fetch(address, origin.url("http")).status)
            except OSError:
                statuses.append(0)

    client = threading.Thread(target=go_on)
    client.start()
    try:
        for number in range(RELOADS):
            proxy.reload(settings(more=f'[forwarding]\nvia = "generation-{number}"\n'))
    finally:
        enough.set()
        client.join()
    assert set(statuses) == {200}
    assert len(statuses) >= RELOADS
    assert proxy.address == address
    assert fetch(proxy, origin.url("http")).fields["Via"] == f"1.1 generation-{RELOADS - 1}"


def test_a_hundred_of_them_lose_nothing(make_daemon: MakeDaemon, origin: Origin) -> None:
    """Settings, logs and their formats, listeners, and now and then the number of workers change under load."""
    proxy = make_daemon(listen=(), file=settings()).start()
    proxy.await_log(" ready\n")
    address = proxy.address
    logs = ("off", str(proxy.directory / "one.log"), str(proxy.directory / "other.log"))
    with Load(address, origin.url("http"), least=HUNDRED) as load:
        for number in range(HUNDRED):
            listen = (ANY_PORT, "tcp:0:interface=127.0.0.2") if number % 3 == 1 else (ANY_PORT,)
            more = (
                f'format = "{("squid", "combined", "json")[number % 3]}"\n'
                f'[forwarding]\nvia = "generation-{number}"\n'
                f"[upstream]\nattempt_delay = {200 + number % 5}\n"
                f"[resolver]\ncache_size = {1000 + number % 2}\n"
                f"[service]\nworkers = {1 + (number // 20) % 2}\n"
            )
            proxy.reload(settings(logs[number % 3], listen, more))
            assert proxy.address == address
    load.assert_no_failure()
    assert fetch(address, origin.url("http")).fields["Via"] == f"1.1 generation-{HUNDRED - 1}"
    assert proxy.log.count("the settings have been reloaded") == HUNDRED
    assert " error " not in proxy.log
    awaited(lambda: children(proxy.pid) == [], "no process but this one")
    told = json.loads(proxy.control("status", "--json").stdout)
    assert (told["reloads"], told["reloads_failed"], len(told["workers"])) == (HUNDRED, 0, 1)


def test_listeners_come_and_go(make_daemon: MakeDaemon, origin: Origin) -> None:
    stays, goes, comes = (f"tcp:{free_port()}:interface=127.0.0.1" for _ in range(3))
    proxy = make_daemon(listen=(), file=settings(listen=(stays, goes))).start()
    before = proxy.addresses
    on_the_one_that_goes = connected(proxy, b"")
    running = fetch_begun(before[1], origin)
    # Connections are accepted in order: once this one is answered, the two before it have come in.
    assert fetch(before[1], origin.url("http")).status == 200
    proxy.reload(settings(listen=(comes, stays)))
    after = proxy.addresses
    assert after[1] == before[0]
    assert after[0] not in before
    assert [fetch(address, origin.url("http")).status for address in after] == [200, 200]
    assert refuses_connections(int(before[1].rpartition(":")[2]))
    # What came in by the listener that is gone is not cut.
    origin.open("listener")
    assert running.read_response().content == LINE
    running.close()
    on_the_one_that_goes.close()


def fetch_begun(address: str, origin: Origin) -> Connection:
    host, _, port = address.rpartition(":")
    connection = Connection(socket.create_connection((host, int(port))))
    connection.send(request_for(origin.url("http", "/gated/listener")))
    return connection


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ("[access]\nclient = []\n", r':8: access\.client: unknown key \(did you mean "clients"\?\)'),
        ("[access]\nclients = [\n", r":8: not valid TOML: .*"),
        ('[access]\nclients = ["10.0.0.0/33"]\n', r":8: access\.clients\[0\]: expected .*"),
    ],
    ids=["unknown key", "no TOML", "impossible value"],
)
def test_bad_file_changes_nothing(make_daemon: MakeDaemon, origin: Origin, bad: str, complaint: str) -> None:
    proxy = make_daemon(listen=(), file=settings(more='[forwarding]\nvia = "old"\n')).start()
    proxy.reload(settings(more=f'[forwarding]\nvia = "new"\n{bad}'))
    proxy.await_log(rf"error {proxy.settings_file}{complaint}")
    proxy.await_log("error the settings were not reloaded: the old ones stay in force")
    assert fetch(proxy, origin.url("http")).fields["Via"] == "1.1 old"


def test_listener_that_cannot_be_had_changes_nothing(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(listen=(), file=settings()).start()
    comes = f"tcp:{free_port()}:interface=127.0.0.1"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        proxy.reload(settings(listen=(comes, endpoint), more='[forwarding]\nvia = "new"\n'))
    proxy.await_log(f"error cannot listen on {endpoint}: Address already in use")
    assert fetch(proxy, origin.url("http")).fields["Via"].startswith("1.1 pyproxy-")
    assert refuses_connections(int(comes.split(":")[1]))


def test_listener_of_the_same_port_takes_the_place_of_the_old(make_daemon: MakeDaemon, origin: Origin) -> None:
    """From one address to all of them, and back: the two cannot be open at the same time."""
    port = free_port()
    proxy = make_daemon(listen=(), file=settings(listen=(f"tcp:{port}:interface=127.0.0.1",))).start()
    proxy.reload(settings(listen=(f"tcp:{port}",)))
    assert proxy.addresses == [f"0.0.0.0:{port}"]
    assert fetch(f"127.0.0.1:{port}", origin.url("http")).status == 200
    proxy.reload(settings(listen=(f"tcp:{port}:interface=127.0.0.1",)))
    assert proxy.addresses == [f"127.0.0.1:{port}"]
    assert fetch(f"127.0.0.1:{port}", origin.url("http")).status == 200


def test_access_log_moves(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(listen=(), file="")
    proxy.settings_file.write_text(settings(str(proxy.directory / "first.log")))
    proxy.start()
    assert fetch(proxy, origin.url("http")).status == 200
    proxy.reload(settings(str(proxy.access_log), more='format = "combined"\n'))
    # What was in the old log's buffer is written, without waiting for its second.
    assert "TCP_MISS/200" in (proxy.directory / "first.log").read_text()
    assert fetch(proxy, origin.url("http")).status == 200
    assert '"GET http://' in proxy.access_lines(1)[0]
    proxy.reload(settings("/proc/none/access.log"))
    proxy.await_log("error the access log /proc/none/access.log cannot be opened: .*: the old one stays in use")
    assert fetch(proxy, origin.url("http")).status == 200
    assert len(proxy.access_lines(2)) == 2


def test_level_of_the_operational_log(make_daemon: MakeDaemon) -> None:
    proxy = make_daemon(listen=(), file=settings()).start()
    proxy.reload(settings(more='level = "debug"\n'))
    assert " debug " not in proxy.log
    proxy.reload(settings(listen=(ANY_PORT, "tcp:0:interface=127.0.0.2"), more='level = "debug"\n'))
    proxy.await_log(r"debug ListenerFactory starting on [0-9]+")


def test_first_file_of_a_proxy_that_had_none(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon().start()
    file = proxy.directory / "etc" / "pyproxy.toml"
    file.parent.mkdir()
    file.write_text('[forwarding]\nvia = "at-last"\n')
    proxy.reload()
    assert fetch(proxy, origin.url("http")).fields["Via"] == "1.1 at-last"
    file.unlink()
    proxy.reload()
    proxy.await_log(rf"error {file}: ")
    assert fetch(proxy, origin.url("http")).fields["Via"] == "1.1 at-last"
