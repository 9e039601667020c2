"""The tables, and the page that is made of them."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmark.measures import MEASURES, Measure
from benchmark.proxies import (
    HAPROXY,
    MITMDUMP,
    OURS,
    PROXY_PY,
    SQUID,
    TINYPROXY,
    Proxy,
    printed_version,
    program,
)

OUR_NAME = "ours"

# The project's bars: our cost is at most this many times the peer's.
BARS: Mapping[tuple[str, str], float] = {
    ("get-100", "squid"): 0.6,
    ("get-10k", "squid"): 0.6,
    ("bulk", "squid"): 0.5,
    ("bulk", "haproxy"): 0.5,
    ("setup", "squid"): 1.2,
    ("policy-get-100", "squid"): 0.7,
    ("policy-get-10k", "squid"): 0.7,
    ("tls-get-100", "squid"): 1.5,
    ("tls-get-100", "mitmproxy"): 0.1,
    ("tls-get-10k", "squid"): 1.5,
    ("tls-get-10k", "mitmproxy"): 0.1,
    ("h2-get-100", "mitmproxy"): 0.2,
    ("h2-get-10k", "mitmproxy"): 0.2,
    ("tls-download", "mitmproxy"): 0.25,
}
IDLE_BAR_KIB = 8.0
MEMORY_BAR_MIB = 2.0
# What the managed service promises: seconds at most, times at least, MiB at most.
SERVICE_BARS: Mapping[str, float] = {"ready": 0.7, "scaling": 1.8, "tunnels": 120}


@dataclass(slots=True)
class Results:
    """What a run has found: costs by measure and proxy, round after round, and samples of resident memory."""

    proxies: Sequence[Proxy]
    measures: Sequence[Measure]
    rounds: int
    costs: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    memory: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def cost(self, measure: str, proxy: str) -> float | None:
        """The median over the rounds; None where there is none."""
        costs = self.costs.get((measure, proxy))
        return median(costs) if costs else None


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, aligned; the first row is the head, the first column text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * width if index < 1 else "-" * (width - 1) + ":" for index, width in enumerate(widths)]
    lines = []
    for row in (rows[0], rule, *rows[1:]):
        cells = (
            cell.ljust(width) if index < 1 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _title(proxy: Proxy, measure: Measure) -> str:
    note = proxy.tunnel_note if measure.is_tunnel else proxy.plain_note
    return f"{proxy.title} ({note})" if note else proxy.title


def verdict(met: bool) -> str:
    return "met" if met else "**missed**"


def measure_table(results: Results, measure: Measure) -> str:
    """One measure, a row a proxy: median, spread, our cost over its cost, and the bar where there is one."""
    ours = results.cost(measure.name, OUR_NAME)
    rows = [["proxy", measure.unit, "lowest - highest", "ours / it", "bar"]]
    for proxy in results.proxies:
        costs = results.costs.get((measure.name, proxy.name))
        if not costs:
            continue
        cost = median(costs)
        ratio, bar = "", ""
        if proxy.name == OUR_NAME:
            if measure.name == "idle":
                bar = f"<= {IDLE_BAR_KIB:.0f} KiB: {verdict(cost <= IDLE_BAR_KIB)}"
        elif ours is not None and cost > 0:
            ratio = f"{ours / cost:.2f}"
            limit = BARS.get((measure.name, proxy.name))
            if limit is not None:
                bar = f"<= {limit}: {verdict(ours / cost <= limit)}"
        spread = f"{number(min(costs))} - {number(max(costs))}"
        rows.append([_title(proxy, measure), number(cost), spread, ratio, bar])
    return table(rows)


def _memory_growth(samples: Sequence[tuple[int, int]]) -> float:
    """MiB from the first sample to the largest after it."""
    return (max(resident for _, resident in samples) - samples[0][1]) / 1024


def memory_table(results: Results) -> str:
    """Resident memory after so many requests, a row a sample."""
    tables = []
    for name, samples in results.memory.items():
        title = next(proxy.title for proxy in results.proxies if proxy.name == name)
        rows = [["requests served", f"{title}: resident MiB"]]
        rows += [[f"{served:,}", f"{resident / 1024:.2f}"] for served, resident in samples]
        growth = _memory_growth(samples)
        bar = f" (bar: within {MEMORY_BAR_MIB:.0f} MiB: {verdict(growth <= MEMORY_BAR_MIB)})"
        tables.append(f"{table(rows)}\n\nGrowth: {growth:.2f} MiB{bar if name == OUR_NAME else ''}.")
    return "\n\n".join(tables)


def tables(results: Results) -> Iterator[tuple[str, str]]:
    """Every table of the run, with its title."""
    for measure in results.measures:
        yield measure.title, measure_table(results, measure)
    if results.memory:
        yield "Resident memory over a million requests", memory_table(results)


# ---------------------------------------------------------------- the page

TEMPLATE = Path(__file__).with_name("page.md")


def _machine(results: Results) -> str:
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    rows = [
        ["what", "value"],
        ["date", f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"],
        ["processor", f"{model}, {os.cpu_count()} cores"],
        ["memory", f"{memory:.0f} GiB"],
        ["system", f"{system}, Linux {platform.release()}"],
        ["Python (ours, load)", platform.python_version()],
        ["nginx (origin)", printed_version(program("nginx") or "nginx", "-v")],
        ["wrk (load)", printed_version(program("wrk") or "wrk", "-v")],
    ]
    versions = {proxy.title.partition(",")[0]: proxy.version for proxy in results.proxies}
    rows += [[title, version()] for title, version in versions.items()]
    width = max(len(row[0]) for row in rows)
    rows.insert(1, ["-" * width, "---"])
    return "\n".join(f"| {name.ljust(width)} | {value} |" for name, value in rows)


def _configurations() -> str:
    texts = {
        "twistedproxy": OURS,
        "Squid": SQUID,
        "HAProxy (with `option splice-auto` in both relays for the other row)": HAPROXY,
        "tinyproxy": TINYPROXY,
        "proxy.py, options": PROXY_PY,
        "mitmdump, options": MITMDUMP,
    }
    return "\n\n".join(f"{title}:\n\n```\n{readable(text)}\n```" for title, text in texts.items())


def readable(template: str) -> str:
    """A template of a configuration, with words where a run has its values."""
    for name in ("port", "plain", "tunnel_http", "tunnel_stream", "http", "stream"):
        template = template.replace(f"%({name})d", name.upper())
    for name, words in (("directory", "DIRECTORY"), ("certgen", "security_file_certgen"), ("trusted", "ORIGIN_CA")):
        template = template.replace(f"%({name})s", words)
    return template.replace("    %(splice)s\n", "").strip()


def page(results: Results, sections: Mapping[str, str]) -> str:
    """docs/benchmarks.md, with ``sections``, which are measured apart, as they are."""
    return TEMPLATE.read_text().format(
        caveats="".join(f"\nNot in these tables: {problem}\n" for problem in results.problems),
        results="".join(f"\n## {title}\n\n{table}\n" for title, table in tables(results)),
        **sections,
        tick=1000 / os.sysconf("SC_CLK_TCK"),
        rounds=results.rounds,
        measures="\n".join(f"- *{measure.title}.* {measure.method}" for measure in MEASURES),
        configurations=_configurations(),
        machine=_machine(results),
    )
