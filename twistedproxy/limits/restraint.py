"""The limits of one worker at work: what is known of everybody who is limited, and what is told of it.

A reload keeps what is known under a limit of the same name, as long as the same are counted by it: other numbers hold
for all at once, the exchanges that are under way included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twistedproxy.access.limits.calendar import Calendar
from twistedproxy.access.limits.ledger import Ledger, Share
from twistedproxy.access.limits.limits import Limit, Limits
from twistedproxy.access.limits.spending import Spending, Tidings, UnderWay
from twistedproxy.deadlines import Deadlines
from twistedproxy.limits.hold import Hold, Restrained
from twistedproxy.limits.state import MOST_STATES, ShareState, nearest

TICK: Final = 0.025
"""Seconds by which a rest may be too long: a tenth of what may come at once."""


MEMO_SIZE: Final = 4096
"""Of how many clients it is remembered by which keys they are counted."""


class Restraint:
    """All that is limited. ``seconds`` is the steady time, ``wall`` the time of day, both in seconds."""

    def __init__(self, clock: Any, seconds: Callable[[], float], wall: Callable[[], float]) -> None:
        self.deadlines = Deadlines(clock, TICK, seconds)
        self.turn = self.deadlines.turn
        self.seconds = seconds
        self.wall = wall
        self.tells = False
        """Whether there is somebody to be told of everything."""
        self.max_wait = 0.0
        self.max_waiting = 0
        self.refusals: dict[str, int] = {}
        """How many exchanges each limit has refused, or cut."""
        self.slowings: dict[str, int] = {}
        """How many have waited for it, or rested."""
        self._limits: Limits | None = None
        self._ledgers: dict[str, Ledger] = {}
        self._calendar = Calendar("UTC")
        self._memo: dict[tuple[Any, ...], tuple[tuple[Ledger, str], ...]] = {}

    def __repr__(self) -> str:
        return f"<Restraint {' '.join(map(repr, self._ledgers.values()))}>"

    @property
    def has_quotas(self) -> bool:
        """Whether somebody has to keep what has been used."""
        return any(ledger.limit.has_quota for ledger in self._ledgers.values())

    def use(self, limits: Limits | None) -> None:
        """Go by ``limits`` from now on."""
        before, self._limits = self._limits, limits
        ledgers, self._ledgers = self._ledgers, {}
        self._memo.clear()
        if limits is None:
            return
        if limits.zone != self._calendar.zone:
            self._calendar = Calendar(limits.zone)
        self._calendar.turn(self.wall())
        self.max_wait, self.max_waiting = limits.max_wait, limits.max_waiting
        same_networks = before is not None and before.ipv6_prefix == limits.ipv6_prefix
        for limit in limits.all.values():
            ledger = ledgers.get(limit.name)
            if ledger is None or ledger.limit.per != limit.per or not same_networks:
                ledger = Ledger(limit, self._calendar, limits.max_keys)
            elif limit.has_quota and not ledger.limit.has_quota:
                # Whoever keeps what is used tells of it anew.
                for share in ledger:
                    share.forget_used()
            ledger.limit, ledger.calendar, ledger.most = limit, self._calendar, limits.max_keys
            self._ledgers[limit.name] = ledger

    def hold(self, exchange: Restrained, limits: Limits, tunnel: bool) -> Hold | None:
        """What limits an exchange by ``limits``, those of its snapshot; None when nothing does."""
        given = exchange.profile.limits
        if not limits.everybodys and not given:
            return None
        who = (limits, exchange.client_address, exchange.user, exchange.groups, given)
        keys = self._memo.get(who)
        if keys is None:
            if len(self._memo) >= MEMO_SIZE:
                self._memo.clear()
            keys = self._memo[who] = self._keys(exchange, limits)
        if not keys:
            return None
        now = self.seconds()
        shares = [ledger.share(key, now) for ledger, key in keys]
        if len(shares) > 1:
            # Two groups may be among those who share what is left.
            shares = list(dict.fromkeys(shares))
        return Hold(self, exchange, shares, tunnel)

    def _keys(self, exchange: Restrained, limits: Limits) -> tuple[tuple[Ledger, str], ...]:
        network = limits.network(exchange.client_address)
        user = exchange.user.decode("utf-8", "replace")
        return tuple(
            (ledger, key)
            for limit, rule in limits.holding(exchange.profile.limits)
            if (ledger := self._ledgers.get(limit.name)) is not None
            for key in limit.keys(network, user, exchange.groups, rule)
        )

    # ------------------------------------------------------------ what happens

    def refused(self, limit: Limit) -> None:
        """It has refused an exchange, or cut one."""
        self.refusals[limit.name] = self.refusals.get(limit.name, 0) + 1

    def slowed(self, limit: Limit) -> None:
        """It has made one wait, or rest."""
        self.slowings[limit.name] = self.slowings.get(limit.name, 0) + 1

    def is_over(self, share: Share) -> bool:
        """Whether somebody may have to wait because of ``share``."""
        now = self.seconds()
        limit = share.limit
        return bool(
            share.waiting
            or (limit.requests is not None and share.requests.ready_at(limit.requests) > now)
            or (limit.download is not None and share.download.ready_at(limit.download) > now)
            or (limit.upload is not None and share.upload.ready_at(limit.upload) > now)
        )

    def freed(self, share: Share) -> None:
        """Something has ended under ``share``, for which others wait."""
        self.turn.put_off(lambda: _let_in(share))

    # ------------------------------------------------------------ what is told

    def told(self) -> Tidings:
        """What has been taken up since the last time, and what is under way."""
        tidings = Tidings({}, {}, {})
        for name, ledger in self._ledgers.items():
            if ledger.unsaid:
                tidings.spent[name] = spent = {}
                for key, share in ledger.unsaid.items():
                    assert share.spent is not None
                    spent[key], share.spent = share.spent, None
                ledger.unsaid.clear()
            if self.tells and (ledger.limit.connections or ledger.limit.tunnels):
                under_way = {
                    share.key: UnderWay(len(share.connections), share.tunnels) for share in ledger if share.connections
                }
                if under_way:
                    tidings.under_way[name] = under_way
        return tidings

    def learn(self, tidings: Tidings) -> None:
        """Others tell ``tidings``."""
        now = self.seconds()
        self._calendar.turn(self.wall())
        for name, ledger in self._ledgers.items():
            for key, spent in tidings.spent.get(name, {}).items():
                ledger.share(key, now).spent_elsewhere(spent, now)
            for key, used in tidings.used.get(name, {}).items():
                share = ledger.share(key, now)
                if share.key == key:
                    share.was_used(used)
            ledger.under_way_elsewhere(tidings.under_way.get(name, {}), now)
            for share in ledger:
                if share.waiting:
                    self.freed(share)

    def refill(self, name: str, key: str) -> None:
        """Let the share of ``key`` under the limit ``name`` begin anew; all of them when ``key`` is empty."""
        ledger = self._ledgers.get(name)
        if ledger is None:
            return
        known = ledger.known(key)
        for share in ([known] if known is not None else []) if key else list(ledger):
            share.refill()
            if share.spent is not None:
                # What had not been told of is forgotten as well.
                share.spent = Spending()

    def states(self, name: str = "", most: int = MOST_STATES) -> list[ShareState]:
        """What is known of everybody who has taken up something of the limit ``name``, or of all when it is empty.

        Of more than ``most`` those that are nearest to their limits.
        """
        now = self.seconds()
        self._calendar.turn(self.wall())
        ledgers = [ledger for ledger in self._ledgers.values() if not name or ledger.limit.name == name]
        shares = (share for ledger in ledgers for share in ledger if not share.is_full(now))
        return nearest((ShareState.of(share, now) for share in shares), most)


def _let_in(share: Share) -> None:
    """Let those who wait for ``share`` try again, the first to come first, while there is room."""
    for _ in range(len(share.waiting)):
        if share.takes(-1, False):
            return
        share.waiting.popleft().retry()
