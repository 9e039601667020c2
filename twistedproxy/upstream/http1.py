"""The HTTP/1.1 client: one connection to an origin, and the exchange it carries at the moment."""

from __future__ import annotations

import re
import socket
from math import inf
from typing import Any, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure

from twistedproxy.deadlines import Deadlines
from twistedproxy.errors import (
    BodyTimeout,
    ConnectionTerminated,
    FirstByteTimeout,
    NoCommonVersion,
    ProxyError,
    ResponseCut,
    ResponseError,
)
from twistedproxy.http.forwarding import authenticates_connection, forwarded_request_section
from twistedproxy.http.head import HeadLimits
from twistedproxy.http.message import CHUNKED, End, FieldLine, Fields, RequestHead, ResponseHead
from twistedproxy.http.reader import ResponseReader
from twistedproxy.http.target import Target
from twistedproxy.http.writer import chunk_bytes, last_chunk_bytes, request_bytes
from twistedproxy.sending import Sender, sender_for
from twistedproxy.settings.types import Settings
from twistedproxy.tls.handshakes import openssl_words
from twistedproxy.upstream.carrier import MAX_INTERIM_RESPONSES, Key, ResponseListener, key_text

# A SETTINGS frame, of the connection (RFC 9113 sections 4.1 and 6.5).
_HTTP2 = re.compile(rb"\0..\x04\0\0\0\0\0", re.DOTALL)


class ConnectionPool(Protocol):
    """What the pool is to its connections."""

    def http1_unknown(self, key: Key) -> None:
        """The origin speaks nothing else than HTTP/2."""

    def connection_free(self, connection: UpstreamConnection) -> None:
        """The connection can carry another exchange."""

    def connection_closed(self, connection: UpstreamConnection) -> None:
        """The connection is gone, or will carry nothing any more."""


class UpstreamConnection(TwistedProtocol):
    """One connection to an origin. It serves one exchange after the other, and waits in the pool between them."""

    def __init__(
        self,
        pool: ConnectionPool,
        key: Key,
        address: str,
        generation: int,
        settings: Settings,
        deadlines: Deadlines,
    ) -> None:
        self.key = key
        self.address = address
        self.generation = generation
        self.exchanges = 0
        self.deadline = 0.0
        self.deadline_bucket = 0
        self._pool = pool
        self._settings = settings.upstream
        self._deadlines = deadlines
        self._reader = ResponseReader(HeadLimits(settings.upstream.max_head_size, settings.upstream.max_fields))
        self._sender: Sender
        self._listener: ResponseListener | None = None
        self._closed = False
        self._paused = False
        self._request_length = 0
        self._request_ended = True
        self._response: ResponseHead | None = None
        self._interim_responses = 0
        # Whether the origin takes whoever uses this connection for one certain user.
        self._personal = False

    def __repr__(self) -> str:
        state = "closed" if self._closed else "busy" if self._listener else "idle"
        return f"<{type(self).__name__} {key_text(self.key)} at {self.address} {state} exchanges={self.exchanges}>"

    def connectionMade(self) -> None:
        self._sender = sender_for(self.transport, self._drained, self._broken, self._deadlines.turn)

    # ------------------------------------------------------------ the request

    def send_head(
        self,
        listener: ResponseListener,
        head: RequestHead,
        target: Target,
        via: bytes,
        upgrade: tuple[bytes, ...] = (),
    ) -> None:
        self.exchanges += 1
        self._listener = listener
        self._reader.expect(head.method)
        self._request_length = head.length
        self._request_ended = False
        self._response = None
        self._interim_responses = 0
        if b"authorization" in head.fields.index:
            self._personal = self._personal or authenticates_connection(head)
        section = forwarded_request_section(head, target.authority, via, upgrade)
        self._sender.write(self._head_bytes(head.method, target, section))
        # The origin cannot be expected to answer before it has heard the question: see `send_end`.
        self._deadlines.suspend(self)

    def _head_bytes(self, method: bytes, target: Target, section: bytes) -> bytes:
        """A request's head as an origin gets it (RFC 9112 section 3.2.1)."""
        return request_bytes(method, target.path, section)

    def send_content(self, content: bytes) -> None:
        self._sender.write(chunk_bytes(content) if self._request_length == CHUNKED else content)

    def send_end(self, trailers: list[FieldLine]) -> None:
        self._request_ended = True
        if self._request_length == CHUNKED:
            self._sender.write(last_chunk_bytes(trailers))
        if self._response is None:
            self._deadlines.expire_in(self, self._settings.first_byte_timeout)

    def flush(self) -> None:
        if self._request_ended:
            # Its deadline is set, and whether there is room matters no more.
            self._sender.flush_later()
            return
        self._sender.flush()
        if self._sender.full and self.deadline == inf and self._response is None:
            # It has to hear the question first.
            self._deadlines.expire_in(self, self._settings.first_byte_timeout)

    @property
    def full(self) -> bool:
        return self._sender.full

    @property
    def sent(self) -> int:
        return self._sender.sent

    @property
    def received(self) -> int:
        return self._reader.consumed

    def _drained(self) -> None:
        if self._listener is None:
            return
        if self._response is None:
            if self._request_ended:
                self._deadlines.expire_in(self, self._settings.first_byte_timeout)
            else:
                self._deadlines.suspend(self)
        if not self._request_ended:
            self._listener.request_room_made()

    def _broken(self) -> None:
        # It takes no more of the request; whether it has said why is found by reading on.
        if self._paused:
            self.resume()

    # ------------------------------------------------------------ the response

    def dataReceived(self, data: bytes) -> None:
        listener = self._listener
        if listener is None:
            # RFC 9112 section 9.2: nothing is outstanding, so these bytes answer nothing.
            self._close()
            return
        reader = self._reader
        reader.receive(data)
        try:
            while (event := reader.next_event()) is not None:
                if type(event) is bytes:
                    listener.response_content(event)
                elif type(event) is End:
                    self._response_ended(event.trailers)
                    break
                else:
                    assert type(event) is ResponseHead
                    self._response_began(event, listener)
                if self._listener is not listener:
                    break
        except ProxyError as error:
            if self.exchanges == 1 and self._response is None and _HTTP2.match(data):
                # RFC 9113 section 3.4: its first words, whatever it has heard and agreed to.
                self._pool.http1_unknown(self.key)
                self._fail(NoCommonVersion("it speaks HTTP/2 without having been asked to"))
            else:
                self._fail(error)
        else:
            # A head that trickles in does not push the deadline back.
            if self._response is not None and self._listener is listener and not self._paused:
                self._deadlines.expire_in(self, self._settings.body_timeout)
        listener.response_turn_ended()

    def _response_began(self, head: ResponseHead, listener: ResponseListener) -> None:
        if head.status < 200 and head.status != 101:
            self._interim_responses += 1
            if self._interim_responses > MAX_INTERIM_RESPONSES:
                raise ResponseError(f"there are more than {MAX_INTERIM_RESPONSES} interim answers")
            if self._request_ended:
                self._deadlines.expire_in(self, self._settings.first_byte_timeout)
        else:
            self._response = head
        listener.response_began(head)

    def _response_ended(self, trailers: Fields) -> None:
        listener = self._listener
        response = self._response
        assert listener is not None
        assert response is not None
        self._listener = None
        if (
            response.keep_alive
            and not self._personal
            and self._request_ended
            and not self._reader.buffered
            and not self._sender.full
            and not self._closed
        ):
            if self._paused:
                # TLS also tells what it had read before it was told to rest.
                self.resume()
            self._deadlines.expire_in(self, self._settings.idle_timeout)
            self._pool.connection_free(self)
        else:
            # Surplus bytes are no response to anything (RFC 9112 section 6.3).
            self._close()
        listener.response_ended(trailers)

    def pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pauseProducing()
            self._deadlines.suspend(self)

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if not self._closed:
                self._transport.resumeProducing()
                self._deadlines.expire_in(self, self._settings.body_timeout)

    @property
    def _transport(self) -> Any:
        return self.transport

    # ------------------------------------------------------------ the end

    def abandon(self) -> None:
        """The exchange, or the pool, wants no more of this connection."""
        self._listener = None
        self._close()

    def detach(self) -> tuple[Any, bytes]:
        transport = self._transport
        self._listener = None
        self._sender.finish()
        self._retire()
        return transport, self._reader.take_rest()

    def has_gone(self) -> bool:
        """Whether the origin has closed an idle connection already, without the reactor having noticed."""
        handle = self._transport.getHandle()
        if type(handle) is not socket.socket:
            return False
        try:
            handle.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def deadline_passed(self) -> None:
        if self._listener is None:
            self._close()
        elif self._response is None:
            self._fail(FirstByteTimeout(f"nothing came for {self._settings.first_byte_timeout:g} s"))
        else:
            self._fail(BodyTimeout(f"nothing came for {self._settings.body_timeout:g} s"))

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's default
        if self._closed:
            return
        listener = self._listener
        if listener is None:
            self._retire()
            return
        try:
            # A reset is not an end, also where the end is the close of the connection.
            end = self._reader.receive_close() if reason.check(ConnectionDone) else None
            if end is None:
                raise ResponseCut("the connection was reset") if self._response else _terminated(reason)
        except ProxyError as error:
            self._fail(error)
        else:
            self._response_ended(end.trailers)
        listener.response_turn_ended()

    def _fail(self, error: ProxyError) -> None:
        listener = self._listener
        self._listener = None
        said_nothing = (
            isinstance(error, ConnectionTerminated) and not self._interim_responses and not self._reader.buffered
        )
        retriable = isinstance(error, NoCommonVersion) or (said_nothing and self._may_ask_again())
        self._close()
        if listener is not None:
            listener.response_failed(error, retriable)

    def _may_ask_again(self) -> bool:
        """Whether it makes sense to send a request again, of which nothing was said: the connection was an old one."""
        return self.exchanges > 1

    def _close(self) -> None:
        if not self._closed:
            self._retire()
            self._transport.abortConnection()

    def _retire(self) -> None:
        self._closed = True
        self._deadlines.forget(self)
        self._pool.connection_closed(self)


def _terminated(reason: Failure) -> ConnectionTerminated:
    # In TLS 1.3 a server that wants a certificate says so after the handshake.
    return ConnectionTerminated(openssl_words(reason.value))
