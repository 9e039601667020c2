"""One stream of an HTTP/2 connection as a transport of its own: what an opaque relay gets after an extended CONNECT.

Theory of operation. The content of DATA frames is what is read and written (RFC 8441 section 5). END_STREAM is the end
of one direction, as a FIN is, and a reset is a reset. It takes the place of the stream that carried the request, so
that what it moves is not counted as that one's. What is written leaves as far as the peer's windows let it; while some
of it waits here, the producer rests, as it would at a socket that is full.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, IPushProducer, ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedproxy.errors import ProxyError
from twistedproxy.http2.fields import Block
from twistedproxy.http2.stream import UNKNOWN, Stream

_NO_ERROR = 0
_CANCEL = 8


@implementer(ITransport, IConsumer, IPushProducer)
class StreamTransport(Stream):
    """Goes on with ``stream``, in its place.

    ``connection`` is the transport of the whole connection. ``flush`` sends what was said on it, and ``call_later`` is
    the reactor's. Its ``protocol`` is told what comes, and of the end.
    """

    __slots__ = ("_call_later", "_connection", "_flush", "_lost", "_paused", "_producer", "_reason", "protocol")

    def __init__(
        self,
        stream: Stream,
        connection: Any,
        flush: Callable[[], object],
        call_later: Callable[[float, Callable[[], object]], object],
    ) -> None:
        super().__init__(stream.session, stream.id)
        self.protocol: Any = None
        self.expected = UNKNOWN
        self.ends_with_output = False
        self.input_ended, self.output_ended = stream.input_ended, stream.output_ended
        self.queue, stream.queue = stream.queue, deque()
        self.unsaid = stream.unsaid
        self._resting, self._held = stream._resting, stream._held
        self._connection = connection
        self._flush = flush
        self._call_later = call_later
        self._producer: Any = None
        self._paused = self._lost = False
        self._reason: Exception = ConnectionDone()
        self.session.streams[self.id] = self
        stream.drop()
        if self.unsaid:
            self.session.ready(self)
        if self.input_ended:
            call_later(0, self._tell_read_end)

    # ------------------------------------------------------------ what comes

    def head_received(self, block: Block, ended: bool) -> int:
        """No head comes any more: those of a response were for the stream before."""
        return UNKNOWN

    def content_received(self, content: bytes) -> None:
        self.protocol.dataReceived(content)

    def end_received(self, trailers: Block) -> None:
        if not self.output_ended:
            self._tell_read_end()

    def _tell_read_end(self) -> None:
        if self._lost or self.over:
            return
        if IHalfCloseableProtocol.providedBy(self.protocol):
            self.protocol.readConnectionLost()
        else:
            self.loseConnection()

    def malformed(self, error: ProxyError) -> None:
        self._reason = ConnectionLost(error.detail)

    def reset_received(self, code: int) -> None:
        if code != _NO_ERROR:
            self._reason = ConnectionLost(f"the stream was reset with code {code}")

    def turn_ended(self) -> None:
        """Nothing: it has been told."""

    def drop(self) -> None:
        super().drop()
        # As from any transport: not before whoever is at work has finished.
        self._call_later(0, self._tell_lost)

    def _tell_lost(self) -> None:
        if not self._lost:
            self._lost = True
            self._producer = None
            self.protocol.connectionLost(Failure(self._reason))

    # ------------------------------------------------------------ what is said

    def write(self, data: bytes) -> None:
        """Send ``data``."""
        self.say(data)
        self._flush()
        if self._producer is not None and not self._paused and self.full:
            self._paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send all of ``data``."""
        self.write(b"".join(data))

    def room_made(self) -> None:
        if self._paused and self._producer is not None:
            self._paused = False
            self._producer.resumeProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Let ``producer``, which pushes, rest while the peer does not read."""
        assert streaming
        self._producer = producer
        self._paused = False

    def unregisterProducer(self) -> None:
        """Nobody produces any more."""
        self._producer = None

    def loseWriteConnection(self) -> None:
        """Nothing more is said."""
        self.say_end(())
        self._flush()

    def loseConnection(self) -> None:
        """Close in both directions, after what was said."""
        if self.over:
            return
        self.ends_with_output = True
        if self.output_ended:
            self.reset(_NO_ERROR if self.input_ended else _CANCEL)
        else:
            self.say_end(())
        self._flush()

    def abortConnection(self) -> None:
        """Close at once."""
        if not self.over:
            self._reason = ConnectionAborted()
            self.reset(_CANCEL)
            self._flush()

    # ------------------------------------------------------------ as a producer

    def pauseProducing(self) -> None:
        """Let the peer send no more than a window."""
        self.rest()

    def resumeProducing(self) -> None:
        """The end of `pauseProducing`."""
        self.go_on()
        self._flush()

    def stopProducing(self) -> None:
        """Nobody takes what comes any more."""
        self.loseConnection()

    def getPeer(self) -> Any:
        """The address of the connection's other end."""
        return self._connection.getPeer()

    def getHost(self) -> Any:
        """The address of the connection's end here."""
        return self._connection.getHost()
