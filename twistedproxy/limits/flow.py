"""One direction of an exchange that a limit on bandwidth holds for: what has come is charged, and it rests meanwhile.

Theory of operation. Each piece that has passed is charged to the buckets of all the limits that hold, and the flow
rests until the last of those debts is paid. It then goes on without asking again: a flow that charged after it waits
until a later moment, so that those who share a bucket take turns, and none of them wakes the others. `Deadlines` has
one timer for all that rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Final

from twistedproxy.access.limits.ledger import Share

if TYPE_CHECKING:
    from twistedproxy.limits.hold import Hold

LEAST_PIECE: Final = 4096
MOST_PIECE: Final = 1 << 20
PIECE_SECONDS: Final = 0.1
"""How much a relay may move at once: as much as comes in so many seconds, within those bounds, in bytes."""


def _nothing() -> None:
    """Nobody has to be told."""


class Flow:
    """What comes from the client (``upload``), or goes to it, under ``hold``: charged to each of ``shares``."""

    __slots__ = ("_hold", "_shares", "_upload", "deadline", "deadline_bucket", "go_on", "owing", "resting")

    def __init__(self, hold: Hold, shares: Sequence[Share], upload: bool) -> None:
        self._hold = hold
        self._shares = shares
        self._upload = upload
        self.go_on: Callable[[], object] = _nothing
        """Called when a rest is over."""
        self.resting = False
        """Whether nothing should come for now."""
        self.owing = False
        """Whether bytes have been charged that `rests` has not heard of."""
        self.deadline = inf
        self.deadline_bucket = 0

    def __repr__(self) -> str:
        return f"<Flow {'up' if self._upload else 'down'}{' resting' if self.resting else ''}>"

    @property
    def piece(self) -> int:
        """Bytes that one move should not exceed."""
        piece = float(MOST_PIECE)
        for share in self._shares:
            rate = share.limit.upload if self._upload else share.limit.download
            if rate is not None:
                piece = min(piece, rate.per_second * PIECE_SECONDS)
        return max(LEAST_PIECE, int(piece))

    def passed(self, size: int) -> bool:
        """Count ``size`` bytes that a relay has moved; whether more may come. When not, `go_on` is called."""
        if self._upload:
            self._hold.count(size, 0)
        else:
            self._hold.count(0, size)
        return not self.rests()

    def rests(self) -> bool:
        """Whether it has to rest: until what it has brought is paid for, be it that some came in the rest."""
        if not self.owing:
            return self.resting
        self.owing = False
        ready = self.ready_at()
        restraint = self._hold.restraint
        if ready > restraint.seconds():
            self.resting = True
            self._hold.note_slowed()
            restraint.deadlines.expire_at(self, ready)
        return self.resting

    def ready_at(self) -> float:
        """When all debts are paid."""
        ready = 0.0
        for share in self._shares:
            limit = share.ledger.limit
            bucket, rate = (share.upload, limit.upload) if self._upload else (share.download, limit.download)
            if rate is not None:
                ready = max(ready, bucket.ready_at(rate))
        return ready

    def deadline_passed(self) -> None:
        """The debts are paid."""
        self.resting = False
        self.go_on()

    def stop(self) -> None:
        """Nothing comes any more."""
        self.go_on = _nothing
        self.resting = False
        if self.deadline_bucket:
            self._hold.restraint.deadlines.forget(self)
