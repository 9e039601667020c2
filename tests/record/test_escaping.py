"""Values of strangers in a line of a log."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.record import escaping
from twistedproxy.record.escaping import (
    COLUMN_CLEAN,
    LONGEST,
    QUOTED_CLEAN,
    QUOTED_WORD_CLEAN,
    Cached,
    column,
    quoted,
    quoted_word,
    shortened,
    without_userinfo,
)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (b"http://origin.example/", b"http://origin.example/"),
        (b"http://alice@origin.example/", b"http://origin.example/"),
        (b"http://alice:secret@origin.example:8080/a", b"http://origin.example:8080/a"),
        (b"http://alice:se@cret@origin.example/", b"http://origin.example/"),
        (b"HTTP://:@origin.example/", b"HTTP://origin.example/"),
        (b"http://alice:secret@origin.example?q=a@b", b"http://origin.example?q=a@b"),
        (b"http://alice:secret@origin.example#a@b", b"http://origin.example#a@b"),
        (b"http://origin.example/users/a@b", b"http://origin.example/users/a@b"),
        (b"http://origin.example?mail=a@b", b"http://origin.example?mail=a@b"),
        (b"http:/alice:secret@origin.example/", b"http:/origin.example/"),
        (b"http:///alice:secret@origin.example/", b"http:///origin.example/"),
        (b"http:alice:secret@origin.example/", b"origin.example/"),
        (b"alice:secret@origin.example:443", b"origin.example:443"),
        (b"alice\\:sec\r\nret@origin.example:443", b"origin.example:443"),
        (b"@", b""),
        (b"", b""),
    ],
)
def test_userinfo_is_left_out(url: bytes, expected: bytes) -> None:
    assert without_userinfo(url) == expected


@given(
    st.binary(max_size=12).map(lambda value: re.sub(rb"[/?#]", b"", value)),
    st.sampled_from([b"", b"/@", b"?@"]),
)
def test_no_userinfo_of_a_url_remains(userinfo: bytes, rest: bytes) -> None:
    assert without_userinfo(b"http://" + userinfo + b"@h" + rest) == b"http://h" + rest


@pytest.mark.parametrize(
    ("value", "in_column", "in_quotes", "as_word"),
    [
        (b"", b"-", b"-", b"-"),
        (b"plain", b"plain", b"plain", b"plain"),
        (b"a@b", b"a@b", b"a@b", b"a@b"),
        (b"a b", b"a%20b", b"a b", rb"a\x20b"),
        (b'"', b"%22", rb"\x22", rb"\x22"),
        (b"\\", b"\\", rb"\x5C", rb"\x5C"),
        (b"%41", b"%41", b"%41", b"%41"),
        (
            b"\r\n\0\t\x1b\x7f",
            b"%0D%0A%00%09%1B%7F",
            rb"\x0D\x0A\x00\x09\x1B\x7F",
            rb"\x0D\x0A\x00\x09\x1B\x7F",
        ),
        (b"\x85\xff", b"%85%FF", rb"\x85\xFF", rb"\x85\xFF"),
    ],
)
def test_what_could_tear_or_forge_a_line_is_escaped(
    value: bytes, in_column: bytes, in_quotes: bytes, as_word: bytes
) -> None:
    assert column(value) == in_column
    assert quoted(value) == in_quotes
    assert quoted_word(value) == as_word


@given(st.binary())
def test_clean_bytes_are_what_no_function_changes(value: bytes) -> None:
    assert (b"@" in value or column(value) != value) or not value.translate(None, COLUMN_CLEAN)
    for clean, escaped in ((COLUMN_CLEAN, column), (QUOTED_CLEAN, quoted), (QUOTED_WORD_CLEAN, quoted_word)):
        if value and not value.translate(None, clean):
            assert escaped(value) == value
        assert escaped(value).isascii()
        assert escaped(value).decode().isprintable()


def test_long_values_are_cut() -> None:
    assert shortened(b"a" * LONGEST) == b"a" * LONGEST
    assert shortened(b"a" * (LONGEST + 1)) == b"a" * LONGEST + b"..."
    assert column(b"\xff" * 100_000) == b"%FF" * LONGEST + b"..."
    assert len(quoted(b"\xff" * 100_000)) == 4 * LONGEST + 3
    assert len(quoted_word(b" " * 100_000)) == 4 * LONGEST + 3


def test_cached_makes_a_value_once() -> None:
    made: list[str] = []

    def upper(key: str) -> str:
        made.append(key)
        return key.upper()

    cached = Cached(upper)
    assert [cached["a"], cached["b"], cached["a"]] == ["A", "B", "A"]
    assert made == ["a", "b"]


def test_cached_is_bounded_in_number_and_in_size() -> None:
    cached = Cached(bytes.upper, size=3, longest=4)
    for number in range(100):
        assert cached[b"%d" % number] == b"%d" % number
        assert len(cached) <= 3
    cached.clear()
    assert cached[b"abcd"] == b"ABCD"
    assert cached[b"abcde"] == b"ABCDE"
    assert dict(cached) == {b"abcd": b"ABCD"}


def test_cached_takes_numbers() -> None:
    cached = escaping.Cached(str)
    assert cached[10**200] == "1" + "0" * 200
    assert len(cached) == 1
