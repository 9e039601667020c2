"""TLS and other proxies: tunnels that they open, interception by way of them, and TLS with the proxy itself."""

from __future__ import annotations

import hashlib
import json
import signal
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.live.command import curl
from tests.live.daemon import ANY_PORT, Daemon, awaited
from tests.live.fetch import connected, fetch, request_for, tunnel
from tests.live.origin import LINE, Authority, Origin
from tests.live.parents import (
    INTERCEPTING,
    NO_POOL,
    PASSWORD,
    PSEUDONYM,
    USER,
    Under,
    answer,
    echoes,
    logged,
    password,
    route,
    settings,
)
from tests.live.squid import REFUSED, Squid
from tests.live.test_name_servers import WAYS, asking
from tests.live.wire.raw import Message
from tests.live.wire.raw import Origin as Listening

MakeDaemon = Callable[..., Daemon]
ToUnder = Callable[[str], Under]

CONTENT = bytes(range(256)) * 4096 * 3
OF_PARENT = "parent.test"


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Daemon]:
    """A proxy of our own kind for others to go on by, with a listener without TLS, one with it, and one that shows the
    certificate of somebody else."""
    shown = (authority.leaf, authority.other_leaf)
    listen = [ANY_PORT] + [f"ssl:0:interface=127.0.0.1:privateKey={leaf}:certKey={leaf}" for leaf in shown]
    daemon = Daemon(tmp_path_factory.mktemp("parent"), listen=(), file=settings(via=OF_PARENT, listen=listen)).start()
    yield daemon
    daemon.stop()


@pytest.fixture(params=["http", "https"])
def by_account(
    request: pytest.FixtureRequest, under: ToUnder, squid: Squid, trusting: str, tmp_path: Path
) -> Iterator[Callable[..., Under]]:
    """Lets a proxy go on by Squid as an account, without TLS to it and with it. It is over when all is closed again."""
    port = {"http": squid.known, "https": squid.secured}[request.param]
    table = route("office", f"{request.param}://127.0.0.1:{port}", file=password(tmp_path))
    started: list[tuple[Under, int]] = []

    def start(more: str = "") -> Under:
        proxy = under(settings(table, more=f"{NO_POOL}{trusting}{more}"))
        started.append((proxy, proxy.sockets()))
        return proxy

    yield start
    for proxy, before in started:
        awaited(lambda proxy=proxy, before=before: proxy.sockets() <= before, f"{before} sockets again")


def upstream_of(squid: Squid) -> set[str]:
    return {f"127.0.0.1:{port}" for port in (squid.known, squid.secured)}


def trusted(proxy: Under, directory: Path) -> Path:
    """A file with what signs the leaves of ``proxy``."""
    file = directory / "trusted.pem"
    file.write_text(proxy.daemon.control("ca", "export").stdout)
    return file


# ---------------------------------------------------------------- by Squid, with and without TLS to it


def test_requests_that_are_forwarded(by_account: Callable[..., Under], squid: Squid, origin: Origin) -> None:
    before = squid.settled()
    proxy = by_account()
    url = f"http://known.test:{origin.port('http')}"
    assert fetch(proxy.daemon, f"{url}/hello").content == LINE
    assert fetch(proxy.daemon, f"{url}/bytes/{len(CONTENT)}").content == CONTENT
    sent = json.loads(fetch(proxy.daemon, f"{url}/digest", "POST", CONTENT).content)
    assert sent == {"length": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    heard = squid.await_heard(3, before)
    assert [one.target for one in heard] == [f"{url}{path}" for path in ("/hello", f"/bytes/{len(CONTENT)}", "/digest")]
    assert {(one.account, one.credentials, one.status) for one in heard} == {(USER, f"{USER}:{PASSWORD}", 200)}
    entries = proxy.entries(3)
    assert {one["upstream_address"] for one in entries} < upstream_of(squid)
    assert {(one["route"], one["status"], one["reason"]) for one in entries} == {("office", 200, None)}


def test_tunnels(
    by_account: Callable[..., Under], squid: Squid, origin: Origin, authority: Authority, tmp_path: Path
) -> None:
    """With TLS of the client's own in there."""
    before = squid.settled()
    proxy = by_account()
    options = ("--proxy", proxy.url, "--cacert", authority.file)
    sent = json.loads(curl(tmp_path, *options, "--upload-file", "-", origin.url("https", "/digest"), said=CONTENT))
    assert sent == {"length": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    assert curl(tmp_path, *options, origin.url("https", f"/chunked/{len(CONTENT)}")) == CONTENT
    port = origin.port("https")
    assert curl(tmp_path, *options, f"https://localhost:{port}/hello") == LINE
    heard = squid.await_heard(3, before)
    assert sorted(one.target for one in heard) == [f"127.0.0.1:{port}"] * 2 + [f"localhost:{port}"]
    assert {one[3:] for one in heard} == {(USER, 200, f"{USER}:{PASSWORD}", f"1.1 {PSEUDONYM}")}
    assert {one.method for one in heard} == {"CONNECT"}
    entries = proxy.entries(3)
    assert sorted(one["url"] for one in entries) == sorted(one.target for one in heard)
    assert {(one["kind"], one["route"], one["status"]) for one in entries} == {("tunnel", "office", 200)}
    for moved in ("bytes_to_upstream", "bytes_to_client"):
        assert sum(one[moved] > len(CONTENT) for one in entries) == 1


@pytest.mark.parametrize("scheme", ["https", "h2"])
def test_intercepted(
    by_account: Callable[..., Under], squid: Squid, origin: Origin, tmp_path: Path, scheme: str
) -> None:
    """What is spoken with the origin is agreed on with the origin."""
    before = squid.settled()
    proxy = by_account(INTERCEPTING)
    options = ("--proxy", proxy.url, "--cacert", trusted(proxy, tmp_path))
    assert json.loads(curl(tmp_path, *options, origin.url(scheme, "/request")))["fields"]
    sent = json.loads(curl(tmp_path, *options, "--data-binary", "@-", origin.url(scheme, "/digest"), said=CONTENT))
    assert sent["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert curl(tmp_path, *options, origin.url(scheme, f"/bytes/{len(CONTENT)}")) == CONTENT
    heard = squid.await_heard(1, before)
    assert {(one.method, one.target, one.account) for one in heard} == {
        ("CONNECT", f"127.0.0.1:{origin.port(scheme)}", USER)
    }
    entries = [one for one in proxy.entries(6) if one["kind"] == "forward"]
    assert [one["url"] for one in entries] == [
        origin.url(scheme, path) for path in ("/request", "/digest", f"/bytes/{len(CONTENT)}")
    ]
    assert {(one["route"], one["status"], one["reason"]) for one in entries} == {("office", 200, None)}


def test_websockets(by_account: Callable[..., Under], squid: Squid, origin: Origin, authority: Authority) -> None:
    before = squid.settled()
    proxy = by_account()
    trust = ssl.create_default_context(cafile=str(authority.file))
    with connect(origin.url("wss", "/"), proxy=proxy.url, ssl=trust) as socket:
        socket.send("one" * 100_000)
        assert socket.recv() == "one" * 100_000
    assert echoes(proxy.daemon, f"http://known.test:{origin.port('ws')}/")
    heard = squid.await_heard(2, before)
    assert {(one.method, one.target) for one in heard} == {
        ("CONNECT", f"127.0.0.1:{origin.port('wss')}"),
        ("CONNECT", f"known.test:{origin.port('ws')}"),
    }


def test_a_server_that_speaks_first(by_account: Callable[..., Under]) -> None:
    """None of its words is taken for the parent's, and what it says last arrives."""
    greeting = b"220 ready\r\n" * 1000
    server = Listening()
    proxy = by_account()
    client = connected(proxy.daemon, asking("CONNECT", "127.0.0.1", server.port))
    there = server.accept()
    there.send(greeting)
    assert Message(client.read_through(b"\r\n\r\n")).status == 200
    assert client.read(len(greeting)) == greeting
    client.send(b"QUIT\r\n")
    assert there.read(6) == b"QUIT\r\n"
    there.send(CONTENT)
    there.close()
    assert client.read_to_end() == CONTENT
    client.close()
    server.close()


def test_either_side_breaks_off(by_account: Callable[..., Under]) -> None:
    server = Listening()
    proxy = by_account()
    for which in range(2):
        client = connected(proxy.daemon, asking("CONNECT", "127.0.0.1", server.port))
        there = server.accept()
        assert Message(client.read_through(b"\r\n\r\n")).status == 200
        client.send(b"one")
        assert there.read(3) == b"one"
        (client, there)[which].reset()
        assert (there, client)[which].ended()
        (there, client)[which].close()
    server.close()


def test_many_that_come_to_nothing(by_account: Callable[..., Under], origin: Origin) -> None:
    """Refused by the parent, and left by the client before it was answered."""
    proxy = by_account()
    for number in range(30):
        way = WAYS[number % 3]
        if number % 2:
            connected(proxy.daemon, asking(way, "127.0.0.1", origin.port("http"))).reset()
        else:
            assert answer(proxy.daemon, asking(way, REFUSED, origin.port("http"))).status == 403


def test_a_request_may_wait_for_longer_than_a_tunnel(
    by_account: Callable[..., Under], origin: Origin, tmp_path: Path
) -> None:
    proxy = by_account('[tunnel]\nidle_timeout = "300ms"\n')
    waiting = connected(proxy.daemon, request_for(origin.url("http", f"/gated/{tmp_path.name}")))
    idle = tunnel(proxy.daemon, origin.port("http"))
    assert idle.read_to_end() == b""
    idle.close()
    origin.open(tmp_path.name)
    assert waiting.read_response().content == LINE
    waiting.close()
    assert [(one["kind"], one["reason"]) for one in proxy.entries(2)] == [("tunnel", "tunnel_idle"), ("forward", None)]


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_parent_reads_no_more(
    under: ToUnder, own_squid: Squid, trusting: str, tmp_path: Path, scheme: str, leave: str
) -> None:
    """What a client wanted to say that has left is not kept for ever."""
    port = own_squid.secured if scheme == "https" else own_squid.known
    table = route("stuck", f"{scheme}://127.0.0.1:{port}", file=password(tmp_path))
    proxy = under(settings(table, more=f'{trusting}[tunnel]\nidle_timeout = "300ms"\n'))
    before, server = proxy.sockets(), Listening()
    client = connected(proxy.daemon, asking("CONNECT", "127.0.0.1", server.port))
    assert Message(client.read_through(b"\r\n\r\n")).status == 200
    own_squid.signal(signal.SIGSTOP)
    client.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.send_until_refused(CONTENT)
    getattr(client, leave)()
    awaited(lambda: proxy.sockets() <= before, f"{before} sockets again")
    server.close()


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
def test_left_before_the_parent_has_answered(
    under: ToUnder, own_squid: Squid, trusting: str, tmp_path: Path, scheme: str
) -> None:
    """Whoever waits for it is given up with all that was there for him."""
    own_squid.signal(signal.SIGSTOP)
    port = own_squid.secured if scheme == "https" else own_squid.plain
    table = route("mute", f"{scheme}://127.0.0.1:{port}", file=password(tmp_path))
    proxy = under(settings(table, more=f"{NO_POOL}{trusting}"))
    before = proxy.sockets()
    clients = [connected(proxy.daemon, asking(way, "known.test", 80)) for way in WAYS]
    # A client's connection and one to the parent, for each.
    awaited(lambda: proxy.sockets() >= before + 6, "all are connected to the parent")
    for client in clients:
        client.reset()
    awaited(lambda: proxy.sockets() <= before, f"{before} sockets again")
    assert {one["reason"] for one in proxy.entries(3)} == {"client_left"}


def test_no_time_for_tls(under: ToUnder, squid: Squid, own_squid: Squid, trusting: str, origin: Origin) -> None:
    """A parent that says nothing yet is as good as one that is not there."""
    own_squid.signal(signal.SIGSTOP)
    first, second = f"https://127.0.0.1:{own_squid.secured}", f"http://127.0.0.1:{squid.plain}"
    soon = '[upstream]\nmax_idle = 0\ntls_timeout = "300ms"\n'
    proxy = under(settings(route("late", first, second), more=f"{soon}{trusting}"))
    before = proxy.sockets()
    for _ in range(2):
        assert fetch(proxy.daemon, origin.url("http")).content == LINE
    assert proxy.metric("pyproxy_parent_failures_total", first, "late") == 1.0
    assert proxy.log.count(f"warn  the parent {first} of the route late fails: ") == 1
    entries = proxy.entries(2)
    assert entries[0]["connect_seconds"] > 0.3 > entries[1]["connect_seconds"]
    awaited(lambda: proxy.sockets() <= before, f"{before} sockets again")


# ---------------------------------------------------------------- whom it trusts


@pytest.mark.parametrize("case", ["nobody vouches", "another name"])
def test_a_parent_that_is_not_trusted(
    under: ToUnder, parent: Daemon, squid: Squid, trusting: str, origin: Origin, case: str
) -> None:
    if case == "another name":
        address, words = (
            f"https://127.0.0.1:{parent.addresses[2].rpartition(':')[2]}",
            'asked for 127.0.0.1: it is for "other.example"',
        )
    else:
        address, words = f"https://127.0.0.1:{squid.secured}", "certificate"
        trusting = "[upstream_tls]\nsystem_anchors = false\n"
    before = squid.settled(), len(parent.lines_so_far())
    proxy = under(settings(route("secured", address), more=trusting))
    sockets = proxy.sockets()
    for way in WAYS:
        head = answer(proxy.daemon, asking(way, "known.test", origin.port("http")))
        assert head.status == 502, way
    for entry in proxy.entries(3):
        assert entry["reason"] == "parent_unreachable"
        assert entry["detail"].startswith(f"{address}: "), entry
        assert words in entry["detail"], entry
    assert proxy.log.count(f"warn  the parent {address} of the route secured fails: ") == 1
    assert proxy.metric("pyproxy_parent_failures_total", address, "secured") == 3.0
    assert (len(squid.heard()), len(parent.lines_so_far())) == before
    awaited(lambda: proxy.sockets() <= sockets, "as few sockets as before")


def test_a_parent_without_tls_that_is_said_to_have_it(under: ToUnder, squid: Squid, trusting: str) -> None:
    address = f"https://127.0.0.1:{squid.plain}"
    proxy = under(settings(route("wrong", address), more=trusting))
    for way in WAYS:
        assert answer(proxy.daemon, asking(way, "known.test", 80)).status == 502, way
    assert {one["reason"] for one in proxy.entries(3)} == {"parent_unreachable"}


# ---------------------------------------------------------------- by one of our own kind


@pytest.mark.parametrize("secured", [False, True])
def test_by_one_of_our_own_kind(
    under: ToUnder, parent: Daemon, trusting: str, origin: Origin, authority: Authority, tmp_path: Path, secured: bool
) -> None:
    at = parent.addresses[secured].rpartition(":")[2]
    before = len(parent.lines_so_far())
    proxy = under(settings(route("ours", f"{'https' if secured else 'http'}://localhost:{at}"), more=trusting))
    told = json.loads(fetch(proxy.daemon, origin.url("http", "/request")).content)
    assert told["line"] == "GET /request HTTP/1.1"
    assert [value for name, value in told["fields"] if name == "Via"] == [f"1.1 {PSEUDONYM}", f"1.1 {OF_PARENT}"]
    options = ("--proxy", proxy.url, "--cacert", authority.file)
    assert curl(tmp_path, *options, origin.url("https", f"/bytes/{len(CONTENT)}")) == CONTENT
    assert echoes(proxy.daemon, origin.url("ws", "/").replace("ws:", "http:"))
    heard = {(one["method"], one["url"], one["status"]) for one in logged(parent, 3, before)}
    assert heard == {
        ("GET", origin.url("http", "/request"), 200),
        ("CONNECT", f"127.0.0.1:{origin.port('https')}", 200),
        ("CONNECT", f"127.0.0.1:{origin.port('ws')}", 200),
    }
    assert {one["upstream_address"] for one in proxy.entries(3)} == {f"127.0.0.1:{at}"}


@pytest.mark.parametrize("secured", [False, True])
def test_half_closed(under: ToUnder, parent: Daemon, trusting: str, secured: bool) -> None:
    """A client that has said all waits for the answer. By TLS it gets none, since that ends both ways at once."""
    at = parent.addresses[secured].rpartition(":")[2]
    server = Listening()
    proxy = under(settings(route("ours", f"{'https' if secured else 'http'}://127.0.0.1:{at}"), more=trusting))
    before = proxy.sockets()
    client = connected(proxy.daemon, asking("CONNECT", "127.0.0.1", server.port))
    there = server.accept()
    assert Message(client.read_through(b"\r\n\r\n")).status == 200
    client.send(CONTENT)
    client.finish()
    assert there.read_to_end() == CONTENT
    if not secured:
        there.send(CONTENT)
    there.close()
    assert client.read_to_end() == (b"" if secured else CONTENT)
    client.close()
    server.close()
    awaited(lambda: proxy.sockets() <= before, "as few sockets as before")


@pytest.mark.parametrize("secured", [False, True])
def test_a_reset_is_passed_on_as_one(under: ToUnder, parent: Daemon, trusting: str, secured: bool) -> None:
    """What was broken off does not look whole, in a tunnel either."""
    at = parent.addresses[secured].rpartition(":")[2]
    server = Listening()
    proxy = under(settings(route("ours", f"{'https' if secured else 'http'}://127.0.0.1:{at}"), more=trusting))
    before = proxy.sockets()
    for which in range(2):
        client = connected(proxy.daemon, asking("CONNECT", "127.0.0.1", server.port))
        there = server.accept()
        assert Message(client.read_through(b"\r\n\r\n")).status == 200
        client.send(b"one")
        assert there.read(3) == b"one"
        (client, there)[which].reset()
        assert (there, client)[which].was_reset()
        (there, client)[which].close()
    server.close()
    awaited(lambda: proxy.sockets() <= before, "as few sockets as before")


@pytest.mark.parametrize("secured", [False, True])
def test_cut(under: ToUnder, parent: Daemon, trusting: str, secured: bool) -> None:
    """What was not all there does not pass for it."""
    at = parent.addresses[secured].rpartition(":")[2]
    server = Listening()
    proxy = under(settings(route("ours", f"{'https' if secured else 'http'}://127.0.0.1:{at}"), more=trusting))
    for framing in (b"Content-Length: 100", b"Connection: close"):
        client = connected(proxy.daemon, request_for(f"http://127.0.0.1:{server.port}/"))
        there = server.accept()
        there.read_request()
        there.send(b"HTTP/1.1 200 OK\r\n%b\r\n\r\nsome" % framing)
        head = client.read_through(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"some" in client.read_some()
        there.reset()
        assert b"0\r\n\r\n" not in client.read_to_end()
        client.close()
    server.close()
    assert {one["reason"] for one in proxy.entries(2)} == {"response_cut"}


def test_a_question_about_the_whole_server(under: ToUnder, parent: Daemon) -> None:
    """RFC 9112 section 3.2.4: the last proxy makes an asterisk of it."""
    server = Listening()
    proxy = under(settings(route("ours", f"http://{parent.addresses[0]}")))
    before = len(parent.lines_so_far())
    client = connected(proxy.daemon, request_for(f"http://127.0.0.1:{server.port}", "OPTIONS"))
    there = server.accept()
    assert there.read_request().start == b"OPTIONS * HTTP/1.1"
    there.send(b"HTTP/1.1 204 No Content\r\nAllow: GET\r\n\r\n")
    head = client.read_response()
    assert (head.status, head.values(b"Allow")) == (204, [b"GET"])
    client.close()
    server.close()
    assert [one["url"] for one in logged(parent, 1, before)] == [f"http://127.0.0.1:{server.port}"]
