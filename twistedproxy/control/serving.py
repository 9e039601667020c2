"""How the API is spoken to: HTTP/1.1 from Twisted's parser, with a bound on everything.

Theory of operation. twisted.web reads requests here and frames answers, and no more than that: there is no tree of
resources, no sessions, no forms and no log of its own. What it leaves open is bounded. A request has `REQUEST_TIMEOUT`
seconds from its first byte to arrive whole, however it trickles; a connection may idle as long; one that is being
closed has `CLOSE_TIMEOUT` seconds to take what is left for it, and is cut then. Content beyond the API's limit is
refused when it comes, and a door has `MOST_CONNECTIONS` at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, Request, datetimeToString

from twistedproxy.control.api import CONTENT_LIMIT, PHRASES, Answer, Api, Asked, problem

REQUEST_TIMEOUT: Final = 30
"""Seconds that a request has to arrive whole, and that a connection may idle."""

CLOSE_TIMEOUT: Final = 5
"""Seconds that the other side has to take what it was sent, once its connection is being closed."""

MOST_CONNECTIONS: Final = 64
"""How many connections a door has at a time; for who comes then, the oldest that waits for a request has to go.

Whoever opens many and says nothing thus keeps out nobody who has something to ask.
"""


class ApiRequest(Request):
    """One request, as the channel reads it, and its answer."""

    def __init__(self, channel: ApiChannel, queued: object = False) -> None:
        super().__init__(channel, False)
        self._connection = channel
        self._received = BytesIO()
        self._announced = 0
        self._refused = False

    def parseCookies(self) -> None:
        """There are none."""

    def gotLength(self, length: int | None) -> None:
        """The head has been read; ``length`` is that of the content, None when it comes in chunks."""
        self.content = self._received
        self._announced = length or 0

    def handleContentChunk(self, data: bytes) -> None:
        """Some of the content."""
        if self._refused:
            return
        if max(self._announced, self._received.tell() + len(data)) > CONTENT_LIMIT:
            self._refuse(problem(413, f"at most {CONTENT_LIMIT} bytes of content are taken"))
        else:
            self._received.write(data)

    def _refuse(self, answer: Answer) -> None:
        """Answer while the request is still coming, and close."""
        self._refused = True
        self._prepare(answer)
        self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        channel = self._connection
        status = b"%d" % answer.status
        channel.writeHeaders(b"HTTP/1.1", status, PHRASES[answer.status].encode(), self.responseHeaders)
        channel.write(answer.content)
        channel.loseConnection()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The request is there, whole."""
        if self._refused:
            return
        self.method, self.uri, self.path, self.clientproto = command, path, path, version
        asked = Asked(
            command.decode("ascii"),
            path.decode("ascii"),
            self._field("content-type"),
            self._field("accept"),
            self._received.getvalue(),
        )
        answered = Deferred.fromCoroutine(self._connection.api.answer(asked))
        answered.addCallback(self._send).addErrback(self._connection.failed)

    def _field(self, name: str) -> str:
        return ", ".join(self.requestHeaders.getRawHeaders(name, ()))

    def _prepare(self, answer: Answer) -> None:
        self.setResponseCode(answer.status, PHRASES[answer.status].encode())
        fields = {
            b"Date": datetimeToString(),
            b"Content-Type": answer.media_type.encode(),
            b"Content-Length": b"%d" % len(answer.content),
            b"Cache-Control": b"no-store",
        }
        if answer.allow:
            fields[b"Allow"] = answer.allow.encode()
        for name, value in fields.items():
            self.responseHeaders.setRawHeaders(name, [value])

    def _send(self, answer: Answer) -> None:
        if self.channel is None:
            # The client has gone. What it asked for was done all the same.
            return
        self._prepare(answer)
        self.write(answer.content)
        self.finish()


class ApiChannel(HTTPChannel):
    """One connection."""

    _log = Logger()
    maxHeaders = 100

    def __init__(self, reactor: Any, api: Api, gone: Callable[[ApiChannel], None]) -> None:
        super().__init__()
        self._reactor = reactor
        request_factory: Any = ApiRequest
        self.requestFactory = request_factory
        self.timeOut = REQUEST_TIMEOUT
        self.api = api
        self._gone = gone
        self._arriving = False
        self._answering = False
        self._closing = False

    def __repr__(self) -> str:
        state = "closing" if self._closing else "answering" if self._answering else "waiting"
        return f"<ApiChannel {state}>"

    def callLater(self, period: float, function: Callable[..., object], *arguments: object) -> Any:
        """Twisted's timeouts ask for their timer here."""
        return self._reactor.callLater(period, function, *arguments)

    def resetTimeout(self) -> None:
        """Something has arrived. Only the first byte of a request gives it time."""
        if not self._arriving:
            self._arriving = True
            super().resetTimeout()

    def allContentReceived(self) -> None:
        self._answering = True
        super().allContentReceived()

    def requestDone(self, request: ApiRequest) -> None:
        self._arriving = self._answering = False
        super().requestDone(request)

    @property
    def answering(self) -> bool:
        """Whether a request has arrived and its answer is not there yet."""
        return self._answering

    def end(self) -> None:
        """Close: at once, or when what is being answered has been."""
        self.persistent = False
        if not self._answering:
            self.loseConnection()

    def failed(self, failure: Failure) -> None:
        """An answer could not be sent."""
        self._log.failure("an answer of the API could not be sent", failure)
        self.abort()

    def loseConnection(self) -> None:
        if not self._closing:
            self._closing = True
            self.setTimeout(CLOSE_TIMEOUT)
            super().loseConnection()

    def timeoutConnection(self) -> None:
        if self._closing:
            self.abort()
        else:
            self.loseConnection()

    def abort(self) -> None:
        """Cut it."""
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._gone(self)


class ApiFactory(ServerFactory):
    """Connections to ``api``, at one door or several."""

    noisy = False
    _log = Logger()

    def __init__(self, reactor: Any, api: Api) -> None:
        self._reactor = reactor
        self._api = api
        self._channels: dict[ApiChannel, None] = {}
        self._full = False
        self._closed: Deferred[None] | None = None

    def __repr__(self) -> str:
        return f"<ApiFactory connections={len(self._channels)} {self._api!r}>"

    def buildProtocol(self, addr: object) -> ApiChannel | None:
        if self._closed is not None:
            return None
        if len(self._channels) >= MOST_CONNECTIONS and not self._make_room():
            return None
        channel = ApiChannel(self._reactor, self._api, self._gone)
        self._channels[channel] = None
        return channel

    def _make_room(self) -> bool:
        """Cut the oldest connection that waits for a request; False when there is none."""
        if not self._full:
            self._full = True
            self._log.warn("the API has {most} connections: the oldest are cut", most=MOST_CONNECTIONS)
        for channel in self._channels:
            if not channel.answering:
                channel.abort()
                del self._channels[channel]
                return True
        return False

    def _gone(self, channel: ApiChannel) -> None:
        # One that had to make room is not there any more.
        self._channels.pop(channel, None)
        if len(self._channels) <= MOST_CONNECTIONS // 2:
            self._full = False
        if self._closed is not None and not self._channels:
            self._closed.callback(None)

    def close(self) -> Deferred[None]:
        """Close every connection once what it asked has been answered. Fires when all of them are gone.

        Those that are not after `CLOSE_TIMEOUT` are cut.
        """
        if not self._channels:
            return succeed(None)
        self._closed = closed = Deferred[None]()
        deadline = self._reactor.callLater(CLOSE_TIMEOUT, self._abort)
        for channel in list(self._channels):
            channel.end()

        def over(result: None) -> None:
            self._closed = None
            if deadline.active():
                deadline.cancel()

        return closed.addCallback(over)

    def _abort(self) -> None:
        for channel in list(self._channels):
            channel.abort()
