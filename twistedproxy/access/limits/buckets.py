"""Token buckets: how much may pass in how much time.

Theory of operation. A bucket holds ``burst`` tokens at most and gains ``per_second`` of them each second. It is kept
as one number, the time at which it will be full again, so that it costs nothing while nobody looks: taking n tokens
moves that time by the n / per_second seconds in which they come back. Requests *take* tokens, and have to wait while
there are too few. Bytes have come when they are counted: they are *charged*, the bucket is in debt, and whoever brings
them rests until the debt is paid. So in any t seconds no more passes than burst + per_second * t, and what was on its
way already.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """How many tokens come each second, and how many there may be at once."""

    per_second: float
    burst: float

    @property
    def tolerance(self) -> float:
        """The seconds in which an empty bucket becomes full."""
        return self.burst / self.per_second


class Bucket:
    """The tokens of one who is limited. All times are of one steady clock, in seconds."""

    __slots__ = ("full_at",)

    def __init__(self) -> None:
        self.full_at = 0.0
        """When it is full, as long as nothing is taken."""

    def __repr__(self) -> str:
        return f"<Bucket full at {self.full_at:.3f}>"

    def charge(self, amount: float, rate: Rate, now: float) -> None:
        """Take ``amount``, whether there is as much or not."""
        self.full_at = max(self.full_at, now) + amount / rate.per_second

    def ready_at(self, rate: Rate) -> float:
        """When it is no longer in debt."""
        return self.full_at - rate.tolerance

    def turn_of(self, amount: float, rate: Rate, now: float) -> float:
        """When there will be ``amount`` in it; not after ``now`` when there is as much."""
        return max(self.full_at, now) + amount / rate.per_second - rate.tolerance

    def used(self, rate: Rate, now: float) -> float:
        """How much of it is gone: 0 for none, 1 for all, and more for a debt."""
        return max(0.0, self.full_at - now) / rate.tolerance
