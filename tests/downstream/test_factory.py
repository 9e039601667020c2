"""The client connections all together: how many there may be, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

from tests.memory import MemoryTransport, Wire
from twistedproxy.downstream.factory import QUIET
from twistedproxy.downstream.http1 import LAST_REQUEST, LINGER
from twistedproxy.tunnel.relay import STOPPED

GET = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: today\r\n\r\nhi"


class Port:
    """A listening port as Twisted's is: what of it a factory sees, with a queue of clients."""

    def __init__(self, wire: Wire, waiting: int = 0) -> None:
        self.reading = True
        self.closed = False
        self.numberAccepts = 100
        self.waiting = waiting
        self.accepted: list[MemoryTransport] = []
        self._wire = wire

    def startReading(self) -> None:
        assert not self.closed
        self.reading = True

    def stopReading(self) -> None:
        self.reading = False

    def doRead(self) -> None:
        """Accept in a loop that no ``stopReading`` ends."""
        accepted = min(self.numberAccepts, self.waiting)
        self.waiting -= accepted
        self.accepted += [self._wire.client() for _ in range(accepted)]
        self.numberAccepts = accepted + 20 if accepted == self.numberAccepts else max(1, accepted)

    def turn(self) -> None:
        """What the reactor does when clients wait."""
        if self.reading and self.waiting:
            self.doRead()


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> Callable[[Wire], list[str]]:
    """Lets the warnings of a wire's factory be seen."""

    def of(wire: Wire) -> list[str]:
        seen: list[str] = []

        class Log:
            def warn(self, text: str, **values: object) -> None:
                seen.append(text.format(**values))

        monkeypatch.setattr(type(wire.factory), "_log", Log())
        return seen

    return of


# ---------------------------------------------------------------- who they are


@pytest.mark.parametrize(
    ("address", "client", "port"),
    [
        (IPv4Address("TCP", "192.0.2.1", 40000), "192.0.2.1", 40000),
        (IPv6Address("TCP", "fe80::1%eth0", 40000), "fe80::1", 40000),
        (UNIXAddress(None), "127.0.0.1", 0),
        (None, "127.0.0.1", 0),
    ],
    ids=["IPv4", "IPv6 with a zone", "Unix", "unknown"],
)
def test_address_of_a_client(address: Any, client: str, port: int) -> None:
    connection = Wire().factory.connection_at("tcp:1", address)
    assert (connection.client_address, connection.client_port) == (client, port)


# ---------------------------------------------------------------- how many


def test_accepting_pauses_and_goes_on(warnings: Callable[[Wire], list[str]]) -> None:
    wire = Wire(max_connections=2)
    warned = warnings(wire)
    ports = [Port(wire), Port(wire)]
    wire.factory.accept_on(ports)
    first, _ = wire.client(), wire.client()
    assert [port.reading for port in ports] == [False, False]
    assert repr(wire.factory) == "<DownstreamFactory connections=2 full>"
    assert warned == ["accepting pauses: 2 client connections are open, as many as there may be"]
    first.peer_closes()
    assert [port.reading for port in ports] == [True, True]
    assert repr(wire.factory) == "<DownstreamFactory connections=1 accepting>"


def test_at_the_limit_one_warning_is_enough(warnings: Callable[[Wire], list[str]]) -> None:
    wire = Wire(max_connections=1)
    warned = warnings(wire)
    wire.factory.accept_on([Port(wire)])
    for _ in range(5):
        wire.client().peer_closes()
    assert len(warned) == 1
    wire.pass_time(QUIET)
    wire.client().peer_closes()
    assert len(warned) == 2


def test_setting_goes_first_when_it_is_lower() -> None:
    wire = Wire(("downstream.max_connections", "1"), max_connections=2)
    port = Port(wire)
    wire.factory.accept_on([port])
    wire.client()
    assert not port.reading
    # A reload allows more, and then more than the descriptors do.
    wire.reload(("downstream.max_connections", "1000"))
    wire.factory.accept_on([port])
    assert port.reading
    wire.client()
    assert not port.reading


def test_reload_may_allow_fewer_than_there_are() -> None:
    wire = Wire(max_connections=10)
    port = Port(wire)
    wire.factory.accept_on([port])
    clients = [wire.client() for _ in range(3)]
    wire.reload(("downstream.max_connections", "1"))
    wire.factory.accept_on([port])
    for client, reading in zip(clients, [False, False, True], strict=True):
        assert not port.reading
        client.peer_closes()
        assert port.reading is reading


def test_one_turn_accepts_no_more_than_there_is_room_for() -> None:
    wire = Wire(max_connections=18)
    port = Port(wire, waiting=100)
    wire.factory.accept_on([port])
    port.turn()
    assert (wire.factory.connections, port.waiting, port.reading) == (18, 82, False)
    for _ in range(2):
        port.accepted.pop().peer_closes()
    port.turn()
    assert (wire.factory.connections, port.waiting) == (18, 80)


def test_ports_share_the_room() -> None:
    """Both were ready in one turn of the reactor, and the second is told to rest before it has had its own."""
    wire = Wire(max_connections=10)
    ports = [Port(wire, waiting=10), Port(wire, waiting=10)]
    wire.factory.accept_on(ports)
    for port in ports:
        port.doRead()
    assert wire.factory.connections == 10
    assert [port.waiting for port in ports] == [0, 10]


def test_port_is_prepared_once() -> None:
    wire = Wire(max_connections=10)
    port = Port(wire)
    wire.factory.accept_on([port])
    prepared = port.doRead
    wire.factory.accept_on([port])
    assert port.doRead == prepared


def test_client_with_too_many_connections() -> None:
    wire = Wire(("downstream.max_connections_per_client", "2"))
    first, _ = wire.client(), wire.client()
    assert wire.client().take().startswith(b"HTTP/1.1 429 ")
    other = wire.client(IPv4Address("TCP", "192.0.2.1", 40000))
    assert other.take() == b""
    assert wire.records.reasons == ["client_connections_exceeded"]
    # The refused one lingers and counts until it is gone.
    wire.pass_time(3)
    first.peer_closes()
    again = wire.client()
    again.receive(GET)
    assert not again.take().startswith(b"HTTP/1.1 429 ")


# ---------------------------------------------------------------- the end


def test_drain_of_nothing_is_over_at_once() -> None:
    wire = Wire()
    assert wire.factory.drain().called
    assert repr(wire.factory) == "<DownstreamFactory connections=0 draining>"


def test_drain_waits_for_what_is_under_way() -> None:
    wire = Wire()
    idle, new, busy = wire.client(), wire.client(), wire.client()
    idle.receive(GET)
    wire.origins[0].receive(OK)
    idle.take()
    busy.receive(GET)
    drained = wire.factory.drain()
    wire.pass_time(2 * LAST_REQUEST)
    # Who has asked before is not surprised; who has not is about to.
    assert (idle.closed, new.closed) == ("closed", "")
    wire.pass_time(LINGER)
    assert new.closed == "closed"
    assert wire.factory.connections == 1
    assert not drained.called
    wire.origins[-1].receive(OK)
    answer = busy.take()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    assert not drained.called
    wire.turn()
    assert drained.called


def test_drain_lets_a_head_arrive() -> None:
    wire = Wire()
    client = wire.client()
    client.receive(GET[:20])
    drained = wire.factory.drain()
    client.receive(GET[20:])
    wire.origins[0].receive(OK)
    assert b"\r\nConnection: close\r\n" in client.take()
    wire.turn()
    assert drained.called
    assert wire.records.reasons == [""]


def test_drain_leaves_ports_alone() -> None:
    """They are being closed: there is room again, and they must not read."""
    wire = Wire(max_connections=1)
    port = Port(wire)
    wire.factory.accept_on([port])
    client = wire.client()
    wire.factory.drain()
    port.closed = True
    client.peer_closes()
    assert not port.reading


def test_each_drain_is_told() -> None:
    wire = Wire()
    client = wire.client()
    both = wire.factory.drain(), wire.factory.drain()
    client.peer_closes()
    assert [one.called for one in both] == [True, True]


def test_stop_ends_everything_now() -> None:
    wire = Wire()
    idle, busy = wire.client(), wire.client()
    busy.receive(GET)
    wire.factory.stop(STOPPED)
    assert (idle.closed, busy.closed) == ("aborted", "closed")
    assert busy.take() == b""
    assert wire.factory.connections == 0
    assert wire.records.reasons == [STOPPED]
    assert wire.origins[0].closed


# ---------------------------------------------------------------- several workers, several fleets


def test_port_that_is_left_is_as_it_was() -> None:
    """Another worker, or the parent, goes on with it."""
    wire = Wire()
    stays, goes = Port(wire), Port(wire)
    wire.factory.accept_on([stays, goes])
    assert "doRead" in vars(goes)
    wire.factory.accept_on([stays])
    assert ("doRead" in vars(goes), "doRead" in vars(stays)) == (False, True)
    assert (goes.reading, stays.reading) == (False, True)
    wire.factory.accept_on([stays, goes])
    assert goes.reading


def test_drain_leaves_every_port() -> None:
    wire = Wire()
    port = Port(wire)
    wire.factory.accept_on([port])
    assert wire.factory.drain().called
    assert (port.reading, "doRead" in vars(port)) == (False, False)


@pytest.mark.parametrize(("workers", "limit", "share"), [(1, 10, 10), (3, 10, 4), (4, 2, 1), (4, 0, 100)])
def test_share_of_all_connections(workers: int, limit: int, share: int) -> None:
    wire = Wire(("downstream.max_connections", str(limit)), max_connections=100)
    wire.plane.workers = workers
    port = Port(wire, waiting=200)
    wire.factory.accept_on([port])
    for _ in range(10):
        port.turn()
    assert len(port.accepted) == share


def test_what_a_client_has_elsewhere_counts() -> None:
    wire = Wire(("downstream.max_connections_per_client", "3"))
    wire.factory.elsewhere = {"127.0.0.1": 2, "192.0.2.1": 3}
    for _ in range(2):
        wire.client()
    assert (wire.factory.accepted, wire.factory.refused) == (2, 1)
    assert dict(wire.factory.by_client) == {"127.0.0.1": 2}
    wire.client(IPv4Address("TCP", "192.0.2.2", 1))
    assert (wire.factory.accepted, wire.factory.refused) == (3, 1)
    assert sorted(connection.number for connection in wire.factory) == [1, 2, 3]
