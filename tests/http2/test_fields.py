"""Heads from and to field blocks: each rule of RFC 9113 sections 8.2 and 8.3, and of RFC 8441, with its own error."""

from __future__ import annotations

import pytest
from hpack import NeverIndexedHeaderTuple

from twistedproxy.errors import (
    ExpectationFailed,
    FramingError,
    HeadTooLarge,
    HostError,
    MethodNotImplemented,
    ProxyError,
    RequestError,
    ResponseError,
    ResponseHeadTooLarge,
    TargetError,
    TargetTooLong,
)
from twistedproxy.http.head import HeadLimits
from twistedproxy.http.message import CHUNKED, HTTP2, FieldLine, Fields, RequestHead, ResponseHead
from twistedproxy.http.target import parse_target
from twistedproxy.http2.fields import (
    Block,
    request_block,
    request_head,
    request_trailers,
    response_block,
    response_head,
    response_trailers,
    trailer_block,
)

LIMITS = HeadLimits()
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
GET: list[FieldLine] = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"h"), (b":path", b"/")]
CONNECT: list[FieldLine] = [(b":method", b"CONNECT"), (b":authority", b"h:443")]
WEBSOCKET: list[FieldLine] = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:]]

PSEUDO = "there is a pseudo-header field that does not belong there, or twice"
NAME = "a field's name is not a token in lower case"
CONTROL = "there is a control character"
EDGE = "a field's value begins or ends with white space"
HOP = "there is a field that speaks of a connection of HTTP/1.1"


def changed(**pseudo: bytes | None) -> list[FieldLine]:
    """A GET with other pseudo-header fields; None leaves one out."""
    block = dict(GET) | {b":" + name.encode(): value for name, value in pseudo.items()}
    return [(name, value) for name, value in block.items() if value is not None]


def refused(block: Block, ended: bool = True, limits: HeadLimits = LIMITS) -> tuple[type[ProxyError], str]:
    with pytest.raises(RequestError) as raised:
        request_head(block, ended, limits)
    return type(raised.value), raised.value.detail


def response_refused(
    block: Block, ended: bool = False, method: bytes = b"GET", limits: HeadLimits = LIMITS
) -> tuple[type[ProxyError], str]:
    with pytest.raises(ResponseError) as raised:
        response_head(block, ended, method, limits)
    return type(raised.value), raised.value.detail


# ---------------------------------------------------------------- requests


def test_a_request() -> None:
    lines = [(b"accept", b"a\tb"), (b"x", b""), (b"x", b"\xff\x80"), (b"te", b"trailers")]
    head = request_head([*changed(path=b"/a?b//"), *lines], True, LIMITS)
    assert (head.method, head.target, head.length) == (b"GET", b"https://h/a?b//", 0)
    assert (head.version, head.minor, head.options, head.expects_continue) == (HTTP2, 1, frozenset(), False)
    assert head.fields == Fields(lines)


@pytest.mark.parametrize(
    ("block", "target"),
    [
        (changed(method=b"OPTIONS", path=b"*"), b"https://h"),
        (changed(method=b"OPTIONS", path=b"/*"), b"https://h/*"),
        (changed(scheme=b"HTTP"), b"HTTP://h/"),
        (changed(path=b"//x//y"), b"https://h//x//y"),
        (changed(path=b"/%0d%0a"), b"https://h/%0d%0a"),
        (changed(authority=b"[::1]:8080"), b"https://[::1]:8080/"),
        ([*changed(authority=None), (b"host", b"h:1")], b"https://h:1/"),
        ([*GET, (b"host", b"H")], b"https://h/"),
        (CONNECT, b"h:443"),
        (WEBSOCKET, b"https://h/"),
    ],
)
def test_targets(block: Block, target: bytes) -> None:
    assert request_head(block, True, LIMITS).target == target


@pytest.mark.parametrize(
    ("value", "ended", "length"),
    [(None, True, 0), (None, False, CHUNKED), (b"0", True, 0), (b"0", False, 0), (b"5", False, 5)],
)
def test_lengths(value: bytes | None, ended: bool, length: int) -> None:
    lines = [] if value is None else [(b"content-length", value)]
    assert request_head([*GET, *lines], ended, LIMITS).length == length


@pytest.mark.parametrize(
    ("block", "error", "detail"),
    [
        ([], RequestError, "the method is not a token"),
        (changed(method=None), RequestError, "the method is not a token"),
        (changed(method=b""), RequestError, "the method is not a token"),
        (changed(method=b"GET / HTTP/1.1\r\nX:"), RequestError, "the method is not a token"),
        (changed(method=b"G\0T"), RequestError, "the method is not a token"),
        (changed(method=b"M" * 65), MethodNotImplemented, "the method has more than 64 characters"),
        # Pseudo-header fields: unknown, of responses, twice, late, with capitals.
        ([*GET, (b":status", b"200")], RequestError, PSEUDO),
        ([*GET, (b":x", b"")], RequestError, PSEUDO),
        ([*GET, (b":", b"")], RequestError, PSEUDO),
        ([*GET, (b":path", b"/")], RequestError, PSEUDO),
        ([*GET[:3], (b":Path", b"/")], RequestError, PSEUDO),
        ([*GET[:3], (b"a", b"b"), GET[3]], RequestError, NAME),
        # Targets.
        (changed(scheme=None), TargetError, "there is no :scheme"),
        (changed(scheme=b""), TargetError, "there is no :scheme"),
        (changed(scheme=b"http://evil/"), TargetError, "the :scheme is not a scheme"),
        (changed(scheme=b"http "), TargetError, "the :scheme is not a scheme"),
        (changed(path=None), TargetError, "the :path is not a path"),
        (changed(path=b""), TargetError, "the :path is not a path"),
        (changed(path=b"*"), TargetError, "the :path is not a path"),
        (changed(path=b"x"), TargetError, "the :path is not a path"),
        (changed(path=b"?x"), TargetError, "the :path is not a path"),
        (changed(path=b"@evil/"), TargetError, "the :path is not a path"),
        (changed(path=b"/ HTTP/1.1"), TargetError, "the :path is not a path"),
        (changed(path=b"/\r\nx: y"), TargetError, "the :path is not a path"),
        (changed(path=b"/\n"), TargetError, "the :path is not a path"),
        (changed(path=b"/\t"), TargetError, "the :path is not a path"),
        (changed(path=b"/#x"), TargetError, "the :path is not a path"),
        (changed(path=b"/\xc3\xa4"), TargetError, "the :path is not a path"),
        (changed(path=b"/" * 16385), TargetTooLong, "the target has more than 16384 characters"),
        # Authorities.
        (changed(authority=None), HostError, "there is no :authority and no Host field"),
        (changed(authority=b""), HostError, "there is no :authority and no Host field"),
        ([*changed(authority=b""), (b"host", b"h")], HostError, "there is no :authority and no Host field"),
        (changed(authority=b"user@h"), HostError, "the authority is not host or host:port"),
        (changed(authority=b"h/x"), HostError, "the authority is not host or host:port"),
        (changed(authority=b"h:80:80"), HostError, "the authority is not host or host:port"),
        (changed(authority=b"h\r\nx: y"), HostError, "the authority is not host or host:port"),
        (changed(authority=b"h "), HostError, "the authority is not host or host:port"),
        (changed(authority=b"h#"), HostError, "the authority is not host or host:port"),
        ([*changed(authority=None), (b"host", b"")], HostError, "there is no :authority and no Host field"),
        ([*GET, (b"host", b"other")], HostError, "the Host field is not the same as :authority"),
        ([*GET, (b"host", b"")], HostError, "the Host field is not the same as :authority"),
        ([*GET, (b"host", b"h:443")], HostError, "the Host field is not the same as :authority"),
        ([*GET, (b"host", b"h"), (b"host", b"h")], HostError, "there is more than one Host field"),
        # Names.
        ([*GET, (b"", b"x")], RequestError, NAME),
        ([*GET, (b"Accept", b"x")], RequestError, NAME),
        ([*GET, (b"a b", b"x")], RequestError, NAME),
        ([*GET, (b"a:", b"x")], RequestError, NAME),
        ([*GET, (b"a,b", b"x")], RequestError, NAME),
        ([*GET, (b"a", b"x"), (b"b,", b"x")], RequestError, NAME),
        ([*GET, (b",", b"x")], RequestError, NAME),
        ([*GET, (b"a\r\nb", b"x")], RequestError, NAME),
        ([*GET, (b"a\n", b"x")], RequestError, NAME),
        ([*GET, (b"a\0", b"x")], RequestError, NAME),
        ([*GET, (b"\xe4", b"x")], RequestError, NAME),
        ([*GET, (b"content-length:", b"0")], RequestError, NAME),
        # Values.
        ([*GET, (b"a", b"\r\nb: c")], RequestError, CONTROL),
        ([*GET, (b"a", b"x\nb")], RequestError, CONTROL),
        ([*GET, (b"a", b"x"), (b"b", b"\n")], RequestError, CONTROL),
        ([*GET, (b"a", b"x\rb")], RequestError, CONTROL),
        ([*GET, (b"a", b"\0")], RequestError, CONTROL),
        ([*GET, (b"a", b"\x7f")], RequestError, CONTROL),
        ([*GET, (b"a", b" x")], RequestError, EDGE),
        ([*GET, (b"a", b"x\t")], RequestError, EDGE),
        ([*GET, (b"a", b" ")], RequestError, EDGE),
        ([*GET, (b"a", b"x"), (b"b", b"\tx"), (b"c", b"x")], RequestError, EDGE),
        # Fields of connections.
        *[
            ([*GET, (name, value)], RequestError, HOP)
            for name, value in [
                (b"connection", b"close"),
                (b"proxy-connection", b"close"),
                (b"keep-alive", b"1"),
                (b"transfer-encoding", b"chunked"),
                (b"transfer-encoding", b""),
                (b"upgrade", b"websocket"),
            ]
        ],
        *[
            ([*GET, (b"te", value)], RequestError, "the TE field says more than trailers")
            for value in (b"", b"gzip", b"trailers, gzip", b"trailers;q=0.5", b"trailers, trailers", b'"trailers"')
        ],
        # Lengths, all of them with nothing that follows.
        ([*GET, (b"content-length", b"")], FramingError, "the Content-Length is not a number of 1 to 19 digits"),
        ([*GET, (b"content-length", b"+5")], FramingError, "the Content-Length is not a number of 1 to 19 digits"),
        ([*GET, (b"content-length", b"0x0")], FramingError, "the Content-Length is not a number of 1 to 19 digits"),
        ([*GET, (b"content-length", b"0, 0")], FramingError, "the Content-Length is not a number of 1 to 19 digits"),
        ([*GET, (b"content-length", b"0" * 20)], FramingError, "the Content-Length is not a number of 1 to 19 digits"),
        (
            [*GET, (b"content-length", b"0")] * 1 + [(b"content-length", b"0")],
            FramingError,
            "there is more than one Content-Length field",
        ),
        (
            [*GET, (b"content-length", b"1")],
            FramingError,
            "the request ends before the content that its Content-Length promises",
        ),
        ([*GET, (b"expect", b"x")], ExpectationFailed, "the only expectation that this proxy knows is 100-continue"),
        ([*GET, (b"expect", b"")], ExpectationFailed, "the only expectation that this proxy knows is 100-continue"),
        # CONNECT, and the extended one.
        ([*CONNECT, (b":path", b"/")], TargetError, "a CONNECT has a scheme or a path"),
        ([*CONNECT, (b":scheme", b"https")], TargetError, "a CONNECT has a scheme or a path"),
        ([*GET, (b":protocol", b"websocket")], RequestError, "there is a :protocol, and the method is not CONNECT"),
        ([*CONNECT, (b":protocol", b"websocket")], TargetError, "there is no :scheme"),
        (
            [WEBSOCKET[0], (b":protocol", b"connect-udp"), *WEBSOCKET[2:]],
            MethodNotImplemented,
            "the only protocol for an extended CONNECT that this proxy knows is websocket",
        ),
        (
            [*WEBSOCKET, (b"content-length", b"1")],
            FramingError,
            "the request ends before the content that its Content-Length promises",
        ),
    ],
)
def test_requests_that_are_refused(block: Block, error: type[ProxyError], detail: str) -> None:
    assert refused(block) == (error, detail)


def test_an_extended_connect_is_an_upgrade() -> None:
    for ended in (False, True):
        head = request_head([*WEBSOCKET, (b"sec-websocket-version", b"13")], ended, LIMITS)
        assert (head.method, head.length, head.options) == (b"GET", 0, {b"upgrade"})
        assert head.fields.lines == [(b"sec-websocket-version", b"13"), (b"upgrade", b"websocket")]
    assert request_head([WEBSOCKET[0], (b":protocol", b"WebSocket"), *WEBSOCKET[2:]], False, LIMITS).method == b"GET"


def test_an_expectation() -> None:
    assert request_head([*GET, (b"expect", b"100-Continue")], False, LIMITS).expects_continue


def test_cookies_are_joined() -> None:
    """RFC 9113 section 8.2.3."""
    head = request_head([*GET, (b"cookie", b"a=b"), (b"x", b"y"), (b"cookie", b"c=d; e=f")], True, LIMITS)
    assert head.fields.lines == [(b"cookie", b"a=b; c=d; e=f"), (b"x", b"y")]
    assert head.fields.first(b"cookie") == b"a=b; c=d; e=f"
    head = request_head([*GET, (b"x", b"y"), (b"cookie", b""), (b"cookie", b"a=b"), (b"cookie", b"")], True, LIMITS)
    assert head.fields.lines == [(b"x", b"y"), (b"cookie", b"a=b")]
    assert request_head([*GET, (b"cookie", b""), (b"cookie", b"")], True, LIMITS).fields.lines == [(b"cookie", b"")]
    never = NeverIndexedHeaderTuple(b"cookie", b"secret=1")
    head = request_head([*GET, (b"cookie", b"a=b"), never], True, LIMITS)
    assert head.fields.lines == [(b"cookie", b"a=b; secret=1")]
    assert type(head.fields.lines[0]) is NeverIndexedHeaderTuple


def test_how_large_a_head_may_be() -> None:
    limits = HeadLimits(max_head_size=1000, max_fields=5)
    # The size of RFC 9113 section 6.5.2, but for two bytes.
    line = (b"abcd", b"x" * (1000 - 30 - 4))
    assert request_head([*GET, line], True, limits).fields.lines == [line]
    longer = (b"abcd", line[1] + b"x")
    assert refused([*GET, longer], limits=limits) == (HeadTooLarge, "it is larger than 1000 bytes")
    status = [(b":status", b"200")]
    too_large = (ResponseHeadTooLarge, "it is larger than 1000 bytes")
    assert response_refused([*status, longer], limits=limits) == too_large
    many: list[FieldLine] = [(b"a", b"b")] * 6
    assert refused([*GET, *many], limits=limits) == (HeadTooLarge, "there are 6 fields, more than 5")
    too_many = (ResponseHeadTooLarge, "there are 6 fields, more than 5")
    assert response_refused([*status, *many], limits=limits) == too_many
    # Crumbs are one field.
    crumbs: list[FieldLine] = [(b"cookie", b"b")] * 6
    assert len(request_head([*GET, *crumbs], True, limits).fields.lines) == 1
    with pytest.raises(HeadTooLarge):
        request_trailers(many, limits)


# ---------------------------------------------------------------- responses


def test_a_response() -> None:
    head = response_head([(b":status", b"200"), (b"a", b"b")], False, b"GET", LIMITS)
    assert (head.status, head.phrase, head.length, head.version, head.minor) == (200, b"OK", CHUNKED, HTTP2, 1)
    assert head.fields == Fields([(b"a", b"b")])


@pytest.mark.parametrize(
    ("status", "method", "value", "ended", "length"),
    [
        (b"200", b"GET", b"5", False, 5),
        (b"200", b"GET", b"5, 5", False, 5),
        (b"200", b"GET", b"0", True, 0),
        (b"200", b"HEAD", b"5", True, 0),
        (b"200", b"HEAD", b"5", False, 0),
        (b"304", b"GET", b"5", True, 0),
        (b"204", b"GET", b"5", True, 0),
        (b"103", b"GET", b"5", False, 0),
        (b"200", b"HEAD", b"x", True, 0),
    ],
)
def test_lengths_of_responses(status: bytes, method: bytes, value: bytes, ended: bool, length: int) -> None:
    head = response_head([(b":status", status), (b"content-length", value)], ended, method, LIMITS)
    assert head.length == length
    assert head.fields.lines == [(b"content-length", value)]


def test_a_response_that_ends_at_once_has_no_content() -> None:
    head = response_head([(b":status", b"200")], True, b"GET", LIMITS)
    assert (head.length, head.fields.lines) == (0, [(b"content-length", b"0")])
    for status, method in ((b"204", b"GET"), (b"304", b"GET"), (b"200", b"HEAD")):
        head = response_head([(b":status", status)], True, method, LIMITS)
        assert (head.length, head.fields.lines) == (0, [])


STATUS = "the :status is not a status code"


@pytest.mark.parametrize(
    ("block", "ended", "detail"),
    [
        ([], False, STATUS),
        *[([(b":status", value)], False, STATUS) for value in (b"", b"20", b"2000", b"000", b"600", b"2x0", b"200 ")],
        ([(b":status", b"200"), (b":status", b"200")], False, PSEUDO),
        ([(b":status", b"200"), (b":path", b"/")], False, PSEUDO),
        ([(b"a", b"b"), (b":status", b"200")], False, STATUS),
        ([(b":status", b"101")], False, "the answer's status is 101, which HTTP/2 does not have"),
        ([(b":status", b"103")], True, "the answer ends with an interim one"),
        ([(b":status", b"200"), (b"A", b"b")], False, NAME),
        ([(b":status", b"200"), (b"a", b"\r\n")], False, CONTROL),
        ([(b":status", b"200"), (b"a", b" b")], False, EDGE),
        ([(b":status", b"200"), (b"transfer-encoding", b"chunked")], False, HOP),
        ([(b":status", b"200"), (b"connection", b"close")], False, HOP),
        *[
            (
                [(b":status", b"200"), (b"content-length", value)],
                False,
                "the answer's Content-Length is not one number of 1 to 19 digits",
            )
            for value in (b"", b"5, 6", b"-1", b"5" * 20)
        ],
        (
            [(b":status", b"200"), (b"content-length", b"5")],
            True,
            "the answer ends before the content that its Content-Length promises",
        ),
    ],
)
def test_responses_that_are_refused(block: Block, ended: bool, detail: str) -> None:
    assert response_refused(block, ended) == (ResponseError, detail)


# ---------------------------------------------------------------- trailers


def test_trailers() -> None:
    lines = [(b"grpc-status", b"0"), (b"grpc-message", b"")]
    assert request_trailers(lines, LIMITS) == Fields(lines)
    assert response_trailers(lines, LIMITS) == Fields(lines)
    assert request_trailers((), LIMITS) == Fields()
    for block, detail in (
        ([(b":status", b"200")], PSEUDO),
        ([(b":path", b"/")], PSEUDO),
        ([(b"a", b"b"), (b":path", b"/")], NAME),
        ([(b"connection", b"x")], HOP),
        ([(b"A", b"x")], NAME),
        ([(b"a", b"x\n")], CONTROL),
    ):
        with pytest.raises(RequestError, match=detail):
            request_trailers(block, LIMITS)
        with pytest.raises(ResponseError, match=detail):
            response_trailers(block, LIMITS)
    assert trailer_block([(b"Grpc-Status", b"0"), (b"Connection", b"x"), (b"Transfer-Encoding", b"y")]) == [
        (b"grpc-status", b"0")
    ]


# ---------------------------------------------------------------- blocks


def test_a_request_as_a_block() -> None:
    lines = [
        (b"Host", b"other"),
        (b"Connection", b"X-Hop, TE"),
        (b"X-Hop", b"1"),
        (b"TE", b"trailers, gzip"),
        (b"Keep-Alive", b"5"),
        (b"Upgrade", b"h2c"),
        (b"HTTP2-Settings", b"x"),
        (b"Proxy-Authorization", b"Basic x"),
        (b"Accept", b"*/*"),
    ]
    head = RequestHead(b"POST", b"http://h:81/a", 1, Fields(lines), 5, frozenset((b"x-hop", b"te")))
    assert request_block(head, parse_target(b"POST", head.target), b"p") == [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"h:81"),
        (b":path", b"/a"),
        (b"accept", b"*/*"),
        (b"content-length", b"5"),
        (b"te", b"trailers"),
        (b"via", b"1.1 p"),
    ]


def test_an_upgrade_as_a_block() -> None:
    lines = [
        (b"Host", b"h"),
        (b"Upgrade", b"websocket"),
        (b"Connection", b"Upgrade"),
        (b"Sec-WebSocket-Key", b"x"),
        (b"Sec-WebSocket-Version", b"13"),
    ]
    head = RequestHead(b"GET", b"http://h/", 1, Fields(lines), 0, frozenset((b"upgrade",)))
    assert request_block(head, parse_target(b"GET", head.target), b"p", b"websocket") == [
        (b":method", b"CONNECT"),
        (b":scheme", b"http"),
        (b":authority", b"h"),
        (b":path", b"/"),
        (b":protocol", b"websocket"),
        (b"sec-websocket-version", b"13"),
        (b"via", b"1.1 p"),
    ]
    fields = Fields([(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Accept", b"x")])
    assert response_block(ResponseHead(101, b"", 1, fields, 0, frozenset((b"upgrade",))), b"GET", b"p", DATE) == [
        (b":status", b"200"),
        (b"via", b"1.1 p"),
    ]


@pytest.mark.parametrize(
    ("status", "length", "method", "lines", "expected"),
    [
        (200, CHUNKED, b"GET", [(b"Transfer-Encoding", b"chunked")], []),
        (200, 5, b"GET", [(b"Content-Length", b"5")], [(b"content-length", b"5")]),
        (200, 0, b"HEAD", [(b"Content-Length", b"5")], [(b"content-length", b"5")]),
        (200, 0, b"HEAD", [(b"Transfer-Encoding", b"chunked")], []),
        (426, 0, b"GET", [(b"Upgrade", b"h2c")], []),
        (200, CHUNKED, b"GET", [(b"Connection", b"close"), (b"Keep-Alive", b"1"), (b"Proxy-Connection", b"x")], []),
    ],
)
def test_a_response_as_a_block(
    status: int, length: int, method: bytes, lines: list[FieldLine], expected: list[FieldLine]
) -> None:
    head = ResponseHead(status, b"Phrase", 1, Fields(lines), length)
    assert response_block(head, method, b"p", DATE) == [
        (b":status", b"%d" % status),
        *expected,
        (b"date", DATE),
        (b"via", b"1.1 p"),
    ]


@pytest.mark.parametrize(
    ("line", "never"),
    [
        ((b"Authorization", b"x" * 99), True),
        ((b"Cookie", b"x" * 19), True),
        ((b"Cookie", b"x" * 20), False),
        ((b"Accept", b"x"), False),
        (NeverIndexedHeaderTuple(b"x-token", b"x"), True),
    ],
)
def test_what_is_never_indexed(line: FieldLine, never: bool) -> None:
    """RFC 7541 section 7.1.3."""
    head = RequestHead(b"GET", b"http://h/", 1, Fields([line]))
    block = request_block(head, parse_target(b"GET", head.target), b"p")
    (found,) = [one for one in block if one[0] == line[0].lower()]
    assert (found, type(found) is NeverIndexedHeaderTuple) == ((line[0].lower(), line[1]), never)


def test_what_was_never_indexed_stays_so_from_one_side_to_the_other() -> None:
    head = request_head([*GET, NeverIndexedHeaderTuple(b"x-token", b"x")], True, LIMITS)
    block = request_block(head, parse_target(b"GET", head.target), b"p")
    assert [type(line) is NeverIndexedHeaderTuple for line in block] == [False] * 4 + [True, False]
    response = response_head([(b":status", b"200"), NeverIndexedHeaderTuple(b"x-token", b"x")], False, b"GET", LIMITS)
    assert type(response_block(response, b"GET", b"p", DATE)[1]) is NeverIndexedHeaderTuple
    trailers = request_trailers([NeverIndexedHeaderTuple(b"x-token", b"x")], LIMITS)
    assert type(trailer_block(trailers.lines)[0]) is NeverIndexedHeaderTuple
