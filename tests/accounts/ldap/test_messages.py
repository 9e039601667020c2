"""The messages of LDAP, as bytes and taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.accounts.ldap.ber import Malformed, element, integer, octets
from twistedproxy.accounts.ldap.filters import ANY
from twistedproxy.accounts.ldap.messages import (
    BASE,
    START_TLS,
    UNBIND_REQUEST,
    Entry,
    Reference,
    Result,
    bind_request,
    extended_request,
    message,
    parse_message,
    search_request,
)


def test_a_bind() -> None:
    assert message(1, bind_request("cn=x", b"y")).hex() == "30110201016" + "00c020103" + "0404636e3d78" + "800179"


def test_a_search() -> None:
    request = search_request("dc=x", BASE, ANY, ["uid", "cn"], most=2, seconds=5)
    assert request.hex() == (
        "632d" + "040464633d78" + "0a0100" + "0a0100" + "020102" + "020105" + "010100" + "870b6f626a656374436c617373"
        "3009" + "0403756964" + "0402636e"
    )


def test_others() -> None:
    assert extended_request(START_TLS) == b"\x77\x18\x80\x161.3.6.1.4.1.1466.20037"
    assert message(3, UNBIND_REQUEST).hex() == "30050201034200"


def result(tag: int, code: int, words: bytes = b"", *more: bytes) -> bytes:
    return element(tag, integer(code, 0x0A), octets(b""), octets(words), *more)


def attribute(name: bytes, *values: bytes) -> bytes:
    return element(0x30, octets(name), element(0x31, *map(octets, values)))


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (result(0x61, 49, b"no"), Result(0x61, 49, "no")),
        (result(0x65, 0, b"\xff", element(0xA3, octets(b"ldap://x"))), Result(0x65, 0, "\ufffd")),
        (result(0x78, 0, b"", octets(b"1.2", 0x8A)), Result(0x78, 0, "")),
        (element(0x73, octets(b"ldap://x")), Reference()),
        (
            element(0x64, octets(b"uid=a"), element(0x30, attribute(b"UID", b"a", b"b"), attribute(b"uid", b"c"))),
            Entry("uid=a", {"uid": [b"a", b"b", b"c"]}),
        ),
        (element(0x64, octets(b""), element(0x30)), Entry("", {})),
    ],
)
def test_what_comes(operation: bytes, expected: object) -> None:
    assert parse_message(integer(7) + operation) == (7, expected)
    assert parse_message(integer(7) + operation + element(0xA0)) == (7, expected)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        integer(1),
        octets(b"1") + result(0x61, 0),
        integer(1) + element(0x61),
        integer(1) + element(0x61, integer(0), octets(b""), octets(b"")),
        integer(1) + element(0x64, octets(b"")),
        integer(1) + element(0x64, octets(b""), element(0x30, octets(b"uid"))),
        integer(1) + element(0x64, octets(b""), element(0x30, element(0x30, octets(b"uid"), octets(b"x")))),
        integer(1) + bind_request("", b""),
    ],
)
def test_what_is_no_answer(content: bytes) -> None:
    with pytest.raises(Malformed):
        parse_message(content)


@given(st.binary(max_size=80))
def test_anything_is_taken_apart_or_refused(content: bytes) -> None:
    for whole in (content, integer(1) + element(0x64, content), integer(1) + element(0x65, content)):
        try:
            parse_message(whole)
        except Malformed:
            continue
