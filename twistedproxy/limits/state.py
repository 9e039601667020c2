"""What is told of one who is limited."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from twistedproxy.access.limits.ledger import Share


class ShareState(msgspec.Struct):
    """What ``key`` has taken up of the limit ``limit``.

    ``key`` is a client's address or network, ``user NAME``, ``group NAME``, ``rule NAME``, ``all``, or ``others`` for
    all for whom there was no room. ``requests``, ``download`` and ``upload`` say how much of what may come at once is
    gone: 1 is the limit, and more a debt. ``waiting`` counts requests that wait for something to end. ``today`` and
    ``in_month`` are bytes, both ways.
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

    @classmethod
    def of(cls, share: Share, now: float) -> ShareState:
        """The state of ``share``, with what this worker has under way itself."""
        limit, used = share.limit, share.used
        return cls(
            limit=limit.name,
            key=share.key,
            requests=share.requests.used(limit.requests, now) if limit.requests else 0.0,
            download=share.download.used(limit.download, now) if limit.download else 0.0,
            upload=share.upload.used(limit.upload, now) if limit.upload else 0.0,
            connections=len(share.connections),
            tunnels=share.tunnels,
            waiting=len(share.waiting),
            today=used.today,
            in_month=used.in_month,
        )


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
            for name in ("requests", "download", "upload", "today", "in_month"):
                setattr(one, name, max(getattr(one, name), getattr(part, name)))
    return list(whole.values())
