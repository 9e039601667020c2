"""SOCKS 5 from the client's side: each word of it, however it comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy import errors
from twistedproxy.routes.socks5 import SOCKS5

ANYWHERE = b"\5\0\0\1\0\0\0\0\0\0"


def conversation(socks: SOCKS5, *answers: bytes) -> list[bytes]:
    """What it says, first and after each of the answers, which it takes whole."""
    said = [socks.begin()]
    for answer in answers:
        used, words = socks.take(answer)
        assert used == len(answer)
        said.append(words)
    return said


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("origin.test", b"\3\x0borigin.test"),
        ("192.0.2.1", b"\1\xc0\x00\x02\x01"),
        ("2001:db8::1", b"\4\x20\x01\x0d\xb8" + bytes(11) + b"\1"),
        ("a" * 255, b"\3\xff" + b"a" * 255),
    ],
)
def test_without_a_password(host: str, address: bytes) -> None:
    socks = SOCKS5(host, 8443)
    assert conversation(socks, b"\5\0", ANYWHERE) == [b"\5\1\0", b"\5\1\0" + address + b"\x20\xfb", b""]
    assert socks.done


def test_with_a_password() -> None:
    socks = SOCKS5("a", 80, b"me", b"secret")
    assert conversation(socks, b"\5\2", b"\1\0", ANYWHERE) == [
        b"\5\2\0\2",
        b"\1\2me\6secret",
        b"\5\1\0\3\1a\0\x50",
        b"",
    ]
    assert socks.done
    assert repr(socks) == "<SOCKS5 a:80 done>"


def test_with_a_password_that_nobody_wants() -> None:
    socks = SOCKS5("a", 80, b"me", b"secret")
    assert conversation(socks, b"\5\0", ANYWHERE) == [b"\5\2\0\2", b"\5\1\0\3\1a\0\x50", b""]
    assert socks.done


@pytest.mark.parametrize(
    "bound", [b"\1\1\2\3\4\0\x50", b"\4" + bytes(18), b"\3\0\0\0", b"\3\5there\0\0", b"\3\xff" + bytes(257)]
)
@pytest.mark.parametrize("rest", [b"", b"\5\0", b"220 mail.test"])
def test_the_connection_begins_right_after_the_reply(bound: bytes, rest: bytes) -> None:
    socks = SOCKS5("a", 80)
    conversation(socks, b"\5\0")
    reply = b"\5\0\0" + bound
    assert socks.take(reply + rest) == (len(reply), b"")
    assert socks.done


@given(
    st.lists(st.integers(1, 9), max_size=30),
    st.sampled_from([b"\1\1\2\3\4\0\x50", b"\3\5there\0\0", b"\4" + bytes(18)]),
)
def test_however_it_is_cut(cuts: list[int], bound: bytes) -> None:
    socks = SOCKS5("a", 80, b"me", b"secret")
    stream = b"\5\2\1\0\5\0\0" + bound
    whole, taken, words = len(stream), 0, []
    stream += b"more"
    sizes = [*cuts, *[len(stream)] * 4]
    while not socks.done:
        used, said = socks.take(stream[taken : taken + sizes.pop(0)])
        taken += used
        if said:
            words.append(said)
    assert taken == whole
    assert words == [b"\1\2me\6secret", b"\5\1\0\3\1a\0\x50"]


@pytest.mark.parametrize(
    ("user", "answers", "error", "detail"),
    [
        (b"", [b"\4\0"], errors.ParentBroken, "it does not speak SOCKS 5"),
        (b"", [b"H"], errors.ParentBroken, "it does not speak SOCKS 5"),
        (b"", [b"\5\1"], errors.ParentBroken, "it chose a method that was not offered"),
        (b"", [b"\5\xff"], errors.ParentUnauthorized, "it takes no one without name and password"),
        (b"", [b"\5\2"], errors.ParentUnauthorized, "it takes no one without name and password"),
        (b"me", [b"\5\xff"], errors.ParentUnauthorized, "it takes none of the ways to say who we are"),
        (b"me", [b"\5\2", b"\1\1"], errors.ParentUnauthorized, "it does not take name and password"),
        (b"me", [b"\5\2", b"\5\0"], errors.ParentBroken, "it does not speak SOCKS 5"),
        (b"", [b"\5\0", b"\4"], errors.ParentBroken, "it does not speak SOCKS 5"),
        (b"", [b"\5\0", b"\5\0\0\2\0"], errors.ParentBroken, "it tells a kind of address that there is not"),
        (b"", [b"\5\0", b"\5\1"], errors.ParentFailed, "the parent says: general failure"),
        (b"", [b"\5\0", b"\5\2"], errors.ParentRefused, "the parent says: connection not allowed by its rules"),
        (b"", [b"\5\0", b"\5\3"], errors.Unreachable, "the parent says: network unreachable"),
        (b"", [b"\5\0", b"\5\4"], errors.Unreachable, "the parent says: host unreachable"),
        (b"", [b"\5\0", b"\5\5"], errors.ConnectionRefused, "the parent says: connection refused"),
        (b"", [b"\5\0", b"\5\6"], errors.Unreachable, "the parent says: time to live expired"),
        (b"", [b"\5\0", b"\5\7"], errors.ParentFailed, "the parent says: command not supported"),
        (b"", [b"\5\0", b"\5\x08"], errors.ParentFailed, "the parent says: kind of address not supported"),
        (b"", [b"\5\0", b"\5\x63\0\1"], errors.ParentFailed, "the parent says: reply 99"),
    ],
)
def test_there_is_no_connection(user: bytes, answers: list[bytes], error: type[errors.ProxyError], detail: str) -> None:
    socks = SOCKS5("a", 80, user, b"secret")
    *before, last = answers
    conversation(socks, *before)
    with pytest.raises(errors.ProxyError) as raised:
        socks.take(last)
    assert (type(raised.value), raised.value.detail) == (error, detail)
    assert not socks.done


def test_how_far_it_is() -> None:
    socks = SOCKS5("a", 80, b"me", b"secret")
    states = [repr(socks)]
    for answer in (b"\5\2", b"\1\0"):
        socks.take(answer)
        states.append(repr(socks))
    assert states == ["<SOCKS5 a:80 METHOD>", "<SOCKS5 a:80 PASSWORD>", "<SOCKS5 a:80 REPLY>"]
