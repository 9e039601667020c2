"""Each complaint of OpenSSL has its own error, and words."""

from __future__ import annotations

import pytest

from tests.tls.zoo import authorities, make
from twistedproxy.tls.certificate_errors import (
    CertificateExpired,
    CertificateMalformed,
    CertificateNotYetValid,
    CertificateRefused,
    CertificateSelfSigned,
    IntermediateMissing,
    KeyWeak,
    RootUnknown,
    SignatureWeak,
)
from twistedproxy.tls.findings import finding


@pytest.mark.parametrize(
    ("code", "depth", "error"),
    [
        (10, 0, CertificateExpired),
        (9, 1, CertificateNotYetValid),
        (18, 0, CertificateSelfSigned),
        (19, 2, RootUnknown),
        (20, 0, IntermediateMissing),
        (20, 1, RootUnknown),
        (2, 1, RootUnknown),
        (21, 0, IntermediateMissing),
        (66, 0, KeyWeak),
        (67, 1, KeyWeak),
        (68, 0, SignatureWeak),
        (85, 0, CertificateMalformed),
        (1, 0, CertificateMalformed),
        (12345, 0, CertificateRefused),
    ],
)
def test_codes(code: int, depth: int, error: type[CertificateRefused]) -> None:
    found = finding(code, depth, make("a.example", authorities().between).certificate)
    assert found.error is error
    assert '"CN=a.example"' in found.text
    assert finding(code, depth, None).error is error


def test_words() -> None:
    certificate = make("a.example", authorities().between).certificate
    when = f"{certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC"
    assert finding(10, 0, certificate).text == f'the certificate "CN=a.example" ended on {when}'
    assert finding(34, 0, certificate).text == (
        'the certificate "CN=a.example" has a critical extension that is not known here'
    )
    assert finding(999, 0, certificate).text == (
        'the certificate "CN=a.example" was refused by OpenSSL (X509_V_ERR 999)'
    )
