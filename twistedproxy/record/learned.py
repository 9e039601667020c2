"""What is told of the clients that do not take the proxy's certificates."""

from __future__ import annotations

import msgspec


class Learned(msgspec.Struct):
    """What one worker knows of a client (for IPv6, its network) and a host, whose certificate of ours it has refused.

    ``times`` is how often in a row; with ``left_alone`` that is often enough, and its tunnels there are not opened.
    It counts for ``seconds`` more.
    """

    worker: int
    client: str
    host: str
    times: int
    left_alone: bool
    seconds: float
