"""The authority: one of our own making, and what an operator's has to be."""

from __future__ import annotations

import base64
import subprocess
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from tests.tls.certificates import openssl_verify, pem_of
from tests.tls.conftest import Make
from twistedproxy.tls.authority import (
    Authority,
    AuthorityError,
    key_usage,
    make_authority,
    read_authority,
    utc,
)

NOW = datetime(2026, 11, 27, tzinfo=UTC)
SAMPLE = make_authority(NOW)
CA = (x509.BasicConstraints(True, None), True)
NO_CA = (x509.BasicConstraints(False, None), True)
SIGNS = (key_usage(key_cert_sign=True), True)


def path_length(number: int) -> tuple[x509.ExtensionType, bool]:
    return x509.BasicConstraints(True, number), True


# ---------------------------------------------------------------- our own


def test_own(authority: Authority, now: datetime) -> None:
    """RFC 5280 section 4.2.1."""
    certificate = authority.certificate
    assert isinstance(authority.key, ec.EllipticCurvePrivateKey)
    assert isinstance(authority.key.curve, ec.SECP256R1)
    assert certificate.public_key() == authority.key.public_key()
    extensions = {type(one.value): (one.value, one.critical) for one in certificate.extensions}
    assert extensions == {
        x509.BasicConstraints: (x509.BasicConstraints(True, 0), True),
        x509.KeyUsage: (key_usage(key_cert_sign=True, crl_sign=True), True),
        x509.SubjectKeyIdentifier: (x509.SubjectKeyIdentifier.from_public_key(authority.key.public_key()), False),
    }
    assert certificate.subject == certificate.issuer
    assert certificate.not_valid_before_utc == now - timedelta(days=1)
    assert certificate.not_valid_after_utc == now + timedelta(days=3652) == authority.ends
    assert authority.days_left(now) == 3652
    assert certificate.serial_number.bit_length() > 100
    assert authority.sent == ()


def test_names_are_apart(authority: Authority, now: datetime) -> None:
    other = make_authority(now)
    for one in (authority, other):
        label, _, suffix = one.subject.rpartition(" ")
        assert label == "CN=twistedproxy CA"
        assert len(suffix) == 8
    assert authority.subject != other.subject
    assert authority.fingerprint != other.fingerprint
    assert repr(authority) == f"<Authority own {authority.subject!r} {authority.fingerprint[:11]}>"


def test_openssl_takes_it(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(pem_of(authority.certificate))
    command = ["openssl", "verify", "-x509_strict", "-check_ss_sig", "-CAfile", "ca.pem", "ca.pem"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50)
    assert (done.stdout, done.stderr) == ("ca.pem: OK\n", "")


def test_fingerprint_is_what_openssl_shows(authority: Authority) -> None:
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256"]
    done = subprocess.run(command, input=authority.export("pem"), capture_output=True, timeout=50)
    assert done.stdout.decode().partition("=")[2].strip() == authority.fingerprint


def test_exports(authority: Authority) -> None:
    assert x509.load_pem_x509_certificate(authority.export("pem")) == authority.certificate
    assert x509.load_der_x509_certificate(authority.export("der")) == authority.certificate
    held = pkcs12.load_pkcs12(authority.export("p12"), None)
    assert (held.key, [one.certificate for one in held.additional_certs]) == (None, [authority.certificate])
    assert b"PRIVATE" not in authority.export("pem")


def test_openssl_reads_the_p12_with_an_empty_password(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "ca.p12").write_bytes(authority.export("p12"))
    command = ["openssl", "pkcs12", "-in", "ca.p12", "-passin", "pass:", "-nokeys"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=50)
    assert done.returncode == 0
    assert authority.export("pem") in done.stdout


def test_there_and_back(authority: Authority) -> None:
    again = read_authority(authority.private_pem(), "own")
    assert (again.certificate, again.chain, again.origin) == (authority.certificate, (), "own")
    assert again.private_pem() == authority.private_pem()


def test_dates(authority: Authority, now: datetime) -> None:
    authority.check_date(now)
    authority.check_date(now - timedelta(days=1))
    with pytest.raises(AuthorityError, match=f"is not valid before {now - timedelta(days=1):%Y-%m-%d %H:%M} UTC"):
        authority.check_date(now - timedelta(days=1, seconds=1))
    with pytest.raises(AuthorityError, match=f"'{authority.subject}' ended on {authority.ends:%Y-%m-%d}"):
        authority.check_date(authority.ends)
    assert authority.days_left(authority.ends + timedelta(hours=1)) == -1


def test_moments() -> None:
    assert utc(1795421523.9).isoformat() == "2026-11-23T08:12:03+00:00"


# ---------------------------------------------------------------- the operator's


def test_operators_root(issue: Make) -> None:
    key, certificate = issue("root", CA)
    found = read_authority(b"text\n" + pem_of(certificate, key) + b"more", "operator")
    assert (found.certificate, found.chain, found.origin, found.sent) == (certificate, (), "operator", ())


@pytest.mark.parametrize(
    "make_key",
    [
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: ec.generate_private_key(ec.SECP521R1()),
        lambda: rsa.generate_private_key(65537, 2048),
    ],
)
def test_kinds_of_key(issue: Make, make_key: Callable[[], Any]) -> None:
    key, certificate = issue("root", CA, SIGNS, key=make_key())
    assert read_authority(pem_of(key, certificate), "operator").certificate == certificate


def test_chain_in_any_order(issue: Make) -> None:
    root = issue("root", CA, SIGNS)
    upper = issue("upper", path_length(1), SIGNS, issuer=root)
    lower = issue("lower", path_length(0), SIGNS, issuer=upper)
    found = read_authority(pem_of(root[1], lower[0], upper[1], lower[1]), "operator")
    assert (found.certificate, found.chain) == (lower[1], (upper[1], root[1]))
    # Clients have the root.
    assert found.sent == (lower[1], upper[1])
    without_root = read_authority(pem_of(lower[0], lower[1], upper[1]), "operator")
    assert without_root.sent == (lower[1], upper[1])


def test_chain_ends_with_the_first_of_it(issue: Make, now: datetime) -> None:
    root = issue("root", CA, ends=now + timedelta(days=5))
    lower = issue("lower", CA, issuer=root)
    found = read_authority(pem_of(lower[0], lower[1], root[1]), "operator")
    assert found.days_left(now) == 5
    with pytest.raises(AuthorityError, match="the certificate 'CN=root' ended on"):
        found.check_date(now + timedelta(days=6))


def test_what_is_no_authority(issue: Make) -> None:
    key, certificate = issue("a", CA)
    other_key, other = issue("b", CA)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    traditional = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret"))
    ed = ed25519.Ed25519PrivateKey.generate()
    short = rsa.generate_private_key(65537, 1024)
    k1 = ec.generate_private_key(ec.SECP256K1())
    for pem, reason in {
        b"": "it has no private key",
        b"\0\xff" * 100: "it has no private key",
        pem_of(certificate): "it has no private key",
        pem_of(key): "it has no certificate",
        pem_of(key, other_key, certificate): "it has more than one private key",
        locked + pem_of(certificate): "its private key has a password, which nobody is there to enter",
        traditional + pem_of(certificate): "its private key has a password",
        pem_of(key).replace(b"M", b"N", 1) + pem_of(certificate): "its private key cannot be read",
        pem_of(key, certificate).replace(b"CERTIFICATE-----\nM", b"CERTIFICATE-----\nN"): "a certificate of it cannot",
        pem_of(other_key, certificate): "none of its certificates belongs to its key",
        pem_of(key, certificate, other): "the certificate 'CN=b' is not above its certificate",
        pem_of(ed, certificate): "its key is neither RSA nor EC on P-256, P-384 or P-521, which clients take",
        pem_of(k1, certificate): "its key is neither RSA nor EC",
        pem_of(short, certificate): "its RSA key has 1024 bits, and clients want 2048 at least",
    }.items():
        with pytest.raises(AuthorityError, match=reason):
            read_authority(pem, "operator")


def test_certificate_with_something_unknown(issue: Make) -> None:
    odd = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x04\xa3\x02\x05\x00")
    with pytest.raises(AuthorityError, match="a certificate of it cannot be read"):
        read_authority(pem_of(*issue("a", CA, (odd, False))), "operator")


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=3))
def test_any_certificate(changes: list[tuple[int, int]]) -> None:
    """Whatever is in the file: an authority whose particulars can all be told, or a refusal."""
    der = bytearray(SAMPLE.export("der"))
    for place, value in changes:
        der[place % len(der)] = value
    pem = b"-----BEGIN CERTIFICATE-----\n%b-----END CERTIFICATE-----\n" % base64.encodebytes(der)
    with warnings.catch_warnings():
        # Serial numbers that are not positive, and the like.
        warnings.simplefilter("ignore")
        try:
            found = read_authority(pem_of(SAMPLE.key) + pem, "operator")
        except AuthorityError:
            return
        assert len(found.fingerprint) == 95
        assert isinstance(found.subject, str)
        assert isinstance(found.days_left(NOW), int)
        assert found.key_identifier()


def test_a_name_alone_makes_no_issuer(issue: Make) -> None:
    root, impostor = issue("root", CA), issue("root", CA)
    lower = issue("lower", CA, issuer=root)
    with pytest.raises(AuthorityError, match="'CN=root' is not above"):
        read_authority(pem_of(lower[0], lower[1], impostor[1]), "operator")


@pytest.mark.parametrize(
    ("extensions", "reason"),
    [
        ((), "the certificate 'CN=a' is no authority's: its basicConstraints do not say CA"),
        ((NO_CA,), "is no authority's"),
        ((CA, (key_usage(digital_signature=True), True)), "may not sign certificates: its keyUsage lacks keyCertSign"),
        (
            (CA, (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)),
            "may not sign for servers: its extendedKeyUsage lacks serverAuth",
        ),
    ],
)
def test_certificates_that_may_not_sign(issue: Make, extensions: Any, reason: str) -> None:
    with pytest.raises(AuthorityError, match=reason):
        read_authority(pem_of(*issue("a", *extensions)), "operator")


@pytest.mark.parametrize("purpose", [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
def test_purposes_that_fit(issue: Make, purpose: x509.ObjectIdentifier) -> None:
    assert read_authority(pem_of(*issue("a", CA, (x509.ExtendedKeyUsage([purpose]), False))), "operator")


def test_authorities_below_that_are_not_allowed(issue: Make) -> None:
    """RFC 5280 section 4.2.1.9: pathLenConstraint."""
    root = issue("root", path_length(0))
    lower = issue("lower", CA, issuer=root)
    with pytest.raises(AuthorityError, match="the certificate 'CN=root' allows 0 authorities below, not 1"):
        read_authority(pem_of(lower[0], lower[1], root[1]), "operator")


def test_weak_ones_above(issue: Make) -> None:
    weak = issue("weak", CA, key=rsa.generate_private_key(65537, 1024))
    lower = issue("lower", CA, issuer=weak)
    with pytest.raises(AuthorityError, match="'CN=weak' has an RSA key of 1024 bits, which clients refuse"):
        read_authority(pem_of(lower[0], lower[1], weak[1]), "operator")


def test_weak_signature(issue: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library signs with SHA-1 no more, so that it has to be said to be one."""
    root = issue("root", CA)
    lower = issue("lower", CA, issuer=root)
    monkeypatch.setattr("twistedproxy.tls.authority._hash", lambda certificate: hashes.SHA1())
    with pytest.raises(AuthorityError, match="'CN=lower' has a weak signature, which clients refuse"):
        read_authority(pem_of(lower[0], lower[1], root[1]), "operator")
    # Nobody checks the signature of a root.
    assert read_authority(pem_of(*root), "operator")


def test_leaf_of_an_operators_intermediate_verifies(issue: Make, tmp_path: Path) -> None:
    identifier = (x509.SubjectKeyIdentifier(b"0" * 20), False)
    root = issue("root", CA, SIGNS, identifier)
    pointer = (x509.AuthorityKeyIdentifier(b"0" * 20, None, None), False)
    lower = issue("lower", path_length(0), SIGNS, (x509.SubjectKeyIdentifier(b"1" * 20), False), pointer, issuer=root)
    assert read_authority(pem_of(lower[0], lower[1]), "operator").key_identifier().key_identifier == b"1" * 20
    assert openssl_verify(tmp_path, lower[1], root[1], "-purpose", "any") == "leaf.pem: OK\n"
