"""Writing to a connection at once, and knowing when it is full.

Theory of operation. `ITransport.write` only queues: the reactor then sends in its next turn, for two system calls
more than the send itself. A `Sender` gathers what one turn has to say, and gives it to the socket straight away: in the
middle of a message when its part of the turn is over, at the end of one together with all other connections (see
`turns`). Only what the socket does not take is queued in the transport; until that is gone the sender is *full*, and
whoever produces the bytes should rest. Memory is bounded by that rest, not by a counter.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer

from twistedproxy.turns import Turn

# Linux: where tcpi_bytes_acked is in its struct tcp_info.
_TCP_INFO: Final[int] = getattr(socket, "TCP_INFO", 0)
_ACKED: Final = struct.Struct("120xQ")


class Sender(Protocol):
    """The one way to write to a connection."""

    full: bool
    """Whether bytes wait for the peer to read."""

    sent: int
    """Bytes given to it so far."""

    @property
    def taken(self) -> int:
        """How many bytes the peer's system has confirmed; all of them where this one does not tell."""

    def write(self, data: bytes) -> None:
        """Say ``data``, with the next `flush`."""

    def take_back(self, start: int) -> bool:
        """Forget what was said from byte ``start`` of all on, if none of it has left; whether that was so."""

    def flush(self) -> None:
        """Send what has been said. Called by whoever got control from the reactor, at the end of its turn."""

    def flush_later(self) -> None:
        """Send it with what others say in this turn of the reactor: when a message is complete, and nobody waits to
        hear whether there is room for more of it."""

    def finish(self) -> None:
        """Flush for the last time: the connection may close, or be somebody else's, once all is sent."""


def sender_for(
    transport: Any,
    drained: Callable[[], None],
    broken: Callable[[], None],
    turn: Turn | None = None,
    filled: Callable[[], None] = lambda: None,
) -> Sender:
    """The sender that suits a transport.

    ``drained`` is called whenever it was full and is no longer, ``broken`` when the peer takes no more bytes. What it
    has sent before that may still be there to read. ``turn`` is what `Sender.flush_later` waits for, and ``filled`` is
    called when only that has made it full.
    """
    get_handle = getattr(transport, "getHandle", None)
    handle = get_handle() if get_handle is not None else None
    # A TLS transport's handle is its pyOpenSSL connection.
    if type(handle) is socket.socket:
        return SocketSender(transport, handle, drained, broken, turn, filled)
    return TransportSender(transport, drained)


def _take_back(said: list[bytes], size: int) -> bool:
    """Drop the last pieces of ``said``, of ``size`` bytes together, if it holds so much; whether it did."""
    if sum(map(len, said)) < size:
        return False
    while size > 0:
        size -= len(said.pop())
    return True


@implementer(IPullProducer)
class SocketSender:
    """Sends on the socket itself; the transport gets the rest, and pulls from here when it has sent that."""

    __slots__ = (
        "_broken",
        "_drained",
        "_filled",
        "_handle",
        "_put_off",
        "_said",
        "_send",
        "_transport",
        "_turn",
        "full",
        "sent",
    )

    def __init__(
        self,
        transport: Any,
        handle: socket.socket,
        drained: Callable[[], None],
        broken: Callable[[], None],
        turn: Turn | None,
        filled: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._handle = handle
        self._send = handle.send
        self._drained = drained
        self._broken = broken
        self._turn = turn
        self._filled = filled
        self._put_off = False
        self._said: list[bytes] = []
        self.full = False
        self.sent = 0

    def __repr__(self) -> str:
        return f"<SocketSender sent={self.sent}{' full' if self.full else ''}>"

    @property
    def taken(self) -> int:
        try:
            return int(_ACKED.unpack(self._handle.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _ACKED.size))[0])
        except (OSError, struct.error):
            # Not TCP, not Linux, or one from before 4.1.
            return self.sent

    def write(self, data: bytes) -> None:
        self.sent += len(data)
        self._said.append(data)

    def take_back(self, start: int) -> bool:
        taken_back = not self.full and _take_back(self._said, self.sent - start)
        if taken_back:
            self.sent = start
        return taken_back

    def flush(self) -> None:
        put_off = self._put_off
        self._put_off = False
        said = self._said
        if not said or self.full:
            return
        data = said[0] if len(said) == 1 else b"".join(said)
        try:
            taken = self._send(data)
        except BlockingIOError:
            taken = 0
        except OSError:
            # Not for the transport to find out: it would drop what the peer has sent before it went.
            said.clear()
            self._broken()
            return
        if taken == len(data):
            said.clear()
            return
        self._said = [data[taken:]]
        self.full = True
        self._transport.registerProducer(self, False)
        if put_off:
            # Nobody looks now whether there is room.
            self._filled()

    def flush_later(self) -> None:
        if self._turn is None:
            self.flush()
        elif self._said and not (self.full or self._put_off):
            self._put_off = True
            self._turn.put_off(self.flush)

    def forget(self) -> None:
        """Say nothing of what has not been sent yet."""
        self._said.clear()

    def finish(self) -> None:
        self.flush()

    def resumeProducing(self) -> None:
        """The transport has nothing left to send: give it the rest, or say that there is none."""
        said = self._said
        if said:
            data = b"".join(said)
            said.clear()
            self._transport.write(data)
            return
        self._transport.unregisterProducer()
        self.full = False
        self._drained()

    def stopProducing(self) -> None:
        """The connection is lost; the protocol hears of it from the transport."""
        self._said.clear()


@implementer(IPushProducer)
class TransportSender:
    """Sends through a transport that does more than a socket, such as TLS."""

    __slots__ = ("_drained", "_said", "_transport", "full", "sent")

    def __init__(self, transport: Any, drained: Callable[[], None]) -> None:
        self._transport = transport
        self._drained = drained
        self._said: list[bytes] = []
        self.full = False
        self.sent = 0
        transport.registerProducer(self, True)

    def __repr__(self) -> str:
        return f"<TransportSender sent={self.sent}{' full' if self.full else ''}>"

    @property
    def taken(self) -> int:
        return self.sent

    def write(self, data: bytes) -> None:
        self.sent += len(data)
        self._said.append(data)

    def take_back(self, start: int) -> bool:
        taken_back = _take_back(self._said, self.sent - start)
        if taken_back:
            self.sent = start
        return taken_back

    def flush(self) -> None:
        said = self._said
        if said:
            data = said[0] if len(said) == 1 else b"".join(said)
            said.clear()
            self._transport.write(data)

    def flush_later(self) -> None:
        self.flush()

    def finish(self) -> None:
        self.flush()
        # A TLS transport does not close while it has a producer.
        self._transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """The transport has more than it wants."""
        self.full = True

    def resumeProducing(self) -> None:
        """The transport has sent what it had."""
        self.full = False
        self._drained()

    def stopProducing(self) -> None:
        """The connection is lost; the protocol hears of it from the transport."""
        self._said.clear()
