"""TLS with a parent, behind a pair of sockets, on real sockets."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import trustme
from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.secure_origin import context
from twistedproxy import errors
from twistedproxy.deadlines import Deadlines
from twistedproxy.settings.types import Settings
from twistedproxy.settings.upstream_tls import UpstreamTLSSettings
from twistedproxy.tls.certificate_errors import CertificateRefused
from twistedproxy.tls.client_side import ClientSide
from twistedproxy.tls.records import Records
from twistedproxy.tls.trust import Trust
from twistedproxy.upstream.adopting import Only, adopt
from twistedproxy.upstream.connector import Connected
from twistedproxy.upstream.tls_leg import TLSLeg


class Parent(Protocol):
    """Says in capitals what it hears, and tells of the end."""

    def __init__(self) -> None:
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data.upper())  # type: ignore[union-attr]  # it is connected

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's default
        self.lost.callback(None)


class Heard(Protocol):
    """What comes through the pair of sockets."""

    def __init__(self, size: int) -> None:
        self.all: Deferred[bytes] = Deferred()
        self.lost: Deferred[None] = Deferred()
        self._size = size
        self._came = b""

    def dataReceived(self, data: bytes) -> None:
        self._came += data
        if len(self._came) >= self._size:
            self.all.callback(self._came)

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's default
        self.lost.callback(None)


@implementer(IOpenSSLContextFactory)
class Shown:
    """Twisted's way to have a context."""

    def __init__(self, made: SSL.Context) -> None:
        self._made = made

    def getContext(self) -> SSL.Context:
        return self._made


class Place:
    """A parent with TLS, and what is needed to go there."""

    def __init__(self, reactor: Any, directory: Path) -> None:
        self.reactor = reactor
        self.deadlines = Deadlines(reactor)
        authority = trustme.CA()
        anchor = directory / "anchor.pem"
        authority.cert_pem.write_to_path(str(anchor))
        self.side = ClientSide(
            Trust.of(UpstreamTLSSettings(anchors=(str(anchor),), system_anchors=False, strict=False))
        )
        self.parent = Parent()
        factory = Factory.forProtocol(lambda: self.parent)
        self.port = reactor.listenSSL(0, factory, Shown(context(authority, name="parent.test")), interface="127.0.0.1")
        self.sockets: list[socket.socket] = []

    def leg(self, host: str = "parent.test", port: int = 0) -> TLSLeg:
        sock = socket.create_connection(("127.0.0.1", port or self.port.getHost().port))
        sock.setblocking(False)
        self.sockets.append(sock)
        creator = self.side.creator(host, 443, ())
        connected = Connected(sock, "127.0.0.1", 443, 0.25)
        return TLSLeg(self.reactor, self.deadlines, connected, creator, Records(), Settings())

    async def close(self) -> None:
        await self.port.stopListening()
        for sock in self.sockets:
            assert sock.fileno() == -1


@pytest_twisted.async_yield_fixture
async def place(running_reactor: Any, tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(running_reactor, tmp_path)
    yield made
    await made.close()


@pytest_twisted.ensureDeferred
async def test_what_goes_in_is_what_comes_out(place: Place) -> None:
    connected = await place.leg().start()
    assert connected.address_text == "127.0.0.1:443"
    assert connected.connect_seconds > 0.25
    assert connected.socket.getblocking() is False
    heard = Heard(1_000_000)
    adopt(place.reactor, connected.socket, Only(heard))
    heard.transport.write(b"abcde" * 200_000)  # type: ignore[union-attr]  # it is connected
    assert await heard.all == b"ABCDE" * 200_000
    heard.transport.loseConnection()  # type: ignore[union-attr]  # it is connected
    await heard.lost
    await place.parent.lost


@pytest_twisted.ensureDeferred
async def test_the_parent_closes(place: Place) -> None:
    connected = await place.leg().start()
    heard = Heard(1)
    adopt(place.reactor, connected.socket, Only(heard))
    heard.transport.write(b"x")  # type: ignore[union-attr]  # it is connected
    assert await heard.all == b"X"
    place.parent.transport.loseConnection()  # type: ignore[union-attr]  # it is connected
    await heard.lost
    await place.parent.lost


@pytest_twisted.ensureDeferred
async def test_somebody_elses_certificate(place: Place) -> None:
    with pytest.raises(CertificateRefused) as raised:
        await place.leg("other.test").start()
    assert raised.value.reason == "certificate_wrong_host"
    await place.parent.lost


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A port at which nobody says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest_twisted.ensureDeferred
async def test_it_has_its_time(place: Place, silent: socket.socket) -> None:
    clock = Clock()
    place.deadlines = Deadlines(clock)
    result = place.leg(port=silent.getsockname()[1]).start()
    for _ in range(21):
        clock.advance(0.5)
    with pytest.raises(errors.TLSTimeout):
        await result


@pytest_twisted.ensureDeferred
async def test_nobody_wants_it_any_more(place: Place, silent: socket.socket) -> None:
    leg = place.leg(port=silent.getsockname()[1])
    assert repr(leg) == "<TLSLeg to 127.0.0.1:443 <Handshake under way>>"
    result = leg.start()
    result.cancel()
    with pytest.raises(CancelledError):
        await result
