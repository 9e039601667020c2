"""The operator's file, and what the command line changes of it, into `Settings`; or all that is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import msgspec

from twistedproxy.settings.keys import Key, keys, suggested_table, suggestion, tables
from twistedproxy.settings.kinds import expectation, nearest_choice
from twistedproxy.settings.locate import Places
from twistedproxy.settings.problems import Problem, SettingsError, Unfit
from twistedproxy.settings.quantities import size_text
from twistedproxy.settings.spelling import shown
from twistedproxy.settings.syntax import MAX_SIZE, decode, parse
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
    """By key path: ``default``, file and line, or ``--set``."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one value was set."""

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


class _Faults(Exception):
    """A value cannot be used: a message for each fault, and which entry of a list it is about."""

    def __init__(self, *faults: tuple[int | None, str]) -> None:
        super().__init__(faults)
        self.faults = faults


def load_file(path: str, overrides: Sequence[tuple[str, str]] = ()) -> Loaded:
    """`load` the file at ``path``; SettingsError also where it cannot be read."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsError([Problem(path, f"cannot be read: {reason}")]) from None
    return load(content, path, overrides)


def load(content: str | bytes, source: str, overrides: Sequence[tuple[str, str]] = ()) -> Loaded:
    """Settings from the text of a file, the defaults, and ``overrides``.

    ``source`` is what messages call the file. ``overrides`` are pairs of a key path and a value as TOML or,
    where it is not TOML, as plain text; they win over the file, and the last of several wins. A single
    value for a key that takes a list is a list of one. Raises SettingsError with everything that is wrong,
    and nothing else.
    """
    text = decode(content, source)
    document = parse(text, source)
    loading = _Loading(source, Places(text))
    loading.take_document(document)
    for path, value in overrides:
        loading.take_override(path, value)
    loading.check_together()
    if loading.problems:
        loading.problems.sort(key=lambda problem: (problem.source == OVERRIDE, problem.line or 0))
        raise SettingsError(loading.problems)
    return loading.loaded()


class _Loading:
    """One run of `load`: the values so far, where they stand, and what is wrong."""

    def __init__(self, source: str, places: Places) -> None:
        self.problems: list[Problem] = []
        self._source = source
        self._places = places
        self._values: dict[str, object] = {}
        self._set_at: dict[str, _Place] = {}
        self._unknown = 0

    def take_document(self, document: Mapping[str, Any]) -> None:
        for table, content in document.items():
            if table not in tables():
                self._refuse_at_top(table, content)
            elif not isinstance(content, dict):
                self._refuse((table,), f"expected a table, [{table}], got {shown(content)}")
            else:
                for name, value in content.items():
                    key = keys().get(f"{table}.{name}")
                    if key is None:
                        self._refuse((table, name), "unknown key" + self._suggestion(table, name))
                    else:
                        self._take(key, value)

    def take_override(self, path: str, text: str) -> None:
        table, _, name = path.strip().partition(".")
        key = keys().get(f"{table}.{name}")
        if key is not None:
            try:
                self._values[key.path] = _read(key, _override_value(key, text))
                self._set_at[key.path] = _Place(OVERRIDE)
            except _Faults as unfit:
                for entry, message in unfit.faults:
                    self.problems.append(Problem(OVERRIDE, message, (table, name), entry))
        elif name:
            message = "unknown key" + self._suggestion(table, name)
            self.problems.append(Problem(OVERRIDE, message, (table, name)))
        elif table in tables():
            message = f'a table: name one of its keys, such as "{tables()[table][0].path}"'
            self.problems.append(Problem(OVERRIDE, message, (table,)))
        else:
            message = "unknown key" + self._suggestion("", table)
            self.problems.append(Problem(OVERRIDE, message, (table,)))

    def check_together(self) -> None:
        """Refuse what each key allows by itself but the two of them do not."""
        target, head = "downstream.max_target_size", "downstream.max_head_size"
        if any(".".join(problem.path) in (target, head) for problem in self.problems):
            return
        longest, largest = (self._values.get(path, keys()[path].default) for path in (target, head))
        assert isinstance(longest, int)
        assert isinstance(largest, int)
        if longest > largest:
            if target in self._set_at:
                path, relation = target, f"{size_text(longest)} is more than {head} ({size_text(largest)})"
            else:
                path, relation = head, f"{size_text(largest)} is less than {target} ({size_text(longest)})"
            place = self._set_at[path]
            message = f"{relation}, but a request's target is a part of its head"
            self.problems.append(Problem(place.source, message, path.split("."), line=place.line))

    def loaded(self) -> Loaded:
        rooms: dict[str, dict[str, object]] = {table: {} for table in tables()}
        for path, value in self._values.items():
            table, _, name = path.partition(".")
            rooms[table][name] = value
        sources = {path: str(self._set_at.get(path, DEFAULT)) for path in keys()}
        return Loaded(msgspec.convert(rooms, Settings), MappingProxyType(sources))

    def _take(self, key: Key, value: object) -> None:
        place = (key.table, key.name)
        try:
            self._values[key.path] = _read(key, value)
            self._set_at[key.path] = _Place(self._source, self._places.line(place))
        except _Faults as unfit:
            for entry, message in unfit.faults:
                self._refuse(place, message, entry)

    def _refuse_at_top(self, name: str, content: object) -> None:
        if isinstance(content, dict):
            self._refuse((name,), "unknown table" + _in_brackets(suggested_table(name)))
        else:
            self._refuse((name,), "unknown key" + self._suggestion("", name))

    def _refuse(self, path: tuple[str, ...], message: str, entry: int | None = None) -> None:
        line = self._places.line(path) if entry is None else self._places.entry_line(path, entry)
        self.problems.append(Problem(self._source, message, path, entry, line))

    def _suggestion(self, table: str, name: str) -> str:
        self._unknown += 1
        return _in_brackets(suggestion(table, name)) if self._unknown <= _SUGGESTIONS else ""


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
        raise _Faults((None, _message(key, value, error))) from None
    assert isinstance(fit, tuple)
    faults: list[tuple[int | None, str]] = []
    for number, entry in enumerate(fit):
        try:
            kind.each(entry)
            if kind.distinct and fit.index(entry) < number:
                raise Unfit("each endpoint only once")
        except Unfit as unfit:
            faults.append((number, _message(key, entry, unfit)))
    if faults:
        raise _Faults(*faults)
    return fit


def _message(key: Key, value: object, error: Exception) -> str:
    expected = hint = ""
    if isinstance(error, Unfit):
        expected, hint = error.expected, error.hint
    hint = hint or nearest_choice(key.meta, value)
    return f"expected {expected or expectation(key.meta)}, got {shown(value)}{_in_brackets(hint)}"


def _override_value(key: Key, text: str) -> object:
    """What ``text`` says after ``--set``: TOML where it is TOML and the key is no plain text, else itself."""
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
