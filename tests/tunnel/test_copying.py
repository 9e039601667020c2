"""What only the copying relay can do: relay between transports that are more than sockets."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
import trustme
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedproxy.deadlines import Deadlines
from twistedproxy.tunnel.copying import LINGER, CopyingRelay, Observer
from twistedproxy.tunnel.relay import CLIENT, CLIENT_LEFT, PROXY, TUNNEL_IDLE, UPSTREAM, UPSTREAM_RESET, Relay

SMALL = 1 << 15

asynchronous = pytest_twisted.ensureDeferred


# ---------------------------------------------------------------- in memory


class MemoryTransport(StringTransport):
    """One that can be closed in one direction, and loses its connection when the test says so."""

    protocol: Any = None
    finished = False
    aborted = False

    def loseWriteConnection(self) -> None:
        assert self.producer is None
        self.finished = True

    def loseConnection(self) -> None:
        assert self.aborted or self.producer is None
        super().loseConnection()

    def abortConnection(self) -> None:
        self.aborted = True
        super().abortConnection()

    def lose(self, reason: Exception | None = None) -> None:
        self.protocol.connectionLost(Failure(reason or ConnectionDone()))


class MemoryTunnel:
    def __init__(self, to_upstream: bytes = b"", to_client: bytes = b"", observer: Observer | None = None) -> None:
        self.clock = Clock()
        self.deadlines = Deadlines(self.clock)
        self.client = MemoryTransport()
        self.upstream = MemoryTransport()
        self.ended: list[Relay] = []
        for transport in (self.client, self.upstream):
            transport.pauseProducing()
        self.relay = CopyingRelay(
            self.client,
            self.upstream,
            to_upstream=to_upstream,
            to_client=to_client,
            idle_timeout=60.0,
            ended=self.ended.append,
            deadlines=self.deadlines,
            observer=observer,
        )
        self.relay.start()


def test_it_takes_the_transports_over_and_reads() -> None:
    tunnel = MemoryTunnel(to_upstream=b"early ", to_client=b"hello ")
    for transport in (tunnel.client, tunnel.upstream):
        assert transport.producerState == "producing"
        assert transport.streaming
        assert IHalfCloseableProtocol.providedBy(transport.protocol)
    tunnel.client.protocol.dataReceived(b"late")
    tunnel.upstream.protocol.dataReceived(b"world")
    assert tunnel.upstream.value() == b"early late"
    assert tunnel.client.value() == b"hello world"
    assert (tunnel.relay.bytes_to_upstream, tunnel.relay.bytes_to_client) == (10, 11)


class Observing:
    """Notes what it sees, with what had been passed on by then; fails when it is told ``fault``."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes, bytes]] = []
        self.tunnel: MemoryTunnel | None = None

    def passed_to_upstream(self, data: bytes) -> None:
        self._see("up", data, lambda tunnel: tunnel.upstream)

    def passed_to_client(self, data: bytes) -> None:
        self._see("down", data, lambda tunnel: tunnel.client)

    def _see(self, direction: str, data: bytes, to: Callable[[MemoryTunnel], MemoryTransport]) -> None:
        self.seen.append((direction, data, to(self.tunnel).value() if self.tunnel is not None else b""))
        if data == b"fault":
            raise ZeroDivisionError


def test_an_observer_sees_what_was_passed_on() -> None:
    """The early bytes too; it comes second, and hears nothing of what nobody was given."""
    observing = Observing()
    tunnel = observing.tunnel = MemoryTunnel(to_upstream=b"early", observer=observing)
    tunnel.upstream.protocol.dataReceived(b"down")
    tunnel.client.protocol.dataReceived(b"up")
    tunnel.relay.stop("stopped")
    tunnel.client.protocol.dataReceived(b"late")
    assert observing.seen == [("up", b"early", b""), ("down", b"down", b"down"), ("up", b"up", b"earlyup")]
    assert tunnel.upstream.value() == b"earlyup"


def test_an_observer_may_fail(logged_errors: Any) -> None:
    """It sees no more of that direction, and the bytes go on."""
    observing = Observing()
    tunnel = MemoryTunnel(observer=observing)
    for data in (b"fault", b"more"):
        tunnel.client.protocol.dataReceived(data)
    tunnel.upstream.protocol.dataReceived(b"down")
    assert tunnel.upstream.value() == b"faultmore"
    assert [data for _, data, _ in observing.seen] == [b"fault", b"down"]
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    assert tunnel.relay.ended_by == ""


def test_a_full_transport_pauses_the_other() -> None:
    tunnel = MemoryTunnel()
    tunnel.upstream.producer.pauseProducing()
    assert (tunnel.client.producerState, tunnel.upstream.producerState) == ("paused", "producing")
    assert "client=blocked upstream=flowing" in repr(tunnel.relay)
    tunnel.upstream.producer.resumeProducing()
    assert tunnel.client.producerState == "producing"
    tunnel.client.producer.pauseProducing()
    assert (tunnel.client.producerState, tunnel.upstream.producerState) == ("producing", "paused")


def test_a_transport_that_early_bytes_fill_pauses_the_other_from_the_start() -> None:
    class Full(MemoryTransport):
        def write(self, data: bytes) -> None:
            super().write(data)
            self.producer.pauseProducing()

    clock = Clock()
    client, upstream = MemoryTransport(), Full()
    client.pauseProducing()
    relay = CopyingRelay(
        client,
        upstream,
        to_upstream=b"early",
        to_client=b"",
        idle_timeout=60.0,
        ended=lambda relay: None,
        deadlines=Deadlines(clock),
    )
    relay.start()
    assert upstream.value() == b"early"
    assert (client.producerState, upstream.producerState) == ("paused", "producing")


def test_reading_is_not_resumed_after_a_fin() -> None:
    tunnel = MemoryTunnel()
    producer = tunnel.upstream.producer
    producer.pauseProducing()
    tunnel.client.protocol.readConnectionLost()
    assert tunnel.upstream.finished
    # A reactor would report the FIN again, and again.
    producer.resumeProducing()
    assert tunnel.client.producerState == "paused"


def test_both_fins_close_both_and_the_last_loss_is_the_end() -> None:
    tunnel = MemoryTunnel()
    tunnel.upstream.protocol.readConnectionLost()
    assert (tunnel.client.finished, tunnel.client.disconnecting) == (True, False)
    tunnel.client.protocol.dataReceived(b"one more thing")
    tunnel.client.protocol.readConnectionLost()
    assert tunnel.client.disconnecting
    assert tunnel.upstream.disconnecting
    assert not tunnel.upstream.finished
    tunnel.upstream.lose()
    assert not tunnel.ended
    tunnel.client.lose()
    assert tunnel.ended == [tunnel.relay]
    assert (tunnel.relay.reason, tunnel.relay.ended_by) == ("", UPSTREAM)
    assert tunnel.upstream.value() == b"one more thing"
    assert tunnel.clock.getDelayedCalls() == []


def test_a_connection_that_breaks_ends_it_and_the_other_is_aborted_a_moment_later() -> None:
    tunnel = MemoryTunnel()
    tunnel.upstream.protocol.dataReceived(b"last words")
    tunnel.upstream.lose(ConnectionLost())
    assert tunnel.ended == [tunnel.relay]
    assert (tunnel.relay.reason, tunnel.relay.ended_by) == (UPSTREAM_RESET, UPSTREAM)
    assert not tunnel.client.aborted
    # What else the client sends goes nowhere.
    tunnel.client.protocol.dataReceived(b"too late")
    tunnel.client.protocol.readConnectionLost()
    tunnel.clock.advance(0.5)
    assert tunnel.client.aborted
    tunnel.client.lose(ConnectionLost())
    assert tunnel.relay.bytes_to_upstream == 0
    assert tunnel.ended == [tunnel.relay]
    assert tunnel.client.value() == b"last words"


def test_a_stopped_connection_that_does_not_go_is_aborted() -> None:
    tunnel = MemoryTunnel()
    tunnel.relay.stop("stopped")
    assert tunnel.ended == [tunnel.relay]
    assert tunnel.client.disconnecting
    assert tunnel.upstream.disconnecting
    # A FIN that comes now changes nothing.
    tunnel.client.protocol.readConnectionLost()
    assert not tunnel.upstream.finished
    tunnel.client.lose()
    tunnel.clock.advance(LINGER + 0.5)
    assert (tunnel.client.aborted, tunnel.upstream.aborted) == (False, True)
    tunnel.upstream.lose()
    assert repr(tunnel.deadlines).startswith("<Deadlines watching=0 ")
    assert tunnel.ended == [tunnel.relay]


def test_a_fin_whose_bytes_nobody_takes_is_idle_in_the_end() -> None:
    tunnel = MemoryTunnel()
    tunnel.upstream.producer.pauseProducing()
    tunnel.client.protocol.readConnectionLost()
    tunnel.upstream.protocol.readConnectionLost()
    tunnel.client.lose()
    tunnel.clock.advance(61)
    assert (tunnel.relay.reason, tunnel.relay.ended_by) == (TUNNEL_IDLE, PROXY)
    assert tunnel.upstream.aborted
    tunnel.upstream.lose(ConnectionLost())
    assert tunnel.ended == [tunnel.relay]


# ---------------------------------------------------------------- TLS


class Wrapped(Protocol):
    """What the transport serves until the relay takes it over."""

    def connectionMade(self) -> None:
        self.transport.pauseProducing()


@implementer(IOpenSSLServerConnectionCreator)
class Credentials:
    """A certificate for localhost, and its key, as a server's TLS connections need them."""

    def __init__(self, authority: trustme.CA) -> None:
        issued = authority.issue_cert("localhost")
        self._context = SSL.Context(SSL.TLS_METHOD)
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        assert isinstance(key, EllipticCurvePrivateKey)
        self._context.use_privatekey(key)
        self._context.use_certificate(load_pem_x509_certificate(issued.cert_chain_pems[0].bytes()))

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class TLSTunnel:
    """The client speaks TLS to the relay, the upstream plain TCP. ``style`` is how TLS came about."""

    def __init__(self, reactor: Any, pair: Any, peer: Any, authority: trustme.CA, style: str) -> None:
        self.clock = Clock()
        self.reactor = reactor
        self.ended: list[Relay] = []
        credentials = Credentials(authority)
        far_client, near_client = pair(SMALL)
        far_upstream, near_upstream = pair(SMALL)
        client, upstream = Wrapped(), Wrapped()
        factory = Factory.forProtocol(lambda: client)
        if style == "wrapped":
            factory = TLSMemoryBIOFactory(credentials, False, factory, reactor)
        reactor.adoptStreamConnection(near_client.fileno(), socket.AF_INET, factory)
        if style == "startTLS":
            client.transport.startTLS(credentials)
        reactor.adoptStreamConnection(near_upstream.fileno(), socket.AF_INET, Factory.forProtocol(lambda: upstream))
        near_client.close()
        near_upstream.close()
        context = ssl.create_default_context()
        authority.configure_trust(context)
        secured = context.wrap_socket(
            far_client,
            server_hostname="localhost",
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
        )
        self.client = peer(secured, reactor)
        self.upstream = peer(far_upstream, reactor)
        self.relay = CopyingRelay(
            client.transport,
            upstream.transport,
            to_upstream=b"early ",
            to_client=b"",
            idle_timeout=60.0,
            ended=self.ended.append,
            deadlines=Deadlines(self.clock),
        )

    async def handshake(self) -> None:
        await self.client.patiently(self.client.socket.do_handshake)

    async def end(self) -> Relay:
        for _ in range(2000):
            if self.ended:
                break
            await self.client.turn(0.001)
        for _ in range(3):
            self.clock.advance(1.0)
            await self.client.turn()
        assert self.ended == [self.relay]
        return self.relay


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(params=["wrapped", "startTLS"])
def secure(
    request: pytest.FixtureRequest,
    running_reactor: Any,
    pair: Any,
    peer: Any,
    authority: trustme.CA,
) -> Iterator[TLSTunnel]:
    tunnel = TLSTunnel(running_reactor, pair, peer, authority, request.param)
    tunnel.relay.start()
    yield tunnel
    tunnel.relay.stop("stopped")
    tunnel.clock.advance(LINGER + 1)
    tunnel.client.close()
    tunnel.upstream.close()


@asynchronous
async def test_bytes_pass_between_tls_and_tcp(secure: TLSTunnel, all_of: Callable[..., Any]) -> None:
    await secure.handshake()
    data = bytes(range(256)) * 4096
    await secure.client.write(b"late")
    assert await secure.upstream.read(10) == b"early late"
    _, down = await all_of(secure.upstream.write(data), secure.client.read(len(data)))
    _, up = await all_of(secure.client.write(data), secure.upstream.read(len(data)))
    assert (down, up) == (data, data)
    assert (secure.relay.bytes_to_upstream, secure.relay.bytes_to_client) == (len(data) + 10, len(data))


@asynchronous
async def test_a_tls_side_that_closes_ends_both(secure: TLSTunnel) -> None:
    await secure.handshake()
    await secure.client.write(b"and goodbye")
    # `unwrap` says close_notify, and waits for the answer.
    unwrapped = await secure.client.patiently(secure.client.socket.unwrap)
    assert await secure.upstream.read_to_end() == b"early and goodbye"
    relay = await secure.end()
    assert (relay.reason, relay.ended_by) == ("", CLIENT)
    unwrapped.close()


@asynchronous
async def test_the_end_of_the_other_side_closes_the_tls_side_after_the_last_byte(
    secure: TLSTunnel, all_of: Callable[..., Any]
) -> None:
    await secure.handshake()

    async def write_and_finish() -> None:
        await secure.upstream.write(b"x" * 1_000_000)
        secure.upstream.finish()

    # Had a close_notify not come, reading would raise.
    _, received = await all_of(write_and_finish(), secure.client.read_to_end())
    assert received == b"x" * 1_000_000
    # Like many, this client does not answer it but goes.
    secure.client.close()
    assert await secure.upstream.read_to_end() == b"early "
    relay = await secure.end()
    assert (relay.reason, relay.ended_by) == ("", UPSTREAM)


@asynchronous
async def test_a_tls_side_that_is_cut_resets_the_other(secure: TLSTunnel) -> None:
    await secure.handshake()
    await secure.client.write(b"half a mess")
    assert await secure.upstream.read(17) == b"early half a mess"
    # A FIN without close_notify: anyone on the way could have sent it.
    secure.client.close()
    relay = await secure.end()
    await secure.upstream.reset_reached()
    assert (relay.reason, relay.ended_by) == (CLIENT_LEFT, CLIENT)


@asynchronous
async def test_a_tls_side_that_does_not_read_stops_the_other(secure: TLSTunnel) -> None:
    await secure.handshake()
    sent = await secure.upstream.fill(secure.relay, UPSTREAM)
    # Two kernel buffers and one of TLS and of TCP each; loopback is generous.
    assert sent < 2_000_000
    received = await secure.client.read(sent)
    assert received == (bytes(range(256)) * (sent // 256 + 1))[:sent]


@asynchronous
async def test_a_tls_side_is_stopped_in_order(secure: TLSTunnel) -> None:
    await secure.handshake()
    await secure.client.write(b"bytes")
    assert await secure.upstream.read(11) == b"early bytes"
    secure.relay.stop("stopped")
    assert secure.ended == [secure.relay]
    assert await secure.client.read_to_end() == b""
    assert await secure.upstream.read_to_end() == b""
    await secure.end()
