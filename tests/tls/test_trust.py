"""The files that the settings name, and what is wrong with them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tests.tls.certificates import pem_of
from tests.tls.zoo import authorities, make
from twistedproxy.settings.problems import SettingsError
from twistedproxy.settings.sources import Sources
from twistedproxy.settings.types import Settings
from twistedproxy.settings.upstream_tls import UpstreamHost, UpstreamTLSSettings
from twistedproxy.tls.trust import Trust, TrustError, faults, read_anchors


@pytest.fixture
def anchor(tmp_path: Path) -> Path:
    path = tmp_path / "anchor.pem"
    path.write_bytes(pem_of(authorities().root.certificate))
    return path


@pytest.fixture
def client(tmp_path: Path) -> Path:
    """A client's certificate, with its key and the one above it."""
    zoo, path = authorities(), tmp_path / "client.pem"
    shown = make("client", zoo.between)
    path.write_bytes(pem_of(shown.key, shown.certificate, zoo.between.certificate))
    path.chmod(0o640)
    return path


def special(**how: Any) -> UpstreamTLSSettings:
    return UpstreamTLSSettings(hosts=(UpstreamHost(names=("a.example",), **how),))


def test_read(anchor: Path, client: Path) -> None:
    trust = Trust.of(
        UpstreamTLSSettings(
            anchors=(str(anchor),),
            hosts=(
                UpstreamHost(names=("a.example", ".b.example"), certificate="$CREDENTIALS_DIRECTORY/client.pem"),
                UpstreamHost(names=("192.0.2.1",), verify=False),
            ),
        ),
        {"CREDENTIALS_DIRECTORY": str(client.parent)},
    )
    assert repr(trust) == "<Trust <Anchors 1> hosts=2>"
    shown = trust.policy("A.example.").client
    assert shown is not None
    assert (len(shown.above), trust.policy("x.b.example").client) == (1, shown)
    assert trust.policy("192.0.2.1").verify is False
    assert trust.policy("c.example") is trust.usual


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "No such file"), (b"", "there is no certificate in"), (b"nothing", "there is no certificate in")],
)
def test_anchors_that_are_none(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "a.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TrustError, match=why):
        read_anchors(str(path))


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "."):
        with pytest.raises(TrustError, match="is no regular file"):
            read_anchors(str(tmp_path / name))
    with pytest.raises(TrustError, match="expected the variable CREDENTIALS_DIRECTORY to be set"):
        read_anchors("$CREDENTIALS_DIRECTORY/a.pem", {})
    with (tmp_path / "large.pem").open("wb") as file:
        file.truncate(5 * 1024 * 1024)
    with pytest.raises(TrustError, match="larger than"):
        read_anchors(str(tmp_path / "large.pem"))


def test_client_certificates(tmp_path: Path, client: Path) -> None:
    assert Trust.of(special(certificate=str(client))).policy("a.example").client
    client.chmod(0o644)
    with pytest.raises(TrustError, match="everybody can read"):
        Trust.of(special(certificate=str(client)))
    key = tmp_path / "key.pem"
    key.write_bytes(pem_of(authorities().root.key))
    key.chmod(0o600)
    with pytest.raises(TrustError, match=f"the private key in {key} is not that of the certificate in {client}"):
        Trust.of(special(certificate=str(client), key=str(key)))
    encrypted = BestAvailableEncryption(b"secret")
    key.write_bytes(authorities().root.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encrypted))
    with pytest.raises(TrustError, match="has a password"):
        Trust.of(special(certificate=str(client), key=str(key)))
    key.write_bytes(b"nothing")
    with pytest.raises(TrustError, match="there is no private key in"):
        Trust.of(special(certificate=str(client), key=str(key)))
    with pytest.raises(TrustError, match="there is no certificate in"):
        Trust.of(special(certificate=str(key)))


def test_faults_have_their_places(tmp_path: Path, anchor: Path) -> None:
    """All of them, when the settings are read; nothing goes by those then."""
    file = tmp_path / "pyproxy.toml"
    file.write_text(f"""\
[upstream_tls]
anchors = [
    "{anchor}",
    "/nowhere.pem",
]
min_version = "1.3"
max_version = "1.2"

[[upstream_tls.hosts]]
names = ["a.example"]
certificate = "/nowhere.pem"
[[upstream_tls.hosts]]
names = ["b.example"]

anchors = ["{anchor}", "{file}"]
""")
    sources = Sources(str(file), needed=True, environment={}, check=faults)
    with pytest.raises(SettingsError) as error:
        sources.load()
    assert str(error.value).splitlines() == [
        f"{file}:4: upstream_tls.anchors[1]: /nowhere.pem cannot be read: No such file or directory",
        f"{file}:6: upstream_tls.min_version: 1.3 is more than upstream_tls.max_version (1.2)",
        f"{file}:11: upstream_tls.hosts[0].certificate: /nowhere.pem cannot be read: No such file or directory",
        f"{file}:15: upstream_tls.hosts[1].anchors[1]: there is no certificate in {file}",
    ]
    file.write_text(f'[upstream_tls]\nanchors = ["{anchor}"]\n')
    assert sources.load().settings.upstream_tls.anchors == (str(anchor),)


def test_nothing_is_wrong_with_the_defaults() -> None:
    assert list(faults(Settings(), {})) == []
