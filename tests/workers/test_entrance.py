"""Where connections come in, whoever serves."""

from __future__ import annotations

from twisted.internet.address import IPv4Address

from tests.memory import Wire
from twistedproxy.downstream.http1 import DownstreamConnection
from twistedproxy.workers.entrance import Entrance

CLIENT = IPv4Address("TCP", "192.0.2.1", 40000)


def test_nobody_serves() -> None:
    entrance = Entrance()
    assert (entrance.connection_at("tcp:1", CLIENT), entrance.acceptableProtocols()) == (None, [])
    assert repr(entrance) == "<Entrance to None>"


def test_whoever_serves_at_the_moment() -> None:
    entrance = Entrance()
    factory = entrance.at("tcp:1")
    for wire in (Wire(), Wire()):
        entrance.server = wire.factory
        protocol = factory.buildProtocol(CLIENT)
        assert isinstance(protocol, DownstreamConnection)
        assert (protocol.client_address, protocol.listener) == ("192.0.2.1", "tcp:1")
        assert entrance.acceptableProtocols() == [b"http/1.1", b"http/1.0"]
        assert repr(entrance) == "<Entrance to <DownstreamFactory connections=0 accepting>>"
