"""TLS over a socket, whose records leave at the end of the reactor's turn.

Theory of operation. Twisted's TLS writes to the transport below it, which queues, and each connection that has written
costs a scheduled call, two changes to the reactor's descriptors and one more look at the socket. Here it writes to an
`Outlet` instead, which sends on the socket itself, for all connections together when the turn ends (see `turns`), and
in one piece what TLS made of several. What the socket does not take is the transport's, as with any `SocketSender`.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Factory
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

from twistedproxy.sending import SocketSender
from twistedproxy.turns import Turn


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

    def makeConnection(self, transport: Any) -> None:
        get_handle = getattr(transport, "getHandle", None)
        handle = get_handle() if get_handle is not None else None
        # TLS within TLS has another one below.
        if type(handle) is socket.socket:
            transport = Outlet(transport, handle, self.factory.turn)
        super().makeConnection(transport)


class TLSTransportFactory(TLSMemoryBIOFactory):
    """Makes the TLS of one connection, whose own protocol ``inner`` makes. ``turn`` is of the same clock."""

    protocol = TLSTransport

    def __init__(
        self,
        creator: IOpenSSLClientConnectionCreator | IOpenSSLServerConnectionCreator,
        is_client: bool,
        inner: Factory,
        clock: IReactorTime,
        turn: Turn,
    ) -> None:
        super().__init__(creator, is_client, inner, clock=clock)
        self.turn = turn
