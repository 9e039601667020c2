"""Every key there is, taken from the types; and the nearest one to a name that is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from functools import lru_cache
from types import MappingProxyType
from typing import Any, get_type_hints

import msgspec

from twistedproxy.settings.kinds import Kind, kind_of
from twistedproxy.settings.spelling import toml_string
from twistedproxy.settings.types import Settings

VARIABLES = "PYPROXY_"
"""What the names of our environment variables begin with."""

_LONGEST = 64
"""Characters of a name that is compared with others; no key is as long, and comparing is slow."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the settings file."""

    table: str
    name: str
    annotation: Any
    meta: msgspec.Meta
    default: object

    @property
    def path(self) -> str:
        """Table and name, with a dot between them."""
        return f"{self.table}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"{VARIABLES}{self.table}_{self.name}".upper()

    @property
    def kind(self) -> Kind:
        """What kind of value it has."""
        return kind_of(self.meta)


@lru_cache(maxsize=1)
def tables() -> Mapping[str, tuple[Key, ...]]:
    """The keys of each table, in the order of the types."""
    return MappingProxyType({name: tuple(_keys(name, struct)) for name, struct in get_type_hints(Settings).items()})


def _keys(table: str, struct: type[msgspec.Struct]) -> Iterator[Key]:
    hints = get_type_hints(struct, include_extras=True)
    for field in msgspec.structs.fields(struct):
        meta = hints[field.name].__metadata__[0]
        yield Key(table, field.name, hints[field.name], meta, field.default)


@lru_cache(maxsize=1)
def keys() -> Mapping[str, Key]:
    """Every key by its path."""
    return MappingProxyType({key.path: key for group in tables().values() for key in group})


@lru_cache(maxsize=1)
def variables() -> Mapping[str, Key]:
    """Every key by its environment variable."""
    return MappingProxyType({key.variable: key for key in keys().values()})


def about(table: str) -> str:
    """What a table is for."""
    return (get_type_hints(Settings)[table].__doc__ or "").strip()


def suggestion(table: str, name: str) -> str:
    """The key that was probably meant by ``name`` in ``table`` (empty: at the top), as a hint for a message.

    A key of that very name in another table comes first, then a similar one in the same table, then a similar
    one in another, then a similar path.
    """
    elsewhere = _named(name, table)
    if elsewhere:
        return _did_you_mean(*elsewhere)
    if len(table) + len(name) > _LONGEST:
        return ""
    here = [key.name for key in tables().get(table, ())]
    if close := get_close_matches(name, here, 1, 0.7):
        return _did_you_mean(close[0])
    if close := get_close_matches(name, {key.name: None for key in keys().values()}, 1, 0.75):
        return _did_you_mean(*_named(close[0], table))
    return _did_you_mean(*get_close_matches(f"{table}.{name}", keys(), 1, 0.75))


def suggested_table(name: str) -> str:
    """The table that was probably meant by ``name``, as a hint for a message."""
    return _did_you_mean(*get_close_matches(name, tables(), 1, 0.6)) if len(name) <= _LONGEST else ""


def suggested_variable(name: str) -> str:
    """The environment variable that was probably meant by ``name``, as a hint for a message."""
    if len(name) > _LONGEST:
        return ""
    said = name.removeprefix(VARIABLES).lower()
    table, _, rest = said.partition("_")
    if table in tables():
        near = [f"{table}.{one}" for one in get_close_matches(rest, [key.name for key in tables()[table]], 1, 0.7)]
    elif not (near := _named(said, "")):
        by_name = {f"{key.table}_{key.name}": path for path, key in keys().items()}
        near = [by_name[one] for one in get_close_matches(said, by_name, 1, 0.8)]
    return _did_you_mean(*(keys()[path].variable for path in near))


def _named(name: str, table: str) -> list[str]:
    """The paths of the keys of that name, those in the tables that are most like ``table`` first."""
    paths = [key.path for key in keys().values() if key.name == name]
    likeness = SequenceMatcher(b=table[:_LONGEST])

    def nearness(path: str) -> float:
        likeness.set_seq1(path.partition(".")[0])
        return likeness.ratio()

    return sorted(paths, key=nearness, reverse=True)


def _did_you_mean(*names: str) -> str:
    return f"did you mean {' or '.join(map(toml_string, names))}?" if names else ""
