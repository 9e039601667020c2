"""SHA-256 and SHA-512 crypt: the vectors of the specification, and OpenSSL as an oracle."""

from __future__ import annotations

import subprocess

import pytest

from twistedproxy.accounts.sha_crypt import MOST_ROUNDS, digest, unusable, verify

WHOLE = b"$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
HELLO, TEST, LONG = b"Hello world!", b"This is just a test", b"we have a short salt string but not a short password"


@pytest.mark.parametrize(
    ("text", "password"),
    [
        (b"$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", HELLO),
        (b"$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA", HELLO),
        (b"$5$rounds=5000$toolongsaltstrin$Un/5jzAHMgOGZ5.mWJpuVolil07guHPvOW8mGRcvxa5", TEST),
        (
            b"$5$rounds=1400$anotherlongsalts$Rx.j8H.h8HjEDGomFU8bDkXm3XIUnzyxf12oP84Bnq1",
            b"a very much longer text to encrypt.  This one even stretches over morethan one line.",
        ),
        (b"$5$rounds=77777$short$JiO1O3ZpDAxGJeaDIuqCoEFysAe1mZNJRs3pw0KQRd/", LONG),
        (
            b"$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            HELLO,
        ),
        (
            (
                b"$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/"
                b"YTBmSK6H9qs/y3RnOaw5v."
            ),
            HELLO,
        ),
        (
            (
                b"$6$rounds=5000$toolongsaltstrin$lQ8jolhgVRVhY4b5pZKaysCLi0QBxGoNeKQzQ3glMhwllF7oGDZxUhx1yxdYcz/"
                b"e1JSbq3y6JMxxl8audkUEm0"
            ),
            TEST,
        ),
        (
            (
                b"$6$rounds=77777$short$WuQyW2YR.hBNpjjRhpYD/ifIw05xdfeEyQoMxIXbkvr0gge1a1x3yRULJ5CCaUeOxFmtlcGZelFl5Cxt"
                b"gfiAc0"
            ),
            LONG,
        ),
    ],
)
def test_vectors_of_the_specification(text: bytes, password: bytes) -> None:
    assert unusable(text) == ""
    assert verify(text, password)
    assert not verify(text, password + b"x")
    assert not verify(text, password[:-1])


@pytest.mark.parametrize("option", ["-5", "-6"])
@pytest.mark.parametrize("length", [1, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 200])
def test_openssl_makes_the_same(option: str, length: int) -> None:
    password = ("pass" * 50)[:length]
    command = ["openssl", "passwd", option, "-salt", "ab.c/DEF", "-stdin"]
    made = subprocess.run(command, input=password + "\n", capture_output=True, text=True, check=True).stdout.strip()
    assert verify(made.encode(), password.encode())


def test_too_few_rounds_are_as_many_as_there_have_to_be() -> None:
    text = b"$5$rounds=10$roundstoolow$" + digest(b"5", b"x", b"roundstoolow", 1000)
    assert unusable(text) == ""
    assert verify(text, b"x")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (WHOLE[:-1], "is not complete, or malformed"),
        (WHOLE.replace(b"$5$", b"$6$"), "is not complete, or malformed"),
        (b"$5$", "is not complete, or malformed"),
        (b"$6$rounds=x$salt$abc", "is not complete, or malformed"),
        (b"$5$rounds=1000001$salt$" + b"a" * 43, f"has more than {MOST_ROUNDS} rounds"),
        (b"$5$rounds=999999999$salt$" + b"a" * 43, f"has more than {MOST_ROUNDS} rounds"),
    ],
)
def test_what_cannot_be_used(text: bytes, why: str) -> None:
    assert unusable(text) == why
