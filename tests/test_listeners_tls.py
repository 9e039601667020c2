"""Listeners with TLS of ours: over real sockets, kept over reloads with the files as they are, and as a proxy's."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import trustme
from cryptography.x509.oid import NameOID
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread

from tests.accounts.samples import GuardedWire
from twistedproxy.accounts.certificates import VerifiedCertificate
from twistedproxy.listeners import CannotListen, Listeners

HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.1 1234 8443\r\n"


class Echo(Protocol):
    """Says who speaks, and from where."""

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        shown = transport.getPeerCertificate()
        common = shown.to_cryptography().subject.get_attributes_for_oid(NameOID.COMMON_NAME) if shown else ()
        name = common[0].value if common else "nobody"
        transport.write(f"{name} {transport.getPeer().host} {data.decode()}".encode())


class Place:
    """An authority's files, and what listens with them."""

    def __init__(self, directory: Path, reactor: Any) -> None:
        self.authority = trustme.CA()
        self.directory = directory
        self.listeners = Listeners(reactor)
        self.renew()
        self.trust(self.authority)
        self.ann = self.authority.issue_cert("ann@example", common_name="ann")
        self.description = f"ssl:0:interface=127.0.0.1:privateKey={directory}/leaf.pem"

    def renew(self) -> None:
        self.authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(
            str(self.directory / "leaf.pem")
        )

    def trust(self, authority: trustme.CA) -> None:
        authority.cert_pem.write_to_path(str(self.directory / "ca.pem"))

    @property
    def asking(self) -> str:
        return f"{self.description}:clientCA={self.directory}/ca.pem:clientCertificate=optional"

    def open(self, *descriptions: str, factory: Any = None) -> None:
        self.listeners.open(descriptions, lambda _: factory or Factory.forProtocol(Echo))

    def client(self, shown: trustme.LeafCert | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if shown is not None:
            shown.configure_cert(context)
        return context

    def say(self, context: ssl.SSLContext, said: bytes = b"hello") -> tuple[bytes, int]:
        """What is answered, and the serial number of the listener's certificate."""
        port = self.listeners.addresses()[0].port
        with (
            socket.create_connection(("127.0.0.1", port), 20) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            secured.sendall(said)
            shown: Any = secured.getpeercert()
            return secured.recv(4096), int(shown["serialNumber"], 16)


@pytest.fixture
def place(tmp_path: Path, running_reactor: Any) -> Iterator[Place]:
    made = Place(tmp_path, running_reactor)
    yield made
    pytest_twisted.blockon(made.listeners.close())


@pytest_twisted.ensureDeferred
async def test_with_tls(place: Place) -> None:
    place.open(place.description)
    answer, _ = await deferToThread(place.say, place.client())
    assert answer == b"nobody 127.0.0.1 hello"


@pytest_twisted.ensureDeferred
async def test_with_certificates_of_clients(place: Place) -> None:
    place.open(place.asking)
    assert (await deferToThread(place.say, place.client(place.ann)))[0] == b"ann 127.0.0.1 hello"
    assert (await deferToThread(place.say, place.client()))[0] == b"nobody 127.0.0.1 hello"
    stranger = trustme.CA().issue_cert("ann@example", common_name="ann")
    with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
        await deferToThread(place.say, place.client(stranger))


@pytest_twisted.ensureDeferred
async def test_what_stands_before_it_is_inside(place: Place) -> None:
    """As with the endpoint that Twisted has."""
    place.open("haproxy:" + place.asking)
    answer, _ = await deferToThread(place.say, place.client(place.ann), HEADER + b"hello")
    assert answer == b"ann 192.0.2.7 hello"


@pytest_twisted.ensureDeferred
async def test_files_are_read_again_when_it_is_opened_again(place: Place) -> None:
    place.open(place.asking)
    ports = place.listeners.ports
    context = place.client(place.ann)
    _, before = await deferToThread(place.say, context)
    assert (await deferToThread(place.say, context))[1] == before
    place.renew()
    place.open(place.asking)
    assert place.listeners.ports == ports
    answer, after = await deferToThread(place.say, context)
    assert after != before
    assert answer == b"ann 127.0.0.1 hello"
    place.trust(trustme.CA())
    place.open(place.asking)
    with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
        await deferToThread(place.say, context)


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_used_changes_nothing(place: Place) -> None:
    """All or none, with the files too."""
    place.open(place.asking)
    context = place.client(place.ann)
    _, before = await deferToThread(place.say, context)
    place.renew()
    (place.directory / "ca.pem").write_bytes(b"")
    with pytest.raises(CannotListen) as raised:
        place.open(place.asking)
    why = f"{place.directory}/ca.pem has no certificate, or one that cannot be read"
    assert str(raised.value) == f"cannot listen on {place.asking}: {why}"
    assert (await deferToThread(place.say, context))[1] == before
    place.trust(place.authority)
    with pytest.raises(CannotListen):
        place.open(place.asking, "nosuchkind:1")
    assert (await deferToThread(place.say, context))[1] == before


@pytest.mark.parametrize("prefix", ["", "haproxy:"])
@pytest_twisted.ensureDeferred
async def test_a_proxys_connection_knows_what_was_shown(place: Place, prefix: str) -> None:
    wire = GuardedWire(("access.clients", "all"))
    inner = wire.factory.at(place.asking)
    made: list[Any] = []

    class Watched(Factory):
        acceptableProtocols = inner.acceptableProtocols

        def buildProtocol(self, addr: Any) -> Any:
            made.append(inner.buildProtocol(addr))
            return made[-1]

    place.open(prefix + place.asking, factory=Watched())
    said = (HEADER if prefix else b"") + b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"
    answer, _ = await deferToThread(place.say, place.client(place.ann), said)
    assert answer.startswith(b"HTTP/1.1 200 ")
    shown = made[-1].certificate
    assert isinstance(shown, VerifiedCertificate)
    assert (shown.said.fields["cn"], len(shown.chain)) == (["ann"], 2)
    assert made[-1].certificate is shown
    answer, _ = await deferToThread(place.say, place.client(), said)
    assert answer.startswith(b"HTTP/1.1 407 ")
    assert made[-1].certificate is None
    assert wire.users == [b"ann", b""]
