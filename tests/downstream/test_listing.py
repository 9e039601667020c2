"""What is told of a client connection in each state."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv6Address

from tests.memory import MemoryTransport, Wire
from twistedproxy.downstream.listing import LONGEST_TARGET, is_tunnel, listed
from twistedproxy.record.connections import Connection

GET = b"GET http://origin.test/path?q=%s HTTP/1.1\r\nHost: origin.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
CONNECT = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n"


def told(wire: Wire, client: MemoryTransport, worker: int = 3) -> Connection:
    return listed(wire.connection(client), worker, wire.deadlines.seconds())


def test_idle_before_the_first_request() -> None:
    wire = Wire()
    wire.client()
    client = wire.client()
    wire.pass_time(2.5)
    assert told(wire, client) == Connection("3-2", "127.0.0.1:40000", "idle", 2.5, 0, "", "", "", 0, 0, 0)


def test_request_under_way() -> None:
    wire = Wire()
    client = wire.client()
    request = GET % b"1"
    client.receive(request)
    found = told(wire, client)
    assert (found.state, found.requests, found.method) == ("request", 1, "GET")
    assert found.target == "http://origin.test/path?q=1"
    assert found.upstream == "192.0.2.1:80"
    assert (found.bytes_from_client, found.bytes_to_client) == (len(request), 0)
    wire.origins[0].receive(OK)
    found = told(wire, client)
    assert (found.state, found.requests, found.method, found.target, found.upstream) == ("idle", 1, "", "", "")
    assert (found.bytes_from_client, found.bytes_to_client) == (len(request), len(client.take()))


def test_request_that_waits_for_its_origin() -> None:
    wire = Wire()
    wire.dialer.open = False
    client = wire.client()
    client.receive(GET % b"1")
    assert (told(wire, client).state, told(wire, client).upstream) == ("request", "")
    (exchange,) = wire.connection(client).exchanges
    assert not is_tunnel(exchange)


def test_closing() -> None:
    wire = Wire()
    client = wire.client()
    client.receive(b"nonsense\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 400 ")
    assert told(wire, client).state == "closing"


def test_long_target_is_cut() -> None:
    wire = Wire()
    client = wire.client()
    client.receive(GET % (b"x" * 3000))
    target = told(wire, client).target
    assert len(target) == LONGEST_TARGET == 1024
    assert target.startswith("http://origin.test/path?q=xxx")


@pytest.mark.parametrize(
    ("address", "client"),
    [
        (IPv6Address("TCP", "2001:db8::1", 5000), "[2001:db8::1]:5000"),
        (IPv6Address("TCP", "fe80::1%eth0", 5000), "[fe80::1]:5000"),
    ],
)
def test_client_of_ipv6(address: IPv6Address, client: str) -> None:
    wire = Wire()
    assert told(wire, wire.client(address)).client == client
