"""Authorities that have signed each other, in every way and some of them badly, with another verifier for an oracle."""

from __future__ import annotations

import random

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from tests.tls.zoo import DAY, NOW, One, make, new_key
from twistedproxy.tls.certificate_errors import CertificateRefused
from twistedproxy.tls.verification import verify

# What may be wrong with the certificate that one authority has of another.
FLAWS: list[dict[str, object]] = [
    {},
    {},
    {"starts": NOW - 9 * DAY, "ends": NOW - DAY},
    {"changed": [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)]},
    {"changed": [(x509.NameConstraints(None, [x509.DNSName("localhost")]), True)]},
    {"path_length": 0},
    {"ca": False, "left_out": [x509.ExtendedKeyUsage, x509.SubjectAlternativeName]},
]


def crossed(chance: random.Random) -> tuple[One, list[x509.Certificate], x509.Certificate]:
    """A root, certificates of some authorities by others and by the root, and a server below one of them."""
    root = make("Root", ca=True)
    named = {f"Authority {number}": new_key() for number in range(chance.choice((3, 4)))}
    signers = {name: make(name, ca=True, key=key) for name, key in named.items()} | {"Root": root}
    certificates = []
    for subject, key in named.items():
        for signer in (*signers, "Root"):
            if signer != subject and chance.random() < 0.4:
                how = {"ca": True, "key": key} | chance.choice(FLAWS)
                certificates.append(make(subject, signers[signer], **how).certificate)  # type: ignore[arg-type]  # FLAWS
    chance.shuffle(certificates)
    return root, certificates, make("zoo.test", signers[chance.choice(list(named))]).certificate


@pytest.mark.parametrize("seed", range(60))
def test_as_the_oracle_says(seed: int) -> None:
    root, sent, leaf = crossed(random.Random(seed))
    oracle = PolicyBuilder().store(Store([root.certificate])).build_server_verifier(x509.DNSName("localhost"))
    try:
        oracle.verify(leaf, sent)
    except VerificationError:
        with pytest.raises(CertificateRefused):
            verify([root.certificate], sent, leaf, "localhost")
    else:
        assert verify([root.certificate], sent, leaf, "localhost")[0] == leaf
