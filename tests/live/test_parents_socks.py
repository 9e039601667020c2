"""Everything that goes on by another proxy over SOCKS: by a real server of it, with and without a password."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.live.command import curl
from tests.live.daemon import awaited
from tests.live.fetch import connected, fetch
from tests.live.microsocks import Microsocks
from tests.live.name_server import LiveNameServer
from tests.live.origin import LINE, Authority, Origin
from tests.live.parents import (
    CLIENTS_OWN,
    INTERCEPTING,
    NO_POOL,
    PASSWORD,
    PSEUDONYM,
    USER,
    Under,
    answer,
    echoes,
    password,
    route,
    settings,
)
from tests.live.test_name_servers import WAYS, asking
from tests.live.wire.raw import Message
from tests.live.wire.raw import Origin as Listening
from tests.ports import free_port

ToUnder = Callable[[str], Under]

CONTENT = bytes(range(256)) * 4096 * 3


@pytest.fixture(scope="module", params=["open", "with password"])
def server(request: pytest.FixtureRequest) -> Iterator[Microsocks]:
    """A server for everybody, and one for our account."""
    if request.param == "open":
        started = Microsocks()
        yield started
        started.stop()
    else:
        yield request.getfixturevalue("microsocks")


@pytest.fixture
def table(server: Microsocks, tmp_path: Path) -> str:
    """The route by the server. What has no password for us gets none of it."""
    return route("socks", f"socks5://127.0.0.1:{server.port}", file=password(tmp_path))


def test_requests_that_are_forwarded(
    under: ToUnder, table: str, server: Microsocks, origin: Origin, names: LiveNameServer
) -> None:
    """An origin's connections are its own, and it is asked as by ourselves."""
    proxy = under(settings(table, more=f'[resolver]\nservers = ["{names.address}"]\n'))
    port, before = origin.port("http"), len(server.connected())
    told = [
        json.loads(fetch(proxy.daemon, f"http://{host}:{port}/request", fields=CLIENTS_OWN).content)
        for host in ("localhost", "localhost", "127.0.0.1")
    ]
    assert {one["line"] for one in told} == {"GET /request HTTP/1.1"}
    got = [{name.lower(): value for name, value in one["fields"]} for one in told]
    assert [one["host"] for one in got] == [f"localhost:{port}"] * 2 + [f"127.0.0.1:{port}"]
    assert {one["via"] for one in got} == {f"1.1 {PSEUDONYM}"}
    assert not [name for one in got for name in one if name.startswith("proxy-")]
    assert server.await_connected(2, before) == [f"localhost:{port}", f"127.0.0.1:{port}"]
    entries = proxy.entries(3)
    assert [one["reused"] for one in entries] == [False, True, False]
    assert {(one["route"], one["upstream_address"]) for one in entries} == {("socks", f"127.0.0.1:{server.port}")}
    # Whoever looks names up says what comes of it.
    for way in WAYS:
        assert answer(proxy.daemon, asking(way, "no.invalid", port)).status == 502
    assert {(one["reason"], one["detail"]) for one in proxy.entries(6)[3:]} == {
        ("parent_failed", f"socks5://127.0.0.1:{server.port}: the parent says: general failure")
    }
    assert names.asked() == []


def test_content_both_ways(under: ToUnder, table: str, origin: Origin, authority: Authority, tmp_path: Path) -> None:
    proxy = under(settings(table))
    for scheme in ("http", "https"):
        options = ("--proxy", proxy.url, "--cacert", authority.file)
        sent = curl(tmp_path, *options, "--upload-file", "-", origin.url(scheme, "/digest"), said=CONTENT)
        assert json.loads(sent)["length"] == len(CONTENT)
        for path in ("bytes", "chunked"):
            assert curl(tmp_path, *options, origin.url(scheme, f"/{path}/{len(CONTENT)}")) == CONTENT


def test_tunnels(
    under: ToUnder, table: str, server: Microsocks, origin: Origin, authority: Authority, tmp_path: Path
) -> None:
    proxy = under(settings(table))
    port, before = origin.port("https"), len(server.connected())
    options = ("--proxy", proxy.url, "--cacert", authority.file)
    for host in ("localhost", "127.0.0.1"):
        assert curl(tmp_path, *options, f"https://{host}:{port}/hello") == LINE
    assert server.await_connected(2, before) == [f"localhost:{port}", f"127.0.0.1:{port}"]
    entries = proxy.entries(2)
    assert sorted(one["url"] for one in entries) == [f"127.0.0.1:{port}", f"localhost:{port}"]
    for entry in entries:
        assert (entry["kind"], entry["status"]) == ("tunnel", 200)
        assert (entry["route"], entry["upstream_address"]) == ("socks", f"127.0.0.1:{server.port}")
        assert entry["connect_seconds"] > 0


def test_a_server_that_speaks_first(under: ToUnder, table: str) -> None:
    """None of its words is taken for the parent's."""
    greeting = b"220 ready\r\n" * 1000
    origin = Listening()
    proxy = under(settings(table))
    client = connected(proxy.daemon, asking("CONNECT", "127.0.0.1", origin.port))
    there = origin.accept()
    there.send(greeting)
    assert Message(client.read_through(b"\r\n\r\n")).status == 200
    assert client.read(len(greeting)) == greeting
    client.send(b"QUIT\r\n")
    assert there.read(6) == b"QUIT\r\n"
    there.close()
    assert client.ended()
    client.close()
    origin.close()


@pytest.mark.parametrize("scheme", ["https", "h2"])
def test_intercepted(
    under: ToUnder, table: str, server: Microsocks, origin: Origin, tmp_path: Path, scheme: str
) -> None:
    """What is spoken with the origin is agreed on with the origin."""
    proxy = under(settings(table, more=INTERCEPTING))
    file = tmp_path / "trusted.pem"
    file.write_text(proxy.daemon.control("ca", "export").stdout)
    port, before = origin.port(scheme), len(server.connected())
    url = f"https://localhost:{port}"
    options = ("--proxy", proxy.url, "--cacert", file)
    told = json.loads(curl(tmp_path, *options, f"{url}/request"))
    fields = {name.lower(): value for name, value in told["fields"]}
    assert fields["via"].removeprefix("2.0 ").removeprefix("2 ") == PSEUDONYM, fields
    assert curl(tmp_path, *options, f"{url}/bytes/{len(CONTENT)}") == CONTENT
    assert server.await_connected(1, before) == [f"localhost:{port}"]
    entries = [one for one in proxy.entries(4) if one["kind"] == "forward"]
    assert [(one["url"], one["route"], one["reused"]) for one in entries] == [
        (f"{url}/request", "socks", False),
        (f"{url}/bytes/{len(CONTENT)}", "socks", True),
    ]


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_websockets(
    under: ToUnder, table: str, server: Microsocks, origin: Origin, authority: Authority, scheme: str
) -> None:
    proxy = under(settings(table))
    before, authority_of = len(server.connected()), f"127.0.0.1:{origin.port(scheme)}"
    trust = ssl.create_default_context(cafile=str(authority.file)) if scheme == "wss" else None
    with connect(origin.url(scheme, "/"), proxy=proxy.url, ssl=trust) as socket:
        socket.send("one")
        assert socket.recv() == "one"
    if scheme == "ws":
        assert echoes(proxy.daemon, f"http://{authority_of}/")
        entry = proxy.entries(2)[-1]
        assert (entry["kind"], entry["method"], entry["status"], entry["route"]) == ("tunnel", "GET", 101, "socks")
    assert set(server.await_connected(1 + (scheme == "ws"), before)) == {authority_of}


@pytest.mark.parametrize("file", ["wrong", "none"])
def test_credentials_that_are_refused(under: ToUnder, origin: Origin, tmp_path: Path, file: str) -> None:
    server = Microsocks(USER, PASSWORD)
    words = password(tmp_path, "wrong") if file == "wrong" else None
    proxy = under(settings(route("socks", f"socks5://127.0.0.1:{server.port}", file=words)))
    for way in WAYS:
        head = answer(proxy.daemon, asking(way, "localhost", origin.port("http")))
        assert head.status == 502, way
        assert b"error=proxy_configuration_error" in head.values(b"Proxy-Status")[0]
        assert not [name for name, _ in head.lines if name.lower().startswith(b"proxy-auth")]
    why = "it does not take name and password" if words else "it takes no one without name and password"
    assert {(one["reason"], one["detail"]) for one in proxy.entries(3)} == {
        ("parent_credentials_refused", f"socks5://127.0.0.1:{server.port}: {why}")
    }
    assert server.connected() == []
    server.stop()


def test_an_origin_that_is_not_there(under: ToUnder, table: str, server: Microsocks) -> None:
    """That is no fault of the parent's."""
    proxy = under(settings(table))
    for way in WAYS:
        assert answer(proxy.daemon, asking(way, "127.0.0.1", free_port())).status == 502
    assert {one["reason"] for one in proxy.entries(3)} == {"connection_refused"}
    parent = f"socks5://127.0.0.1:{server.port}"
    assert proxy.metric("pyproxy_parent_failures_total", parent, "socks") == 0.0


def test_nothing_stays_open(under: ToUnder, table: str, origin: Origin) -> None:
    proxy = under(settings(table, more=NO_POOL))
    assert fetch(proxy.daemon, origin.url("http")).content == LINE
    before = proxy.sockets()
    for number in range(30):
        way = WAYS[number % 3]
        port = free_port() if number % 2 else origin.port("http")
        assert answer(proxy.daemon, asking(way, "127.0.0.1", port)).status == (502 if number % 2 else 200)
    awaited(lambda: proxy.sockets() <= before, "as few sockets as before")
