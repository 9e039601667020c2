"""What is printed: drawn by rich on a terminal, plain aligned text where a program reads it, or JSON.

Theory of operation. A command says what it shows as parts: lines of text, facts, tables. Both ways of printing take
every string through `printable`, so that nothing a client made up (a target, say) reaches the terminal as a control
sequence. rich is imported when something is drawn, which is seldom the first thing that a script asks for.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_GAP: Final = "  "
_STATE: Final = "state"
_COLOURS: Final = {
    "ready": "green",
    "starting": "yellow",
    "reloading": "yellow",
    "draining": "yellow",
    "stopping": "yellow",
    "waiting": "red",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known, a line each: its name and its value, which may be several lines."""

    pairs: Sequence[tuple[str, str | Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings. The columns whose headings are in ``figures`` are aligned to the right."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: Collection[str] = ()


Part = str | Facts | Table


def printable(text: str) -> str:
    """``text`` on one line, with what is not printable escaped as Python does it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def on_terminal() -> bool:
    """Whether a person is looking at the standard output."""
    return sys.stdout.isatty()


def show(parts: Iterable[Part]) -> None:
    """Print ``parts``."""
    if on_terminal():
        console = _console()
        for part in _apart(parts):
            console.print(_drawn(part), soft_wrap=isinstance(part, str))
    else:
        click.echo(plain_text(parts), nl=False)


def show_each(frames: Iterable[Sequence[Part]]) -> None:
    """Print one after the other: on a terminal each in the place of the last, else with an empty line between."""
    if not on_terminal():
        for number, parts in enumerate(frames):
            click.echo(("\n" if number else "") + plain_text(parts), nl=False)
            sys.stdout.flush()
        return
    from rich.console import Group
    from rich.live import Live

    with Live(console=_console(), screen=True, auto_refresh=False) as live:
        for parts in frames:
            live.update(Group(*map(_drawn, _apart(parts))), refresh=True)


def show_json(value: object) -> None:
    """Print ``value``, one of the API's types, as JSON on one line."""
    click.echo(json_text(value))
    sys.stdout.flush()


def show_error(lines: Sequence[str]) -> None:
    """Say on the standard error why it did not go well."""
    first, *more = map(printable, lines)
    click.echo("\n".join([f"pyproxyctl: {first}", *more]), err=True)


def json_text(value: object) -> str:
    """``value`` as JSON that is safe to look at, too: JSON itself leaves some control characters as they are."""
    import msgspec

    text = msgspec.json.encode(value).decode()
    if text.isprintable():
        return text
    # Outside of strings all is ASCII and printable, so these stand in strings, where an escape means the same.
    return re.sub(r"[^\x20-\x7e]+", lambda match: "".join(map(_json_escaped, match[0])), text)


def _json_escaped(character: str) -> str:
    if character.isprintable():
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def plain_text(parts: Iterable[Part]) -> str:
    """``parts`` as aligned lines, without colours or lines drawn, and as wide as they are."""
    return "".join(f"{line.rstrip()}\n" for part in _apart(parts) for line in _plain_lines(part))


def _apart(parts: Iterable[Part]) -> Iterator[Part]:
    """``parts`` with an empty line on either side of each table; lines of text stand together."""
    last: Part | None = None
    for part in parts:
        if isinstance(part, Table) and not part.rows:
            continue
        if last is not None and not (isinstance(part, str) and isinstance(last, str)):
            yield ""
        yield part
        last = part


def _plain_lines(part: Part) -> Iterator[str]:
    match part:
        case str():
            yield printable(part)
        case Facts():
            rows = list(_fact_rows(part))
            yield from _aligned(rows, [False, False])
        case Table():
            if part.title:
                yield printable(part.title)
            rows = [list(map(printable, row)) for row in (part.headings, *part.rows)]
            yield from _aligned(rows, [heading in part.figures for heading in part.headings])


def _fact_rows(facts: Facts) -> Iterator[list[str]]:
    for name, value in facts.pairs:
        lines = [value] if isinstance(value, str) else list(value)
        for number, line in enumerate(lines):
            yield ["" if number else printable(name), printable(line)]


def _aligned(rows: Sequence[Sequence[str]], to_the_right: Sequence[bool]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, to_the_right, strict=True)
        yield _GAP.join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells)


def _width(table: Table) -> int:
    widths = [max(map(len, column)) for column in zip(table.headings, *table.rows, strict=True)]
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _console() -> Console:
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, markup=False, emoji=False)


def _drawn(part: Part) -> RenderableType:
    from rich import box
    from rich.console import Group
    from rich.table import Table as Drawing
    from rich.text import Text

    match part:
        case str():
            return Text(printable(part))
        case Facts():
            grid = Drawing.grid("", "", padding=(0, 2, 0, 0))
            for name, value in _fact_rows(part):
                grid.add_row(Text(name, style="bold"), Text(value, style=_colour(name, value)))
            return grid
        case Table():
            # The box has a space between columns; another one where there is room.
            room = 1 if _width(part) <= shutil.get_terminal_size().columns else 0
            drawing = Drawing(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, room, 0, 0))
            for heading in part.headings:
                right = heading in part.figures
                drawing.add_column(Text(printable(heading)), justify="right" if right else "left", overflow="fold")
            for row in part.rows:
                named = zip(part.headings, map(printable, row), strict=True)
                drawing.add_row(*(Text(cell, style=_colour(heading, cell)) for heading, cell in named))
            return Group(Text(printable(part.title), style="bold"), drawing) if part.title else drawing


def _colour(name: str, value: str) -> str:
    return _COLOURS.get(value, "") if name == _STATE else ""
