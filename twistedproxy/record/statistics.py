"""What a worker counts: plain numbers that grow while traffic moves, and are read when somebody asks.

Nothing here is a metrics library's: a request costs a few additions. `Tally` is what grows, `Statistics` what is read
off it and off the rest of the data plane, in a form that can be sent, added up and shown.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

import msgspec

from twistedproxy.access.blocklists.lists import Listed
from twistedproxy.record.finished import FinishedExchange

BOUNDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0),
)
"""The upper bounds of the histograms' buckets, in seconds; the last bucket has none."""

PHASES: Final = ("connect", "first_byte", "request", "tunnel")
"""What has a histogram: until the connection stood, until the origin answered, all of a request, all of a tunnel."""

DIRECTIONS: Final = ("from_client", "to_client", "to_upstream", "from_upstream")
"""What bytes are counted by."""

_CLASSES: Final = {1: "1xx", 2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"}


class Histogram(msgspec.Struct):
    """How many durations fell into each bucket of `BOUNDS`, and what they come to together, in seconds."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0


class Requests(msgspec.Struct, frozen=True):
    """How many requests came to one outcome.

    ``kind`` is ``forward``, ``tunnel`` or ``answer``; ``code`` the class of the status, such as ``2xx``, or ``none``
    when nothing was sent; ``reason`` says why it went wrong, and is empty when it did not.
    """

    kind: str
    code: str
    reason: str
    count: int


class Statistics(msgspec.Struct):
    """The numbers of one worker, or of several together.

    The first group only grows while a process lives; the second is of this moment. Sizes are in bytes and durations
    in seconds. ``listed`` counts the requests that each list of what is blocked has, ``limit_refusals`` those that
    each limit has refused or cut, and ``limit_slowings`` those that it has made wait or rest. ``upstream_open``
    connections are those that are open or being made, the idle ones included; ``upstream_waiting`` counts requests.
    ``lag`` is how late the reactor lately was at worst. ``lookups_made`` are those that somebody had to be asked for,
    ``lookups_failed`` counts by the reason in the access log, ``lookups`` are under way, and ``names_kept`` are in the
    cache. ``parent_failures`` counts how often a parent of a route could not be used, and ``parents_failing`` the
    workers that have it come last for now; both are named by the route, a space, and the parent.
    """

    requests: list[Requests] = []
    bytes: dict[str, int] = {}
    phases: dict[str, Histogram] = {}
    connections_accepted: int = 0
    connections_refused: int = 0
    listed: dict[str, int] = {}
    lookups_made: int = 0
    lookups_failed: dict[str, int] = {}
    limit_refusals: dict[str, int] = {}
    limit_slowings: dict[str, int] = {}
    parent_failures: dict[str, int] = {}
    log_lines_lost: int = 0
    cpu_seconds: float = 0.0

    connections: int = 0
    tunnels: int = 0
    upstream_open: int = 0
    upstream_idle: int = 0
    upstream_waiting: int = 0
    parents_failing: dict[str, int] = {}
    lookups: int = 0
    names_kept: int = 0
    lag: float = 0.0
    resident: int = 0
    descriptors: int = 0
    descriptor_limit: int = 0


class Tally:
    """Counts finished exchanges.

    It is told of every request, so that a histogram is a plain list here, and a sum an attribute: a method call for
    each would cost as much as all the rest.
    """

    __slots__ = (
        "_connect",
        "_connect_seconds",
        "_first_byte",
        "_first_byte_seconds",
        "_from_client",
        "_from_upstream",
        "_listed",
        "_outcomes",
        "_request",
        "_request_seconds",
        "_to_client",
        "_to_upstream",
        "_tunnel",
        "_tunnel_seconds",
    )

    def __init__(self) -> None:
        self._outcomes: dict[tuple[str, int, str], int] = {}
        self._listed: dict[str, int] = {}
        self._from_client = self._to_client = self._to_upstream = self._from_upstream = 0
        self._connect, self._first_byte, self._request, self._tunnel = ([0] * (len(BOUNDS) + 1) for _ in PHASES)
        self._connect_seconds = self._first_byte_seconds = self._request_seconds = self._tunnel_seconds = 0.0

    def __repr__(self) -> str:
        return f"<Tally exchanges={sum(self._outcomes.values())}>"

    def finished(self, exchange: FinishedExchange) -> None:
        """Count ``exchange``, whose numbers are settled."""
        kind = exchange.kind
        outcome = (kind, exchange.status, exchange.reason)
        try:
            self._outcomes[outcome] += 1
        except KeyError:
            self._outcomes[outcome] = 1
        self._from_client += exchange.bytes_from_client
        self._to_client += exchange.bytes_to_client
        self._to_upstream += exchange.bytes_to_upstream
        self._from_upstream += exchange.bytes_from_upstream
        seconds = exchange.connect_seconds
        if seconds >= 0:
            self._connect[bisect_left(BOUNDS, seconds)] += 1
            self._connect_seconds += seconds
        seconds = exchange.first_byte_seconds
        if seconds >= 0:
            self._first_byte[bisect_left(BOUNDS, seconds)] += 1
            self._first_byte_seconds += seconds
        seconds = exchange.finished_at - exchange.started_at
        if kind == "tunnel":
            self._tunnel[bisect_left(BOUNDS, seconds)] += 1
            self._tunnel_seconds += seconds
        else:
            self._request[bisect_left(BOUNDS, seconds)] += 1
            self._request_seconds += seconds

    def listed(self, listed: Listed) -> None:
        """Count a request that one of the lists has."""
        self._listed[listed.list] = self._listed.get(listed.list, 0) + 1

    def read_into(self, statistics: Statistics) -> None:
        """Write what was counted so far into ``statistics``."""
        outcomes: dict[tuple[str, str, str], int] = {}
        for (kind, status, reason), count in self._outcomes.items():
            outcome = (kind, _CLASSES.get(status // 100, "none"), reason)
            outcomes[outcome] = outcomes.get(outcome, 0) + count
        statistics.requests = [Requests(*outcome, count) for outcome, count in outcomes.items()]
        moved = (self._from_client, self._to_client, self._to_upstream, self._from_upstream)
        statistics.listed = dict(self._listed)
        statistics.bytes = dict(zip(DIRECTIONS, moved, strict=True))
        statistics.phases = {
            "connect": Histogram(list(self._connect), self._connect_seconds),
            "first_byte": Histogram(list(self._first_byte), self._first_byte_seconds),
            "request": Histogram(list(self._request), self._request_seconds),
            "tunnel": Histogram(list(self._tunnel), self._tunnel_seconds),
        }


class LookupTally:
    """Counts look-ups of names: those that were begun, and those that failed, by reason."""

    __slots__ = ("failures", "made")

    def __init__(self) -> None:
        self.made = 0
        self.failures: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<LookupTally made={self.made} failures={self.failures}>"

    def failed(self, reason: str) -> None:
        """Count one that came to nothing."""
        self.failures[reason] = self.failures.get(reason, 0) + 1

    def read_into(self, statistics: Statistics) -> None:
        """Write what was counted so far into ``statistics``."""
        statistics.lookups_made = self.made
        statistics.lookups_failed = dict(self.failures)


def added_up(parts: Iterable[Statistics]) -> Statistics:
    """The numbers of several workers together; of ``lag`` the worst."""
    whole = Statistics(phases={phase: Histogram() for phase in PHASES}, bytes=dict.fromkeys(DIRECTIONS, 0))
    outcomes: dict[tuple[str, str, str], int] = {}
    for part in parts:
        for one in part.requests:
            outcome = (one.kind, one.code, one.reason)
            outcomes[outcome] = outcomes.get(outcome, 0) + one.count
        for direction, moved in part.bytes.items():
            whole.bytes[direction] = whole.bytes.get(direction, 0) + moved
        for attribute in _BY_NAME:
            sums = getattr(whole, attribute)
            for name, count in getattr(part, attribute).items():
                sums[name] = sums.get(name, 0) + count
        for phase, histogram in part.phases.items():
            sum_of = whole.phases.setdefault(phase, Histogram())
            sum_of.counts = [one + other for one, other in zip(sum_of.counts, histogram.counts, strict=True)]
            sum_of.total += histogram.total
        for name in _ADDED:
            setattr(whole, name, getattr(whole, name) + getattr(part, name))
        whole.lag = max(whole.lag, part.lag)
    whole.requests = [Requests(*outcome, count) for outcome, count in sorted(outcomes.items())]
    return whole


def grown(statistics: Statistics) -> Statistics:
    """Only what grows: what stays true of a worker when it has ended."""
    return Statistics(**{name: getattr(statistics, name) for name in _GROWING})


_GROWING: Final = (
    "requests",
    "bytes",
    "phases",
    "listed",
    "lookups_made",
    "lookups_failed",
    "limit_refusals",
    "limit_slowings",
    "parent_failures",
    "connections_accepted",
    "connections_refused",
    "log_lines_lost",
    "cpu_seconds",
)

_BY_NAME: Final = (
    "listed",
    "limit_refusals",
    "limit_slowings",
    "lookups_failed",
    "parent_failures",
    "parents_failing",
)
_APART: Final = ("requests", "bytes", "phases", "lag", *_BY_NAME)
_ADDED: Final = tuple(name for name in Statistics.__struct_fields__ if name not in _APART)
