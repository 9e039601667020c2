"""What all the connections of a process share to move traffic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twistedproxy.accounts.authenticator import Authenticator
from twistedproxy.deadlines import Deadlines
from twistedproxy.limits.restraint import Restraint
from twistedproxy.record.access_log import AccessLog, NoAccessLog
from twistedproxy.record.statistics import Tally
from twistedproxy.snapshot import Snapshot
from twistedproxy.tls.issuing import Issuer
from twistedproxy.tls.rejections import Rejections
from twistedproxy.tunnel.pipes import PipePool
from twistedproxy.upstream.dial import Dialer
from twistedproxy.upstream.pool import Pool


class DataPlane:
    """The parts that exchanges are made with. ``snapshot`` is the current one; a reload replaces it in one step.

    ``workers`` is how many of them share the limits that are shared out. ``wall`` tells the time of day, in seconds
    since 1970; ``deadlines.seconds`` the time that durations are made of.
    """

    __slots__ = (
        "access_log",
        "authenticator",
        "deadlines",
        "dialer",
        "issuer",
        "message_listeners",
        "pipes",
        "pool",
        "reactor",
        "records",
        "rejections",
        "restraint",
        "snapshot",
        "tally",
        "wall",
        "workers",
    )

    def __init__(
        self,
        *,
        reactor: Any,
        wall: Callable[[], float],
        deadlines: Deadlines,
        dialer: Dialer,
        pool: Pool,
        pipes: PipePool,
        issuer: Issuer,
        access_log: AccessLog | NoAccessLog,
        snapshot: Snapshot,
    ) -> None:
        self.reactor = reactor
        self.wall = wall
        self.deadlines = deadlines
        self.dialer = dialer
        self.pool = pool
        self.records = pool.records
        """What all TLS passes through."""
        self.pipes = pipes
        self.issuer = issuer
        self.access_log: AccessLog | NoAccessLog = access_log
        self.message_listeners: tuple[Any, ...] = ()
        """Who may want to see the messages of WebSockets: `twistedproxy.watching.MessageListener`."""
        self.tally = Tally()
        self.restraint = Restraint(reactor, deadlines.seconds, wall)
        self.restraint.use(snapshot.limits)
        self.workers = 1
        self.snapshot = snapshot
        self.authenticator = Authenticator(reactor, deadlines.seconds, snapshot.accounts)
        intercept = snapshot.settings.intercept
        self.rejections = Rejections(deadlines.seconds, intercept.learn_after, intercept.learn_for)

    def __repr__(self) -> str:
        return f"<DataPlane generation={self.snapshot.generation} {self.pool!r}>"

    def use(self, snapshot: Snapshot) -> None:
        """Let new exchanges go by ``snapshot``; those under way keep theirs."""
        self.snapshot = snapshot
        self.pool.use(snapshot)
        self.restraint.use(snapshot.limits)
        self.authenticator.use(snapshot.accounts)
        self.issuer.use(snapshot.settings.tls)
        intercept = snapshot.settings.intercept
        self.rejections.after = intercept.learn_after
        self.rejections.seconds_kept = intercept.learn_for
