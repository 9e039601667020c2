"""One connection in the making: dialled, secured, and then spoken on in what was agreed on.

Theory of operation. A connection is made for whoever asked for it first. Where it may turn out to be one that many
share (HTTP/2), others who want the same follow instead of each making one of their own: a browser asks for a hundred
things at once. When it is made, they get their share of it, or ask again; when it fails, they hear the same. Only who
may go to the same addresses may follow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import ClientFactory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedproxy.deadlines import Deadlines
from twistedproxy.errors import OutOfDescriptors, ProxyError
from twistedproxy.routes.route import Route
from twistedproxy.snapshot import Snapshot
from twistedproxy.tls.records import Records
from twistedproxy.tls_transport import TLSTransportFactory
from twistedproxy.upstream.adopting import Only, adopt
from twistedproxy.upstream.carrier import Key, key_text
from twistedproxy.upstream.connector import Connected
from twistedproxy.upstream.dial import Dialer
from twistedproxy.upstream.handshake import Handshake
from twistedproxy.upstream.ticket import Ticket


class Maker(Protocol):
    """Whoever has a connection made. ``records`` is what TLS passes through."""

    records: Records

    def speaker(self, making: Making, address: str, protocol: bytes | None) -> TwistedProtocol:
        """The connection's protocol, for the protocol that ALPN has agreed on, if any. It gets its transport next."""

    def made(self, making: Making, speaker: Any) -> None:
        """The connection stands."""

    def not_made(self, making: Making, error: ProxyError) -> None:
        """There will be no connection."""


class Making:
    """See the head of the module. ``ticket`` is who gets the connection, ``protocols`` is what ALPN offers."""

    __slots__ = (
        "_deadlines",
        "_dialing",
        "_handshake",
        "_maker",
        "_reactor",
        "followers",
        "judged",
        "key",
        "may_be_shared",
        "over",
        "route",
        "ticket",
    )

    _log = Logger()

    def __init__(self, maker: Maker, reactor: Any, deadlines: Deadlines, ticket: Ticket) -> None:
        self.key: Key = ticket.key
        self.ticket: Ticket | None = ticket
        routes = ticket.snapshot.routes
        self.route: Route | None = routes.taken(self.key[3]) if routes is not None and self.key[3] else None
        """The way there, where that is not the direct one."""
        self.judged: Callable[[bool], object] | None = None
        """As that of what was dialled."""
        self.followers: list[Ticket] = []
        self.over = False
        self.may_be_shared = False
        """Whether HTTP/2 is offered."""
        self._maker = maker
        self._reactor = reactor
        self._deadlines = deadlines
        self._dialing: Deferred[Connected] | None = None
        self._handshake: Handshake | None = None
        ticket.making = self

    def __repr__(self) -> str:
        return f"<Making {key_text(self.key)} followers={len(self.followers)}>"

    @property
    def snapshot(self) -> Snapshot:
        """The one that the connection is made under."""
        assert self.ticket is not None
        return self.ticket.snapshot

    def suits(self, ticket: Ticket) -> bool:
        """Whether ``ticket`` may go to the same addresses as whoever the connection is made for."""
        return self.ticket is not None and self.ticket.destinations is ticket.destinations

    def start(self, dialer: Dialer, connect_timeout: float, tls: Callable[[], Any]) -> None:
        """Begin. ``tls`` makes what secures the connection."""
        ticket = self.ticket
        assert ticket is not None
        host, port = self.key[1:3]
        if self.route is not None:
            dialing = dialer.parents.connect(self.route, host, port, ticket.snapshot)
        else:
            policy = ticket.destinations or ticket.snapshot.access
            dialing = dialer.dial(host, port, policy, connect_timeout, ticket.client)
        self._dialing = dialing
        dialing.addCallbacks(self._dialed, self._not_dialed, callbackArgs=(tls,))
        dialing.addErrback(self._broke)

    def _dialed(self, dialed: Connected, tls: Callable[[], Any]) -> None:
        self._dialing = None
        sock = dialed.socket
        if self.over:
            sock.close()
            return
        address = dialed.address_text
        self.judged = dialed.judged
        factory: ClientFactory | TLSTransportFactory
        speaker: TwistedProtocol
        try:
            if self.key[0] == "https":
                timeout = self.snapshot.settings.upstream.tls_timeout
                speaker = self._handshake = Handshake(
                    self._deadlines, timeout, lambda protocol: self._secured(address, protocol), self._failed
                )
                factory = TLSTransportFactory(
                    tls(), True, Only(speaker), self._reactor, self._deadlines.turn, self._maker.records
                )
            else:
                speaker = self._maker.speaker(self, address, None)
                factory = Only(speaker)
            adopt(self._reactor, sock, factory)
        except OSError as error:
            self._failed(OutOfDescriptors(str(error)))
        else:
            if self._handshake is None:
                self._made(speaker)

    def _secured(self, address: str, protocol: bytes | None) -> None:
        handshake, self._handshake = self._handshake, None
        assert handshake is not None
        transport: Any = handshake.transport
        speaker = self._maker.speaker(self, address, protocol)
        transport.wrappedProtocol = speaker
        speaker.makeConnection(transport)
        self._made(speaker)

    def _made(self, speaker: TwistedProtocol) -> None:
        self.over = True
        self._maker.made(self, speaker)

    def _failed(self, error: ProxyError) -> None:
        if not self.over:
            self.over = True
            self._maker.not_made(self, error)

    def _not_dialed(self, failure: Failure) -> None:
        self._dialing = None
        error = failure.value
        if isinstance(error, ProxyError):
            self._failed(error)
        elif not (self.over and failure.check(CancelledError)):
            failure.raiseException()

    def _broke(self, failure: Failure) -> None:
        self._log.failure("a connection to {key} could not be set up", failure, key=self.key)
        self._failed(ProxyError())

    def leave(self, ticket: Ticket) -> None:
        """``ticket`` wants the connection no more. Another gets it in its place; without one it is given up."""
        ticket.making = None
        if ticket is not self.ticket:
            self.followers.remove(ticket)
        elif self.followers:
            self.ticket = self.followers.pop(0)
        else:
            self.give_up()

    def follow(self, ticket: Ticket) -> None:
        """Let ``ticket`` wait for what comes of this."""
        ticket.making = self
        self.followers.append(ticket)

    def give_up(self) -> None:
        """Nobody wants the connection any more."""
        if self.over:
            return
        self.over = True
        if self._dialing is not None:
            self._dialing.cancel()
        if self._handshake is not None:
            self._handshake.give_up()
        self._maker.not_made(self, ProxyError())
