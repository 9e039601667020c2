"""The stage of the access rules, in every kind of exchange, with the network in memory."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.address import IPv4Address

from tests.inner import Inner, connect_to, established
from tests.memory import MemoryTransport, Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: d\r\n\r\nhi"
OTHER = IPv4Address("TCP", "127.0.0.9", 40001)


def wire_with(*rules: dict[str, Any], **settings: str) -> Wire:
    written = [f"{{ {', '.join(f'{name} = {_toml(value)}' for name, value in rule.items())} }}" for rule in rules]
    more = [(f"access.{name}", value) for name, value in settings.items()]
    return Wire(("access.rules", f"[{', '.join(written)}]"), ("access.refuse_destinations", "[]"), *more)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {_toml(one)}" for name, one in value.items()) + " }"
    return json.dumps(value)


def ask(wire: Wire, url: str = "http://origin.test/", fields: bytes = b"", address: Any = None) -> MemoryTransport:
    client = wire.client(address) if address else wire.client()
    client.receive(f"GET {url} HTTP/1.1\r\nHost: x\r\n".encode() + fields + b"\r\n")
    return client


# ---------------------------------------------------------------- a request


def test_a_denied_request_is_answered_and_recorded() -> None:
    wire = wire_with(
        {"name": "<games>", "hosts": [".games.test"], "action": "deny", "status": 451, "text": "Not <here>."}
    )
    client = ask(wire, "http://a.games.test/", b"Accept: text/html\r\n")
    answer = client.take().decode()
    assert answer.startswith("HTTP/1.1 451 Unavailable For Legal Reasons\r\n")
    assert "\r\nProxy-Status: proxy.test; error=http_request_denied\r\n" in answer
    assert "<p>Not &lt;here&gt;.</p>" in answer
    assert "What was wrong: the rule &quot;&lt;games&gt;&quot;." in answer
    (record,) = wire.records.all
    assert (record.kind, record.status, record.reason, record.rule) == ("answer", 451, "denied_by_rule", "<games>")
    assert wire.dialer.dials == []
    # The connection goes on.
    client.receive(b"GET http://origin.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
    wire.origins[0].receive(OK)
    assert client.take().endswith(b"hi")
    assert wire.records.all[1].rule == "access.default"


def test_without_rules_nothing_is_asked() -> None:
    wire = Wire()
    assert wire.plane.snapshot.rules is None
    ask(wire)
    wire.origins[0].receive(OK)
    assert wire.records.all[0].rule == ""


@pytest.mark.parametrize(
    ("rule", "request_", "allowed"),
    [
        ({"clients": ["127.0.0.9"]}, {"address": OTHER}, False),
        ({"clients": ["127.0.0.9"]}, {}, True),
        ({"listeners": ["tcp:8080:interface=127.0.0.1"]}, {}, False),
        ({"not_listeners": ["tcp:8080:interface=127.0.0.1"]}, {}, True),
        ({"days": ["fri"], "hours": ["08:00-08:01"], "zone": "UTC"}, {}, False),
        ({"days": ["sat"], "zone": "UTC"}, {}, True),
        ({"methods": ["GET"], "schemes": ["http"], "ports": [80], "ways": ["plain"]}, {}, False),
        ({"paths": ["/a*"]}, {"url": "http://origin.test/x/..//a"}, False),
        ({"paths": ["/a*"]}, {"url": "http://origin.test/x/../%61b?q"}, False),
        ({"urls": ["http://origin.test/?q=*"]}, {"url": "http://ORIGIN.test?q=1"}, False),
        ({"fields": {"User-Agent": ["curl/*"]}}, {"fields": b"user-agent: curl/8\r\n"}, False),
        ({"fields": {"User-Agent": ["curl/*"]}}, {"fields": b"user-agent: Mozilla\r\n"}, True),
    ],
)
def test_what_is_asked(rule: dict[str, Any], request_: dict[str, Any], allowed: bool) -> None:
    wire = wire_with({**rule, "action": "deny"})
    client = ask(wire, **request_)
    if allowed:
        wire.origins[0].receive(OK)
    assert client.take().startswith(b"HTTP/1.1 200 " if allowed else b"HTTP/1.1 403 ")


def test_the_other_keys_go_first() -> None:
    wire = wire_with({"name": "all", "action": "allow"}, clients='["10.0.0.0/8"]')
    assert ask(wire).take().startswith(b"HTTP/1.1 403 ")
    assert [(record.reason, record.rule) for record in wire.records.all] == [("client_denied", "")]
    wire = Wire(("access.connect_ports", "443"), ("access.rules", '[{ action = "allow" }]'))
    client = wire.client()
    client.receive(connect_to("origin.test:25"))
    assert client.take().startswith(b"HTTP/1.1 403 ")
    assert wire.records.reasons == ["port_denied"]


def test_who_is_not_known_is_asked() -> None:
    wire = wire_with({"name": "login", "action": "ask"})
    assert ask(wire).take().startswith(b"HTTP/1.1 407 Proxy Authentication Required\r\n")
    assert wire.records.reasons == ["credentials_wanted"]


def test_a_target_that_is_too_long_for_patterns() -> None:
    wire = wire_with({"urls": ["*x"], "action": "deny"})
    assert ask(wire, "http://origin.test/" + "a" * 9000).take().startswith(b"HTTP/1.1 414 ")


def test_a_path_of_two_meanings() -> None:
    wire = wire_with({"paths": ["/secret*"], "action": "deny"})
    assert ask(wire, "http://origin.test/public/..%2fsecret").take().startswith(b"HTTP/1.1 400 ")
    assert wire.records.reasons == ["invalid_target"]
    # It is nothing to rules that do not look at paths.
    wire = wire_with({"hosts": ["other.test"], "action": "deny"})
    ask(wire, "http://origin.test/public/..%2fsecret")
    assert len(wire.dialer.dials) == 1


def test_the_proxys_own_page_is_not_judged() -> None:
    wire = wire_with(default="deny")
    assert ask(wire, "http://pyproxy.internal/").take().startswith(b"HTTP/1.1 200 ")


def test_what_is_not_to_be_logged() -> None:
    wire = wire_with({"hosts": ["quiet.test"], "action": "set", "log": False}, {"paths": ["/no"], "action": "deny"})
    for path in ("", "no"):
        ask(wire, f"http://quiet.test/{path}")
        ask(wire, f"http://other.test/{path}")
    for origin in wire.origins:
        origin.receive(OK)
    # What is refused is written down all the same.
    assert [(record.url, record.status) for record in wire.records.all] == [
        (b"http://quiet.test/no", 403),
        (b"http://other.test/no", 403),
        (b"http://other.test/", 200),
    ]


# ---------------------------------------------------------------- by the address


def test_an_address_is_judged_when_it_is_known() -> None:
    wire = wire_with({"name": "inside", "destinations": ["10.0.0.0/8"], "action": "deny"})
    wire.dialer.address = "10.0.0.1"
    assert ask(wire).take().startswith(b"HTTP/1.1 403 ")
    wire.dialer.address = "192.0.2.1"
    ask(wire)
    wire.origins[0].receive(OK)
    assert [(record.kind, record.reason, record.rule) for record in wire.records.all] == [
        ("answer", "denied_by_rule", "inside"),
        ("forward", "", "access.default"),
    ]


def test_a_tunnel_by_its_address() -> None:
    wire = wire_with({"name": "inside", "destinations": ["10.0.0.0/8"], "action": "deny"})
    wire.dialer.address = "10.0.0.1"
    client = wire.client()
    client.receive(connect_to("origin.test:443"))
    assert client.take().startswith(b"HTTP/1.1 403 ")
    wire.dialer.address = "192.0.2.1"
    established(wire)
    assert [record.rule for record in wire.records.all] == ["inside"]


# ---------------------------------------------------------------- tunnels, and what is inside


def test_a_denied_tunnel() -> None:
    wire = wire_with({"name": "no", "ways": ["tunnel"], "hosts": ["origin.test"], "action": "deny"})
    client = wire.client()
    client.receive(connect_to("origin.test:443"))
    assert client.take().startswith(b"HTTP/1.1 403 ")
    assert wire.records.all[0].rule == "no"


@pytest.mark.parametrize(
    ("mode", "wanted", "looked_into"),
    [
        ("off", True, True),
        ("off", False, False),
        ("all-but", False, False),
        ("all-but", True, True),
        ("listed", True, True),
    ],
)
def test_whether_a_tunnel_is_looked_into(mode: str, wanted: bool, looked_into: bool) -> None:
    wire = Wire(
        ("intercept.mode", mode),
        ("access.rules", f'[{{ clients = ["127.0.0.1"], action = "set", intercept = {str(wanted).lower()} }}]'),
    )
    established(wire)
    # What is looked into connects to nobody before it has heard something.
    assert wire.dialer.dials == [] if looked_into else len(wire.dialer.dials) == 1


def test_what_is_left_alone_stays_so() -> None:
    wire = Wire(("intercept.leave_alone", "origin.test"), ("access.rules", '[{ action = "set", intercept = true }]'))
    established(wire)
    assert len(wire.dialer.dials) == 1


def test_requests_inside_are_judged_with_their_whole_url() -> None:
    secret = '{ name = "secret", urls = ["https://origin.test/secret*"], action = "deny" }'
    inside = '{ name = "inside", ways = ["intercepted"], paths = ["/ask"], action = "ask" }'
    wire = Wire(("intercept.mode", "all-but"), ("access.rules", f"[{secret}, {inside}]"))
    inner = Inner(wire, established(wire))
    inner.shake_hands()
    inner.ask(b"GET /%73ecret/x HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    assert inner.heard().startswith(b"HTTP/1.1 403 ")
    inner.ask(b"GET /ask HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    # It would be the origin that is sent the credentials.
    assert inner.heard().startswith(b"HTTP/1.1 403 ")
    inner.ask(b"GET /other HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    assert len(wire.dialer.dials) == 1
    assert [(record.kind, record.rule) for record in wire.records.all] == [
        ("intercept", "access.default"),
        ("answer", "secret"),
        ("answer", "inside"),
    ]


def test_a_websocket_is_judged_as_a_request() -> None:
    wire = wire_with({"fields": {"Upgrade": ["websocket"]}, "paths": ["/chat"], "action": "deny"})
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
    assert ask(wire, "http://origin.test/chat", upgrade).take().startswith(b"HTTP/1.1 403 ")
    ask(wire, "http://origin.test/other", upgrade)
    assert len(wire.dialer.dials) == 1


def test_a_reload_counts_from_the_next_request_on() -> None:
    wire = Wire()
    client = ask(wire)
    wire.reload(("access.default", "deny"))
    wire.origins[0].receive(OK)
    assert client.take().endswith(b"hi")
    client.receive(b"GET http://origin.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 403 ")
