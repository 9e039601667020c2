"""The effective settings as a file that loads as the same settings."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.settings.annotate import annotated_toml
from twistedproxy.settings.keys import keys, tables
from twistedproxy.settings.load import load
from twistedproxy.settings.resolver import ResolverSettings
from twistedproxy.settings.types import Settings


@given(st.data())
def test_what_is_written_loads_as_the_same_settings(any_settings: st.SearchStrategy[Settings], data: Any) -> None:
    settings = data.draw(any_settings)
    text = annotated_toml(settings)
    loaded = load(text, "a.toml")
    assert loaded.settings == settings
    assert annotated_toml(loaded.settings) == text
    again = load(annotated_toml(settings, loaded.sources), "a.toml")
    assert again.settings == settings
    assert again.sources == loaded.sources


def test_every_key_is_there_with_its_meaning() -> None:
    text = annotated_toml(Settings())
    tables_read = tomllib.loads(text)
    assert {f"{table}.{name}" for table, content in tables_read.items() for name in content} == set(keys())
    words = " ".join(line.removeprefix("# ") for line in text.splitlines())
    for key in keys().values():
        assert (key.meta.description or "?") in words
    assert list(tables_read) == list(tables())


def test_how_a_table_begins() -> None:
    settings = msgspec.structs.replace(Settings(), resolver=ResolverSettings(cache_size=7, ttl=1.5))
    sources = load("", "", [("resolver.cache_size", "7")]).sources
    lines = annotated_toml(settings, sources | {"resolver.ttl": "/etc/a\nb.toml:3"}).splitlines()
    start = lines.index("[resolver]")
    assert lines[start - 3 : start + 12] == [
        "",
        "",
        "# How the names of servers are turned into addresses.",
        "[resolver]",
        "",
        "# How many names are remembered. When there is one too many, the one that was not asked for longest",
        "# is forgotten.",
        "# Value: an integer from 1 to 1000000; default 10000",
        "cache_size = 7  # --set",
        "",
        "# How long the addresses of a name are used before it is looked up again. The system's resolver does",
        "# not tell how long they are valid. 0 looks every name up every time.",
        '# Value: a duration such as 10 (seconds), "250ms" or "5m", from 0s to 365d; default "1m"',
        "ttl = 1.5  # /etc/a\\nb.toml:3",
        "",
    ]


def test_a_long_list_has_a_line_for_each_entry() -> None:
    clients = [f"10.{n}.0.0/16" for n in range(10)]
    loaded = load(f"access.clients = {clients}", "a.toml")
    text = annotated_toml(loaded.settings, loaded.sources)
    written = "".join(f'    "{client}",\n' for client in clients)
    assert f"clients = [\n{written}]  # a.toml:1\n" in text


def test_without_sources_nothing_stands_beside_a_value() -> None:
    assert 'level = "info"\n' in annotated_toml(Settings())
    assert 'level = "info"  # default\n' in annotated_toml(Settings(), load("", "").sources)
