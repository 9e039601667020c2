"""TLS with a parent, behind a pair of sockets: one end is as good as a connection without it.

Theory of operation. Whoever gets a connection to a parent gets a socket, which may be spliced, or made into a
connection with TLS of its own inside this one. So when the handshake with the parent is over, a relay stands between
the TLS and one end of a pair of sockets, and the other end is given out. It costs two descriptors and a copy. The pair
is one of TCP: a Unix one cannot be reset, and what was cut would look whole.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Protocol

from twistedproxy.deadlines import Deadlines
from twistedproxy.errors import OutOfDescriptors, TLSFailed
from twistedproxy.settings.types import Settings
from twistedproxy.tls.records import Records
from twistedproxy.tls_transport import TLSTransportFactory
from twistedproxy.tunnel.copying import CopyingRelay
from twistedproxy.upstream.adopting import Only, adopt
from twistedproxy.upstream.connector import Connected
from twistedproxy.upstream.handshake import Handshake


class _Leg(CopyingRelay):
    """The relay. How long nothing may come is the business of whoever has the other end.

    It is ours when he has left, which is not noticed as long as the parent takes nothing more.
    """

    __slots__ = ()

    def deadline_passed(self) -> None:
        if self.ended_by or self._client.finished or self._client.paused:
            super().deadline_passed()
        else:
            self._moved()


class TLSLeg:
    """TLS on ``connected``, which is closed when that fails.

    ``creator`` makes it, and it passes through ``records``.
    """

    def __init__(
        self,
        reactor: Any,
        deadlines: Deadlines,
        connected: Connected,
        creator: IOpenSSLClientConnectionCreator,
        records: Records,
        settings: Settings,
    ) -> None:
        self._reactor = reactor
        self._deadlines = deadlines
        self._connected = connected
        self._creator = creator
        self._records = records
        self._settings = settings
        self._started = deadlines.seconds()
        self._result: Deferred[Connected] = Deferred(lambda _: self._handshake.give_up())
        self._handshake = Handshake(deadlines, settings.upstream.tls_timeout, self._secured, self._failed)

    def __repr__(self) -> str:
        return f"<TLSLeg to {self._connected.address_text} {self._handshake!r}>"

    def start(self) -> Deferred[Connected]:
        """A connection to the same place, with TLS behind it.

        Fails with `TLSFailed` and what is below it, and with `OutOfDescriptors`; cancelling it closes everything.
        """
        factory = TLSTransportFactory(
            self._creator, True, Only(self._handshake), self._reactor, self._deadlines.turn, self._records
        )
        try:
            adopt(self._reactor, self._connected.socket, factory)
        except OSError as error:
            self._result.errback(OutOfDescriptors(str(error)))
        return self._result

    def _secured(self, _protocol: bytes | None) -> None:
        transport: Any = self._handshake.transport
        inner = Protocol()
        try:
            ours, given = _pair()
            given.setblocking(False)
            try:
                adopt(self._reactor, ours, Only(inner))
            except OSError:
                given.close()
                raise
        except OSError as error:
            transport.abortConnection()
            self._result.errback(OutOfDescriptors(str(error)))
            return
        _Leg(
            inner.transport,
            transport,
            to_upstream=b"",
            to_client=b"",
            idle_timeout=self._settings.tunnel.idle_timeout,
            ended=lambda _: None,
            deadlines=self._deadlines,
        ).start()
        there = self._connected
        seconds = self._deadlines.seconds() - self._started
        self._result.callback(Connected(given, there.address, there.port, there.connect_seconds + seconds))

    def _failed(self, error: TLSFailed) -> None:
        self._result.errback(error)


def _pair() -> tuple[socket.socket, socket.socket]:
    """Two sockets that are connected to each other, and to nobody else. Raises OSError."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # It is on this machine, and waits in the queue.
        one = socket.create_connection(listener.getsockname())
        try:
            while True:
                other, peer = listener.accept()
                if peer == one.getsockname():
                    break
                # Somebody who tries ports.
                other.close()
            for sock in (one, other):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            one.close()
            raise
    return one, other
