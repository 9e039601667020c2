"""Names and addresses against what certificates say (RFC 9525)."""

from __future__ import annotations

import pytest
from cryptography import x509

from tests.tls.zoo import make, names
from twistedproxy.tls.identity import Identity


def reason(host: str, *said: str, subject: str = "a.example") -> str:
    found = Identity(host).check(make(subject, changed=[(names(*said), False)]).certificate)
    return found.error.reason if found else ""


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("a.example", ["a.example"]),
        ("A.Example", ["a.example"]),
        ("a.example", ["A.EXAMPLE"]),
        ("a.example.", ["a.example"]),
        ("a.example", ["b.example", "192.0.2.1", "a.example"]),
        ("x.a.example", ["*.a.example"]),
        ("xn--bcher-kva.example.org", ["*.example.org"]),
        ("bücher.example.org", ["*.example.org"]),
        ("bücher.example", ["xn--bcher-kva.example"]),
        ("a_b.example", ["a_b.example"]),
        ("192.0.2.1", ["192.0.2.1"]),
        ("::1", ["::1"]),
        ("[::1]", ["::1"]),
        ("[0:0::1]", ["::1"]),
        # What means nothing does not spoil what does.
        ("a.example", ["*.com", "a.*.example", "*", "a.example"]),
    ],
)
def test_good(host: str, said: list[str]) -> None:
    assert reason(host, *said) == ""


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("a.example", ["b.example"]),
        ("example.com", ["*.example.com"]),
        ("x.y.example.com", ["*.example.com"]),
        ("a.com", ["*.com"]),
        ("a", ["*"]),
        ("foo.example.com", ["f*.example.com"]),
        ("foo.example.com", ["*o.example.com"]),
        ("foo.example.com", ["foo.*.com"]),
        ("foo.example.com", ["*.*.com"]),
        ("a.example", [".example"]),
        ("evil-a.example", ["a.example"]),
        ("a..example", ["a..example"]),
        ("", ["a.example"]),
    ],
)
def test_wrong_host(host: str, said: list[str]) -> None:
    assert reason(host, *said) == "certificate_wrong_host"


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("192.0.2.1", ["192.0.2.2"]),
        ("192.0.2.1", ["a.example"]),
        ("::1", ["::2"]),
        ("[::ffff:192.0.2.1]", ["192.0.2.1"]),
    ],
)
def test_wrong_address(host: str, said: list[str]) -> None:
    assert reason(host, *said) == "certificate_wrong_address"


def test_an_address_as_a_name_is_no_address() -> None:
    said = x509.SubjectAlternativeName([x509.DNSName("192.0.2.1")])
    found = Identity("192.0.2.1").check(make("192.0.2.1", changed=[(said, False)]).certificate)
    assert found is not None
    assert found.error.reason == "certificate_wrong_address"


def test_common_name_only() -> None:
    certificate = make("a.example", left_out=[x509.SubjectAlternativeName]).certificate
    found = Identity("a.example").check(certificate)
    assert found is not None
    assert found.error.reason == "certificate_common_name_only"
    assert found.text == 'it has no alternative names, only the common name "a.example"'
    mail = make("a.example", changed=[(x509.SubjectAlternativeName([x509.RFC822Name("a@a.example")]), False)])
    found = Identity("a.example").check(mail.certificate)
    assert found is not None
    assert found.error.reason == "certificate_common_name_only"


def test_server_name() -> None:
    """RFC 6066 section 3: a name in A-labels, without the dot at its end, and no address."""
    assert Identity("Bücher.example.").server_name == b"xn--bcher-kva.example"
    assert Identity("192.0.2.1").server_name is None
    assert Identity("[::1]").server_name is None
    assert Identity("a..b").server_name is None


def test_few_names_are_told() -> None:
    certificate = make("a", changed=[(names(*(f"host-{number}.example" for number in range(500))), False)]).certificate
    found = Identity("b.example").check(certificate)
    assert found is not None
    assert found.text.endswith('"host-4.example" and 495 more')
    assert len(found.text) < 200
