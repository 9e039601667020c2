"""Which servers are asked for a name, in which order, and when one is asked last."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from twistedproxy.deadlines import Deadlines
from twistedproxy.settings.name_servers import read_name_server
from twistedproxy.upstream.dns.servers import LAST_FOR, NameServer, Servers


def servers_of(deadlines: Deadlines, **groups: list[str]) -> Servers:
    """Groups by domain, whose dots are underscores here; ``all_others`` is for all others."""
    named = [
        ("" if domain == "all_others" else domain.replace("_", "."), map(read_name_server, servers))
        for domain, servers in groups.items()
    ]
    return Servers(named, lambda address: NameServer(None, address, deadlines))


def asked(servers: Servers, name: str) -> list[str]:
    return [str(server.address) for server in servers.of(name)]


@pytest.mark.parametrize(
    ("name", "domain", "expected"),
    [
        ("www.example", "", ["192.0.2.1", "192.0.2.2"]),
        ("single", "", ["192.0.2.1", "192.0.2.2"]),
        ("corp.example", "corp.example", ["10.0.0.1"]),
        ("a.b.corp.example.", "corp.example", ["10.0.0.1"]),
        ("xcorp.example", "", ["192.0.2.1", "192.0.2.2"]),
        ("lab.corp.example", "lab.corp.example", ["10.0.0.2", "192.0.2.1"]),
        ("x.lab.corp.example", "lab.corp.example", ["10.0.0.2", "192.0.2.1"]),
        ("printer.local", "local", ["10.0.0.1"]),
    ],
)
def test_the_longest_domain_counts(deadlines: Deadlines, name: str, domain: str, expected: list[str]) -> None:
    servers = servers_of(
        deadlines,
        all_others=["192.0.2.1", "192.0.2.2", "192.0.2.1"],
        corp_example=["10.0.0.1"],
        lab_corp_example=["10.0.0.2", "192.0.2.1"],
        local=["10.0.0.1"],
    )
    assert servers.domain_of(name) == domain
    assert asked(servers, name) == expected
    assert repr(servers) == "<Servers 4 domains=4>"


def test_names_that_are_nobodys(deadlines: Deadlines) -> None:
    servers = servers_of(deadlines, corp_example=["10.0.0.1"])
    assert servers.domain_of("www.example") is None
    assert asked(servers, "www.example") == []
    assert asked(servers, "corp.example") == ["10.0.0.1"]


def test_one_that_fails_is_asked_last_for_a_while(deadlines: Deadlines, clock: Clock, said: list[str]) -> None:
    servers = servers_of(deadlines, all_others=["192.0.2.1", "192.0.2.2", "192.0.2.3"], a=["192.0.2.1", "192.0.2.4"])
    first = servers.of("b")[0]
    first.has_failed("no reply in 2 s")
    first.has_failed("no reply in 2 s")
    assert asked(servers, "b")[0] == "192.0.2.1"
    clock.advance(1)
    first.has_failed("no reply in 2 s")
    assert asked(servers, "b") == ["192.0.2.2", "192.0.2.3", "192.0.2.1"]
    # It is the same server, whatever it is asked for.
    assert asked(servers, "a") == ["192.0.2.4", "192.0.2.1"]
    clock.advance(1)
    first.has_failed("no reply in 2 s")
    assert said == ["warn the name server 192.0.2.1 is asked last for 30 s: no reply in 2 s"]
    assert repr(first) == "<NameServer 192.0.2.1 failures=3>"
    clock.advance(LAST_FOR)
    assert asked(servers, "b")[0] == "192.0.2.1"
    first.has_failed("SERVFAIL")
    assert asked(servers, "b")[2] == "192.0.2.1"
    first.has_replied()
    assert asked(servers, "b")[0] == "192.0.2.1"
    assert said[1:] == [
        "warn the name server 192.0.2.1 is asked last for 30 s: SERVFAIL",
        "info the name server 192.0.2.1 replies again",
    ]


def test_a_reply_in_between_forgives(deadlines: Deadlines, clock: Clock, said: list[str]) -> None:
    servers = servers_of(deadlines, all_others=["192.0.2.1", "192.0.2.2"])
    first = servers.of("a")[0]
    for _ in range(5):
        clock.advance(1)
        first.has_failed("no reply")
        first.has_replied()
    assert asked(servers, "a")[0] == "192.0.2.1"
    assert said == []


def test_all_that_fail_keep_their_order(deadlines: Deadlines, clock: Clock) -> None:
    servers = servers_of(deadlines, all_others=["192.0.2.1", "192.0.2.2"])
    for server in reversed(servers.of("a")):
        server.has_failed("")
        clock.advance(1)
        server.has_failed("")
    assert asked(servers, "a") == ["192.0.2.1", "192.0.2.2"]


def test_closing_what_was_never_open(deadlines: Deadlines, running_reactor: Any) -> None:
    servers_of(deadlines, all_others=["192.0.2.1", "tls://192.0.2.2#a.example"]).close()
