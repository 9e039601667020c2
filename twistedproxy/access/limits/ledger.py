"""What each who is limited has taken up of one limit.

Theory of operation. A `Ledger` has a `Share` for each key: a client, an account, a group, a rule. There are ``most``
of them at the most. A share from which nothing is missing says no more than none, and is forgotten when there is no
room for another; of the oldest, `LOOKS` are looked at. When nothing can be forgotten, all who are new share one
(`OTHERS`). Whoever comes from many addresses only makes that narrower for others like him: nobody's share begins anew
because of it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

from twistedproxy.access.limits.buckets import Bucket
from twistedproxy.access.limits.calendar import Calendar
from twistedproxy.access.limits.limits import Limit
from twistedproxy.access.limits.spending import Spending, UnderWay, Used

OTHERS: Final = "others"
"""The key of those for whom there is no room."""

LOOKS: Final = 8
"""How many shares are looked at to make room for one."""


class Share:
    """What one key has taken up."""

    __slots__ = (
        "_day",
        "_month",
        "_used_in_month",
        "_used_today",
        "connections",
        "download",
        "elsewhere",
        "key",
        "ledger",
        "requests",
        "spent",
        "tunnels",
        "upload",
        "waiting",
    )

    def __init__(self, ledger: Ledger, key: str) -> None:
        self.ledger = ledger
        self.key = key
        self.requests = Bucket()
        self.download = Bucket()
        self.upload = Bucket()
        self.connections: dict[int, int] = {}
        """How many exchanges are under way on each client connection, by its number."""
        self.tunnels = 0
        self.elsewhere: UnderWay | None = None
        """What other workers have of it under way."""
        self.waiting: deque[Any] = deque()
        """Who waits until one of them ends."""
        self.spent: Spending | None = None
        """What has been taken up since it was last told of."""
        self._day = self._month = ""
        self._used_today = self._used_in_month = 0

    def __repr__(self) -> str:
        return f"<Share {self.ledger.limit.name} {self.key} connections={len(self.connections)} tunnels={self.tunnels}>"

    @property
    def limit(self) -> Limit:
        """The limit that it is of, as it is at the moment."""
        return self.ledger.limit

    # ------------------------------------------------------------ counts

    @property
    def connection_count(self) -> int:
        """Client connections with an exchange under way, those of other workers included."""
        return len(self.connections) + (self.elsewhere.connections if self.elsewhere is not None else 0)

    @property
    def tunnel_count(self) -> int:
        """Tunnels, those of other workers included."""
        return self.tunnels + (self.elsewhere.tunnels if self.elsewhere is not None else 0)

    def takes(self, connection: int, tunnel: bool) -> str:
        """What there are too many of for one more exchange on ``connection``; empty when there is room."""
        limit = self.limit
        if limit.connections and connection not in self.connections and self.connection_count >= limit.connections:
            return "connections"
        if tunnel and limit.tunnels and self.tunnel_count >= limit.tunnels:
            return "tunnels"
        return ""

    def begin(self, connection: int, tunnel: bool) -> None:
        """Count an exchange."""
        self.connections[connection] = self.connections.get(connection, 0) + 1
        self.tunnels += tunnel

    def end(self, connection: int, tunnel: bool) -> None:
        """Count it no more."""
        left = self.connections[connection] - 1
        if left:
            self.connections[connection] = left
        else:
            del self.connections[connection]
        self.tunnels -= tunnel

    # ------------------------------------------------------------ quotas

    def _turn(self) -> None:
        calendar = self.ledger.calendar
        if self._day != calendar.day:
            self._day, self._used_today = calendar.day, 0
        if self._month != calendar.month:
            self._month, self._used_in_month = calendar.month, 0

    @property
    def used(self) -> Used:
        """The bytes of this day and of this month."""
        self._turn()
        return Used(self._used_today, self._used_in_month)

    def use(self, size: int) -> None:
        """Count ``size`` bytes."""
        self._turn()
        self._used_today += size
        self._used_in_month += size

    def was_used(self, used: Used) -> None:
        """Count what was ``used`` by others, or before."""
        self._turn()
        self._used_today += used.today
        self._used_in_month += used.in_month

    @property
    def used_up_until(self) -> float:
        """When the quota that is used up begins anew, in seconds since 1970; 0 while there is some left."""
        limit, calendar = self.limit, self.ledger.calendar
        self._turn()
        if limit.monthly and self._used_in_month >= limit.monthly:
            return calendar.month_ends
        return calendar.day_ends if limit.daily and self._used_today >= limit.daily else 0.0

    # ------------------------------------------------------------ together

    def spend(self, requests: int, download: int, upload: int) -> None:
        """Note what has been taken up, for others to be told of."""
        spent = self.spent
        if spent is None:
            spent = self.spent = Spending()
            self.ledger.unsaid[self.key] = self
        spent.add(requests, download, upload)

    def spent_elsewhere(self, spent: Spending, now: float) -> None:
        """Others have taken up ``spent``."""
        limit = self.limit
        if limit.requests is not None:
            self.requests.charge(spent.requests, limit.requests, now)
        if limit.download is not None:
            self.download.charge(spent.download, limit.download, now)
        if limit.upload is not None:
            self.upload.charge(spent.upload, limit.upload, now)
        if limit.has_quota:
            self.use(spent.download + spent.upload)

    def refill(self) -> None:
        """Begin anew, but for what is under way."""
        for bucket in (self.requests, self.download, self.upload):
            bucket.full_at = 0.0
        self.forget_used()

    def forget_used(self) -> None:
        """Let nothing be used of any quota."""
        self._used_today = self._used_in_month = 0

    def is_full(self, now: float) -> bool:
        """Whether nothing is missing from it."""
        if self.connections or self.waiting or self.elsewhere is not None or self.spent is not None:
            return False
        if self.requests.full_at > now or self.download.full_at > now or self.upload.full_at > now:
            return False
        self._turn()
        return not ((self._used_today and self.limit.daily) or (self._used_in_month and self.limit.monthly))


class Ledger:
    """The shares of ``limit``."""

    __slots__ = ("_elsewhere", "_others", "_shares", "calendar", "limit", "most", "unsaid")

    def __init__(self, limit: Limit, calendar: Calendar, most: int) -> None:
        self.limit = limit
        self.calendar = calendar
        self.most = most
        self.unsaid: dict[str, Share] = {}
        """The shares of which others have something to be told."""
        self._elsewhere: list[Share] = []
        self._shares: OrderedDict[str, Share] = OrderedDict()
        self._others: Share | None = None

    def __repr__(self) -> str:
        return f"<Ledger {self.limit.name} {len(self._shares)}/{self.most}>"

    def __len__(self) -> int:
        return len(self._shares) + (self._others is not None)

    def __iter__(self) -> Iterator[Share]:
        return iter([*self._shares.values(), *([self._others] if self._others is not None else [])])

    def share(self, key: str, now: float) -> Share:
        """The share of ``key``, or of `OTHERS` when there is no room for another."""
        share = self._shares.get(key)
        if share is not None:
            return share
        if key == OTHERS or (len(self._shares) >= self.most and not self._make_room(now)):
            if self._others is None:
                self._others = Share(self, OTHERS)
            return self._others
        share = self._shares[key] = Share(self, key)
        return share

    def known(self, key: str) -> Share | None:
        """The share of ``key``, where there is one."""
        return self._others if key == OTHERS else self._shares.get(key)

    def under_way_elsewhere(self, counts: Mapping[str, UnderWay], now: float) -> None:
        """Others have ``counts`` under way, by key, and nothing else."""
        elsewhere = [share for key in counts if (share := self.share(key, now)).key == key]
        for share in self._elsewhere:
            share.elsewhere = None
        for share in elsewhere:
            share.elsewhere = counts[share.key]
        self._elsewhere = elsewhere

    def _make_room(self, now: float) -> bool:
        shares = self._shares
        for _ in range(min(LOOKS, len(shares))):
            key, share = next(iter(shares.items()))
            if share.is_full(now):
                del shares[key]
                return True
            shares.move_to_end(key)
        return False
