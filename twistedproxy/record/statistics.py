"""What a worker counts: plain numbers that grow while traffic moves, and are read when somebody asks.

Nothing here is a metrics library's: a request costs a few additions. `Tally` is what grows, `Statistics` what is read
off it and off the rest of the data plane, in a form that can be sent, added up and shown.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

import msgspec

from twistedproxy.record.finished import FinishedExchange

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
"""The upper bounds of the histograms' buckets, in seconds; the last bucket has none."""

PHASES: Final = ("connect", "first_byte", "request", "tunnel")
"""What has a histogram: until the connection stood, until the origin answered, all of a request, all of a tunnel."""

DIRECTIONS: Final = ("from_client", "to_client", "to_upstream", "from_upstream")
"""What bytes are counted by."""

_CLASSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")


class Histogram(msgspec.Struct):
    """How many durations fell into each bucket of `BOUNDS`, and what they come to together, in seconds."""

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


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

    The first group only grows while a process lives; the second is of this moment. Sizes are in bytes and durations in
    seconds. ``lag`` is how late the reactor lately was at worst.
    """

    requests: list[Requests] = []
    bytes: dict[str, int] = {}
    phases: dict[str, Histogram] = {}
    connections_accepted: int = 0
    connections_refused: int = 0
    log_lines_lost: int = 0
    cpu_seconds: float = 0.0

    connections: int = 0
    tunnels: int = 0
    upstream_open: int = 0
    upstream_idle: int = 0
    upstream_waiting: int = 0
    lookups: int = 0
    lag: float = 0.0
    resident: int = 0
    descriptors: int = 0
    descriptor_limit: int = 0


class Tally:
    """Counts finished exchanges."""

    __slots__ = ("_bytes", "_connect", "_first_byte", "_outcomes", "_request", "_tunnel")

    def __init__(self) -> None:
        self._outcomes: dict[tuple[str, int, str], int] = {}
        self._bytes = [0, 0, 0, 0]
        self._connect = Histogram()
        self._first_byte = Histogram()
        self._request = Histogram()
        self._tunnel = Histogram()

    def __repr__(self) -> str:
        return f"<Tally exchanges={sum(self._outcomes.values())}>"

    def finished(self, exchange: FinishedExchange) -> None:
        """Count ``exchange``, whose numbers are settled."""
        kind = exchange.kind
        outcome = (kind, exchange.status // 100, exchange.reason)
        outcomes = self._outcomes
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        moved = self._bytes
        moved[0] += exchange.bytes_from_client
        moved[1] += exchange.bytes_to_client
        moved[2] += exchange.bytes_to_upstream
        moved[3] += exchange.bytes_from_upstream
        seconds = exchange.connect_seconds
        if seconds >= 0:
            self._connect.add(seconds)
        seconds = exchange.first_byte_seconds
        if seconds >= 0:
            self._first_byte.add(seconds)
        (self._tunnel if kind == "tunnel" else self._request).add(exchange.finished_at - exchange.started_at)

    def read_into(self, statistics: Statistics) -> None:
        """Write what was counted so far into ``statistics``."""
        statistics.requests = [
            Requests(kind, _CLASSES[code] if code < len(_CLASSES) else "none", reason, count)
            for (kind, code, reason), count in self._outcomes.items()
        ]
        statistics.bytes = dict(zip(DIRECTIONS, self._bytes, strict=True))
        histograms = (self._connect, self._first_byte, self._request, self._tunnel)
        statistics.phases = {
            phase: Histogram(list(histogram.counts), histogram.total)
            for phase, histogram in zip(PHASES, histograms, strict=True)
        }


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
        for phase, histogram in part.phases.items():
            sum_of = whole.phases.setdefault(phase, Histogram())
            sum_of.counts = [one + other for one, other in zip(sum_of.counts, histogram.counts, strict=True)]
            sum_of.total += histogram.total
        for name in _ADDED:
            setattr(whole, name, getattr(whole, name) + getattr(part, name))
        whole.lag = max(whole.lag, part.lag)
    whole.requests = [Requests(*outcome, count) for outcome, count in sorted(outcomes.items())]
    return whole


_ADDED: Final = tuple(
    name for name in Statistics.__struct_fields__ if name not in ("requests", "bytes", "phases", "lag")
)
