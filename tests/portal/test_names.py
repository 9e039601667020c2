"""Who is asked for the proxy itself, and who for somebody else."""

from __future__ import annotations

import pytest

from twistedproxy.downstream_side import Reached
from twistedproxy.http.target import parse_authority, parse_target
from twistedproxy.portal.names import ADDRESS, HOSTS, is_page, names_us, proxy_url

PLAIN = Reached("192.0.2.7", 8080, False)
SECURED = Reached("192.0.2.7", 443, True)
WEB = Reached("192.0.2.7", 80, False)
SIX = Reached("2001:db8::7", 8080, False)
MAPPED = Reached("::ffff:192.0.2.7", 8080, False)
UNIX = Reached("", 0, False)


@pytest.mark.parametrize("host", [b"pyproxy.internal", b"PYPROXY.Internal", b"pyproxy.internal.", b"pyproxy.internal:"])
def test_spellings(host: bytes) -> None:
    target = parse_target(b"GET", b"http://%b/" % host)
    assert target.host in HOSTS
    assert is_page(target.scheme, target.port)


@pytest.mark.parametrize("host", [b"pyproxy.internal.example", b"a.pyproxy.internal", b"pyproxy-internal", b"pyproxy"])
def test_other_names(host: bytes) -> None:
    assert parse_target(b"GET", b"http://%b/" % host).host not in HOSTS


def test_address() -> None:
    target = parse_target(b"GET", ADDRESS.encode())
    assert target.host in HOSTS
    assert is_page(target.scheme, target.port)
    assert target.path == b"/"


@pytest.mark.parametrize("url", [b"https://pyproxy.internal/", b"http://pyproxy.internal:8080/"])
def test_what_is_not_the_page(url: bytes) -> None:
    target = parse_target(b"GET", url)
    assert target.host in HOSTS
    assert not is_page(target.scheme, target.port)


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        (b"192.0.2.7:8080", PLAIN),
        (b"192.0.2.7:8080", MAPPED),
        (b"[::ffff:192.0.2.7]:8080", PLAIN),
        (b"[2001:db8::7]:8080", SIX),
        (b"[2001:DB8:0::7]:8080", SIX),
        (b"192.0.2.7", WEB),
        (b"192.0.2.7:80", WEB),
        (b"192.0.2.7", SECURED),
        (b"localhost:8080", PLAIN),
        (b"LOCALHOST.:8080", PLAIN),
        (b"localhost", WEB),
        (b"localhost", UNIX),
        (b"localhost:8080", UNIX),
        (b"pyproxy.internal", PLAIN),
        (b"pyproxy.internal:8080", PLAIN),
        (b"pyproxy.internal:80", PLAIN),
        (b"pyproxy.internal.", SECURED),
        (b"pyproxy.internal", UNIX),
    ],
)
def test_hosts_that_name_us(host: bytes, reached: Reached) -> None:
    authority = parse_authority(host)
    assert authority is not None
    assert names_us(authority, reached)


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        # A name that the DNS leads here.
        (b"proxy.example:8080", PLAIN),
        (b"rebound.example:8080", PLAIN),
        (b"192.0.2.7.example:8080", PLAIN),
        (b"localhost.example:8080", PLAIN),
        (b"pyproxy.internal.example:8080", PLAIN),
        # Another address, spelled so that some would take it for ours.
        (b"192.0.2.8:8080", PLAIN),
        (b"127.0.0.1:8080", PLAIN),
        (b"0.0.0.0:8080", PLAIN),
        (b"0:8080", PLAIN),
        (b"192.0.519:8080", PLAIN),
        (b"3221226119:8080", PLAIN),
        (b"[64:ff9b::192.0.2.7]:8080", PLAIN),
        # Another port: whoever is there is not us.
        (b"192.0.2.7", PLAIN),
        (b"192.0.2.7:80", SECURED),
        (b"192.0.2.7:8081", PLAIN),
        (b"localhost", PLAIN),
        (b"localhost:3000", PLAIN),
        (b"pyproxy.internal:3000", PLAIN),
        (b"192.0.2.7", UNIX),
    ],
)
def test_hosts_that_do_not(host: bytes, reached: Reached) -> None:
    authority = parse_authority(host)
    assert authority is not None
    assert not names_us(authority, reached)


@pytest.mark.parametrize(
    ("reached", "host", "url"),
    [
        (PLAIN, None, "http://192.0.2.7:8080"),
        (PLAIN, b"localhost:8080", "http://localhost:8080"),
        (PLAIN, b"pyproxy.internal", "http://192.0.2.7:8080"),
        (WEB, b"localhost", "http://localhost:80"),
        (SECURED, None, "https://192.0.2.7:443"),
        (SIX, None, "http://[2001:db8::7]:8080"),
        (MAPPED, None, "http://192.0.2.7:8080"),
        (UNIX, None, ""),
        (UNIX, b"localhost", ""),
    ],
)
def test_proxy_url(reached: Reached, host: bytes | None, url: str) -> None:
    assert proxy_url(reached, parse_authority(host) if host else None) == url
