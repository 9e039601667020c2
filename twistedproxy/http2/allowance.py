"""How much a peer may ask for that costs it nothing (RFC 9113 section 10.5).

Most frames are cheap to send and make the other side do something: a PING wants an answer, a SETTINGS an
acknowledgement, a RST_STREAM ends work that has begun (CVE-2023-44487). A peer that moves content needs a few of them;
one that sends little else is told to calm down. So each of them is paid for from an account that fills with time and
with the content that is moved.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twistedproxy.http2.frames import DATA, HEADERS, RST_STREAM

MOST: Final = 2000.0
"""What the account holds at most, and at the beginning: a browser that leaves a page resets a hundred streams."""

PER_SECOND: Final = 100.0
"""What time adds."""

FOR_CONTENT: Final = 4.0
"""What a DATA frame with content adds, in either direction: a peer updates two windows for it."""

RESET: Final = 10.0
"""What a stream costs that the peer resets, or makes us reset."""

_CHEAP: Final = 1.0


class Allowance:
    """One peer's account. ``seconds`` tells the time."""

    __slots__ = ("_left", "_seconds", "_since")

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._since = seconds()
        self._left = MOST

    def __repr__(self) -> str:
        return f"<Allowance left={self._left:g}>"

    def add_for_content(self) -> None:
        """A frame with content went one way or the other."""
        if self._left < MOST:
            self._left += FOR_CONTENT

    def spend(self, amount: float) -> bool:
        """Take ``amount`` from the account; whether it was there."""
        left = self._left - amount
        if left < 0:
            now = self._seconds()
            left = min(MOST, left + (now - self._since) * PER_SECOND)
            self._since = now
        self._left = left
        return left >= 0

    def take_frame(self, kind: int, content_size: int) -> bool:
        """Account for a frame of ``kind`` that came; whether the peer could afford it."""
        if kind == HEADERS:
            return True
        if kind == DATA and content_size:
            self.add_for_content()
            return True
        return self.spend(RESET if kind == RST_STREAM else _CHEAP)
