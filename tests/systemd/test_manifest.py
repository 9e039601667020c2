"""The record of an installation: written, read again, and doubted."""

from __future__ import annotations

from pathlib import Path

import pytest

from twistedproxy.systemd.manifest import Manifest, digest, manifest_text, read_manifest
from twistedproxy.systemd.steps import InstallationError

FULL = Manifest(
    files=("/etc/a",),
    settings={"/etc/b": digest(b"text")},
    directories=("/etc/c", "/etc/c/d"),
    units=("pyproxy.service",),
    account="pyproxy",
)


@pytest.mark.parametrize("manifest", [FULL, Manifest()])
def test_read_again(tmp_path: Path, manifest: Manifest) -> None:
    path = tmp_path / "manifest.json"
    assert read_manifest(path) is None
    path.write_text(manifest_text(manifest))
    assert read_manifest(path) == manifest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is no record of an installation"),
        ("[]", "is no record of an installation"),
        ('{"files": 1}', "is no record of an installation"),
        ('{"more": 1}', "is no record of an installation"),
        ('{"format": 2}', "was written by another version of twistedproxy"),
        ('{"files": ["etc/passwd"]}', "it has paths that are not absolute"),
        ('{"directories": ["/etc/x/../.."]}', "it has paths that are not absolute"),
    ],
)
def test_what_is_none(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(content)
    with pytest.raises(InstallationError, match=message):
        read_manifest(path)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InstallationError, match="cannot be read: Is a directory"):
        read_manifest(tmp_path)


def test_digest_tells_of_a_change() -> None:
    assert digest(b"a") != digest(b"b")
    assert len(digest(b"")) == 64
