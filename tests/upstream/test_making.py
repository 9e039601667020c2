"""Connections in the making, as the pool has them made."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionDone

from tests.memory import MemoryTransport, Wire
from twistedproxy.errors import ConnectionRefused

PLAIN = b"GET http://origin.test/ HTTP/1.1\r\nHost: x\r\n\r\n"
SECURE = PLAIN.replace(b"http:", b"https:")


@pytest.fixture
def wire() -> Wire:
    wire = Wire(("http2.with_servers", "always"))
    wire.dialer.open = False
    return wire


def ask(wire: Wire, request: bytes = SECURE) -> MemoryTransport:
    client = wire.client()
    client.receive(request)
    return client


def test_a_plain_one_is_not_followed(wire: Wire) -> None:
    for _ in range(3):
        ask(wire, PLAIN)
    assert len(wire.dialer.dials) == 3


def test_a_secure_one_is_dialled_once_for_all_who_ask(wire: Wire) -> None:
    clients = [ask(wire) for _ in range(3)]
    (dial,) = wire.dialer.dials
    assert (dial.host, dial.port, dial.client) == ("origin.test", 443, "127.0.0.1")
    dial.fail(ConnectionRefused("192.0.2.1:443: refused"))
    for client in clients:
        assert b"error=connection_refused" in client.take()
    assert wire.pool.open_connections == 0
    # The next one tries again.
    ask(wire)
    assert len(wire.dialer.dials) == 2


def test_the_last_who_leaves_cancels_the_dial(wire: Wire) -> None:
    clients = [ask(wire) for _ in range(3)]
    (dial,) = wire.dialer.dials
    for client in clients:
        assert not dial.cancelled
        client.peer_closes()
    assert dial.cancelled
    assert repr(wire.pool) == "<Pool open=0 idle=0 waiting=0>"


def test_one_that_was_given_up_is_not_followed(wire: Wire) -> None:
    ask(wire).peer_closes()
    ask(wire)
    assert len(wire.dialer.dials) == 2
    assert wire.pool.open_connections == 1


def test_a_handshake_that_nobody_waits_for_is_broken_off(wire: Wire) -> None:
    client = ask(wire)
    wire.dialer.dials[0].succeed()
    assert wire.origins[0].take().startswith(b"\x16\x03\x01")
    client.peer_closes()
    assert wire.origins[0].closed == "aborted"
    assert wire.pool.open_connections == 0


def test_a_descriptor_that_cannot_be_had_is_an_answer(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    client = ask(wire)

    def adopt(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(wire.reactor, "adoptStreamConnection", adopt)
    wire.dialer.dials[0].succeed()
    assert client.take().startswith(b"HTTP/1.1 503 ")
    assert wire.records.reasons == ["out_of_descriptors"]
    assert wire.pool.open_connections == 0


def test_repr_tells_what_is_made(wire: Wire) -> None:
    first = ask(wire)
    second = ask(wire)
    connection = first.protocol
    ticket = connection.exchange._ticket
    assert repr(ticket.making) == "<Making https://origin.test:443 followers=1>"
    assert second.protocol.exchange._ticket.making is ticket.making
    wire.dialer.dials[0].fail(ConnectionRefused(str(ConnectionDone())))
