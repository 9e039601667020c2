"""How much a peer may ask for that costs it nothing (RFC 9113 section 10.5).

Most frames are cheap to send and make the other side do something: a PING wants an answer, a SETTINGS an
acknowledgement, a RST_STREAM ends work that has begun (CVE-2023-44487). A peer that gets something done needs a few of
them; one that sends little else is told to calm down. So each of them is paid for from an account that fills with time,
with the content that the peer takes, and with the streams that come to their end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twistedproxy.http2.frames import DATA, END_STREAM, HEADERS, RST_STREAM, Frame

MOST: Final = 2000.0
"""What the account holds at most, and at the beginning: a browser that leaves a page resets a hundred streams."""

PER_SECOND: Final = 100.0
"""What time adds."""

FOR_WORK: Final = 4.0
"""What a frame of content adds that we send, since the peer updates two windows for it; and a stream that is complete.

What the peer sends adds nothing: a byte now and then would pay for everything else.
"""

CHEAP: Final = 1.0
"""What most frames cost."""

RESET: Final = 10.0
"""What a stream costs that the peer has opened and resets, or makes us reset."""


def price_of(frame: Frame, size: int, opens: bool, known: bool, client: bool) -> float:
    """What a frame costs its sender, with ``size`` bytes of content.

    ``opens`` says that a stream of its number would be a new one, ``known`` that there is one that is not over, and
    ``client`` that we are: then it is we who have opened the streams that the peer resets.
    """
    kind = frame.kind
    if kind == DATA:
        return 0 if size or (known and frame.flags & END_STREAM) else CHEAP
    if kind == HEADERS:
        return 0 if opens else CHEAP
    return RESET if kind == RST_STREAM and known and not client else CHEAP


class Allowance:
    """One peer's account. ``seconds`` tells the time."""

    __slots__ = ("_left", "_seconds", "_since")

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._since = seconds()
        self._left = MOST

    def __repr__(self) -> str:
        return f"<Allowance left={self._left:g}>"

    def add_for_work(self) -> None:
        """Something has been got done."""
        if self._left < MOST:
            self._left += FOR_WORK

    def spend(self, amount: float) -> bool:
        """Take ``amount`` from the account; whether it was there."""
        left = self._left - amount
        if left < 0:
            # The clock is asked only here: what time has added since is found when it is needed.
            now = self._seconds()
            left = min(MOST, self._left + (now - self._since) * PER_SECOND) - amount
            self._since = now
        self._left = left
        return left >= 0
