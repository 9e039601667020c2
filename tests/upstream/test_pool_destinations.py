"""Connections and whom they may carry: where the rules of two clients differ by the address, they share none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from twisted.internet.address import IPv4Address

from tests.memory import MemoryTransport, Wire
from tests.secure_origin import SecureOrigin, context

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
INSIDE, OUTSIDE = "10.0.0.1", "192.0.2.1"
ANYBODY = IPv4Address("TCP", "127.0.0.1", 40000)
GUEST = IPv4Address("TCP", "127.0.0.9", 40001)
CHILD = IPv4Address("TCP", "127.0.0.10", 40002)

# Anybody may go anywhere, guests and children not inside, and children are told apart.
RULES = (
    '[{ name = "guests", clients = ["127.0.0.8/29"], destinations = ["10.0.0.0/8"], action = "deny" },'
    '{ name = "children", clients = ["127.0.0.10"], destinations = ["11.0.0.0/8"], action = "deny" }]'
)


def wire_with(*settings: tuple[str, str]) -> Wire:
    wanted = [("access.rules", RULES), ("access.refuse_destinations", "[]"), ("http2.with_servers", "always")]
    return Wire(*wanted, *settings)


def ask(wire: Wire, who: IPv4Address, url: bytes = b"http://origin.test/", fields: bytes = b"") -> MemoryTransport:
    client = wire.client(who)
    client.receive(b"GET " + url + b" HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n")
    return client


def idle(wire: Wire, address: str, who: IPv4Address = ANYBODY) -> MemoryTransport:
    """A connection to an address, that waits to be used again."""
    wire.dialer.address = address
    ask(wire, who)
    origin = wire.origins[-1]
    origin.receive(OK)
    origin.take()
    return origin


def test_a_connection_that_leads_to_where_a_client_must_not_go_is_not_used() -> None:
    wire = wire_with()
    inside = idle(wire, INSIDE)
    client = ask(wire, GUEST)
    assert client.take().startswith(b"HTTP/1.1 403 ")
    assert inside.take() == b""
    assert len(wire.dialer.dials) == 2
    assert (wire.records.all[1].reason, wire.records.all[1].rule) == ("denied_by_rule", "guests")
    # Others still use it.
    ask(wire, ANYBODY)
    assert inside.take()


def test_of_several_the_newest_that_may_be_used_is() -> None:
    wire = wire_with()
    wire.dialer.open = False
    clients = [ask(wire, ANYBODY) for _ in range(3)]
    for dial, address in zip(wire.dialer.dials, (OUTSIDE, OUTSIDE, INSIDE), strict=True):
        dial.succeed(address)
    for origin in wire.origins:
        origin.receive(OK)
        origin.take()
    assert all(client.take().endswith(b"hi") for client in clients)
    ask(wire, GUEST)
    assert [bool(origin.take()) for origin in wire.origins] == [False, True, False]
    assert wire.pool.idle_connections == 2


def test_a_connection_of_a_guests_is_everybodys() -> None:
    wire = wire_with()
    outside = idle(wire, OUTSIDE, GUEST)
    ask(wire, ANYBODY)
    assert outside.take()


def test_a_connection_that_comes_free_is_not_for_who_must_not_use_it() -> None:
    wire = wire_with(("upstream.max_connections_per_origin", "1"))
    wire.dialer.address = INSIDE
    ask(wire, ANYBODY)
    guest, other = ask(wire, GUEST), ask(wire, ANYBODY)
    wire.origins[0].receive(OK)
    # The guest has waited longer, but it is no use to them.
    wire.origins[0].receive(OK)
    assert other.take().endswith(b"hi")
    # Nobody else waits: it makes room.
    assert wire.origins[0].closed == "aborted"
    wire.dialer.address = OUTSIDE
    wire.turn()
    wire.turn()
    wire.origins[1].receive(OK)
    assert guest.take().endswith(b"hi")
    assert wire.pool.open_connections == 1


def test_an_idle_connection_that_a_client_must_not_use_makes_room() -> None:
    wire = wire_with(("upstream.max_connections_per_origin", "1"))
    inside = idle(wire, INSIDE)
    wire.dialer.address = OUTSIDE
    guest = ask(wire, GUEST)
    wire.turn()
    wire.turn()
    assert inside.closed == "aborted"
    wire.origins[1].receive(OK)
    assert guest.take().endswith(b"hi")


# ---------------------------------------------------------------- shared connections

AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)
HTTP2 = context(AUTHORITY, b"h2", b"http/1.1")
SECURE = b"https://origin.test/"


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., SecureOrigin]:
    file = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))

    def find(wire: Wire, number: int = 0) -> SecureOrigin:
        made = SecureOrigin(wire, wire.origins[number], HTTP2)
        made.pump()
        return made

    return find


def test_streams_too(origin: Callable[..., SecureOrigin]) -> None:
    wire = wire_with()
    wire.dialer.address = INSIDE
    ask(wire, ANYBODY, SECURE)
    there = origin(wire)
    assert sorted(there.requests) == [1]
    wire.dialer.address = OUTSIDE
    ask(wire, GUEST, SECURE)
    assert len(wire.dialer.dials) == 2
    elsewhere = origin(wire, 1)
    there.pump()
    assert sorted(there.requests) == [1]
    assert sorted(elsewhere.requests) == [1]
    # Both are there for who may use both.
    ask(wire, ANYBODY, SECURE)
    ask(wire, GUEST, SECURE)
    there.pump()
    elsewhere.pump()
    assert (sorted(there.requests), sorted(elsewhere.requests)) == ([1, 3], [1, 3])


def test_only_who_may_go_to_the_same_addresses_follows(origin: Callable[..., SecureOrigin]) -> None:
    wire = wire_with()
    wire.dialer.open = False
    clients = [ask(wire, who, SECURE) for who in (ANYBODY, GUEST, ANYBODY, GUEST, CHILD)]
    # Anybody's second follows the first; guests and children go their own ways, since it may lead elsewhere.
    assert [dial.client for dial in wire.dialer.dials] == ["127.0.0.1", "127.0.0.9", "127.0.0.9", "127.0.0.10"]
    # The first is given up: who takes its place must not come to more than they may.
    clients[0].peer_resets()
    assert not wire.dialer.dials[0].cancelled
    wire.dialer.dials[0].succeed(INSIDE)
    there = origin(wire)
    assert sorted(there.requests) == [1]
    for dial in wire.dialer.dials[1:]:
        dial.succeed(INSIDE)
    assert [client.take()[:13] for client in clients[1:]] == [b"HTTP/1.1 403 ", b"", b"HTTP/1.1 403 ", b"HTTP/1.1 403 "]


def test_who_may_go_to_the_same_addresses_follows(origin: Callable[..., SecureOrigin]) -> None:
    wire = wire_with()
    wire.dialer.open = False
    for _ in range(3):
        ask(wire, GUEST, SECURE)
    assert len(wire.dialer.dials) == 1
    wire.dialer.dials[0].succeed(OUTSIDE)
    assert sorted(origin(wire).requests) == [1, 3, 5]


def test_a_shared_connection_makes_room_too(origin: Callable[..., SecureOrigin]) -> None:
    wire = wire_with(("upstream.max_connections_per_origin", "1"))
    wire.dialer.address = INSIDE
    ask(wire, ANYBODY, SECURE)
    there = origin(wire)
    wire.dialer.address = OUTSIDE
    guest = ask(wire, GUEST, SECURE)
    assert len(wire.dialer.dials) == 1
    there.answer(1, b"hi")
    wire.turn()
    wire.turn()
    assert wire.origins[0].closed
    elsewhere = origin(wire, 1)
    elsewhere.answer(1, b"ho")
    assert guest.take().endswith(b"ho")


def test_a_websocket_asks_for_a_stream_that_it_may_use(origin: Callable[..., SecureOrigin]) -> None:
    wire = wire_with()
    wire.dialer.address = INSIDE
    ask(wire, ANYBODY, SECURE)
    there = origin(wire)
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n"
    assert ask(wire, GUEST, SECURE, upgrade).take().startswith(b"HTTP/1.1 403 ")
    there.pump()
    assert sorted(there.requests) == [1]
