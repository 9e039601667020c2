"""The TLS handshake with an origin, before it is known which version of HTTP is spoken after it (RFC 7301)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedproxy.deadlines import Deadlines
from twistedproxy.errors import TLSFailed, TLSTimeout
from twistedproxy.tls.handshakes import handshake_error


@implementer(IHandshakeListener)
class Handshake(Protocol):
    """Waits for the handshake, for ``timeout`` seconds at most.

    ``done`` gets the protocol that was agreed on, or None, and lets somebody else have the transport; ``failed`` gets
    what went wrong. One of them is called, once.
    """

    def __init__(
        self,
        deadlines: Deadlines,
        timeout: float,
        done: Callable[[bytes | None], object],
        failed: Callable[[TLSFailed], object],
    ) -> None:
        self.deadline = 0.0
        self.deadline_bucket = 0
        self._deadlines = deadlines
        self._timeout = timeout
        self._done = done
        self._failed = failed
        self._over = False

    def __repr__(self) -> str:
        return f"<Handshake {'over' if self._over else 'under way'}>"

    @property
    def _transport(self) -> Any:
        return self.transport

    def connectionMade(self) -> None:
        self._deadlines.expire_in(self, self._timeout)

    def handshakeCompleted(self) -> None:
        if not self._over:
            self._end()
            self._done(self._transport.negotiatedProtocol)

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's default
        if not self._over:
            self._end()
            self._failed(handshake_error(reason, self._transport.getHandle()))

    def deadline_passed(self) -> None:
        self.give_up()
        self._failed(TLSTimeout(f"it took longer than {self._timeout:g} s"))

    def give_up(self) -> None:
        """Nobody wants the connection any more."""
        if not self._over:
            self._end()
            self._transport.abortConnection()

    def _end(self) -> None:
        self._over = True
        self._deadlines.forget(self)
