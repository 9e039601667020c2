"""``pyproxyctl status``: the daemon at a glance, its workers, and what they have done so far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import gmtime, sleep, strftime
from typing import TYPE_CHECKING, Final

import click

from twistedproxy.cli.figures import (
    NOTHING,
    age_text,
    average_text,
    duration_text,
    quantile_text,
    size_text,
)
from twistedproxy.cli.invocation import Invocation, asks_the_daemon, pass_invocation, seconds
from twistedproxy.cli.output import Facts, Part, Table, show_each, show_json

if TYPE_CHECKING:
    from twistedproxy.cli.client import Client
    from twistedproxy.control.types import Status, Worker
    from twistedproxy.record.statistics import Statistics

SHARES: Final = (0.5, 0.9, 0.99)
"""Of which share of the durations it is said how long they took at most."""

STALE: Final = 3.0
"""Seconds; a worker whose numbers are older has not answered lately, which is worth a word."""

_PHASES: Final = {
    "connect": "until connected",
    "first_byte": "until the first byte",
    "request": "whole request",
    "tunnel": "whole tunnel",
}
_DIRECTIONS: Final = {
    "from_client": "from clients",
    "to_client": "to clients",
    "to_upstream": "to servers",
    "from_upstream": "from servers",
}


@click.command()
@click.option(
    "--watch",
    metavar="SECONDS",
    type=seconds(0.01),
    help="Show it again and again, this often, until Ctrl-C; with --json a line each.",
)
@asks_the_daemon
@pass_invocation
def status(invocation: Invocation, watch: float | None) -> None:
    """Show what the daemon is doing, its workers, and totals.

    The totals count from the start of the daemon and of all its workers. Percentiles are estimated from histograms.
    """
    client = invocation.client()
    if watch is None:
        answer = client.status()
        invocation.show(answer, lambda: status_parts(answer))
        return
    try:
        if invocation.json:
            for answer in _again(client, watch):
                show_json(answer)
        else:
            show_each(status_parts(answer) for answer in _again(client, watch))
    except KeyboardInterrupt:
        pass  # the way to end it


def _again(client: Client, interval: float) -> Iterator[Status]:
    while True:
        yield client.status()
        sleep(interval)


def status_parts(status: Status) -> list[Part]:
    """All of ``status``, for a person."""
    statistics = status.statistics
    return [
        _overview(status),
        workers_table(status.workers),
        *worker_notes(status.workers),
        requests_table(statistics),
        Table(
            "bytes",
            ("direction", "bytes"),
            [(_DIRECTIONS.get(name, name), size_text(moved)) for name, moved in statistics.bytes.items()],
            {"bytes"},
        ),
        durations_table(statistics),
    ]


def _overview(status: Status) -> Facts:
    now = status.statistics
    started = strftime("%Y-%m-%d %H:%M:%S UTC", gmtime(status.started))
    pairs: list[tuple[str, str | Sequence[str]]] = [
        ("state", status.state),
        ("version", status.version),
        ("pid", str(status.pid)),
        ("uptime", f"{age_text(status.uptime)}, since {started}"),
        ("listeners", status.listeners or ["none"]),
        ("settings", status.settings_file or "no file, only defaults"),
        ("generation", f"{status.generation}; {status.reloads} reloads, {status.reloads_failed} failed"),
        ("log level", status.log_level),
        (
            "connections",
            f"{now.connections} open; {now.connections_accepted} accepted, {now.connections_refused} refused so far",
        ),
        ("tunnels", f"{now.tunnels} open"),
        ("to servers", f"{now.upstream_open} in use, {now.upstream_idle} idle, {now.upstream_waiting} waited for"),
        ("look-ups", _lookups(now)),
        ("resolver", status.name_servers or ["the system's"]),
        ("descriptors", f"{now.descriptors} of {now.descriptor_limit}"),
    ]
    if now.parents_failing:
        pairs.append(("parents failing", list(now.parents_failing)))
    if now.log_lines_lost:
        pairs.append(("log lines lost", str(now.log_lines_lost)))
    return Facts(pairs)


def _lookups(now: Statistics) -> str:
    failed = ", ".join(f"{count} {reason}" for reason, count in sorted(now.lookups_failed.items()))
    so_far = f"{now.lookups_made} so far" + (f" ({failed})" if failed else "")
    return f"{now.lookups} under way; {so_far}; {now.names_kept} names cached"


def workers_table(workers: Sequence[Worker]) -> Table:
    """A row for each process that moves traffic; its ``clients`` are connections."""
    headings = (
        "worker",
        "pid",
        "state",
        "uptime",
        "restarts",
        "clients",
        "tunnels",
        "requests",
        "CPU",
        "memory",
        "lag",
    )
    return Table("workers", headings, list(map(_worker_row, workers)), {*headings} - {"state"})


def _worker_row(worker: Worker) -> tuple[str, ...]:
    numbers = worker.statistics
    is_up = worker.state != "waiting"
    return (
        str(worker.number),
        str(worker.pid) if is_up else NOTHING,
        worker.state,
        age_text(worker.uptime) if is_up else NOTHING,
        str(worker.restarts),
        str(numbers.connections),
        str(numbers.tunnels),
        str(sum(one.count for one in numbers.requests)),
        f"{numbers.cpu_seconds:.1f}s",
        size_text(numbers.resident),
        duration_text(numbers.lag),
    )


def worker_notes(workers: Sequence[Worker]) -> Iterator[str]:
    """What is out of the ordinary about a worker."""
    for worker in workers:
        if worker.answered >= STALE:
            yield f"worker {worker.number} has not answered for {age_text(worker.answered)}"
        if worker.last_end:
            yield f"worker {worker.number} ended before: {worker.last_end}"


def requests_table(statistics: Statistics) -> Table:
    """How many requests came to each outcome, the most frequent first."""
    outcomes = sorted(statistics.requests, key=lambda one: (-one.count, one.kind, one.code, one.reason))
    rows = [(one.kind, one.code, one.reason or NOTHING, str(one.count)) for one in outcomes]
    if len(rows) > 1:
        rows.append(("all", "", "", str(sum(one.count for one in outcomes))))
    return Table("requests", ("kind", "status", "reason", "count"), rows, {"count"})


def durations_table(statistics: Statistics) -> Table:
    """What the histograms say about each phase."""
    # Imported here, so that --help and completion need not wait for it.
    from twistedproxy.record.statistics import BOUNDS

    headings = ("phase", "count", "average", *(f"{share:.0%} within" for share in SHARES))
    rows = [
        (
            _PHASES.get(phase, phase),
            str(sum(histogram.counts)),
            average_text(histogram.counts, histogram.total),
            *(quantile_text(histogram.counts, BOUNDS, share) for share in SHARES),
        )
        for phase, histogram in statistics.phases.items()
    ]
    return Table("durations", headings, rows, set(headings) - {"phase"})
