"""Where in the file each key stands.

Theory of operation. ``tomllib`` keeps no line numbers, so it is asked about pieces. A TOML document is a
row of statements, each of one line or more, and a statement that is cut short never parses by itself. So
the text is cut into the shortest runs of lines that parse alone, and the parsed piece says which keys it
sets. Each statement is parsed about once, so that the work stays linear; where a document makes it more
(arrays of very many lines full of closing brackets) the work is cut off, and the keys from there on have no
line.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from typing import Any, Final

_EFFORT: Final = 3
"""How often, on average, a character may be parsed before the search is given up."""
_EFFORT_AT_LEAST: Final = 1 << 18
_DEPTH: Final = 2
"""How many parts of a key path are kept: a table and a key."""
_ENDS = ("]", "}", '"""', "'''")
"""What stands on the last line of a statement that has several."""


class Places:
    """The line of each key of a document, from 1.

    ``text`` is a document that ``tomllib`` takes as a whole, with line feeds only.
    """

    def __init__(self, text: str) -> None:
        self._lines = text.split("\n")
        self._effort = max(_EFFORT_AT_LEAST, _EFFORT * len(text))
        self._spans: dict[tuple[str, ...], tuple[int, int]] = {}
        # Of each array of tables (``[[...]]``), the lines of each table in it and of the keys in that.
        self._tables: dict[tuple[str, ...], list[dict[str, int]]] = {}
        table: tuple[str, ...] = ()
        for start, end, piece in self._statements():
            header = self._lines[start].lstrip(" \t")
            if header.startswith("["):
                table = _innermost(piece)
                if header.startswith("[["):
                    self._tables.setdefault(table, []).append({"": start})
            elif table in self._tables:
                for name in piece:
                    self._tables[table][-1].setdefault(name, start)
            for path in _paths(piece, () if header.startswith("[") else table):
                self._spans.setdefault(path, (start, end))

    def __repr__(self) -> str:
        return f"<Places keys={len(self._spans)} lines={len(self._lines)}>"

    def line(self, path: Sequence[str]) -> int | None:
        """The line on which the statement begins that sets ``path`` (a table, or a table and a key)."""
        span = self._spans.get(tuple(path))
        return None if span is None else span[0] + 1

    def entry_line(self, path: Sequence[str], entry: int, within: str = "") -> int | None:
        """The line of one entry of a list, or of the list where its entries cannot be told apart.

        Of a table in an array of tables: the line of its key ``within``, ``names[2]`` for one in a list there.
        """
        tables = self._tables.get(tuple(path), ())
        if entry < len(tables):
            lines = tables[entry]
            return lines.get(within.partition("[")[0], lines[""]) + 1
        span = self._spans.get(tuple(path))
        if span is None:
            return None
        start, end = span
        before = 0
        # Each line is made an array of its own: opened before it and closed after it.
        for number in range(start, end):
            opening = "" if number == start else "x = [\n"
            closing = "" if number == end - 1 else "\n]"
            piece = self._parse(opening + self._lines[number] + closing)
            entries = None if piece is None else _only_list(piece)
            if entries is None:
                break
            before += entries
            if entry < before:
                return number + 1
        return start + 1

    def _statements(self) -> Iterator[tuple[int, int, dict[str, Any]]]:
        """Each statement as ``(first line, line after the last, what it sets)``, lines from 0."""
        start = 0
        while start < len(self._lines):
            first = self._lines[start].strip()
            if not first or first.startswith("#"):
                start += 1
                continue
            for end in range(start + 1, len(self._lines) + 1):
                if end > start + 1 and not any(mark in self._lines[end - 1] for mark in _ENDS):
                    continue
                piece = self._parse("\n".join(self._lines[start:end]))
                if piece is not None:
                    yield start, end, piece
                    break
                if self._effort <= 0:
                    return
            else:
                return
            start = end

    def _parse(self, text: str) -> dict[str, Any] | None:
        """``text`` by itself; None where it is no document, or where enough has been tried."""
        self._effort -= len(text)
        if self._effort <= 0:
            return None
        try:
            return tomllib.loads(text)
        except (ValueError, RecursionError):
            return None


def _innermost(piece: dict[str, Any]) -> tuple[str, ...]:
    """The path of the table that a header opens."""
    path: list[str] = []
    inner: Any = piece
    while inner:
        if isinstance(inner, list):
            inner = inner[-1]
        else:
            name, inner = next(iter(inner.items()))
            path.append(name)
    return tuple(path)


def _paths(piece: dict[str, Any], prefix: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The paths that a statement sets, down to the depth that is kept."""
    if prefix:
        yield prefix[:_DEPTH]
    if len(prefix) >= _DEPTH:
        return
    for name, value in piece.items():
        path = (*prefix, name)
        yield path
        if isinstance(value, dict) and len(path) < _DEPTH:
            for inner in value:
                yield (*path, inner)


def _only_list(piece: dict[str, Any]) -> int | None:
    """How many entries the one list has that ``piece`` sets; None where it sets something else."""
    inner: Any = piece
    while isinstance(inner, dict) and len(inner) == 1:
        inner = next(iter(inner.values()))
    return len(inner) if isinstance(inner, list) else None
