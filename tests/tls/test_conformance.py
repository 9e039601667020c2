"""What is asked of a chain beyond what OpenSSL looks at."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.tls.zoo import Authorities, One, authorities, make, names, rsa_key, usage
from twistedproxy.tls.conformance import check_chain


@pytest.fixture
def zoo() -> Authorities:
    return authorities()


def reason(*chain: One, strict: bool = True, most: int = 8) -> str:
    found = check_chain([one.certificate for one in chain], strict=strict, max_intermediates=most)
    return found.error.reason if found else ""


def test_good(zoo: Authorities) -> None:
    assert reason(make("a", zoo.between), zoo.between, zoo.root) == ""
    assert reason(make("a", zoo.root), zoo.root) == ""


def test_what_is_trusted_itself(zoo: Authorities) -> None:
    """Also one that calls itself an authority, as openssl makes them."""
    assert reason(make("a", ca=True, changed=[(names("a.example"), False)], left_out=[x509.KeyUsage])) == ""
    assert reason(make("a")) == ""
    # Its key counts all the same.
    assert reason(make("a", key=rsa_key(1024))) == "certificate_weak_key"


def test_length(zoo: Authorities) -> None:
    chain = make("a", zoo.between), zoo.between, zoo.root
    assert reason(*chain, most=1) == ""
    assert reason(*chain, most=0) == "certificate_chain_too_long"


@pytest.mark.parametrize(
    "own",
    [
        rsa_key(1024),
        ec.generate_private_key(ec.SECP192R1()),
        ec.generate_private_key(ec.SECP224R1()),
        ec.generate_private_key(ec.SECP256K1()),
        ec.generate_private_key(ec.BrainpoolP256R1()),
        dsa.generate_private_key(2048),
    ],
    ids=["rsa-1024", "p192", "p224", "p256k1", "brainpool", "dsa"],
)
def test_weak_keys(zoo: Authorities, own: object) -> None:
    assert reason(make("a", zoo.root, key=own), zoo.root, strict=False) == "certificate_weak_key"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), ""),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), "certificate_wrong_purpose"),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), "certificate_wrong_purpose"),
        (usage(digital_signature=True), ""),
        (usage(key_encipherment=True), ""),
        (usage(content_commitment=True), "certificate_wrong_purpose"),
    ],
)
def test_purpose(zoo: Authorities, changed: x509.ExtensionType, expected: str) -> None:
    leaf = make("a", zoo.root, changed=[(changed, True)])
    assert reason(leaf, zoo.root) == reason(leaf, zoo.root, strict=False) == expected


def test_an_authority_is_no_server(zoo: Authorities) -> None:
    leaf = make("a", zoo.root, ca=True, changed=[(names("a.example"), False)])
    assert reason(leaf, zoo.root, strict=False) == "certificate_wrong_purpose"


@pytest.mark.parametrize(
    ("extension", "critical"),
    [
        (x509.PolicyConstraints(0, None), False),
        (x509.InhibitAnyPolicy(0), False),
        (x509.NameConstraints([x509.DNSName("a.example")], None), True),
        (
            x509.AuthorityInformationAccess(
                [
                    x509.AccessDescription(
                        x509.AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://a.example")
                    )
                ]
            ),
            True,
        ),
    ],
)
def test_form(zoo: Authorities, extension: x509.ExtensionType, critical: bool) -> None:
    """Asked for when it is to be strict, and of nobody who is trusted."""
    leaf = make("a", zoo.root, changed=[(extension, critical)])
    assert reason(leaf, zoo.root) == "certificate_malformed"
    assert reason(leaf, zoo.root, strict=False) == ""
    assert reason(leaf) == ""


def test_words(zoo: Authorities) -> None:
    found = check_chain(
        [make("a", zoo.root, key=rsa_key(1024)).certificate, zoo.root.certificate], strict=True, max_intermediates=8
    )
    assert found is not None
    assert found.text == 'the certificate "CN=a" has a key (RSA 1024) that is not of 2048 bits or more'
