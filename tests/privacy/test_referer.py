"""Referer, as far as it goes."""

from __future__ import annotations

import pytest

from twistedproxy.http.target import parse_target
from twistedproxy.privacy.referer import trimmed

PAGE = b"http://a.test/page?q=1&utm_source=x"


@pytest.mark.parametrize(
    ("referer", "target", "policy", "left"),
    [
        (PAGE, b"http://a.test/", "origin", PAGE),
        (PAGE, b"http://a.test:80/", "same-origin", PAGE),
        (PAGE, b"http://b.a.test/", "origin", b"http://a.test/"),
        (PAGE, b"http://a.test:81/", "origin", b"http://a.test/"),
        (PAGE, b"https://a.test/", "origin", b"http://a.test/"),
        (b"https://a.test/page", b"http://a.test/", "origin", None),
        (b"https://a.test:8443/page", b"https://b.test/", "origin", b"https://a.test:8443/"),
        (PAGE, b"http://b.a.test/", "same-origin", None),
        (PAGE, b"http://a.test/", "none", None),
        (b"http://me:secret@a.test/x#there", b"http://a.test/", "origin", b"http://a.test/x"),
        (b"about:blank", b"http://a.test/", "origin", None),
    ],
)
def test_trimmed(referer: bytes, target: bytes, policy: str, left: bytes | None) -> None:
    assert trimmed(referer, parse_target(b"GET", target), policy, False) == left


def test_tracking_parameters_of_the_page() -> None:
    assert trimmed(PAGE, parse_target(b"GET", b"http://a.test/"), "origin", True) == b"http://a.test/page?q=1"
