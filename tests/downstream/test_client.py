"""A client's connection: who it is, and where it has found us."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress, ISSLTransport
from twisted.internet.testing import StringTransport
from zope.interface import alsoProvides

from twistedproxy.downstream.client import ClientConnection
from twistedproxy.exchange import Reached


def connected(host: IAddress) -> tuple[ClientConnection, StringTransport]:
    connection = ClientConnection("192.0.2.7", 40000, 1.5)
    transport = StringTransport(hostAddress=host)
    connection.makeConnection(transport)
    return connection, transport


def test_who_it_is() -> None:
    connection, _ = connected(IPv4Address("TCP", "127.0.0.1", 8080))
    assert (connection.client_address, connection.client_port) == ("192.0.2.7", 40000)
    assert (connection.number, connection.requests, connection.opened_at) == (0, 0, 1.5)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (IPv4Address("TCP", "127.0.0.1", 8080), ("127.0.0.1", 8080)),
        (IPv6Address("TCP", "2001:db8::1", 8080, 0, 0), ("2001:db8::1", 8080)),
        (IPv6Address("TCP", "fe80::1%eth0", 8080, 0, 2), ("fe80::1", 8080)),
        (UNIXAddress("/run/proxy.sock"), ("", 0)),
    ],
)
def test_where_it_has_found_us(host: IAddress, expected: tuple[str, int]) -> None:
    connection, transport = connected(host)
    assert connection.reached == Reached(*expected, secured=False)
    alsoProvides(transport, ISSLTransport)
    assert connection.reached == Reached(*expected, secured=True)


def test_small_pieces_are_not_held_back() -> None:
    connection, transport = connected(UNIXAddress("/run/proxy.sock"))
    connection.send_at_once()
    said: list[bool] = []
    transport.setTcpNoDelay = said.append
    connection.send_at_once()
    assert said == [True]
