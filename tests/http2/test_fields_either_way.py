"""From one version to the other: what is accepted in one is the same one message in the other."""

from __future__ import annotations

from time import perf_counter

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.fuzz.invariants import VIA, check_forwarded_request, check_forwarded_response
from tests.fuzz.reading import Message
from twistedproxy.errors import ProxyError
from twistedproxy.http.head import HeadLimits, parse_request_head, parse_response_head
from twistedproxy.http.message import CHUNKED, FieldLine, Fields, RequestHead
from twistedproxy.http.target import Form, parse_target
from twistedproxy.http.writer import field_section, request_bytes, response_bytes
from twistedproxy.http2.fields import (
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

# What HTTP/1.1 is taken apart by, and pieces of whole messages.
SEPARATORS = [b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"#", b"?", b"/", b"@", b"\\", b'"', b"*"]
WORDS = rb"%0a a A 0 5 h GET/ chunked close http://evil/ [::1] :80 h:443 https websocket 100-continue".split()
NASTY = st.lists(
    st.sampled_from([*SEPARATORS, *WORDS, b"\xff", b"\x7f", b"x: y", b" HTTP/1.1", b"\r\n\r\n", b"0\r\n\r\n"]),
    max_size=3,
).map(b"".join)
KNOWN = b"host content-length transfer-encoding connection te cookie expect upgrade via max-forwards trailer keep-alive"
NAMES = st.sampled_from([*KNOWN.split(), b"a", b"proxy-connection", b"http2-settings", b":path", b":status"])
VALUES = st.sampled_from([b"", b"h", b"0", b"3", b"trailers", b"chunked", b"a=b", b"100-continue", b"x, y"])
LINES = st.lists(st.tuples(NAMES | NASTY, VALUES | NASTY), max_size=5)
METHODS = st.sampled_from([b"GET", b"POST", b"CONNECT", b"OPTIONS", b"TRACE", b"HEAD", b"get"]) | NASTY
SCHEMES = st.sampled_from([b"http", b"https", b"HTTPS", b"ftp"]) | NASTY
AUTHORITIES = st.sampled_from([b"h", b"h:80", b"[::1]:1", b"h.", b"h:"]) | NASTY
PATHS = st.sampled_from([b"/", b"*", b"/a?b"]) | NASTY.map(lambda path: b"/" + path) | NASTY


@st.composite
def blocks(draw: st.DrawFn) -> list[FieldLine]:
    """Field blocks that look like requests, more or less."""
    pseudo: list[FieldLine] = [
        (b":method", draw(METHODS)),
        (b":scheme", draw(SCHEMES)),
        (b":authority", draw(AUTHORITIES)),
        (b":path", draw(PATHS)),
    ]
    if draw(st.booleans()):
        pseudo.pop(draw(st.integers(0, 3)))
    if draw(st.integers(0, 4)) == 0:
        pseudo.append((b":protocol", draw(st.just(b"websocket") | NASTY)))
    return pseudo + draw(LINES)


@settings(max_examples=250)
@given(blocks(), st.booleans(), st.binary(max_size=3), LINES)
@example(
    [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"h"), (b":path", b"/"), (b"a", b"x\r\nb: c")],
    True,
    b"",
    [],
)
def test_what_is_accepted_is_one_and_the_same_request_in_http1(
    block: list[FieldLine], ended: bool, content: bytes, after: list[FieldLine]
) -> None:
    try:
        head = request_head(block, ended, LIMITS)
        trailers = request_trailers(after, LIMITS)
    except ProxyError:
        return
    if head.length >= 0:
        content = (content * head.length)[: head.length] if head.length <= 5 else b""
        if len(content) < head.length:
            return
    check_forwarded_request(Message(head, content, trailers.lines))


@settings(max_examples=150)
@given(st.sampled_from([b"200", b"204", b"304", b"103", b"404"]) | NASTY, LINES, st.booleans(), st.binary(max_size=3))
def test_what_is_accepted_is_one_and_the_same_response_in_http1(
    status: bytes, lines: list[FieldLine], ended: bool, content: bytes
) -> None:
    for method in (b"GET", b"HEAD"):
        try:
            head = response_head([(b":status", status), *lines], ended, method, LIMITS)
        except ProxyError:
            continue
        if head.length >= 0:
            content = (content * head.length)[: head.length] if head.length <= 5 else b""
            if len(content) < head.length:
                continue
        check_forwarded_response(Message(head, content, []), method)


TOKEN = st.text("abcXYZ-_!1", min_size=1, max_size=8).map(str.encode)
TEXT = st.binary(max_size=12).map(lambda value: bytes(octet for octet in value if octet > 31 and octet != 127).strip())
# Fields whose names no rule knows: what those do is told by tables.
PLAIN = st.lists(st.tuples(st.sampled_from([b"X-", b"y"]).flatmap(lambda start: TOKEN.map(start.__add__)), TEXT))


@given(
    TOKEN,
    st.sampled_from([b"h", b"Example.com:81", b"[::1]"]),
    st.sampled_from([b"/", b"/a?b=%00&c", b"/" + b"x" * 300]),
    PLAIN,
    st.sampled_from([b"", b"Content-Length: 7\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"]),
    st.sampled_from([b"", b"Cookie: a=b; c=d\r\n", b"TE: trailers\r\nConnection: te\r\n"]),
)
def test_a_request_of_http1_is_the_same_in_http2(
    method: bytes, host: bytes, path: bytes, lines: list[FieldLine], framing: bytes, more: bytes
) -> None:
    data = request_bytes(method, b"http://" + host + path, field_section([(b"Host", host), *lines]))
    first = parse_request_head(data[:-2] + framing + more + b"\r\n", LIMITS)
    target = parse_target(first.method, first.target)
    block = request_block(first, target, VIA)
    second = request_head(block, not first.length, LIMITS)
    assert (second.method, parse_target(second.method, second.target)) == (method, target)
    assert second.length == first.length
    plain = [(name.lower(), value) for name, value in lines]
    assert second.fields.lines[: len(plain)] == plain
    rest = dict(second.fields.lines[len(plain) :])
    expected = {b"via": b"1.1 " + VIA}
    if first.length > 0 or framing.endswith(b" 0\r\n"):
        expected[b"content-length"] = b"%d" % first.length
    if b"Cookie" in more:
        expected[b"cookie"] = b"a=b; c=d"
    if b"TE" in more:
        expected[b"te"] = b"trailers"
    assert rest == expected


@given(
    st.sampled_from([200, 204, 206, 304, 404, 500, 103]),
    PLAIN,
    st.sampled_from([b"", b"Content-Length: 7\r\n", b"Transfer-Encoding: chunked\r\n"]),
    st.sampled_from([b"GET", b"HEAD"]),
)
def test_a_response_of_http1_is_the_same_in_http2(
    status: int, lines: list[FieldLine], framing: bytes, method: bytes
) -> None:
    data = response_bytes(status, b"Phrase", lines)
    first = parse_response_head(data[:-2] + framing + b"\r\n", LIMITS, method)
    block = response_block(first, method, VIA, DATE)
    second = response_head(block, not first.length and status >= 200, method, LIMITS)
    assert second.status == status
    # Until the close, or in chunks: in HTTP/2 it ends when it ends.
    assert second.length == (first.length if first.length >= 0 else CHUNKED)
    plain = [(name.lower(), value) for name, value in lines]
    assert second.fields.lines[: len(plain)] == plain


@given(PLAIN)
def test_trailers_are_the_same_in_both(lines: list[FieldLine]) -> None:
    block = trailer_block(lines)
    assert block == [(name.lower(), value) for name, value in lines]
    assert request_trailers(block, LIMITS).lines == block
    assert response_trailers(block, LIMITS).lines == block


def test_an_extended_connect_goes_from_one_side_to_the_other() -> None:
    block: list[FieldLine] = [
        (b":method", b"CONNECT"),
        (b":protocol", b"websocket"),
        (b":scheme", b"https"),
        (b":authority", b"h"),
        (b":path", b"/chat"),
        (b"sec-websocket-version", b"13"),
    ]
    head = request_head(block, False, LIMITS)
    target = parse_target(head.method, head.target)
    assert target.form is Form.ABSOLUTE
    again = request_block(head, target, VIA, b"websocket")
    assert sorted(again) == sorted([*block, (b"via", b"2.0 " + VIA)])


def _seconds(block: list[FieldLine]) -> float:
    limits = HeadLimits(1 << 24, 1 << 20, 1 << 24)
    began = perf_counter()
    try:
        request_head(block, True, limits)
    except ProxyError:
        pass
    return perf_counter() - began


def test_the_cost_is_linear() -> None:
    get: list[FieldLine] = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"h"), (b":path", b"/")]
    for make in (
        lambda size: [*get, (b"a" * size, b"b")],
        lambda size: [*get, (b"a" * size + b" ", b"b")],
        lambda size: [*get, (b"a", b"b" * size + b"\0")],
        lambda size: [*get, (b"a", b" b" * size + b"\0")],
        lambda size: [*get, (b"a", b"b" + b" " * size + b"c")],
        lambda size: [*get, *[(b"a", b"b")] * (size // 32)],
        lambda size: [*get, *[(b"cookie", b"b")] * (size // 32)],
        lambda size: [*get, *[(b":x%d" % number, b"b") for number in range(size // 32)]],
        lambda size: [*get, (b"a," * size, b"b")],
        lambda size: [*get[:3], (b":path", b"/" * size + b" ")],
        lambda size: [*get[:2], (b":authority", b"a." * size), get[3]],
        lambda size: [(b":method", b"M" * size), *get[1:]],
        lambda size: [*get, (b"te", b"," * size)],
    ):
        few = min(_seconds(make(10_000)) for _ in range(3))
        many = min(_seconds(make(300_000)) for _ in range(3))
        # With the square of the size it would be 900 times as much.
        assert many < 200 * few + 0.02


def test_a_head_of_http2_is_one_of_http1_to_the_rest_of_the_proxy() -> None:
    head = RequestHead(b"GET", b"http://h/", 1, Fields([(b"Accept", b"x")]))
    block = request_block(head, parse_target(b"GET", b"http://h/"), VIA)
    again = request_head(block, True, LIMITS)
    assert (again.minor, again.keep_alive, again.target) == (1, True, b"http://h/")
