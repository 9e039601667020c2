"""Questions over TCP (RFC 7766), and over TLS (RFC 7858): one connection to a server, for all that ask it.

Theory of operation. The connection is made when somebody asks, and closed some seconds after the last reply. Questions
do not wait for each other's replies, which come in any order and are told apart by their ids. A server may close a
connection whenever nothing is going on, and a question can meet that: it is asked once more on a new one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from math import inf
from typing import Any, Final

from twisted.internet.interfaces import IAddress, IConnector, IOpenSSLClientConnectionCreator
from twisted.internet.protocol import ClientFactory
from twisted.protocols.basic import Int16StringReceiver
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from twistedproxy.deadlines import Deadlines
from twistedproxy.settings.name_servers import NameServerAddress
from twistedproxy.tls.handshakes import handshake_error
from twistedproxy.upstream.dns.datagram import GUESSED, Replied
from twistedproxy.upstream.dns.messages import LARGEST_REPLY, is_reply, query

IDLE: Final = 10.0
"""How long a connection without questions is kept, in seconds."""

MakeTLS = Callable[[str, int], IOpenSSLClientConnectionCreator]
"""Makes what secures a connection to the server of that name and port."""

_MOST_STRANGE: Final = 32


class StreamQuestion:
    """One question that waits for its reply."""

    __slots__ = ("_stream", "again", "id", "question", "replied")

    def __init__(self, stream: Stream, id: int, question: bytes, replied: Replied) -> None:
        self._stream = stream
        self.id = id
        self.question = question
        self.replied = replied
        self.again = False

    def cancel(self) -> None:
        """Want the reply no more."""
        self._stream.forget(self)


class Stream:
    """The connection to one server, if any; see the head of the module."""

    def __init__(
        self, reactor: Any, server: NameServerAddress, deadlines: Deadlines, make_tls: MakeTLS | None = None
    ) -> None:
        self.deadline = inf
        self.deadline_bucket = 0
        self._reactor = reactor
        self._server = server
        self._deadlines = deadlines
        self._make_tls = make_tls
        self._waiting: dict[int, StreamQuestion] = {}
        self._attempt: _Attempt | None = None
        self._connection: _Connection | None = None

    def __repr__(self) -> str:
        state = "open" if self._connection else "connecting" if self._attempt else "closed"
        return f"<Stream {self._server} {state} waiting={len(self._waiting)}>"

    def ask(self, question: bytes, replied: Replied) -> StreamQuestion:
        """Ask, on the connection that there is or on a new one."""
        id = secrets.randbits(16)
        while id in self._waiting:
            id = secrets.randbits(16)
        asked = self._waiting[id] = StreamQuestion(self, id, question, replied)
        self._deadlines.forget(self)
        if self._connection is not None:
            self._connection.send(asked)
        elif self._attempt is None:
            self._connect()
        return asked

    def forget(self, asked: StreamQuestion) -> None:
        """``asked`` does not wait any more."""
        if self._waiting.get(asked.id) is asked:
            del self._waiting[asked.id]
            self._rest()

    def close(self) -> None:
        """Give up all questions, without a word."""
        self._waiting.clear()
        self._disconnect()

    def deadline_passed(self) -> None:
        """Nobody has asked for a while."""
        self._disconnect()

    # ------------------------------------------------------------ the connection

    def _connect(self) -> None:
        attempt = self._attempt = _Attempt(self, bool(self._server.tls_name))
        factory: Any = attempt
        if self._server.tls_name:
            assert self._make_tls is not None
            creator = self._make_tls(self._server.tls_name, self._server.port)
            # It carries too little for what makes the TLS of exchanges fast.
            factory = TLSMemoryBIOFactory(creator, True, attempt, clock=self._reactor)
            factory.noisy = False
        # Who asks has a deadline, and the last one to leave ends the attempt.
        attempt.connector = self._reactor.connectTCP(self._server.address, self._server.port, factory, timeout=60)

    def _disconnect(self) -> None:
        self._deadlines.forget(self)
        attempt, self._attempt = self._attempt, None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        elif attempt is not None and attempt.connector is not None:
            attempt.connector.disconnect()

    def _rest(self) -> None:
        if self._waiting:
            return
        if self._connection is not None:
            self._deadlines.expire_in(self, IDLE)
        else:
            self._disconnect()

    def opened(self, attempt: _Attempt, connection: _Connection) -> None:
        """The connection stands."""
        if attempt is not self._attempt:
            connection.abort()
            return
        self._connection = connection
        for asked in self._waiting.values():
            connection.send(asked)

    def received(self, connection: _Connection, data: bytes) -> None:
        """A message has come."""
        if connection is not self._connection:
            return
        asked = self._waiting.get(int.from_bytes(data[:2], "big"))
        if asked is None or not is_reply(data, asked.id, asked.question):
            connection.strange += 1
            if connection.strange >= _MOST_STRANGE:
                self._disconnect()
                self._fail(list(self._waiting.values()), GUESSED)
            return
        connection.replies += 1
        del self._waiting[asked.id]
        self._rest()
        asked.replied(data, "")

    def lost(self, attempt: _Attempt, why: str) -> None:
        """There is no connection, or none any more."""
        if attempt is not self._attempt:
            return
        was_used = self._connection is not None and self._connection.replies > 0
        self._attempt = self._connection = None
        self._deadlines.forget(self)
        again = [asked for asked in self._waiting.values() if was_used and not asked.again]
        failed = [asked for asked in self._waiting.values() if asked not in again]
        for asked in again:
            asked.again = True
        if again:
            self._connect()
        self._fail(failed, why)

    def _fail(self, questions: list[StreamQuestion], why: str) -> None:
        for asked in questions:
            self._waiting.pop(asked.id, None)
        for asked in questions:
            asked.replied(None, why)


class _Connection(Int16StringReceiver):
    """One connection. What is longer than a reply may be ends it."""

    MAX_LENGTH = LARGEST_REPLY

    def __init__(self, stream: Stream, attempt: _Attempt) -> None:
        self._stream = stream
        self._attempt = attempt
        self.strange = 0
        self.replies = 0

    def send(self, asked: StreamQuestion) -> None:
        """Ask on it."""
        self.sendString(query(asked.id, asked.question))

    def abort(self) -> None:
        """End it now."""
        self._transport.abortConnection()

    @property
    def _transport(self) -> Any:
        return self.transport

    def connectionMade(self) -> None:
        self._stream.opened(self._attempt, self)

    def stringReceived(self, string: bytes) -> None:
        self._stream.received(self, string)

    def lengthLimitExceeded(self, length: int) -> None:
        self.abort()

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's default
        why = reason.getErrorMessage()
        if self._attempt.is_tls and not self.replies:
            why = handshake_error(reason, self._transport.getHandle()).detail or why
        self._stream.lost(self._attempt, why)


class _Attempt(ClientFactory):
    """One attempt to connect, and what came of it."""

    noisy = False

    def __init__(self, stream: Stream, is_tls: bool) -> None:
        self._stream = stream
        self.is_tls = is_tls
        self.connector: IConnector | None = None

    def buildProtocol(self, addr: IAddress | None) -> _Connection:
        return _Connection(self._stream, self)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._stream.lost(self, reason.getErrorMessage())
