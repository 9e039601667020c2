"""What is common to client connections."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, ISSLTransport
from zope.interface import alsoProvides

from tests.memory import LISTENER, Wire
from twistedproxy.downstream_side import Reached


def test_what_has_moved() -> None:
    """The bytes of a relay count for the connection that has become one."""
    wire = Wire()
    client = wire.client()
    request = b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n"
    client.receive(request)
    said = len(client.take())
    (connection,) = wire.factory
    assert connection.listener == LISTENER
    assert connection.moved() == (len(request), said)
    client.receive(b"12345")
    wire.origins[0].receive(b"123")
    assert connection.moved() == (len(request) + 5, said + 3)


def test_going_on_in_another_way() -> None:
    wire = Wire()
    wire.client()
    wire.pass_time(2)
    other = wire.connection(wire.client())
    (first, _) = sorted(wire.factory, key=lambda one: one.number)
    other.begin_as(first)
    assert (other.number, other.opened_at) == (1, first.opened_at)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (IPv4Address("TCP", "127.0.0.1", 8080), ("127.0.0.1", 8080)),
        (IPv6Address("TCP", "2001:db8::1", 8080, 0, 0), ("2001:db8::1", 8080)),
        (IPv6Address("TCP", "fe80::1%eth0", 8080, 0, 2), ("fe80::1", 8080)),
        (UNIXAddress("/run/proxy.sock"), ("", 0)),
    ],
)
def test_where_a_client_has_found_us(host: IAddress, expected: tuple[str, int]) -> None:
    wire = Wire()
    transport = wire.client()
    connection = wire.connection(transport)
    transport.hostAddr = host
    assert connection.reached == Reached(*expected, secured=False)
    alsoProvides(transport, ISSLTransport)
    assert connection.reached == Reached(*expected, secured=True)


def test_small_pieces_are_not_held_back() -> None:
    wire = Wire()
    transport = wire.client()
    connection = wire.connection(transport)
    connection.send_at_once()
    said: list[bool] = []
    transport.setTcpNoDelay = said.append
    connection.send_at_once()
    assert said == [True]
