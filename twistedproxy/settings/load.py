"""What each source sets, taken in order, into `Settings`; or all that is wrong.

The defaults come first, then texts (the settings file and its drop-ins), then environment variables, then the
command line. What comes later wins, key by key; a list is replaced as a whole. `sources` says where the texts are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

import msgspec

from twistedproxy.settings.keys import (
    VARIABLES,
    Key,
    keys,
    suggested_table,
    suggestion,
    tables,
    variables,
)
from twistedproxy.settings.kinds import expectation, nearest_choice
from twistedproxy.settings.locate import Places
from twistedproxy.settings.parents import DIRECT
from twistedproxy.settings.problems import Problem, SettingsError, Unfit
from twistedproxy.settings.quantities import size_text
from twistedproxy.settings.spelling import printable, shown, toml_string
from twistedproxy.settings.syntax import decode, parse
from twistedproxy.settings.types import Settings

DEFAULT = "default"
OVERRIDE = "--set"

_SUGGESTIONS = 100
"""Unknown keys that get a suggestion; finding one takes milliseconds, and a file can hold very many."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and where each of them comes from."""

    settings: Settings
    sources: Mapping[str, str]
    """By key path: ``default``, file and line, a variable's name, or ``--set``."""
    files: tuple[str, ...] = ()
    """The texts that were read, by the names that they were given, in order."""
    ignored: tuple[str, ...] = ()
    """Variables with our prefix that are no key's, sorted by name."""
    entries: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By key path, for lists of tables that were set: where each of their tables stands, as in ``sources``."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a value: in words, in which entry of a list, and in which key of that where it is a table."""

    message: str
    entry: int | None = None
    within: str = ""


Check = Callable[[Settings], Iterable[tuple[str, Fault]]]
"""Looks at settings that are valid by themselves; what is wrong all the same, by key path."""


@dataclass(frozen=True, slots=True)
class _Source:
    """One source of values: what messages call it, and how many came before it."""

    name: str
    rank: int
    places: Places | None = None

    def line(self, path: Sequence[str], entry: int | None = None, within: str = "") -> int | None:
        if self.places is None:
            return None
        return self.places.line(path) if entry is None else self.places.entry_line(path, entry, within)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one value was set."""

    source: _Source
    line: int | None = None

    def __str__(self) -> str:
        return self.source.name if self.line is None else f"{self.source.name}:{self.line}"


_Named = tuple[str, int | None, str, object]
"""Where something is named: the key, the entry, the key in that; and the name."""


class _Faults(Exception):
    """A value cannot be used: what `Fault` says of each mistake."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(faults)
        self.faults = faults


def load(content: str | bytes, source: str, overrides: Iterable[tuple[str, str]] = ()) -> Loaded:
    """Settings from one text, the defaults, and ``overrides``; as `Merging` takes each of them."""
    merging = Merging()
    merging.take_text(content, source)
    merging.take_overrides(overrides)
    return merging.loaded()


class Merging:
    """The values so far, where they stand, and what is wrong. What is taken later wins.

    Nothing that is taken raises anything: `loaded` does, with everything that is wrong in all the sources.
    """

    def __init__(self) -> None:
        self._problems: list[tuple[_Source, Problem]] = []
        self._values: dict[str, object] = {}
        self._set_at: dict[str, _Place] = {}
        self._entries: dict[str, tuple[str, ...]] = {}
        self._texts: list[str] = []
        self._ignored: list[str] = []
        self._unknown = 0
        self._rank = 0
        self._missing = False

    def __repr__(self) -> str:
        return f"<Merging sources={self._rank} values={len(self._values)} problems={len(self._problems)}>"

    # ------------------------------------------------------------ the sources

    def take_text(self, content: str | bytes, source: str) -> None:
        """Take what a text of TOML sets. ``source`` is what messages call it: the path of its file."""
        try:
            text = decode(content, source)
            document = parse(text, source)
        except SettingsError as error:
            self.take_nothing(error)
            return
        self._texts.append(source)
        self._take_document(self._source(source, Places(text)), document)

    def take_nothing(self, error: SettingsError) -> None:
        """Take note of a source that cannot be read, in the place of what it would have set."""
        self._missing = True
        self._rank += 1
        self._problems += ((_Source(problem.source, self._rank), problem) for problem in error.problems)

    def take_variables(self, environment: Mapping[str, str]) -> None:
        """Take the variables that are called like keys, such as ``PYPROXY_LOG_LEVEL``.

        Their values are read as those of `take_overrides`. Others with our prefix are no error: Kubernetes sets
        ``PYPROXY_PORT`` and the like by itself, wherever there is a service of that name.
        """
        self._rank += 1
        for name in sorted(name for name in environment if name.startswith(VARIABLES)):
            key = variables().get(name)
            if key is None:
                self._ignored.append(name)
            else:
                self._take(_Source(name, self._rank), key, _value_of_text(key, environment[name]))

    def take_overrides(self, overrides: Iterable[tuple[str, str]]) -> None:
        """Take what the command line sets: pairs of a key path and a value.

        A value is TOML or, where it is not TOML, plain text. A single value for a key that takes a list is a list of
        one.
        """
        source = self._source(OVERRIDE)
        for path, text in overrides:
            table, _, name = path.strip().partition(".")
            key = keys().get(f"{table}.{name}")
            if key is not None:
                self._take(source, key, _value_of_text(key, text))
            elif name:
                self._refuse(source, (table, name), "unknown key" + self._suggestion(table, name))
            elif table in tables():
                message = f'a table: name one of its keys, such as "{tables()[table][0].path}"'
                self._refuse(source, (table,), message)
            else:
                self._refuse(source, (table,), "unknown key" + self._suggestion("", table))

    def _source(self, name: str, places: Places | None = None) -> _Source:
        self._rank += 1
        return _Source(name, self._rank, places)

    def _take_document(self, source: _Source, document: Mapping[str, Any]) -> None:
        for table, content in document.items():
            if table not in tables():
                self._refuse_at_top(source, table, content)
            elif not isinstance(content, dict):
                self._refuse(source, (table,), f"expected a table, [{table}], got {shown(content)}")
            else:
                for name, value in content.items():
                    key = keys().get(f"{table}.{name}")
                    if key is None:
                        self._refuse(source, (table, name), "unknown key" + self._suggestion(table, name))
                    else:
                        self._take(source, key, value)

    def _take(self, source: _Source, key: Key, value: object) -> None:
        path = (key.table, key.name)
        try:
            self._values[key.path] = _read(key, value)
            self._set_at[key.path] = _Place(source, source.line(path))
            self._note_entries(source, path, self._values[key.path])
        except _Faults as unfit:
            for fault in unfit.faults:
                self._refuse(source, path, fault.message, fault.entry, fault.within)

    def _note_entries(self, source: _Source, path: tuple[str, str], value: object) -> None:
        """Note where each table of a list of tables stands."""
        if isinstance(value, tuple) and value and isinstance(value[0], Mapping):
            lines = [_Place(source, source.line(path, number)) for number in range(len(value))]
            self._entries[".".join(path)] = tuple(map(str, lines))

    # ------------------------------------------------------------ what is wrong

    def _refuse_at_top(self, source: _Source, name: str, content: object) -> None:
        if isinstance(content, dict):
            self._refuse(source, (name,), "unknown table" + _in_brackets(suggested_table(name)))
        else:
            self._refuse(source, (name,), "unknown key" + self._suggestion("", name))

    def _refuse(
        self, source: _Source, path: tuple[str, ...], message: str, entry: int | None = None, within: str = ""
    ) -> None:
        line = source.line(path, entry, within)
        problem = Problem(source.name, message, path, entry, line, within=within)
        self._problems.append((source, problem))

    def _suggestion(self, table: str, name: str) -> str:
        self._unknown += 1
        return _in_brackets(suggestion(table, name)) if self._unknown <= _SUGGESTIONS else ""

    def _check_together(self) -> None:
        """Refuse what each key allows by itself but the two of them do not."""
        self._check_listeners()
        self._check_names()
        target, head = "downstream.max_target_size", "downstream.max_head_size"
        # What cannot be read may have made them fit.
        if self._missing or any(".".join(problem.path) in (target, head) for _, problem in self._problems):
            return
        longest, largest = (self._values.get(path, keys()[path].default) for path in (target, head))
        assert isinstance(longest, int)
        assert isinstance(largest, int)
        if longest <= largest:
            return
        # The one that was set last made them unfit.
        if self._rank_of(target) >= self._rank_of(head):
            path, relation = target, f"{size_text(longest)} is more than {head} ({size_text(largest)}"
        else:
            path, relation = head, f"{size_text(largest)} is less than {target} ({size_text(longest)}"
        place = self._set_at[path]
        beside = self._set_at.get(head if path == target else target)
        if beside is not None and beside.source != place.source:
            relation += f", {printable(str(beside))}"
        message = f"{relation}), but a request's target is a part of its head"
        self._problems.append((place.source, Problem(place.source.name, message, path.split("."), line=place.line)))

    def _check_listeners(self) -> None:
        """Refuse listeners that nobody listens at."""
        others = "downstream.listen"
        if self._missing or any(".".join(one.path) == others for _, one in self._problems):
            return
        listeners = self._values.get(others, keys()[others].default)
        assert isinstance(listeners, tuple)
        for path, entry, within, named in self._listeners_named():
            if named not in listeners:
                message = f"expected one of {others}, got {shown(named)}"
                self._refuse(self._set_at[path].source, tuple(path.split(".")), message, entry, within)

    def _check_names(self) -> None:
        """Refuse rules that give limits or routes that there are not, and such a route for everybody."""
        asked: dict[str, list[_Named]] = {
            "limits.tables": list(self._given_by_rules("limits")),
            "routes.tables": list(self._given_by_rules("route")),
        }
        default = self._values.get("routes.default")
        if default is not None:
            asked["routes.tables"].append(("routes.default", None, "", default))
        for named, those in asked.items():
            if self._missing or any(".".join(one.path) == named for _, one in self._problems):
                continue
            entries = self._values.get(named, ())
            assert isinstance(entries, tuple)
            known = [entry["name"] for entry in entries]
            if named == "routes.tables":
                known.append(DIRECT)
            for path, number, within, name in those:
                if name not in known:
                    close = get_close_matches(str(name), known, 1, 0.6)
                    hint = _in_brackets(f"did you mean {toml_string(close[0])}?" if close else "")
                    message = f"expected the name of one of {named}, got {shown(name)}{hint}"
                    self._refuse(self._set_at[path].source, tuple(path.split(".")), message, number, within)

    def _given_by_rules(self, key: str) -> Iterator[_Named]:
        """Where rules give something by ``key``."""
        rules = self._values.get("access.rules", ())
        assert isinstance(rules, tuple)
        for number, rule in enumerate(rules):
            given = rule.get(key, ())
            if isinstance(given, str):
                yield "access.rules", number, key, given
            else:
                yield from (("access.rules", number, f"{key}[{place}]", name) for place, name in enumerate(given))

    def _listeners_named(self) -> Iterator[tuple[str, int, str, object]]:
        """Where other keys name a listener: the key, the entry, the key in that, and what stands there."""
        for path in ("http2.except_listeners", "access.rules"):
            entries = self._values.get(path, ())
            assert isinstance(entries, tuple)
            for number, entry in enumerate(entries):
                if not isinstance(entry, Mapping):
                    yield path, number, "", entry
                    continue
                for name in ("listeners", "not_listeners"):
                    for place, named in enumerate(entry.get(name, ())):
                        yield path, number, f"{name}[{place}]", named

    def _rank_of(self, path: str) -> int:
        return self._set_at[path].source.rank if path in self._set_at else 0

    # ------------------------------------------------------------ what it comes to

    def loaded(self, check: Check = lambda settings: ()) -> Loaded:
        """What all that was taken comes to; `SettingsError` with all that is wrong, source by source.

        ``check`` is asked when nothing else is wrong.
        """
        self._check_together()
        self._raise_problems()
        rooms: dict[str, dict[str, object]] = {table: {} for table in tables()}
        for path, value in self._values.items():
            table, _, name = path.partition(".")
            rooms[table][name] = value
        settings = msgspec.convert(rooms, Settings)
        for path, fault in check(settings):
            where = self._set_at[path].source
            self._refuse(where, tuple(path.split(".")), fault.message, fault.entry, fault.within)
        self._raise_problems()
        sources = {path: str(self._set_at.get(path, DEFAULT)) for path in keys()}
        texts, ignored = tuple(self._texts), tuple(self._ignored)
        return Loaded(settings, MappingProxyType(sources), texts, ignored, MappingProxyType(self._entries))

    def _raise_problems(self) -> None:
        if self._problems:
            self._problems.sort(key=lambda pair: (pair[0].rank, pair[1].line or 0))
            raise SettingsError(problem for _, problem in self._problems)


def _in_brackets(hint: str) -> str:
    return f" ({hint})" if hint else ""


def _read(key: Key, value: object) -> object:
    """What `Settings` holds for ``value``; `_Faults` where the key does not take it."""
    kind = key.kind
    try:
        fit = kind.read(value)
        if kind.each is None:
            # msgspec holds it against the key's type and limits.
            return msgspec.convert(fit, key.annotation)
    except (ValueError, msgspec.ValidationError) as error:
        raise _Faults(Fault(_message(key, value, error))) from None
    assert isinstance(fit, tuple)
    faults: list[Fault] = []
    for number, entry in enumerate(fit):
        try:
            kind.each(entry)
            if kind.distinct and fit.index(entry) < number:
                raise Unfit("each endpoint only once")
        except Unfit as unfit:
            faults.append(Fault(_message(key, entry, unfit), number, unfit.within))
    if faults:
        raise _Faults(*faults)
    return fit


def _message(key: Key, value: object, error: Exception) -> str:
    expected = hint = ""
    if isinstance(error, Unfit):
        if error.message:
            return error.message
        expected, hint = error.expected, error.hint
        value = error.value if error.within else value
    hint = hint or nearest_choice(key.meta, value)
    return f"expected {expected or expectation(key.meta)}, got {shown(value)}{_in_brackets(hint)}"


def _value_of_text(key: Key, text: str) -> object:
    """What the command line or a variable says: TOML where it is TOML and the key is no plain text, else itself."""
    try:
        document = parse(f"value = {text}", OVERRIDE)
    except SettingsError:
        value: object = text
    else:
        # A line feed in the text could have begun a second key.
        value = document["value"] if document.keys() == {"value"} else text
    if key.kind.each is not None:
        return value if isinstance(value, list) else [value]
    if isinstance(key.default, str) and not isinstance(value, str):
        return text
    return value
