"""Request targets: all four forms, and what is wrong with the rest (RFC 9112 section 3.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.errors import NotAProxyRequest, ProxyError, SchemeNotImplemented, TargetError
from twistedproxy.http import target as target_module
from twistedproxy.http.target import Authority, Form, Target, parse_authority, parse_target


def absolute(scheme: str, host: str, port: int, path: bytes, authority: bytes) -> Target:
    return Target(Form.ABSOLUTE, scheme, host, port, path, authority)


# RFC 9110 section 4.2 and RFC 3986 section 3.2
@pytest.mark.parametrize(
    ("text", "host", "port", "written"),
    [
        (b"h", "h", 0, b"h"),
        (b"h:80", "h", 80, b"h:80"),
        (b"h:1", "h", 1, b"h:1"),
        (b"h:65535", "h", 65535, b"h:65535"),
        (b"h:00080", "h", 80, b"h:00080"),
        # RFC 3986 section 6.2.3: an empty port is as none.
        (b"h:", "h", 0, b"h"),
        (b"Origin.Example", "origin.example", 0, b"Origin.Example"),
        (b"origin.example.", "origin.example.", 0, b"origin.example."),
        (b"origin.example.:443", "origin.example.", 443, b"origin.example.:443"),
        (b"a_b-c.example", "a_b-c.example", 0, b"a_b-c.example"),
        (b"192.0.2.1:8080", "192.0.2.1", 8080, b"192.0.2.1:8080"),
        (b"[::1]", "::1", 0, b"[::1]"),
        (b"[2001:DB8::1]:443", "2001:db8::1", 443, b"[2001:DB8::1]:443"),
        (b"[::ffff:192.0.2.1]:", "::ffff:192.0.2.1", 0, b"[::ffff:192.0.2.1]"),
        (b"a" * 63 + b".example", "a" * 63 + ".example", 0, b"a" * 63 + b".example"),
        (b"a." * 127 + b"a:65535", "a." * 127 + "a", 65535, b"a." * 127 + b"a:65535"),
    ],
)
def test_authority(text: bytes, host: str, port: int, written: bytes) -> None:
    assert parse_authority(text) == Authority(host, port, written)


@pytest.mark.parametrize(
    "text",
    [
        *(
            b"",
            b":",
            b":80",
            b".",
            b"..",
            b".h",
            b"h..h",
            b"h..",
            b" h",
            b"h ",
            b"h\t",
            b"h\x00",
            b"h,h",
            b"h/",
            b"h?",
            b"h#",
        ),
        # RFC 9110 section 4.2.4: user information is an error.
        *(b"user@h", b"user:password@h", b"@h", b"h@"),
        *(
            b"h:0",
            b"h:00000",
            b"h:65536",
            b"h:99999",
            b"h:000080",
            b"h:+80",
            b"h:-1",
            b"h:8 0",
            b"h:80:80",
            b"h:a",
            b"h::80",
        ),
        *(b"%68", b"h%2e", b"h!", b"h'", b"h\\", b"h\xc3\xa9", b"h\xff", b"\xef\xbd\x88", b"h;h", b"(h)"),
        *(
            b"[]",
            b"[::1",
            b"::1",
            b"[::1]80",
            b"[::1]:x",
            b"[:::1]",
            b"[1.2.3.4]",
            b"[h]",
            b"[v1.a]",
            b"[::1%25eth0]",
            b"[::g]",
        ),
        *(b"[::1]:0", b"[::1]:65536", b"[1:2:3:4:5:6:7:8:9]", b"[::1].", b"x[::1]", b"[::ffff:192.0.2.256]"),
        *(b"a" * 64, b"a" * 64 + b".example", b"a." * 128, b"a." * 128 + b"a", b"h" * 100_000),
    ],
)
def test_no_authority(text: bytes) -> None:
    assert parse_authority(text) is None


def test_long_authorities_are_not_remembered() -> None:
    """A client chooses them: 4096 of 64 KiB would be 256 MiB."""
    remembered = target_module._read_authority
    before = remembered.cache_info().misses
    assert parse_authority(b"a" * 262) is None
    assert remembered.cache_info().misses == before


# RFC 9112 section 3.2.2; RFC 9110 section 4.2.3 for the empty path
@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"http://h/", absolute("http", "h", 80, b"/", b"h")),
        (b"http://h", absolute("http", "h", 80, b"/", b"h")),
        (b"http://h:8080", absolute("http", "h", 8080, b"/", b"h:8080")),
        (b"http://h:/", absolute("http", "h", 80, b"/", b"h")),
        (b"http://h:80/", absolute("http", "h", 80, b"/", b"h:80")),
        (b"http://h?q", absolute("http", "h", 80, b"/?q", b"h")),
        (b"http://h/?", absolute("http", "h", 80, b"/?", b"h")),
        (b"http://h?/a@b:c", absolute("http", "h", 80, b"/?/a@b:c", b"h")),
        (b"https://h/a", absolute("https", "h", 443, b"/a", b"h")),
        (b"HTTP://Origin.Example/A", absolute("http", "origin.example", 80, b"/A", b"Origin.Example")),
        (b"hTTpS://h:8443/", absolute("https", "h", 8443, b"/", b"h:8443")),
        (b"http://[2001:DB8::1]:81/x", absolute("http", "2001:db8::1", 81, b"/x", b"[2001:DB8::1]:81")),
        # RFC 9110 section 7.7: path and query go on as they came.
        (b"http://h/a/../b/./c//d", absolute("http", "h", 80, b"/a/../b/./c//d", b"h")),
        (b'http://h/%7euser%2F?%00&"<>|{}', absolute("http", "h", 80, b'/%7euser%2F?%00&"<>|{}', b"h")),
        (b"http://h//other/", absolute("http", "h", 80, b"//other/", b"h")),
        (b"http://h/http://other/", absolute("http", "h", 80, b"/http://other/", b"h")),
        (b"http://h/a@b:c", absolute("http", "h", 80, b"/a@b:c", b"h")),
        (b"http://h/;a=b", absolute("http", "h", 80, b"/;a=b", b"h")),
    ],
)
def test_absolute_form(target: bytes, expected: Target) -> None:
    assert parse_target(b"GET", target) == expected


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"http://h", b"*"),
        (b"http://h:8080", b"*"),
        (b"http://h/", b"/"),
        (b"http://h?q", b"/?q"),
        (b"http://h/*", b"/*"),
    ],
)
def test_path_of_options(target: bytes, path: bytes) -> None:
    """RFC 9112 section 3.2.4: the last proxy sends ``*`` where there is neither a path nor a query."""
    assert parse_target(b"OPTIONS", target).path == path


# RFC 9112 section 3.2.3, RFC 9110 section 9.3.6
@pytest.mark.parametrize(
    ("target", "host", "port"),
    [
        (b"h:443", "h", 443),
        (b"Origin.Example.:8443", "origin.example.", 8443),
        (b"192.0.2.1:1", "192.0.2.1", 1),
        (b"[2001:DB8::1]:443", "2001:db8::1", 443),
        (b"h:00443", "h", 443),
    ],
)
def test_authority_form(target: bytes, host: str, port: int) -> None:
    assert parse_target(b"CONNECT", target) == Target(Form.AUTHORITY, "", host, port, b"", target)


@pytest.mark.parametrize(
    "target",
    [
        *(
            b"h",
            b"h:",
            b"h:0",
            b"h:65536",
            b"h:000443",
            b"h:https",
            b":443",
            b"[::1]",
            b"[::1:443",
            b"::1:443",
            b"user@h:443",
        ),
        *(
            b"http://h:443",
            b"//h:443",
            b"h:443/",
            b"/",
            b"*",
            b"h:443?",
            b"h:443,h:443",
            b"h%2e:443",
            b"h:+443",
            b"h:4 43",
        ),
    ],
)
def test_no_authority_form(target: bytes) -> None:
    with pytest.raises(TargetError) as raised:
        parse_target(b"CONNECT", target)
    assert raised.value.status == 400


def test_asterisk_form() -> None:
    """RFC 9112 section 3.2.4."""
    assert parse_target(b"OPTIONS", b"*") == Target(Form.ASTERISK, "", "", 0, b"*", b"")


@pytest.mark.parametrize("method", [b"GET", b"POST", b"options", b"TRACE", b"PURGE"])
def test_asterisk_form_is_for_options_only(method: bytes) -> None:
    """RFC 9110 section 7.1."""
    with pytest.raises(TargetError) as raised:
        parse_target(method, b"*")
    assert raised.value.detail == 'the target "*" goes with OPTIONS only'


@pytest.mark.parametrize("target", [b"/", b"/path", b"//h/", b"/http://h/"])
@pytest.mark.parametrize("method", [b"GET", b"OPTIONS"])
def test_origin_form_is_not_for_a_proxy(method: bytes, target: bytes) -> None:
    """RFC 9112 section 3.2.1."""
    with pytest.raises(NotAProxyRequest) as raised:
        parse_target(method, target)
    assert raised.value.status == 400


@pytest.mark.parametrize(
    ("target", "detail"),
    [
        # RFC 9110 section 7.1: the authority form is for CONNECT only.
        (b"h:443", "the target is not an absolute URI"),
        (b"h", "the target is not an absolute URI"),
        (b"h:", "the target is not an absolute URI"),
        (b"[::1]:443", "the target is not an absolute URI"),
        (b"http:/h", "the target is not an absolute URI"),
        (b"http:h", "the target is not an absolute URI"),
        (b"://h/", "the target is not an absolute URI"),
        (b"1http://h/", "the target is not an absolute URI"),
        (b"?q", "the target is not an absolute URI"),
        (b"**", "the target is not an absolute URI"),
        # RFC 9110 section 4.2.1: an empty host is not valid.
        (b"http:", "the target's host is empty"),
        (b"http://", "the target's host is empty"),
        (b"http:///path", "the target's host is empty"),
        (b"http://?q", "the target's host is empty"),
        (b"https:///", "the target's host is empty"),
        (b"http://:80/", "the target's authority is not valid"),
        # RFC 9110 section 4.2.4.
        (b"http://user@h/", "the target has user information"),
        (b"http://user:password@h:80/", "the target has user information"),
        (b"http://@h/", "the target has user information"),
        (b"http://h@/", "the target has user information"),
        (b"http://a\\@h/", "the target has user information"),
        (b"http://h:0/", "the target's authority is not valid"),
        (b"http://h:65536/", "the target's authority is not valid"),
        (b"http://h:000080/", "the target's authority is not valid"),
        (b"http://h:80:80/", "the target's authority is not valid"),
        (b"http://%68/", "the target's authority is not valid"),
        (b"http://h\\.other/", "the target's authority is not valid"),
        (b"http://a..b/", "the target's authority is not valid"),
        (b"http://[::1/", "the target's authority is not valid"),
        (b"http://h;x/", "the target's authority is not valid"),
        (b"http://h,h/", "the target's authority is not valid"),
        (b"http://*/", "the target's authority is not valid"),
        (b"http://[fe80::1%25eth0]/", "the target's authority is not valid"),
        (b"http://" + b"a" * 256 + b"/", "the target's authority is not valid"),
        (b"http://" + b"a" * 16000 + b"/", "the target's authority is not valid"),
    ],
)
def test_bad_target(target: bytes, detail: str) -> None:
    for method in (b"GET", b"OPTIONS"):
        with pytest.raises(TargetError) as raised:
            parse_target(method, target)
        assert type(raised.value) is TargetError
        assert raised.value.status == 400
        assert raised.value.detail == detail


@pytest.mark.parametrize(
    ("target", "scheme"),
    [
        (b"ftp://h/", "ftp"),
        (b"FTP://h/", "ftp"),
        (b"ws://h/", "ws"),
        (b"file:///etc/passwd", "file"),
        (b"httpx://h/", "httpx"),
        (b"a+b-c.d://h/", "a+b-c.d"),
        (b"a+b:", "a+b"),
        (b"x" * 100 + b"://h/", "x" * 32),
    ],
)
def test_other_scheme(target: bytes, scheme: str) -> None:
    with pytest.raises(SchemeNotImplemented) as raised:
        parse_target(b"GET", target)
    assert raised.value.status == 501
    assert raised.value.detail == f"the scheme is {scheme}"


@given(st.sampled_from([b"GET", b"OPTIONS", b"CONNECT"]), st.text(st.characters(codec="ascii"), max_size=60))
def test_any_target(method: bytes, text: str) -> None:
    """Nothing but a `ProxyError` comes out, and a target that is accepted leads somewhere."""
    try:
        target = parse_target(method, text.encode("ascii"))
    except ProxyError:
        return
    if target.form is not Form.ASTERISK:
        assert target.host
        assert 0 < target.port < 65536
        assert parse_authority(target.authority) == Authority(
            target.host, target.port if b":" in target.authority.rpartition(b"]")[2] else 0, target.authority
        )


@pytest.mark.parametrize(
    ("method", "target", "address", "authority"),
    [
        (b"GET", b"http://0x7f.1/a?b", "127.0.0.1", b"127.0.0.1"),
        (b"GET", b"http://0x7f.1:80/a?b", "127.0.0.1", b"127.0.0.1"),
        (b"GET", b"http://0x7f.1:443/a?b", "127.0.0.1", b"127.0.0.1:443"),
        (b"GET", b"https://0x7f.1:443/a?b", "127.0.0.1", b"127.0.0.1"),
        (b"GET", b"https://[2001:db8:0::1]/a?b", "2001:db8::1", b"[2001:db8::1]"),
        (b"CONNECT", b"0x7f.1:443", "127.0.0.1", b"127.0.0.1:443"),
        (b"CONNECT", b"[2001:db8:0::1]:80", "2001:db8::1", b"[2001:db8::1]:80"),
    ],
)
def test_the_same_in_the_spelling_that_was_judged(method: bytes, target: bytes, address: str, authority: bytes) -> None:
    parsed = parse_target(method, target)
    there = parsed.at(address)
    assert (there.host, there.authority) == (address, authority)
    assert (there.form, there.scheme, there.port, there.path) == (
        parsed.form,
        parsed.scheme,
        parsed.port,
        parsed.path,
    )
    assert parse_target(method, target) == parsed
    assert there.at(address) is there
