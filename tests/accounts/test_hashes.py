"""Hashes of passwords: which are understood, known vectors of each, and why others are refused."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.accounts.samples import quick_hash
from twistedproxy.accounts.hashes import make, unusable, verify


def phc(ln: int, r: int, p: int, salt: bytes, hashed: str) -> bytes:
    made = base64.b64encode(bytes.fromhex(hashed)).rstrip(b"=")
    return b"$scrypt$ln=%d,r=%d,p=%d$%b$%b" % (ln, r, p, base64.b64encode(salt).rstrip(b"="), made)


# RFC 7914 section 12.
RFC_7914 = [
    (
        b"password",
        phc(
            10,
            8,
            16,
            b"NaCl",
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
            "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640",
        ),
    ),
    (
        b"pleaseletmein",
        phc(
            14,
            8,
            1,
            b"SodiumChloride",
            "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
            "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
        ),
    ),
]

# What crypt_blowfish is tested with.
BCRYPT = b"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"


@pytest.mark.parametrize(("password", "text"), [*RFC_7914, (b"U*U", BCRYPT), (b"U*U", BCRYPT.replace(b"2a", b"2y"))])
def test_known_vectors(password: bytes, text: bytes) -> None:
    assert unusable(text) == ""
    assert verify(text, password)
    assert not verify(text, password + b"x")


@pytest.mark.parametrize(("scheme", "cost"), [("bcrypt", 10), ("scrypt", 14)])
def test_new_ones_fit(scheme: str, cost: int) -> None:
    text = make("pässword".encode(), scheme, cost)
    assert unusable(text) == ""
    assert verify(text, "pässword".encode())
    assert not verify(text, b"password")
    assert text != make("pässword".encode(), scheme, cost)


def test_bcrypt_takes_the_beginning_of_long_passwords() -> None:
    text = make(b"x" * 72, "bcrypt", 10)
    assert verify(text, b"x" * 72 + b"anything")
    assert not verify(text, b"x" * 71)
    with pytest.raises(ValueError, match="72 bytes"):
        make(b"x" * 73, "bcrypt", 10)


@pytest.mark.parametrize(("scheme", "cost"), [("bcrypt", 9), ("bcrypt", 17), ("scrypt", 13), ("scrypt", 18)])
def test_costs_have_bounds(scheme: str, cost: int) -> None:
    with pytest.raises(ValueError, match="the cost of"):
        make(b"x", scheme, cost)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"$apr1$saltsalt$0123456789abcdefghijk.", "is Apache's MD5 (apr1), which is found out too fast"),
        (b"$1$saltsalt$0123456789abcdefghijk.", "is MD5, which is found out too fast"),
        (b"{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "is SHA-1 without a salt, which is found out at once"),
        (b"{SSHA}xxxx", "is SHA-1, which is found out too fast"),
        (b"$2x$05$" + b"a" * 53, "is made with a faulty bcrypt"),
        (b"$y$j9T$x$y", "is yescrypt, which this proxy does not know"),
        (b"$7$C6..../....SodiumChloride$x", "is scrypt in the form of crypt(3), which this proxy does not know"),
        (b"$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$x", "is Argon2, which this proxy does not know"),
        (b"rqXexS6ZhobKA", "is DES crypt or a plain password: neither is safe"),
        (b"opensesame", "is of no kind that this proxy knows, or a plain password"),
        (b"", "is of no kind that this proxy knows, or a plain password"),
        (BCRYPT[:-1], "is not complete, or malformed"),
        (BCRYPT.replace(b"$05$", b"$17$"), "has a cost of more than 16"),
        (b"$scrypt$ln=14,r=8$c2FsdA$x", "is not complete, or malformed"),
        (b"$scrypt$ln=99,r=8,p=1$c2FsdA$" + b"A" * 43, "is not complete, or malformed"),
        (b"$scrypt$ln=18,r=8,p=1$c2FsdA$" + b"A" * 43, "takes more than 128 MiB, or seconds, to check"),
        (b"$scrypt$ln=14,r=8,p=99$c2FsdA$" + b"A" * 43, "takes more than 128 MiB, or seconds, to check"),
        (b"$5$x", "is not complete, or malformed"),
    ],
)
def test_what_is_refused_and_why(text: bytes, why: str) -> None:
    assert unusable(text) == why


@given(st.one_of(st.binary(max_size=80), st.sampled_from([BCRYPT, quick_hash(b"x"), RFC_7914[0][1]])), st.data())
def test_any_bytes_are_judged(text: bytes, data: st.DataObject) -> None:
    """Whatever is done to a hash, it is refused, or can be checked."""
    place = data.draw(st.integers(0, len(text)))
    changed = text[:place] + data.draw(st.binary(max_size=2)) + text[place + data.draw(st.integers(0, 2)) :]
    assert isinstance(unusable(changed), str)
