"""A client that speaks TLS inside a tunnel in memory."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from contextlib import suppress

from cryptography.hazmat.primitives.serialization import Encoding

from tests.memory import MemoryTransport, Wire

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def connect_to(authority: str, fields: bytes = b"") -> bytes:
    """The head of a CONNECT, with lines of further ``fields``."""
    return f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n".encode() + fields + b"\r\n"


def established(wire: Wire, authority: str = "origin.test:443", fields: bytes = b"") -> MemoryTransport:
    """A client that was told that it has a tunnel."""
    client = wire.client()
    client.receive(connect_to(authority, fields))
    assert client.take() == ESTABLISHED
    return client


def trusting(wire: Wire) -> ssl.SSLContext:
    """What trusts the proxy's authority."""
    context = ssl.create_default_context()
    pem = wire.issuer.made_now().authority.certificate.public_bytes(Encoding.PEM)
    context.load_verify_locations(cadata=pem.decode())
    return context


class Inner:
    """TLS on ``client``'s side of the tunnel, asking for ``name``."""

    def __init__(
        self,
        wire: Wire,
        client: MemoryTransport,
        name: str | None = "origin.test",
        context: ssl.SSLContext | None = None,
        protocols: Sequence[str] = (),
    ) -> None:
        self.wire = wire
        self.client = client
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = context or trusting(wire)
        if name is None:
            context.check_hostname = False
        if protocols:
            context.set_alpn_protocols(list(protocols))
        self.tls = context.wrap_bio(self._in, self._out, server_hostname=name)

    def hello(self) -> bytes:
        """The first flight."""
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._out.read()

    def shake_hands(self) -> None:
        """Do the whole handshake. Raises `ssl.SSLError` after the alert has been sent."""
        try:
            for _ in range(5):
                try:
                    self.tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    self.exchange()
        finally:
            self.exchange()

    def exchange(self) -> None:
        """Send what there is to send, and take in what has come."""
        if said := self._out.read():
            self.client.receive(said)
        self.wire.turn()
        self._in.write(self.client.take())

    def ask(self, request: bytes) -> None:
        """Send a request."""
        self.tls.write(request)
        self.exchange()

    def heard(self) -> bytes:
        """What has been said to the client."""
        self.exchange()
        said = b""
        with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while piece := self.tls.read():
                said += piece
        return said
