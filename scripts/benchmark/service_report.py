"""The tables of the service's measures, and their place in the page."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from statistics import median

from benchmark.report import SERVICE_BARS, number, table, verdict
from benchmark.sections import Section
from benchmark.service import LOADS, TUNNELS, WORKER_COUNTS, Service, real_time

SECTION = Section("<!-- The service: scripts/bench --service --write -->", "<!-- The end of the service -->")


def ready_table(found: Service) -> str:
    """How long a start takes."""
    limit = SERVICE_BARS["ready"]
    rows = [["workers", "s until the first answer", "lowest - highest", "CPU-s until then", "bar"]]
    for workers, starts in found.starts.items():
        walls = [start.wall for start in starts]
        bar = f"<= {limit} s: {verdict(median(walls) <= limit)}"
        cpu = median(start.cpu for start in starts)
        rows.append([f"{workers}", f"{median(walls):.2f}", f"{min(walls):.2f} - {max(walls):.2f}", f"{cpu:.2f}", bar])
    return table(rows)


def scaling_table(found: Service) -> str:
    """What two workers do, as against one."""
    limit = SERVICE_BARS["scaling"]
    head = ["load", "workers", "us CPU a request, a core to itself", "busiest worker's share", "two / one", "bar"]
    rows = [[*head, "us CPU a request, all on two cores", "requests a s"]]
    for load in LOADS:
        for workers in WORKER_COUNTS:
            rounds = found.rounds[load, workers]
            gain = found.gain(load)
            ratio, bar = f"{gain:.2f}", f">= {limit}: {verdict(gain >= limit)}"
            share = f"{median(one.share for one in rounds):.0%}, at most {max(one.share for one in rounds):.0%}"
            own = number(median(found.own_core[load, workers]))
            cost = number(median(one.cost for one in rounds))
            rate = f"{median(one.rate for one in rounds):,.0f}"
            rows.append([load, f"{workers}", own, *([share, ratio, bar] if workers > 1 else [""] * 3), cost, rate])
    return table(rows)


def tunnels_table(found: Service) -> str:
    """What many idle tunnels take."""
    limit = SERVICE_BARS["tunnels"]
    rows = [["workers", "tunnels", "RSS before, MiB", "RSS, MiB", "PSS, MiB", f"PSS for {TUNNELS:,}, MiB", "bar"]]
    for workers, memory in found.memory.items():
        whole = memory.pss_at(TUNNELS) / 1024
        bar = f"<= {limit:.0f} MiB: {verdict(whole <= limit)}" if workers == 1 else ""
        before, rss, pss = (f"{kib / 1024:.1f}" for kib in (memory.rss_before, memory.rss, memory.pss))
        rows.append([f"{workers}", f"{memory.tunnels:,}", before, rss, pss, f"{whole:.1f}", bar])
    return table(rows)


READY = """\
From the start of `twistd -n pyproxy` until it has answered a request that it forwards; {count} starts each, in turns.
With two workers, three processes start on two cores. The seconds are of the clock on the wall{priority}."""

PRIORITY = ",\nand the daemon goes before what else the machine does (`chrt -f 1`)"

SCALING = """\
50 client connections, 100 bytes, {count} rounds, one worker and two in turns. Load, origin and workers share two cores,
so that requests a second say little of the workers. So there are two runs a round. In one the system puts everybody
where it likes: it tells how evenly the workers share the connections. In the other a worker has a core to itself, and
everybody else the rest: it tells what a request costs a worker that nobody interrupts. `two / one` is what both come to
if each worker has a core: the cost of one alone, divided by that of one of two, divided by the busiest one's share."""

TUNNELS_TEXT = """\
All processes together, with tunnels that have passed 5 bytes both ways. RSS counts the memory that they share once for
each of them, PSS once in all.{fewer}"""

FEWER = """
The limit of descriptors here allowed {most:,} tunnels with one worker; what {wanted:,} take is that in proportion."""


def service_tables(found: Service) -> Iterator[tuple[str, str]]:
    """Every table with its title, and below it what was measured."""
    if found.starts:
        ready = READY.format(count=len(found.starts[1]), priority=PRIORITY if real_time() else "")
        yield "The service: ready", f"{ready_table(found)}\n\n{ready}"
    if found.rounds:
        rounds = len(next(iter(found.rounds.values())))
        yield "The service: two workers", f"{scaling_table(found)}\n\n{SCALING.format(count=rounds)}"
    if found.memory:
        most = min(memory.tunnels for memory in found.memory.values())
        fewer = FEWER.format(most=most, wanted=TUNNELS) if most < TUNNELS else ""
        yield "The service: idle tunnels", f"{tunnels_table(found)}\n\n{TUNNELS_TEXT.format(fewer=fewer)}"


def section(found: Service) -> str:
    """The service's part of the page, with its date and what else the machine did."""
    busy = f"{min(found.loads):.1f} to {max(found.loads):.1f}" if found.loads else "unknown"
    measured = (
        f"These three were measured on {datetime.datetime.now(datetime.UTC):%Y-%m-%d} on {os.cpu_count()} cores. The "
        f"load average\nwhen a measure began was {busy}: above 1, other work kept the cores busy too."
    )
    parts = [f"## {title}\n\n{text}" for title, text in service_tables(found)]
    return "\n\n".join([*parts, measured, *found.problems])
