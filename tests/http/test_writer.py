"""Messages as bytes (RFC 9112)."""

from __future__ import annotations

from twistedproxy.http.writer import (
    LAST_CHUNK,
    chunk_bytes,
    field_section,
    last_chunk_bytes,
    request_bytes,
    response_bytes,
)

LINES = [(b"Host", b"h"), (b"X-Empty", b""), (b"set-cookie", b"a=1"), (b"Set-Cookie", b"b=2")]
WRITTEN = b"Host: h\r\nX-Empty: \r\nset-cookie: a=1\r\nSet-Cookie: b=2\r\n"


def test_request() -> None:
    """RFC 9112 sections 2.3, 3 and 5: our version; order and case as given."""
    assert request_bytes(b"GET", b"/a?b", field_section(LINES)) == b"GET /a?b HTTP/1.1\r\n" + WRITTEN + b"\r\n"
    assert request_bytes(b"OPTIONS", b"*", field_section(iter(LINES))) == b"OPTIONS * HTTP/1.1\r\n" + WRITTEN + b"\r\n"


def test_response() -> None:
    assert response_bytes(200, b"OK", LINES) == b"HTTP/1.1 200 OK\r\n" + WRITTEN + b"\r\n"


def test_response_without_a_phrase() -> None:
    """RFC 9112 section 4: the space is there all the same."""
    assert response_bytes(204, b"", LINES) == b"HTTP/1.1 204 \r\n" + WRITTEN + b"\r\n"


def test_no_fields() -> None:
    assert request_bytes(b"GET", b"/", field_section([])) == b"GET / HTTP/1.1\r\n\r\n"
    assert response_bytes(404, b"Not Found", ()) == b"HTTP/1.1 404 Not Found\r\n\r\n"


def test_chunk() -> None:
    """RFC 9112 section 7.1: sizes are hexadecimal."""
    assert chunk_bytes(b"hello") == b"5\r\nhello\r\n"
    assert chunk_bytes(b"\r\n") == b"2\r\n\r\n\r\n"
    assert chunk_bytes(b"x" * 0xABC) == b"abc\r\n" + b"x" * 0xABC + b"\r\n"


def test_last_chunk() -> None:
    assert last_chunk_bytes([]) == b"0\r\n\r\n" == LAST_CHUNK
    assert last_chunk_bytes(LINES) == b"0\r\n" + WRITTEN + b"\r\n"
