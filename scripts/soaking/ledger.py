"""The account of a run: every request that was sent, what became of it, and whether the access log knows it."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Final

from scripts.soaking.judging import (
    LOG_SECONDS,
    UNACCEPTABLE,
    Failure,
    Kill,
    Outcome,
    Torn,
    is_excused,
    is_within,
    logged_number,
)

MOST_LISTED: Final = 40
"""Of one kind of trouble no more than this is told in full."""


class Ledger:
    """Counts, and keeps of each request a few bytes: how often it was sent, how often logged, and when answered."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, Outcome]] = Counter()
        self.problems: list[str] = []
        """What must not be."""
        self.kills: list[Kill] = []
        self.drains: list[tuple[float, float]] = []
        """When processes were told to end in good order, and when they had to be done."""
        self.lines = 0
        self.unnumbered = 0
        """Of the lines, those that do not say which request they are about."""
        self._failures: list[tuple[str, Outcome, Failure]] = []
        self._retries: list[tuple[str, Failure]] = []
        self._sent = bytearray()
        self._logged = bytearray()
        self._answered = array("d")

    def __repr__(self) -> str:
        return f"<Ledger requests={self.requests} problems={len(self.problems)}>"

    @property
    def requests(self) -> int:
        """How many there were."""
        return len(self._sent)

    def problem(self, text: str) -> None:
        """Note what must not be."""
        self.problems.append(text)

    # ------------------------------------------------------------ requests

    def new_number(self) -> int:
        """The number of a request that is about to be sent."""
        self._sent.append(0)
        self._logged.append(0)
        self._answered.append(0.0)
        return len(self._sent) - 1

    def sent(self, number: int) -> None:
        """It is sent, perhaps not for the first time."""
        self._sent[number] = min(self._sent[number] + 1, 255)

    def answered(self, number: int) -> None:
        """It has been answered whole."""
        self._answered[number] = time.monotonic()

    def count(self, kind: str, outcome: Outcome, failure: Failure | None = None) -> None:
        """One more came to ``outcome``. What may have an excuse is looked at again when all the kills are known."""
        if failure is not None and outcome in UNACCEPTABLE:
            self._failures.append((kind, outcome, failure))
            return
        if failure is not None and outcome == "retried":
            self._retries.append((kind, failure))
        self.counts[kind, outcome] += 1

    def settle(self) -> None:
        """Excuse what has an excuse; the rest are problems."""
        for kind, outcome, failure in self._failures:
            # Wrong is wrong, whoever was killed.
            if outcome == "failed" and is_excused(failure, self.kills):
                self.counts[kind, "excused"] += 1
                continue
            self.counts[kind, outcome] += 1
            lasted = f"{failure.ended - failure.began:.3f} s until {failure.ended:.3f}"
            self.problem(f"{outcome}: {kind} from port {failure.port}, {lasted}: {failure.said}")
        for kind, failure in self._retries:
            if not is_within(failure.ended, self.drains) and not is_excused(failure, self.kills):
                self.problem(
                    f"closed without need: {kind} from port {failure.port} at {failure.ended:.3f}: {failure.said}"
                )
        self._failures.clear()
        self._retries.clear()

    # ------------------------------------------------------------ the access log

    def read_log(self, name: str, text: str) -> None:
        """Look at every line of an access log that nobody writes to any more."""
        if text and not text.endswith("\n"):
            self.problem(f"{name} ends in the middle of a line")
        for line in text.splitlines():
            self.lines += 1
            try:
                number = logged_number(line)
            except Torn:
                self.problem(f"{name}: a line of no format: {line[:300]!r}")
                continue
            if number < 0:
                self.unnumbered += 1
            elif number >= len(self._logged):
                self.problem(f"{name}: a line about a request that was never sent: {line[:300]!r}")
            else:
                self._logged[number] = min(self._logged[number] + 1, 255)

    def check_log(self, least_unnumbered: int, most_unnumbered: int) -> None:
        """Whether the access log, which has been read, has the lines that it should."""
        spans = [(kill.at - LOG_SECONDS, kill.until + LOG_SECONDS) for kill in self.kills]
        numbers = range(len(self._sent))
        missing = [
            number
            for number in numbers
            if self._answered[number] and not self._logged[number] and not is_within(self._answered[number], spans)
        ]
        twice = [number for number in numbers if self._logged[number] > self._sent[number]]
        self._list("the access log has no line about", missing)
        self._list("the access log has too many lines about", twice)
        # Of tunnels and unreadable requests only the number is known; a killed process may have lost some.
        if self.unnumbered > most_unnumbered or (self.unnumbered < least_unnumbered and not self.kills):
            limits = f"{least_unnumbered} to {most_unnumbered}"
            self.problem(
                f"the access log has {self.unnumbered} lines about tunnels and malformed requests, not {limits}"
            )

    def _list(self, what: str, numbers: Sequence[int]) -> None:
        if numbers:
            listed = ", ".join(map(str, numbers[:MOST_LISTED]))
            self.problem(f"{what} {len(numbers)} requests, such as {listed}")
