"""Requests inside an opened tunnel: what they stand for, and which ones are not for its origin."""

from __future__ import annotations

import pytest

from twistedproxy.errors import MisdirectedRequest, TargetError
from twistedproxy.http.inner import Inside, make_absolute
from twistedproxy.http.message import Fields, RequestHead
from twistedproxy.http.target import parse_target

HTTPS = Inside.of(b"https", "a.test", 443)


def head(target: bytes, host: bytes | None = b"a.test", method: bytes = b"GET") -> RequestHead:
    lines = [] if host is None else [(b"Host", host)]
    return RequestHead(method, target, 1, Fields(lines))


@pytest.mark.parametrize(
    ("inside", "authority"),
    [
        (HTTPS, b"a.test"),
        (Inside.of(b"https", "a.test", 8443), b"a.test:8443"),
        (Inside.of(b"http", "a.test", 80), b"a.test"),
        (Inside.of(b"http", "a.test", 443), b"a.test:443"),
        (Inside.of(b"https", "2001:db8::1", 443), b"[2001:db8::1]"),
        (Inside.of(b"https", "2001:db8::1", 1), b"[2001:db8::1]:1"),
    ],
)
def test_authority(inside: Inside, authority: bytes) -> None:
    assert inside.authority == authority
    assert inside.root == inside.scheme + b"://" + authority + b"/"


@pytest.mark.parametrize(
    ("target", "host", "absolute"),
    [
        (b"/", b"a.test", b"https://a.test/"),
        (b"/b?c", b"A.test", b"https://A.test/b?c"),
        (b"//b.test/c", b"a.test", b"https://a.test//b.test/c"),
        (b"/", b"a.test:443", b"https://a.test:443/"),
        (b"/", b"a.test.", b"https://a.test./"),
        (b"/", None, b"https://a.test/"),
        (b"https://a.test/b", b"a.test", b"https://a.test/b"),
        (b"https://a.test/b@c.test/", None, b"https://a.test/b@c.test/"),
        (b"HTTPS://A.TEST:443/b", None, b"HTTPS://A.TEST:443/b"),
    ],
)
def test_made_absolute(target: bytes, host: bytes | None, absolute: bytes) -> None:
    """RFC 9112 section 3.3: what the target and the Host field come to."""
    request = head(target, host)
    make_absolute(request, HTTPS)
    assert request.target == absolute
    assert parse_target(b"GET", absolute).port == 443


def test_asterisk() -> None:
    """RFC 9112 section 3.2.4: an absolute target without a path is sent on as an asterisk."""
    request = head(b"*", method=b"OPTIONS")
    make_absolute(request, HTTPS)
    assert request.target == b"https://a.test"
    assert parse_target(b"OPTIONS", request.target).path == b"*"


@pytest.mark.parametrize(
    ("target", "host"),
    [
        (b"/", b"b.test"),
        (b"/", b"a.test:80"),
        (b"/", b"a.test.b"),
        (b"https://b.test/", b"a.test"),
        (b"https://a.test/", b"b.test"),
        (b"https://a.test:444/", None),
        (b"http://a.test/", b"a.test"),
        (b"http://a.test:443/", b"a.test:443"),
        (b"*", b"b.test"),
    ],
)
def test_misdirected(target: bytes, host: bytes | None) -> None:
    """RFC 9110 section 15.5.20."""
    with pytest.raises(MisdirectedRequest, match=r"^the tunnel leads to a\.test, and "):
        make_absolute(head(target, host, b"OPTIONS" if target == b"*" else b"GET"), HTTPS)


@pytest.mark.parametrize(
    ("method", "target"),
    [(b"CONNECT", b"a.test:443"), (b"GET", b"a.test"), (b"GET", b"https://a@a.test/"), (b"GET", b"")],
)
def test_no_target(method: bytes, target: bytes) -> None:
    with pytest.raises(TargetError):
        make_absolute(head(target, b"a.test", method), HTTPS)
