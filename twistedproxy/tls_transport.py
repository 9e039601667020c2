"""TLS over a socket, whose records leave at the end of the reactor's turn.

Theory of operation. Twisted's TLS writes to the transport below it, which queues, and each connection that has written
costs a scheduled call, two changes to the reactor's descriptors and one more look at the socket. Here it writes to an
`Outlet` instead, which sends on the socket itself, for all connections together when the turn ends (see `turns`), and
in one piece what TLS made of several. What the socket does not take is the transport's, as with any `SocketSender`.

Twisted's TLS also goes from record to record, and whoever reads behind it is told of each. Three of its inner functions
are replaced by others that take all records that there are (see `tls.records`). They do the same for everybody else;
would Twisted call them no more, it would be slower and nothing else.
"""

from __future__ import annotations

import socket
from typing import Any, Final

from OpenSSL.SSL import Error, WantReadError, ZeroReturnError
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import Factory
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from twistedproxy.sending import SocketSender
from twistedproxy.tls.records import CONTENT, Records
from twistedproxy.turns import Turn

LARGE_READ: Final = CONTENT
"""Bytes that are read from a socket at a time where there are so many. For a little more, glibc would map memory."""


class Outlet:
    """What TLS has for a transport: ``transport`` itself, but for what is written."""

    def __init__(self, transport: Any, handle: socket.socket, turn: Turn) -> None:
        self._transport = transport
        self._turn = turn
        self._sender = SocketSender(transport, handle, self._drained, self._broken, turn, self._filled)
        self._producer: IPushProducer | None = None

    def __repr__(self) -> str:
        return f"<Outlet {self._sender!r}>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send ``data`` at the end of the turn."""
        self._sender.write(data)
        self._sender.flush_later()

    def loseConnection(self) -> None:
        """Close when all is sent."""
        self._sender.finish()
        self._transport.loseConnection()

    def abortConnection(self) -> None:
        """Close now. A close alert that follows what was cut off would look like its end."""
        self._sender.forget()
        self._transport.abortConnection()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """``producer`` rests while bytes wait for the peer to read."""
        self._producer = producer
        if self._sender.full:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        self._producer = None

    def _filled(self) -> None:
        if self._producer is not None:
            self._producer.pauseProducing()

    def _drained(self) -> None:
        if self._producer is not None:
            self._producer.resumeProducing()

    def _broken(self) -> None:
        self._transport.abortConnection()


class TLSTransport(TLSMemoryBIOProtocol):
    """Twisted's TLS, over an `Outlet` where there is a socket."""

    factory: TLSTransportFactory
    _socket: Any = None
    _said_end = False

    def makeConnection(self, transport: Any) -> None:
        get_handle = getattr(transport, "getHandle", None)
        handle = get_handle() if get_handle is not None else None
        # TLS within TLS has another one below.
        if type(handle) is socket.socket:
            self._socket = transport
            transport = Outlet(transport, handle, self.factory.turn)
        super().makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        below = self._socket
        if below is not None and len(data) == below.bufferSize:
            # There is more than it takes at a time.
            below.bufferSize = LARGE_READ
        super().dataReceived(data)

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's default
        if self._said_end:
            # Nothing was to come after that, and many do not even listen to our own last word (RFC 8446 section 6.1).
            reason = Failure(CONNECTION_DONE)
        super().connectionLost(reason)

    def _flushReceiveBIO(self) -> None:
        """Tell the content that has come, and how it ended."""
        records = self.factory.records
        while not self._lostTLSConnection:
            content, why = records.receive(self._tlsConnection)
            if content and not self._aborted:
                ProtocolWrapper.dataReceived(self, content)
            if type(why) is WantReadError:
                break
            if why is None or self._lostTLSConnection:
                continue
            if isinstance(why, ZeroReturnError):
                self._said_end = True
                self._shutdownTLS()
                self._tlsShutdownFinished(None)
            else:
                self._tlsShutdownFinished(Failure(why))
        if self._tlsConnection is not None:
            self._flushSendBIO()

    def _flushSendBIO(self) -> None:
        """Give the transport all that TLS has to say."""
        transport: Any = self.transport
        while said := self.factory.records.take_said(self._tlsConnection):
            transport.write(said)

    def _write(self, content: bytes) -> None:
        """Say ``content``."""
        if self._lostTLSConnection or not content:
            return
        try:
            sent = self.factory.records.send(self._tlsConnection, content)
        except Error:
            self._tlsShutdownFinished(Failure())
            return
        if sent < len(content):
            self._bufferedWrite(content[sent:])
        self._flushSendBIO()


class TLSTransportFactory(TLSMemoryBIOFactory):
    """Makes the TLS of one connection, whose own protocol ``inner`` makes.

    ``turn`` is of the same clock, and ``records`` anybody's.
    """

    protocol = TLSTransport

    def __init__(
        self,
        creator: IOpenSSLClientConnectionCreator | IOpenSSLServerConnectionCreator,
        is_client: bool,
        inner: Factory,
        clock: IReactorTime,
        turn: Turn,
        records: Records,
    ) -> None:
        super().__init__(creator, is_client, inner, clock=clock)
        self.turn = turn
        self.records = records
