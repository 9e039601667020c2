"""Search filters: as messages have them, with nothing but values in their places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.accounts.ldap.ber import element, octets
from twistedproxy.accounts.ldap.filters import ANY, DEEPEST, Filter, FilterError

CHAIN = b"1.2.840.113556.1.4.1941"
HOSTILE = b"*)(uid=\\2a\0{dn}("


def encoded(text: str, name: bytes = b"ann", dn: bytes = b"uid=ann") -> bytes:
    return Filter(text).encoded({"{name}": name, "{dn}": dn})


def equal(attribute: bytes, value: bytes) -> bytes:
    return element(0xA3, octets(attribute), octets(value))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(uid={name})", equal(b"uid", b"ann")),
        ("(uid=x{name}\\2a{dn})", equal(b"uid", b"xann*uid=ann")),
        ("(cn=)", equal(b"cn", b"")),
        ("(cn= ü )", equal(b"cn", " ü ".encode())),
        ("(objectClass=*)", ANY),
        ("(&)", element(0xA0)),
        ("(|(a=1)(b=2))", element(0xA1, equal(b"a", b"1"), equal(b"b", b"2"))),
        ("(!(a=1))", element(0xA2, equal(b"a", b"1"))),
        ("(&(a=1)(|(b=2)(!(c=3))))".replace("3", "{name}"), None),
        ("(a>=1)", element(0xA5, octets(b"a"), octets(b"1"))),
        ("(a<=1)", element(0xA6, octets(b"a"), octets(b"1"))),
        ("(a~=1)", element(0xA8, octets(b"a"), octets(b"1"))),
        (
            "(cn=a*{name}*c)",
            element(0xA4, octets(b"cn"), element(0x30, octets(b"a", 0x80), octets(b"ann", 0x81), octets(b"c", 0x82))),
        ),
        ("(cn=*a)", element(0xA4, octets(b"cn"), element(0x30, octets(b"a", 0x82)))),
        (
            "(memberOf:1.2.840.113556.1.4.1941:={dn})",
            element(
                0xA9, octets(b"1.2.840.113556.1.4.1941", 0x81), octets(b"memberOf", 0x82), octets(b"uid=ann", 0x83)
            ),
        ),
        ("(ou:dn:=x)", element(0xA9, octets(b"ou", 0x82), octets(b"x", 0x83), octets(b"\xff", 0x84))),
        ("(:caseExactMatch:=x)", element(0xA9, octets(b"caseExactMatch", 0x81), octets(b"x", 0x83))),
    ],
)
def test_as_messages_have_them(text: str, expected: bytes | None) -> None:
    assert expected is None or encoded(text) == expected
    assert repr(Filter(text)) == f"<Filter {text}>"


@given(st.binary(max_size=40))
def test_a_value_is_nothing_but_a_value(name: bytes) -> None:
    assert encoded("(uid={name})", name) == equal(b"uid", name)
    assert encoded("(&(a=b)(uid={name}))", name) == element(0xA0, equal(b"a", b"b"), equal(b"uid", name))


def test_places_in_what_is_put_in_are_none() -> None:
    assert encoded("(uid={name})", HOSTILE) == equal(b"uid", HOSTILE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "uid=ann",
        "(uid=ann",
        "(uid=ann))",
        "(uid)",
        "(=x)",
        "(:=x)",
        "(a=b)(c=d)",
        "(!)",
        "(!(a=1)(b=2))",
        "(&(a=1)b)",
        "(a>=*)",
        "(a:=x*)",
        "(a=\\2)",
        "(a=\\zz)",
        "(a={)",
        "(a=()",
        "(" * (DEEPEST + 3),
        "(&" * (DEEPEST + 2) + "(a=1)" + ")" * (DEEPEST + 2),
    ],
)
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(FilterError, match="there is no filter of RFC 4515 at character"):
        Filter(text)


@given(st.text("(&|!)=*\\{}:a<~1", max_size=30))
def test_anything_is_taken_apart_or_refused(text: str) -> None:
    try:
        made = Filter(text)
    except FilterError:
        return
    assert "{" in text or made.encoded({})
