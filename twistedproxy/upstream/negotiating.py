"""A parent asked for the way to a server, on the bare socket of a connection to it.

Theory of operation. What has to be said is known by a `Negotiation`; here its bytes go out and come in. Whatever comes
after the parent's last word is the server's, and stays in the socket for whoever gets that: so bytes are looked at
before they are taken. Until then the socket is the reactor's business only to be watched, as while it was connecting.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from math import inf
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReadWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedproxy.deadlines import Deadlines
from twistedproxy.errors import ParentBroken, ParentTimeout, ProxyError

_AT_ONCE: Final = 4096
"""Bytes that are looked at in one piece."""


class Negotiation(Protocol):
    """What is said to a parent, without I/O. After it the connection is one to the server."""

    @property
    def done(self) -> bool:
        """Whether the way is open."""

    def begin(self) -> bytes:
        """What is said first."""

    def take(self, data: bytes) -> tuple[int, bytes]:
        """Read of ``data``, what came next: how many of its bytes were the parent's words, and what to say then.

        Bytes that it leaves are the server's. Raises `ProxyError` when there will be no way.
        """


@implementer(IReadWriteDescriptor)
class Negotiating:
    """One such conversation. ``result`` fires with None at its good end, and fails with a `ProxyError`.

    ``timeout`` is in seconds. The socket is the caller's all the time; cancelling ``result`` ends the watching.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorFDSet,
        deadlines: Deadlines,
        sock: socket.socket,
        negotiation: Negotiation,
        timeout: float,
    ) -> None:
        self.deadline = inf
        self.deadline_bucket = 0
        self.result: Deferred[None] = Deferred(lambda _: self._stop())
        self._reactor = reactor
        self._deadlines = deadlines
        self._socket = sock
        self._fileno = sock.fileno()
        self._negotiation = negotiation
        self._timeout = timeout
        self._unsent = b""
        self._over = False

    def __repr__(self) -> str:
        return f"<Negotiating {self._negotiation!r} fd={self._fileno}>"

    def start(self) -> Deferred[None]:
        """Say the first word; ``result``."""
        self._deadlines.expire_in(self, self._timeout)
        self._reactor.addReader(self)
        self._guard(lambda: self._say(self._negotiation.begin()))
        return self.result

    def logPrefix(self) -> str:
        """What Twisted's log calls it."""
        return "negotiating"

    def fileno(self) -> int:
        """The descriptor's number; the same for good, also when the socket has gone to its new owner."""
        return self._fileno

    def doRead(self) -> None:
        """Something came, or the parent has closed the connection."""
        self._guard(self._hear)

    def doWrite(self) -> None:
        """There is room again."""
        self._guard(lambda: self._say(b""))

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has seen an error, and watches no longer."""
        self._fail(ParentBroken("it broke off before it had answered"))

    def deadline_passed(self) -> None:
        """It has taken too long."""
        self._fail(ParentTimeout(f"no answer in {self._timeout:g} s"))

    def _hear(self) -> None:
        data = self._socket.recv(_AT_ONCE, socket.MSG_PEEK)
        if not data:
            raise ParentBroken("it closed the connection without an answer")
        size, words = self._negotiation.take(data)
        self._socket.recv(size)
        if self._negotiation.done:
            self._stop()
            self.result.callback(None)
        elif words:
            self._say(words)

    def _say(self, words: bytes) -> None:
        unsent = self._unsent + words
        try:
            unsent = unsent[self._socket.send(unsent) :]
        except BlockingIOError:
            pass
        self._unsent = unsent
        if unsent:
            self._reactor.addWriter(self)
        else:
            self._reactor.removeWriter(self)

    def _guard(self, act: Callable[[], None]) -> None:
        if self._over:
            return
        try:
            act()
        except BlockingIOError:
            # The event was meant for an earlier socket of this number.
            pass
        except OSError as error:
            self._fail(ParentBroken(f"it broke off before it had answered: {error.strerror or error}"))
        except ProxyError as error:
            self._fail(error)
        except Exception:
            self._log.failure("{negotiating!r} met a fault of the proxy's own", negotiating=self)
            self._fail(ProxyError())

    def _fail(self, error: ProxyError) -> None:
        if not self._over:
            self._stop()
            self.result.errback(error)

    def _stop(self) -> None:
        self._over = True
        self._deadlines.forget(self)
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
