"""What every relay is: two connections, the bytes between them, and one end.

A relay passes bytes both ways and looks at none of them: for CONNECT (RFC 9110 section 9.3.6), and after an
upgrade (section 7.8). It owns both connections from the moment it is made. There are two kinds, which
behave the same: in `twistedproxy.tunnel.splice` the kernel moves the bytes, in
`twistedproxy.tunnel.copying` the proxy does.

What ends a relay. When one side has sent all that it will (its FIN), the other side is told so after the
last of those bytes, and the other direction goes on. When both have, the relay is over, and there is no
reason to give. Everything else that ends it has a reason: a side that breaks off, silence, the proxy. A
connection on which bytes were cut is reset, so that nobody takes a part for the whole; every other one is
closed in order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Protocol

from twisted.logger import Logger

from twistedproxy.deadlines import Deadlines

CLIENT: Final = "client"
UPSTREAM: Final = "upstream"
PROXY: Final = "proxy"

CLIENT_LEFT: Final = "client_left"
"""The client's connection was reset, or failed."""

UPSTREAM_RESET: Final = "upstream_reset"
"""The upstream's connection was reset, or failed."""

TUNNEL_IDLE: Final = "tunnel_idle"
"""No byte went either way for as long as the settings allow."""

STOPPED: Final = "stopped"
"""The proxy stops."""

INTERNAL_ERROR: Final = "internal_error"
"""The proxy is at fault; its log says how."""

BROKEN_OFF: Final = {CLIENT: CLIENT_LEFT, UPSTREAM: UPSTREAM_RESET}
"""The reason when a side breaks off, by the side."""


class Meter(Protocol):
    """What a limit knows of one direction."""

    go_on: Callable[[], object]
    """Called when more may come, after `passed` has said that none may."""

    resting: bool
    """Whether none may come for now."""

    @property
    def piece(self) -> int:
        """The most that should be moved at once, in bytes."""

    def passed(self, size: int) -> bool:
        """``size`` bytes have been moved; whether more may be."""


Meters = tuple[Meter | None, Meter | None]
"""What measures the bytes from the client, and those to it; None for nothing."""


class Relay(ABC):
    """Bytes between a client and an upstream.

    ``idle_timeout`` is in seconds. ``ended`` is called once, with the relay, when it is over; that can
    happen within `start` and `stop`.
    """

    __slots__ = ("_deadlines", "_ended", "_idle_timeout", "deadline", "deadline_bucket", "ended_by", "reason")

    _log = Logger()

    def __init__(self, idle_timeout: float, ended: Callable[[Relay], None], deadlines: Deadlines) -> None:
        self.deadline = 0.0
        self.deadline_bucket = 0
        self.reason = ""
        """Why it ended. Empty while it runs, and after a clean end."""
        self.ended_by = ""
        """`CLIENT`, `UPSTREAM` or `PROXY`, and empty while it runs. After a clean end, the side that was first."""
        self._idle_timeout = idle_timeout
        self._ended: Callable[[Relay], None] | None = ended
        self._deadlines = deadlines

    def __repr__(self) -> str:
        if not self.ended_by:
            state = self._state()
        elif self.reason:
            state = f"ended by={self.ended_by} reason={self.reason}"
        else:
            state = f"ended by={self.ended_by}"
        moved = f"to_upstream={self.bytes_to_upstream} to_client={self.bytes_to_client}"
        return f"<{type(self).__name__} {moved} {state}>"

    @property
    @abstractmethod
    def bytes_to_upstream(self) -> int:
        """How many bytes the upstream's connection has taken."""

    @property
    @abstractmethod
    def bytes_to_client(self) -> int:
        """How many bytes the client's connection has taken."""

    @abstractmethod
    def start(self) -> None:
        """Deliver what was read before, then relay."""

    @abstractmethod
    def stop(self, reason: str) -> None:
        """End it for ``reason``, without waiting for anyone. One that is over stays as it is."""

    @abstractmethod
    def deadline_passed(self) -> None:
        """No byte went either way for the idle timeout."""

    @abstractmethod
    def _state(self) -> str:
        """Both directions of a running relay, for people."""

    def _tell_ended(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            try:
                ended(self)
            except Exception:
                self._log.failure("the end of a tunnel could not be noted: {relay!r}", relay=self)
