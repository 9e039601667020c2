"""Names for leaves, from whoever makes them up."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from tests.tls.conftest import Make
from twistedproxy.tls.names import MOST_NAMES, InvalidName, LeafNames, asked_for, mirrored

NOW = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("a.test", LeafNames(("a.test",))),
        ("A.Test.", LeafNames(("a.test",))),
        ("localhost", LeafNames(("localhost",))),
        ("_srv.a_b.test", LeafNames(("_srv.a_b.test",))),
        ("bücher.test", LeafNames(("xn--bcher-kva.test",))),
        ("BÜCHER.test", LeafNames(("xn--bcher-kva.test",))),
        ("bücher。test", LeafNames(("xn--bcher-kva.test",))),
        ("xn--bcher-kva.test", LeafNames(("xn--bcher-kva.test",))),
        ("192.0.2.7", LeafNames((), (ip_address("192.0.2.7"),))),
        ("2001:DB8::1", LeafNames((), (ip_address("2001:db8::1"),))),
        ("[2001:db8::1]", LeafNames((), (ip_address("2001:db8::1"),))),
    ],
)
def test_asked_for(host: str, names: LeafNames) -> None:
    assert asked_for(host) == names


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "a..b",
        "*.a.test",
        "a b",
        "a\0b",
        "a\n",
        "-a",
        "a-",
        "a/b",
        "a:443",
        "x" * 64,
        "a." * 127 + "b",
        "1.2.3",
        "127.1",
        "0x7f.0.0.0x1",
        "256.0.0.1",
        "fe80::1%eth0",
        "[::1",
        "\ud800",
        "\u200d.test",
        "ü" * 300,
        "a" * 2000,
    ],
)
def test_what_is_no_name(host: str) -> None:
    if host == "[::1":
        assert asked_for(host).addresses  # a bracket is only left out
        return
    with pytest.raises(InvalidName):
        asked_for(host)


@given(st.text(max_size=300))
def test_any_text(host: str) -> None:
    """A name that a certificate can have, or its own error."""
    try:
        names = asked_for(host)
    except InvalidName:
        return
    assert names.alternative_names()
    assert len(names.title) <= 253


@pytest.mark.parametrize(
    ("asked", "covered"),
    [
        ("a.test", True),
        ("x.w.test", True),
        ("x.y.w.test", False),
        ("w.test", False),
        ("b.test", False),
        (ip_address("192.0.2.7"), True),
        (ip_address("192.0.2.8"), False),
    ],
)
def test_wildcards(asked: str, covered: bool) -> None:
    """RFC 9525 section 6.3: the wildcard stands for one label."""
    names = LeafNames(("*.w.test", "a.test"), (ip_address("192.0.2.7"),))
    assert names.covers(asked) is covered


def certificate(issue: Make, *names: x509.GeneralName) -> x509.Certificate:
    return issue("server", (x509.SubjectAlternativeName(names), False))[1]


def test_mirrored(issue: Make) -> None:
    found = mirrored(
        certificate(
            issue,
            x509.DNSName("WWW.a.test"),
            x509.DNSName("a.test"),
            x509.DNSName("a.test"),
            x509.DNSName("*.a.test"),
            x509.IPAddress(ip_address("2001:db8::1")),
            x509.IPAddress(ip_address("192.0.2.7")),
            # What no leaf may have:
            x509.DNSName("*.test"),
            x509.DNSName("*"),
            x509.DNSName("w*.a.test"),
            x509.DNSName("a.*.test"),
            x509.DNSName("*.*.a.test"),
            x509.DNSName("a b.test"),
            x509.DNSName("a\0.test"),
            x509.DNSName("1.2.3.4"),
            x509.DNSName("x" * 300),
            x509.DNSName("*." + "a." * 126 + "b"),
            x509.IPAddress(ip_network("192.0.2.0/24")),
            x509.RFC822Name("me@a.test"),
            x509.UniformResourceIdentifier("https://b.test/"),
        ),
        "mail.a.test",
    )
    addresses = (ip_address("192.0.2.7"), ip_address("2001:db8::1"))
    assert found == LeafNames(("*.a.test", "a.test", "www.a.test"), addresses)


def test_order_does_not_matter(issue: Make) -> None:
    one = certificate(issue, x509.DNSName("a.test"), x509.DNSName("b.test"))
    other = certificate(issue, x509.DNSName("b.test"), x509.DNSName("a.test"))
    assert mirrored(one, "a.test") == mirrored(other, "b.test")


def test_what_was_asked_for_is_there(issue: Make) -> None:
    """Also where the server's certificate is another one's: what the client is told it is told by this leaf."""
    other = certificate(issue, x509.DNSName("b.test"), x509.IPAddress(ip_address("192.0.2.7")))
    assert mirrored(other, "A.test").hosts == ("a.test", "b.test")
    assert mirrored(other, "192.0.2.1").addresses == (ip_address("192.0.2.1"), ip_address("192.0.2.7"))
    assert mirrored(issue("a.test")[1], "a.test") == LeafNames(("a.test",))


def test_too_many_names(issue: Make) -> None:
    many = certificate(issue, *(x509.DNSName(f"h{number:03}.test") for number in range(500)))
    assert len(mirrored(many, "h000.test").hosts) == MOST_NAMES
    found = mirrored(many, "h499.test")
    assert len(found.hosts) == MOST_NAMES
    assert found.title == "h499.test"


@pytest.mark.parametrize("content", [b"\xff", b"", b"\x30\x00", b"\x30\x04\xa3\x02\x05\x00", b"\x30\x03\x82\x01\xff"])
def test_certificate_that_cannot_be_read(issue: Make, content: bytes) -> None:
    broken = issue("a", (x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, content), False))[1]
    assert mirrored(broken, "a.test") == LeafNames(("a.test",))
    with pytest.raises(InvalidName):
        mirrored(broken, "*")
