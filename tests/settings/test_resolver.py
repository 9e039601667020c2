"""The settings of the look-up of names, as they are written and written again."""

from __future__ import annotations

from twistedproxy.settings.annotate import annotated_toml
from twistedproxy.settings.load import load
from twistedproxy.settings.resolver import ResolverDomain, ResolverSettings

TEXT = """\
[resolver]
servers = ["192.0.2.53", "[2001:db8::53]:5353"]
hosts_file = false
cache_size = 1
ttl = "5m"
min_ttl = "5s"
max_ttl = "1d"
negative_ttl = 0
timeout = "3s"
attempt_timeout = "500ms"
attempts = 3
threads = 8

[[resolver.domains]]
names = ["corp.example"]
servers = ["10.0.0.53"]
"""


def test_the_system_is_asked_unless_servers_are_named() -> None:
    assert ResolverSettings().servers == ()
    assert ResolverSettings().domains == ()


def test_read_and_written_again() -> None:
    loaded = load(TEXT, "a.toml")
    assert loaded.settings.resolver == ResolverSettings(
        servers=("192.0.2.53", "[2001:db8::53]:5353"),
        domains=(ResolverDomain(names=("corp.example",), servers=("10.0.0.53",)),),
        hosts_file=False,
        cache_size=1,
        ttl=300.0,
        min_ttl=5.0,
        max_ttl=86400.0,
        negative_ttl=0.0,
        timeout=3.0,
        attempt_timeout=0.5,
        attempts=3,
        threads=8,
    )
    assert loaded.sources["resolver.domains"] == "a.toml:14"
    written = annotated_toml(loaded.settings, loaded.sources)
    assert '{ names = ["corp.example"], servers = ["10.0.0.53"] }' in written
    assert load(written, "b.toml").settings == loaded.settings
