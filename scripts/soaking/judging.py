"""What counts as wrong: pure decisions about what was seen.

An answer is wrong when it looks complete and is not the one that was asked for, or when any byte of it is another than
the origin sent. A request that merely did not go through has failed; that is excused only where the process that
carried it was killed.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

Outcome = Literal["right", "refused", "cut", "left", "retried", "excused", "failed", "wrong"]
"""As asked for; an error status, as it should be; broken off, as it should be; the client's own leaving; asked again on
another connection; failed with a killed process; failed without an excuse; wrong."""

UNACCEPTABLE: Final[tuple[Outcome, ...]] = ("failed", "wrong")

MEMORY_FACTOR: Final = 1.1
MEMORY_SLACK: Final = 5 << 20
"""Memory may be so many times what it was before, and so many bytes more."""

LEAST_SAMPLES: Final = 8
"""A quarter with fewer says nothing."""

LEAST_SECONDS: Final = 60.0
"""Memory of a shorter time says nothing either: processes grow while they warm up."""

LOG_SECONDS: Final = 3.0
"""Lines of the access log wait for a second at most; so many seconds before its end a killed process may lose some."""

IDLE_PIPES: Final = 64
"""Pipes that a worker keeps for later tunnels at most."""


# ---------------------------------------------------------------- answers


class Expected(NamedTuple):
    """What should be answered to request ``number``: one of ``statuses``, or with ``cut`` one that breaks off.

    ``cut`` says whether an answer that began with 200 may, or must, be seen to be incomplete.
    """

    number: int
    statuses: frozenset[int] = frozenset((200,))
    cut: Literal["never", "may", "must"] = "never"


class Answer(NamedTuple):
    """What was answered: ``number`` as the origin says, -1 for none; the ``end`` as it looks to a client.

    ``same`` when all bytes of the content that came are the right ones, ``whole`` when they are all there too.
    """

    status: int
    number: int
    end: Literal["complete", "cut", "nothing"]
    same: bool
    whole: bool


NOTHING: Final = Answer(0, -1, "nothing", same=True, whole=False)


def verdict(expected: Expected, answer: Answer) -> tuple[Outcome, str]:
    """What an answer is, and why in words."""
    said = f"request {expected.number}: status {answer.status}, {answer.end}"
    if answer.end == "nothing":
        return "failed", said
    if answer.number not in (-1, expected.number) or (answer.number == -1 and answer.status == 200):
        return "wrong", f"{said}, of request {answer.number}"
    if answer.status != 200:
        if answer.number != -1:
            return "wrong", f"{said}, with an origin's content"
        return ("refused" if answer.status in expected.statuses else "failed"), said
    if not answer.same:
        return "wrong", f"{said}, with other bytes"
    if answer.end == "complete":
        if not answer.whole:
            return "wrong", f"{said}, with bytes missing"
        if expected.cut == "must" or 200 not in expected.statuses:
            return "wrong", f"{said}, though the origin never said all of it"
        return "right", said
    return ("failed" if expected.cut == "never" else "cut"), said


class Failure(NamedTuple):
    """Something that did not go through, from the client's ``port`` (0 when unknown), and when, by one clock."""

    port: int
    began: float
    ended: float
    said: str


class Kill(NamedTuple):
    """A process that was stopped at ``at`` and was gone by ``until``, and the client ports of what it carried."""

    at: float
    until: float
    ports: frozenset[int]


def is_excused(failure: Failure, kills: Iterable[Kill]) -> bool:
    """Whether a process that was killed carried it."""
    return any(
        failure.port in kill.ports and failure.began <= kill.until and failure.ended >= kill.at for kill in kills
    )


def is_within(moment: float, spans: Iterable[tuple[float, float]]) -> bool:
    """Whether one of the spans of time has that moment."""
    return any(start <= moment <= end for start, end in spans)


# ---------------------------------------------------------------- what must not grow


class Growth(NamedTuple):
    """Two medians, in bytes, and what the later one may be."""

    second: float
    last: float

    @property
    def limit(self) -> float:
        return self.second * MEMORY_FACTOR + MEMORY_SLACK

    @property
    def is_leak(self) -> bool:
        return self.last > self.limit


def growth(samples: Sequence[tuple[float, int]]) -> Growth | None:
    """From the second quarter of the time to the last; None where there is too little to tell. Samples by time."""
    if not samples or samples[-1][0] - samples[0][0] < LEAST_SECONDS:
        return None
    start, end = samples[0][0], samples[-1][0]
    quarter = (end - start) / 4
    second = [size for moment, size in samples if start + quarter <= moment < start + 2 * quarter]
    last = [size for moment, size in samples if moment >= end - quarter]
    if min(len(second), len(last)) < LEAST_SAMPLES:
        return None
    return Growth(statistics.median(second), statistics.median(last))


def descriptor_leaks(before: Mapping[str, int], after: Mapping[str, int], workers: int) -> list[str]:
    """What is open at rest beyond what was, by kind; of pipes a worker may keep some."""
    allowed = {kind: before.get(kind, 0) for kind in after}
    if "pipe" in allowed:
        allowed["pipe"] += 2 * IDLE_PIPES * workers
    return [
        f"{after[kind]} descriptors of the kind {kind!r} are open at rest, and {before.get(kind, 0)} were at the start"
        for kind in sorted(after)
        if after[kind] > allowed[kind]
    ]


def is_late(lag: float, own_lag: float, limit: float) -> bool:
    """Whether a reactor was late by more than ``limit`` seconds beyond what this process was on the same machine."""
    return lag > limit + own_lag


# ---------------------------------------------------------------- the logs

_NUMBER = re.compile(r"\?n=([0-9]+)\b")
_SQUID = re.compile(
    r"[0-9]{10}\.[0-9]{3} +[0-9]+ 127\.0\.0\.1 (?:TCP_MISS|TCP_TUNNEL|TCP_DENIED|NONE)(?:_ABORTED)?/[0-9]{3} [0-9]+ "
    r"\S+ \S+ - HIER_(?:DIRECT/127\.0\.0\.1|NONE/-) \S+(?: [a-z_]+)?"
)
_COMBINED = re.compile(
    r"127\.0\.0\.1 - - \[[0-9]{2}/[A-Z][a-z]{2}/[0-9]{4}:[0-9:]{8} \+0000\] "
    r'"(?:-|\S+ \S+ \S+)" [0-9]{3} [0-9]+ "[^"]*" "[^"]*"'
)
_MEMBERS = {"started", "finished", "kind", "client_address", "method", "url", "status", "reason"}
_EXPECTED_ERROR = re.compile(
    r"worker [0-9]+ \(process ([0-9]+)\) was (?:ended by signal 9|killed, because its reactor)"
)
_ERROR = re.compile(r"^\S+ (?:error|critical) ", re.IGNORECASE)


class Torn(Exception):
    """A line of the access log that is of no format."""


def logged_number(line: str) -> int:
    """Which request a line of the access log is about; -1 when it does not say. Raises `Torn`."""
    if line.startswith("{"):
        try:
            members = json.loads(line)
        except ValueError:
            raise Torn(line) from None
        if not isinstance(members, dict) or not members.keys() >= _MEMBERS:
            raise Torn(line)
        line = str(members["url"])
    elif not (_SQUID.fullmatch(line) or _COMBINED.fullmatch(line)):
        raise Torn(line)
    found = _NUMBER.findall(line)
    if len(found) > 1:
        raise Torn(line)
    return int(found[0]) if found else -1


def complaints_of(log: str, killed: frozenset[int]) -> list[str]:
    """Lines of the operational log that should not be there. ``killed`` are the processes that were made to end."""
    found: list[str] = []
    for line in log.splitlines():
        expected = _EXPECTED_ERROR.search(line)
        if expected is not None and int(expected[1]) in killed:
            continue
        if "Traceback" in line or expected is not None or _ERROR.match(line):
            found.append(line)
    return found
