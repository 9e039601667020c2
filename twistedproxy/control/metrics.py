"""The numbers as Prometheus reads them: made from one `Status` when somebody asks, and kept nowhere.

Theory of operation. What all workers come to together stands in families such as ``pyproxy_requests_total``, and what
each of them counts in ``pyproxy_worker_requests_total`` with its number as a label. They are different families, so
that a sum over one of them never counts anything twice. A worker that was started again begins at zero, which is what
Prometheus expects of a counter; the first kind goes on, since it remembers the workers of the past.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, get_args, get_type_hints

from prometheus_client import exposition
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from twistedproxy.control.types import READY, Status, Worker
from twistedproxy.record.statistics import BOUNDS, Statistics

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of the text format, which everybody reads."""

OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
"""The media type for those who ask for it."""

_COUNTERS: Final = (
    ("connections_accepted", "connections_accepted", "Client connections that were accepted"),
    ("connections_refused", "connections_refused", "Client connections that were refused, since their client has many"),
    ("lookups_made", "lookups_made", "Look-ups of names that somebody had to be asked for"),
    (
        "log_lines_lost",
        "log_lines_lost",
        "Lines of the access log and the log of messages that could not be written",
    ),
    ("cpu_seconds", "cpu_seconds", "Processor time, of user and system together"),
)
"""Attribute of `Statistics`, name without its suffix, and what it counts."""

_GAUGES: Final = (
    ("connections", "connections", "Client connections that are open"),
    ("tunnels", "tunnels", "Tunnels that are open"),
    ("upstream_waiting", "upstream_waiting_requests", "Requests that wait for a connection to their origin"),
    ("lookups", "lookups", "Look-ups of names that are under way"),
    ("names_kept", "cached_names", "Names whose addresses, or whose absence, are remembered"),
    ("lag", "reactor_lag_seconds", "How late the reactor lately was at worst"),
    ("resident", "resident_memory_bytes", "Memory that is resident"),
    ("descriptors", "open_descriptors", "File descriptors that are open"),
    ("descriptor_limit", "descriptor_limit", "File descriptors that may be open"),
)
"""Attribute of `Statistics`, name, and what it shows."""

_WORKER_STATES: Final[tuple[str, ...]] = get_args(get_type_hints(Worker)["state"])
_LIMITS: Final = (*map(str, BOUNDS), "+Inf")

_Parts = Sequence[tuple[tuple[str, ...], Statistics]]


def exposition_of(status: Status, accept: str) -> tuple[str, bytes]:
    """What is answered to somebody who takes the media types ``accept``: the one it is in, and the numbers."""
    numbers = Numbers(status)
    if wants_openmetrics(accept):
        return OPENMETRICS, openmetrics.generate_latest(numbers)
    return TEXT, exposition.generate_latest(numbers)


def wants_openmetrics(accept: str) -> bool:
    """Whether OpenMetrics 1.0 is among the media types that an Accept field (RFC 9110 section 12.5.1) names."""
    for item in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in item.split(";"))
        if media_type == "application/openmetrics-text":
            given = dict(parameter.partition("=")[::2] for parameter in parameters)
            weighs_nothing = not given.get("q", "1").strip("0.")
            if given.get("version", "1.0.0") == "1.0.0" and not weighs_nothing:
                return True
    return False


class Numbers(Collector):
    """The families of one `Status`."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def __repr__(self) -> str:
        return f"<Numbers workers={len(self._status.workers)}>"

    def collect(self) -> Iterator[Metric]:
        """All of them: of the daemon, of its workers together, and of each."""
        status = self._status
        yield from _daemon(status)
        yield from _blocklists(status)
        yield from _traffic("pyproxy", "all workers together", (), [((), status.statistics)])
        each = [((str(worker.number),), worker.statistics) for worker in status.workers]
        yield from _traffic("pyproxy_worker", "one worker", ("worker",), each)


def _daemon(status: Status) -> Iterator[Metric]:
    yield InfoMetricFamily("pyproxy", "The version that runs.", {"version": status.version})
    yield GaugeMetricFamily(
        "pyproxy_start_time_seconds", "When the daemon was started, in seconds since 1970.", status.started
    )
    yield GaugeMetricFamily("pyproxy_ready", "1 while new connections are taken, else 0.", status.state in READY)
    yield GaugeMetricFamily(
        "pyproxy_settings_generation", "How many settings have been in force since the start.", status.generation
    )
    reloads = CounterMetricFamily("pyproxy_reloads", "Reloads of the settings.", labels=("result",))
    reloads.add_metric(("ok",), status.reloads)
    reloads.add_metric(("failed",), status.reloads_failed)
    yield reloads
    workers = GaugeMetricFamily("pyproxy_workers", "Workers in each state.", labels=("state",))
    states = [worker.state for worker in status.workers]
    for state in _WORKER_STATES:
        workers.add_metric((state,), sum(one == state for one in states))
    yield workers
    restarts = CounterMetricFamily("pyproxy_worker_restarts", "Starts of a worker after its first.", labels=("worker",))
    for worker in status.workers:
        restarts.add_metric((str(worker.number),), worker.restarts)
    yield restarts


_LISTS: Final = (
    ("names", "names", "Hosts and addresses on a list of what is blocked."),
    ("rules", "rules", "Rules for paths and URLs on it."),
    ("bad", "bad_lines", "Lines of it that could not be understood."),
    ("memory", "memory_bytes", "Memory that it takes, once for all workers."),
    ("checked", "checked_time_seconds", "When its source was last looked at, in seconds since 1970; 0 for never."),
    ("changed", "changed_time_seconds", "When it was last different, likewise."),
)
"""Attribute of `ListState`, name, and what it shows."""


def _blocklists(status: Status) -> Iterator[Metric]:
    if not status.blocklists:
        return
    for attribute, name, what in _LISTS:
        gauge = GaugeMetricFamily(f"pyproxy_blocklist_{name}", what, labels=("list",))
        for one in status.blocklists:
            gauge.add_metric((one.name,), getattr(one, attribute))
        yield gauge
    failing = GaugeMetricFamily("pyproxy_blocklist_failing", "1 while its last refresh failed.", labels=("list",))
    for one in status.blocklists:
        failing.add_metric((one.name,), bool(one.error))
    yield failing


def _traffic(prefix: str, whose: str, names: tuple[str, ...], parts: _Parts) -> Iterator[Metric]:
    """The same families for ``whose`` numbers: each of ``parts`` has values for the labels ``names``."""
    requests = CounterMetricFamily(
        f"{prefix}_requests",
        f"Requests that are over, by kind, class of the status, and why it went wrong: {whose}.",
        labels=(*names, "kind", "code", "reason"),
    )
    moved = CounterMetricFamily(
        f"{prefix}_bytes", f"Bytes moved by requests and tunnels that are over: {whose}.", labels=(*names, "direction")
    )
    listed = CounterMetricFamily(
        f"{prefix}_listed_requests",
        f"Requests that a list of what is blocked has, by the first such list: {whose}.",
        labels=(*names, "list"),
    )
    failed = CounterMetricFamily(
        f"{prefix}_lookups_failed",
        f"Look-ups of names that came to nothing, by the reason in the access log: {whose}.",
        labels=(*names, "reason"),
    )
    by_limit = [
        CounterMetricFamily(
            f"{prefix}_limit_{name}",
            f"Requests and tunnels that a limit has {what}: {whose}.",
            labels=(*names, "limit"),
        )
        for name, what in (("refusals", "refused or cut"), ("slowings", "made wait or rest"))
    ]
    parent_failures = CounterMetricFamily(
        f"{prefix}_parent_failures",
        f"Times that a parent of a route could not be used: {whose}.",
        labels=(*names, "route", "parent"),
    )
    parent_failing = GaugeMetricFamily(
        f"{prefix}_parent_failing",
        f"Workers that have a parent of a route come after its others, because it failed: {whose}.",
        labels=(*names, "route", "parent"),
    )
    phases = HistogramMetricFamily(
        f"{prefix}_phase_seconds",
        f"How long requests and tunnels took, and parts of them: {whose}.",
        labels=(*names, "phase"),
    )
    upstream = GaugeMetricFamily(
        f"{prefix}_upstream_connections",
        f"Connections to origins, in use or idle in the pool: {whose}.",
        labels=(*names, "state"),
    )
    for labels, statistics in parts:
        for outcome in statistics.requests:
            requests.add_metric((*labels, outcome.kind, outcome.code, outcome.reason), outcome.count)
        for direction, count in statistics.bytes.items():
            moved.add_metric((*labels, direction), count)
        for name, count in statistics.listed.items():
            listed.add_metric((*labels, name), count)
        for reason, count in statistics.lookups_failed.items():
            failed.add_metric((*labels, reason), count)
        for family, counts in zip(by_limit, (statistics.limit_refusals, statistics.limit_slowings), strict=True):
            for name, count in counts.items():
                family.add_metric((*labels, name), count)
        for name, count in statistics.parent_failures.items():
            parent_failures.add_metric((*labels, *name.split(" ", 1)), count)
        for name, count in statistics.parents_failing.items():
            parent_failing.add_metric((*labels, *name.split(" ", 1)), count)
        for phase, histogram in statistics.phases.items():
            buckets = list(zip(_LIMITS, map(float, accumulate(histogram.counts)), strict=True))
            phases.add_metric((*labels, phase), buckets, histogram.total)
        upstream.add_metric((*labels, "in_use"), statistics.upstream_open - statistics.upstream_idle)
        upstream.add_metric((*labels, "idle"), statistics.upstream_idle)
    yield from (requests, moved, listed, failed, *by_limit, parent_failures, parent_failing, phases, upstream)
    for attribute, name, what in _COUNTERS:
        counter = CounterMetricFamily(f"{prefix}_{name}", f"{what}: {whose}.", labels=names)
        for labels, statistics in parts:
            counter.add_metric(labels, getattr(statistics, attribute))
        yield counter
    for attribute, name, what in _GAUGES:
        gauge = GaugeMetricFamily(f"{prefix}_{name}", f"{what}: {whose}.", labels=names)
        for labels, statistics in parts:
            gauge.add_metric(labels, getattr(statistics, attribute))
        yield gauge
