"""TLS over real sockets, with the standard library's as the other side: what is sent when, and how it ends."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_twisted
import trustme
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedproxy.tls.records import Records
from twistedproxy.tls_transport import LARGE_READ, Outlet, TLSTransport, TLSTransportFactory
from twistedproxy.turns import Turn

CLOSING = 30.0

RECORD_OVERHEAD = 5 + 1 + 16
"""Bytes of a record of TLS 1.3 besides its content: header, content type, tag (RFC 8446, section 5.2)."""


@implementer(IOpenSSLServerConnectionCreator)
class Serving:
    """Makes a server's side."""

    def __init__(self, authority: trustme.CA) -> None:
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        certificate = authority.issue_cert("localhost")
        with certificate.private_key_and_cert_chain_pem.tempfile() as path:
            self._context.use_privatekey_file(path)
            self._context.use_certificate_file(path)

    def serverConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class Server(Protocol):
    """The proxy's end; ``told`` is what it was told as a producer."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.received = b""
        self.hears: Callable[[], object] = lambda: None
        self.rested: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.hears()

    def pauseProducing(self) -> None:
        self.told.append("pause")
        if not self.rested.called:
            self.rested.callback(None)

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")

    def connectionLost(self, reason: Any = None) -> None:
        self.reason = reason
        self.lost.callback(None)


def the_reactor() -> Any:
    from twisted.internet import reactor

    return reactor


class Counted(Turn):
    """Counts what is put off."""

    count = 0

    def put_off(self, call: Callable[[], object]) -> None:
        self.count += 1
        super().put_off(call)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket() as peer:
        peer.settimeout(CLOSING)
        yield peer


@pytest.fixture
def turn() -> Counted:
    from twisted.internet import reactor as installed

    reactor: Any = installed
    return Counted(reactor)


@pytest_twisted.async_yield_fixture
async def server(peer: socket.socket, authority: trustme.CA, turn: Counted) -> AsyncIterator[Server]:
    from twisted.internet import reactor as installed

    reactor: Any = installed
    protocol = Server()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer.connect(listener.getsockname())
        accepted, _ = listener.accept()
    accepted.setblocking(False)
    inner = Factory.forProtocol(lambda: protocol)
    factory = TLSTransportFactory(Serving(authority), False, inner, reactor, turn, Records())
    reactor.adoptStreamConnection(accepted.fileno(), socket.AF_INET, factory)
    accepted.close()
    yield protocol
    transport: Any = protocol.transport
    if not protocol.lost.called:
        transport.abortConnection()
    await protocol.lost


async def secured(peer: socket.socket, authority: trustme.CA) -> ssl.SSLSocket:
    """The client's side, after the handshake."""
    from twisted.internet.threads import deferToThread

    context = ssl.create_default_context()
    authority.configure_trust(context)
    wrapped: ssl.SSLSocket = await deferToThread(
        context.wrap_socket, peer, server_hostname="localhost", suppress_ragged_eofs=False
    )
    return wrapped


def read(connection: ssl.SSLSocket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size and (data := connection.recv(1 << 18)):
        received += data
    return bytes(received)


@pytest_twisted.ensureDeferred
async def test_what_is_written_in_one_turn_leaves_at_its_end_in_one_piece(
    server: Server, peer: socket.socket, authority: trustme.CA, turn: Counted
) -> None:
    from twisted.internet.threads import deferToThread

    transport: Any = server.transport

    def answer() -> None:
        before = turn.count
        for number in range(50):
            transport.write(b"%02d" % number)
        assert turn.count == before + 1

    server.hears = answer
    with await secured(peer, authority) as connection:
        connection.sendall(b"question")
        expected = b"".join(b"%02d" % number for number in range(50))
        assert await deferToThread(read, connection, 100) == expected
    assert server.received == b"question"
    assert isinstance(transport, TLSTransport)
    assert repr(transport.transport).startswith("<Outlet <SocketSender sent=")


@pytest_twisted.ensureDeferred
async def test_what_came_together_is_told_together(
    server: Server, peer: socket.socket, authority: trustme.CA, turn: Counted
) -> None:
    """Five records, read from the socket at once. Whoever closes in the middle hears no more."""
    told: list[int] = []
    transport: Any = server.transport
    greeted: Deferred[None] = Deferred()
    all_told: Deferred[None] = Deferred()

    def hear() -> None:
        told.append(len(server.received))
        if len(server.received) == 5000:
            all_told.callback(None)

    def greet() -> None:
        server.received = b""
        greeted.callback(None)

    with await secured(peer, authority) as connection:
        assert connection.version() == "TLSv1.3"
        server.hears = greet
        connection.sendall(b"greeting")
        await greeted
        # What is sent on loopback arrives a little later on a busy machine: nothing is told of before all is there.
        handle = transport.transport.getHandle()
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 5 * (1000 + RECORD_OVERHEAD))
        server.hears = hear
        for _ in range(5):
            connection.sendall(b"x" * 1000)
        await all_told
        assert told == [5000]
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        server.hears = transport.abortConnection
        connection.sendall(b"y")
        connection.sendall(b"z" * (1 << 16))
        await server.lost
    assert server.received.count(b"x") == 5000


@pytest_twisted.ensureDeferred
async def test_where_much_comes_much_is_read_at_a_time(
    server: Server, peer: socket.socket, authority: trustme.CA
) -> None:
    from twisted.internet.threads import deferToThread

    pieces: list[int] = []
    all_told: Deferred[None] = Deferred()
    size = 8 << 20

    def hear() -> None:
        pieces.append(len(server.received) - sum(pieces))
        if len(server.received) == size + 4:
            all_told.callback(None)

    server.hears = hear
    transport: Any = server.transport
    with await secured(peer, authority) as connection:
        connection.sendall(b"some")
        while not pieces:
            await deferLater(the_reactor(), 0, lambda: None)
        assert transport.transport.bufferSize == 65536
        await deferToThread(connection.sendall, b"x" * size)
        await all_told
        assert transport.transport.bufferSize == LARGE_READ
        assert max(pieces) <= LARGE_READ


@pytest_twisted.ensureDeferred
async def test_a_producer_rests_while_the_peer_does_not_read(
    server: Server, peer: socket.socket, authority: trustme.CA
) -> None:
    from twisted.internet.threads import deferToThread

    size = 16 << 20
    transport: Any = server.transport
    with await secured(peer, authority) as connection:
        transport.registerProducer(server, True)
        transport.write(b"x" * size)
        await server.rested
        assert server.told == ["pause"]
        transport.write(b"end")
        assert await deferToThread(read, connection, size + 3) == b"x" * size + b"end"
        connection.sendall(b"more")
        answered: Deferred[None] = Deferred()
        server.hears = lambda: answered.callback(None)
        await answered
        assert server.told == ["pause", "resume"]
        transport.unregisterProducer()


@pytest_twisted.ensureDeferred
async def test_a_close_waits_for_what_was_written_and_says_so(
    server: Server, peer: socket.socket, authority: trustme.CA
) -> None:
    from twisted.internet.threads import deferToThread

    size = 8 << 20
    transport: Any = server.transport
    with await secured(peer, authority) as connection:
        transport.write(b"x" * size)
        transport.loseConnection()
        # One byte more than there is: it ends with a close alert, or this would raise.
        assert len(await deferToThread(read, connection, size + 1)) == size
        await deferToThread(connection.unwrap)


@pytest_twisted.ensureDeferred
async def test_an_abort_does_not_look_like_an_end(server: Server, peer: socket.socket, authority: trustme.CA) -> None:
    from twisted.internet.threads import deferToThread

    transport: Any = server.transport
    with await secured(peer, authority) as connection:
        # The tickets of TLS 1.3 have been read, and nothing of the connection's own is in the way.
        connection.sendall(b"question")
        server.hears = lambda: (transport.write(b"x" * 1000), transport.abortConnection())
        with pytest.raises(OSError, match=r"reset|EOF|eof"):
            await deferToThread(read, connection, 1)


@pytest.mark.parametrize("says_so", [True, False])
def test_an_end_that_was_said_is_one_however_the_connection_goes(
    authority: trustme.CA, turn: Counted, says_so: bool
) -> None:
    """RFC 8446 section 6.1: nothing comes after a close alert, and many do not wait for ours."""
    server = Server()
    inner = Factory.forProtocol(lambda: server)
    factory = TLSTransportFactory(Serving(authority), False, inner, the_reactor(), turn, Records())
    transport = StringTransport()
    transport.getHandle = lambda: None
    below: Any = factory.buildProtocol(None)
    below.makeConnection(transport)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    peer = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    for step in (peer.do_handshake, peer.do_handshake, lambda: peer.write(b"all there is"), peer.unwrap):
        if step != peer.unwrap or says_so:
            with suppress(ssl.SSLWantReadError):
                step()
        if said := outgoing.read():
            below.dataReceived(said)
        incoming.write(transport.value())
        transport.clear()
    below.connectionLost(Failure(ConnectionLost()))
    assert server.received == b"all there is"
    assert server.reason is not None
    assert server.reason.type is (ConnectionDone if says_so else ConnectionLost)


@pytest_twisted.ensureDeferred
async def test_a_peer_that_has_gone_is_noticed(server: Server, peer: socket.socket, authority: trustme.CA) -> None:
    transport: Any = server.transport
    connection = await secured(peer, authority)
    transport.pauseProducing()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    connection.close()
    transport.write(b"x")
    transport.write(b"y")
    await server.lost


def test_without_a_socket_it_is_written_to_at_once(authority: trustme.CA, turn: Counted) -> None:
    from twisted.internet import reactor as installed

    reactor: Any = installed
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)

    class Client(Serving):
        def clientConnectionForTLS(self, tlsProtocol: object) -> SSL.Connection:
            return SSL.Connection(context, None)

    inner = Factory.forProtocol(Server)
    protocol: Any = TLSTransportFactory(Client(authority), False, inner, reactor, turn, Records()).buildProtocol(None)
    transport = StringTransport()
    transport.getHandle = lambda: None
    protocol.makeConnection(transport)
    protocol.dataReceived(b"\x15\x03\x01\0\x02\x02\x28")
    assert not isinstance(protocol.transport, Outlet)
    assert (transport.disconnecting, turn.count) == (True, 0)
