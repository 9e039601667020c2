"""What the workers tell each other of what they share: how much of each is taken up.

A limit on one client or one origin cannot be shared out in advance. So each worker tells, once a second, for which
of them it has many connections, and learns what the others have. What comes within that second can go over a limit
by as much; with one worker nothing can.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

import msgspec

from twistedproxy.access.limits.spending import Tidings

MOST_TOLD: Final = 500
"""How many clients, and how many origins, a worker tells of: those with the most connections."""

Origin = tuple[str, str, int, str]
K = TypeVar("K")


class Usage(msgspec.Struct):
    """How many connections each client has open, and how many to each origin and in all are in use.

    ``limits`` is what there is to tell of those in the settings.
    """

    clients: dict[str, int] = {}
    origins: dict[Origin, int] = {}
    upstream: int = 0
    limits: Tidings = msgspec.field(default_factory=Tidings)


def told(
    clients: Mapping[str, int], client_limit: int, origins: Mapping[Origin, int], origin_limit: int, upstream: int
) -> Usage:
    """What is worth telling: whoever has little of its limit is left out."""
    return Usage(_most(clients, client_limit), _most(origins, origin_limit), upstream)


def _most(counts: Mapping[K, int], limit: int) -> dict[K, int]:
    least = max(1, limit // 64)
    many = [(count, key) for key, count in counts.items() if count >= least]
    if len(many) > MOST_TOLD:
        many.sort(key=lambda pair: pair[0], reverse=True)
        del many[MOST_TOLD:]
    return {key: count for count, key in many}


def together(parts: Iterable[Usage]) -> Usage:
    """The usage of several workers together."""
    whole = Usage({}, {}, 0)
    for part in parts:
        for client, count in part.clients.items():
            whole.clients[client] = whole.clients.get(client, 0) + count
        for origin, count in part.origins.items():
            whole.origins[origin] = whole.origins.get(origin, 0) + count
        whole.upstream += part.upstream
    return whole
