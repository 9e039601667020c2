"""Which fields are taken out of a message by their names, and which get another value."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from typing import Any, Final

from twistedproxy.access.globs import glob_expression
from twistedproxy.http.message import FieldLine, Fields, ResponseHead
from twistedproxy.settings.field_names import OUT_OF_REACH, field_line

_MEMO: Final = 2048

Changes = dict[bytes, bytes | None]
"""What fields are to be, by their names in lower case: another value, or None for gone."""


class NameRules:
    """The lists of ``privacy`` for one direction, compiled. Never reaches what `OUT_OF_REACH` names.

    ``allow`` are the names and globs that may stay, empty for all; ``remove`` those that are taken out, and
    ``replace`` are lines.
    """

    __slots__ = ("_allow", "_known", "_memo", "_remove")

    def __init__(self, remove: Iterable[str] = (), replace: Iterable[str] = (), allow: Iterable[str] = ()) -> None:
        remove, allow = [one.lower() for one in remove], [one.lower() for one in allow]
        known: Changes = {one.encode("ascii"): None for one in remove if not _is_glob(one)}
        known.update(field_line(line) for line in replace)
        self._known = known
        self._allow = _expression(allow)
        self._remove = _expression(filter(_is_glob, remove))
        # By name, whether a glob or the list of what is allowed takes it out. The names are in the hands of strangers.
        self._memo: dict[bytes, bool] = {}

    def __repr__(self) -> str:
        globs = "" if self._allow is None and self._remove is None else " by globs too"
        return f"<NameRules {len(self._known)}{globs}>"

    def __bool__(self) -> bool:
        return bool(self._known) or self._allow is not None or self._remove is not None

    def note(self, changes: Changes, fields: Fields) -> None:
        """Enter into ``changes`` what becomes of ``fields``."""
        index = fields.index
        known = self._known
        if not known.keys().isdisjoint(index):
            for name in known.keys() & index.keys():
                changes[name] = known[name]
        if self._allow is None and self._remove is None:
            return
        memo = self._memo
        for name in index:
            gone = memo.get(name)
            if gone is None:
                if len(memo) >= _MEMO:
                    memo.clear()
                gone = memo[name] = self._takes(name)
            if gone and known.get(name) is None:
                changes[name] = None

    def response(self, head: ResponseHead) -> ResponseHead:
        """The response ``head`` as the client is to see it."""
        changes: Changes = {}
        self.note(changes, head.fields)
        if not changes:
            return head
        fields = rewritten(head.fields, changes)
        return ResponseHead(head.status, head.phrase, head.minor, fields, head.length, head.options, head.version)

    def trailers(self, lines: list[FieldLine]) -> list[FieldLine]:
        """The trailer field lines that are left of ``lines``."""
        fields = Fields(lines)
        changes: Changes = {}
        self.note(changes, fields)
        return rewritten(fields, changes).lines if changes else lines

    def _takes(self, name: bytes) -> bool:
        text = name.decode("ascii")
        if text in OUT_OF_REACH:
            return False
        if self._remove is not None and self._remove.fullmatch(text):
            return True
        return self._allow is not None and not self._allow.fullmatch(text)


def rewritten(fields: Fields, changes: Changes, written: Iterable[tuple[bytes, bytes]] = ()) -> Fields:
    """``fields`` after ``changes``; each field is where its first line was.

    ``written`` are how fields are called, by their names in lower case, that are added where they are absent.
    """
    index = fields.index.copy()
    several = False
    for name, value in changes.items():
        came = index.pop(name, None)
        if came is not None and value is not None:
            index[name] = value
            several = several or type(came) is tuple
    lines: list[FieldLine] = []
    for line in fields.lines:
        name = line[0].lower()
        if name not in changes:
            lines.append(line)
        elif (value := changes[name]) is not None:
            # One that is never to be indexed (RFC 7541 section 7.1.3) stays so.
            kind: Any = type(line)
            lines.append((line[0], value) if kind is tuple else kind(line[0], value))
    if several:
        lines = _once(lines, changes)
    for name, spelt in written:
        value = changes.get(name)
        if value is not None and name not in index:
            lines.append((spelt, value))
            index[name] = value
    return Fields.indexed(lines, index)


def _once(lines: list[FieldLine], names: Container[bytes]) -> list[FieldLine]:
    """``lines`` with only the first of each of ``names``."""
    kept: list[FieldLine] = []
    seen: set[bytes] = set()
    for line in lines:
        name = line[0].lower()
        if name not in seen:
            kept.append(line)
            if name in names:
                seen.add(name)
    return kept


def _is_glob(name: str) -> bool:
    return "*" in name or "?" in name


def _expression(globs: Iterable[str]) -> re.Pattern[str] | None:
    expressions = [glob_expression(glob) for glob in sorted(set(globs))]
    return re.compile("|".join(expressions)) if expressions else None
