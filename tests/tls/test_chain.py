"""Chains in words: what is told, and how little of it a hostile certificate may decide."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519
from cryptography.x509.oid import NameOID
from OpenSSL import crypto

from tests.tls.zoo import CASES, authorities, make, rsa_key, unreadable
from twistedproxy.tls.chain import MOST, UNREADABLE, as_sent, extensions, issuer, key, parsed, quoted, subject, summary


def test_summary() -> None:
    zoo = authorities()
    leaf = make("a.example", zoo.between, key=rsa_key(2048)).certificate
    first, second = summary([leaf, zoo.between.certificate])
    validity = f"valid {leaf.not_valid_before_utc:%Y-%m-%d} to {leaf.not_valid_after_utc:%Y-%m-%d}"
    assert first == (
        f'subject "CN=a.example"; issuer "CN=Zoo Intermediate"; {validity}; RSA 2048; signed with ecdsa-with-SHA256'
    )
    assert second.startswith('subject "CN=Zoo Intermediate"; issuer "CN=Zoo Root"; valid ')
    assert second.endswith("; EC secp256r1; signed with ecdsa-with-SHA256")


def test_not_many() -> None:
    lines = summary([authorities().root.certificate] * 50)
    assert len(lines) == MOST + 1
    assert lines[-1] == "and 44 more"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a\r\nSet-Cookie: b", '"CN=a\\r\\nSet-Cookie: b"'),
        ("\x1b[31m", '"CN=\\u001b[31m"'),
        ("<script>alert(1)", '"CN=<script>alert(1)"'),
        ('a"; issuer "b', "\"CN=a'; issuer 'b\""),
        ("\u202egnp.exe", '"CN=\\u202egnp.exe"'),
    ],
)
def test_hostile_names(name: str, told: str) -> None:
    certificate = make(name).certificate
    assert subject(certificate) == issuer(certificate) == told
    assert all(line.isprintable() for line in summary([certificate]))


def test_names_without_a_common_name() -> None:
    assert subject(make("").certificate) == '""'
    whole = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Zoo")])
    assert quoted(whole.rfc4514_string()) == '"O=Zoo"'


def test_long_names_are_cut() -> None:
    assert quoted("a" * 5000) == f'"{"a" * 100}..."'


@pytest.mark.parametrize(
    ("own", "told"),
    [
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
        (ec.generate_private_key(ec.SECP384R1()), "EC secp384r1"),
        (dsa.generate_private_key(1024), "DSA 1024"),
    ],
)
def test_keys(own: object, told: str) -> None:
    assert key(make("a", authorities().root, key=own).certificate) == told


def test_what_can_be_read() -> None:
    root = authorities().root.certificate
    for_openssl = crypto.X509.from_cryptography(root)
    assert parsed(for_openssl) == root
    broken = unreadable(authorities().root)
    assert as_sent([for_openssl, broken, for_openssl]) == [root, None, root]
    assert summary([None, root])[0] == UNREADABLE
    assert as_sent([]) == []
    with pytest.raises(ValueError, match="version"):
        parsed(broken)


def test_extensions_that_cannot_be_read() -> None:
    assert len(list(extensions(authorities().root.certificate))) == 3
    with pytest.raises(ValueError, match="Duplicate"):
        extensions(CASES["extension-twice"]().leaf.certificate)
