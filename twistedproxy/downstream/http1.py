"""The HTTP/1.1 server: one client connection, and the exchange it carries at the moment.

Theory of operation. Requests are read one at a time, in order: the next one is not looked at before the exchange of
the one before is over, so pipelined requests are answered in order without a queue (RFC 9112 section 9.3.2). Bytes
that come meanwhile wait in the reader, up to `MAX_WAITING`; then the transport is paused.

Only one deadline runs at a time, and which one follows from what is going on:

    nothing                        idle_timeout         close
    nothing, in a drain            LAST_REQUEST         close; before the first request LINGER
    a head is arriving             head_timeout         408; from its first byte, whatever trickles in
    content is arriving            body_timeout         408; since the last of it
    the client is not reading      write_timeout        cut
    the client has sent its FIN    half_closed_timeout  cut, unless the client goes on reading
    a last answer has been sent    LINGER               close
    an answer is awaited           (upstream's own)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedproxy.connect import Connect
from twistedproxy.data_plane import DataPlane
from twistedproxy.downstream.connection import LAST_REQUEST, LINGER, ClientConnection
from twistedproxy.downstream.pages import answer_bytes, error_page
from twistedproxy.downstream_side import Protocols
from twistedproxy.errors import ProxyError, RequestCut, RequestError, RequestTimeout, TooManyConnections
from twistedproxy.exchange import Exchange
from twistedproxy.forward import Forward
from twistedproxy.http.dates import imf_fixdate
from twistedproxy.http.forwarding import forwarded_response_lines
from twistedproxy.http.inner import Inside
from twistedproxy.http.message import CHUNKED, UNTIL_CLOSE, FieldLine, RequestHead, ResponseHead
from twistedproxy.http.reader import RequestReader
from twistedproxy.http.writer import chunk_bytes, last_chunk_bytes, response_bytes
from twistedproxy.record.finished import CLIENT_LEFT, CLIENT_STALLED
from twistedproxy.sending import Sender, SocketSender, sender_for

if TYPE_CHECKING:
    from twistedproxy.downstream.factory import DownstreamFactory

MAX_WAITING = 64 * 1024
"""Bytes of later requests that may wait for the one under way."""

_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@implementer(IHalfCloseableProtocol)
class DownstreamConnection(ClientConnection):
    """One client's HTTP/1.1 connection."""

    stream = 0

    def __init__(self, factory: DownstreamFactory, plane: DataPlane, address: str, port: int, listener: str) -> None:
        super().__init__(factory, plane, address, port, listener)
        self._reader = RequestReader(plane.snapshot.head_limits)
        self._sender: Sender
        self.exchange: Exchange | None = None
        self._request: RequestHead | None = None
        # Where the request under way began, in bytes of the connection.
        self._request_start = 0
        self._receiving = self._advancing = self._paused = self._held_back = False
        self._response_length = self._sent_at_check = self._taken = 0
        # Where the response under way began, and where it will end if that is known, in bytes said to the client.
        self._response_start = self._response_end = 0
        # After the response under way there is none.
        self._last = False
        self._half_closed = self._head_began = False
        self.broken = self._detached = False

    @property
    def exchanges(self) -> Sequence[Exchange]:
        return () if self.exchange is None else (self.exchange,)

    def connectionMade(self) -> None:
        self.send_at_once()
        turn = self._deadlines.turn
        self._sender = sender_for(self.transport, self._drained, self._broken, turn, self._expect_reading)
        if self._factory.connection_made(self):
            self._deadlines.expire_in(self, self._settings.idle_timeout)
        else:
            self._refuse(TooManyConnections("it is set by downstream.max_connections_per_client"))

    # ------------------------------------------------------------ the client's bytes

    def dataReceived(self, data: bytes) -> None:
        if self.lingering:
            return
        self._reader.receive(data)
        if self.exchange is None or self._receiving:
            self._advance()
        elif self._reader.buffered > MAX_WAITING:
            self._hold_back()

    def _advance(self) -> None:
        """Act on what the reader holds, as far as the exchange under way lets us."""
        self._advancing = True
        starved = False
        reader = self._reader
        exchange = self.exchange
        try:
            while not self.lingering and not self.gone:
                if exchange is not None and not self._receiving:
                    break
                if exchange is None and (self._sender.full or self._last):
                    break
                event = reader.next_event()
                if event is None:
                    starved = True
                    break
                if type(event) is bytes:
                    if exchange is not None:
                        exchange.request_content(event)
                elif type(event) is RequestHead:
                    self._begin(event)
                else:
                    self._receiving = False
                    if exchange is not None:
                        self._deadlines.suspend(self)
                        exchange.request_ended(event.trailers)  # type: ignore[union-attr]  # the only kind left
                exchange = self.exchange
        except ProxyError as error:
            self._refuse(error)
        except Exception:
            exchange = self.exchange
            if exchange is None:
                raise
            exchange.fail_unexpectedly()
        finally:
            self._advancing = False
        if exchange is not None:
            exchange.request_turn_ended()
        if not (self.gone or self._detached):
            if not starved:
                if reader.buffered > MAX_WAITING:
                    self._hold_back()
            elif self._half_closed and (self.exchange is None or self._receiving):
                self._input_ended()
            elif self._held_back:
                self._let_go_on()
            self._sender.flush()
            self._rest()

    def _begin(self, request: RequestHead) -> None:
        kind: type[Connect] | type[Forward] = Connect if request.method == b"CONNECT" else Forward
        self.requests += 1
        exchange = kind(self._plane, self, request)
        exchange.bytes_from_client = self._request_start
        self.exchange = exchange
        self._request = request
        self._receiving = True
        self._head_began = False
        # What the response's framing and the connection's future depend on besides the response itself.
        self._last = not request.keep_alive or self._factory.draining
        self._start(exchange)

    def _start(self, exchange: Connect | Forward) -> None:
        exchange.start()

    def _rest(self) -> None:
        """Choose the deadline for what is going on, now that this turn's bytes are used up."""
        if self.lingering:
            return
        deadlines = self._deadlines
        if self._sender.full:
            if self.deadline == inf:
                self._expect_reading()
        elif self.exchange is None:
            if self._reader.between_messages:
                deadlines.expire_in(self, self._settings.idle_timeout)
            elif not self._head_began:
                # From the first byte of a head; those that follow do not push it back.
                self._head_began = True
                deadlines.expire_in(self, self._settings.head_timeout)
        elif self._receiving and not self._paused:
            deadlines.expire_in(self, self._settings.body_timeout)
        elif self._half_closed:
            self._sent_at_check = self._sender.sent
            deadlines.expire_in(self, self._settings.half_closed_timeout)

    def pause_request(self) -> None:
        if self._receiving:
            self._pause()

    def resume_request(self) -> None:
        if self._paused and not self._held_back:
            self._resume()
            if self._receiving:
                self._deadlines.expire_in(self, self._settings.body_timeout)

    def _hold_back(self) -> None:
        """Read no more before the reader has used up what it holds: the client asks faster than it gets answers."""
        if not (self._held_back or self.lingering):
            self._held_back = True
            self._pause()

    def _let_go_on(self) -> None:
        """The end of `_hold_back`."""
        if self._held_back:
            self._held_back = False
            self._resume()

    def _pause(self) -> None:
        if not self._paused and not self.gone:
            self._paused = True
            if not self._half_closed:
                self._transport.pauseProducing()
            # It cannot send while we do not read.
            self._deadlines.suspend(self)

    def _resume(self) -> None:
        if self._paused and not self.gone:
            self._paused = False
            if not self._half_closed:
                self._transport.resumeProducing()

    # ------------------------------------------------------------ the answer

    @property
    def received(self) -> int:
        return self._reader.consumed

    @property
    def sent(self) -> int:
        return self._sender.sent

    @property
    def full(self) -> bool:
        return self._sender.full

    def flush(self) -> None:
        # The end of an answer leaves with those of other connections.
        if self.exchange is not None and not self.gone:
            self._sender.flush()
            if self._sender.full and self.deadline == inf:
                self._expect_reading()

    def send_interim(self, head: ResponseHead) -> None:
        self._send_head(head, 1, close=False)

    def send_head(self, head: ResponseHead) -> None:
        request = self._request
        assert request is not None
        length = head.length
        if self._receiving or self._factory.draining:
            # RFC 9110 section 10.1.1: an answer before the end of the question is the connection's last.
            self._last = True
        if length == UNTIL_CLOSE and request.minor:
            length = CHUNKED
        elif length < 0 and not request.minor:
            length = UNTIL_CLOSE
            self._last = True
        self._response_length = length
        self._response_start = self._sender.sent
        self._send_head(head, request.minor, close=self._last)
        self._response_end = self._sender.sent + length if length >= 0 else -1

    def _send_head(self, head: ResponseHead, minor: int, *, close: bool) -> None:
        request = self._request
        assert request is not None
        plane = self._plane
        # Nearly all servers tell the time themselves.
        date = b"" if b"date" in head.fields.index else imf_fixdate(int(plane.wall()))
        lines = forwarded_response_lines(head, request.method, plane.snapshot.via, date, minor, close)
        self._sender.write(response_bytes(head.status, head.phrase, lines))

    def send_content(self, content: bytes) -> None:
        self._sender.write(chunk_bytes(content) if self._response_length == CHUNKED else content)

    def send_end(self, trailers: list[FieldLine]) -> None:
        if self._response_length == CHUNKED:
            self._sender.write(last_chunk_bytes(trailers))

    def take_back(self) -> bool:
        return self._sender.take_back(self._response_start)

    def send_answer(self, status: int, lines: list[FieldLine], content: bytes) -> None:
        request = self._request
        if self._receiving and request is not None and request.length:
            self._last = True
        method = request.method if request is not None else b""
        self._sender.write(answer_bytes(status, lines, content, int(self._plane.wall()), method, close=self._last))

    def send_error(self, error: ProxyError) -> None:
        if isinstance(error, RequestError):
            # Where this request ends may be as uncertain as the rest of it.
            self._last = True
        plane = self._plane
        lines, content = error_page(error, self._request, plane.snapshot.pseudonym, plane.authenticator)
        self.send_answer(error.status, lines, content)

    def send_established(self) -> None:
        self._sender.write(_ESTABLISHED)

    def cut(self) -> None:
        if self.gone:
            return
        self._leave()
        if self._response_length == UNTIL_CLOSE or self._sender.full:
            # A reset: an end would look like that of the content (RFC 9112 section 8), or wait for a reader for ever.
            self._transport.abortConnection()
        else:
            self._sender.finish()
            self._transport.loseConnection()

    def detach(self) -> tuple[Any, bytes]:
        transport = self._transport
        self._detached = True
        self._sender.finish()
        self._deadlines.forget(self)
        self._resume()
        return transport, self._reader.take_rest()

    def open_up(self, transport: Any, inside: Inside, context: Any, protocols: Protocols) -> Callable[[bytes], object]:
        return self._factory.open_up(self, transport, inside, context, protocols)

    def exchange_over(self, exchange: Exchange) -> None:
        self.exchange = None
        self._request_start = self._reader.consumed
        if self.gone or self._detached:
            self._leave()
            return
        self._sender.flush_later()
        if self._last:
            self._linger()
            return
        if self._paused and not self._held_back:
            self._resume()
        if self._advancing:
            return
        if self._reader.between_messages and not self._receiving:
            self._let_go_on()
            if self._half_closed:
                self._linger()
            else:
                self._rest()
        else:
            self._advance()

    def _refuse(self, error: ProxyError) -> None:
        """Answer what cannot be made a request of, and close."""
        self._last = True
        exchange = self.exchange
        if exchange is None:
            self._request = None
            exchange = Exchange(self._plane, self, None)
            exchange.bytes_from_client = self._request_start
            self.exchange = exchange
        exchange.fail(error)

    # ------------------------------------------------------------ the end

    def _drained(self) -> None:
        """The client has read what waited for it."""
        if self.gone:
            return
        self._deadlines.suspend(self)
        exchange = self.exchange
        if self.lingering:
            self._linger()
        elif exchange is None:
            self._advance()
        else:
            exchange.response_room_made()
            self._rest()

    def _broken(self) -> None:
        """The client takes no more bytes: it has reset the connection."""
        if not self.gone:
            self.broken = True
            self._transport.abortConnection()

    def readConnectionLost(self) -> None:
        """The client's FIN: it sends no more, and perhaps it still reads."""
        self._half_closed = True
        if self.lingering:
            self._transport.loseConnection()
        elif self._receiving or (self.exchange is None and not self._sender.full):
            self._input_ended()
        elif not self._sender.full:
            self._rest()

    def _input_ended(self) -> None:
        """All the requests that came before the client's FIN are read, but for one that it may have cut short."""
        if self.exchange is None and self._reader.between_messages:
            self._linger()
        else:
            self._refuse(RequestCut("the connection was closed before the request was complete"))

    def writeConnectionLost(self) -> None:
        """Our own FIN is out; `_linger` asked for it."""

    def _linger(self) -> None:
        """No more answers: say so, let the client read the last one, and close."""
        self.lingering = True
        if self._sender.full:
            self._expect_reading()
            return
        self._sender.finish()
        self._taken = -1
        self._deadlines.expire_in(self, LINGER)
        self._resume()
        if self._half_closed or not isinstance(self._sender, SocketSender):
            self._transport.loseConnection()
        else:
            self._transport.loseWriteConnection()

    def _expect_reading(self) -> None:
        """Give the client some time to take in something of what waits for it, here or in the system's buffers."""
        if not self.gone:
            self._taken = self._sender.taken
            self._deadlines.expire_in(self, self._settings.write_timeout)

    def deadline_passed(self) -> None:
        exchange = self.exchange
        sender = self._sender
        unread = sender.full or (self.lingering and sender.taken < sender.sent)
        if unread and sender.taken > self._taken:
            # What waits is some MiB at most, but a slow client takes them in only so fast.
            self._expect_reading()
        elif self.lingering:
            self._transport.abortConnection()
        elif sender.full:
            self._lose_client(CLIENT_STALLED)
        elif exchange is None:
            if self._reader.between_messages:
                # A request may have come meanwhile, that is read in the next turn.
                self._plane.reactor.callLater(0, self._end_idle)
            else:
                self._refuse(RequestTimeout(f"its head took longer than {self._settings.head_timeout:g} s"))
        elif self._receiving:
            self._refuse(RequestTimeout(f"none of its content came for {self._settings.body_timeout:g} s"))
        elif self._half_closed:
            if sender.sent == self._sent_at_check and not (exchange.hold is not None and exchange.hold.resting):
                self._lose_client(CLIENT_LEFT)
            else:
                self._rest()

    def _end_idle(self) -> None:
        if self.deadline == inf and self.exchange is None and not (self.gone or self.lingering):
            self._linger()

    def _lose_client(self, reason: str) -> None:
        exchange = self.exchange
        self._leave()
        if exchange is not None:
            exchange.client_left(reason)
        self._transport.abortConnection()

    def drain(self) -> None:
        if self.exchange is not None:
            self._last = True
        elif self._reader.between_messages and not self.lingering:
            if self._sender.full:
                self._linger()
            else:
                self._deadlines.expire_in(self, LAST_REQUEST if self.requests else LINGER)

    def stop(self, reason: str) -> None:
        if self.exchange is not None:
            self.exchange.stop(reason)
        elif not self.gone:
            self._leave()
            self._transport.abortConnection()

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's default
        exchange = self.exchange
        self._leave()
        if exchange is not None:
            sender = self._sender
            # An origin of HTTP/2 may take its time to say that this was all, which the client knows.
            complete = exchange.status and not self._receiving and sender.sent == self._response_end and not sender.full
            exchange.client_left("" if complete else CLIENT_LEFT)
