"""Sessions that can be resumed, so that the next connection to an origin needs no whole handshake.

A session is of one origin, and of the settings under which its server was verified: who resumes it is not verified
again (RFC 8446 section 2.2). So all of them go when the settings do, and each when a certificate of its chain ends.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, NamedTuple

from OpenSSL import SSL

LONGEST: Final = 3600.0
"""Seconds that one is kept, however long the server would take it."""

_MOST_OF_ONE: Final = 4
"""Tickets of one origin. Each is good for one connection (RFC 8446 appendix C.4), and several may be made at once."""


class Kept(NamedTuple):
    """A session, the time up to which its server is verified, that up to which it is kept, and whether it is used up
    by one connection."""

    session: SSL.Session
    until: float
    expires: float
    once: bool


class Sessions:
    """Those of ``most`` origins; the one that was not asked for longest goes. ``seconds`` counts from 1970."""

    def __init__(self, most: int, seconds: Callable[[], float]) -> None:
        self._most = most
        self._seconds = seconds
        self._kept: OrderedDict[Hashable, list[Kept]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Sessions {len(self._kept)}>"

    def keep(self, origin: Hashable, session: SSL.Session, *, once: bool, until: float) -> None:
        """Keep a session of ``origin``, whose server is verified ``until`` then. ``once``: for one connection only."""
        expires = min(until, self._seconds() + LONGEST)
        if not self._most or expires <= self._seconds():
            return
        kept = self._kept.setdefault(origin, [])
        if not once:
            # It replaces what there was.
            kept.clear()
        kept.append(Kept(session, until, expires, once))
        del kept[:-_MOST_OF_ONE]
        self._kept.move_to_end(origin)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def take(self, origin: Hashable) -> Kept | None:
        """A session to resume, the newest; None when there is none."""
        kept = self._kept.get(origin)
        if kept is None:
            return None
        self._kept.move_to_end(origin)
        while kept:
            newest = kept[-1]
            stale = newest.expires <= self._seconds()
            if stale or newest.once:
                kept.pop()
            if not kept:
                del self._kept[origin]
            if not stale:
                return newest
        return None
