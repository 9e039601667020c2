"""What a client's connection is to those who count, list and end connections, whichever version of HTTP it speaks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol

from twistedproxy.accounts.certificates import VerifiedCertificate
from twistedproxy.data_plane import DataPlane
from twistedproxy.downstream_side import Reached
from twistedproxy.exchange import Exchange
from twistedproxy.opaque import OpaqueExchange
from twistedproxy.tls.listening import verified_chain

if TYPE_CHECKING:
    from twistedproxy.downstream.factory import DownstreamFactory

LINGER = 2.0
"""Seconds that a client gets to read the last answer and close, while what it still sends is thrown away.

Closing at once would reset the connection, and the answer with it (RFC 9112 section 9.6).
"""

LAST_REQUEST = 0.25
"""Seconds in which an idle connection in a drain may still bring a request: it may be on its way, or not read yet. One
that has brought none yet has as long as `LINGER`: its client does not expect to have to ask again (RFC 9112, 9.5)."""


class ClientConnection(Protocol):
    """The base of client connections. ``listener`` is the description of the one that it came in at."""

    def __init__(self, factory: DownstreamFactory, plane: DataPlane, address: str, port: int, listener: str) -> None:
        self.client_address = address
        self.client_port = port
        self.listener = listener
        self.number = 0
        """Which of the factory's connections it is."""
        self.requests = 0
        """How many requests it has brought."""
        self.opened_at = plane.deadlines.seconds()
        self.deadline = 0.0
        self.deadline_bucket = 0
        self.lingering = False
        """Whether it only waits for its client to close."""
        self._shown: VerifiedCertificate | None = None
        self._looked = False
        self.gone = False
        """Whether it is gone, or somebody else's."""
        self._factory = factory
        self._plane = plane
        self._deadlines = plane.deadlines
        self._settings = plane.snapshot.settings.downstream

    def __repr__(self) -> str:
        exchanges = self.exchanges
        doing = " ".join(map(repr, exchanges)) if exchanges else repr("idle")
        state = "gone" if self.gone else "lingering" if self.lingering else doing
        return f"<{type(self).__name__} {self.client_address}:{self.client_port} {state}>"

    @property
    def _transport(self) -> Any:
        return self.transport

    @property
    def reached(self) -> Reached:
        """Where the client has found us."""
        host = self._transport.getHost()
        address = getattr(host, "host", "").partition("%")[0]
        return Reached(address, getattr(host, "port", 0), ISSLTransport.providedBy(self.transport))

    @property
    def certificate(self) -> VerifiedCertificate | None:
        """What its client has shown in the handshake with the listener; None where that was nothing."""
        if not self._looked:
            self._looked = True
            chain = verified_chain(self.transport)
            self._shown = VerifiedCertificate(chain) if chain else None
        return self._shown

    def send_at_once(self) -> None:
        """Let the system hold no small piece back, where there is such a thing (TCP_NODELAY)."""
        set_no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            set_no_delay(True)

    @property
    @abstractmethod
    def exchanges(self) -> Sequence[Exchange]:
        """Those that are under way, the oldest first."""

    @property
    @abstractmethod
    def received(self) -> int:
        """Bytes of the client's so far."""

    @property
    @abstractmethod
    def sent(self) -> int:
        """Bytes said to the client so far."""

    def moved(self) -> tuple[int, int]:
        """The bytes from the client and to it so far, with those of the relay that the connection has become."""
        received, sent = self.received, self.sent
        for exchange in self.exchanges:
            if isinstance(exchange, OpaqueExchange):
                up, down = exchange.relayed
                received += up
                sent += down
        return received, sent

    def begin_as(self, other: ClientConnection) -> None:
        """To everybody who counts, be the connection ``other``, with which the client goes on in another way."""
        self.number = other.number
        self.opened_at = other.opened_at

    @abstractmethod
    def deadline_passed(self) -> None:
        """The deadline of what it waits for is over."""

    @abstractmethod
    def drain(self) -> None:
        """Close as soon as nothing is under way."""

    @abstractmethod
    def stop(self, reason: str) -> None:
        """Close now, whatever is under way."""

    def _leave(self) -> None:
        """This connection is gone, or somebody else's."""
        if not self.gone:
            self.gone = True
            self._deadlines.forget(self)
            self._factory.connection_lost(self)
