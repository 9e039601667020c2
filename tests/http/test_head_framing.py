"""How the content of a request is framed, and whether a 100 (Continue) is awaited."""

from __future__ import annotations

import pytest

from twistedproxy.errors import ExpectationFailed, FramingError, ProxyError, RequestError, TransferCodingNotImplemented
from twistedproxy.http.head import HeadLimits, parse_request_head
from twistedproxy.http.message import CHUNKED, RequestHead


def parse(*lines: bytes, version: bytes = b"HTTP/1.1") -> RequestHead:
    head = b"POST / " + version + b"\r\nHost: h\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    return parse_request_head(head, HeadLimits())


def refused(*lines: bytes, version: bytes = b"HTTP/1.1") -> tuple[type[ProxyError], int, str]:
    """The error that a head with these field lines is refused with: its class, status and detail."""
    with pytest.raises(RequestError) as raised:
        parse(*lines, version=version)
    return type(raised.value), raised.value.status, raised.value.detail


# ---------------------------------------------------------------- Content-Length (RFC 9110 section 8.6)


@pytest.mark.parametrize(
    ("line", "length"),
    [
        (b"Content-Length: 0", 0),
        (b"Content-Length: 5", 5),
        (b"content-length:5", 5),
        (b"CONTENT-LENGTH:\t 5 \t", 5),
        (b"Content-Length: 0000000000000000005", 5),
        (b"Content-Length: 9999999999999999999", 9999999999999999999),
    ],
)
def test_content_length(line: bytes, length: int) -> None:
    for version in (b"HTTP/1.0", b"HTTP/1.1"):
        assert parse(line, version=version).length == length


# RFC 9112 section 6.3, rule 5; digits are counted before they are read.
@pytest.mark.parametrize(
    "value",
    [
        *(
            b"",
            b"+5",
            b"-5",
            b"-0",
            b"0x5",
            b"5x",
            b"x5",
            b"5 5",
            b"5,5",
            b"5, 5",
            b"5,",
            b",5",
            b"5;",
            b"5.0",
            b"5e1",
            b"5_0",
        ),
        *(
            b"00000000000000000005",
            b"99999999999999999999",
            b"1" * 1000,
            b"1" * 60_000,
            b"\xb2",
            "٥".encode(),
            b'"5"',
            b"five",
        ),
    ],
)
def test_bad_content_length(value: bytes) -> None:
    for version in (b"HTTP/1.0", b"HTTP/1.1"):
        assert refused(b"Content-Length: " + value, version=version) == (
            FramingError,
            400,
            "the Content-Length is not a number of 1 to 19 digits",
        )


@pytest.mark.parametrize("second", [b"5", b"6", b"", b"x"])
def test_two_content_lengths(second: bytes) -> None:
    """RFC 9110 section 8.6 would let equal ones pass; recipients behind us may not see them as we do."""
    assert refused(b"Content-Length: 5", b"X: y", b"content-length: " + second) == (
        FramingError,
        400,
        "there is more than one Content-Length field",
    )


# ---------------------------------------------------------------- Transfer-Encoding (RFC 9112 sections 6.1 and 6.3)


@pytest.mark.parametrize(
    "lines",
    [
        (b"Transfer-Encoding: chunked",),
        # RFC 9112 section 7: names of codings are case-insensitive.
        (b"TRANSFER-ENCODING:CHUNKED",),
        (b"transfer-encoding: cHuNkEd",),
        # RFC 9110 section 5.6.3.
        (b"Transfer-Encoding:\tchunked\t ",),
        # RFC 9110 section 5.6.1: empty members are none.
        (b"Transfer-Encoding: ,chunked",),
        (b"Transfer-Encoding: chunked , ,",),
        (b"Transfer-Encoding:", b"Transfer-Encoding: chunked"),
    ],
)
def test_chunked(lines: tuple[bytes, ...]) -> None:
    assert parse(*lines).length == CHUNKED


# Section 6.3, rule 4: without chunked at its end the request has no known length. It is no excuse that the coding is
# one that we do not know (section 6.1).
@pytest.mark.parametrize(
    "lines",
    [
        (b"Transfer-Encoding:",),
        (b"Transfer-Encoding: ,",),
        (b"Transfer-Encoding: identity",),
        (b"Transfer-Encoding: gzip",),
        (b"Transfer-Encoding: xchunked",),
        (b"Transfer-Encoding: chunkedx",),
        (b"Transfer-Encoding: chunked, chunked",),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked, gzip",),
        (b"Transfer-Encoding: chunked, identity",),
        (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
        (b"Transfer-Encoding: chunked, gzip, chunked",),
        (b"Transfer-Encoding: chunked;q=1",),
        (b"Transfer-Encoding: chunked chunked",),
        (b"Transfer-Encoding: x chunked",),
        (b'Transfer-Encoding: "chunked"',),
        (b'Transfer-Encoding: chunked"',),
        (b'Transfer-Encoding: "chunked',),
        (b'Transfer-Encoding: ", chunked',),
        (b'Transfer-Encoding: ", ", chunked',),
        (b"Transfer-Encoding: 'chunked'",),
        (b"Transfer-Encoding: (gzip), chunked",),
        (b"Transfer-Encoding: \xa0chunked",),
        (b"Transfer-Encoding: chunked\x85",),
        (b"Transfer-Encoding: chun ked",),
    ],
)
def test_chunked_is_not_last(lines: tuple[bytes, ...]) -> None:
    assert refused(*lines) == (FramingError, 400, "chunked is not the last transfer coding, and only that")


@pytest.mark.parametrize(
    "lines",
    [
        (b"Transfer-Encoding: gzip, chunked",),
        (b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: identity, chunked",),
        (b"Transfer-Encoding: x;a=b , y, Chunked",),
    ],
)
def test_other_codings(lines: tuple[bytes, ...]) -> None:
    """Section 6.1: 501 for codings that are not known, where the length of the content is."""
    assert refused(*lines) == (
        TransferCodingNotImplemented,
        501,
        "the only transfer coding that this proxy knows is chunked",
    )


@pytest.mark.parametrize("length", [b"5", b"0", b"x", b""])
def test_both_transfer_encoding_and_content_length(length: bytes) -> None:
    """Section 6.1: an attempt at smuggling, most likely; it is refused in either order, whatever they say."""
    lines = (b"Content-Length: " + length, b"Transfer-Encoding: chunked")
    for order in (lines, lines[::-1]):
        assert refused(*order) == (
            FramingError,
            400,
            "the request has both a Transfer-Encoding and a Content-Length",
        )


@pytest.mark.parametrize("coding", [b"chunked", b"identity", b"gzip", b""])
def test_transfer_encoding_in_http_1_0(coding: bytes) -> None:
    """Section 6.1: its framing is faulty."""
    assert refused(b"Transfer-Encoding: " + coding, version=b"HTTP/1.0") == (
        FramingError,
        400,
        "an HTTP/1.0 request has a Transfer-Encoding",
    )


def test_no_framing_is_no_content() -> None:
    """Section 6.3, rule 7; and names that only look like those that frame do not."""
    assert parse().length == 0
    assert parse(b"Transfer_Encoding: chunked", b"X-Content-Length: 5", b"Content_Length: 5").length == 0


# ---------------------------------------------------------------- Expect


@pytest.mark.parametrize(
    ("lines", "version", "expects"),
    [
        ((), b"HTTP/1.1", False),
        ((b"Expect: 100-continue",), b"HTTP/1.1", True),
        ((b"expect:100-CONTINUE",), b"HTTP/1.1", True),
        ((b"Expect: 100-continue, ,100-Continue",), b"HTTP/1.1", True),
        ((b"Expect: 100-continue", b"Expect: 100-continue"), b"HTTP/1.1", True),
        # RFC 9110 section 10.1.1: from an HTTP/1.0 client it means nothing.
        ((b"Expect: 100-continue",), b"HTTP/1.0", False),
    ],
)
def test_expectation(lines: tuple[bytes, ...], version: bytes, expects: bool) -> None:
    assert parse(b"Content-Length: 5", *lines, version=version).expects_continue is expects


@pytest.mark.parametrize(
    "lines",
    [
        (b"Expect: 200-ok",),
        (b"Expect: 100-continue, 200-ok",),
        (b"Expect: 100-continue", b"Expect: x"),
        (b"Expect: 100-continue;q=1",),
        (b'Expect: "100-continue"',),
        (b"Expect: 100-continued",),
        (b"Expect:",),
        (b"Expect: ,",),
    ],
)
def test_other_expectations(lines: tuple[bytes, ...]) -> None:
    """RFC 9110 section 10.1.1: 417."""
    assert refused(b"Content-Length: 5", *lines) == (
        ExpectationFailed,
        417,
        "the only expectation that this proxy knows is 100-continue",
    )
