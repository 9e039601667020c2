"""What an intermediary changes in requests and trailers on their way (RFC 9110 section 7.6)."""

from __future__ import annotations

import pytest

from twistedproxy.http.forwarding import (
    forwarded_request_lines,
    forwarded_request_section,
    forwarded_response_lines,
    forwarded_trailer_lines,
    max_forwards,
    upgrade_offered,
    via_names,
)
from twistedproxy.http.head import HeadLimits, parse_request_head
from twistedproxy.http.message import FieldLine, Fields, RequestHead, ResponseHead
from twistedproxy.http.writer import field_section

HOST = (b"Host", b"h")
VIA = (b"Via", b"1.1 proxy")


def request(*lines: bytes, method: bytes = b"GET", version: bytes = b"1.1", host: bytes | None = b"h") -> RequestHead:
    start = method + b" http://h/ HTTP/" + version + b"\r\n"
    if host is not None:
        start += b"Host: " + host + b"\r\n"
    return parse_request_head(start + b"".join(line + b"\r\n" for line in lines) + b"\r\n", HeadLimits())


def forwarded(*lines: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> list[FieldLine]:
    head = request(*lines, method=method, version=version)
    return forwarded_request_lines(head, b"h", b"proxy", upgrade_offered(head))


# ---------------------------------------------------------------- what stays


def test_order_case_and_repetition_stay() -> None:
    """RFC 9110 sections 5.1 and 5.3: unknown fields too, and lines of one name apart and in order."""
    lines = [
        b"X-Z: 1",
        b"accept: a",
        b"ACCEPT: b",
        b"X-a:",
        b"Cookie: a=1",
        b"cookie: b=2",
        b"X-Latin: \xff",
        b"x-z: 2",
    ]
    assert forwarded(*lines) == [
        HOST,
        (b"X-Z", b"1"),
        (b"accept", b"a"),
        (b"ACCEPT", b"b"),
        (b"X-a", b""),
        (b"Cookie", b"a=1"),
        (b"cookie", b"b=2"),
        (b"X-Latin", b"\xff"),
        (b"x-z", b"2"),
        VIA,
    ]


@pytest.mark.parametrize(
    "line",
    [
        # RFC 9110 section 11.6.2, 13.2.1, 14.2, 10.1.3; RFC 9111 section 5.2.
        b"Authorization: Basic c2VjcmV0",
        b'If-None-Match: "a"',
        b"If-Modified-Since: yesterday",
        b"Range: bytes=0-5",
        b"Referer: http://other/",
        b"Cache-Control: no-cache, unknown",
        b"Pragma: no-cache",
        b"Origin: null",
        b"Content-Type: text/plain",
        b"Content-Encoding: gzip",
        b"Trailer: X",
        b"Date: today",
        b"Forwarded: for=192.0.2.1",
        b"Accept-Encoding: br",
        b"Sec-WebSocket-Key: x",
    ],
)
def test_fields_from_end_to_end(line: bytes) -> None:
    name, _, value = line.partition(b": ")
    assert forwarded(line) == [HOST, (name, value), VIA]


# ---------------------------------------------------------------- what goes


@pytest.mark.parametrize(
    "line",
    [
        b"Connection: keep-alive",
        b"connection: close",
        b"Proxy-Connection: keep-alive",
        b"Keep-Alive: timeout=5",
        b"TE: gzip",
        b"Upgrade: websocket",
        b"HTTP2-Settings: AAMAAABk",
        # Section 11.7.2: it is for us, and would tell the origin a password.
        b"Proxy-Authorization: Basic c2VjcmV0",
        b"PROXY-AUTHORIZATION: Bearer x",
    ],
)
def test_fields_of_one_connection(line: bytes) -> None:
    """Section 7.6.1."""
    assert forwarded(line, b"X: y") == [HOST, (b"X", b"y"), VIA]
    assert forwarded(b"X: y", line, line) == [HOST, (b"X", b"y"), VIA]


@pytest.mark.parametrize(
    ("connection", "left"),
    [
        ((b"Connection: X-A",), [b"X-B", b"x-a-b"]),
        ((b"connection: x-a , X-B",), [b"x-a-b"]),
        ((b"Connection: close", b"Connection: x-b,,", b"Connection: , X-A-B"), [b"X-A", b"x-a"]),
        ((b"Connection: unknown",), [b"X-A", b"X-B", b"x-a", b"x-a-b"]),
        ((b'Connection: "X-A"',), [b"X-A", b"X-B", b"x-a", b"x-a-b"]),
    ],
)
def test_nominated_fields(connection: tuple[bytes, ...], left: list[bytes]) -> None:
    """Section 7.6.1: each field that Connection names goes, in all its lines and whatever its case."""
    lines = forwarded(*connection, b"X-A: 1", b"X-B: 2", b"x-a: 3", b"x-a-b: 4")
    assert [name for name, _ in lines] == [b"Host", *left, b"Via"]


def test_nomination_does_not_take_what_a_message_needs() -> None:
    """Without these a request would be another one, or hide its way."""
    lines = forwarded(
        b"Connection: Host, Via, Content-Length, Content-Type, Date, Connection, Transfer-Encoding, TE",
        b"Via: 1.0 fred",
        b"Content-Length: 5",
        b"Content-Type: a/b",
        b"Date: d",
        method=b"POST",
    )
    assert lines == [
        HOST,
        (b"Via", b"1.0 fred"),
        (b"Content-Type", b"a/b"),
        (b"Date", b"d"),
        (b"Content-Length", b"5"),
        VIA,
    ]


# ---------------------------------------------------------------- Host, framing, Via


@pytest.mark.parametrize("received", [b"other", b"other:80", b"", b"H"])
def test_host_is_the_targets(received: bytes) -> None:
    """RFC 9112 section 3.2.2: whatever was received is replaced, where it stood."""
    head = parse_request_head(
        b"GET http://h/ HTTP/1.1\r\nA: 1\r\nhOST: " + received + b"\r\nB: 2\r\n\r\n", HeadLimits()
    )
    assert forwarded_request_lines(head, b"h:8080", b"proxy") == [(b"A", b"1"), (b"hOST", b"h:8080"), (b"B", b"2"), VIA]


def test_host_is_added_to_http_1_0() -> None:
    """First, as RFC 9110 section 7.2 would like it."""
    head = request(b"A: 1", version=b"1.0", host=None)
    assert forwarded_request_lines(head, b"h", b"proxy") == [HOST, (b"A", b"1"), (b"Via", b"1.0 proxy")]


@pytest.mark.parametrize(
    ("lines", "framing"),
    [
        ((), []),
        ((b"content-length: 5",), [(b"Content-Length", b"5")]),
        ((b"Content-Length: 0000005",), [(b"Content-Length", b"5")]),
        # Servers ask for it on POST.
        ((b"Content-Length: 0",), [(b"Content-Length", b"0")]),
        ((b"transfer-encoding: , CHUNKED",), [(b"Transfer-Encoding", b"chunked")]),
    ],
)
def test_framing_is_written_anew(lines: tuple[bytes, ...], framing: list[FieldLine]) -> None:
    """RFC 9112 section 6: one length, in one form."""
    assert forwarded(*lines, b"X: y", method=b"POST") == [HOST, (b"X", b"y"), *framing, VIA]


@pytest.mark.parametrize(
    ("version", "written"), [(b"1.0", b"1.0 proxy"), (b"1.1", b"1.1 proxy"), (b"1.2", b"1.1 proxy")]
)
def test_via(version: bytes, written: bytes) -> None:
    """Section 7.6.3: the version received, our pseudonym, behind those that were there, of which none is joined."""
    lines = forwarded(b"Via: 1.0 fred, 1.1 p", b"X: y", b"via: 1.1 q", version=version)
    assert lines == [HOST, (b"Via", b"1.0 fred, 1.1 p"), (b"X", b"y"), (b"via", b"1.1 q"), (b"Via", written)]


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ([], False),
        ([b"1.1 proxy"], True),
        ([b"1.0 fred, 1.1 Proxy (ours)"], True),
        ([b"1.0 fred", b"HTTP/2 PROXY"], True),
        ([b"1.1\t proxy"], True),
        ([b"1.1 proxy:8080"], False),
        ([b"1.1 proxyx, 1.1 xproxy"], False),
        ([b"proxy"], False),
        ([b"proxy 1.1"], False),
        ([b"1.1 fred (proxy)"], False),
        ([b", ,", b""], False),
    ],
)
def test_loop(lines: list[bytes], named: bool) -> None:
    """Section 7.6.3; received-by is a host or a pseudonym, and either is case-insensitive."""
    assert via_names(Fields((b"Via", line) for line in lines), b"proxy") is named


# ---------------------------------------------------------------- TE, Expect, Upgrade


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (b"TE: trailers", True),
        (b"te: deflate;q=0.5, Trailers", True),
        (b"TE: gzip", False),
        (b"TE: ", False),
        (b"TE: xtrailers", False),
    ],
)
def test_te(line: bytes, kept: bool) -> None:
    """Section 10.1.4: it is of one connection; of its members we take part in trailers, and Connection names it."""
    ours = [(b"TE", b"trailers"), (b"Connection", b"TE")] if kept else []
    assert forwarded(b"Connection: TE", line, b"X: y") == [HOST, (b"X", b"y"), *ours, VIA]


def test_expect() -> None:
    """Section 10.1.1: forwarded with the request from an HTTP/1.1 client, and only then."""
    lines = (b"Expect: 100-Continue", b"Content-Length: 5")
    expected = [HOST, (b"Content-Length", b"5"), (b"Expect", b"100-continue"), VIA]
    assert forwarded(*lines, method=b"POST") == expected
    assert forwarded(*lines, method=b"POST", version=b"1.0") == [
        HOST,
        (b"Content-Length", b"5"),
        (b"Via", b"1.0 proxy"),
    ]


@pytest.mark.parametrize(
    ("lines", "version", "offered"),
    [
        ((b"Connection: Upgrade", b"Upgrade: websocket"), b"1.1", (b"websocket",)),
        ((b"Connection: x, upgrade", b"upgrade: a/1, , B/2", b"Upgrade: c"), b"1.1", (b"a/1", b"B/2", b"c")),
        # Section 7.8: without the option it is somebody else's; from HTTP/1.0 it is ignored.
        ((b"Upgrade: websocket",), b"1.1", ()),
        ((b"Connection: close", b"Upgrade: websocket"), b"1.1", ()),
        ((b"Connection: Upgrade", b"Upgrade: websocket"), b"1.0", ()),
        ((b"Connection: Upgrade",), b"1.1", ()),
        # RFC 9113 section 3.1 has withdrawn it, and it would take all later requests out of sight.
        ((b"Connection: Upgrade, HTTP2-Settings", b"HTTP2-Settings: x", b"Upgrade: h2c"), b"1.1", ()),
        ((b"Connection: Upgrade", b"Upgrade: H2C, h2c-14, websocket"), b"1.1", (b"websocket",)),
        ((b"Connection: Upgrade", b'Upgrade: /a, b/, c/d/e, "f", g h, i'), b"1.1", (b"i",)),
    ],
)
def test_upgrade(lines: tuple[bytes, ...], version: bytes, offered: tuple[bytes, ...]) -> None:
    head = request(*lines, version=version)
    assert upgrade_offered(head) == offered
    ours = [(b"Upgrade", b", ".join(offered)), (b"Connection", b"Upgrade")] if offered else []
    assert forwarded_request_lines(head, b"h", b"proxy", offered) == [HOST, *ours, (b"Via", version + b" proxy")]


def test_connection_names_all_that_is_ours() -> None:
    """Section 7.6.1."""
    lines = forwarded(b"Connection: upgrade, TE", b"TE: trailers", b"Upgrade: websocket")
    assert lines == [HOST, (b"TE", b"trailers"), (b"Upgrade", b"websocket"), (b"Connection", b"TE, Upgrade"), VIA]


# ---------------------------------------------------------------- Max-Forwards (section 7.6.2)


@pytest.mark.parametrize("method", [b"TRACE", b"OPTIONS"])
@pytest.mark.parametrize(
    ("value", "hops", "written"),
    [
        (b"0", 0, None),
        (b"1", 1, b"0"),
        (b"10", 10, b"9"),
        (b"007", 7, b"6"),
        (b"999999999", 999999999, b"999999998"),
        # Of any length: no zero is overlooked, no number is too long to count down.
        (b"0" * 10, 0, None),
        (b"0" * 60_000, 0, None),
        (b"0" * 60_000 + b"1", 1, b"0"),
        (b"1000000000", 10**9, b"999999999"),
        (b"9" * 60_000, 10**9, b"999999999"),
    ],
)
def test_max_forwards(method: bytes, value: bytes, hops: int, written: bytes | None) -> None:
    head = request(b"Max-Forwards: " + value, b"X: y", method=method)
    assert max_forwards(head) == hops
    if written is not None:
        lines = forwarded_request_lines(head, b"h", b"proxy")
        assert lines == [HOST, (b"X", b"y"), (b"Max-Forwards", written), VIA]


@pytest.mark.parametrize("value", [b"", b"x", b"-1", b"+1", b"1.0", b"1 1", b"1, 1", b"\xb2", b"0x1"])
def test_no_max_forwards(value: bytes) -> None:
    """What is no number is not obeyed, and not put right."""
    head = request(b"Max-Forwards: " + value, method=b"TRACE")
    assert max_forwards(head) is None
    assert forwarded_request_lines(head, b"h", b"proxy") == [HOST, (b"Max-Forwards", value), VIA]
    assert max_forwards(request(method=b"TRACE")) is None


@pytest.mark.parametrize("method", [b"GET", b"POST", b"trace", b"PURGE"])
@pytest.mark.parametrize("value", [b"0", b"5", b"x"])
def test_max_forwards_of_other_methods(method: bytes, value: bytes) -> None:
    """It may be ignored, and is: also its 0. RFC 9110 section 9.3.7: and it is never made up."""
    head = request(b"max-forwards: " + value, b"X: y", b"Max-Forwards: 7", method=method)
    assert max_forwards(head) is None
    assert forwarded_request_lines(head, b"h", b"proxy") == [
        HOST,
        (b"max-forwards", value),
        (b"X", b"y"),
        (b"Max-Forwards", b"7"),
        VIA,
    ]
    assert forwarded(method=b"OPTIONS") == [HOST, VIA]


# ---------------------------------------------------------------- trailers (section 6.5.1)


@pytest.mark.parametrize(
    "name",
    [
        # That frame, route, authenticate, ask, control or describe: what was read before them cannot be read anew.
        *(
            b"Transfer-Encoding",
            b"Content-Length",
            b"Host",
            b"Trailer",
            b"TE",
            b"Connection",
            b"Keep-Alive",
            b"Upgrade",
        ),
        *(
            b"Proxy-Connection",
            b"HTTP2-Settings",
            b"Via",
            b"Forwarded",
            b"Max-Forwards",
            b"Expect",
            b"Range",
            b"Location",
        ),
        *(
            b"Authorization",
            b"Proxy-Authorization",
            b"WWW-Authenticate",
            b"Proxy-Authenticate",
            b"Cookie",
            b"Set-Cookie",
        ),
        *(b"If-Match", b"If-None-Match", b"If-Modified-Since", b"If-Unmodified-Since", b"If-Range", b"Cache-Control"),
        *(b"Pragma", b"Age", b"Date", b"Expires", b"Vary", b"Retry-After"),
        *(b"Content-Encoding", b"Content-Type", b"Content-Range"),
    ],
)
def test_unsafe_trailers(name: bytes) -> None:
    for spelled in (name, name.lower(), name.upper()):
        assert forwarded_trailer_lines(Fields([(b"X", b"1"), (spelled, b"0"), (b"x", b"2")]), frozenset()) == [
            (b"X", b"1"),
            (b"x", b"2"),
        ]


def test_trailers_stay_in_order() -> None:
    lines = [(b"X-B", b"1"), (b"Digest", b"x"), (b"x-a", b""), (b"X-B", b"2"), (b"Server-Timing", b"t")]
    assert forwarded_trailer_lines(Fields(lines), frozenset()) == lines


def test_nominated_trailers() -> None:
    """Section 7.6.1: Connection names fields in either place."""
    lines = [(b"X-A", b"1"), (b"X-B", b"2"), (b"x-a", b"3")]
    assert forwarded_trailer_lines(Fields(lines), frozenset((b"x-a", b"close"))) == [(b"X-B", b"2")]


# ---------------------------------------------------------------- once for all of the same


def section(head: RequestHead, host: bytes = b"h", via: bytes = b"proxy", upgrade: tuple[bytes, ...] = ()) -> bytes:
    """It is what is made of the lines, whatever was made before."""
    made = forwarded_request_section(head, host, via, upgrade)
    assert made == field_section(forwarded_request_lines(head, host, via, upgrade))
    return made


def test_the_same_fields_are_made_bytes_of_once() -> None:
    head = request(b"A: 1")
    other = RequestHead(b"PUT", b"http://h/b", 1, head.fields)
    assert section(other) is section(head)
    assert section(head) == b"Host: h\r\nA: 1\r\nVia: 1.1 proxy\r\n\r\n"


def test_what_else_they_depend_on_makes_others() -> None:
    head = request(b"A: 1", b"Upgrade: a", b"Connection: upgrade")
    fields = head.fields
    seen = {section(head), section(head, b"other"), section(head, via=b""), section(head, upgrade=(b"a",))}
    for changed in (
        RequestHead(b"GET", b"/", 1, fields, 5),
        RequestHead(b"GET", b"/", 1, fields, 0, frozenset((b"a",))),
        RequestHead(b"GET", b"/", 1, fields, 0, head.options, True),
        RequestHead(b"GET", b"/", 0, fields, 0, head.options),
    ):
        seen.add(section(changed))
    assert len(seen) == 8


def test_what_depends_on_the_method_is_made_each_time() -> None:
    head = request(b"Max-Forwards: 5", method=b"OPTIONS")
    assert b"Max-Forwards: 4\r\n" in section(head)
    assert b"Max-Forwards: 5\r\n" in section(RequestHead(b"GET", b"/", 1, head.fields))
    assert b"Max-Forwards: 4\r\n" in section(head)


def test_the_order_of_the_index_does_not_matter() -> None:
    """Whoever has changed fields may have made theirs in another."""
    lines = [(b"Host", b"h"), (b"Proxy-Authorization", b"Basic x"), (b"Accept", b"a"), (b"Keep-Alive", b"5")]
    index = {name.lower(): value for name, value in reversed(lines)}
    head = RequestHead(b"GET", b"http://h/", 1, Fields.indexed(lines, {**index}))
    assert forwarded_request_lines(head, b"h", b"proxy") == [HOST, (b"Accept", b"a"), VIA]
    response = ResponseHead(200, b"", 1, Fields.indexed(lines, {**index}))
    assert forwarded_response_lines(response, b"GET", b"", b"", 1, False)[2] == (b"Accept", b"a")
