"""Sites, and which requests are a third party's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.http.message import Fields, RequestHead
from twistedproxy.http.target import parse_target
from twistedproxy.privacy.sites import Place, is_third_party, load_suffixes, read_place, site_of


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("example.com", "example.com"),
        ("WWW.Shop.Example.com.", "example.com"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("co.uk", "co.uk"),
        ("me.github.io", "me.github.io"),
        ("deep.me.github.io", "me.github.io"),
        ("a.b.unheardof", "b.unheardof"),
        ("localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("a.xn--85x722f.xn--55qx5d.cn", "xn--85x722f.xn--55qx5d.cn"),
    ],
)
def test_site(host: str, site: str) -> None:
    assert site_of(host) == site


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (b"http://a.test", Place("http", "a.test", 80, b"http://a.test", b"")),
        (b"HTTPS://A.test:8443/x?y#z", Place("https", "a.test", 8443, b"HTTPS://A.test:8443", b"/x?y")),
        (b"http://me:secret@a.test/", Place("http", "a.test", 80, b"http://a.test", b"/")),
        (b"http://[::1]:80/x", Place("http", "::1", 80, b"http://[::1]:80", b"/x")),
        (b"null", None),
        (b"/x", None),
        (b"about:blank", None),
        (b"http://", None),
        (b"http://a b/", None),
        (b"ftp://a.test/", None),
        (b"http://a.test/" + b"x" * 2000, Place("http", "a.test", 80, b"http://a.test", b"/" + b"x" * 2000)),
    ],
)
def test_place(url: bytes, place: Place | None) -> None:
    assert read_place(url) == place


@pytest.mark.parametrize(
    ("lines", "third"),
    [
        ({}, False),
        ({b"Sec-Fetch-Site": b"cross-site"}, True),
        ({b"Sec-Fetch-Site": b"cross-site", b"Sec-Fetch-Dest": b"iframe"}, True),
        ({b"Sec-Fetch-Site": b"cross-site", b"Sec-Fetch-Dest": b"document"}, False),
        ({b"Sec-Fetch-Site": b"same-site", b"Referer": b"http://other.example/"}, False),
        ({b"Sec-Fetch-Site": b"none"}, False),
        ({b"Referer": b"http://www.shop.test/x"}, False),
        ({b"Referer": b"http://other.example/x"}, True),
        ({b"Origin": b"http://other.example"}, True),
        ({b"Origin": b"http://shop.test:8080", b"Referer": b"http://other.example/x"}, False),
        ({b"Origin": b"null"}, False),
        ({b"Origin": b"null", b"Referer": b"http://other.example/x"}, True),
        # Somebody has come by a link.
        ({b"Referer": b"http://other.example/x", b"Upgrade-Insecure-Requests": b"1"}, False),
    ],
)
def test_third_party(lines: dict[bytes, bytes], third: bool) -> None:
    target = b"http://cdn.shop.test/x"
    head = RequestHead(b"GET", target, 1, Fields(lines.items()))
    assert is_third_party(head, parse_target(b"GET", target)) is third


@given(st.from_regex(r"\A[a-z0-9_-]{1,9}(\.[a-z0-9_-]{1,9}){0,5}\.?\Z"))
def test_any_host_is_in_its_site(host: str) -> None:
    load_suffixes()
    site = site_of(host)
    assert site
    assert ("." + host.removesuffix(".")).endswith("." + site) or site.replace(".", "").isdigit()
    assert site_of("x." + site) in (site, "x." + site)
