"""Where all workers of a daemon tell what has been taken up of limits, and hear what others have.

Theory of operation. About once a second each worker tells what has been spent since it last did, and is told what all
others have spent since it last was; so every byte and request is charged once everywhere, up to a second late. Whoever
begins is told first what quotas had been used of before. What is under way is told as a whole each time. What counts
against quotas is added up here, and kept by the `twistedproxy.limits.keeper`, from which other daemons' shares come in:
after an upgrade the one before may still move bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import NamedTuple

from twistedproxy.access.limits.calendar import Calendar
from twistedproxy.access.limits.ledger import OTHERS
from twistedproxy.access.limits.limits import Limits
from twistedproxy.access.limits.spending import Spending, Tidings, UnderWay, Used


class Spender(NamedTuple):
    """One who has used some of a quota: the limit, and the key, by their names."""

    limit: str
    key: str


class _Total:
    """The bytes that one has used, in the periods that these are of."""

    __slots__ = ("day", "in_month", "month", "today")

    def __init__(self) -> None:
        self.day = self.month = ""
        self.today = self.in_month = 0

    def used(self, calendar: Calendar) -> Used:
        if self.day != calendar.day:
            self.day, self.today = calendar.day, 0
        if self.month != calendar.month:
            self.month, self.in_month = calendar.month, 0
        return Used(self.today, self.in_month)

    def add(self, used: Used, calendar: Calendar) -> None:
        self.used(calendar)
        self.today += used.today
        self.in_month += used.in_month


class _Member:
    """What one worker has said, and what it has still to be told."""

    __slots__ = ("news", "under_way")

    def __init__(self) -> None:
        self.news = Tidings({}, {}, {})
        self.under_way: Mapping[str, Mapping[str, UnderWay]] = {}


class Clearing:
    """What is told between workers, and the sums of what they use. ``wall`` is the time of day."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self.calendar = Calendar("UTC")
        self.unwritten: dict[Spender, Used] = {}
        """The bytes that nobody has kept yet."""
        self.has_unwritten: Callable[[], object] = lambda: None
        """Called when there are some."""
        self._wall = wall
        self._limits: Limits | None = None
        self._totals: dict[str, dict[str, _Total]] = {}
        self._members: dict[Hashable, _Member] = {}

    def __repr__(self) -> str:
        return f"<Clearing members={len(self._members)} unwritten={len(self.unwritten)}>"

    def use(self, limits: Limits | None) -> list[str]:
        """Go by ``limits``. Those with a quota of which nothing is known yet, by their names."""
        before, self._limits = self._limits, limits
        totals, self._totals = self._totals, {}
        new: list[str] = []
        if limits is None:
            return new
        if limits.zone != self.calendar.zone:
            self.calendar = Calendar(limits.zone)
        self.calendar.turn(self._wall())
        for limit in limits.all.values():
            if not limit.has_quota:
                continue
            old = before.all.get(limit.name) if before is not None else None
            same_networks = before is not None and before.ipv6_prefix == limits.ipv6_prefix
            if old is not None and old.has_quota and old.per == limit.per and same_networks:
                self._totals[limit.name] = totals[limit.name]
            else:
                self._totals[limit.name] = {}
                new.append(limit.name)
        return new

    # ------------------------------------------------------------ workers

    def join(self, who: Hashable) -> None:
        """A worker begins: it is told of all that was used before."""
        self._members[who] = member = _Member()
        self.calendar.turn(self._wall())
        for limit, totals in self._totals.items():
            member.news.used[limit] = {key: total.used(self.calendar) for key, total in totals.items()}

    def leave(self, who: Hashable) -> None:
        """A worker has ended, and has nothing under way."""
        self._members.pop(who, None)

    def report(self, who: Hashable, tidings: Tidings) -> None:
        """``who`` tells ``tidings``."""
        member = self._members.get(who)
        if member is not None:
            member.under_way = tidings.under_way
        if not tidings.spent:
            return
        self.calendar.turn(self._wall())
        for limit, spent in tidings.spent.items():
            totals = self._totals.get(limit)
            for key, one in spent.items():
                for other, its in self._members.items():
                    if other != who:
                        its.news.spent.setdefault(limit, {}).setdefault(key, Spending()).add(
                            one.requests, one.download, one.upload
                        )
                if totals is not None and (size := one.download + one.upload):
                    spender, used = Spender(limit, self._key(limit, key)), Used(size, size)
                    self._add(spender, used)
                    self.unwritten[spender] = self.unwritten.get(spender, Used()).and_more(used)
        if self.unwritten:
            self.has_unwritten()

    def news(self, who: Hashable) -> Tidings:
        """What ``who`` has to be told, once. Whoever is new joins."""
        if who not in self._members:
            self.join(who)
        member = self._members[who]
        news, member.news = member.news, Tidings({}, {}, {})
        for other, its in self._members.items():
            if other != who:
                for limit, counts in its.under_way.items():
                    together = news.under_way.setdefault(limit, {})
                    for key, one in counts.items():
                        sum_of = together.setdefault(key, UnderWay())
                        sum_of.connections += one.connections
                        sum_of.tunnels += one.tunnels
        return news

    # ------------------------------------------------------------ quotas

    def _key(self, limit: str, key: str) -> str:
        """The key that stands for ``key``: several workers may each have some whom the others do not know."""
        assert self._limits is not None
        totals = self._totals[limit]
        return key if key in totals or len(totals) < self._limits.max_keys else OTHERS

    def _add(self, spender: Spender, used: Used) -> None:
        totals = self._totals[spender.limit]
        totals.setdefault(self._key(*spender), _Total()).add(used, self.calendar)

    def used(self, spender: Spender) -> Used:
        """What has been used today and this month, as far as that is known."""
        total = self._totals.get(spender.limit, {}).get(spender.key)
        return Used() if total is None else total.used(self.calendar)

    def all_used(self) -> Iterable[tuple[Spender, Used]]:
        """What everybody has used."""
        self.calendar.turn(self._wall())
        return [
            (Spender(limit, key), total.used(self.calendar))
            for limit, totals in self._totals.items()
            for key, total in totals.items()
        ]

    def learned(self, spender: Spender, used: Used) -> None:
        """Bytes that were ``used`` before, or by another daemon, and that all workers have to be told of."""
        limit, key = spender
        if limit not in self._totals:
            return
        self._add(spender, used)
        for member in self._members.values():
            of_limit = member.news.used.setdefault(limit, {})
            of_limit[key] = of_limit.get(key, Used()).and_more(used)

    def refill(self, limit: str, key: str) -> list[Spender]:
        """Forget what ``key`` has used of ``limit``, or all when it is empty; who that was."""
        totals = self._totals.get(limit, {})
        keys = [one for one in totals if one == key or not key]
        spenders = [Spender(limit, one) for one in keys]
        for one in keys:
            del totals[one]
        for spender in spenders:
            self.unwritten.pop(spender, None)
        for member in self._members.values():
            for told in (member.news.used.get(limit, {}), member.news.spent.get(limit, {})):
                for one in [one for one in told if one == key or not key]:
                    told.pop(one)
        return spenders
