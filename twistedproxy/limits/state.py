"""What is told of one who is limited."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nsmallest
from typing import Final

import msgspec

from twistedproxy.access.limits.ledger import Share

MOST_STATES: Final = 10_000
"""How many are told of at most."""


class ShareState(msgspec.Struct):
    """What ``key`` has taken up of the limit ``limit``.

    ``key`` is a client's address or network, ``user NAME``, ``group NAME``, ``rule NAME``, ``all``, or ``others`` for
    all for whom there was no room. ``requests``, ``download`` and ``upload`` say how much of what may come at once is
    gone: 1 is the limit, and more a debt. ``waiting`` counts requests that wait for something to end. ``today`` and
    ``in_month`` are bytes, both ways. ``taken`` is the part that is taken up of whatever is nearest to its limit.
    """

    limit: str
    key: str
    requests: float = 0.0
    download: float = 0.0
    upload: float = 0.0
    connections: int = 0
    tunnels: int = 0
    waiting: int = 0
    today: int = 0
    in_month: int = 0
    taken: float = 0.0

    @classmethod
    def of(cls, share: Share, now: float) -> ShareState:
        """The state of ``share``, with what this worker has under way itself."""
        limit, used = share.limit, share.used
        requests = share.requests.used(limit.requests, now) if limit.requests else 0.0
        download = share.download.used(limit.download, now) if limit.download else 0.0
        upload = share.upload.used(limit.upload, now) if limit.upload else 0.0
        parts = (
            (share.connection_count, limit.connections),
            (share.tunnel_count, limit.tunnels),
            (used.today, limit.daily),
            (used.in_month, limit.monthly),
        )
        return cls(
            limit=limit.name,
            key=share.key,
            requests=requests,
            download=download,
            upload=upload,
            taken=max(requests, download, upload, *(count / most for count, most in parts if most)),
            connections=len(share.connections),
            tunnels=share.tunnels,
            waiting=len(share.waiting),
            today=used.today,
            in_month=used.in_month,
        )


def nearest(states: Iterable[ShareState], most: int) -> list[ShareState]:
    """The ``most`` that are nearest to their limits, those that are nearest first."""
    return nsmallest(most, states, key=lambda one: (-one.taken, one.limit, one.key))


def joined(parts: Iterable[ShareState]) -> list[ShareState]:
    """The states that several workers tell of, each key once.

    What is under way is added up; of the rest all know nearly the same, and the most counts.
    """
    whole: dict[tuple[str, str], ShareState] = {}
    for part in parts:
        one = whole.setdefault((part.limit, part.key), part)
        if one is not part:
            for name in ("connections", "tunnels", "waiting"):
                setattr(one, name, getattr(one, name) + getattr(part, name))
            for name in ("requests", "download", "upload", "today", "in_month", "taken"):
                setattr(one, name, max(getattr(one, name), getattr(part, name)))
    return list(whole.values())
