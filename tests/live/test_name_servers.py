"""Named servers in a real proxy: where names lead, what is refused however they lead there, and what is told of it."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live.crew import workers
from tests.live.daemon import ANY_PORT, Daemon, awaited
from tests.live.fetch import connected, fetch
from tests.live.load import Load
from tests.live.name_server import LiveNameServer
from tests.live.origin import LINE, Authority, Origin
from tests.live.test_access_rules import inside

MakeDaemon = Callable[..., Daemon]

UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
WAYS = ("HTTP", "WebSocket", "CONNECT")


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[[], LiveNameServer]]:
    made: list[LiveNameServer] = []

    def make() -> LiveNameServer:
        made.append(LiveNameServer(tmp_path / f"names-{len(made)}"))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def names(make_server: Callable[[], LiveNameServer]) -> LiveNameServer:
    return make_server()


def settings(names: LiveNameServer, more: str = "", resolver: str = "") -> str:
    return f"""\
[downstream]
listen = ["{ANY_PORT}"]

[access]
connect_ports = ["all"]
refuse_destinations = ["127.0.0.66", "::1"]

[log]
access = "access.log"
format = "json"

[resolver]
servers = ["{names.address}"]
{resolver}
{more}
"""


def asking(way: str, host: str, port: int) -> bytes:
    """The head of a request that goes to ``host`` in one of the ways."""
    if way == "CONNECT":
        return f"CONNECT {host}:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    fields = UPGRADE if way == "WebSocket" else ""
    return f"GET http://{host}:{port}/hello HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode()


def status(proxy: Daemon, head: bytes) -> int:
    """The status of the answer to a request, of which no more is read."""
    connection = connected(proxy, head)
    said = connection.read_through(b"\r\n\r\n")
    connection.close()
    return int(said.split()[1])


@pytest.fixture
def forbidden() -> Iterator[socket.socket]:
    """Listens at the address where nobody must get."""
    with socket.create_server(("127.0.0.66", 0)) as listening:
        listening.setblocking(False)
        yield listening


def untouched(listening: socket.socket) -> bool:
    try:
        listening.accept()[0].close()
    except BlockingIOError:
        return True
    return False


ALIASED: list[tuple[str, str, int]] = [("CNAME", "inner.test", 60)]
BAD: list[tuple[str, str, int]] = [("A", "127.0.0.66", 60)]


@pytest.mark.parametrize("count", [1, 2])
def test_names_are_asked_for_at_the_servers(
    make_daemon: MakeDaemon, names: LiveNameServer, origin: Origin, count: int
) -> None:
    names.name("a.test", [("CNAME", "b.test", 60)])
    names.name("b.test", [("A", "127.0.0.1", 60), ("AAAA", "::1", 60)])
    proxy = make_daemon(listen=(), file=settings(names, f"[service]\nworkers = {count}\n")).start()
    if count > 1:
        workers(proxy, count)
    port = origin.port("http")
    for _ in range(3):
        assert fetch(proxy, f"http://a.test:{port}/hello").content == LINE
    asked = names.asked()
    assert set(asked) == {"a.test A", "a.test AAAA"}
    assert len(asked) <= 2 * count
    assert fetch(proxy, f"http://no.test:{port}/hello").status == 502
    assert fetch(proxy, f"http://x.onion:{port}/hello").status == 502
    assert fetch(proxy, f"http://printer.local:{port}/hello").status == 502
    assert fetch(proxy, f"http://db.localhost:{port}/hello").content == LINE
    assert not any(one.split()[0].endswith(("onion", "local", "localhost")) for one in names.asked())
    told = json.loads(proxy.control("status", "--json").stdout)
    assert told["name_servers"] == [names.address]
    assert told["statistics"]["lookups_failed"] == {"dns_error": 2}
    assert told["statistics"]["lookups_made"] >= 2


@pytest.mark.parametrize("way", WAYS)
def test_an_alias_leads_nowhere_that_is_forbidden(
    make_daemon: MakeDaemon, names: LiveNameServer, forbidden: socket.socket, way: str
) -> None:
    names.name("alias.test", ALIASED)
    names.name("inner.test", BAD)
    names.name("six.test", [("AAAA", "::ffff:127.0.0.66", 60)])
    proxy = make_daemon(listen=(), file=settings(names)).start()
    port = forbidden.getsockname()[1]
    for host in ("alias.test", "ALIAS.test.", "six.test"):
        assert status(proxy, asking(way, host, port)) == 403, host
    assert {entry["reason"] for entry in proxy.access_entries(3)} == {"destination_denied"}
    assert untouched(forbidden)


@pytest.mark.parametrize("way", WAYS)
def test_a_name_that_changes_its_mind(
    make_daemon: MakeDaemon, names: LiveNameServer, origin: Origin, forbidden: socket.socket, way: str
) -> None:
    """DNS rebinding: each look-up is judged anew, and what was judged is what is connected to."""
    names.name("rebind.test", [("A", "127.0.0.1", 0)], [("A", "127.0.0.66", 0)])
    proxy = make_daemon(listen=(), file=settings(names, "[upstream]\nmax_idle = 0\n")).start()
    assert status(proxy, asking(way, "rebind.test", origin.port("http"))) in (101, 200)
    assert status(proxy, asking(way, "rebind.test", origin.port("http"))) == 403
    assert status(proxy, asking(way, "rebind.test", forbidden.getsockname()[1])) == 403
    assert untouched(forbidden)
    assert names.asked().count("rebind.test A") == 3


def test_in_a_tunnel_that_is_opened(
    make_daemon: MakeDaemon, names: LiveNameServer, origin: Origin, authority: Authority, forbidden: socket.socket
) -> None:
    names.name("alias.test", ALIASED)
    names.name("inner.test", BAD)
    names.name("rebind.test", [("A", "127.0.0.1", 0)], [("A", "127.0.0.66", 0)])
    more = (
        '[intercept]\nmode = "all-but"\nports = ["all"]\n[upstream]\nmax_idle = 0\n'
        '[[upstream_tls.hosts]]\nnames = ["rebind.test"]\nverify = false\n'
    )
    proxy = make_daemon(
        listen=(), file=settings(names, more), environment={"SSL_CERT_FILE": str(authority.file)}
    ).start()
    trusted = proxy.directory / "trusted.pem"
    trusted.write_text(proxy.control("ca", "export").stdout)
    trust = ssl.create_default_context(cafile=str(trusted))
    port = forbidden.getsockname()[1]
    request = b"GET /hello HTTP/1.1\r\nHost: %b:%d\r\n\r\n"
    assert inside(proxy, trust, "alias.test", port, request % (b"alias.test", port)) == 403
    port = origin.port("https")
    found = [inside(proxy, trust, "rebind.test", port, request % (b"rebind.test", port)) for _ in range(3)]
    assert found[-2:] == [403, 403]
    assert untouched(forbidden)


def test_servers_are_swapped_under_load(
    make_daemon: MakeDaemon, make_server: Callable[[], LiveNameServer], origin: Origin
) -> None:
    """No request fails, whichever server its name was asked for at."""
    both = [make_server(), make_server()]
    for server in both:
        server.name("a.test", [("A", "127.0.0.1", 0)])
    more = "[upstream]\nmax_idle = 0\n"
    proxy = make_daemon(listen=(), file=settings(both[0], more)).start()
    before = proxy.descriptors()
    with Load(proxy.address, f"http://a.test:{origin.port('http')}/hello", least=30) as load:
        for number in range(1, 11):
            asked = len(both[number % 2].asked())
            proxy.reload(settings(both[number % 2], more))
            server = both[number % 2]
            awaited(lambda server=server, asked=asked: len(server.asked()) > asked + 10, "questions at the new server")
    load.assert_no_failure()
    awaited(lambda: proxy.descriptors() <= before, "sockets of the servers of before are closed")


def test_a_server_that_is_gone(make_daemon: MakeDaemon, names: LiveNameServer, origin: Origin) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        mute = f"127.0.0.1:{silent.getsockname()[1]}"
        names.name("a.test", [("A", "127.0.0.1", 0)])
        text = settings(names, "[upstream]\nmax_idle = 0\n", 'attempt_timeout = "500ms"\n')
        proxy = make_daemon(listen=(), file=text.replace("servers = [", f'servers = ["{mute}", ')).start()
        url = f"http://a.test:{origin.port('http')}/hello"
        said = f"the name server {mute} is asked last for 30 s: no reply in 0.5 s"
        awaited(lambda: fetch(proxy, url).content == LINE and said in proxy.log, said)
        count = len(proxy.lines_so_far())
        assert fetch(proxy, url).content == LINE
        seconds = [entry["connect_seconds"] for entry in proxy.access_entries(count + 1)]
        assert min(seconds[0], seconds[1]) > 0.5 > seconds[count]


def test_nobody_replies(make_daemon: MakeDaemon, names: LiveNameServer) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        text = settings(names, "", 'attempt_timeout = "100ms"\nattempts = 1\n')
        mute = f"127.0.0.1:{silent.getsockname()[1]}"
        proxy = make_daemon(listen=(), file=text.replace(names.address, mute)).start()
        answer = fetch(proxy, "http://a.test/")
        assert answer.status == 504
        assert "error=dns_timeout" in answer.fields["Proxy-Status"]
    answer = fetch(proxy, "http://b.test/")
    assert (answer.status, "error=dns_error" in answer.fields["Proxy-Status"]) == (502, True)
    assert [entry["reason"] for entry in proxy.access_entries(2)] == ["dns_timeout", "dns_failed"]


def test_explained(make_daemon: MakeDaemon, names: LiveNameServer) -> None:
    names.name("a.test", [("A", "127.0.0.1", 60)])
    names.name("b.corp.test", [("A", "127.0.0.1", 60)])
    domain = f'[[resolver.domains]]\nnames = ["corp.test"]\nservers = ["{names.address}"]\n'
    proxy = make_daemon(listen=(), file=settings(names, domain)).start()

    def look_up(url: str) -> tuple[str, ...]:
        steps = json.loads(proxy.control("explain", url, "--json").stdout)["requests"][0]["steps"]
        (step,) = [step for step in steps if step["stage"] == "look-up"]
        return step["decision"], step["by"], step["key"], step["detail"]

    assert look_up("http://a.test/") == ("asked", "a.test", "resolver.servers", names.address)
    assert look_up("http://b.corp.test/") == (
        "asked",
        "b.corp.test",
        "resolver.domains",
        f"{names.address}, for corp.test",
    )
    assert look_up("http://no.test/") == ("failed", "no.test", "resolver.servers", "no.test: there is no such name")


def test_connections_are_closed(make_daemon: MakeDaemon, names: LiveNameServer, origin: Origin) -> None:
    """Nothing of a hundred look-ups stays open."""
    for number in range(100):
        names.name(f"n{number}.test", [("A", "127.0.0.1", 60)])
    proxy = make_daemon(listen=(), file=settings(names, "[upstream]\nmax_idle = 0\n")).start()
    before = proxy.descriptors()
    for number in range(100):
        assert fetch(proxy, f"http://n{number}.test:{origin.port('http')}/hello").content == LINE
    awaited(lambda: proxy.descriptors() <= before, "as few descriptors as before")
