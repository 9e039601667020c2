"""Tunnels to what is on a list of what is blocked, whether the CONNECT or the ClientHello says so."""

from __future__ import annotations

import pytest

from tests.inner import ESTABLISHED, Inner, connect_to
from tests.memory import MemoryTransport, Wire, opened_list

ADS = opened_list("ads", "ads.example\n/^https:\\/\\/regex\\./", category="advertising")


@pytest.fixture
def wire() -> Wire:
    wire = Wire()
    wire.block(ADS)
    return wire


def hello(wire: Wire, name: str | None) -> bytes:
    """The first flight of a client."""
    return Inner(wire, MemoryTransport(wire.reactor), name).hello()


def tunnel(wire: Wire, authority: str = "192.0.2.7:443") -> MemoryTransport:
    client = wire.client()
    client.receive(connect_to(authority))
    assert client.take() == ESTABLISHED
    return client


@pytest.mark.parametrize("authority", ["ads.example:443", "x.Ads.Example.:8443", "regex.example:443"])
def test_the_host_of_a_connect_is_refused_with_a_page(wire: Wire, authority: str) -> None:
    client = wire.client()
    client.receive(connect_to(authority))
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"is on the list ads (category advertising)." in answer
    assert wire.dialer.dials == []
    assert wire.records.reasons == ["blocked"]


@pytest.mark.parametrize("intercept", ["off", "all-but"])
def test_the_name_in_a_tunnel_counts_too(intercept: str) -> None:
    wire = Wire(("intercept.mode", intercept))
    wire.block(ADS)
    client = tunnel(wire)
    client.receive(hello(wire, "www.ads.example"))
    assert client.closed == "aborted"
    assert all(origin.take() == b"" for origin in wire.origins)
    (record,) = wire.records.all
    assert (record.kind, record.status, record.reason) == ("tunnel", 200, "blocked")
    assert wire.factory.connections == 0


@pytest.mark.parametrize("name", ["fine.example", None])
def test_other_names_pass_with_every_byte(wire: Wire, name: str | None) -> None:
    client = tunnel(wire)
    said = hello(wire, name)
    client.receive(said[:7])
    assert wire.origins == []
    client.receive(said[7:])
    origin = wire.origins[0]
    assert origin.take() == said
    origin.receive(b"\x01")
    assert client.take() == b"\x01"
    client.receive(b"\x02")
    assert origin.take() == b"\x02"
    client.peer_closes()
    wire.turn()


def test_what_is_no_tls_passes(wire: Wire) -> None:
    client = tunnel(wire)
    client.receive(b"SSH-2.0-x\r\n")
    assert wire.origins[0].take() == b"SSH-2.0-x\r\n"


def test_a_client_that_waits_for_its_server_gets_a_tunnel(wire: Wire) -> None:
    client = tunnel(wire)
    assert wire.origins == []
    wire.pass_time(3.5)
    wire.origins[0].receive(b"220 mail\r\n")
    assert client.take() == b"220 mail\r\n"


def test_early_bytes_are_looked_at(wire: Wire) -> None:
    client = wire.client()
    client.receive(connect_to("192.0.2.7:443") + hello(wire, "ads.example"))
    assert client.take() == ESTABLISHED
    assert client.closed == "aborted"
    assert wire.records.reasons == ["blocked"]


def test_a_client_that_leaves_meanwhile(wire: Wire) -> None:
    client = tunnel(wire)
    client.peer_closes()
    wire.turn()
    assert wire.records.reasons == ["client_left"]
    assert wire.factory.connections == 0


def test_a_name_that_is_only_noted_passes(wire: Wire) -> None:
    wire.block(opened_list("seen", "ads.example", action="log"))
    client = tunnel(wire, "ads.example:443")
    client.receive(hello(wire, "ads.example"))
    assert wire.origins[0].take() != b""


def test_without_lists_nothing_is_looked_at() -> None:
    wire = Wire()
    tunnel(wire)
    assert len(wire.origins) == 1
