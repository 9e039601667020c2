"""Heads of responses: the status line, the field lines, and how the content is framed."""

from __future__ import annotations

import pytest

from twistedproxy.errors import ResponseError, ResponseHeadTooLarge
from twistedproxy.http.head import HeadLimits, parse_response_head, parse_trailers
from twistedproxy.http.message import CHUNKED, UNTIL_CLOSE, Fields, ResponseHead

LIMITS = HeadLimits()

INVALID = "the status line is not valid"


def parse(start: bytes, *lines: bytes, method: bytes = b"GET") -> ResponseHead:
    head = start + b"\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    return parse_response_head(head, LIMITS, method)


def refused(start: bytes, *lines: bytes) -> str:
    """What is wrong with the head; it is the origin's mistake, so it gives a 502."""
    with pytest.raises(ResponseError) as raised:
        parse(start, *lines)
    assert type(raised.value) is ResponseError
    assert raised.value.status == 502
    assert raised.value.proxy_status == "http_protocol_error"
    return raised.value.detail


# ---------------------------------------------------------------- the status line (RFC 9112 section 4)


@pytest.mark.parametrize(
    ("line", "status", "phrase", "minor"),
    [
        (b"HTTP/1.1 200 OK", 200, b"OK", 1),
        (b"HTTP/1.0 404 Not Found", 404, b"Not Found", 0),
        (b"HTTP/1.1 200 ", 200, b"", 1),
        # The space is a MUST for the server; without it and without a phrase nothing is in doubt.
        (b"HTTP/1.1 200", 200, b"", 1),
        (b"HTTP/1.2 200 OK", 200, b"OK", 1),
        (b"HTTP/1.9 200 OK", 200, b"OK", 1),
        (b"HTTP/1.1 599 \tA  b\xc3\xa9\xff ", 599, b"\tA  b\xc3\xa9\xff ", 1),
        (b"HTTP/1.1 299 HTTP/1.1 200 OK", 299, b"HTTP/1.1 200 OK", 1),
        (b"HTTP/1.1 200 " + b"x" * 10_000, 200, b"x" * 10_000, 1),
    ],
)
def test_status_line(line: bytes, status: int, phrase: bytes, minor: int) -> None:
    head = parse(line)
    assert (head.status, head.phrase, head.minor) == (status, phrase, minor)
    assert type(head.phrase) is bytes


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        *((line, INVALID) for line in (b"", b"HTTP", b"HTTP/", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 OK", b"200 OK")),
        *((line, INVALID) for line in (b"ICY 200 OK", b"http/1.1 200 OK", b" HTTP/1.1 200 OK", b"XHTTP/1.1 200 OK")),
        *((line, INVALID) for line in (b"HTTP/1 200 OK", b"HTTP/1.10 200 OK", b"HTTP/11 200 OK", b"HTTP /1.1 200 OK")),
        *(
            (line, INVALID)
            for line in (b"HTTP/1.1  200 OK", b"HTTP/1.1\t200 OK", b"HTTP/1.1 200\tOK", b"HTTP/1.1 200OK")
        ),
        # RFC 9110 section 15: a status code has three digits, from 100 to 599.
        *(
            (b"HTTP/1.1 " + code + b" OK", INVALID)
            for code in (b"99", b"099", b"600", b"999", b"2000", b"-20", b"+200")
        ),
        *((b"HTTP/1.1 " + code + b" OK", INVALID) for code in (b"0x1", b"20", b"2 0", b"\xb2\xb2\xb2", b"1e2")),
        (b"HTTP/1.1 200 O\x00K", "there is a control character"),
        (b"HTTP/1.1 200 OK\x7f", "there is a control character"),
        (b"HTTP/1.1 200\x0bOK", "there is a control character"),
        (b"HTTP/1.1 200 OK\nX: y", "a line does not end with CR LF"),
        (b"HTTP/1.1 200 OK\rX: y", "a line does not end with CR LF"),
        (b"HTTP/1.1 200 OK\r", "a line does not end with CR LF"),
        (b"\nHTTP/1.1 200 OK", INVALID),
        (b"<html>", INVALID),
        (b"\x00", INVALID),
        (b"HTTP/2.0 200 OK", "the answer's version is 2.0"),
        (b"HTTP/0.9 200 OK", "the answer's version is 0.9"),
    ],
)
def test_bad_status_line(line: bytes, detail: str) -> None:
    assert refused(line) == detail


# ---------------------------------------------------------------- field lines (RFC 9112 section 5)


def test_field_lines() -> None:
    """Order and case as received, repeated lines apart (RFC 9110 section 5.3), nothing of the white space around."""
    head = parse(b"HTTP/1.1 200 OK", b"SET-cookie: a=1", b"X:", b"Set-Cookie:\tb=2 \t", b"X-Latin: \xe9  \xff")
    assert head.fields == Fields(
        [(b"SET-cookie", b"a=1"), (b"X", b""), (b"Set-Cookie", b"b=2"), (b"X-Latin", b"\xe9  \xff")]
    )
    assert {type(part) for line in head.fields.lines for part in line} == {bytes}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"X : y", (b"X", b"y")),
        (b"X\t: y", (b"X", b"y")),
        (b"X \t \t:y ", (b"X", b"y")),
        (b"X :", (b"X", b"")),
    ],
)
def test_white_space_before_the_colon_is_taken_away(line: bytes, expected: tuple[bytes, bytes]) -> None:
    """Section 5.1; also where the field frames, so that we and the client see the same content."""
    assert parse(b"HTTP/1.1 200 OK", line).fields.lines == [expected]
    assert parse_trailers(line + b"\r\n\r\n", LIMITS, request=False).lines == [expected]
    assert parse(b"HTTP/1.1 200 OK", b"Content-Length : 5").length == 5
    assert parse(b"HTTP/1.1 200 OK", b"Transfer-Encoding \t: chunked").length == CHUNKED


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        # Section 5.2.
        (b"X: y\r\n z", "a field line begins with white space (a folded line)"),
        (b" X: y", "a field line begins with white space (a folded line)"),
        (b"\t", "a field line begins with white space (a folded line)"),
        # Section 2.2, RFC 9110 section 5.5.
        (b"X: y\nZ: a", "a line does not end with CR LF"),
        (b"X: y\rZ: a", "a line does not end with CR LF"),
        (b"X: y\r", "a line does not end with CR LF"),
        (b"X: \x00", "there is a control character"),
        (b"X: a\x1b[31m", "there is a control character"),
        (b"X: \x7f", "there is a control character"),
        (b"X", "a field line has no colon"),
        (b"X y", "a field line has no colon"),
        (b": y", "a field's name is not a token"),
        (b" : y", "a field line begins with white space (a folded line)"),
        (b"X Y: z", "a field's name is not a token"),
        (b"X(Y): z", "a field's name is not a token"),
        (b"X\xff: z", "a field's name is not a token"),
        # What is allowed before is not blamed.
        (b"A : b\r\n(X): y", "a field's name is not a token"),
    ],
)
@pytest.mark.parametrize("before", [(), (b"A : b",), (b"A: b ", b"C: d")])
def test_bad_field_line(before: tuple[bytes, ...], line: bytes, detail: str) -> None:
    assert refused(b"HTTP/1.1 200 OK", *before, line) == detail
    assert refused(b"HTTP/1.1 200 OK", *before, line, b"E: f") == detail
    with pytest.raises(ResponseError) as raised:
        parse_trailers(b"\r\n".join((*before, line, b"\r\n")), LIMITS, request=False)
    assert raised.value.detail == detail


def test_number_of_fields() -> None:
    assert len(parse(b"HTTP/1.1 200 OK", *[b"X: y"] * 128).fields.lines) == 128
    with pytest.raises(ResponseHeadTooLarge) as raised:
        parse(b"HTTP/1.1 200 OK", *[b"X: y"] * 129)
    assert raised.value.detail == "there are 129 fields, more than 128"
    assert (raised.value.status, raised.value.proxy_status) == (502, "http_response_header_section_size")
    with pytest.raises(ResponseHeadTooLarge):
        parse_trailers(b"X: y\r\n" * 129 + b"\r\n", LIMITS, request=False)


# ---------------------------------------------------------------- framing (RFC 9112 section 6.3)


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        ((), UNTIL_CLOSE),
        ((b"Content-Length: 0",), 0),
        ((b"Content-Length: 5",), 5),
        ((b"content-length:\t0005 ",), 5),
        ((b"Content-Length: 9999999999999999999",), 9999999999999999999),
        # Rule 5: a list of one number is that number.
        ((b"Content-Length: 5, 5",), 5),
        ((b"Content-Length: 5", b"Content-Length: 5"), 5),
        ((b"Content-Length: 5 ,5", b"content-length: 5"), 5),
        ((b"Content-Length: ,5,",), 5),
        ((b"Transfer-Encoding: chunked",), CHUNKED),
        ((b"transfer-encoding:\tCHUNKED ",), CHUNKED),
        ((b"Transfer-Encoding: , chunked",), CHUNKED),
        ((b"Transfer_Encoding: chunked", b"X-Content-Length: 5"), UNTIL_CLOSE),
    ],
)
def test_length(lines: tuple[bytes, ...], length: int) -> None:
    head = parse(b"HTTP/1.1 200 OK", *lines)
    assert head.length == length
    # Rule 8: what goes on until the close is the connection's last.
    assert head.keep_alive is (length != UNTIL_CLOSE)


@pytest.mark.parametrize("method", [b"GET", b"POST", b"head", b"PURGE"])
def test_method_decides_only_for_head(method: bytes) -> None:
    assert parse(b"HTTP/1.1 200 OK", b"Content-Length: 5", method=method).length == 5


@pytest.mark.parametrize(
    "value",
    [
        *(
            b"",
            b"+5",
            b"-5",
            b"0x5",
            b"5 5",
            b"5.0",
            b"5;",
            b"5_0",
            b"00000000000000000005",
            b"9" * 20,
            b"1" * 60_000,
            b"five",
        ),
        *(b"5, 6", b"5, 05", b"5, x", b"5,+5", b'"5"', b'5"', b",", b"\xb2"),
    ],
)
def test_bad_content_length(value: bytes) -> None:
    """Rule 5: 502."""
    detail = "the answer's Content-Length is not one number of 1 to 19 digits"
    assert refused(b"HTTP/1.1 200 OK", b"Content-Length: " + value) == detail
    assert (
        refused(b"HTTP/1.1 200 OK", b"Content-Length: 7", b"Content-Length: " + (value.strip(b",") or b"8")) == detail
    )


@pytest.mark.parametrize(
    "lines",
    [
        (b"Transfer-Encoding:",),
        (b"Transfer-Encoding: identity",),
        (b"Transfer-Encoding: gzip",),
        (b"Transfer-Encoding: gzip, chunked",),
        (b"Transfer-Encoding: chunked, gzip",),
        (b"Transfer-Encoding: chunked, chunked",),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: xchunked",),
        (b"Transfer-Encoding: chunked;a=b",),
        (b'Transfer-Encoding: chunked"',),
        (b'Transfer-Encoding: "chunked"',),
        (b"Transfer-Encoding: \xa0chunked",),
    ],
)
def test_other_codings(lines: tuple[bytes, ...]) -> None:
    """RFC 9112 section 6.1: we send no TE that would allow another."""
    assert refused(b"HTTP/1.1 200 OK", *lines) == "the answer has a transfer coding other than chunked"


@pytest.mark.parametrize("length", [b"5", b"0", b"x"])
def test_both_transfer_encoding_and_content_length(length: bytes) -> None:
    """Rule 3: it ought to be handled as an error."""
    lines = (b"Transfer-Encoding: chunked", b"Content-Length: " + length)
    for order in (lines, lines[::-1]):
        assert refused(b"HTTP/1.1 200 OK", *order) == "the answer has both a Transfer-Encoding and a Content-Length"


def test_transfer_encoding_in_http_1_0() -> None:
    """RFC 9112 section 6.1."""
    assert refused(b"HTTP/1.0 200 OK", b"Transfer-Encoding: chunked") == "an HTTP/1.0 answer has a Transfer-Encoding"


FRAMING = [
    (),
    (b"Content-Length: 5",),
    (b"Content-Length: x",),
    (b"Content-Length: 5", b"Content-Length: 6"),
    (b"Transfer-Encoding: chunked",),
    (b"Transfer-Encoding: gzip",),
    (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
]


@pytest.mark.parametrize("lines", FRAMING)
@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
@pytest.mark.parametrize(
    ("status", "method"),
    [
        *((status, b"GET") for status in (b"100", b"101", b"103", b"199", b"204", b"304")),
        *((status, b"HEAD") for status in (b"200", b"204", b"304", b"404", b"500")),
    ],
)
def test_no_content(status: bytes, method: bytes, version: bytes, lines: tuple[bytes, ...]) -> None:
    """Rule 1: responses that have no content, whatever their fields say."""
    head = parse(version + b" " + status + b" X", *lines, method=method)
    assert head.length == 0
    assert head.keep_alive is (version == b"HTTP/1.1")


@pytest.mark.parametrize(
    ("version", "line", "options", "kept"),
    [
        (b"HTTP/1.1", b"Connection: keep-alive", frozenset({b"keep-alive"}), True),
        (b"HTTP/1.1", b"Connection: x, CLOSE", frozenset({b"x", b"close"}), False),
        (b"HTTP/1.0", b"Connection: keep-alive", frozenset({b"keep-alive"}), False),
        (b"HTTP/1.1", b"Keep-Alive: timeout=5", frozenset(), True),
    ],
)
def test_connection_options(version: bytes, line: bytes, options: frozenset[bytes], kept: bool) -> None:
    """RFC 9110 section 7.6.1, RFC 9112 section 9.3."""
    head = parse(version + b" 200 OK", b"Content-Length: 5", line)
    assert (head.options, head.keep_alive) == (options, kept)


# ---------------------------------------------------------------- the answer to CONNECT (RFC 9110 section 9.3.6)


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (b"Content-Length: 5",),
        (b"Content-Length: five",),
        (b"Transfer-Encoding: chunked",),
        (b"Transfer-Encoding: gzip", b"Content-Length: 1", b"Content-Length: 2"),
    ],
)
@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK", b"HTTP/1.0 200 Connection established", b"HTTP/1.1 299"])
def test_a_good_answer_to_connect_has_no_content(start: bytes, lines: tuple[bytes, ...]) -> None:
    assert parse(start, *lines, method=b"CONNECT").length == 0


def test_any_other_answer_to_connect_has_content() -> None:
    assert parse(b"HTTP/1.1 403 Forbidden", b"Content-Length: 5", method=b"CONNECT").length == 5
    assert parse(b"HTTP/1.1 502 Bad Gateway", b"Transfer-Encoding: chunked", method=b"CONNECT").length == CHUNKED
    assert parse(b"HTTP/1.1 302 Found", method=b"CONNECT").length == UNTIL_CLOSE
