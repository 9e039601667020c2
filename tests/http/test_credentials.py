"""Proxy-Authorization as clients send it, and anything that is not one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.errors import CredentialsRefused
from twistedproxy.http.credentials import (
    LONGEST,
    LONGEST_PASSWORD,
    BasicCredentials,
    basic_challenge,
    digest_challenge,
    parse_credentials,
)
from twistedproxy.http.digest import DigestResponse


def basic(user_pass: bytes) -> bytes:
    return b"Basic " + base64.b64encode(user_pass)


@pytest.mark.parametrize(
    ("value", "name", "password"),
    [
        # RFC 7617 section 2 and 2.1.
        (b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", b"Aladdin", b"open sesame"),
        (b"Basic dGVzdDoxMjPCow==", b"test", b"123\xc2\xa3"),
        (b"bAsIc   QWxhZGRpbjpvcGVuIHNlc2FtZQ==  ", b"Aladdin", b"open sesame"),
        (basic(b"ann:a:b:c"), b"ann", b"a:b:c"),
        (basic(b"ann:"), b"ann", b""),
        (basic(b"ann:" + b"x" * LONGEST_PASSWORD), b"ann", b"x" * LONGEST_PASSWORD),
        (basic(b"ann:\xe4"), b"ann", b"\xe4"),
        (basic(b"n" * 300 + b":x"), b"n" * 300, b"x"),
        (basic("Jörg M.:ü".encode()), "Jörg M.".encode(), "ü".encode()),
    ],
)
def test_basic(value: bytes, name: bytes, password: bytes) -> None:
    assert parse_credentials(value) == BasicCredentials(name, password)


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        (b"", "its Proxy-Authorization field is malformed"),
        (b'"Basic"', "its Proxy-Authorization field is malformed"),
        (b"Basic\tQQ==", "its Proxy-Authorization field is malformed"),
        (b"x" * (LONGEST + 1), "its Proxy-Authorization field is too long"),
        (b"Bearer abc", "this proxy does not know the scheme of its Proxy-Authorization field"),
        (b"Basic", "its Proxy-Authorization field has no name, or no colon after it"),
        (b"Basic QQ", "what follows Basic in its Proxy-Authorization field is not base64"),
        (b"Basic QUFB QUFB", "what follows Basic in its Proxy-Authorization field is not base64"),
        (b"Basic QUFB-A==", "what follows Basic in its Proxy-Authorization field is not base64"),
        (basic(b"ann"), "its Proxy-Authorization field has no name, or no colon after it"),
        (basic(b":word"), "its Proxy-Authorization field has no name, or no colon after it"),
        (basic(b"ann:wo\nrd"), "the name or the password has a control character"),
        (basic(b"a\x00nn:word"), "the name or the password has a control character"),
        (basic(b"a\xe4nn:word"), "the name is not in UTF-8"),
        (basic(b"ann:" + b"x" * (LONGEST_PASSWORD + 1)), "the password is too long"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_repeated(value: bytes, detail: str) -> None:
    with pytest.raises(CredentialsRefused) as raised:
        parse_credentials(value)
    assert raised.value.detail == detail
    assert "word" not in detail.replace("password", "")


@given(
    st.one_of(
        st.binary(max_size=100),
        st.binary(max_size=60).map(basic),
        st.binary(max_size=100).map(lambda rest: b"Digest " + rest),
        st.from_regex(rb"\ADigest ([a-z*]{1,9} ?= ?(\"[ -~]{0,9}\"|[a-z0-9]{1,9}) ?, ?){0,9}\Z"),
    )
)
def test_any_value_is_understood_or_refused(value: bytes) -> None:
    try:
        found = parse_credentials(value)
    except CredentialsRefused:
        return
    assert isinstance(found, BasicCredentials | DigestResponse)
    assert found.name.decode("utf-8")


def test_challenges() -> None:
    """RFC 7617 section 2.1, RFC 7616 section 3.3."""
    assert basic_challenge("proxy") == b'Basic realm="proxy", charset="UTF-8"'
    fresh = b'Digest realm="proxy", qop="auth", algorithm=SHA-256, nonce="n", charset=UTF-8'
    assert digest_challenge("proxy", b"n", stale=False) == fresh
    assert digest_challenge("proxy", b"n", stale=True) == fresh + b", stale=true"
