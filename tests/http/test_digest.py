"""Digest with SHA-256: the example of RFC 7616, and everything that can be wrong with one."""

from __future__ import annotations

import time

import pytest

from twistedproxy.errors import CredentialsRefused
from twistedproxy.http.digest import digest_of, hash_of_name, parse_digest

# RFC 7616 section 3.9.1.
EXAMPLE = (
    b'username="Mufasa",\r\n       realm="http-auth@example.org", uri="/dir/index.html", algorithm=SHA-256, '
    b'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, '
    b'cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, '
    b'response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1", '
    b'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
).replace(b"\r\n       ", b" ")


def test_the_example_of_the_rfc() -> None:
    found = parse_digest(EXAMPLE)
    assert (found.name, found.realm, found.uri, found.number) == (
        b"Mufasa",
        b"http-auth@example.org",
        b"/dir/index.html",
        1,
    )
    found.method = b"GET"
    known = digest_of(b"Mufasa", b"http-auth@example.org", b"Circle of Life")
    assert found.proves(known)
    assert not found.proves(digest_of(b"Mufasa", b"http-auth@example.org", b"circle of life"))
    found.method = b"POST"
    assert not found.proves(known)
    assert repr(found) == "<DigestResponse b'Mufasa' count=1>"


def test_names_in_the_extended_form() -> None:
    """RFC 7616 section 3.4: with RFC 8187, in UTF-8."""
    text = EXAMPLE.replace(b'username="Mufasa"', b"username*=UTF-8''J%C3%A4s%C3%B8n%20Doe")
    assert parse_digest(text).name == "Jäsøn Doe".encode()


def test_white_space_case_and_quoting_do_not_matter() -> None:
    text = EXAMPLE.replace(b'realm="http', b'Realm \t= "ht\\tp').replace(b"qop=auth", b',, QOP="Auth" ,')
    found = parse_digest(text.replace(b"SHA-256", b'"sha-256"').replace(b"753927fa", b"753927FA") + b" ,")
    assert found.realm == b"http-auth@example.org"
    found.method = b"GET"
    assert found.proves(digest_of(b"Mufasa", b"http-auth@example.org", b"Circle of Life"))


@pytest.mark.parametrize(
    ("old", "new", "detail"),
    [
        (b'username="Mufasa", ', b"", "its Digest has no name, or two"),
        (b'username="Mufasa"', b"username=\"a\", username*=UTF-8''a", "its Digest has no name, or two"),
        (b'username="Mufasa"', b"username*=ISO-8859-1''a", "the name in its Digest is malformed"),
        (b'username="Mufasa"', b"username*=UTF-8''%0", "the name in its Digest is malformed"),
        (
            b'username="Mufasa"',
            b"username*=UTF-8''a%0Ab",
            "the name in its Digest is empty, or has a control character",
        ),
        (b'username="Mufasa"', b'username=""', "the name in its Digest is empty, or has a control character"),
        (b'username="Mufasa"', b'username="\xff"', "the name is not in UTF-8"),
        (b"algorithm=SHA-256", b"algorithm=MD5", "its Digest is not made with SHA-256"),
        (b"algorithm=SHA-256", b"algorithm=SHA-256-sess", "its Digest is not made with SHA-256"),
        (b"algorithm=SHA-256, ", b"", "its Digest has no algorithm"),
        (b"qop=auth", b"qop=auth-int", "its Digest has another qop than auth"),
        (b"qop=auth, ", b"", "its Digest has no qop"),
        (b"nc=00000001", b"nc=1", "its Digest is malformed"),
        (b"nc=00000001", b"nc=0000000x", "its Digest is malformed"),
        (b'response="75', b'response="7', "its Digest is malformed"),
        (b"nc=00000001", b"nc=00000001, nc=00000002", "its Digest has a parameter twice"),
        (b"nc=00000001", b"nc=00000001, userhash=true", "the hashed name in its Digest is malformed"),
        (b"nc=00000001", b"nc=00000001, userhash=perhaps", "the hashed name in its Digest is malformed"),
        (b"nc=00000001", b"nc", "its Digest is malformed"),
        (b"nc=00000001", b'nc="00000001', "its Digest is malformed"),
        (b"nc=00000001", b"nc=00000001 x=y", "its Digest is malformed"),
        (b"nc=00000001", b", ".join(b"x%d=y" % n for n in range(32)), "its Digest is malformed"),
    ],
)
def test_what_is_wrong(old: bytes, new: bytes, detail: str) -> None:
    assert old in EXAMPLE
    with pytest.raises(CredentialsRefused) as raised:
        parse_digest(EXAMPLE.replace(old, new))
    assert raised.value.detail == detail


def test_a_hashed_name() -> None:
    """The example of RFC 7616 section 3.9.2 with SHA-256; upper case is as good."""
    hashed = hash_of_name(b"Mufasa", b"http-auth@example.org")
    for said in (hashed, hashed.upper()):
        response = parse_digest(EXAMPLE.replace(b'username="Mufasa"', b'username="%b", userhash=TRUE' % said))
        assert (response.name, response.name_hash) == (b"", hashed)
    plain = parse_digest(EXAMPLE.replace(b"nc=00000001", b"nc=00000001, userhash=false"))
    assert (plain.name, plain.name_hash) == (b"Mufasa", b"")
    extended = EXAMPLE.replace(b'username="Mufasa"', b"username*=UTF-8''%b, userhash=true" % hashed)
    with pytest.raises(CredentialsRefused, match="hashed name"):
        parse_digest(extended)


@pytest.mark.parametrize("piece", [b" ", b",", b'x="', b"x=", b"a=b,", b'\\"'])
def test_reading_takes_time_linear_in_the_length(piece: bytes) -> None:
    began = time.perf_counter()
    with pytest.raises(CredentialsRefused):
        parse_digest(piece * 200_000)
    assert time.perf_counter() - began < 1
