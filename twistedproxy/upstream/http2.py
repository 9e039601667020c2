"""The HTTP/2 client: one connection to an origin, which many exchanges share.

Each exchange has a stream of it (`twistedproxy.upstream.http2_stream`). The connection takes streams until the origin
says that it goes away, a stream's deadline makes one doubt that it is still there, or a reload has replaced what it was
made under; those that it has then go on to their end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from h2.errors import ErrorCodes
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure

from twistedproxy.deadlines import Deadlines
from twistedproxy.errors import ConnectionTerminated, ProxyError, ResponseError
from twistedproxy.http.head import HeadLimits
from twistedproxy.http2.session import Session, SessionError, SessionLimits
from twistedproxy.http2.stream import Stream
from twistedproxy.sending import Sender, sender_for
from twistedproxy.settings.types import Settings
from twistedproxy.upstream.carrier import Key, key_text
from twistedproxy.upstream.http2_stream import UpstreamStream

LINGER: Final = 2.0
"""Seconds that an origin gets to take the last words of a connection that is closed."""


class SharedConnections(Protocol):
    """What the pool is to its shared connections."""

    def stream_free(self, connection: SharedConnection) -> None:
        """The connection has room for another stream, and carries nothing when it is idle."""

    def connection_full(self, connection: SharedConnection) -> None:
        """The connection takes no more streams, ever."""

    def http1_required(self, connection: SharedConnection) -> None:
        """The origin does not want to be spoken to in HTTP/2."""

    def connection_closed(self, connection: SharedConnection) -> None:
        """The connection is gone."""


class SharedConnection(TwistedProtocol):
    """One HTTP/2 connection to an origin."""

    def __init__(
        self,
        pool: SharedConnections,
        key: Key,
        address: str,
        generation: int,
        settings: Settings,
        deadlines: Deadlines,
        call_later: Callable[[float, Callable[[], object]], object],
    ) -> None:
        self.key = key
        self.address = address
        self.generation = generation
        self.settings = settings.upstream
        self.deadlines = deadlines
        self.call_later = call_later
        self.exchanges = 0
        """How many streams it has had."""
        self.head_limits = HeadLimits(settings.upstream.max_head_size, settings.upstream.max_fields)
        self.deadline = 0.0
        self.deadline_bucket = 0
        self._pool = pool
        self._session = Session(
            self,
            client=True,
            limits=SessionLimits(
                settings.http2.max_streams, settings.http2.stream_window, settings.upstream.max_head_size
            ),
            write=self._write,
            is_blocked=self._is_blocked,
            seconds=deadlines.seconds,
        )
        self._sender: Sender
        self._settled = False
        self._retired = False
        self._closed = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "idle" if self.idle else f"streams={len(self._session.streams)}"
        retired = " retired" if self._retired and not self._closed else ""
        return f"<SharedConnection {key_text(self.key)} at {self.address} {state}{retired}>"

    @property
    def _transport(self) -> Any:
        return self.transport

    def _write(self, data: bytes) -> None:
        self._sender.write(data)

    def _is_blocked(self) -> bool:
        return self._sender.full

    # ------------------------------------------------------------ for the pool

    @property
    def room(self) -> int:
        """How many more streams it takes now; none before the origin has said how many there may be."""
        return self._session.room_for_streams if self._settled and not self._retired else 0

    @property
    def idle(self) -> bool:
        """Whether it carries nothing."""
        return not self._session.streams

    @property
    def takes_websocket(self) -> bool:
        """Whether the origin has offered to carry WebSockets (RFC 8441)."""
        return self._session.takes_websocket

    def take_stream(self) -> UpstreamStream:
        """A stream for an exchange, which begins with its `UpstreamStream.send_head`."""
        return UpstreamStream(self, self._session)

    def abandon(self) -> None:
        """Close it, whatever it carries."""
        if self._closed:
            return
        self._session.go_away(last=0)
        self._sender.finish()
        self._end(ConnectionTerminated("the proxy closed the connection"))
        self._transport.loseConnection()
        self.deadlines.expire_in(self, LINGER)

    # ------------------------------------------------------------ for its streams

    def begin(self, stream: UpstreamStream) -> None:
        """Open ``stream``."""
        self.exchanges += 1
        self.deadlines.suspend(self)
        self._session.open(stream)

    def flush(self) -> None:
        """Send what has been said in this turn."""
        if not self._closed:
            self._session.pump()
            self._sender.flush()

    def retire(self) -> None:
        """Take no more streams."""
        if not self._retired:
            self._retired = True
            self._pool.connection_full(self)

    def http1_required(self) -> None:
        """The origin has refused a stream for being one of HTTP/2."""
        self._retired = True
        self._pool.http1_required(self)

    # ------------------------------------------------------------ the bytes

    def connectionMade(self) -> None:
        self._sender = sender_for(self.transport, self._drained, self._broken)
        self._session.start()
        self._sender.flush()

    def dataReceived(self, data: bytes) -> None:
        if self._closed:
            return
        try:
            self._session.receive(data)
        except SessionError as error:
            self._sender.flush()
            self._fail(ResponseError(f"{error.detail} (HTTP/2)"))
            return
        self._session.turn_ended()
        self.flush()

    def _drained(self) -> None:
        if not self._closed:
            self._session.drained()
            self._sender.flush()

    def _broken(self) -> None:
        # It takes no more of the requests; whether it has said why is found by reading on.
        self.retire()

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's default
        self._fail(ConnectionTerminated("the server closed the connection"))

    def deadline_passed(self) -> None:
        if self._closed:
            self._transport.abortConnection()
        else:
            # It has been idle for too long.
            self.abandon()

    # ------------------------------------------------------------ what the session says

    def new_stream(self, number: int) -> Stream:
        """Never: a server opens streams only to push, which it was told not to (RFC 9113 section 8.4)."""
        raise AssertionError(number)

    def stream_over(self, stream: Stream) -> None:
        if self._closed:
            return
        if self.idle:
            if self._retired:
                self.abandon()
                return
            self.deadlines.expire_in(self, self.settings.idle_timeout)
        if not self._retired:
            self._pool.stream_free(self)

    def settings_received(self) -> None:
        self._settled = True
        if not self._retired:
            self._pool.stream_free(self)

    def going_away(self, last: int, code: int) -> None:
        """RFC 9113 section 6.8: what comes after stream ``last`` has not been looked at."""
        self.retire()
        for stream in list(self._session.streams.values()):
            if stream.id > last and isinstance(stream, UpstreamStream):
                stream.lost(ConnectionTerminated("the server goes away"), unseen=True)
        if self.idle:
            self.abandon()

    def pong_received(self) -> None:
        """Nothing was asked."""

    # ------------------------------------------------------------ the end

    def _fail(self, error: ProxyError) -> None:
        """The connection cannot go on, or is gone."""
        if self._closed:
            self.deadlines.forget(self)
            return
        self._sender.finish()
        self._end(error)
        self._transport.abortConnection()

    def _end(self, error: ProxyError) -> None:
        """Whatever it carries is over."""
        self._closed = self._retired = True
        self.deadlines.forget(self)
        self._pool.connection_closed(self)
        for stream in self._session.end():
            if isinstance(stream, UpstreamStream):
                stream.lost(error)
            else:
                # It has become somebody's transport.
                stream.reset_received(ErrorCodes.CANCEL)
