"""Limits with a clock, and exchanges that only say what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

from twistedproxy.access.limits.limits import Limits
from twistedproxy.access.profile import NO_PROFILE, GivenLimit, Profile
from twistedproxy.errors import LimitReached, ProxyError
from twistedproxy.limits.hold import Hold
from twistedproxy.limits.restraint import Restraint
from twistedproxy.settings.limits import LimitsSettings, LimitTable

WALL = 1_800_000_000.0


def table(name: str = "a", per: str = "client", **keys: Any) -> LimitTable:
    return LimitTable(name=name, per=per, **keys)  # type: ignore[arg-type]  # as they come


def limits(*tables: LimitTable, **settings: Any) -> Limits:
    made = Limits.of(LimitsSettings(tables=tables, **settings))
    assert made is not None
    return made


class Connection:
    """A client connection."""

    def __init__(self, number: int) -> None:
        self.number = number


class Asking:
    """An exchange."""

    def __init__(self, number: int, client: str, user: bytes, groups: frozenset[str], profile: Profile) -> None:
        self.downstream = Connection(number)
        self.client_address = client
        self.user = user
        self.groups = groups
        self.profile = profile
        self.said: list[str] = []
        self.hold: Hold
        self.when_in: Callable[[], object] = lambda: None

    def may_enter(self) -> None:
        self.said.append("in")

    def fail(self, error: ProxyError) -> None:
        self.said.append(error.reason)
        self.hold.leave(0, 0)

    def exceeded(self, error: LimitReached) -> None:
        self.said.append(f"cut {error.reason}")


class Limited:
    """One worker's limits."""

    def __init__(self, *tables: LimitTable, workers: int = 1, clock: Clock | None = None, **settings: Any) -> None:
        self.clock = clock or Clock()
        if clock is None:
            self.clock.advance(1000)
        self.wall = WALL
        self.restraint = Restraint(self.clock, self.clock.seconds, lambda: self.wall)
        self.restraint.tells = workers > 1
        self.use(*tables, **settings)
        self._number = 0

    def use(self, *tables: LimitTable, **settings: Any) -> None:
        self.limits = limits(*tables, **settings)
        self.restraint.use(self.limits)

    def ask(
        self,
        client: str = "192.0.2.1",
        *,
        tunnel: bool = False,
        user: bytes = b"",
        groups: frozenset[str] = frozenset(),
        given: tuple[GivenLimit, ...] = (),
    ) -> Asking:
        """An exchange comes, on a connection of its own."""
        self._number += 1
        profile = Profile(limits=given) if given else NO_PROFILE
        asking = Asking(self._number, client, user, groups, profile)
        hold = self.restraint.hold(asking, self.limits, tunnel)
        assert hold is not None
        asking.hold = hold
        try:
            if hold.enter():
                asking.said.append("in")
        except LimitReached as error:
            asking.fail(error)
        return asking

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.025)):
            self.clock.advance(0.025)
