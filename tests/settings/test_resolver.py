"""The settings of the look-up of names, as they are written and written again."""

from __future__ import annotations

from twistedproxy.settings.annotate import annotated_toml
from twistedproxy.settings.load import load
from twistedproxy.settings.resolver import ResolverSettings

TEXT = """\
[resolver]
cache_size = 1
ttl = "5m"
negative_ttl = 0
timeout = "3s"
threads = 8
"""


def test_read_and_written_again() -> None:
    loaded = load(TEXT, "a.toml")
    assert loaded.settings.resolver == ResolverSettings(
        cache_size=1, ttl=300.0, negative_ttl=0.0, timeout=3.0, threads=8
    )
    assert load(annotated_toml(loaded.settings, loaded.sources), "b.toml").settings == loaded.settings
