"""The factory of one listener."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IProtocolNegotiationFactory
from zope.interface.verify import verifyObject

from tests.memory import Wire
from twistedproxy.downstream.http1 import DownstreamConnection

CLIENT = IPv4Address("TCP", "192.0.2.1", 40000)


def test_connections_know_where_they_came_in() -> None:
    wire = Wire()
    for listener in ("tcp:1", "unix:/run/x.sock"):
        factory = wire.factory.at(listener)
        assert verifyObject(IProtocolNegotiationFactory, factory)
        connection = factory.buildProtocol(CLIENT)
        assert isinstance(connection, DownstreamConnection)
        assert (connection.listener, connection.client_address) == (listener, "192.0.2.1")
        assert repr(factory) == f"<ListenerFactory {listener} to <DownstreamFactory connections=0 accepting>>"


def test_what_is_spoken_behind_tls() -> None:
    """HTTP/2 is for what is inside."""
    assert Wire().factory.at("ssl:1").acceptableProtocols() == [b"http/1.1", b"http/1.0"]
