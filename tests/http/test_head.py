"""Heads of requests: the request line, Host, the field lines, and the error for everything that is not valid."""

from __future__ import annotations

import pytest

from twistedproxy.errors import (
    HeadTooLarge,
    HostError,
    MethodNotImplemented,
    ProxyError,
    RequestError,
    TargetTooLong,
    VersionNotSupported,
)
from twistedproxy.http.head import HeadLimits, parse_request_head, parse_trailers
from twistedproxy.http.message import Fields, RequestHead

LIMITS = HeadLimits()

BAD_LINE = "the request line is not a method, a target and a version with single spaces between them"
NO_METHOD = "the request line does not begin with a method"
NO_VERSION = "the request line does not end with an HTTP version"
NO_CRLF = "a line does not end with CR LF"
CONTROL = "there is a control character"
FOLDED = "a field line begins with white space (a folded line)"
SPACED = "there is white space between a field's name and its colon"
NO_TOKEN = "a field's name is not a token"
NO_COLON = "a field line has no colon"


def parse(head: bytes, limits: HeadLimits = LIMITS) -> RequestHead:
    return parse_request_head(head, limits)


def refused(head: bytes, limits: HeadLimits = LIMITS) -> tuple[type[ProxyError], int, str]:
    """The error that the head is refused with: its class, status and detail."""
    with pytest.raises(RequestError) as raised:
        parse(head, limits)
    return type(raised.value), raised.value.status, raised.value.detail


def with_fields(*lines: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"POST / " + version + b"\r\nHost: h\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


# ---------------------------------------------------------------- the request line (RFC 9112 section 3)


def test_whole_head() -> None:
    head = parse(
        b"GET http://h/a?b HTTP/1.1\r\nHOST:h\r\nAccept: \t a, b \t \r\n"
        b"X-Empty:\r\nX-Empty2: \r\nx:\xff\r\nX: 2\r\n\r\n"
    )
    assert (head.method, head.target, head.minor, head.length) == (b"GET", b"http://h/a?b", 1, 0)
    assert head.fields == Fields(
        [(b"HOST", b"h"), (b"Accept", b"a, b"), (b"X-Empty", b""), (b"X-Empty2", b""), (b"x", b"\xff"), (b"X", b"2")]
    )
    assert (head.options, head.keep_alive, head.expects_continue) == (frozenset(), True, False)
    octets = [head.method, head.target, *(part for line in head.fields.lines for part in line)]
    assert {type(part) for part in octets} == {bytes}


# RFC 9110 section 9.1: methods are case-sensitive tokens, and any is forwarded.
@pytest.mark.parametrize("method", [b"GET", b"get", b"PURGE", b"M-SEARCH", b"!#$%&'*+-.^_`|~09", b"X" * 64])
def test_method(method: bytes) -> None:
    assert parse(method + b" / HTTP/1.1\r\nHost: h\r\n\r\n").method == method


@pytest.mark.parametrize("length", [65, 100, 10_000, 60_000])
def test_method_too_long(length: int) -> None:
    """RFC 9112 section 3: 501 for a method that is longer than any."""
    assert refused(b"X" * length + b" / HTTP/1.1\r\nHost: h\r\n\r\n") == (
        MethodNotImplemented,
        501,
        "the method has more than 64 characters",
    )


# RFC 9112 section 2.3, RFC 9110 sections 2.5 and 6.2: a higher minor version is taken for the highest we know.
@pytest.mark.parametrize(("version", "minor"), [(b"HTTP/1.0", 0), (b"HTTP/1.1", 1), (b"HTTP/1.2", 1), (b"HTTP/1.9", 1)])
def test_version(version: bytes, minor: int) -> None:
    head = parse(b"GET / " + version + b"\r\nHost: h\r\n\r\n")
    assert (head.minor, head.keep_alive) == (minor, minor == 1)


# RFC 9110 section 15.6.6.
@pytest.mark.parametrize("version", ["0.9", "2.0", "3.0", "9.9", "0.0"])
def test_version_not_supported(version: str) -> None:
    for line in (b"GET / HTTP/", b"PRI * HTTP/"):
        head = line + version.encode() + b"\r\n\r\n"
        assert refused(head) == (VersionNotSupported, 505, f"the version is {version}")


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (b"GET /", NO_VERSION),
        (b"GET", NO_VERSION),
        (b"GET ", NO_VERSION),
        (b"GET / ", NO_VERSION),
        (b"GET / HTTP", NO_VERSION),
        (b"GET / HTTP/", NO_VERSION),
        (b"GET / HTTP/1", NO_VERSION),
        (b"GET / HTTP/1.", NO_VERSION),
        (b"GET / HTTP/.1", NO_VERSION),
        (b"GET / HTTP/1,1", NO_VERSION),
        (b"GET / HTTP/1.1 ", NO_VERSION),
        (b"GET / HTTP/1.1x", NO_VERSION),
        (b"GET / http/1.1", NO_VERSION),
        (b"GET / Http/1.1", NO_VERSION),
        (b"GET / HTTPS/1.1", NO_VERSION),
        (b"GET / HTTP /1.1", NO_VERSION),
        (b"GET / ICY/1.1", NO_VERSION),
        (b"GET /HTTP/1.1", NO_VERSION),
        (b"GET / HTTP/1.10", BAD_LINE),
        (b"GET / HTTP/01.1", BAD_LINE),
        (b"GET / HTTP/11.1", BAD_LINE),
        # One space, not more, not another.
        (b"GET  / HTTP/1.1", BAD_LINE),
        (b"GET /  HTTP/1.1", BAD_LINE),
        (b"GET /a b HTTP/1.1", BAD_LINE),
        (b"GET HTTP/1.1", NO_VERSION),
        (b"GET  HTTP/1.1", BAD_LINE),
        (b"GET\t/ HTTP/1.1", NO_METHOD),
        (b"GET /\tHTTP/1.1", NO_VERSION),
        (b"GET /a\tb HTTP/1.1", BAD_LINE),
        (b" GET / HTTP/1.1", NO_METHOD),
        (b"\tGET / HTTP/1.1", NO_METHOD),
        (b"/ HTTP/1.1", NO_METHOD),
        (b"(GET) / HTTP/1.1", NO_METHOD),
        (b"G@T / HTTP/1.1", NO_METHOD),
        (b"G\xc3\x89T / HTTP/1.1", NO_METHOD),
        (b'"GET" / HTTP/1.1', NO_METHOD),
        (b"GET: / HTTP/1.1", NO_METHOD),
        # RFC 9110 section 7.1: a target has no fragment; RFC 9112 section 3.2: and is ASCII.
        (b"GET /#fragment HTTP/1.1", BAD_LINE),
        (b"GET /\xc3\xa9 HTTP/1.1", BAD_LINE),
        # RFC 9112 section 2.2, RFC 9110 section 5.5.
        (b"GET /\x00 HTTP/1.1", CONTROL),
        (b"GET /\x7f HTTP/1.1", CONTROL),
        (b"GET\x0b/ HTTP/1.1", CONTROL),
        (b"GET\x0c/ HTTP/1.1", CONTROL),
        (b"\x00GET / HTTP/1.1", NO_METHOD),
        (b"GET / HTTP/1.1\x00", CONTROL),
        (b"GET / HTTP/1.1\r", NO_CRLF),
        (b"GET /\r HTTP/1.1", NO_CRLF),
        (b"\rGET / HTTP/1.1", NO_METHOD),
        (b"GET / HTTP/1.1\nX: y", NO_CRLF),
        (b"GET /\n HTTP/1.1", NO_CRLF),
        (b"GET\n/ HTTP/1.1", NO_CRLF),
        (b"\x16\x03\x01\x02\x00\x01\x00", NO_METHOD),
        (b"SSH-2.0-OpenSSH_9.2", NO_VERSION),
        (b"\x05\x01\x00", NO_METHOD),
        (b"", NO_METHOD),
    ],
)
def test_bad_request_line(line: bytes, detail: str) -> None:
    """RFC 9112 section 3: 400, and nothing is put right."""
    assert refused(line + b"\r\nHost: h\r\n\r\n") == (RequestError, 400, detail)


# RFC 9110 section 4.1: 8000 octets at least.
@pytest.mark.parametrize("length", [1, 8000, 16 * 1024])
def test_long_target(length: int) -> None:
    target = b"/" * length
    assert parse(b"GET " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n").target == target


@pytest.mark.parametrize("length", [16 * 1024 + 1, 20_000, 60_000])
@pytest.mark.parametrize("rest", [b" HTTP/1.1", b" HTTP/1.1 ", b"", b" HTTP/3.0", b"#f HTTP/1.1"])
def test_target_too_long(length: int, rest: bytes) -> None:
    """RFC 9112 section 3: 414."""
    assert refused(b"GET /" + b"a" * (length - 1) + rest + b"\r\nHost: h\r\n\r\n") == (
        TargetTooLong,
        414,
        "the target has more than 16384 characters",
    )


# ---------------------------------------------------------------- Host (RFC 9112 section 3.2)


@pytest.mark.parametrize(
    "host", [b"h", b"h:80", b"h:", b"", b"H.Example.", b"[::1]", b"[::1]:8080", b"192.0.2.1", b"a_b"]
)
@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_host(version: bytes, host: bytes) -> None:
    head = parse(b"GET / " + version + b"\r\nHost: " + host + b"\r\n\r\n")
    assert head.fields.values(b"host") == (host,)


@pytest.mark.parametrize(
    "host",
    [
        *(b"user@h", b"http://h", b"h/", b"h/path", b"h,h", b"h, h", b"h h", b"h\th", b"h;h", b"h#", b"h?", b"h\\h"),
        *(
            b"h:0",
            b"h:65536",
            b"h:000080",
            b"h:x",
            b"h:80:80",
            b":80",
            b"h..h",
            b"%68",
            b"[::1",
            b"[::g]",
            b"::1",
            b"h\xff",
        ),
    ],
)
@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_bad_host(version: bytes, host: bytes) -> None:
    head = b"GET / " + version + b"\r\nHost: " + host + b"\r\n\r\n"
    assert refused(head) == (HostError, 400, "the Host field is not host or host:port")


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.2"])
@pytest.mark.parametrize("field", [b"", b"X-Host: h\r\n", b"Hos: t\r\n"])
def test_no_host(version: bytes, field: bytes) -> None:
    assert refused(b"GET http://h/ " + version + b"\r\n" + field + b"\r\n") == (
        HostError,
        400,
        "there is no Host field",
    )


def test_no_host_in_http_1_0() -> None:
    head = parse(b"GET http://h/ HTTP/1.0\r\n\r\n")
    assert (head.fields.lines, head.minor) == ([], 0)


@pytest.mark.parametrize("second", [b"Host: h", b"host: h", b"HOST: other", b"Host:"])
@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_two_hosts(version: bytes, second: bytes) -> None:
    """Also equal ones; also in HTTP/1.0."""
    assert refused(with_fields(b"X: y", second, version=version)) == (
        HostError,
        400,
        "there is more than one Host field",
    )


# ---------------------------------------------------------------- field lines (RFC 9112 section 5)


@pytest.mark.parametrize(
    ("lines", "detail"),
    [
        # Section 5.1.
        (b"X : y\r\n", SPACED),
        (b"X\t: y\r\n", SPACED),
        (b"Transfer-Encoding : chunked\r\n", SPACED),
        (b"Content-Length \t : 5\r\n", SPACED),
        # Section 5.2.
        (b"X: y\r\n z\r\n", FOLDED),
        (b"X: y\r\n\tz\r\n", FOLDED),
        (b"X: y\r\n : z\r\n", FOLDED),
        (b"X: y\r\n \r\n", FOLDED),
        (b"Transfer-Encoding:\r\n chunked\r\n", FOLDED),
        (b"X: y\r\n Content-Length: 5\r\n", FOLDED),
        # Section 2.2, RFC 9110 section 5.5.
        (b"X: y\n", NO_CRLF),
        (b"X: y\nZ: a\r\n", NO_CRLF),
        (b"X: y\n z\r\n", NO_CRLF),
        (b"X: y\r\n\nZ: a\r\n", NO_CRLF),
        (b"X: y\rZ: a\r\n", NO_CRLF),
        (b"X: y\r\r\n", NO_CRLF),
        (b"X: \ry\r\n", NO_CRLF),
        (b"X\r: y\r\n", NO_CRLF),
        (b"X\n: y\r\n", NO_CRLF),
        (b"\rX: y\r\n", NO_CRLF),
        (b"X: \x00\r\n", CONTROL),
        (b"X: a\x00b\r\n", CONTROL),
        (b"X\x00: y\r\n", CONTROL),
        (b"\x00X: y\r\n", CONTROL),
        (b"X: \x01\r\n", CONTROL),
        (b"X: \x0b\r\n", CONTROL),
        (b"X: \x0c\r\n", CONTROL),
        (b"X: \x1f\r\n", CONTROL),
        (b"X: \x7f\r\n", CONTROL),
        (b"Transfer-Encoding: \x0bchunked\r\n", CONTROL),
        # RFC 9110 section 5.1.
        (b"X\r\n", NO_COLON),
        (b"X y\r\n", NO_COLON),
        (b"GET / HTTP/1.1\r\n", NO_COLON),
        (b": y\r\n", NO_TOKEN),
        (b":\r\n", NO_TOKEN),
        (b"X Y: z\r\n", NO_TOKEN),
        (b"(X): y\r\n", NO_TOKEN),
        (b'"X": y\r\n', NO_TOKEN),
        (b"X,Y: z\r\n", NO_TOKEN),
        (b"X[0]: z\r\n", NO_TOKEN),
        (b"X\xc3\xa9: y\r\n", NO_TOKEN),
        (b"\xef\xbb\xbfX: y\r\n", NO_TOKEN),
        (b"X@: y\r\n", NO_TOKEN),
        (b"X\x80: y\r\n", NO_TOKEN),
        # The first mistake counts, and octets come before lines.
        (b"A : b\r\n(B): c\r\n", SPACED),
        (b"(B): c\r\nA : b\r\n", NO_TOKEN),
        (b"A : b\r\nX: \x00\r\n", CONTROL),
    ],
)
@pytest.mark.parametrize("before", [b"", b"Host: h\r\n", b"A: b \r\nHost: h\r\n"])
def test_bad_field_line(before: bytes, lines: bytes, detail: str) -> None:
    expected = (RequestError, 400, detail)
    assert refused(b"GET / HTTP/1.1\r\n" + before + lines + b"\r\n") == expected
    assert refused(b"GET / HTTP/1.1\r\n" + before + lines + b"Y: z\r\n\r\n") == expected
    with pytest.raises(RequestError) as raised:
        parse_trailers(before + lines + b"\r\n", LIMITS, request=True)
    assert (type(raised.value), raised.value.detail) == (RequestError, detail)


@pytest.mark.parametrize(("count", "allowed"), [(128, True), (129, False), (3000, False)])
def test_number_of_fields(count: int, allowed: bool) -> None:
    head = b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * (count - 1) + b"\r\n"
    if allowed:
        assert len(parse(head).fields.lines) == count
    else:
        assert refused(head) == (HeadTooLarge, 431, f"there are {count} fields, more than 128")


def test_trailers() -> None:
    """RFC 9112 section 7.1.2: they have the grammar of fields, and the limit on their number."""
    limits = HeadLimits(max_fields=2)
    assert parse_trailers(b"A: 1 \r\nb:\r\n\r\n", limits, request=True).lines == [(b"A", b"1"), (b"b", b"")]
    with pytest.raises(HeadTooLarge) as raised:
        parse_trailers(b"A: 1\r\n" * 3 + b"\r\n", limits, request=True)
    assert raised.value.detail == "there are 3 fields, more than 2"


# ---------------------------------------------------------------- Connection


@pytest.mark.parametrize(
    ("lines", "options", "kept"),
    [
        ((), frozenset(), True),
        ((b"Connection: keep-alive",), frozenset({b"keep-alive"}), True),
        ((b"Connection: Close",), frozenset({b"close"}), False),
        ((b"Connection: x, CLOSE ,, Y",), frozenset({b"x", b"close", b"y"}), False),
        ((b"Connection: x", b"connection: close"), frozenset({b"x", b"close"}), False),
        ((b"Connection:",), frozenset(), True),
        ((b"Connection: closed",), frozenset({b"closed"}), True),
        ((b'Connection: "close"',), frozenset({b'"close"'}), True),
        ((b"Proxy-Connection: close",), frozenset(), True),
    ],
)
def test_connection_options(lines: tuple[bytes, ...], options: frozenset[bytes], kept: bool) -> None:
    """RFC 9110 section 7.6.1, RFC 9112 section 9.6."""
    head = parse(with_fields(*lines))
    assert (head.options, head.keep_alive) == (options, kept)


# ---------------------------------------------------------------- one after the other


def test_what_is_said_again_is_not_read_again() -> None:
    first = parse(with_fields(b"A: 1", b"Content-Length: 3", b"Expect: 100-continue"))
    again = parse_request_head(
        b"PUT http://h/b HTTP/1.1\r\nHost: h\r\nA: 1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
        LIMITS,
        first,
    )
    assert again.fields is first.fields
    assert (again.method, again.target, again.minor) == (b"PUT", b"http://h/b", 1)
    assert (again.length, again.options, again.expects_continue, again.keep_alive) == (3, frozenset(), True, True)


@pytest.mark.parametrize(
    "head",
    [
        with_fields(b"A: 1", version=b"HTTP/1.0"),
        with_fields(b"A: 2"),
        with_fields(b"A: 1", b"B: 2"),
        with_fields(),
        with_fields(b"a: 1"),
    ],
)
def test_what_is_said_otherwise_is_read(head: bytes) -> None:
    first = parse(with_fields(b"A: 1"))
    head_after = parse_request_head(head, LIMITS, first)
    assert head_after.fields is not first.fields
    assert head_after.fields == parse(head).fields
    assert head_after.expects_continue == parse(head).expects_continue


def test_what_means_something_else_in_another_version_is_read_again() -> None:
    """RFC 9112 section 6.1: in HTTP/1.0 there is no Transfer-Encoding."""
    first = parse(with_fields(b"Transfer-Encoding: chunked"))
    with pytest.raises(RequestError):
        parse_request_head(with_fields(b"Transfer-Encoding: chunked", version=b"HTTP/1.0"), LIMITS, first)


@pytest.mark.parametrize(("size", "kept"), [(4000, True), (5000, False)])
def test_little_is_kept(size: int, kept: bool) -> None:
    head = with_fields(b"A: " + b"x" * size)
    first = parse(head)
    assert (len(first.section) > 0) is kept
    assert (parse_request_head(head, LIMITS, first).fields is first.fields) is kept
