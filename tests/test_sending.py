"""Senders: over real sockets, because what a socket does not take is what they are about."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock

from tests.memory import MemoryReactor, MemoryTransport
from twistedproxy.sending import SocketSender, TransportSender, sender_for
from twistedproxy.turns import Turn


class Server(Protocol):
    """The proxy's end; ``told`` is what its sender said."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.drained: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.clock = Clock()
        self.sender = sender_for(
            self.transport,
            self.on_drained,
            lambda: self.told.append("broken"),
            Turn(self.clock),
            lambda: self.told.append("filled"),
        )

    def on_drained(self) -> None:
        self.told.append("drained")
        self.drained.callback(None)

    def connectionLost(self, reason: object = None) -> None:
        self.lost.callback(None)


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket() as peer:
        yield peer


@pytest_twisted.async_yield_fixture
async def server(peer: socket.socket) -> AsyncIterator[Server]:
    from twisted.internet import reactor as installed

    reactor: Any = installed
    protocol = Server()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer.connect(listener.getsockname())
        accepted, _ = listener.accept()
    accepted.setblocking(False)
    factory = Factory.forProtocol(lambda: protocol)
    reactor.adoptStreamConnection(accepted.fileno(), socket.AF_INET, factory)
    accepted.close()
    yield protocol
    transport: Any = protocol.transport
    transport.abortConnection()
    await protocol.lost


def test_what_is_said_goes_out_at_the_flush(server: Server, peer: socket.socket) -> None:
    """In this very turn: the reactor does not run in this test."""
    assert isinstance(server.sender, SocketSender)
    server.sender.write(b"one ")
    server.sender.write(b"two")
    peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.recv(100)
    server.sender.flush()
    peer.setblocking(True)
    assert peer.recv(100) == b"one two"
    assert (server.sender.sent, server.sender.full, server.told) == (7, False, [])


def test_what_is_put_off_goes_out_at_the_end_of_the_turn(server: Server, peer: socket.socket) -> None:
    peer.setblocking(False)
    for said in (b"one ", b"two ", b"three"):
        server.sender.write(said)
        server.sender.flush_later()
    with pytest.raises(BlockingIOError):
        peer.recv(100)
    assert len(server.clock.getDelayedCalls()) == 1
    server.clock.advance(0)
    peer.setblocking(True)
    assert peer.recv(100) == b"one two three"
    assert (server.sender.sent, server.told) == (13, [])


def test_what_is_put_off_does_not_wait_for_what_is_not(server: Server, peer: socket.socket) -> None:
    server.sender.write(b"one ")
    server.sender.write(b"two ")
    server.sender.flush_later()
    assert server.sender.take_back(4)
    server.sender.write(b"three")
    server.sender.flush()
    assert peer.recv(100) == b"one three"
    server.clock.advance(0)
    assert server.told == []


def test_what_was_put_off_and_forgotten_is_never_sent(server: Server, peer: socket.socket) -> None:
    assert isinstance(server.sender, SocketSender)
    server.sender.write(b"one")
    server.sender.flush_later()
    server.sender.forget()
    server.clock.advance(0)
    server.sender.write(b"two")
    server.sender.finish()
    assert peer.recv(100) == b"two"


@pytest_twisted.ensureDeferred
async def test_it_is_told_when_what_was_put_off_was_too_much(server: Server, peer: socket.socket) -> None:
    from twisted.internet.threads import deferToThread

    size = 8 << 20
    server.sender.write(b"x" * size)
    server.sender.flush_later()
    assert not server.sender.full
    server.clock.advance(0)
    assert (server.sender.full, server.told) == (True, ["filled"])
    server.sender.write(b"end")
    server.sender.flush_later()

    def read() -> int:
        received = 0
        while received < size + 3:
            received += len(peer.recv(1 << 20))
        return received

    assert await deferToThread(read) == size + 3
    await server.drained
    assert (server.sender.full, server.told, server.clock.getDelayedCalls()) == (False, ["filled", "drained"], [])


@pytest_twisted.ensureDeferred
async def test_what_the_socket_does_not_take_follows(server: Server, peer: socket.socket) -> None:
    from twisted.internet.threads import deferToThread

    size = 8 << 20
    server.sender.write(b"x" * size)
    server.sender.flush()
    assert server.sender.full
    server.sender.write(b"end")
    server.sender.flush()

    def read() -> bytes:
        received = bytearray()
        while len(received) < size + 3:
            received += peer.recv(1 << 20)
        return bytes(received)

    received = await deferToThread(read)
    await server.drained
    assert received == b"x" * size + b"end"
    assert (server.sender.full, server.told, server.sender.sent) == (False, ["drained"], size + 3)


@pytest_twisted.ensureDeferred
async def test_a_close_waits_for_what_was_said(server: Server, peer: socket.socket) -> None:
    from twisted.internet.threads import deferToThread

    size = 8 << 20
    server.sender.write(b"x" * size)
    server.sender.finish()
    transport: Any = server.transport
    transport.loseConnection()

    def read() -> int:
        received = 0
        while data := peer.recv(1 << 20):
            received += len(data)
        return received

    assert await deferToThread(read) == size


def test_a_peer_that_has_gone_is_told_once(server: Server, peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    peer.close()
    server.sender.write(b"x")
    server.sender.flush()
    server.sender.write(b"y")
    server.sender.flush()
    assert set(server.told) == {"broken"}
    assert not server.sender.full


def test_other_transports_are_written_to() -> None:
    transport = MemoryTransport(MemoryReactor())
    told: list[str] = []
    sender = sender_for(transport, lambda: told.append("drained"), lambda: told.append("broken"))
    assert isinstance(sender, TransportSender)
    sender.write(b"a")
    assert transport.take() == b""
    sender.flush()
    assert transport.take() == b"a"
    transport.fill()
    assert sender.full
    transport.drain()
    assert not sender.full
    assert told == ["drained"]
    sender.write(b"b")
    sender.flush_later()
    assert transport.take() == b"b"
    sender.finish()
    assert transport.producer is None
    assert repr(sender) == "<TransportSender sent=2>"


@pytest_twisted.ensureDeferred
async def test_what_the_peer_has_taken_is_told(server: Server, peer: socket.socket) -> None:
    """A peer that reads, however slowly, can be told from one that does not."""
    from twisted.internet.threads import deferToThread

    size = 16 << 20
    server.sender.write(bytes(size))
    server.sender.flush()
    assert server.sender.full
    before = server.sender.taken
    assert before < server.sender.sent

    def read(wanted: int) -> None:
        while wanted:
            wanted -= len(peer.recv(min(wanted, 1 << 20)))

    await deferToThread(read, 4 << 20)
    assert before < server.sender.taken < size
    await deferToThread(read, size - (4 << 20))
    await server.drained
    assert server.sender.taken >= size
