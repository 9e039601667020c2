"""What is wrong with the operator's settings, and where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from twistedproxy.settings.spelling import dotted, printable, shortened


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
    within: str = ""
    """Which key of that entry, where it is a table."""

    def __str__(self) -> str:
        place = printable(self.source)
        if self.line is not None:
            place += f":{self.line}"
            if self.column is not None:
                place += f":{self.column}"
        if not self.path:
            return f"{place}: {self.message}"
        entry = "" if self.entry is None else f"[{self.entry}]"
        if self.within:
            entry += f".{shortened(printable(self.within))}"
        return f"{place}: {dotted(self.path)}{entry}: {self.message}"


class Unfit(ValueError):
    """A value cannot stand where it stands.

    ``expected`` is what could, in words that follow "expected"; empty where the key's kind and limits say
    it all. ``hint`` is what was probably meant. Where the value is a table, ``within`` names the key in it
    that is wrong, and ``value`` is what stands there. ``message`` says everything, in the place of all that.
    """

    def __init__(
        self, expected: str = "", hint: str = "", *, within: str = "", value: object = None, message: str = ""
    ) -> None:
        super().__init__(expected or message)
        self.expected = expected
        self.hint = hint
        self.within = within
        self.value = value
        self.message = message


class SettingsError(Exception):
    """The settings cannot be used. ``str()`` has one line for each problem, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))
