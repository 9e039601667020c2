"""CONNECT, with the network in memory; the relay itself has its own tests."""

from __future__ import annotations

import pytest

from tests.memory import MemoryTransport, Wire
from twistedproxy.errors import ConnectTimeout

CONNECT = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.fixture
def wire() -> Wire:
    return Wire()


def tunnel(wire: Wire, early: bytes = b"") -> tuple[MemoryTransport, MemoryTransport]:
    client = wire.client()
    client.receive(CONNECT + early)
    assert client.take() == ESTABLISHED
    return client, wire.origins[-1]


def test_bytes_pass_both_ways(wire: Wire) -> None:
    client, origin = tunnel(wire)
    client.receive(b"\x16\x03\x01")
    assert origin.take() == b"\x16\x03\x01"
    origin.receive(b"\x02")
    assert client.take() == b"\x02"
    assert wire.records.all == []
    assert wire.factory.connections == 1


def test_early_bytes_go_first(wire: Wire) -> None:
    """RFC 9110 section 9.3.6: what follows the head is the tunnel's."""
    _, origin = tunnel(wire, b"early")
    assert origin.take() == b"early"


def test_early_bytes_wait_for_the_connection(wire: Wire) -> None:
    wire.dialer.open = False
    client = wire.client()
    client.receive(CONNECT + b"ear")
    client.receive(b"ly")
    assert client.take() == b""
    wire.dialer.dials[0].succeed()
    assert client.take() == ESTABLISHED
    assert wire.origins[0].take() == b"early"


def test_the_record_comes_at_the_end(wire: Wire) -> None:
    client, origin = tunnel(wire, b"early")
    origin.receive(b"12345678")
    client.peer_resets()
    wire.turn()
    record = wire.records.all[0]
    assert (record.kind, record.method, record.url, record.status) == ("tunnel", b"CONNECT", b"origin.test:443", 200)
    assert record.reason == "client_left"
    assert record.bytes_from_client == len(CONNECT) + 5
    assert record.bytes_to_client == len(ESTABLISHED) + 8
    assert (record.bytes_to_upstream, record.bytes_from_upstream) == (5, 8)
    assert wire.factory.connections == 0


def test_an_idle_tunnel_ends(wire: Wire) -> None:
    client, origin = tunnel(wire)
    wire.pass_time(3602)
    assert client.closed
    assert origin.closed
    assert wire.records.reasons == ["tunnel_idle"]


def test_stopping_ends_tunnels(wire: Wire) -> None:
    client, origin = tunnel(wire)
    drained = wire.factory.drain()
    assert not drained.called
    wire.factory.stop("stopped")
    wire.turn()
    assert client.closed
    assert origin.closed
    assert drained.called
    assert wire.records.reasons == ["stopped"]


def test_a_port_that_is_not_allowed_names_the_key(wire: Wire) -> None:
    wire.reload(("access.connect_ports", "443"))
    client = wire.client()
    client.receive(CONNECT.replace(b":443 ", b":25 "))
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"access.connect_ports" in answer
    assert not client.closed
    assert wire.dialer.dials == []


def test_no_connection_is_an_answer(wire: Wire) -> None:
    wire.dialer.open = False
    client = wire.client()
    client.receive(CONNECT)
    wire.dialer.dials[0].fail(ConnectTimeout("x"))
    assert client.take().startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
    assert not client.closed
    client.receive(CONNECT)
    wire.dialer.dials[1].succeed()
    assert client.take() == ESTABLISHED


def test_a_client_that_leaves_stops_the_dialing(wire: Wire) -> None:
    wire.dialer.open = False
    client = wire.client()
    client.receive(CONNECT)
    client.peer_closes()
    assert wire.dialer.dials[0].cancelled
    assert wire.records.reasons == ["client_left"]
    assert wire.factory.connections == 0


def test_a_dial_that_breaks_is_a_500(wire: Wire, logged_errors: object) -> None:
    wire.dialer.open = False
    client = wire.client()
    client.receive(CONNECT)
    wire.dialer.dials[0].fail(ZeroDivisionError())
    assert client.take().startswith(b"HTTP/1.1 500 ")
    assert len(logged_errors.flush(ZeroDivisionError)) == 1  # type: ignore[attr-defined]  # the fixture's own type
