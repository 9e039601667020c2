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
from twistedproxy.settings.types import Settings, TunnelSettings


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
    settings = msgspec.structs.replace(Settings(), tunnel=TunnelSettings(splice=False, idle_timeout=1.5))
    sources = load("", "", [("tunnel.splice", "false")]).sources
    lines = annotated_toml(settings, sources | {"tunnel.idle_timeout": "/etc/a\nb.toml:3"}).splitlines()
    start = lines.index("[tunnel]")
    assert lines[start - 3 : start + 13] == [
        "",
        "",
        "# The relays for bytes that the proxy does not look at: CONNECT tunnels and upgraded connections.",
        "[tunnel]",
        "",
        "# Whether Linux moves a tunnel's bytes from socket to socket itself (splice), which costs a fraction",
        "# of the CPU time. When false, or on other systems, the proxy copies them; nothing else is",
        "# different.",
        "# Value: true or false; default true",
        "splice = false  # --set",
        "",
        "# How long a tunnel may carry no byte in either direction. After that it is closed (`tunnel_idle`).",
        '# Value: a duration such as 10 (seconds), "250ms" or "5m", from 1ms to 365d; default "1h"',
        "idle_timeout = 1.5  # /etc/a\\nb.toml:3",
        "",
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
