"""Whose a verified certificate is: by what the operator says, and by what stands in it."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import DNSName, IPAddress, RFC822Name, UniformResourceIdentifier
from zope.interface.verify import verifyObject

from tests.accounts.samples import client_certificate
from twistedproxy.accounts.certificates import (
    MOST_NAMES,
    CertificateNaming,
    IVerifiedCertificate,
    VerifiedCertificate,
    key_of,
)
from twistedproxy.settings.accounts import AccountsSettings, CertificateAccount

ALL = AccountsSettings().certificate_names
FULL = client_certificate(
    "build",
    organization="Example",
    names=[
        RFC822Name("build@example.org"),
        DNSName("build.example.org"),
        UniformResourceIdentifier("spiffe://example.org/build"),
    ],
)


def name(certificate: x509.Certificate, *entries: CertificateAccount, fields: Sequence[str] = ALL) -> bytes:
    """The account's, by ``entries`` and ``fields``."""
    return CertificateNaming(entries, fields).name(VerifiedCertificate((certificate,)).said)


def test_interface_is_kept() -> None:
    shown = VerifiedCertificate((FULL, client_certificate("authority")))
    verifyObject(IVerifiedCertificate, shown)
    assert shown.certificate == FULL
    assert shown.sha256 == FULL.fingerprint(SHA256())
    assert repr(shown) == f"<VerifiedCertificate {shown.sha256.hex()[:16]} b''>"
    assert shown.said is shown.said
    assert repr(CertificateNaming((), ALL)) == "<CertificateNaming entries=0 fields=cn,email,dns,uri>"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (ALL, b"build"),
        (("email", "cn"), b"build@example.org"),
        (("dns",), b"build.example.org"),
        # An account's name has no colon (RFC 7617 section 2); and the next field is not looked at.
        (("uri", "cn"), b""),
    ],
)
def test_the_first_field_that_it_has(fields: Sequence[str], expected: bytes) -> None:
    assert name(FULL, fields=fields) == expected


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        (client_certificate(names=[DNSName("a.example")]), b"a.example"),
        (client_certificate(names=[DNSName("a.example"), RFC822Name("a@example")]), b"a@example"),
        (client_certificate("Jörg"), "Jörg".encode()),
        # What is ambiguous names nobody, and no other field helps.
        (client_certificate("ann", "bob"), b""),
        (client_certificate("ann", "ann"), b"ann"),
        (client_certificate(names=[DNSName("a.example"), DNSName("b.example")]), b""),
        (client_certificate("ann", names=[DNSName("a.example"), DNSName("b.example")]), b"ann"),
        # What is no name of an account.
        (client_certificate(), b""),
        (client_certificate(names=[IPAddress(ip_address("192.0.2.1"))]), b""),
        (client_certificate("ann:x"), b""),
        (client_certificate("ann\nbob"), b""),
        (client_certificate("ann\x00.example"), b""),
        (client_certificate(" ann"), b""),
    ],
)
def test_what_stands_in_it(certificate: x509.Certificate, expected: bytes) -> None:
    assert name(certificate) == expected


@pytest.mark.parametrize(
    "entry",
    [
        CertificateAccount(name="x", subject="CN=build,O=Example"),
        CertificateAccount(name="x", email="build@example.org"),
        CertificateAccount(name="x", dns="build.example.org"),
        CertificateAccount(name="x", uri="spiffe://example.org/build"),
        CertificateAccount(name="x", sha256=FULL.fingerprint(SHA256()).hex(":").upper()),
    ],
)
def test_what_the_operator_says_goes_first(entry: CertificateAccount) -> None:
    assert name(FULL, entry) == b"x"
    assert name(client_certificate("other"), entry) == b"other"


@pytest.mark.parametrize("subject", ["O=Example,CN=build", "CN=build", "CN=Build,O=Example", "CN=build,O=Example,C=GB"])
def test_all_of_a_subject_counts_in_its_order(subject: str) -> None:
    assert name(FULL, CertificateAccount(name="x", subject=subject)) == b"build"


def test_entries_that_disagree_name_nobody() -> None:
    one = CertificateAccount(name="x", dns="build.example.org")
    other = CertificateAccount(name="y", email="build@example.org")
    same = CertificateAccount(name="x", uri="spiffe://example.org/build")
    assert name(FULL, one, same) == b"x"
    assert name(FULL, one, other) == b""
    assert name(FULL, one, CertificateAccount(name="y", dns="build.example.org")) == b""


@pytest.mark.parametrize("extra", [b"", b"\x30\x03\x82\x01\xff", b"\x30\x80", b"junk", b"\x30\x02\x85\x00"])
def test_one_that_cannot_be_read_is_only_known_by_its_fingerprint(extra: bytes) -> None:
    many = [DNSName(f"{number}.example") for number in range(MOST_NAMES)]
    certificate = client_certificate("ann", extra=extra) if extra else client_certificate("ann", names=many)
    assert name(certificate) == b""
    assert name(certificate, CertificateAccount(name="x", sha256=certificate.fingerprint(SHA256()).hex())) == b"x"


@pytest.mark.parametrize("subject", ["build", "CN", "CN=a,,", "=", "NO=a"])
def test_a_subject_that_is_none(subject: str) -> None:
    with pytest.raises(ValueError, match=r".?"):
        key_of(CertificateAccount(name="x", subject=subject))
