"""The parts of the page that are measured apart, each between two marks of its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """One such part: the lines that it begins and ends with."""

    begin: str
    end: str

    def marked(self, text: str) -> str:
        """``text`` between the marks."""
        return f"{self.begin}\n\n{text}\n\n{self.end}" if text else f"{self.begin}\n\n{self.end}"

    def replaced(self, page: str, text: str) -> str:
        """``page`` with ``text`` in this part's place."""
        before, found, rest = page.partition(self.begin)
        _old, end, after = rest.partition(self.end)
        if not found or not end:
            raise ValueError(f"the page has no place for {self.begin}")
        return before + self.marked(text) + after

    def kept(self, page: str) -> str:
        """This part as ``page`` has it; an empty one where there is none."""
        _before, found, rest = page.partition(self.begin)
        return f"{self.begin}{rest.partition(self.end)[0]}{self.end}" if found else self.marked("")
