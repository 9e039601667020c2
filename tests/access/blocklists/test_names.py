"""Names as lists have them: one spelling, and never an exception."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.access.blocklists.names import asked_name, dotted, is_address, listed_name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b"Example.COM", b"example.com"),
        (b"example.com.", b"example.com"),
        (b"_dmarc.example.com", b"_dmarc.example.com"),
        ("bücher.example".encode(), b"xn--bcher-kva.example"),
        ("BÜCHER。example".encode(), b"xn--bcher-kva.example"),
        (b"192.0.2.1", b"192.0.2.1"),
        (b"0300.0.2.1", b"192.0.2.1"),
        (b"0x7f.1", b"127.0.0.1"),
        (b"2130706433", b"127.0.0.1"),
        (b"2001:DB8::0:1", b"2001:db8::1"),
        (b"[::ffff:192.0.2.1]", b"192.0.2.1"),
        (b"", None),
        (b".", None),
        (b"a..b", None),
        (b"a b", None),
        (b"http://a.example/", None),
        (b"a.example:80", None),
        (b"256.1.1.1", None),
        (b"1.2.3.4.5", None),
        (b"a." + b"b" * 64, None),
        (b"a." * 127 + b"abc", None),
        (b"\xff\xfe", None),
        ("\u2488com".encode(), None),
    ],
)
def test_spellings(text: bytes, name: bytes | None) -> None:
    assert listed_name(text) == name


@given(st.binary(max_size=80))
def test_a_name_stays_what_it_is(text: bytes) -> None:
    name = listed_name(text)
    if name is not None:
        assert listed_name(name) == name
        assert asked_name(name.decode("ascii")) == name.decode("ascii")


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("A.Example.", "a.example"),
        ("16909060", "1.2.3.4"),
        ("0x1.2.3.4", "1.2.3.4"),
        ("1.2.3.0x4", "1.2.3.4"),
        ("::FFFF:1.2.3.4", "1.2.3.4"),
        ("2001:db8:0::1", "2001:db8::1"),
        ("::zz", "::zz"),
        ("a.1", "a.1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_what_is_asked_for(host: str, name: str) -> None:
    assert asked_name(host) == name


@given(st.integers(0, 2**32 - 1))
def test_numbers_are_addresses(number: int) -> None:
    text = ".".join(map(str, number.to_bytes(4, "big")))
    assert dotted(str(number)) == dotted(hex(number)) == dotted(text) == text
    assert dotted(str(number + 2**32)) == dotted("08.1.1.1") == dotted("1.2.3.") == ""


def test_addresses_are_told_from_names() -> None:
    assert [is_address(name) for name in (b"1.2.3.4", b"::1", b"a.example", b"a.1")] == [True, True, False, False]
