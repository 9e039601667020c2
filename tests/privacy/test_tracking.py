"""URLs without tracking parameters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.privacy.tracking import without_tracking
from twistedproxy.privacy.tracking_list import NAMES, PREFIXES

HOST = "a.test"


@pytest.mark.parametrize(
    ("path", "left"),
    [
        (b"/x", b"/x"),
        (b"/x?", b"/x?"),
        (b"/utm_source=1/fbclid=2", b"/utm_source=1/fbclid=2"),
        (b"/x?utm_source=a", b"/x"),
        (b"/x?utm_source=a&b=%20+&c&fbclid=z&=d&&b=2", b"/x?b=%20+&c&=d&&b=2"),
        (b"/x?a=utm_source&b=fbclid", b"/x?a=utm_source&b=fbclid"),
        (b"/x?FBCLID=1&Utm_Medium=2&a=1", b"/x?a=1"),
        (b"/x?utm%5Fsource=1&%66bclid=2&a%3D=1", b"/x?a%3D=1"),
        (b"/x?gclid", b"/x"),
        (b"/x?a=1&utm_source=a&X-Amz-Signature=0a", b"/x?a=1&utm_source=a&X-Amz-Signature=0a"),
        (b"/x?a=1?utm_source=2", b"/x?a=1?utm_source=2"),
        (b"/x?gclids=1&xfbclid=2", b"/x?gclids=1&xfbclid=2"),
    ],
)
def test_stripped(path: bytes, left: bytes) -> None:
    assert without_tracking(path, HOST) == left


def test_hosts_that_need_them() -> None:
    assert without_tracking(b"/aclk?gclid=1", "www.googleadservices.com") == b"/aclk?gclid=1"
    assert without_tracking(b"/x?gclid=1", "www.google.test") == b"/x"


def test_more_than_anybody_means() -> None:
    path = b"/x?" + b"&".join([b"fbclid=1"] * 1001)
    assert without_tracking(path, HOST) == path


@given(st.lists(st.from_regex(rb"\A[a-z_%=+.~?-]{0,12}\Z"), max_size=8), st.sampled_from(NAMES + PREFIXES))
def test_what_stays_is_untouched(parameters: list[bytes], name: str) -> None:
    plain = b"/p?" + b"&".join(parameters)
    tracked = plain + b"&" + name.encode() + b"=1"
    left = without_tracking(plain, HOST)
    assert without_tracking(tracked, HOST) in (left, left + b"?", tracked, left.rstrip(b"?"))
    assert without_tracking(left, HOST) == left
    assert [one for one in left.partition(b"?")[2].split(b"&") if one] == [
        one for one in plain.partition(b"?")[2].split(b"&") if one and without_tracking(b"/?" + one, HOST) != b"/"
    ]
