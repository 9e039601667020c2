"""The relay in which no byte of the tunnel is ever a Python object.

Theory of operation. The kernel moves the bytes: socket to pipe, pipe to socket. Each direction is in one of
three states. *Flowing*: the reactor watches the source for reading. *Blocked*: the destination took less
than there was; the rest is held, nothing more is read, and the reactor watches the destination for writing.
*Finished*: the source's FIN was passed on. Bytes are read only while none are held, so a direction holds
one pipe's worth at most, and by the time that a FIN is read everything before it is delivered.

A pipe is lent for one turn, and stays only while the direction is blocked: an idle tunnel is two sockets. A
turn fills the pipe once, so that a busy tunnel does not starve the others, and never asks whether there is
more: the reactor tells it for less. Where there is no pipe, or the kernel does not splice, a turn copies a
bounded chunk.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from errno import EAGAIN, EINVAL, ENOBUFS
from typing import Final

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ILoggingContext, IReactorFDSet, IReadWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedproxy.deadlines import Deadlines
from twistedproxy.tunnel.pipes import Pipe, PipePool
from twistedproxy.tunnel.relay import (
    BROKEN_OFF,
    CLIENT,
    INTERNAL_ERROR,
    PROXY,
    STOPPED,
    TUNNEL_IDLE,
    UPSTREAM,
    Meter,
    Meters,
    Relay,
)

SPLICE_AVAILABLE: Final = hasattr(os, "splice")
"""Whether this platform has what `SpliceRelay` needs."""

SPLICE_LENGTH = 1 << 20
"""The most that one turn splices, in bytes. The pipe's size limits it too."""

COPY_LENGTH = 1 << 16
"""The most that one turn copies, in bytes."""

_FLAGS = 3  # SPLICE_F_MOVE and SPLICE_F_NONBLOCK, which `os` names on Linux only.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class SpliceRelay(Relay):
    """Relays between two connected, non-blocking stream sockets, which it closes at its end.

    Nobody else may close them or watch them, from the moment it is made. ``to_upstream`` and ``to_client``
    are bytes that were read before; they are delivered first. It needs `SPLICE_AVAILABLE`.
    """

    __slots__ = ("_client", "_pipes", "_reactor", "_upstream")

    def __init__(
        self,
        client: socket.socket,
        upstream: socket.socket,
        *,
        to_upstream: bytes,
        to_client: bytes,
        idle_timeout: float,
        ended: Callable[[Relay], None],
        deadlines: Deadlines,
        pipes: PipePool,
        reactor: IReactorFDSet,
        meters: Meters = (None, None),
    ) -> None:
        super().__init__(idle_timeout, ended, deadlines)
        self._pipes = pipes
        self._reactor = reactor
        self._client = _Side(client, self, to_upstream, meters[0])
        self._upstream = _Side(upstream, self, to_client, meters[1])
        self._client.other = self._upstream
        self._upstream.other = self._client

    @property
    def bytes_to_upstream(self) -> int:
        return self._client.moved

    @property
    def bytes_to_client(self) -> int:
        return self._upstream.moved

    def start(self) -> None:
        self._deadlines.expire_in(self, self._idle_timeout)
        self._client.start()
        if not self.ended_by:
            self._upstream.start()

    def stop(self, reason: str) -> None:
        if not self.ended_by:
            self._end(reason, PROXY, reset=self._client.holds or self._upstream.holds)

    def deadline_passed(self) -> None:
        if self._client.rests or self._upstream.rests:
            # Nobody is idle who may not go on.
            self._deadlines.expire_in(self, self._idle_timeout)
        else:
            self.stop(TUNNEL_IDLE)

    def _both_finished(self, last: _Side) -> None:
        self._end("", UPSTREAM if last is self._client else CLIENT, reset=False)

    def _broken_off(self, side: _Side) -> None:
        side.pass_on_last_words()
        name = CLIENT if side is self._client else UPSTREAM
        self._end(BROKEN_OFF[name], name, reset=True)

    def _end(self, reason: str, ended_by: str, reset: bool) -> None:
        self.reason = reason
        self.ended_by = ended_by
        self._deadlines.forget(self)
        self._client.close(reset)
        self._upstream.close(reset)
        self._tell_ended()

    def _state(self) -> str:
        return f"client={self._client.direction} upstream={self._upstream.direction}"


@implementer(IReadWriteDescriptor, ILoggingContext)
class _Side:
    """One of the two sockets, and the direction that starts at it."""

    __slots__ = (
        "fd",
        "finished",
        "held",
        "meter",
        "moved",
        "other",
        "pending",
        "pipe",
        "reading",
        "relay",
        "socket",
        "writing",
    )

    other: _Side

    def __init__(self, sock: socket.socket, relay: SpliceRelay, pending: bytes, meter: Meter | None) -> None:
        self.socket = sock
        self.fd = sock.fileno()
        self.relay = relay
        self.reading = False
        self.writing = False
        self.finished = False
        # What the other side has not taken is either ``pending`` or ``held`` bytes in ``pipe``.
        self.pending: bytes | memoryview = pending
        self.pipe: Pipe | None = None
        self.held = 0
        self.moved = 0
        self.meter = meter
        if meter is not None:
            meter.go_on = self._go_on

    @property
    def rests(self) -> bool:
        """Whether a limit lets nothing come from here for now."""
        return self.meter is not None and self.meter.resting

    @property
    def holds(self) -> bool:
        """Whether bytes of this side's wait here for the other."""
        return bool(self.pending) or self.pipe is not None

    @property
    def direction(self) -> str:
        """The state of the direction that starts here, for people."""
        return (
            "finished" if self.finished else "blocked" if self.other.writing else "resting" if self.rests else "flowing"
        )

    def fileno(self) -> int:
        return self.fd

    def logPrefix(self) -> str:
        return "tunnel"

    def start(self) -> None:
        """Send the early bytes and begin to read."""
        if self.pending:
            self._pass_on()
        else:
            self._flow()

    def doRead(self) -> None:
        """This side has sent bytes, or their end."""
        if self.reading:
            self._move()

    def doWrite(self) -> None:
        """This side takes bytes again."""
        # The reactor calls this after `doRead`, even if that was the end.
        if self.writing:
            self.other._pass_on()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gives this side up: the socket is broken, a method of ours failed, or the reactor stops."""
        if self.fd < 0:
            return  # It stops, and told the other side before.
        relay = self.relay
        if self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            relay._broken_off(self)
        elif isinstance(reason.value, ConnectionDone | ConnectionLost):
            relay.stop(STOPPED)
        else:
            relay._end(INTERNAL_ERROR, PROXY, reset=True)

    def pass_on_last_words(self) -> None:
        """Give the other side what this one sent before it broke off, as far as it takes it at once."""
        if self.finished or self.holds:
            return
        try:
            while data := self.socket.recv(COPY_LENGTH):
                given = self.other.socket.send(data)
                self.moved += given
                if given < len(data):
                    return
        except OSError:
            pass

    def close(self, reset: bool) -> None:
        """Leave the reactor and close the socket, with a reset or in order."""
        reactor = self.relay._reactor
        if self.reading:
            self.reading = False
            reactor.removeReader(self)
        if self.writing:
            self.writing = False
            reactor.removeWriter(self)
        if self.pipe is not None:
            self.relay._pipes.discard(self.pipe)
            self.pipe = None
        self.pending = b""
        if self.meter is not None:
            self.meter.go_on = _nothing
        if reset:
            try:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            except OSError:
                pass
        self.socket.close()
        self.fd = -1
        # The relay stays, with what this side has moved. Without these two no garbage collector is needed.
        del self.relay, self.other

    def _move(self) -> None:
        """Read once, with nothing held, and pass on what came."""
        pipes = self.relay._pipes
        length = SPLICE_LENGTH if self.meter is None else min(SPLICE_LENGTH, self.meter.piece)
        try:
            pipe = pipes.take()
        except OSError:
            self._copy()
            return
        try:
            taken = os.splice(self.fd, pipe.input, length, flags=_FLAGS)
        except OSError as error:
            pipes.give_back(pipe)
            if error.errno in (EAGAIN, EINVAL):
                # Nothing there; or no splicing here; or an urgent byte, which stops every splice but no recv.
                self._copy()
            else:
                self.relay._broken_off(self)
            return
        if taken:
            self.pipe = pipe
            self.held = taken
            self._pass_on()
        else:
            pipes.give_back(pipe)
            self._finish()

    def _copy(self) -> None:
        """Do what `_move` does, where a splice cannot."""
        try:
            data = self.socket.recv(COPY_LENGTH if self.meter is None else min(COPY_LENGTH, self.meter.piece))
        except BlockingIOError:
            return
        except OSError:
            self.relay._broken_off(self)
        else:
            if data:
                self.pending = data
                self._pass_on()
            else:
                self._finish()

    def _pass_on(self) -> None:
        """Give the other side what is held, and go on with whatever there is to wait for then."""
        relay = self.relay
        if self._flush():
            self._flow()
        elif not relay.ended_by:
            self._block()

    def _flush(self) -> bool:
        """Whether the other side took everything that is held, and the relay still runs."""
        relay = self.relay
        before = self.moved
        try:
            if self.pending:
                given = self.other.socket.send(self.pending)
                self.moved += given
                self.pending = memoryview(self.pending)[given:] if given < len(self.pending) else b""
            elif self.pipe is not None:
                given = os.splice(self.pipe.output, self.other.fd, self.held, flags=_FLAGS)
                self.moved += given
                self.held -= given
                if not self.held:
                    relay._pipes.give_back(self.pipe)
                    self.pipe = None
        except OSError as error:
            if error.errno == EINVAL and self.pipe is not None:
                self._take_out_of_pipe(self.pipe)
            elif error.errno not in (EAGAIN, ENOBUFS):
                relay._broken_off(self.other)
                return False
        if self.moved != before:
            relay._deadlines.expire_in(relay, relay._idle_timeout)
            if self.meter is not None:
                self.meter.passed(self.moved - before)
        return not self.holds

    def _take_out_of_pipe(self, pipe: Pipe) -> None:
        """Make what is in ``pipe`` wait as bytes: the kernel splices from this side, but not to the other."""
        self.pending = os.read(pipe.output, self.held)
        self.held = 0
        self.pipe = None
        self.relay._pipes.give_back(pipe)

    def _flow(self) -> None:
        """Wait for this side to send, or for the limits to let it."""
        if self.reading and not self.rests:
            return
        reactor = self.relay._reactor
        if self.other.writing:
            self.other.writing = False
            reactor.removeWriter(self.other)
        if not self.rests:
            self.reading = True
            reactor.addReader(self)
        elif self.reading:
            self.reading = False
            reactor.removeReader(self)

    def _go_on(self) -> None:
        """The limits let more come."""
        if not (self.finished or self.holds):
            self._flow()

    def _block(self) -> None:
        """Wait for the other side to take what is held."""
        if not self.other.writing:
            reactor = self.relay._reactor
            if self.reading:
                self.reading = False
                reactor.removeReader(self)
            self.other.writing = True
            reactor.addWriter(self.other)

    def _finish(self) -> None:
        """This side's FIN was read, and everything before it is delivered: pass it on."""
        relay = self.relay
        other = self.other
        self.finished = True
        if other.finished:
            relay._both_finished(last=self)
            return
        if self.reading:
            self.reading = False
            relay._reactor.removeReader(self)
        try:
            other.socket.shutdown(socket.SHUT_WR)
        except OSError:
            relay._broken_off(other)


def _nothing() -> None:
    """It is over, and nothing goes on."""
