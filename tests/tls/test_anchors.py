"""Whom the system trusts, and how its files are found and read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from OpenSSL import crypto

from tests.tls.certificates import pem_of
from tests.tls.zoo import authorities
from twistedproxy.tls.anchors import Anchors, SystemAnchors, certificates, places


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "bundle.pem"
    path.write_bytes(pem_of(authorities().root.certificate, authorities().stranger.certificate))
    return path


def test_variables_go_first(tmp_path: Path) -> None:
    """As OpenSSL heeds them: where one is set, nothing of the system's own counts."""
    assert places({"SSL_CERT_FILE": "/a.pem"}) == ("/a.pem", ())
    assert places({"SSL_CERT_DIR": "/a:/b"}) == ("", ("/a", "/b"))
    assert places({"SSL_CERT_FILE": "/a.pem", "SSL_CERT_DIR": "/b"}) == ("/a.pem", ("/b",))
    assert places({"SSL_CERT_FILE": "", "SSL_CERT_DIR": ""}) == ("", ())


def test_the_systems_own() -> None:
    file, directories = places({})
    assert os.path.isfile(file)
    assert all(os.path.isdir(directory) for directory in directories)
    assert len(certificates(Path(file).read_bytes())) > 100


def test_read_once_until_the_file_is_another(bundle: Path) -> None:
    system = SystemAnchors({"SSL_CERT_FILE": str(bundle)})
    first = system.anchors()
    assert len(first.certificates) == 2
    assert system.anchors() is first
    bundle.write_bytes(pem_of(authorities().root.certificate))
    assert len(system.anchors().certificates) == 1


@pytest.mark.parametrize("content", [None, b"", b"nothing"])
def test_a_file_of_no_use_is_told(tmp_path: Path, content: bytes | None, logged_errors: Any) -> None:
    file = tmp_path / "bundle.pem"
    if content is not None:
        file.write_bytes(content)
    system = SystemAnchors({"SSL_CERT_FILE": str(file)})
    assert system.anchors() == Anchors()
    (line,) = logged_errors.flush_messages()
    assert str(file) in line


def test_directory_of_hashes(tmp_path: Path) -> None:
    """As `openssl rehash` makes them."""
    root = authorities().root.certificate
    for_openssl = crypto.X509.from_cryptography(root)
    (tmp_path / f"{for_openssl.subject_name_hash():08x}.0").write_bytes(pem_of(root))
    store = crypto.X509Store()
    SystemAnchors({"SSL_CERT_DIR": f"{tmp_path / 'missing'}:{tmp_path}"}).anchors().fill(store)
    below = crypto.X509.from_cryptography(authorities().between.certificate)
    crypto.X509StoreContext(store, below).verify_certificate()


def test_what_is_no_certificate_is_left_out() -> None:
    good = pem_of(authorities().root.certificate)
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    trusted = good.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE")
    assert len(certificates(b"# a comment\n" + broken + trusted + good + b"rest")) == 1


def test_together() -> None:
    one = Anchors(certificates(pem_of(authorities().root.certificate)), ("/a",))
    other = Anchors(certificates(pem_of(authorities().stranger.certificate)), ("/b",))
    both = one.and_also(other)
    assert (len(both.certificates), both.directories) == (2, ("/a", "/b"))
    assert repr(both) == "<Anchors 2 /a /b>"
    store = crypto.X509Store()
    both.fill(store)
    # As often as somebody likes.
    both.fill(store)
