"""Dates (RFC 9110 section 5.6.7)."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.http.dates import imf_fixdate


@pytest.mark.parametrize(
    ("seconds", "date"),
    [
        (784111777, b"Sun, 06 Nov 1994 08:49:37 GMT"),
        (0, b"Thu, 01 Jan 1970 00:00:00 GMT"),
        (951782400, b"Tue, 29 Feb 2000 00:00:00 GMT"),
        (2147483648, b"Tue, 19 Jan 2038 03:14:08 GMT"),
        (4102444799, b"Thu, 31 Dec 2099 23:59:59 GMT"),
    ],
)
def test_imf_fixdate(seconds: int, date: bytes) -> None:
    assert imf_fixdate(seconds) == date


@given(st.integers(0, 253402300799))
def test_any_second(seconds: int) -> None:
    """It always has the same 29 octets' shape, and means the second that went in."""
    date = imf_fixdate(seconds)
    assert len(date) == 29
    assert date.endswith(b" GMT")
    assert parsedate_to_datetime(date.decode("ascii")).timestamp() == seconds


def test_few_are_remembered() -> None:
    for second in range(100):
        imf_fixdate(second)
    assert imf_fixdate.cache_info().currsize <= 4
