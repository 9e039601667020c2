"""How rules find what fits them: what their keys ask of a question, and tables that answer for all rules at once.

Theory of operation. A set of rules is a number with a bit for each of them. What a question has of a kind (its client,
its host) stands in a table, with the rules whose keys it fits. The rules that fit in everything are what the sets have
in common, and the lowest bit is the first of them. A value that was not seen before is held against all the rules once,
and remembered. What cannot be remembered, such as a URL, is held against the patterns only of rules that fit otherwise,
and of which it has in it what their patterns cannot do without.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from operator import attrgetter
from typing import Any, Final, TypeVar

from twistedproxy.access import telling
from twistedproxy.access.globs import glob_expression
from twistedproxy.access.hosts import HostSet, canonical_host
from twistedproxy.access.question import LONGEST_SUBJECT, Question

Value = TypeVar("Value", bound=Hashable)
Found = TypeVar("Found")
Fits = Callable[[Any], bool]
"""Whether a value is what a key asks for."""

REGEX: Final = "~"
"""What a pattern begins with that is a regular expression."""

ANYBODY: Final = "*"
"""Who may stand among users and groups for all of them."""

_MEMO_SIZE: Final = 4096
_FEW: Final = 3
_LONGEST_REMEMBERED: Final = 512


class Table(dict[Value, Found]):
    """What there is for each value, such as the rules that it fits; by ``find`` where that is not known yet."""

    def __init__(self, find: Callable[[Value], Found]) -> None:
        super().__init__()
        self._find = find

    def __repr__(self) -> str:
        return f"<Table of {len(self)}>"

    def __missing__(self, value: Value) -> Found:
        found = self._find(value)
        if len(self) >= _MEMO_SIZE:
            self.clear()
        self[value] = found
        return found


def table_of(tests: Sequence[tuple[int, Fits]], everybody: int) -> Table[Any, int]:
    """The table of a kind of value, of which ``tests`` says what rules ask; the others of ``everybody`` ask nothing."""

    def find(value: Hashable) -> int:
        rules = everybody
        for rule, fits in tests:
            if rules & rule and not fits(value):
                rules &= ~rule
        return rules

    return Table(find)


def joint_table(
    tables: Sequence[tuple[str, Table[Any, int]]], everybody: int
) -> tuple[Callable[[Question], Any], Table[Any, int]]:
    """What brings the values that ``tables`` are of together, and the table of those: rules that fit in each.

    They are by the names of a question's attributes. Nearly always the values of a question have come together before.
    """
    attributes = [attribute for attribute, _ in tables]
    several = [table for _, table in tables]
    if len(several) == 1:
        return attrgetter(*attributes), several[0]
    if not several:
        return attrgetter("way"), Table(lambda _: everybody)

    def find(values: Sequence[Hashable]) -> int:
        rules = everybody
        for table, value in zip(several, values, strict=True):
            rules &= table[value]
        return rules

    return attrgetter(*attributes), Table(find)


class HostTable(Table[str, int]):
    """The rules that each host fits. It is looked up in what all rules name, and not in each of them.

    ``positive`` are rules and the hosts that they want, ``negative`` rules and those that they do not want.
    """

    def __init__(
        self,
        positive: Sequence[tuple[int, Sequence[str]]],
        negative: Sequence[tuple[int, Sequence[str]]],
        everybody: int,
    ) -> None:
        super().__init__(self._look_up)
        self._wanted = HostIndex(positive)
        self._unwanted = HostIndex(negative)
        # A rule that wants no certain host fits all of them.
        self._open = everybody
        for rule, _ in positive:
            self._open &= ~rule

    def _look_up(self, host: str) -> int:
        host = canonical_host(host)
        return (self._open | self._wanted.naming(host)) & ~self._unwanted.naming(host)


class HostIndex:
    """Which rules name a host: by its name, by one above it, or by a pattern."""

    __slots__ = ("_names", "_patterns", "_suffixes")

    def __init__(self, rules: Iterable[tuple[int, Sequence[str]]]) -> None:
        self._names: dict[str, int] = {}
        self._suffixes: dict[str, int] = {}
        patterns: dict[str, int] = {}
        for rule, entries in rules:
            for entry in entries:
                if entry.startswith(REGEX):
                    patterns[entry] = patterns.get(entry, 0) | rule
                    continue
                host = canonical_host(entry)
                if "*" in host or "?" in host:
                    patterns[host] = patterns.get(host, 0) | rule
                elif host.startswith("."):
                    self._suffixes[host[1:]] = self._suffixes.get(host[1:], 0) | rule
                else:
                    self._names[host] = self._names.get(host, 0) | rule
        self._patterns = [(pattern(text, ignore_case=True), rules) for text, rules in patterns.items()]

    def __repr__(self) -> str:
        return f"<HostIndex {len(self._names)} {len(self._suffixes)} {len(self._patterns)}>"

    def naming(self, host: str) -> int:
        """The rules that name ``host``, which is in its one spelling."""
        rules = self._names.get(host, 0)
        if self._suffixes:
            rest = host
            while rest:
                rules |= self._suffixes.get(rest, 0)
                rest = rest.partition(".")[2]
        for fits, those in self._patterns:
            if rules & those != those and fits(host):
                rules |= those
        return rules


class Prefilter:
    """Which rules' patterns can fit at all, by what a text must have in it for that."""

    __slots__ = ("_has_any", "_pieces", "rules")

    def __init__(self, rules: Iterable[tuple[int, Sequence[str]]]) -> None:
        self.rules = 0
        """The rules of which it can tell."""
        pieces: dict[str, int] = {}
        for rule, entries in rules:
            known = [_telling_pieces(entry) for entry in entries]
            if all(known):
                self.rules |= rule
                for piece in frozenset().union(*known):
                    pieces[piece] = pieces.get(piece, 0) | rule
        self._pieces = tuple(pieces.items())
        # Most texts have none of them, and to look for each takes longer where there are many.
        self._has_any = re.compile(telling.any_of(pieces)).search if len(pieces) > _FEW else None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.rules.bit_count()} rules>"

    @abstractmethod
    def passing(self, question: Question) -> int:
        """Those of `rules` that may fit."""

    def _having(self, text: str) -> int:
        if self._has_any is not None and self._has_any(text) is None:
            return 0
        passing = 0
        for piece, rules in self._pieces:
            if piece in text:
                passing |= rules
        return passing


class TextPrefilter(Prefilter):
    """One for what a question has as its ``attribute``; empty, where there is no such thing."""

    __slots__ = ("_text_of",)

    def __init__(self, attribute: str, rules: Iterable[tuple[int, Sequence[str]]]) -> None:
        super().__init__(rules)
        self._text_of = attrgetter(attribute)

    def passing(self, question: Question) -> int:
        return self._having(self._text_of(question))


class FieldPrefilter(Prefilter):
    """One for a field. Clients send the same values over and over, so that short ones are remembered."""

    __slots__ = ("_known", "_line")

    def __init__(self, name: str, rules: Iterable[tuple[int, Sequence[str]]]) -> None:
        super().__init__(rules)
        self._line = name.lower().encode("ascii")
        self._known: Table[bytes, int] = Table(lambda value: self._having(value.decode("utf-8", "replace")))

    def passing(self, question: Question) -> int:
        value = question.fields.index.get(self._line)
        if value is None:
            return 0
        if type(value) is bytes and len(value) <= _LONGEST_REMEMBERED:
            return self._known[value]
        passing = 0
        for text in question.field(self._line):
            passing |= self._having(text)
        return passing


def _telling_pieces(entry: str) -> frozenset[str]:
    return telling.of_expression(entry[len(REGEX) :]) if entry.startswith(REGEX) else telling.of_glob(entry)


def pattern(text: str, *, ignore_case: bool = False) -> Fits:
    """What fits a glob as a whole, or has in it what a regular expression after `REGEX` finds. Raises `re.error`.

    A text that is longer than `LONGEST_SUBJECT` is for the caller to refuse.
    """
    flags = re.IGNORECASE if ignore_case else re.NOFLAG
    if text.startswith(REGEX):
        search = re.compile(text[len(REGEX) :], flags).search
        return lambda subject: search(subject) is not None
    fullmatch = re.compile(glob_expression(text), flags | re.DOTALL).fullmatch
    return lambda subject: fullmatch(subject) is not None


def patterns(texts: Sequence[str], *, ignore_case: bool = False) -> Fits:
    """What fits one of several; see `pattern`."""
    several = [pattern(text, ignore_case=ignore_case) for text in texts]
    if len(several) == 1:
        return several[0]
    return lambda subject: any(fits(subject) for fits in several)


def hosts(texts: Sequence[str]) -> Fits:
    """What is one of several hosts, in the notation of `HostSet`, or in which a regular expression finds something."""
    named = HostSet([text for text in texts if not text.startswith(REGEX)])
    found = [pattern(text, ignore_case=True) for text in texts if text.startswith(REGEX)]
    return lambda host: host in named or any(fits(canonical_host(host)) for fits in found)


def names(texts: Sequence[str]) -> Fits:
    """What is one of several names; `ANYBODY` stands for every one but nobody's."""
    several = frozenset(texts)
    if ANYBODY in several:
        return bool
    return several.__contains__


def any_name(texts: Sequence[str]) -> Fits:
    """What has one of several names in it."""
    several = frozenset(texts)
    if ANYBODY in several:
        return bool
    return lambda found: not several.isdisjoint(found)


def negated(fits: Fits) -> Fits:
    """What the other does not fit."""
    return lambda value: not fits(value)


__all__ = [
    "ANYBODY",
    "LONGEST_SUBJECT",
    "REGEX",
    "FieldPrefilter",
    "Fits",
    "HostIndex",
    "HostTable",
    "Prefilter",
    "Table",
    "TextPrefilter",
    "any_name",
    "hosts",
    "joint_table",
    "names",
    "negated",
    "pattern",
    "patterns",
    "table_of",
]
