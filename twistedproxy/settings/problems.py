"""What is wrong with the operator's settings, and where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from twistedproxy.settings.spelling import dotted, printable


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. Its ``str()`` is one line for the operator."""

    source: str
    """The file, or ``--set``."""
    message: str
    path: Sequence[str] = ()
    """The key, table by table; empty where it is no key's."""
    entry: int | None = None
    """Which entry of the key's list, from 0."""
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = printable(self.source)
        if self.line is not None:
            place += f":{self.line}"
            if self.column is not None:
                place += f":{self.column}"
        if not self.path:
            return f"{place}: {self.message}"
        entry = "" if self.entry is None else f"[{self.entry}]"
        return f"{place}: {dotted(self.path)}{entry}: {self.message}"


class Unfit(ValueError):
    """A value cannot stand where it stands.

    ``expected`` is what could, in words that follow "expected"; empty where the key's kind and limits say
    it all. ``hint`` is what was probably meant.
    """

    def __init__(self, expected: str = "", hint: str = "") -> None:
        super().__init__(expected)
        self.expected = expected
        self.hint = hint


class SettingsError(Exception):
    """The settings cannot be used. ``str()`` has one line for each problem, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
