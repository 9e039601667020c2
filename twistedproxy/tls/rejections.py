"""Which clients refused our certificates, and for which hosts: what they pin is better left alone.

A client that does not trust our authority refuses every host; one that pins a host's own certificate refuses that one.
Either way its next tunnel there is more use to it closed than opened. What was learned is forgotten after a while, and
when the client takes a certificate of ours for that host after all.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address
from typing import Final, NamedTuple

MOST: Final = 10_000
"""How many pairs of client and host are remembered; those that were refused longest ago are forgotten first."""


class Rejection(NamedTuple):
    """A client's network and a host, how often it refused, one time after the other, and until when that counts."""

    client: str
    host: str
    times: int
    expires: float


class Rejections:
    """Counts refusals. ``after`` of them teach, 0 never do; each counts for ``seconds_kept``."""

    def __init__(self, seconds: Callable[[], float], after: int, seconds_kept: float) -> None:
        self.after = after
        self.seconds_kept = seconds_kept
        self._seconds = seconds
        self._known: OrderedDict[tuple[str, str], Rejection] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Rejections {len(self._known)}>"

    def rejected(self, client: str, host: str) -> bool:
        """The client at an address refused our certificate for ``host``; whether that was one time too many."""
        key = (network_of(client), host)
        known = self._current(key)
        count = known.times + 1 if known else 1
        self._known[key] = Rejection(*key, count, self._seconds() + self.seconds_kept)
        self._known.move_to_end(key)
        while len(self._known) > MOST:
            self._known.popitem(last=False)
        return bool(self.after) and count == self.after

    def accepted(self, client: str, host: str) -> None:
        """The client took it."""
        if self._known:
            self._known.pop((network_of(client), host), None)

    def learned(self, client: str, host: str) -> bool:
        """Whether the client's tunnels to ``host`` are better left alone."""
        if not self._known or not self.after:
            return False
        known = self._current((network_of(client), host))
        return known is not None and known.times >= self.after

    def _current(self, key: tuple[str, str]) -> Rejection | None:
        known = self._known.get(key)
        if known is not None and known.expires <= self._seconds():
            del self._known[key]
            return None
        return known

    def all(self) -> list[Rejection]:
        """Everything that counts still, the newest last."""
        return [known for key in list(self._known) if (known := self._current(key)) is not None]

    def clear(self, host: str = "") -> int:
        """Forget what was learned of ``host``, or everything; how much that was."""
        gone = [key for key in self._known if not host or key[1] == host]
        for key in gone:
            del self._known[key]
        return len(gone)


def network_of(client: str) -> str:
    """The network that a client's address stands for: IPv6 clients change theirs within a /64 all the time."""
    if ":" not in client:
        return client
    try:
        address = int(IPv6Address(client))
    except ValueError:
        return client
    return f"{IPv6Address(address >> 64 << 64)}/64"
