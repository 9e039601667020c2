"""Chains that were shown, each verified without a connection: the good ones, and those with one thing wrong."""

from __future__ import annotations

from datetime import timedelta, timezone
from time import monotonic

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import assume, given
from hypothesis import strategies as st
from OpenSSL import crypto

from tests.tls.zoo import CASES, DAY, NOW, authorities, make, new_key
from twistedproxy.tls.certificate_errors import (
    CertificateExpired,
    CertificateMalformed,
    CertificateNotYetValid,
    CertificateRefused,
    ChainTooLong,
)
from twistedproxy.tls.chain import parsed
from twistedproxy.tls.verification import verify


@pytest.mark.parametrize("name", CASES)
def test_zoo(name: str) -> None:
    case = CASES[name]()
    roots = [root.certificate for root in case.roots]
    if not case.reason:
        chain = verify(roots, case.intermediates, case.leaf.certificate, case.host)
        assert chain[0] == case.leaf.certificate
        assert chain[-1] in roots
        return
    with pytest.raises(CertificateRefused) as refused:
        verify(roots, case.intermediates, case.leaf.certificate, case.host)
    error = refused.value
    assert error.reason == case.reason, error.detail
    assert f"asked for {case.host}: " in error.detail
    assert error.proxy_status == "tls_certificate_error"
    assert len(error.particulars) == min(1 + len(case.sent), 7)


def test_nobody_is_asked_for() -> None:
    """Then only the chain counts."""
    case = CASES["wrong-host"]()
    assert len(verify([authorities().root.certificate], case.intermediates, case.leaf.certificate, None)) == 3
    case = CASES["expired"]()
    with pytest.raises(CertificateExpired):
        verify([authorities().root.certificate], case.intermediates, case.leaf.certificate, None)


def test_strictness_and_length() -> None:
    case, roots = CASES["no-authority-key-identifier"](), [authorities().root.certificate]
    assert verify(roots, case.intermediates, case.leaf.certificate, case.host, NOW, strict=False)
    with pytest.raises(CertificateMalformed):
        verify(roots, case.intermediates, case.leaf.certificate, case.host, NOW)
    case = authorities().case()
    with pytest.raises(ChainTooLong):
        verify(roots, case.intermediates, case.leaf.certificate, case.host, max_intermediates=0)


def changed(der: bytes, places: list[tuple[int, int]]) -> bytes:
    other = bytearray(der)
    for place, octet in places:
        other[place % len(der)] ^= octet
    return bytes(other)


@given(st.booleans(), st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 255)), min_size=1, max_size=3))
def test_any_bytes(leaf: bool, places: list[tuple[int, int]]) -> None:
    """Whatever is in the certificates: a changed one is refused in words, and nothing else happens."""
    case = authorities().case()
    shown = [one.certificate.public_bytes(Encoding.DER) for one in (case.leaf, *case.sent)]
    which = 0 if leaf else 1
    other = [changed(der, places) if number == which else der for number, der in enumerate(shown)]
    assume(other != shown)
    try:
        first, above = (parsed(crypto.load_certificate(crypto.FILETYPE_ASN1, der)) for der in other)
    except (crypto.Error, ValueError):
        return
    with pytest.raises(CertificateRefused) as refused:
        verify([authorities().root.certificate], [above], first, "localhost")
    assert refused.value.detail.isprintable()
    assert all(line.isprintable() for line in refused.value.particulars)


def test_many_certificates_take_little_time() -> None:
    """What is sent is the server's to choose: a hundred intermediates that all could have signed, and none did well."""
    zoo, key = authorities(), new_key()
    start = NOW - 9 * DAY
    many = [make("Many Times", zoo.root, ca=True, key=key, starts=start, ends=NOW - DAY) for _ in range(100)]
    leaf = make("zoo.test", many[0]).certificate
    begun = monotonic()
    with pytest.raises(CertificateExpired) as refused:
        verify([zoo.root.certificate], [one.certificate for one in many], leaf, "localhost")
    assert monotonic() - begun < 2
    assert refused.value.particulars[-1] == "7. and 95 more"
    assert len(refused.value.detail) < 500


def test_time() -> None:
    case = authorities().case()
    roots, leaf = [authorities().root.certificate], case.leaf.certificate
    assert verify(roots, case.intermediates, leaf, "localhost", NOW + 29 * DAY)
    west = timezone(timedelta(hours=-11))
    assert verify(roots, case.intermediates, leaf, "localhost", (NOW + 30 * DAY).astimezone(west))
    with pytest.raises(CertificateExpired):
        verify(roots, case.intermediates, leaf, "localhost", (NOW + 30 * DAY + timedelta(seconds=1)).astimezone(west))
    with pytest.raises(CertificateExpired, match="ended on"):
        verify(roots, case.intermediates, leaf, "localhost", NOW + 31 * DAY)
    with pytest.raises(CertificateNotYetValid, match="begins on"):
        verify(roots, case.intermediates, leaf, "localhost", NOW - 2 * DAY)
