"""What is told of a client connection that is open."""

from __future__ import annotations

from typing import Literal

import msgspec

ConnectionState = Literal["idle", "request", "tunnel", "closing"]


class Connection(msgspec.Struct):
    """One client connection. ``id`` is worker and number, such as ``0-17``; ``age`` is in seconds, sizes in bytes.

    ``state`` is ``idle`` between requests, ``request`` while one is under way, ``tunnel``, or ``closing``. Over HTTP/2
    there can be several ``exchanges`` under way; method, target and upstream are those of the oldest.
    """

    id: str
    client: str
    state: ConnectionState
    age: float
    requests: int
    method: str
    target: str
    upstream: str
    bytes_from_client: int
    bytes_to_client: int
    exchanges: int = 0
