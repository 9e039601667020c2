"""The effective settings as a file: every key with its meaning above it and where it comes from beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import wrap

from twistedproxy.settings.keys import Key, about, tables
from twistedproxy.settings.kinds import expectation
from twistedproxy.settings.spelling import printable, toml_value
from twistedproxy.settings.types import Settings

_WIDTH = 100


def annotated_toml(settings: Settings, sources: Mapping[str, str] | None = None) -> str:
    """``settings`` as TOML that loads as the same settings.

    With ``sources`` (by key path, as `load` gives them) each key says where it comes from.
    """
    return "\n".join(_lines(settings, sources or {})) + "\n"


def _lines(settings: Settings, sources: Mapping[str, str]) -> Iterator[str]:
    for number, (table, keys) in enumerate(tables().items()):
        if number:
            yield ""
            yield ""
        yield from _comment(about(table))
        yield f"[{table}]"
        room = getattr(settings, table)
        for key in keys:
            yield ""
            yield from _comment(key.meta.description or "")
            yield from _comment(f"Value: {expectation(key.meta)}; default {key.kind.spell(key.default)}")
            source = sources.get(key.path)
            beside = f"  # {printable(source)}" if source else ""
            yield from _assignment(key, getattr(room, key.name), beside)


def _assignment(key: Key, value: object, beside: str) -> Iterator[str]:
    line = f"{key.name} = {key.kind.spell(value)}"
    if isinstance(value, tuple) and len(line) > _WIDTH:
        yield f"{key.name} = ["
        for entry in value:
            yield f"    {toml_value(entry)},"
        line = "]"
    yield line + beside


def _comment(text: str) -> list[str]:
    return wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
