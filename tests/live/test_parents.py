"""Requests that go on by another proxy: by a real Squid, and by the next one of a route where the first is gone."""

from __future__ import annotations

import hashlib
import json
import signal
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.command import curl
from tests.live.crew import workers
from tests.live.daemon import ANY_PORT, Daemon, awaited
from tests.live.fetch import connected, fetch
from tests.live.list_server import ListServer
from tests.live.load import Load
from tests.live.microsocks import Microsocks
from tests.live.name_server import LiveNameServer
from tests.live.origin import LINE, Origin
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
    logged,
    password,
    route,
    settings,
)
from tests.live.squid import REFUSED, Heard, Squid
from tests.live.test_access_rules import BY_ADDRESS, BY_HOST, FORBIDDEN, inside
from tests.live.test_name_servers import WAYS, asking
from tests.live.wire.raw import Message
from tests.live.wire.raw import Origin as Listening
from tests.ports import free_port

MakeDaemon = Callable[..., Daemon]
ToUnder = Callable[[str], Under]

CONTENT = bytes(range(256)) * 4096 * 3


@pytest.fixture
def by_account(under: ToUnder, squid: Squid, tmp_path: Path) -> Under:
    """A proxy that goes on by Squid, with an account there."""
    return under(settings(route("office", f"http://127.0.0.1:{squid.known}", file=password(tmp_path))))


# ---------------------------------------------------------------- requests that are forwarded


def test_all_origins_by_one_connection(
    under: ToUnder, squid: Squid, origin: Origin, names: LiveNameServer, tmp_path: Path
) -> None:
    """Names that only the parent knows, of which our name server hears nothing."""
    parent = f"127.0.0.1:{squid.known}"
    resolver = f'[resolver]\nservers = ["{names.address}"]\n'
    proxy = under(settings(route("office", f"http://{parent}", file=password(tmp_path)), more=resolver))
    port, before = origin.port("http"), squid.settled()
    urls = [f"http://{host}:{port}/hello" for host in ("known.test", "127.0.0.1", "KNOWN.test")]
    assert [fetch(proxy.daemon, url).content for url in urls] == [LINE] * 3
    heard = squid.await_heard(3, before)
    assert [one.target for one in heard] == [url.lower() for url in urls]
    assert {one._replace(target="") for one in heard} == {
        Heard(heard[0].client_port, "GET", "", USER, 200, f"{USER}:{PASSWORD}", f"1.1 {PSEUDONYM}")
    }
    entries = proxy.entries(3)
    assert [(one["kind"], one["url"], one["status"]) for one in entries] == [("forward", url, 200) for url in urls]
    assert [one["reused"] for one in entries] == [False, True, True]
    assert {(one["route"], one["upstream_address"]) for one in entries} == {("office", parent)}
    assert answer(proxy.daemon, asking("CONNECT", "known.test", port)).status == 200
    assert answer(proxy.daemon, asking("WebSocket", "known.test", port)).status == 200
    # The tunnel that became no WebSocket is kept.
    assert [one.method for one in squid.await_heard(4, before)] == ["GET"] * 3 + ["CONNECT"]
    assert names.asked() == []


def test_what_the_origin_gets(by_account: Under, squid: Squid, origin: Origin) -> None:
    """Nothing of anybody's credentials for proxies; and the parent gets only ours."""
    port, before = origin.port("http"), squid.settled()
    answered = fetch(by_account.daemon, f"http://known.test:{port}/request?a=b", fields=CLIENTS_OWN | {"X-Mine": "yes"})
    told = json.loads(answered.content)
    assert told["line"] == "GET /request?a=b HTTP/1.1"
    got = {name.lower(): value for name, value in told["fields"]}
    assert (got["host"], got["x-mine"]) == (f"known.test:{port}", "yes")
    assert got["via"] == f"1.1 {PSEUDONYM}, 1.1 squid.test (squid/5.7)"
    assert not any(name.startswith("proxy-") for name in got)
    assert not any(name.lower().startswith("proxy-auth") for name in answered.fields)
    own = f"Proxy-Authorization: {CLIENTS_OWN['Proxy-Authorization']}"
    tunnel = connected(by_account.daemon, f"CONNECT known.test:{port} HTTP/1.1\r\nHost: x\r\n{own}\r\n\r\n".encode())
    assert Message(tunnel.read_through(b"\r\n\r\n")).status == 200
    tunnel.send(b"GET /request HTTP/1.1\r\nHost: y\r\nConnection: close\r\n\r\n")
    told = json.loads(tunnel.read_response().content)
    assert told["fields"] == [["Host", "y"], ["Connection", "close"]]
    tunnel.close()
    heard = squid.await_heard(2, before)
    assert [(one.method, one.credentials) for one in heard] == [
        ("GET", f"{USER}:{PASSWORD}"),
        ("CONNECT", f"{USER}:{PASSWORD}"),
    ]
    assert heard[1].target == f"known.test:{port}"


def test_content_both_ways(by_account: Under, squid: Squid, origin: Origin, tmp_path: Path) -> None:
    options = ("--proxy", by_account.url)
    url, before = f"http://known.test:{origin.port('http')}", squid.settled()
    sent = json.loads(curl(tmp_path, *options, "--upload-file", "-", f"{url}/digest", said=CONTENT))
    assert sent == {"length": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest()}
    posted = curl(tmp_path, *options, "--header", "Transfer-Encoding: chunked", "--data", "a=b", f"{url}/digest")
    assert json.loads(posted) == {"length": 3, "sha256": hashlib.sha256(b"a=b").hexdigest()}
    for path in ("bytes", "chunked"):
        assert curl(tmp_path, *options, f"{url}/{path}/{len(CONTENT)}") == CONTENT
    head = curl(tmp_path, *options, "--head", f"{url}/hello")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Length: 22\r\n" in head
    heard = squid.await_heard(5, before)
    assert [one.method for one in heard] == ["PUT", "POST", "GET", "GET", "HEAD"]
    assert len({one.client_port for one in heard}) == 1
    entries = by_account.entries(5)
    assert entries[0]["bytes_to_upstream"] > len(CONTENT)
    assert min(one["bytes_to_client"] for one in entries[2:4]) > len(CONTENT)


def test_only_the_parents_name_is_asked_for(
    under: ToUnder, squid: Squid, origin: Origin, names: LiveNameServer
) -> None:
    names.name("parent.test", [("A", "127.0.0.1", 60)])
    resolver = f'[resolver]\nservers = ["{names.address}"]\n'
    proxy = under(settings(route("office", f"http://parent.test:{squid.plain}"), more=resolver))
    for way in WAYS:
        assert answer(proxy.daemon, asking(way, "known.test", origin.port("http"))).status == 200, way
    assert sorted(names.asked()) == ["parent.test A", "parent.test AAAA"]


def test_addresses_in_one_spelling(under: ToUnder, squid: Squid) -> None:
    """The parent gets what was judged, and has nothing to make out of it."""
    proxy = under(settings(route("office", f"http://127.0.0.1:{squid.plain}")))
    port = free_port()
    spellings = {
        "127.0.0.1": ("127.1", "0x7f000001", "017700000001", "2130706433", "127.0.0.1."),
        "[::1]": ("[::1]", "[0:0:0:0:0:0:0:1]"),
    }
    for expected, hosts in spellings.items():
        for host in hosts:
            before = squid.settled()
            for way in ("HTTP", "CONNECT"):
                assert answer(proxy.daemon, asking(way, host, port)).status == 503, (way, host)
            heard = squid.await_heard(2, before)
            assert [one.target for one in heard] == [f"http://{expected}:{port}/hello", f"{expected}:{port}"], host


@pytest.mark.parametrize("named", [True, False])
def test_websocket(under: ToUnder, squid: Squid, origin: Origin, tmp_path: Path, named: bool) -> None:
    """By an upgrade, for which the parent opens a tunnel."""
    proxy = under(settings(route("office", f"http://127.0.0.1:{squid.known}", file=password(tmp_path))))
    authority = f"{'known.test' if named else '127.0.0.1'}:{origin.port('ws')}"
    before = squid.settled()
    assert echoes(proxy.daemon, f"http://{authority}/")
    (heard,) = squid.await_heard(1, before)
    assert (heard.method, heard.target, heard.account, heard.status) == ("CONNECT", authority, USER, 200)
    (entry,) = proxy.entries(1)
    assert (entry["kind"], entry["url"], entry["status"]) == ("tunnel", f"http://{authority}/", 101)
    assert (entry["route"], entry["upstream_address"]) == ("office", f"127.0.0.1:{squid.known}")


# ---------------------------------------------------------------- what a parent does not allow


def test_refused_by_the_parent(by_account: Under, squid: Squid, origin: Origin) -> None:
    """Its page for a request that is forwarded, and ours for a tunnel that it does not open."""
    port = origin.port("http")
    page = fetch(by_account.daemon, f"http://{REFUSED}:{port}/hello")
    assert (page.status, page.fields["X-Squid-Error"]) == (403, "ERR_ACCESS_DENIED 0")
    for way in ("CONNECT", "WebSocket"):
        head = answer(by_account.daemon, asking(way, REFUSED, port))
        assert head.status == 403
        assert b"error=http_request_denied" in head.values(b"Proxy-Status")[0]
    entries = by_account.entries(3)
    assert [(one["status"], one["reason"]) for one in entries] == [(403, None)] + [(403, "parent_refused")] * 2
    assert {one["route"] for one in entries} == {"office"}


@pytest.mark.parametrize("words", ["wrong", ""])
@pytest.mark.parametrize("way", WAYS)
def test_credentials_that_are_refused(
    under: ToUnder, squid: Squid, origin: Origin, tmp_path: Path, way: str, words: str
) -> None:
    """The parent's question stays between us."""
    before = squid.settled()
    file = password(tmp_path, words) if words else None
    proxy = under(settings(route("office", f"http://127.0.0.1:{squid.known}", file=file)))
    head = answer(proxy.daemon, asking(way, "known.test", origin.port("http")))
    assert head.status == 502
    assert b"error=proxy_configuration_error" in head.values(b"Proxy-Status")[0]
    assert not [name for name, _ in head.lines if name.lower().startswith(b"proxy-auth")]
    (entry,) = proxy.entries(1)
    assert (entry["status"], entry["reason"]) == (502, "parent_credentials_refused")
    (heard,) = squid.await_heard(1, before)
    assert (heard.status, heard.credentials) == (407, f"{USER}:wrong" if words else "")
    assert "wrong" not in proxy.log + json.dumps(entry)


def test_a_password_is_read_again(under: ToUnder, squid: Squid, origin: Origin, tmp_path: Path) -> None:
    text = settings(route("office", f"http://127.0.0.1:{squid.known}", file=password(tmp_path, "wrong")))
    assert fetch(under(text).daemon, origin.url("http")).status == 502
    file = password(tmp_path)
    proxy = under(text)
    assert fetch(proxy.daemon, origin.url("http")).content == LINE
    # One that everybody can read is not taken, and nothing changes.
    file.chmod(0o644)
    proxy.daemon.reload()
    assert "not reloaded" in proxy.log
    assert str(file) in proxy.log
    assert PASSWORD not in proxy.daemon.log
    assert fetch(proxy.daemon, origin.url("http")).content == LINE
    assert [one["reused"] for one in proxy.entries(2)] == [False, True]


@pytest.mark.parametrize("socks", [False, True], ids=["squid", "socks"])
def test_forbidden_addresses(under: ToUnder, squid: Squid, microsocks: Microsocks, socks: bool, tmp_path: Path) -> None:
    """The parent would go there."""
    forbidden = Listening(address="127.0.0.66")
    by_socks = route("office", f"socks5://127.0.0.1:{microsocks.port}", file=password(tmp_path))
    by_http = route("office", f"http://127.0.0.1:{squid.plain}")
    text = settings(by_socks if socks else by_http)
    proxy = under(text)
    assert answer(proxy.daemon, asking("CONNECT", "127.0.0.66", forbidden.port)).status == 200
    forbidden.accept()
    assert proxy.entries(1)[0]["status"] == 200
    keys = 'refuse_destinations = ["127.0.0.66", "127.0.0.1", "::1"]'
    proxy = under(text.replace('connect_ports = ["all"]', f'connect_ports = ["all"]\n{keys}'))
    before = squid.settled(), len(microsocks.connected())
    hosts = [*FORBIDDEN, "localhost", "LOCALHOST.", "db.localhost", "[::1]"]
    for way in WAYS:
        found = {host: answer(proxy.daemon, asking(way, host, forbidden.port)).status for host in hosts}
        assert found == dict.fromkeys(hosts, 403)
    assert {(one["status"], one["reason"]) for one in proxy.entries(len(hosts) * 3)} == {(403, "destination_denied")}
    assert forbidden.untouched()
    assert (len(squid.heard()), len(microsocks.connected())) == before
    if not socks:
        # What only the parent can look up is the parent's to judge.
        assert answer(proxy.daemon, asking("CONNECT", "forbidden.test", forbidden.port)).status == 200
        forbidden.accept()
    forbidden.close()


@pytest.mark.parametrize("rules", [BY_ADDRESS, BY_HOST], ids=["address", "host"])
def test_what_rules_forbid(under: ToUnder, squid: Squid, origin: Origin, tmp_path: Path, rules: str) -> None:
    """By the address, where that is known; also in tunnels that are opened."""
    table = route("office", f"http://127.0.0.1:{squid.plain}")
    proxy = under(settings(table, rules=rules))
    port, before = origin.port("http"), squid.settled()
    for way in WAYS:
        for host in FORBIDDEN:
            assert answer(proxy.daemon, asking(way, host, port)).status == 403, (way, host)
    entries = proxy.entries(len(WAYS) * len(FORBIDDEN))
    assert {(one["reason"], one["rule"]) for one in entries} == {("denied_by_rule", "no")}
    assert len(squid.heard()) == before
    assert fetch(proxy.daemon, f"http://known.test:{port}/hello").content == LINE
    proxy = under(settings(table, rules=rules, more=f"{NO_POOL}{INTERCEPTING}"))
    file = tmp_path / "trusted.pem"
    file.write_text(proxy.daemon.control("ca", "export").stdout)
    trust = ssl.create_default_context(cafile=str(file))
    trust.check_hostname = False
    request = b"GET /hello HTTP/1.1\r\nHost: %b\r\n\r\n"
    port = origin.port("https")
    for host, expected in (("127.0.0.66", 403), ("0x7f.0x42", 403), ("127.0.0.1", 200), ("localhost", 200)):
        named = request % f"{host}:{port}".encode()
        assert inside(proxy.daemon, trust, host, port, named) == expected, host


# ---------------------------------------------------------------- several parents


def test_the_next_parent_is_used(under: ToUnder, squid: Squid, own_squid: Squid, origin: Origin) -> None:
    first, second = (f"http://127.0.0.1:{one.plain}" for one in (own_squid, squid))
    own_squid.end()
    proxy = under(settings(route("steady", first, second), more=NO_POOL))
    before = squid.settled()
    port = origin.port("http")
    for _ in range(2):
        assert fetch(proxy.daemon, origin.url("http")).content == LINE
        assert answer(proxy.daemon, asking("CONNECT", "127.0.0.1", port)).status == 200
    assert len(squid.await_heard(4, before)) == 4
    assert {one["upstream_address"] for one in proxy.entries(4)} == {f"127.0.0.1:{squid.plain}"}
    assert proxy.log.count(f"warn  the parent {first} of the route steady fails: ") == 1
    assert proxy.metric("pyproxy_parent_failures_total", first, "steady") == 1.0
    assert proxy.metric("pyproxy_parent_failing", first, "steady") == 1.0
    assert proxy.metric("pyproxy_parent_failures_total", second, "steady") == 0.0


@pytest.mark.parametrize("seconds", [0, 1])
def test_a_parent_comes_back(under: ToUnder, squid: Squid, own_squid: Squid, origin: Origin, seconds: int) -> None:
    first, second = (f"http://127.0.0.1:{one.plain}" for one in (own_squid, squid))
    proxy = under(settings(route("eager", first, second), keys=f'retry_after = "{seconds}s"', more=NO_POOL))
    assert fetch(proxy.daemon, origin.url("http")).content == LINE
    assert len(own_squid.await_heard(1)) == 1
    own_squid.end()
    assert fetch(proxy.daemon, origin.url("http")).content == LINE
    if not seconds:
        # It is tried each time.
        assert fetch(proxy.daemon, origin.url("http")).content == LINE
        assert proxy.metric("pyproxy_parent_failures_total", first, "eager") == 2.0
        assert proxy.metric("pyproxy_parent_failing", first, "eager") == 0.0
    assert proxy.log.count(f"the parent {first} of the route eager fails: ") == 1
    own_squid.start()

    def is_used() -> bool:
        assert fetch(proxy.daemon, origin.url("http")).content == LINE
        return len(own_squid.heard()) > 1

    awaited(is_used, "the first parent is used")
    assert proxy.log.count(f"info  the parent {first} of the route eager answers again\n") == 1
    assert proxy.metric("pyproxy_parent_failing", first, "eager") == 0.0
    assert proxy.entries(3)[-1]["upstream_address"] == f"127.0.0.1:{own_squid.plain}"


def test_a_parent_was_replaced(under: ToUnder, own_squid: Squid, origin: Origin) -> None:
    """What was kept of the one before is not used."""
    address = f"http://127.0.0.1:{own_squid.plain}"
    proxy = under(settings(route("replaced", address)))
    for _ in range(3):
        assert fetch(proxy.daemon, origin.url("http")).content == LINE
        own_squid.end()
        own_squid.start()
    assert fetch(proxy.daemon, origin.url("http", "/digest"), "POST", b"a=b").status == 200
    assert [one["reused"] for one in proxy.entries(4)] == [False] * 4
    assert proxy.metric("pyproxy_parent_failures_total", address, "replaced") == 0.0


def test_with_two_workers(make_daemon: MakeDaemon, squid: Squid, origin: Origin, tmp_path: Path) -> None:
    """Each finds out for itself, and they are counted together."""
    gone = f"http://127.0.0.1:{free_port()}"
    table = route("office", gone, f"http://127.0.0.1:{squid.known}", file=password(tmp_path))
    proxy = make_daemon(listen=(), file=settings(table, more=f"[service]\nworkers = 2\n{NO_POOL}")).start()
    workers(proxy, 2)
    before = squid.settled()
    count = 0

    def both_know() -> bool:
        nonlocal count
        assert fetch(proxy, origin.url("http")).content == LINE
        count += 1
        return proxy.log.count(f"the parent {gone} of the route office fails: ") == 2

    awaited(both_know, "both workers have tried it")
    labels = f'parent="{gone}",route="office"'
    told = proxy.control("metrics").stdout
    assert f"pyproxy_parent_failures_total{{{labels}}} 2.0" in told
    assert f"pyproxy_parent_failing{{{labels}}} 2.0" in told
    assert {one.account for one in squid.await_heard(count, before)} == {USER}


def test_no_parent_is_there(under: ToUnder, origin: Origin) -> None:
    first, second = free_port(), free_port()
    proxy = under(settings(route("gone", f"http://127.0.0.1:{first}", f"http://127.0.0.1:{second}")))
    for way in WAYS:
        head = answer(proxy.daemon, asking(way, "known.test", origin.port("http")))
        assert head.status == 502, way
    for entry in proxy.entries(3):
        assert (entry["status"], entry["reason"]) == (502, "parent_unreachable")
        assert all(f"http://127.0.0.1:{port}: " in entry["detail"] for port in (first, second))
    for port in (first, second):
        assert proxy.metric("pyproxy_parent_failures_total", f"http://127.0.0.1:{port}", "gone") == 3.0


def test_a_parent_says_nothing(under: ToUnder, own_squid: Squid, origin: Origin) -> None:
    own_squid.signal(signal.SIGSTOP)
    proxy = under(settings(route("mute", f"http://127.0.0.1:{own_squid.plain}"), keys='timeout = "300ms"'))
    assert answer(proxy.daemon, asking("CONNECT", "known.test", origin.port("http"))).status == 504
    (entry,) = proxy.entries(1)
    assert (entry["reason"], 0.3 <= entry["seconds"] < 3) == ("parent_timeout", True)


# ---------------------------------------------------------------- several routes


def test_rules_choose(under: ToUnder, squid: Squid, microsocks: Microsocks, origin: Origin, tmp_path: Path) -> None:
    file = password(tmp_path)
    routes = (
        route("squid", f"http://127.0.0.1:{squid.known}", file=file),
        route("socks", f"socks5://127.0.0.1:{microsocks.port}", file=file),
    )
    rules = (
        '[[access.rules]]\nname = "a"\nhosts = ["localhost"]\naction = "set"\nroute = "socks"\n'
        '[[access.rules]]\nname = "b"\nhosts = ["127.0.0.1"]\naction = "allow"\nroute = "direct"\n'
    )
    proxy = under(settings(*routes, rules=rules))
    port = origin.port("http")
    before = squid.settled(), len(microsocks.connected())
    vias = {"known.test": ", 1.1 squid.test (squid/5.7)", "localhost": "", "127.0.0.1": ""}
    for host, via in vias.items():
        fields = dict(json.loads(fetch(proxy.daemon, f"http://{host}:{port}/request").content)["fields"])
        assert fields["Via"] == f"1.1 {PSEUDONYM}{via}"
        assert answer(proxy.daemon, asking("CONNECT", host, port)).status == 200
    heard = squid.await_heard(2, before[0])
    assert [one.target for one in heard] == [f"http://known.test:{port}/request", f"known.test:{port}"]
    assert microsocks.await_connected(2, before[1]) == [f"localhost:{port}"] * 2
    taken = {(one["url"].split("//")[-1].split(":")[0], one["route"], one["rule"]) for one in proxy.entries(6)}
    assert taken == {
        ("known.test", "squid", "access.default"),
        ("localhost", "socks", "access.default"),
        ("127.0.0.1", None, "b"),
    }


def test_explained(under: ToUnder, squid: Squid, origin: Origin) -> None:
    parents = f"http://127.0.0.1:{squid.plain}", "socks5://127.0.0.1:1080"
    rule = '[[access.rules]]\nhosts = ["localhost"]\naction = "set"\nroute = "socks"\n'
    proxy = under(settings(*map(route, ("squid", "socks"), parents), rules=rule))
    explained = steps(proxy.daemon, "http://known.test/")
    assert explained["route"] == ("set", "squid", "routes.default", parents[0])
    assert explained["look-up"] == ("left alone", "", "", "the parent looks it up")
    explained = steps(proxy.daemon, "http://localhost/")
    assert explained["route"] == ("set", "socks", "access.rules[0]", parents[1])
    told = proxy.daemon.control("explain", "known.test:443")
    assert (told.returncode, told.stdout.splitlines()[-1]) == (0, "allowed, by access.default")
    assert "the parent looks it up" in told.stdout


def steps(proxy: Daemon, url: str) -> dict[str, tuple[str, ...]]:
    """What is explained of ``url``, by the stage."""
    told = json.loads(proxy.control("explain", url, "--json").stdout)["requests"][0]["steps"]
    return {step["stage"]: (step["decision"], step["by"], step["key"], step["detail"]) for step in told}


def test_routes_are_swapped_under_load(
    under: ToUnder, squid: Squid, microsocks: Microsocks, origin: Origin, tmp_path: Path
) -> None:
    file = password(tmp_path)
    routes = (
        route("squid", f"http://127.0.0.1:{squid.known}", file=file),
        route("socks", f"socks5://127.0.0.1:{microsocks.port}", file=file),
    )
    proxy = under(settings(*routes))
    before = squid.settled(), len(microsocks.connected())
    with Load(proxy.daemon.address, origin.url("http"), least=60) as load:
        for number in range(12):
            name = ("socks", "direct", "squid")[number % 3]
            proxy.daemon.reload(settings(*routes, default=name, more=NO_POOL if number % 2 else ""))
            done = len(load.statuses)
            awaited(lambda done=done: len(load.statuses) > done + 3 or load.errors, "some requests by the new route")
    load.assert_no_failure()
    assert "not reloaded" not in proxy.log
    entries = proxy.entries(len(load.statuses))
    assert {one["route"] for one in entries} == {"squid", "socks", None}
    by_squid = sum(one["route"] == "squid" for one in entries)
    assert len(squid.await_heard(by_squid, before[0])) == by_squid
    by_socks = [one for one in entries if one["route"] == "socks"]
    assert len(microsocks.connected()) - before[1] == sum(not one["reused"] for one in by_socks)


# ---------------------------------------------------------------- circles


def test_lists_come_by_the_parent(
    under: ToUnder, squid: Squid, list_server: ListServer, origin: Origin, trusting: str, tmp_path: Path
) -> None:
    """Of what is blocked, from a server whose name only the parent knows, and from one with TLS."""
    list_server.content = b"a.test\nb.test\n"
    plain = list_server.url.replace("127.0.0.1", "known.test")
    # What comes from there is no list; that it came is what matters.
    secure = origin.url("https", "/hello").replace("127.0.0.1", "localhost")
    lists = "".join(
        f'[[blocklists.lists]]\nname = "{name}"\nsource = "{url}"\n' for name, url in (("ads", plain), ("tls", secure))
    )
    before = squid.settled()
    proxy = under(
        settings(route("office", f"http://127.0.0.1:{squid.known}", file=password(tmp_path)), more=f"{trusting}{lists}")
    )
    heard = {(one.method, one.target, one.account, one.status, one.via) for one in squid.await_heard(2, before)}
    assert heard == {
        ("GET", plain, USER, 200, ""),
        ("CONNECT", secure.removeprefix("https://").removesuffix("/hello"), USER, 200, ""),
    }
    asked = asking("GET", "x.a.test", 80)
    awaited(lambda: answer(proxy.daemon, asked).status == 403, "the list is in use")
    assert list_server.statuses == [200]


def test_in_a_circle(under: ToUnder, make_daemon: MakeDaemon) -> None:
    """Two proxies that go on by each other, and one that would go on by itself."""
    ports = free_port(), free_port()
    listen = [[ANY_PORT.replace(":0:", f":{port}:")] for port in ports]
    tables = [route("other", f"http://127.0.0.1:{port}") for port in reversed(ports)]
    text = [settings(tables[one], listen=listen[one], via=f"proxy-{one}.test", more=NO_POOL) for one in (0, 1)]
    first, second = under(text[0]), make_daemon(listen=(), file=text[1], descriptors=200).start()
    for number, way in enumerate(WAYS, 1):
        assert answer(first.daemon, asking(way, "known.test", 80)).status == 502, way
        # Once round, and no more.
        assert [one["reason"] for one in first.entries(2 * number)].count("loop_detected") == number, way
        assert (len(first.entries(2 * number)), len(logged(second, number))) == (2 * number, number), way
    itself = route("itself", f"http://127.0.0.1:{ports[0]}", f"http://localhost:{ports[0]}")
    first = under(settings(itself, listen=listen[0]))
    for way in WAYS:
        assert answer(first.daemon, asking(way, "known.test", 80)).status == 502, way
    entries = first.entries(3)
    assert {one["reason"] for one in entries} == {"parent_unreachable"}
    assert all(one["detail"].count(f" port {ports[0]} is this proxy itself") == 2 for one in entries)
