"""The encoding of LDAP's messages: what is written, and what is not read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.accounts.ldap.ber import Malformed, element, elements, integer, number, octets, whole_length


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        (integer(0), "020100"),
        (integer(127), "02017f"),
        (integer(128), "02020080"),
        (integer(256), "02020100"),
        (octets(b"ab"), "04026162"),
        (element(0x30, b"a" * 127)[:2], "307f"),
        (element(0x30, b"a" * 128)[:3], "308180"),
        (element(0x30, b"a" * 256)[:4], "30820100"),
    ],
)
def test_what_is_written(encoded: bytes, expected: str) -> None:
    assert encoded.hex() == expected


@given(st.integers(0, 2**31 - 1))
def test_numbers(value: int) -> None:
    [(tag, content)] = elements(integer(value))
    assert (tag, number(content)) == (2, value)


@given(st.lists(st.tuples(st.integers(0, 255).filter(lambda tag: tag & 0x1F != 0x1F), st.binary(max_size=300))))
def test_what_is_written_is_read(listed: list[tuple[int, bytes]]) -> None:
    assert list(elements(b"".join(element(tag, content) for tag, content in listed))) == listed


@given(st.binary(max_size=60))
def test_anything_is_read_or_refused(content: bytes) -> None:
    try:
        found = list(elements(content))
    except Malformed:
        return
    assert sum(len(one) for _, one in found) <= len(content)


@pytest.mark.parametrize("content", ["3080", "30850000000001", "3003", "1f0100", "02", "308201", "30847fffffff"])
def test_what_is_not_read(content: str) -> None:
    with pytest.raises(Malformed):
        list(elements(bytes.fromhex(content)))


def test_the_length_is_known_once_it_is_there() -> None:
    whole = element(0x30, b"a" * 300)
    assert [whole_length(whole[:size], 1000) for size in (0, 1, 3, 4, 50)] == [0, 0, 0, 304, 304]
    assert whole_length(whole, 304) == 304
    with pytest.raises(Malformed, match="more than 303 bytes"):
        whole_length(whole[:4], 303)


@pytest.mark.parametrize("content", [b"", b"\0" * 5])
def test_numbers_that_are_none(content: bytes) -> None:
    with pytest.raises(Malformed):
        number(content)
