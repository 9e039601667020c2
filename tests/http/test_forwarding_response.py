"""What an intermediary changes in responses on their way (RFC 9110 section 7.6)."""

from __future__ import annotations

import pytest

from twistedproxy.http.forwarding import forwarded_response_lines
from twistedproxy.http.head import HeadLimits, parse_response_head
from twistedproxy.http.message import FieldLine

NOW = b"Sun, 06 Nov 1994 08:49:37 GMT"
DATE = (b"Date", NOW)
VIA = (b"Via", b"1.1 proxy")
CLOSE = (b"Connection", b"close")
CHUNKED = (b"Transfer-Encoding", b"chunked")


def forwarded(
    status: bytes, *lines: bytes, method: bytes = b"GET", version: bytes = b"1.1", minor: int = 1, close: bool = False
) -> list[FieldLine]:
    data = b"HTTP/" + version + b" " + status + b"\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    head = parse_response_head(data, HeadLimits(), method)
    return forwarded_response_lines(head, method, b"proxy", NOW, minor, close)


def test_order_case_and_repetition_stay() -> None:
    """RFC 9110 section 5.3: above all the lines of Set-Cookie, which must never be joined."""
    lines = forwarded(
        b"200 OK",
        b"server: s",
        b"Set-Cookie: a=1; Path=/",
        b"X-Z:",
        b"set-cookie: b=2, c",
        b"SET-COOKIE: a=1; Path=/",
        b"date: then",
        b"X-Latin: \xff",
        b"Content-Length: 5",
    )
    assert lines == [
        (b"server", b"s"),
        (b"Set-Cookie", b"a=1; Path=/"),
        (b"X-Z", b""),
        (b"set-cookie", b"b=2, c"),
        (b"SET-COOKIE", b"a=1; Path=/"),
        (b"date", b"then"),
        (b"X-Latin", b"\xff"),
        (b"Content-Length", b"5"),
        VIA,
    ]


@pytest.mark.parametrize(
    "line",
    [
        # RFC 9110 sections 10.2.1, 11.6.1, 12.5.5, 14.4; RFC 9111 section 5; RFC 9209 section 2.
        *(b"Allow: GET, , UNKNOWN", b'WWW-Authenticate: Basic realm="a"', b"Vary: *", b"Content-Range: x"),
        *(b"Cache-Control: unknown", b"Expires: 0", b"Age: 5", b"ETag: W/x", b"Proxy-Status: other", b"Trailer: X"),
        *(b"Proxy-Authenticate: Basic", b"Location: /a b", b"Content-Encoding: br", b'Alt-Svc: h3=":443"'),
    ],
)
def test_fields_from_end_to_end(line: bytes) -> None:
    name, _, value = line.partition(b": ")
    assert forwarded(b"200 OK", line, b"Content-Length: 5") == [(name, value), (b"Content-Length", b"5"), DATE, VIA]


@pytest.mark.parametrize(
    "line",
    [
        *(b"Connection: keep-alive", b"connection: close", b"Proxy-Connection: close", b"Keep-Alive: timeout=5"),
        *(b"TE: trailers", b"Upgrade: h2,h2c", b"UPGRADE: websocket"),
    ],
)
def test_fields_of_one_connection(line: bytes) -> None:
    """Section 7.6.1: the client's connection is another one."""
    assert forwarded(b"204 No Content", line, b"X: y", line) == [(b"X", b"y"), DATE, VIA]


def test_nominated_fields() -> None:
    """Section 7.6.1; but not those without which the response would mean something else."""
    lines = forwarded(
        b"200 OK",
        b"Connection: x-a, close, Via, Date, Content-Type, Content-Length",
        b"X-A: 1",
        b"X-B: 2",
        b"x-a: 3",
        b"Via: 1.0 fred",
        b"Date: then",
        b"Content-Type: a/b",
        b"Content-Length: 5",
    )
    assert lines == [
        (b"X-B", b"2"),
        (b"Via", b"1.0 fred"),
        (b"Date", b"then"),
        (b"Content-Type", b"a/b"),
        (b"Content-Length", b"5"),
        VIA,
    ]


@pytest.mark.parametrize(
    ("lines", "minor", "framing"),
    [
        ((b"content-length: 005",), 1, [(b"Content-Length", b"5")]),
        ((b"Content-Length: 5, 5", b"Content-Length: 5"), 1, [(b"Content-Length", b"5")]),
        ((b"Content-Length: 5",), 0, [(b"Content-Length", b"5")]),
        ((b"Content-Length: 0",), 1, [(b"Content-Length", b"0")]),
        ((b"Transfer-Encoding: CHUNKED",), 1, [CHUNKED]),
        ((), 1, [CHUNKED]),
        # RFC 9112 section 6.1: not to a client that is not known to read it.
        ((b"Transfer-Encoding: chunked",), 0, []),
        ((), 0, []),
    ],
)
def test_framing_is_written_anew(lines: tuple[bytes, ...], minor: int, framing: list[FieldLine]) -> None:
    """RFC 9112 section 6."""
    assert forwarded(b"200 OK", *lines, minor=minor) == [*framing, DATE, VIA]


@pytest.mark.parametrize(
    ("status", "method", "lines", "length"),
    [
        # RFC 9110 section 8.6: what a GET would have had.
        (b"200 OK", b"HEAD", (b"Content-Length: 5",), b"5"),
        (b"304 Not Modified", b"GET", (b"Content-Length: 5, 5",), b"5"),
        (b"200 OK", b"HEAD", (b"Content-Length: 0",), b"0"),
        # Not what cannot be believed, and nothing that was not there.
        (b"200 OK", b"HEAD", (b"Content-Length: 5", b"Content-Length: 6"), None),
        (b"200 OK", b"HEAD", (b"Content-Length: +5",), None),
        (b"200 OK", b"HEAD", (b"Content-Length:",), None),
        (b"304 Not Modified", b"GET", (b"Content-Length: 99999999999999999999",), None),
        (b"200 OK", b"HEAD", (b"Transfer-Encoding: chunked",), None),
        (b"200 OK", b"HEAD", (), None),
        # RFC 9110 section 8.6: never in these.
        (b"204 No Content", b"GET", (b"Content-Length: 5",), None),
        (b"204 No Content", b"HEAD", (b"Content-Length: 0", b"Transfer-Encoding: chunked"), None),
    ],
)
def test_length_without_content(status: bytes, method: bytes, lines: tuple[bytes, ...], length: bytes | None) -> None:
    """RFC 9112 section 6.1: nor is there a Transfer-Encoding."""
    framing = [] if length is None else [(b"Content-Length", length)]
    for minor in (0, 1):
        assert forwarded(status, *lines, method=method, minor=minor) == [*framing, DATE, VIA]


@pytest.mark.parametrize("status", [b"100 Continue", b"103 Early Hints", b"199 X"])
def test_interim_response(status: bytes) -> None:
    """RFC 9110 section 15.2, RFC 9112 section 6.1: no framing; and it says nothing of the connection's end."""
    lines = (b"Link: </a>", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Connection: close")
    assert forwarded(status, *lines, close=True) == [(b"Link", b"</a>"), VIA]


def test_switching_protocols() -> None:
    """RFC 9110 sections 7.8 and 15.2.2."""
    lines = (
        b"Connection: Upgrade, X",
        b"Sec-WebSocket-Accept: a",
        b"X: y",
        b"upgrade: a/1",
        b"Upgrade: ,b",
        b"Content-Length: 5",
    )
    assert forwarded(b"101 Switching Protocols", *lines) == [
        (b"Sec-WebSocket-Accept", b"a"),
        (b"Upgrade", b"a/1, b"),
        (b"Connection", b"Upgrade"),
        VIA,
    ]


@pytest.mark.parametrize(("close", "connection"), [(False, b"Upgrade"), (True, b"Upgrade, close")])
def test_upgrade_required(close: bool, connection: bytes) -> None:
    """RFC 9110 section 15.5.22: it must say to what."""
    assert forwarded(b"426 Upgrade Required", b"Upgrade: a", b"Content-Length: 0", close=close) == [
        (b"Content-Length", b"0"),
        (b"Upgrade", b"a"),
        (b"Connection", connection),
        DATE,
        VIA,
    ]
    assert (b"Upgrade", b"a") not in forwarded(b"426 Upgrade Required", b"Content-Length: 0", close=close)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_close(version: bytes) -> None:
    """RFC 9112 section 9.6: it is about the client's connection, whatever the origin said of its own."""
    for line in (b"Connection: close", b"Connection: keep-alive"):
        lines = (b"Content-Length: 5", line)
        via = (b"Via", version + b" proxy")
        length = (b"Content-Length", b"5")
        assert forwarded(b"200 OK", *lines, version=version) == [length, DATE, via]
        assert forwarded(b"200 OK", *lines, version=version, close=True) == [length, CLOSE, DATE, via]


def test_date() -> None:
    """RFC 9110 section 6.6.1: added where there is none, and left as it is where there is."""
    assert forwarded(b"204 No Content") == [DATE, VIA]
    assert forwarded(b"204 No Content", b"DATE: whatever") == [(b"DATE", b"whatever"), VIA]
    assert forwarded(b"204 No Content", b"Date:") == [(b"Date", b""), VIA]


@pytest.mark.parametrize(
    ("version", "written"), [(b"1.0", b"1.0 proxy"), (b"1.1", b"1.1 proxy"), (b"1.5", b"1.1 proxy")]
)
def test_via(version: bytes, written: bytes) -> None:
    """RFC 9110 section 7.6.3."""
    lines = forwarded(b"204 No Content", b"Via: 1.0 fred", b"via: 1.1 p (x, y)", version=version)
    assert lines == [(b"Via", b"1.0 fred"), (b"via", b"1.1 p (x, y)"), DATE, (b"Via", written)]
