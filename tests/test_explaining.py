"""What would become of a request: the same as what becomes of it, with every stage told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address

from tests.memory import PRIME, opened_list
from tests.upstream.dns.scripted import ScriptedServer, a, replying
from twistedproxy.access.blocklists.lists import Blocklists
from twistedproxy.control.steering import CannotBeDone
from twistedproxy.control.types import Explanation, Inquiry
from twistedproxy.explaining import Explainer
from twistedproxy.limits.state import ShareState
from twistedproxy.record.learned import Learned
from twistedproxy.settings.load import load
from twistedproxy.upstream.dns.messages import A

FILE = """\
[access]
clients = ["loopback", "10.0.0.0/8"]
connect_ports = [443, "8000-8999"]
refuse_destinations = ["link-local"]
default = "deny"

[[access.rules]]
name = "night"
hours = ["22:00-06:00"]
zone = "UTC"
users = ["child"]
action = "deny"
status = 451

[[access.rules]]
clients = ["10.0.0.0/8"]
action = "set"
intercept = true
limits = ["slow"]

[[access.rules]]
name = "inside"
destinations = ["private"]
action = "deny"

[[access.rules]]
name = "secret"
urls = ["https://93.184.216.34/secret*"]
action = "deny"

[[access.rules]]
name = "login"
ports = [8080]
action = "ask"

[[access.rules]]
name = "web"
groups = ["web"]
fields = { User-Agent = ["curl*"] }
action = "allow"

[[access.rules]]
hosts = ["93.184.216.34", "localhost", "10.0.0.9", "169.254.1.1"]
action = "allow"

[[limits.tables]]
name = "slow"
per = "client"
everybody = false
connections = 9
"""
NOON = 1_795_780_800.0
CURL = {"User-Agent": "curl/8"}
NIGHT = NOON + 12 * 3600


@pytest.fixture
def explainer(running_reactor: Any) -> Iterator[Explainer]:
    made = Explainer(running_reactor, load(FILE, "a.toml"), [IPv4Address("TCP", "127.0.0.1", 8443)])
    yield made
    made.close()


async def explained(explainer: Explainer, url: str, learned: tuple[Learned, ...] = (), **more: Any) -> Explanation:
    return await explainer.explain(Inquiry(url, **({"at": NOON} | more)), learned)


@pytest_twisted.ensureDeferred
async def test_limits_are_asked(explainer: Explainer) -> None:
    async def told(*shares: ShareState, **more: Any) -> Explanation:
        inquiry = Inquiry("http://93.184.216.34/x", **({"at": NOON, "client": "10.0.0.7"} | more))
        return await explainer.explain(inquiry, (), shares)

    def limits_of(explanation: Explanation) -> list[tuple[str, ...]]:
        return [one for one in steps(explanation) if one[0] == "limit"]

    others = ShareState("slow", "10.0.0.8", connections=9)
    allowed = await told(others, ShareState("slow", "10.0.0.7", connections=8))
    assert allowed.allowed
    assert limits_of(allowed) == [("limit", "allowed", "slow", "a.toml:46", "10.0.0.7: 8 of 9 connections")]
    assert next(one for one in allowed.requests[0].steps if one.stage == "limit").key == "limits.tables[0]"
    assert limits_of(await told()) == [("limit", "allowed", "slow", "a.toml:46", "10.0.0.7: 0 of 9 connections")]
    refused = await told(ShareState("slow", "10.0.0.7", connections=9))
    (request,) = refused.requests
    assert (refused.allowed, request.status, request.reason) == (False, 429, "connections_exceeded")
    assert limits_of(refused) == [("limit", "denied", "slow", "a.toml:46", "10.0.0.7: 9 of 9 connections")]
    # The rule gives it to others only.
    assert limits_of(await told(client="127.0.0.1")) == []


def steps(explanation: Explanation, number: int = 0) -> list[tuple[str, ...]]:
    return [
        (step.stage, step.decision, step.by, step.source, step.detail) for step in explanation.requests[number].steps
    ]


@pytest_twisted.ensureDeferred
async def test_a_request_that_is_allowed(explainer: Explainer) -> None:
    told = await explained(explainer, "http://93.184.216.34/x")
    (request,) = told.requests
    assert told.allowed
    assert (request.method, request.url, request.status, request.reason, request.rule) == (
        "GET",
        "http://93.184.216.34/x",
        200,
        "",
        "access.rules[6]",
    )
    assert steps(told) == [
        ("client", "allowed", "access.clients", "a.toml:2", "127.0.0.1 is in loopback"),
        ("rule", "no match", "night", "a.toml:7", "users"),
        ("rule", "no match", "access.rules[1]", "a.toml:15", "clients"),
        ("rule", "open", "inside", "a.toml:21", "it depends on the address"),
        ("rule", "no match", "secret", "a.toml:26", "urls"),
        ("rule", "no match", "login", "a.toml:31", "ports"),
        ("rule", "no match", "web", "a.toml:36", "groups"),
        ("rule", "allowed", "access.rules[6]", "a.toml:42", ""),
        ("destination", "allowed", "93.184.216.34", "a.toml:42", "by access.rules[6]"),
    ]
    assert [step.key for step in request.steps][:2] == ["access.clients", "access.rules[0]"]


@pytest.mark.parametrize(
    ("url", "more", "expected"),
    [
        ("http://93.184.216.34/", {"client": "192.0.2.7"}, (403, "client_denied", "")),
        ("http://93.184.216.34/", {"user": "child", "at": NIGHT}, (451, "denied_by_rule", "night")),
        ("http://93.184.216.34/", {"user": "child"}, (200, "", "access.rules[6]")),
        ("http://93.184.216.34:8080/", {}, (407, "credentials_wanted", "login")),
        ("http://93.184.216.34:8080/", {"user": "ann"}, (200, "", "access.rules[6]")),
        ("http://10.0.0.9/", {}, (403, "denied_by_rule", "inside")),
        ("http://0xa.9/", {}, (403, "denied_by_rule", "inside")),
        ("http://169.254.1.1/", {}, (403, "destination_denied", "")),
        ("http://127.0.0.1:8443/", {"groups": ["web"], "fields": CURL}, (403, "destination_denied", "")),
        ("http://other.example/", {}, (403, "denied_by_rule", "access.default")),
        ("93.184.216.34:25", {}, (403, "port_denied", "")),
        ("93.184.216.34:443", {}, (200, "", "access.rules[6]")),
        ("http://pyproxy.internal/", {}, (200, "", "")),
        ("https://pyproxy.internal/", {}, (403, "own_name", "")),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_becomes_of_it(explainer: Explainer, url: str, more: dict[str, Any], expected: Any) -> None:
    told = await explained(explainer, url, **more)
    request = told.requests[-1]
    assert (request.status, request.reason, request.rule) == expected
    assert told.allowed is (expected[0] == 200)


@pytest_twisted.ensureDeferred
async def test_a_name_is_looked_up(explainer: Explainer) -> None:
    told = await explained(explainer, "http://localhost/")
    assert told.allowed
    assert {step.by for step in told.requests[0].steps if step.stage == "destination"} <= {"127.0.0.1", "::1"}
    assert [step.decision for step in told.requests[0].steps if step.stage == "destination"]


@pytest_twisted.ensureDeferred
async def test_a_name_that_is_not_found(running_reactor: Any) -> None:
    explainer = Explainer(running_reactor, load("", "a.toml"), [])
    try:
        told = await explainer.explain(Inquiry("http://nowhere.invalid/"))
    finally:
        explainer.close()
    assert (told.allowed, told.requests[0].status, told.requests[0].reason) == (False, 502, "dns_error")
    assert steps(told)[-1][:3] == ("look-up", "failed", "nowhere.invalid")


@pytest_twisted.ensureDeferred
async def test_the_inside_of_a_tunnel(explainer: Explainer) -> None:
    told = await explained(explainer, "https://93.184.216.34/%73ecret", client="10.0.0.1")
    outer, inner = told.requests
    assert (outer.method, outer.url, outer.allowed) == ("CONNECT", "93.184.216.34:443", True)
    assert (inner.method, inner.allowed, inner.reason, inner.rule) == ("GET", False, "denied_by_rule", "secret")
    assert steps(told)[-1] == (
        *("interception", "looked into", "access.rules", "a.toml:7"),
        "if TLS or HTTP is spoken in it",
    )
    assert ("rule", "set", "access.rules[1]", "a.toml:15", "intercept = true; limits = slow") in steps(told)
    # Where it is not looked into, nobody sees the URL.
    told = await explained(explainer, "https://93.184.216.34/secret")
    assert (told.allowed, len(told.requests)) == (True, 1)
    assert steps(told)[-1][:3] == ("interception", "left alone", "intercept.mode")
    told = await explained(explainer, "https://93.184.216.34:8443/", client="10.0.0.1")
    assert steps(told)[-1] == ("interception", "left alone", "intercept.ports", "default", "port 8443")
    learned = Learned(0, "10.0.0.1", "93.184.216.34", 2, True, 60)
    told = await explained(explainer, "93.184.216.34:443", (learned,), client="10.0.0.1")
    assert steps(told)[-1][:3] == ("interception", "left alone", "intercept.learn_after")


@pytest.mark.parametrize(
    ("url", "more", "why"),
    [
        ("/path", {}, "the target is a path"),
        ("ftp://a/", {}, "the scheme is ftp"),
        ("http://a b/", {}, "the target's authority is not valid"),
        ("http://\u0430.test/", {}, "method and URL are sent in ASCII"),
        ("http://a/", {"method": "G T"}, "the method is none"),
        ("http://a/", {"listener": "tcp:1"}, "there is no such listener; there are tcp:8080:interface=127.0.0.1"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_no_client_could_ask_for(explainer: Explainer, url: str, more: dict[str, Any], why: str) -> None:
    with pytest.raises(CannotBeDone, match=why):
        await explained(explainer, url, **more)


@pytest_twisted.ensureDeferred
async def test_without_rules(running_reactor: Any) -> None:
    explainer = Explainer(running_reactor, load("", "a.toml"), [])
    try:
        told = await explainer.explain(Inquiry("http://93.184.216.34/"))
    finally:
        explainer.close()
    assert steps(told) == [
        ("client", "allowed", "access.clients", "default", "127.0.0.1 is in loopback"),
        ("destination", "allowed", "93.184.216.34", "", ""),
    ]
    assert repr(explainer).startswith("<Explainer None <Interception off ")


@pytest_twisted.ensureDeferred
async def test_whether_an_account_is_needed(running_reactor: Any) -> None:
    text = (
        '[access]\nclients = ["all"]\n[intercept]\nmode = "all-but"\n'
        '[accounts]\nrequired = true\nexempt_clients = ["192.0.2.0/24"]\nhtpasswd_file = "/x"\n'
    )
    made = Explainer(running_reactor, load(text, "a.toml"), [])
    denied = await explained(made, "http://93.184.216.34/", client="198.51.100.1")
    assert (denied.allowed, denied.requests[0].status, denied.requests[0].reason) == (False, 407, "credentials_wanted")
    assert steps(denied)[1:] == [
        ("account", "denied", "accounts.required", "a.toml:6", "nobody has said whose it is"),
    ]
    exempt = await explained(made, "http://93.184.216.34/", client="192.0.2.1")
    assert steps(exempt)[1] == ("account", "allowed", "accounts.exempt_clients", "a.toml:7", "192.0.2.1 needs none")
    inside = await explained(made, "https://93.184.216.34/", client="198.51.100.1", user="ann")
    assert steps(inside)[1] == ("account", "allowed", "accounts.required", "a.toml:6", "it is ann's")
    assert len(inside.requests) == 2
    assert "account" not in [step.stage for step in inside.requests[1].steps]
    made.close()


ACCOUNTS = """\
[accounts]
static = [{ name = "ann", hash = "$2b$04$abcdefghijklmnopqrstuuN2pvHGhYs1WwPWBDBJjmTrfSHxDHGz2", groups = ["web"] }]
[access]
default = "deny"
[[access.rules]]
groups = ["web"]
action = "allow"
"""


@pytest.mark.parametrize(
    ("more", "allowed"),
    [({"user": "ann"}, True), ({"user": "bob"}, False), ({"user": "bob", "groups": ["web"]}, True), ({}, False)],
)
@pytest_twisted.ensureDeferred
async def test_a_user_is_in_the_groups_of_the_account(
    running_reactor: Any, more: dict[str, Any], allowed: bool
) -> None:
    explainer = Explainer(running_reactor, load(ACCOUNTS, "a.toml"), [])
    try:
        told = await explainer.explain(Inquiry("http://93.184.216.34/", **more))
    finally:
        explainer.close()
    assert told.allowed is allowed


@pytest_twisted.ensureDeferred
async def test_accounts_that_cannot_be_read(running_reactor: Any) -> None:
    text = '[accounts]\nhtpasswd_file = "/nowhere/accounts"\n[access]\ndefault = "deny"\n'
    explainer = Explainer(running_reactor, load(text, "a.toml"), [])
    try:
        with pytest.raises(CannotBeDone, match="/nowhere/accounts"):
            await explainer.explain(Inquiry("http://a.test/", user="ann"))
    finally:
        explainer.close()


@pytest_twisted.ensureDeferred
async def test_lists_come_after_the_rules(running_reactor: Any) -> None:
    lists = Blocklists((opened_list("ads", "198.51.100.7\n||93.184.216.34/x", category="adverts"),), PRIME)
    made = Explainer(running_reactor, load("", "a.toml"), [], lists)
    blocked = await explained(made, "http://198.51.100.7/")
    assert (blocked.allowed, blocked.requests[0].status, blocked.requests[0].reason) == (False, 403, "blocked")
    why = "198.51.100.7 is on the list ads (category adverts)"
    assert steps(blocked)[1:] == [("list", "denied", "ads", "default", why)]
    fine = await explained(made, "http://93.184.216.34/")
    assert steps(fine)[1] == ("list", "no match", "blocklists.lists", "default", "")
    assert not (await explained(made, "http://93.184.216.34/x/y")).allowed
    made.close()


# ------------------------------------------------------------ look-ups


@pytest_twisted.ensureDeferred
async def test_who_is_asked_for_a_name(running_reactor: Any) -> None:
    server = ScriptedServer(running_reactor)
    server.on("a.corp.test", A, replying(a("a.corp.test", "10.0.0.1")))
    file = f"""\
[resolver]
servers = ["{server.address}"]

[[resolver.domains]]
names = ["Corp.test"]
servers = ["{server.address}"]
"""
    made = Explainer(running_reactor, load(file, "a.toml"), [])
    try:
        asked = await explained(made, "http://a.corp.test/")
        failed = await explained(made, "http://no.test/")
        nobody = await explained(made, "http://localhost/")
        literal = await explained(made, "http://192.0.2.1/")
    finally:
        made.close()
        await server.stop()
    where = str(server.address)
    assert steps(asked)[-2:] == [
        ("look-up", "asked", "a.corp.test", "a.toml:4", f"{where}, for corp.test"),
        ("destination", "allowed", "10.0.0.1", "", ""),
    ]
    assert steps(failed)[-1] == ("look-up", "failed", "no.test", "a.toml:2", "no.test: there is no such name")
    assert failed.requests[0].reason == "dns_error"
    assert ("look-up", "asked", "localhost", "a.toml:2", "nobody is asked") in steps(nobody)
    assert not any(step[0] == "look-up" for step in steps(literal))


# ------------------------------------------------------------ routes

ROUTED = """\
[access]
connect_ports = [443]
[routes]
default = "office"
[[routes.tables]]
name = "office"
parents = ["http://a.test:3128", "http://b.test:3128"]
[[access.rules]]
name = "inside"
destinations = ["10.0.0.0/8"]
action = "deny"
[[access.rules]]
name = "near"
hosts = ["near.test", "127.0.0.1"]
action = "allow"
route = "direct"
[[access.rules]]
name = "unknown"
hosts = ["secret.test"]
action = "deny"
"""


@pytest_twisted.ensureDeferred
async def test_the_way_is_told(running_reactor: Any) -> None:
    made = Explainer(running_reactor, load(ROUTED, "a.toml"), [])
    try:
        named = await explained(made, "http://far.test/")
        tunnel = await explained(made, "far.test:443")
        secret = await explained(made, "http://secret.test/")
        inside = await explained(made, "http://10.1/")
        metadata = await explained(made, "http://169.254.169.254/")
        direct = await explained(made, "http://127.0.0.1/")
    finally:
        made.close()
    way = ("route", "set", "office", "a.toml:4", "http://a.test:3128 or else http://b.test:3128")
    unknown = "no rule fits an address that is not known"
    for told in (named, tunnel):
        assert (told.allowed, told.requests[0].rule) == (True, "access.default")
        assert [step for step in steps(told) if step[0] in ("route", "look-up", "destination")] == [
            way,
            ("look-up", "left alone", "", "", "the parent looks it up"),
            ("destination", "allowed", "access.default", "default", unknown),
        ]
    (request,) = secret.requests
    assert (request.allowed, request.status, request.rule) == (False, 403, "unknown")
    (request,) = inside.requests
    assert (request.allowed, request.reason, request.rule) == (False, "denied_by_rule", "inside")
    assert steps(inside)[-2:] == [way, ("destination", "denied", "10.0.0.1", "a.toml:8", 'the rule "inside"')]
    assert metadata.requests[0].reason == "destination_denied"
    assert direct.allowed
    assert ("route", "set", "direct", "a.toml:12", "to the server itself") in steps(direct)
