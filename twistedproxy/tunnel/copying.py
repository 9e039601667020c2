"""The relay for connections that are more than a socket: the bytes pass through the proxy's memory.

Theory of operation. Each transport gets a new protocol, which writes what it receives to the other
transport and is the producer that the other transport pauses when it has too much to send.

A TLS connection ends in both directions at once. So once bytes stop coming *from* one, nothing can be said
to it any more, and the other connection is closed too; and once they stop coming *for* one, it is closed
after the last.

A clean end is over when both connections are gone, and with them everything that was written. Any other end
is over at once, and the deadline then sees to it that the connections go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    ISSLTransport,
    ITransport,
)
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedproxy.deadlines import Deadlines
from twistedproxy.tunnel.relay import BROKEN_OFF, CLIENT, PROXY, TUNNEL_IDLE, UPSTREAM, Meter, Meters, Relay

LINGER = 1.0
"""How long a stopped relay's connections may take to send their last bytes, in seconds."""


class Observer(Protocol):
    """Sees copies of the bytes, after they have been passed on; it can neither hold nor change them.

    Whatever it raises is logged, and it sees no more of that direction.
    """

    def passed_to_upstream(self, data: bytes) -> None:
        """The client has sent ``data``."""

    def passed_to_client(self, data: bytes) -> None:
        """The upstream has sent ``data``."""


class CopyingRelay(Relay):
    """Relays between two connected transports, which it closes at its end.

    Each is an `ITransport`, `IConsumer` and `IPushProducer` with ``abortConnection``, as for TCP and TLS.
    It may be paused, and has no producer. ``to_upstream`` and ``to_client`` are bytes that were read
    before; they are delivered first.
    """

    __slots__ = ("_client", "_finished_first", "_upstream")

    def __init__(
        self,
        client: Any,
        upstream: Any,
        *,
        to_upstream: bytes,
        to_client: bytes,
        idle_timeout: float,
        ended: Callable[[Relay], None],
        deadlines: Deadlines,
        observer: Observer | None = None,
        meters: Meters = (None, None),
    ) -> None:
        super().__init__(idle_timeout, ended, deadlines)
        self._finished_first = ""
        self._client = _Side(client, self, to_upstream, meters[0])
        self._upstream = _Side(upstream, self, to_client, meters[1])
        if observer is not None:
            self._client.show = observer.passed_to_upstream
            self._upstream.show = observer.passed_to_client
        self._client.other = self._upstream
        self._upstream.other = self._client

    @property
    def bytes_to_upstream(self) -> int:
        return self._client.moved

    @property
    def bytes_to_client(self) -> int:
        return self._upstream.moved

    def start(self) -> None:
        self._moved()
        self._client.take_over()
        self._upstream.take_over()
        self._client.start()
        self._upstream.start()

    def stop(self, reason: str) -> None:
        if self.ended_by:
            return
        self.reason = reason
        self.ended_by = PROXY
        self._deadlines.expire_in(self, LINGER)
        cut = self._client.paused or self._upstream.paused
        for side in (self._client, self._upstream):
            if not side.lost:
                side.close(cut)
        self._tell_ended()

    def deadline_passed(self) -> None:
        if not self.ended_by:
            if self._client.rests or self._upstream.rests:
                # Nobody is idle who may not go on.
                self._moved()
            else:
                self.stop(TUNNEL_IDLE)
            return
        for side in (self._client, self._upstream):
            if not side.lost:
                side.transport.abortConnection()

    def _moved(self) -> None:
        """Bytes went one way or the other."""
        self._deadlines.expire_in(self, self._idle_timeout)

    def _finished(self, side: _Side) -> None:
        """No more bytes come from ``side``."""
        if not self._finished_first:
            self._finished_first = self._name(side)

    def _broken_off(self, side: _Side) -> None:
        """``side`` is lost, before its time; the other one is aborted."""
        self.reason = BROKEN_OFF[self._name(side)]
        self.ended_by = self._name(side)
        # Not before the reactor's next turn, in which the other side can take what this one had sent.
        self._deadlines.expire_in(self, 0.0)
        self._tell_ended()

    def _lost(self) -> None:
        """One of the connections is gone; perhaps both are."""
        if not (self._client.lost and self._upstream.lost):
            return
        self._deadlines.forget(self)
        if not self.ended_by:
            self.ended_by = self._finished_first
            self._tell_ended()

    def _name(self, side: _Side) -> str:
        return CLIENT if side is self._client else UPSTREAM

    def _state(self) -> str:
        return f"client={self._client.direction} upstream={self._upstream.direction}"


@implementer(IProtocol, IHalfCloseableProtocol, IPushProducer)
class _Side:
    """One of the two transports' protocols, and the direction that starts there."""

    __slots__ = ("early", "finished", "lost", "meter", "moved", "other", "paused", "relay", "show", "transport")

    other: _Side

    def __init__(self, transport: Any, relay: CopyingRelay, early: bytes, meter: Meter | None) -> None:
        self.transport = transport
        self.relay = relay
        self.early = early
        self.moved = 0
        self.paused = False
        """Whether the other transport has too much of this side's to send."""
        self.finished = False
        """Whether the other side was told that no more comes from this one."""
        self.lost = False
        """Whether the connection is gone."""
        self.show: Callable[[bytes], object] | None = None
        """Who sees what was passed on."""
        self.meter = meter
        if meter is not None:
            meter.go_on = self._go_on

    @property
    def rests(self) -> bool:
        """Whether a limit lets nothing come from here for now."""
        return self.meter is not None and self.meter.resting

    @property
    def direction(self) -> str:
        """The state of the direction that starts here, for people."""
        return "finished" if self.finished else "blocked" if self.paused else "resting" if self.rests else "flowing"

    @property
    def ends_at_once(self) -> bool:
        """Whether this connection's two directions end together."""
        return ISSLTransport.providedBy(self.transport) or not hasattr(self.transport, "loseWriteConnection")

    def take_over(self) -> None:
        """Receive what the transport receives."""
        give(self.transport, self)

    def start(self) -> None:
        """Send the early bytes and begin to read."""
        self.other.transport.registerProducer(self, True)
        early, self.early = self.early, b""
        if early:
            self.dataReceived(early)
        if not (self.paused or self.rests):
            self.transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        if self.relay.ended_by or self.other.lost:
            return
        self.moved += len(data)
        self.relay._moved()
        self.other.transport.write(data)
        if self.meter is not None and not self.meter.passed(len(data)) and not self.lost:
            self.transport.pauseProducing()
        if self.show is not None:
            try:
                self.show(data)
            except Exception:
                self.show = None
                self.relay._log.failure(
                    "what passes in a tunnel is not looked at any more: {relay!r}", relay=self.relay
                )

    def readConnectionLost(self) -> None:
        """The peer's FIN, of a connection that can end in one direction."""
        if not self.relay.ended_by:
            self._finish()

    def writeConnectionLost(self) -> None:
        """Our own FIN was sent."""

    def connectionLost(self, reason: Failure) -> None:
        relay = self.relay
        self.lost = True
        if not relay.ended_by:
            # When a TLS connection was closed from here, many peers just drop it.
            if isinstance(reason.value, ConnectionDone) or (self.other.finished and self.ends_at_once):
                self._finish()
            else:
                relay._broken_off(self)
        relay._lost()

    def pauseProducing(self) -> None:
        self.paused = True
        if not self.lost:
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self.paused = False
        self._go_on()

    def _go_on(self) -> None:
        """The other transport takes more, or the limits do."""
        if not (self.relay.ended_by or self.finished or self.lost or self.paused or self.rests):
            self.relay._moved()
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """The other connection is gone; its protocol hears why."""

    def makeConnection(self, transport: ITransport) -> None:
        """Nothing: the transport is connected, and known."""

    def connectionMade(self) -> None:
        """Nothing: it was, before this protocol was there."""

    def close(self, cut: bool) -> None:
        """Close the connection: with a reset when bytes are cut, or else after what was written."""
        if not self.other.finished:
            self.transport.unregisterProducer()
        if cut:
            self.transport.abortConnection()
        else:
            self.transport.loseConnection()

    def _finish(self) -> None:
        """Tell the other side that no more comes from this one."""
        if self.finished:
            return
        self.finished = True
        other = self.other
        self.relay._finished(self)
        if not other.lost:
            other.transport.unregisterProducer()
            if other.finished or self.lost or other.ends_at_once:
                other.transport.loseConnection()
            else:
                other.transport.loseWriteConnection()
        if other.finished and not self.lost:
            self.transport.loseConnection()


def give(transport: Any, protocol: Any) -> None:
    """Let ``protocol`` receive what ``transport`` receives, in the place of the one that has so far."""
    if isinstance(transport, ProtocolWrapper):
        transport.wrappedProtocol = protocol
    elif isinstance(transport.protocol, ProtocolWrapper):
        # After startTLS the transport passes for the TLS connection, whose one end is its protocol.
        transport.protocol.wrappedProtocol = protocol
    else:
        transport.protocol = protocol
