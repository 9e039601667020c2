"""Chains that were shown, each verified without a connection: the good ones, and those with one thing wrong."""

from __future__ import annotations

import pytest

from tests.tls.zoo import CASES, DAY, NOW, authorities
from twistedproxy.errors import CertificateExpired, CertificateNotYetValid, CertificateRefused
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


def test_time() -> None:
    case = authorities().case()
    roots, leaf = [authorities().root.certificate], case.leaf.certificate
    assert verify(roots, case.intermediates, leaf, "localhost", NOW + 29 * DAY)
    with pytest.raises(CertificateExpired, match="ended on"):
        verify(roots, case.intermediates, leaf, "localhost", NOW + 31 * DAY)
    with pytest.raises(CertificateNotYetValid, match="begins on"):
        verify(roots, case.intermediates, leaf, "localhost", NOW - 2 * DAY)
