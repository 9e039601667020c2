"""The chunked transfer coding: chunks, extensions, trailers, and what is wrong with others (RFC 9112 section 7.1)."""

from __future__ import annotations

import pytest

from tests.fuzz.reading import Reading, octets, read_requests, read_responses
from twistedproxy.errors import (
    FramingError,
    HeadTooLarge,
    ProxyError,
    RequestError,
    ResponseError,
    ResponseHeadTooLarge,
)
from twistedproxy.http.head import HeadLimits
from twistedproxy.http.message import CHUNKED
from twistedproxy.http.reader import (
    MAX_CHUNK_EXTENSIONS,
    MAX_CHUNK_LINE,
)

LIMITS = HeadLimits()
POST = b"POST http://h/ HTTP/1.1\r\nHost: h\r\n"
CHUNKS = POST + b"Transfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"

NO_CHUNK_LINE = "a chunk's first line is not valid"
LONG_CHUNK_LINE = "a chunk's first line is longer than 4096 bytes"
LONG_CHUNK = "a chunk is longer than its size says"


def requests(data: bytes, limits: HeadLimits = LIMITS) -> Reading:
    """What becomes of the bytes, which must not depend on how they come."""
    whole = read_requests([data], limits)
    assert read_requests(octets(data), limits).described() == whole.described()
    return whole


def responses(data: bytes, *methods: bytes, limits: HeadLimits = LIMITS) -> Reading:
    whole = read_responses([data], methods, limits)
    assert read_responses(octets(data), methods, limits).described() == whole.described()
    return whole


def error_of(reading: Reading) -> tuple[type[ProxyError], str] | None:
    return None if reading.error is None else (type(reading.error), reading.error.detail)


@pytest.mark.parametrize(
    ("chunks", "content", "trailers"),
    [
        (b"0\r\n\r\n", b"", []),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello", []),
        (b"1\r\na\r\nA\r\n0123456789\r\n0b\r\nhello world\r\n000\r\n\r\n", b"a0123456789hello world", []),
        (b"000000000000000a\r\n0123456789\r\n0000000000000000\r\n\r\n", b"0123456789", []),
        (b"2\r\n\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n\r\n", []),
        # Section 7.1.1: extensions are read, and mean nothing.
        (b"5;a\r\nhello\r\n0;b=c\r\n\r\n", b"hello", []),
        (b'5 ; a = "\\"\r;" ;b\r\nhello\r\n0\r\n\r\n'.replace(b"\r;", b";"), b"hello", []),
        (b"5;" + b"e" * (MAX_CHUNK_LINE - 2) + b"\r\nhello\r\n0\r\n\r\n", b"hello", []),
        # Section 7.1.2.
        (b"0\r\nX: y\r\nx:\t z \r\nX-Empty:\r\n\r\n", b"", [(b"X", b"y"), (b"x", b"z"), (b"X-Empty", b"")]),
        # Forbidden ones are told apart when they are forwarded.
        (
            b"0\r\nContent-Length: 9\r\nHost: a\r\nHost: b\r\n\r\n",
            b"",
            [(b"Content-Length", b"9"), (b"Host", b"a"), (b"Host", b"b")],
        ),
    ],
)
def test_chunked_content(chunks: bytes, content: bytes, trailers: list[tuple[bytes, bytes]]) -> None:
    for reading in (requests(CHUNKS + chunks), responses(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)):
        assert error_of(reading) is None
        (message,) = reading.messages
        assert (message.head.length, message.content, message.trailers) == (CHUNKED, content, trailers)
        assert reading.closed == "in between"


@pytest.mark.parametrize(
    ("chunk", "content", "detail"),
    [
        *(
            (size + b"\r\n", b"", NO_CHUNK_LINE)
            for size in (b"", b" ", b"+5", b"-5", b"-1", b"0x5", b"5x", b"g", b"5.0")
        ),
        *(
            (size + b"\r\n", b"", NO_CHUNK_LINE)
            for size in (b" 5", b"5 ", b"\t5", b"5\t", b"5 5", b"5,5", b"5_5", b"\xb2")
        ),
        # 17 digits, whatever they are worth.
        *(
            (size + b"\r\n", b"", NO_CHUNK_LINE)
            for size in (b"f" * 17, b"0" * 17, b"00000000000000005", b"1" + b"0" * 16)
        ),
        *(
            (size + b"\r\n", b"", NO_CHUNK_LINE)
            for size in (b"5;", b"5;;a", b"5;a=", b"5;=b", b'5;a="', b"5;a b", b"5;a;")
        ),
        *(
            (size + b"\r\n", b"", NO_CHUNK_LINE)
            for size in (b"5;a\x00", b"5;a\x01", b'5;a="\x7f"', b"5;\xff", b"5 a", b"5:a")
        ),
        # Section 7.1, and 2.2 of RFC 9112: CR LF and nothing else ends a line.
        *(
            (line, b"", NO_CHUNK_LINE)
            for line in (b"5\nhello\r\n", b"5\rhello\r\n", b"5\r\r\n", b"5;a\nb\r\n", b"5;a\rb\r\n")
        ),
        *((line, b"", NO_CHUNK_LINE) for line in (b"5\n\r\n", b"\n", b"\r\n", b"\r", b"5\x00", b"5\x0b\r\n")),
        # Early, without an end of the line.
        *((line, b"", NO_CHUNK_LINE) for line in (b"hello", b"0123456789abcdef0", b"5x", b"GET / HTTP/1.1")),
        *(
            (b"5\r\nhello" + end, b"hello", LONG_CHUNK)
            for end in (b"!", b"\n", b"\n\r\n", b"\rx", b"\r\r\n", b" \r\n", b"0\r\n\r\n")
        ),
        (b"4\r\nhello\r\n", b"hell", LONG_CHUNK),
        (b"6\r\nhello\r\n0\r\n\r\n", b"hello\r", LONG_CHUNK),
        (b"5\r\nhello\r\n\r\n0\r\n\r\n", b"hello", NO_CHUNK_LINE),
        (b"1\r\na\r\n1\r\nb\r\nx\r\n", b"ab", NO_CHUNK_LINE),
        (b"5;" + b"e" * (MAX_CHUNK_LINE - 1) + b"\r\n", b"", LONG_CHUNK_LINE),
        (b"5;" + b"e" * 100_000, b"", LONG_CHUNK_LINE),
        (b"1\r\na\r\n5;" + b"e" * 5000 + b"\x00\r\n", b"a", LONG_CHUNK_LINE),
        (b"5;" + b"e" * 4000 + b"\x00" + b"e" * 1000 + b"\r\n", b"", NO_CHUNK_LINE),
    ],
)
def test_bad_chunk(chunk: bytes, content: bytes, detail: str) -> None:
    """The content that came before the mistake is delivered; then the error."""
    reading = requests(CHUNKS + chunk)
    assert error_of(reading) == (FramingError, detail)
    assert reading.error is not None
    assert reading.error.status == 400
    (message,) = reading.messages
    assert (message.content, message.complete) == (content, False)
    reading = responses(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk)
    assert error_of(reading) == (ResponseError, detail)
    assert [message.content for message in reading.messages] == [content]


def test_extensions_of_one_message_are_limited() -> None:
    """Section 7.1.1: they cost us work, and nobody gets anything for them."""
    line = b"1;" + b"e" * 1023 + b"\r\na\r\n"
    most = MAX_CHUNK_EXTENSIONS // 1024
    reading = requests((CHUNKS + line * most + b"0\r\n\r\n") * 2)
    assert [message.content for message in reading.messages] == [b"a" * most] * 2
    assert error_of(reading) is None
    reading = requests(CHUNKS + line * most + b"1;e\r\na\r\n0\r\n\r\n")
    assert error_of(reading) == (FramingError, "there are more than 65536 bytes of chunk extensions")
    assert [message.content for message in reading.messages] == [b"a" * most]


@pytest.mark.parametrize(
    ("section", "detail"),
    [
        (b"X : y\r\n\r\n", "there is white space between a field's name and its colon"),
        (b" X: y\r\n\r\n", "a field line begins with white space (a folded line)"),
        (b"X: y\r\n z\r\n\r\n", "a field line begins with white space (a folded line)"),
        (b"X\r\n\r\n", "a field line has no colon"),
        (b"(X): y\r\n\r\n", "a field's name is not a token"),
        (b"X: \x00", "there is a control character"),
        (b"X: y\nZ: a\r\n\r\n", "a line does not end with CR LF"),
        (b"\n", "a line does not end with CR LF"),
        (b"\rX", "a line does not end with CR LF"),
        (b"\r\r\n", "a line does not end with CR LF"),
        (b"X: y\r\n\n", "a line does not end with CR LF"),
        (b"X: y\r\n\rZ", "a line does not end with CR LF"),
    ],
)
def test_bad_trailers(section: bytes, detail: str) -> None:
    """Section 7.1.2: the grammar of field lines."""
    reading = requests(CHUNKS + b"1\r\na\r\n0\r\n" + section)
    assert error_of(reading) == (RequestError, detail)
    assert [message.content for message in reading.messages] == [b"a"]


@pytest.mark.parametrize("ended", [b"\r\n\r\n", b""])
def test_trailers_too_large(ended: bytes) -> None:
    """As large as a head may be, and no larger."""
    limits = HeadLimits(max_head_size=100, max_fields=2)
    assert error_of(requests(CHUNKS + b"0\r\nX: " + b"y" * 93 + b"\r\n\r\n", limits)) is None
    assert error_of(requests(CHUNKS + b"0\r\nX: " + b"y" * 94 + b"\r\n\r\n", limits)) == (
        HeadTooLarge,
        "it is larger than 100 bytes",
    )
    data = b"0\r\nX: " + b"y" * 1000 + ended
    assert error_of(requests(CHUNKS + data, limits)) == (HeadTooLarge, "it is larger than 100 bytes")
    assert error_of(responses(OK + b"Transfer-Encoding: chunked\r\n\r\n" + data, limits=limits)) == (
        ResponseHeadTooLarge,
        "it is larger than 100 bytes",
    )
    assert error_of(requests(CHUNKS + b"0\r\n" + b"X: y\r\n" * 3 + b"\r\n", limits)) == (
        HeadTooLarge,
        "there are 3 fields, more than 2",
    )
