"""The Proxy-Status field (RFC 9209 section 2)."""

from __future__ import annotations

import pytest

from twistedproxy.http.proxy_status import proxy_status


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # RFC 9651 section 3.3.4: what is a Token stands there as one.
        ("pyproxy-0123abcd", b"pyproxy-0123abcd; error=dns_error"),
        ("proxy.example:8080", b"proxy.example:8080; error=dns_error"),
        ("*", b"*; error=dns_error"),
        # Section 3.3.3: anything else is a String.
        ("192.0.2.1", b'"192.0.2.1"; error=dns_error'),
        ("[::1]:8080", b'"[::1]:8080"; error=dns_error'),
        ("two words", b'"two words"; error=dns_error'),
        ('a "b" \\c', b'"a \\"b\\" \\\\c"; error=dns_error'),
        ("a;error=b", b'"a;error=b"; error=dns_error'),
        ("a,b", b'"a,b"; error=dns_error'),
        ("", b'""; error=dns_error'),
    ],
)
def test_proxy_status(name: str, value: bytes) -> None:
    assert proxy_status(name, "dns_error") == value
