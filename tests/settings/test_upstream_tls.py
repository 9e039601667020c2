"""The settings of TLS with servers, as they are written and written again."""

from __future__ import annotations

from twistedproxy.settings.annotate import annotated_toml
from twistedproxy.settings.load import load
from twistedproxy.settings.upstream_tls import UpstreamHost, UpstreamTLSSettings

TEXT = """\
[upstream_tls]
system_anchors = false
anchors = ["/etc/internal.pem"]
strict = false
max_intermediates = 2
min_version = "1.3"
max_version = "1.3"
session_cache = 0

[[upstream_tls.hosts]]
names = ["printer.example"]
verify = false

[[upstream_tls.hosts]]
names = [".bank.example"]
pins = ["sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="]
certificate = "/etc/client.pem"
"""


def test_everything_is_verified_unless_it_is_named() -> None:
    assert UpstreamTLSSettings().hosts == ()
    assert UpstreamTLSSettings().strict
    assert UpstreamHost(names=("a.example",)).verify


def test_read_and_written_again() -> None:
    loaded = load(TEXT, "a.toml")
    assert loaded.settings.upstream_tls == UpstreamTLSSettings(
        system_anchors=False,
        anchors=("/etc/internal.pem",),
        strict=False,
        max_intermediates=2,
        min_version="1.3",
        max_version="1.3",
        session_cache=0,
        hosts=(
            UpstreamHost(names=("printer.example",), verify=False),
            UpstreamHost(
                names=(".bank.example",),
                pins=("sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",),
                certificate="/etc/client.pem",
            ),
        ),
    )
    assert loaded.sources["upstream_tls.hosts"] == "a.toml:10"
    written = annotated_toml(loaded.settings, loaded.sources)
    assert '    { names = ["printer.example"], verify = false },\n' in written
    assert load(written, "b.toml").settings == loaded.settings
