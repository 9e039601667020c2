"""What a soak test came to: for a person as a table, for a program as JSON."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final, get_args

import msgspec

from scripts.soaking.judging import Outcome

MOST_PROBLEMS: Final = 30
_OUTCOMES: Final[tuple[str, ...]] = get_args(Outcome)


class Memory(msgspec.Struct):
    """Resident memory in bytes, in the second quarter of the time and in the last, and the most it may be then."""

    second_quarter: float
    last_quarter: float
    limit: float


class Report(msgspec.Struct):
    """Everything that is told of a run. ``requests`` counts by kind, and then by outcome; durations are in seconds.

    ``memory`` has nothing of processes that did not live long enough to tell.
    """

    seed: str
    seconds: float
    workers: int
    passed: bool = False
    problems: list[str] = []
    requests: dict[str, dict[str, int]] = {}
    trouble: dict[str, int] = {}
    polls: int = 0
    memory: dict[str, Memory] = {}
    descriptors_before: dict[str, int] = {}
    descriptors_after: dict[str, int] = {}
    lag: float = 0.0
    lag_limit: float = 0.0
    own_lag: float = 0.0
    log_lines: int = 0
    drain_seconds: float = 0.0


def by_kind(counts: dict[tuple[str, Outcome], int]) -> dict[str, dict[str, int]]:
    """The ledger's counts, as the report has them."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for (kind, outcome), count in sorted(counts.items()):
        found[kind][outcome] = count
    return dict(found)


def text(report: Report) -> str:
    """The report for a person."""
    lines = [f"soak: seed {report.seed}, {report.seconds:.0f} s, {report.workers} workers", ""]
    seen = [outcome for outcome in _OUTCOMES if any(outcome in row for row in report.requests.values())]
    rows: list[list[Any]] = [["requests", *seen]]
    rows += [[kind, *(row.get(outcome, "") for outcome in seen)] for kind, row in report.requests.items()]
    rows.append(["all", *(sum(row.get(outcome, 0) for row in report.requests.values()) for outcome in seen)])
    lines += _table(rows)
    lines += ["", *_table([["trouble", ""], *([kind, count] for kind, count in sorted(report.trouble.items()))])]
    lines += ["", *_table(_memory_rows(report))]
    kinds = sorted(report.descriptors_before | report.descriptors_after)
    before, after = report.descriptors_before, report.descriptors_after
    descriptors = [[kind, before.get(kind, 0), after.get(kind, 0)] for kind in kinds]
    lines += ["", *_table([["descriptors at rest", "before", "after"], *descriptors])]
    lines += [
        "",
        f"reactor lag at most {report.lag:.3f} s; it may be {report.lag_limit:g} s and our own, {report.own_lag:.3f} s",
        f"access log {report.log_lines} lines; {report.polls} looks at the control socket",
        f"the drain took {report.drain_seconds:.1f} s",
        "",
        *(f"problem: {problem}" for problem in report.problems[:MOST_PROBLEMS]),
    ]
    if len(report.problems) > MOST_PROBLEMS:
        lines.append(f"and {len(report.problems) - MOST_PROBLEMS} more")
    lines.append("soak: passed" if report.passed else f"soak: failed, with {len(report.problems)} problems")
    return "\n".join(lines)


def _memory_rows(report: Report) -> list[list[Any]]:
    rows: list[list[Any]] = [["memory, MiB", "second quarter", "last quarter", "limit"]]
    for whose, memory in report.memory.items():
        sizes = (memory.second_quarter, memory.last_quarter, memory.limit)
        rows.append([whose, *(f"{size / (1 << 20):.1f}" for size in sizes)])
    return rows if len(rows) > 1 else [["memory: too short a time to tell"]]


def _table(rows: list[list[Any]]) -> list[str]:
    """Aligned columns: names to the left, numbers to the right."""
    widths = [max(len(str(row[column])) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            str(cell).rjust(width) if column else str(cell).ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
