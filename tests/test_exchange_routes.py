"""The stage of the routes, in every kind of exchange, with the network in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.inner import Inner, established
from tests.memory import MemoryTransport, Wire
from twistedproxy import errors

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: d\r\n\r\nhi"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def routed(password: Path | None = None, *more: tuple[str, str], default: str = "office") -> Wire:
    secret = f', user = "us", password_file = "{password}"' if password is not None else ""
    tables = (
        f'[{{ name = "office", parents = ["http://a.test:3128"]{secret} }},'
        ' { name = "far", parents = ["socks5://b.test:1080"] }]'
    )
    return Wire(("routes.tables", tables), ("routes.default", default), *more)


def ruled(*rules: dict[str, Any], default: str = "office", **access: str) -> Wire:
    written = [f"{{ {', '.join(f'{name} = {json.dumps(value)}' for name, value in rule.items())} }}" for rule in rules]
    more = [(f"access.{name}", value) for name, value in access.items()]
    return routed(None, ("access.rules", f"[{', '.join(written)}]"), *more, default=default)


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_bytes(b"pw\n")
    path.chmod(0o600)
    return path


def ask(wire: Wire, url: str = "http://origin.test/path", fields: bytes = b"", method: str = "GET") -> MemoryTransport:
    client = wire.client()
    client.receive(f"{method} {url} HTTP/1.1\r\nHost: x\r\n".encode() + fields + b"\r\n")
    return client


def ways(wire: Wire) -> list[tuple[str, str, int]]:
    return [(dial.route, dial.host, dial.port) for dial in wire.dialer.dials]


# ---------------------------------------------------------------- requests that a parent forwards


def test_an_http_parent_gets_the_whole_url(password: Path) -> None:
    wire = routed(password)
    client = ask(wire, fields=b"Proxy-Authorization: Basic c2VjcmV0\r\nAccept: a/b\r\n")
    assert ways(wire) == [("office", "", 0)]
    (parent,) = wire.origins
    assert parent.take() == (
        b"GET http://origin.test/path HTTP/1.1\r\n"
        b"Host: origin.test\r\n"
        b"Accept: a/b\r\n"
        b"Via: 1.1 proxy.test\r\n"
        b"Proxy-Authorization: Basic dXM6cHc=\r\n"
        b"\r\n"
    )
    parent.receive(OK)
    assert client.take().endswith(b"hi")
    (record,) = wire.records.all
    assert (record.kind, record.status, record.upstream_address) == ("forward", 200, "192.0.2.1:0")
    assert record.route is not None
    assert record.route.name == "office"


def test_all_origins_share_the_connections_to_a_parent() -> None:
    wire = routed()
    for url in ("http://origin.test/", "http://other.test:8000/", "http://[2606:4700::1]/"):
        client = ask(wire, url)
        (parent,) = wire.origins
        assert parent.take().startswith(f"GET {url} HTTP/1.1\r\nHost: {url[7:-1]}\r\n".encode())
        parent.receive(OK)
        assert client.take().endswith(b"hi")
    assert [record.reused for record in wire.records.all] == [False, True, True]
    assert repr(wire.pool) == "<Pool open=1 idle=1 waiting=0>"


@pytest.mark.parametrize(
    ("method", "url", "line"),
    [
        ("GET", "http://origin.test", b"GET http://origin.test/ HTTP/1.1\r\n"),
        ("GET", "http://origin.test?a", b"GET http://origin.test/?a HTTP/1.1\r\n"),
        ("GET", "HTTP://Origin.test:80/", b"GET http://Origin.test:80/ HTTP/1.1\r\n"),
        # RFC 9112 section 3.2.4: the last proxy makes an asterisk of it.
        ("OPTIONS", "http://origin.test:8000", b"OPTIONS http://origin.test:8000 HTTP/1.1\r\n"),
    ],
)
def test_the_target_is_in_absolute_form(method: str, url: str, line: bytes) -> None:
    wire = routed()
    ask(wire, url, method=method)
    assert wire.origins[0].take().startswith(line)


def test_a_request_that_is_repeated_has_the_same_head(password: Path) -> None:
    wire = routed(password)
    client = wire.client()
    heads = []
    for _ in range(2):
        client.receive(b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nA: b\r\n\r\n")
        heads.append(wire.origins[0].take())
        wire.origins[0].receive(OK)
    assert heads[0] == heads[1]
    assert heads[0].count(b"Proxy-Authorization: Basic dXM6cHc=\r\n") == 1
    # What was kept for the next one is without it.
    wire.reload(*[])
    client.receive(b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nA: b\r\n\r\n")
    assert b"Proxy-Authorization" not in wire.origins[1].take()


def test_a_parent_that_asks_who_we_are_does_not_ask_the_client() -> None:
    wire = routed()
    client = ask(wire)
    wire.origins[0].receive(
        b"HTTP/1.1 407 Proxy Authentication Required\r\n"
        b'Proxy-Authenticate: Basic realm="x"\r\n'
        b"Content-Length: 0\r\n"
        b"\r\n"
    )
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"error=proxy_configuration_error" in answer
    assert b"Proxy-Authenticate" not in answer
    assert b"What was wrong: 192.0.2.1:0 answered 407." in answer
    assert wire.records.reasons == ["parent_credentials_refused"]
    assert wire.origins[0].closed == "aborted"


def test_an_upgrade_needs_a_tunnel() -> None:
    """RFC 6455 section 4.1."""
    wire = routed()
    ask(wire, fields=b"Upgrade: websocket\r\nConnection: Upgrade\r\n")
    assert ways(wire) == [("office", "origin.test", 80)]
    assert wire.origins[0].take().startswith(b"GET /path HTTP/1.1\r\nHost: origin.test\r\n")


def test_a_socks_parent_is_not_seen_by_the_origin() -> None:
    wire = routed(default="far")
    for url in ("http://origin.test/path", "http://origin.test/path", "http://other.test/"):
        ask(wire, url)
    assert ways(wire) == [("far", "origin.test", 80), ("far", "origin.test", 80), ("far", "other.test", 80)]
    assert wire.origins[0].take().startswith(b"GET /path HTTP/1.1\r\nHost: origin.test\r\n")


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (errors.ParentUnreachable("x"), b"502 Bad Gateway", "parent_unreachable"),
        (errors.ParentTimeout("x"), b"504 Gateway Timeout", "parent_timeout"),
        (errors.ParentRefused("x"), b"403 Forbidden", "parent_refused"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_why_there_is_no_way(error: errors.ProxyError, status: bytes, reason: str, method: str) -> None:
    wire = routed()
    wire.dialer.open = False
    client = ask(wire, "origin.test:443" if method == "CONNECT" else "http://origin.test/", method=method)
    wire.dialer.dials[0].fail(error)
    assert client.take().startswith(b"HTTP/1.1 " + status)
    (record,) = wire.records.all
    # It was on its way: this is no refusal of ours.
    assert (record.kind, record.reason) == ("tunnel" if method == "CONNECT" else "forward", reason)


def test_who_leaves_gives_up_the_way() -> None:
    wire = routed()
    wire.dialer.open = False
    for client in (ask(wire), ask(wire, "origin.test:443", method="CONNECT")):
        client.peer_resets()
    assert [dial.cancelled for dial in wire.dialer.dials] == [True, True]
    assert wire.pool.open_connections == 0


# ---------------------------------------------------------------- tunnels


def test_a_tunnel_by_a_parent() -> None:
    wire = routed()
    client = ask(wire, "origin.test:8443", method="CONNECT")
    assert ways(wire) == [("office", "origin.test", 8443)]
    assert client.take() == ESTABLISHED
    client.receive(b"abc")
    assert wire.origins[0].take() == b"abc"
    wire.origins[0].receive(b"de")
    assert client.take() == b"de"


def test_what_is_looked_into_goes_the_same_way() -> None:
    wire = routed(None, ("intercept.mode", "all-but"))
    client = established(wire)
    inner = Inner(wire, client)
    inner.shake_hands()
    inner.ask(b"GET /path HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    assert ways(wire) == [("office", "origin.test", 443)]


# ---------------------------------------------------------------- which one


def test_rules_choose() -> None:
    wire = ruled(
        {"hosts": ["far.test"], "action": "set", "route": "far"},
        {"hosts": ["near.test"], "action": "allow", "route": "direct"},
    )
    for host in ("far.test", "near.test", "other.test"):
        ask(wire, f"http://{host}/")
    assert ways(wire) == [("far", "far.test", 80), ("", "near.test", 80), ("office", "", 0)]


def test_ways_do_not_mix() -> None:
    wire = ruled({"methods": ["HEAD"], "action": "set", "route": "far"}, default="direct")
    for method in ("GET", "HEAD", "GET", "HEAD"):
        ask(wire, method=method)
        wire.origins[-1 if len(wire.origins) == 1 or method == "HEAD" else 0].receive(
            OK if method == "GET" else OK[:-2]
        )
    assert ways(wire) == [("", "origin.test", 80), ("far", "origin.test", 80)]
    assert [record.route and record.route.name for record in wire.records.all] == [None, "far", None, "far"]


def test_a_reload_takes_another_way() -> None:
    wire = routed()
    ask(wire)
    wire.origins[0].receive(OK)
    wire.reload(("routes.tables", '[{ name = "office", parents = ["http://c.test:1"] }]'), ("routes.default", "office"))
    assert wire.origins[0].closed == "aborted"
    ask(wire)
    wire.reload()
    ask(wire)
    assert ways(wire) == [("office", "", 0), ("office", "", 0), ("", "origin.test", 80)]


# ---------------------------------------------------------------- addresses, which are judged here


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "0xa9.0xfe.0xa9.0xfe", "2852039166", "0251.0376.0251.0376", "[::ffff:169.254.169.254]"],
)
@pytest.mark.parametrize("default", ["office", "far"])
def test_an_address_that_is_refused_is_refused_on_every_route(host: str, default: str) -> None:
    wire = routed(default=default)
    answers = [ask(wire, f"http://{host}/").take(), ask(wire, f"{host}:443", method="CONNECT").take()]
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert wire.records.reasons == ["destination_denied"] * 2
    assert ways(wire) == []


@pytest.mark.parametrize("host", ["localhost", "LocalHost.", "a.localhost", "127.0.0.1", "127.1"])
def test_a_parent_is_not_sent_to_itself(host: str) -> None:
    wire = ruled(refuse_destinations='["loopback"]')
    assert ask(wire, f"http://{host}/").take().startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert wire.records.reasons == ["destination_denied"]


def test_our_own_listener_is_no_way_to_go() -> None:
    wire = routed()
    assert ask(wire, "http://127.0.0.1:8080/").take().startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert wire.records.reasons == ["destination_denied"]


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("http://0x08080808/a", b"GET http://8.8.8.8/a HTTP/1.1\r\nHost: 8.8.8.8\r\n"),
        ("http://010.8.8.8:80/", b"GET http://8.8.8.8/ HTTP/1.1\r\nHost: 8.8.8.8\r\n"),
        ("http://134744072:81/", b"GET http://8.8.8.8:81/ HTTP/1.1\r\nHost: 8.8.8.8:81\r\n"),
        ("http://[2606:4700:0::1]:81/", b"GET http://[2606:4700::1]:81/ HTTP/1.1\r\nHost: [2606:4700::1]:81\r\n"),
        ("http://8.8.8.8:80/", b"GET http://8.8.8.8:80/ HTTP/1.1\r\nHost: 8.8.8.8:80\r\n"),
    ],
)
def test_the_parent_gets_the_address_that_was_judged(url: str, line: bytes) -> None:
    """What it makes of another spelling is not known."""
    wire = routed()
    ask(wire, url)
    assert wire.origins[0].take().startswith(line)


def test_so_does_one_who_is_asked_for_a_tunnel() -> None:
    wire = routed()
    ask(wire, "0x08080808:443", method="CONNECT")
    ask(wire, "[2606:4700::0:1]:443", method="CONNECT")
    assert ways(wire) == [("office", "8.8.8.8", 443), ("office", "2606:4700::1", 443)]


# ---------------------------------------------------------------- rules that ask for the destination


def test_they_fit_no_name() -> None:
    wire = ruled(
        {"name": "inner", "destinations": ["10.0.0.0/8"], "action": "deny"},
        {"name": "outer", "not_destinations": ["10.0.0.0/8"], "action": "deny"},
        {"name": "all", "action": "allow"},
    )
    wire.dialer.open = False
    ask(wire)
    ask(wire, "origin.test:443", method="CONNECT")
    assert ways(wire) == [("office", "", 0), ("office", "origin.test", 443)]
    for dial in wire.dialer.dials:
        dial.succeed("10.0.0.1")
    wire.origins[0].receive(OK)
    assert [record.rule for record in wire.records.all] == ["all"]


def test_what_they_would_have_allowed_is_denied() -> None:
    wire = ruled({"destinations": ["10.0.0.0/8"], "action": "allow"}, {"action": "deny", "name": "rest"})
    assert ask(wire).take().startswith(b"HTTP/1.1 403 Forbidden\r\n")
    (record,) = wire.records.all
    assert (record.reason, record.rule) == ("denied_by_rule", "rest")
    assert ways(wire) == []


def test_they_fit_an_address() -> None:
    wire = ruled(
        {"name": "inner", "destinations": ["10.0.0.0/8"], "action": "allow"}, {"action": "deny", "name": "rest"}
    )
    ask(wire, "http://10.0.0.1/")
    wire.origins[0].receive(OK)
    ask(wire, "http://10.1/")
    wire.origins[0].receive(OK)
    assert ask(wire, "http://11.0.0.1/").take().startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert [(record.status, record.rule) for record in wire.records.all] == [
        (200, "inner"),
        (200, "inner"),
        (403, "rest"),
    ]


def test_where_the_way_is_direct_nothing_changes() -> None:
    wire = ruled({"name": "inner", "destinations": ["192.0.2.0/24"], "action": "deny"}, default="direct")
    assert ask(wire).take().startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert ways(wire) == [("", "origin.test", 80)]
