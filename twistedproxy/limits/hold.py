"""What limits one exchange: from the moment at which it is known whose it is, to its end.

Theory of operation. `Hold.enter` asks all the limits that hold. A quota that is used up refuses. Where too much is
under way already the exchange is refused, or waits until something ends. Then it takes a token of each bucket for
requests: when there is none it is refused, or has its turn at the time at which there will be one. And while bytes are
owed, it waits until they are paid for, so that many small answers are no way around. Only then does it go on. Its bytes
are counted as they pass, and a quota that they use up cuts it short.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from twistedproxy.access.limits.buckets import Rate
from twistedproxy.access.limits.ledger import Share
from twistedproxy.access.profile import Profile
from twistedproxy.errors import (
    ConnectionsExceeded,
    LimitReached,
    ProxyError,
    QuotaExceeded,
    RequestsExceeded,
    TunnelsExceeded,
)
from twistedproxy.limits.flow import Flow

if TYPE_CHECKING:
    from twistedproxy.limits.restraint import Restraint

EXACT: Final = 1e-6
"""Seconds that nobody waits for: times are sums of fractions."""


class Connection(Protocol):
    """The client connection of an exchange."""

    @property
    def number(self) -> int:
        """Which it is."""


class Restrained(Protocol):
    """What an exchange is to what limits it."""

    @property
    def client_address(self) -> str:
        """Where its client comes from."""

    @property
    def user(self) -> bytes:
        """Whose it is; empty when nobody has said so."""

    @property
    def groups(self) -> frozenset[str]:
        """The groups of ``user``."""

    @property
    def profile(self) -> Profile:
        """What the access rules have given to it."""

    @property
    def downstream(self) -> Connection:
        """What it came on."""

    def may_enter(self) -> None:
        """It has waited long enough."""

    def fail(self, error: ProxyError) -> None:
        """It may not."""

    def exceeded(self, error: LimitReached) -> None:
        """It has used up a quota, and ends."""


class Hold:
    """What limits ``exchange``: each of ``shares``. ``tunnel`` is whether it is to become one."""

    __slots__ = (
        "_connection",
        "_counted_down",
        "_counted_up",
        "_cut",
        "_entered",
        "_exchange",
        "_gives_up_at",
        "_slowed",
        "_tunnel",
        "_waits_for",
        "deadline",
        "deadline_bucket",
        "down",
        "restraint",
        "shares",
        "up",
        "waiting",
    )

    def __init__(self, restraint: Restraint, exchange: Restrained, shares: Sequence[Share], tunnel: bool) -> None:
        self.restraint = restraint
        self.shares = shares
        self.down: Flow | None = None
        self.up: Flow | None = None
        """What comes and goes, where bytes matter."""
        for share in shares:
            if share.ledger.limit.measures:
                self.down = Flow(self, shares, False)
                self.up = Flow(self, shares, True)
                break
        self.waiting = False
        """Whether it has yet to go on."""
        self.deadline = inf
        self.deadline_bucket = 0
        self._exchange = exchange
        self._connection = exchange.downstream.number
        self._tunnel = tunnel
        self._counted_up = self._counted_down = 0
        self._entered = self._cut = False
        self._slowed: tuple[str, ...] = ()
        # Where too much is under way, and until when that is waited for.
        self._waits_for: Share | None = None
        self._gives_up_at = 0.0

    def __repr__(self) -> str:
        return f"<Hold {' '.join(map(repr, self.shares))}{' waiting' if self.waiting else ''}>"

    @property
    def resting(self) -> bool:
        """Whether it waits, or its content does, because of a limit."""
        flows = (self.down, self.up)
        return self.waiting or any(flow is not None and flow.resting for flow in flows)

    # ------------------------------------------------------------ the beginning

    def enter(self) -> bool:
        """Whether it may go on; when not, `Restrained.may_enter` or `fail` is called. Raises `LimitReached`."""
        restraint = self.restraint
        now = until = restraint.seconds()
        full: Share | None = None
        for share in self.shares:
            limit = share.ledger.limit
            if limit.has_quota:
                self._check_quota(share)
            if limit.counts and full is None and share.takes(self._connection, self._tunnel):
                full = share
            if limit.requests is not None:
                until = max(until, self._turn(share, limit.requests, now))
        if full is not None:
            self._wait_for_room(full, now)
            return False
        for share in self.shares:
            rate = share.ledger.limit.requests
            if rate is not None:
                share.requests.charge(1, rate, now)
                if restraint.tells:
                    share.spend(1, 0, 0)
            share.begin(self._connection, self._tunnel)
        self._entered = True
        if self.down is not None and self.up is not None:
            until = max(until, self.down.ready_at(), self.up.ready_at())
        if until <= now + EXACT:
            self.waiting = False
            return True
        self.waiting = True
        self.note_slowed()
        restraint.deadlines.expire_at(self, until)
        return False

    def _check_quota(self, share: Share) -> None:
        wall = self.restraint.wall()
        share.ledger.calendar.turn(wall)
        until = share.used_up_until
        if until:
            raise self._refusal(QuotaExceeded, share, "bytes are used up", until - wall)

    def _turn(self, share: Share, rate: Rate, now: float) -> float:
        """When there will be a token for it."""
        turn = share.requests.turn_of(1, rate, now)
        wait = turn - now
        if wait > EXACT:
            restraint = self.restraint
            too_long = wait > restraint.max_wait or wait * rate.per_second > restraint.max_waiting
            if too_long or not share.limit.slows:
                raise self._refusal(RequestsExceeded, share, f"{rate.per_second:g} requests a second", wait)
        return turn

    def _wait_for_room(self, share: Share, now: float) -> None:
        """Wait until something ends under ``share``."""
        restraint = self.restraint
        self._gives_up_at = self._gives_up_at or now + restraint.max_wait
        if not share.limit.slows or len(share.waiting) >= restraint.max_waiting or now >= self._gives_up_at:
            raise self._too_many(share)
        self._waits_for = share
        share.waiting.append(self)
        self.waiting = True
        self.note_slowed()
        restraint.deadlines.expire_at(self, self._gives_up_at)

    def _too_many(self, share: Share) -> LimitReached:
        what = share.takes(self._connection, self._tunnel) or "connections"
        kind = TunnelsExceeded if what == "tunnels" else ConnectionsExceeded
        return self._refusal(kind, share, f"{getattr(share.limit, what)} {what} at the same time", 1.0)

    def _refusal(self, kind: type[LimitReached], share: Share, what: str, wait: float) -> LimitReached:
        self.restraint.refused(share.limit)
        self._cut = True
        return kind(f"the limit {share.limit.name}: {what}", limit=share.limit.name, retry_after=wait)

    def retry(self) -> None:
        """Something has ended that was waited for."""
        self._waits_for = None
        try:
            if self.enter():
                self._go_on()
        except LimitReached as error:
            self._exchange.fail(error)

    def deadline_passed(self) -> None:
        """Its turn has come; or what it waits for takes too long."""
        share, self._waits_for = self._waits_for, None
        if share is None:
            self._go_on()
            return
        share.waiting.remove(self)
        self._exchange.fail(self._too_many(share))

    def _go_on(self) -> None:
        self.waiting = False
        self.restraint.deadlines.forget(self)
        self._exchange.may_enter()

    def note_slowed(self) -> None:
        """It waits, or rests: count that once for each limit that can be why."""
        for share in self.shares:
            limit = share.limit
            if limit.name not in self._slowed and self.restraint.is_over(share):
                self._slowed = (*self._slowed, limit.name)
                self.restraint.slowed(limit)

    # ------------------------------------------------------------ the bytes

    def measure(self, from_client: int, to_client: int) -> None:
        """Count what has passed since the last time: these are all the bytes of the exchange so far."""
        self.count(from_client - self._counted_up, to_client - self._counted_down)

    def count(self, upload: int, download: int) -> None:
        """Count bytes that have passed."""
        if not (upload or download):
            return
        if self.down is None or self.up is None:
            return
        self._counted_up += upload
        self._counted_down += download
        self.up.owing = self.up.owing or upload > 0
        self.down.owing = self.down.owing or download > 0
        restraint = self.restraint
        now = restraint.seconds()
        for share in self.shares:
            limit = share.ledger.limit
            if not limit.measures:
                continue
            if download and limit.download is not None:
                share.download.charge(download, limit.download, now)
            if upload and limit.upload is not None:
                share.upload.charge(upload, limit.upload, now)
            if limit.has_quota:
                self._use(share, upload, download)
            elif restraint.tells:
                share.spend(0, download, upload)

    def _use(self, share: Share, upload: int, download: int) -> None:
        restraint = self.restraint
        wall = restraint.wall()
        share.ledger.calendar.turn(wall)
        share.use(upload + download)
        share.spend(0, download, upload)
        until = share.used_up_until
        if until and not self._cut:
            error = self._refusal(QuotaExceeded, share, "bytes are used up", until - wall)
            # Whoever moves them is in the middle of it.
            restraint.turn.put_off(lambda: self._exchange.exceeded(error))

    # ------------------------------------------------------------ the end

    def leave(self, from_client: int, to_client: int) -> None:
        """The exchange is over, and these were its bytes."""
        self.waiting = False
        restraint = self.restraint
        if self.deadline_bucket:
            restraint.deadlines.forget(self)
        self._cut = True
        if self._waits_for is not None:
            self._waits_for.waiting.remove(self)
            self._waits_for = None
        if self._entered:
            self._entered = False
            self.measure(from_client, to_client)
            for share in self.shares:
                share.end(self._connection, self._tunnel)
                if share.waiting:
                    restraint.freed(share)
        if self.down is not None and self.up is not None:
            self.down.stop()
            self.up.stop()
            # They know each other: broken here, they need no garbage collector.
            self.down = self.up = None
