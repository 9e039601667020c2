"""The HTTP/2 server: one client connection, and the streams that it carries.

Theory of operation. What comes is acted on by the session, which tells the streams. Everything that is said in a turn
leaves at its end, in one piece where that is not large. While the client does not take it the streams rest, by
themselves; a client that asks on and on without reading is not listened to any more either. Only one deadline of the
connection's own runs at a time:

    the client is not reading      write_timeout        cut
    a head is arriving             head_timeout         GOAWAY, close; and so for any frame, without a stream
    nothing, in a drain            LAST_REQUEST         the second GOAWAY; before the first request LINGER
    nothing                        idle_timeout         GOAWAY, close
    the last has been said         LINGER               close

In a drain the client is first told that no more streams are wanted, with the highest number there is, and asked for a
sign of life. What it had sent before it heard of that has come when the sign does; then it is told which stream was
the last (RFC 9113 section 6.8).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING

from h2.errors import ErrorCodes
from twisted.python.failure import Failure

from twistedproxy.data_plane import DataPlane
from twistedproxy.downstream.connection import LAST_REQUEST, LINGER, ClientConnection
from twistedproxy.downstream.http2_stream import RequestStream
from twistedproxy.downstream.opened_tunnel import OpenedTunnel
from twistedproxy.errors import ConnectionMalformed, RequestTimeout
from twistedproxy.exchange import Exchange
from twistedproxy.http.dates import imf_fixdate
from twistedproxy.http2.session import Session, SessionError, SessionLimits
from twistedproxy.http2.stream import Stream
from twistedproxy.record.finished import CLIENT_LEFT, CLIENT_STALLED
from twistedproxy.sending import Sender, sender_for

if TYPE_CHECKING:
    from twistedproxy.downstream.factory import DownstreamFactory

PIECE = 128 * 1024
"""Bytes that are given to the transport at once; it says then whether it is full."""

MAX_WAITING = 256 * 1024
"""Bytes that may be said to a client that does not read, before it is not listened to any more."""


class HTTP2Connection(ClientConnection):
    """A client's HTTP/2 connection to one origin, through ``tunnel``, which was opened. It goes on with ``outer``."""

    def __init__(
        self, factory: DownstreamFactory, plane: DataPlane, outer: ClientConnection, tunnel: OpenedTunnel
    ) -> None:
        super().__init__(factory, plane, outer.client_address, outer.client_port, outer.listener)
        snapshot = plane.snapshot
        limits = snapshot.settings.http2
        self.plane = plane
        self.tunnel = tunnel
        self.settings = self._settings
        self.head_limits = snapshot.head_limits
        self.heard_at = self.opened_at
        """When bytes last came, in the clock's seconds."""
        self._sender: Sender
        self.session = Session(
            self,
            client=False,
            limits=SessionLimits(limits.max_streams, limits.stream_window, self.head_limits.max_head_size),
            write=self._write,
            is_blocked=self._is_blocked,
            seconds=plane.deadlines.seconds,
        )
        self._under_way: dict[int, Exchange] = {}
        self._received = 0
        self._in_turn = self._resting = False
        # Bytes given to the sender since the last flush, and since the transport is full.
        self._unflushed = self._waiting = 0
        self._draining = self._last = False
        self._awaited = ""

    @property
    def exchanges(self) -> Sequence[Exchange]:
        return tuple(self._under_way.values())

    @property
    def received(self) -> int:
        return self._received

    @property
    def sent(self) -> int:
        return self._sender.sent

    def moved(self) -> tuple[int, int]:
        # The relays' bytes come and go on the same connection.
        return self.received, self.sent

    def date(self) -> bytes:
        """The time of day, as a Date field has it."""
        return imf_fixdate(int(self.plane.wall()))

    def connectionMade(self) -> None:
        self._sender = sender_for(self.transport, self._drained, self._transport.abortConnection)
        self._factory.connection_made(self)
        self.session.start()
        self.flush()

    def alert_received(self, alert: int) -> None:
        """The client has sent an alert of TLS."""
        self.tunnel.alert = alert

    # ------------------------------------------------------------ what comes

    def dataReceived(self, data: bytes) -> None:
        if self.lingering or self.gone:
            return
        self._received += len(data)
        self.heard_at = self._deadlines.seconds()
        session = self.session
        self._in_turn = True
        try:
            session.receive(data)
            session.turn_ended()
        except SessionError as error:
            self._fail(ConnectionMalformed(error.detail))
        finally:
            self._in_turn = False
        self.flush()

    def new_stream(self, number: int) -> Stream:
        """The client has opened a stream."""
        return RequestStream(self, number)

    def stream_over(self, stream: Stream) -> None:
        """A stream will carry nothing more."""

    def settings_received(self) -> None:
        """The client has said what it takes."""

    def going_away(self, last: int, code: int) -> None:
        """The client opens no more streams; those that there are go on."""

    def pong_received(self) -> None:
        """The client has answered our PING."""
        if self._draining and not self._last:
            self._say_last()

    def exchange_began(self, stream: RequestStream, exchange: Exchange) -> None:
        """A stream carries an exchange."""
        self._under_way[stream.id] = exchange

    def exchange_over(self, stream: RequestStream) -> None:
        """It does no more."""
        self._under_way.pop(stream.id, None)

    # ------------------------------------------------------------ what is said

    def _write(self, data: bytes) -> None:
        sender = self._sender
        sender.write(data)
        if sender.full:
            self._waiting += len(data)
        self._unflushed += len(data)
        if self._unflushed > PIECE:
            self._unflushed = 0
            sender.flush()

    def _is_blocked(self) -> bool:
        return self._sender.full

    def flush(self) -> None:
        """Send what has been said, unless this turn has more to come."""
        if self._in_turn or self.gone:
            return
        self.session.pump()
        self._unflushed = 0
        self._sender.flush()
        self._watch()

    def _drained(self) -> None:
        """The client has read what waited for it."""
        if self.gone:
            return
        self._waiting = 0
        # What waits next has a time of its own.
        self._awaited = ""
        if self._resting:
            self._resting = False
            self._transport.resumeProducing()
        if self.lingering:
            self._linger()
        else:
            within, self._in_turn = self._in_turn, True
            try:
                self.session.drained()
            finally:
                self._in_turn = within
            self.flush()

    # ------------------------------------------------------------ deadlines

    def _watch(self) -> None:
        """Choose the deadline for what is going on; or close, when all has been said."""
        if self.lingering:
            return
        session = self.session
        seconds = inf
        if self._sender.full:
            awaited, seconds = "reading", self.settings.write_timeout
            if self._waiting > MAX_WAITING and not self._resting:
                self._resting = True
                self._transport.pauseProducing()
        elif self._last and not session.streams:
            self._linger()
            return
        elif self._draining and not self._last:
            awaited, seconds = "pong", LAST_REQUEST if self.requests else LINGER
        elif session.in_head or (session.frames.buffered and not session.streams):
            awaited, seconds = "head", self.settings.head_timeout
        elif not session.streams:
            awaited, seconds = "request", self.settings.idle_timeout
        else:
            awaited = ""
        if awaited != self._awaited:
            self._awaited = awaited
            if awaited:
                self._deadlines.expire_in(self, seconds)
            else:
                self._deadlines.suspend(self)

    def deadline_passed(self) -> None:
        if self.lingering:
            self._transport.abortConnection()
            return
        awaited, self._awaited = self._awaited, ""
        if awaited == "reading":
            self._lose_client(CLIENT_STALLED)
        elif awaited == "pong":
            self._say_last()
            self.flush()
        elif awaited == "head":
            self.session.go_away(0, self.session.highest_stream)
            self._fail(RequestTimeout(f"its head took longer than {self.settings.head_timeout:g} s"))
        else:
            self._say_last()
            self.flush()

    # ------------------------------------------------------------ the end

    def _fail(self, error: ConnectionMalformed | RequestTimeout) -> None:
        """Nothing can be said or understood any more: give up all that is under way, and close."""
        exchanges = self.exchanges
        for exchange in exchanges:
            exchange.detail = error.detail
        self._end_streams(error.reason)
        if not exchanges:
            # Somebody may want to know why there is no connection any more.
            exchange = Exchange(self.plane, RequestStream(self, 0), None)
            exchange.detail = error.detail
            exchange.client_left(error.reason)
        self._linger()

    def _lose_client(self, reason: str) -> None:
        transport = self._transport
        self._leave()
        self._end_streams(reason)
        transport.abortConnection()

    def _end_streams(self, reason: str) -> None:
        """Give up what is still on the connection: whatever has become a relay finds its own reason."""
        for stream in self.session.end():
            if isinstance(stream, RequestStream):
                stream.lose_client(reason)
            else:
                stream.reset_received(ErrorCodes.CANCEL)

    def _say_last(self) -> None:
        """No stream after those that there are is looked at; when they are over, so is the connection."""
        self._last = True
        self.session.go_away(0, self.session.highest_stream)

    def _linger(self) -> None:
        """Nothing more will be said: let the client take in the last of it, and close."""
        self.lingering = True
        if self._sender.full:
            self._deadlines.expire_in(self, self.settings.write_timeout)
            return
        self._sender.finish()
        self._deadlines.expire_in(self, LINGER)
        self._transport.loseConnection()

    def drain(self) -> None:
        if not (self._draining or self.lingering or self.gone):
            self._draining = True
            self.session.go_away()
            self.session.ping()
            self.flush()

    def stop(self, reason: str) -> None:
        if self.gone:
            return
        self._in_turn = True
        for exchange in self.exchanges:
            exchange.stop(reason)
        transport = self._transport
        if not (self.lingering or self._sender.full):
            self.session.go_away(0, self.session.highest_stream)
            self._sender.finish()
            transport.loseConnection()
        else:
            transport.abortConnection()
        self._leave()
        self._end_streams(reason)

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's default
        self.tunnel.connection_lost(by_us=self.gone or self.lingering)
        self._leave()
        self._end_streams(CLIENT_LEFT)


__all__ = ["HTTP2Connection"]
