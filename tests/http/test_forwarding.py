"""What changes in a message on its way, field by field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.run import one
from twistedproxy.http.forwarding import (
    forwarded_request_lines,
    forwarded_response_lines,
    forwarded_trailer_lines,
    max_forwards,
    upgrade_offered,
    via_names,
)
from twistedproxy.http.head import HeadLimits, parse_request_head, parse_response_head
from twistedproxy.http.message import Fields, RequestHead

VIA = (b"Via", b"1.1 us")


def request(*lines: bytes, method: bytes = b"GET", minor: bytes = b"1") -> RequestHead:
    start = method + b" http://a/ HTTP/1." + minor
    return parse_request_head(b"\r\n".join([start, b"Host: a", *lines, b"", b""]), HeadLimits())


def sent(*lines: bytes, method: bytes = b"GET", minor: bytes = b"1") -> list[tuple[bytes, bytes]]:
    """What is sent on, without the Host and our Via."""
    head = request(*lines, method=method, minor=minor)
    result = forwarded_request_lines(head, b"a", b"us", upgrade_offered(head))
    assert result[0] == (b"Host", b"a")
    assert result[-1] == (b"Via", b"1.%b us" % minor)
    return result[1:-1]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([b"x-B: 1", b"X-a: 2", b"X-A:"], [(b"x-B", b"1"), (b"X-a", b"2"), (b"X-A", b"")], id="9110 5.3"),
        pytest.param([b"Connection: x-hop, close", b"X-Hop: 1", b"X: 2"], [(b"X", b"2")], id="9110 7.6.1"),
        pytest.param(
            [b"Keep-Alive: 5", b"Proxy-Connection: keep-alive", b"Upgrade: a", b"TE: gzip"], [], id="9110 7.6.1, always"
        ),
        pytest.param([b"Connection: via, host", b"Via: 1.0 other"], [(b"Via", b"1.0 other")], id="9110 7.6.3"),
        pytest.param([b"Proxy-Authorization: Basic x", b"Authorization: y"], [(b"Authorization", b"y")], id="11.7.2"),
        pytest.param([b"TE: gzip, trailers"], [(b"TE", b"trailers"), (b"Connection", b"TE")], id="9110 10.1.4"),
        pytest.param(
            [b"Connection: upgrade", b"Upgrade: h2c, websocket", b"HTTP2-Settings: x"],
            [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")],
            id="9110 7.8",
        ),
        pytest.param([b"Content-Length: 0"], [(b"Content-Length", b"0")], id="an explicit zero"),
        pytest.param([b"Content-Length: 007"], [(b"Content-Length", b"7")], id="9110 8.6"),
        pytest.param([b"Transfer-Encoding: chunked"], [(b"Transfer-Encoding", b"chunked")], id="9112 7.1"),
        pytest.param([b"Expect: 100-continue"], [(b"Expect", b"100-continue")], id="9110 10.1.1"),
    ],
)
def test_request(lines: list[bytes], expected: list[tuple[bytes, bytes]]) -> None:
    assert sent(*lines) == expected


def test_http_1_0_offers_and_expects_nothing() -> None:
    assert sent(b"Connection: upgrade", b"Upgrade: websocket", b"Expect: 100-continue", minor=b"0") == []


def test_host_is_the_targets_in_its_place() -> None:
    head = parse_request_head(b"GET http://a/ HTTP/1.1\r\nX: 1\r\nHOST: evil\r\n\r\n", HeadLimits())
    assert forwarded_request_lines(head, b"a", b"us") == [(b"X", b"1"), (b"HOST", b"a"), VIA]


@pytest.mark.parametrize(
    ("method", "value", "hops"),
    [
        (b"TRACE", b"0", 0),
        (b"OPTIONS", b"007", 7),
        (b"OPTIONS", b"x", None),
        (b"OPTIONS", b"-1", None),
        (b"GET", b"0", None),
    ],
)
def test_max_forwards(method: bytes, value: bytes, hops: int | None) -> None:
    assert max_forwards(request(b"Max-Forwards: " + value, method=method)) == hops


def test_max_forwards_counts_down() -> None:
    assert sent(b"Max-Forwards: 3", method=b"OPTIONS") == [(b"Max-Forwards", b"2")]
    assert sent(b"Max-Forwards: 3") == [(b"Max-Forwards", b"3")]


def answered(head: bytes, *, method: bytes = b"GET", minor: int = 1, close: bool = False) -> list[tuple[bytes, bytes]]:
    parsed = parse_response_head(b"HTTP/1.1 " + head + b"\r\n\r\n", HeadLimits(), method)
    return forwarded_response_lines(parsed, method, b"us", b"now", minor, close)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        pytest.param(b"204 x\r\nContent-Length: 5\r\nDate: d", [(b"Date", b"d")], id="9110 8.6, 204"),
        pytest.param(b"304 x\r\nContent-Length: 5\r\nDate: d", [(b"Date", b"d"), (b"Content-Length", b"5")], id="304"),
        pytest.param(b"304 x\r\nContent-Length: 5, 6\r\nDate: d", [(b"Date", b"d")], id="304, two lengths"),
        pytest.param(b"200 x\r\nContent-Length: 5, 5\r\nDate: d", [(b"Date", b"d"), (b"Content-Length", b"5")], id="5"),
        pytest.param(b"200 x\r\nDate: d", [(b"Date", b"d"), (b"Transfer-Encoding", b"chunked")], id="until close"),
        pytest.param(b"204 x", [(b"Date", b"now")], id="9110 6.6.1"),
        pytest.param(b"103 x\r\nLink: l", [(b"Link", b"l")], id="interim"),
        pytest.param(
            b"204 x\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nDate: d",
            [(b"Set-Cookie", b"a"), (b"Set-Cookie", b"b"), (b"Date", b"d")],
            id="9110 5.3",
        ),
        pytest.param(b"204 x\r\nConnection: x-hop\r\nX-Hop: 1\r\nDate: d", [(b"Date", b"d")], id="9110 7.6.1"),
    ],
)
def test_response(head: bytes, expected: list[tuple[bytes, bytes]]) -> None:
    assert answered(head) == [*expected, VIA]


def test_response_to_http_1_0_has_no_chunks() -> None:
    lines = answered(b"200 x\r\nTransfer-Encoding: chunked\r\nDate: d", minor=0, close=True)
    assert lines == [(b"Date", b"d"), (b"Connection", b"close"), VIA]


def test_head_response_keeps_the_gets_length() -> None:
    lines = answered(b"200 x\r\nContent-Length: 9\r\nDate: d", method=b"HEAD")
    assert lines == [(b"Date", b"d"), (b"Content-Length", b"9"), VIA]


def test_trailers() -> None:
    trailers = Fields([(b"X-Sum", b"1"), (b"Content-Length", b"9"), (b"X-Hop", b"2"), (b"Host", b"evil")])
    assert forwarded_trailer_lines(trailers, frozenset((b"x-hop",))) == [(b"X-Sum", b"1")]


@pytest.mark.parametrize(
    ("via", "ours"),
    [(b"1.1 us", True), (b"1.0 a, HTTP/1.1 US (x)", True), (b"1.1 us2", False), (b"us", False), (b"", False)],
)
def test_via_names(via: bytes, ours: bool) -> None:
    assert via_names(Fields([(b"Via", via)]), b"us") is ours


@given(st.integers(0, 1 << 48))
def test_whatever_is_forwarded_is_one_message(seed: int) -> None:
    """The fuzzer's inputs: to our own reader and to h11, never two messages, never another."""
    one(seed)
