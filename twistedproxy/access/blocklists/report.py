"""What came of reading a list: how much was understood, and the first lines that were not."""

from __future__ import annotations

from typing import Final

import msgspec

MOST_FAULTS: Final = 10
"""How many bad lines are told of; all of them are counted."""

SHOWN: Final = 80
"""How much of a bad line is shown, in characters."""


class Fault(msgspec.Struct, frozen=True):
    """A line that is not what a list has: its number, its beginning, and what is wrong with it."""

    line: int
    text: str
    why: str


class Report(msgspec.Struct):
    """How much of a list was understood.

    ``names`` counts hosts and addresses, ``rules`` those for paths and whole URLs. ``skipped`` lines mean something
    that this proxy does not act on; ``bad`` ones mean nothing, and ``faults`` are the first of them.
    """

    lines: int = 0
    names: int = 0
    rules: int = 0
    skipped: int = 0
    bad: int = 0
    faults: list[Fault] = []

    def is_bad(self, line: int, text: bytes, why: str) -> None:
        """Count a bad line."""
        self.bad += 1
        if len(self.faults) < MOST_FAULTS:
            shown = text[: SHOWN + 1].decode("utf-8", "replace")
            clean = "".join(one if one.isprintable() else "?" for one in shown)
            self.faults.append(Fault(line, clean if len(clean) <= SHOWN else f"{clean[:SHOWN]}...", why))


class Bad(Exception):
    """A line means nothing. The text says why."""


class Skipped(Exception):
    """A line means something that is not acted on here."""
