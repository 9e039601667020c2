"""How readers refuse: as early as it can be known, the same however the bytes come, within the limits, and for good."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.fuzz.reading import Reading, octets, pieces, read_requests, read_responses
from twistedproxy.errors import (
    FramingError,
    HeadTooLarge,
    HostError,
    MethodNotImplemented,
    ProxyError,
    RequestCut,
    RequestError,
    ResponseCut,
    ResponseError,
    ResponseHeadTooLarge,
    TargetTooLong,
    VersionNotSupported,
)
from twistedproxy.http.head import HeadLimits
from twistedproxy.http.message import RequestHead
from twistedproxy.http.reader import RequestReader, ResponseReader

LIMITS = HeadLimits()

LONG_METHOD = (MethodNotImplemented, "the method has more than 64 characters")
LONG_TARGET = (TargetTooLong, "the target has more than 16384 characters")
CONTROL = (RequestError, "there is a control character")
NO_CRLF = (RequestError, "a line does not end with CR LF")
NO_METHOD = (RequestError, "the request line does not begin with a method")
NO_VERSION = (RequestError, "the request line does not end with an HTTP version")
NO_CHUNK_LINE = (FramingError, "a chunk's first line is not valid")
LONG_CHUNK = (FramingError, "a chunk is longer than its size says")

START = b"GET http://h/ HTTP/1.1\r\n"
GET = START + b"Host: h\r\n\r\n"
SIZED = b"POST http://h/ HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"
CHUNKS = b"POST http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"

Expected = tuple[type[ProxyError], str] | None


def error_of(reading: Reading) -> Expected:
    return None if reading.error is None else (type(reading.error), reading.error.detail)


def raised_at(reader: RequestReader | ResponseReader, data: bytes) -> tuple[int, Expected]:
    """After how many octets, one by one, the reader raises, and what; all of them when it does not."""
    for count, octet in enumerate(octets(data), 1):
        reader.receive(octet)
        try:
            while reader.next_event() is not None:
                pass
        except ProxyError as error:
            return count, (type(error), error.detail)
    return len(data), None


# ---------------------------------------------------------------- early


@pytest.mark.parametrize(
    ("data", "count", "error"),
    [
        # What is no HTTP is told so with its first octet: TLS, a BOM, white space, a bare line feed.
        (b"\x16\x03\x01\x02\x00", 1, NO_METHOD),
        (b"\xef\xbb\xbfGET", 1, NO_METHOD),
        (b" GET", 1, NO_METHOD),
        (b"\nGET", 1, NO_METHOD),
        (b"\rGET", 2, NO_METHOD),
        # A line is judged at its end.
        (b"SSH-2.0-OpenSSH\r\nxyz", 17, NO_VERSION),
        (b"GET / HTTP/2.0\r\n\r\n", 16, (VersionNotSupported, "the version is 2.0")),
        (b"X" * 65 + b" / HTTP/1.1\r\n", 78, LONG_METHOD),
        # Octets that may stand nowhere are found with the one after them at the latest.
        (b"GET /\x00 HTTP/1.1\r\n", 6, CONTROL),
        (b"GET /\n", 6, NO_CRLF),
        (b"GET /\r HTTP", 7, NO_CRLF),
        (START + b"X: y\x7fz", 29, CONTROL),
        (START + b"X: y\nz", 29, NO_CRLF),
        (START + b"X: y\rz", 30, NO_CRLF),
        (START + b"X: y\r\n\rz", 32, NO_CRLF),
        # Chunks.
        (CHUNKS + b"g", len(CHUNKS) + 1, NO_CHUNK_LINE),
        (CHUNKS + b"0x", len(CHUNKS) + 2, NO_CHUNK_LINE),
        (CHUNKS + b"0" * 20, len(CHUNKS) + 17, NO_CHUNK_LINE),
        (CHUNKS + b"5\n", len(CHUNKS) + 2, NO_CHUNK_LINE),
        (CHUNKS + b"1\r\nab", len(CHUNKS) + 5, LONG_CHUNK),
        (CHUNKS + b"1\r\na\rb", len(CHUNKS) + 6, LONG_CHUNK),
        (CHUNKS + b"0\r\n\x00", len(CHUNKS) + 4, CONTROL),
    ],
)
def test_requests_are_refused_early(data: bytes, count: int, error: Expected) -> None:
    assert raised_at(RequestReader(LIMITS), data) == (count, error)
    assert error_of(read_requests([data], LIMITS)) == error


@pytest.mark.parametrize(
    ("data", "count", "detail"),
    [
        (b"<html>", 1, "the status line is not valid"),
        (b"\r\nHTTP/1.1 200 OK", 1, "the status line is not valid"),
        (b"HTTp/1.1 200 OK", 4, "the status line is not valid"),
        (b"HTTP/1.1 600 OK\r\nX: y", 17, "the status line is not valid"),
        (b"HTTP/2.0 200 OK\r\nX: y", 17, "the answer's version is 2.0"),
        (b"HTTP/1.1 200 O\x00", 15, "there is a control character"),
        (b"HTTP/1.1 200 OK\nX: y", 16, "a line does not end with CR LF"),
    ],
)
def test_responses_are_refused_early(data: bytes, count: int, detail: str) -> None:
    reader = ResponseReader(LIMITS)
    reader.expect(b"GET")
    assert raised_at(reader, data) == (count, (ResponseError, detail))
    assert error_of(read_responses([data], limits=LIMITS)) == (ResponseError, detail)


# ---------------------------------------------------------------- the first of several mistakes


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"(\x00", NO_METHOD),
        (b"G(T /\x00 HTTP/1.1\r\n\r\n", CONTROL),
        (b"GET / HTTP/2.0\r\nX: \x00\r\n\r\n", (VersionNotSupported, "the version is 2.0")),
        (b"GET / HTTP/2.0\nX: y\r\n\r\n", NO_CRLF),
        (b"GET / HTTP/1.1\r\r\n\r\n", NO_CRLF),
        (b"GET / HTTP/1.1\r\nX y: z\r\nX: \x00\r\n\r\n", CONTROL),
        (START + b"Host: h\r\nHost: h\r\nX: y\nz\r\n\r\n", NO_CRLF),
        (START + b"Host: h\r\nHost: h\r\n(X): y\r\n\r\n", (RequestError, "a field's name is not a token")),
        (
            START + b"Host: h\r\nHost: h\r\n" + b"X: y\r\n" * 200 + b"\r\n",
            (HeadTooLarge, "there are 202 fields, more than 128"),
        ),
        (START + b"Host: h\r\nHost: h\r\nContent-Length: x\r\n\r\n", (HostError, "there is more than one Host field")),
        (START + b"X: \x00" + b"y" * 100_000 + b"\r\n\r\n", CONTROL),
        (START + b"X: " + b"y" * 100_000 + b"\x00\r\n\r\n", (HeadTooLarge, "it is larger than 65536 bytes")),
        (
            b"GET /" + b"a" * 17_000 + b"\x00 HTTP/1.1\r\n\r\n",
            LONG_TARGET,
        ),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", LONG_TARGET),
        # 64 of a method, 16,384 of a target and 12 around them: here the line has been too long already.
        (b"GET /" + b"a" * 16_454 + b"\x00", CONTROL),
        (b"GET /" + b"a" * 16_455 + b"\x00", LONG_TARGET),
        (b"GET /" + b"a" * 16_455 + b"\n", LONG_TARGET),
        (b"GET /" + b"a" * 16_454 + b"\rx", LONG_TARGET),
        (b"G" * 70_000 + b" / HTTP/1.1\r\n\r\n", LONG_METHOD),
        (b"G" * 17_000 + b"( / HTTP/1.1\r\n\r\n", LONG_METHOD),
        (
            b"GET / HTTP/" + b"1" * 17_000 + b"\r\n\r\n",
            NO_VERSION,
        ),
    ],
)
def test_first_mistake_of_a_request(data: bytes, error: Expected) -> None:
    """The one that a reader of single octets meets first, also when all of them are there at once."""
    assert error_of(read_requests([data], LIMITS)) == error
    assert error_of(read_requests(octets(data), LIMITS)) == error
    for size in (7, 4096):
        assert error_of(read_requests(pieces(data, range(size, len(data), size)), LIMITS)) == error


# ---------------------------------------------------------------- limits


@pytest.mark.parametrize("size", [16, 100, 65_536])
def test_size_of_a_request_head(size: int) -> None:
    """RFC 9110 section 2.3: a limit, exact to the octet, its empty line included (431, RFC 6585 section 5)."""
    limits = HeadLimits(max_head_size=size, max_target_size=size)
    start = b"GET / HTTP/1.0\r\n" if size > 16 else b"G / HTTP/1.0\r\n"
    filler = b"X:" + b"y" * (size - len(start) - 6) + b"\r\n" if size > 16 else b""
    head = start + filler + b"\r\n"
    assert len(head) == size
    error = (HeadTooLarge, f"it is larger than {size} bytes")
    larger = head[:-2] + b"\r\n" if not filler else head[:-4] + b"y\r\n\r\n"
    for split in (range(0), range(1, size + 1)):
        assert error_of(read_requests(pieces(head, split), limits)) is None
        if filler:
            assert error_of(read_requests(pieces(larger, split), limits)) == error
            assert error_of(read_requests(pieces(larger * 3, split), limits)) == error


def test_size_of_a_response_head() -> None:
    limits = HeadLimits(max_head_size=100)
    head = OK + b"X:" + b"y" * 77 + b"\r\n\r\n"
    assert len(head) == 100
    for split in (range(0), range(1, 2000)):
        assert read_responses(pieces(head, split), limits=limits).messages[0].head.length < 0
        larger = head[:-4] + b"y\r\n\r\n"
        for data in (larger, OK + b"X: " + b"y" * 1000, b"HTTP/1.1 200 " + b"O" * 1000):
            assert error_of(read_responses(pieces(data, split), limits=limits)) == (
                ResponseHeadTooLarge,
                "it is larger than 100 bytes",
            )


@pytest.mark.parametrize("method", [b"G", b"X" * 64])
@pytest.mark.parametrize("split", [1, 1000, 16_384, 16_390, 100_000])
def test_longest_request_line(method: bytes, split: int) -> None:
    """RFC 9112 section 3: the limits on method and target are the line's; it may arrive in any pieces."""
    line = method + b" " + b"/" * LIMITS.max_target_size + b" HTTP/1.1\r\n"
    head = line + b"Host: h\r\n\r\n"
    reading = read_requests(pieces(head, range(split, len(head), split)), LIMITS)
    assert error_of(reading) is None
    assert isinstance(reading.messages[0].head, RequestHead)
    assert len(reading.messages[0].head.target) == LIMITS.max_target_size
    longer = line.replace(b" /", b" //") + b"Host: h\r\n\r\n"
    endless = method + b" " + b"/" * LIMITS.max_request_line
    for data in (longer, endless, endless[: LIMITS.max_request_line]):
        reading = read_requests(pieces(data, range(split, len(data), split)), LIMITS)
        assert error_of(reading) == LONG_TARGET


def test_request_line_larger_than_a_head() -> None:
    """Where the limit on targets is not the smaller one, it is still the target that is too long (414)."""
    limits = HeadLimits(max_head_size=1000, max_target_size=1000)
    data = b"GET /" + b"a" * 2000
    for received in ([data], octets(data), [data + b" HTTP/1.1\r\n\r\n"]):
        assert error_of(read_requests(received, limits)) == (
            TargetTooLong,
            "the request line is longer than 1000 bytes",
        )


# ---------------------------------------------------------------- after an error


@pytest.mark.parametrize(
    "data",
    [b"(GET)\r\n", START + b"\r\n", START + b"X : y\r\n\r\n", CHUNKS + b"x\r\n", CHUNKS + b"1\r\nab\r\n0\r\n\r\n"],
)
def test_a_reader_that_has_raised_raises_again(data: bytes) -> None:
    """What follows may look like a request; where it begins is not known, so that it is none (RFC 9112 section 2.2)."""
    reader = RequestReader(LIMITS)
    reader.receive(data + GET)
    with pytest.raises(RequestError) as first:
        list(iter(reader.next_event, None))
    consumed = reader.consumed
    for _ in range(3):
        reader.receive(GET)
        with pytest.raises(RequestError) as second:
            reader.next_event()
        assert second.value is first.value
    with pytest.raises(RequestError) as third:
        reader.receive_close()
    assert third.value is first.value
    assert reader.consumed == consumed
    assert not reader.between_messages
    assert repr(reader).startswith("<RequestReader FAILED buffered=")


def test_consumed_counts_what_events_were_made_of() -> None:
    """Not the message that could not be read, however much of it there was."""
    for received in ([GET + b"\r\n" + SIZED + b"hello" + START + b"\r\n"], octets(GET + b"\r\n" + SIZED + b"hello(")):
        assert read_requests(received, LIMITS).consumed == len(GET) + 2 + len(SIZED) + 5
    for received in ([CHUNKS + b"2;a\r\nhi\r\nx\r\n"], octets(CHUNKS + b"2;a\r\nhi\r\nx\r\n")):
        assert read_requests(received, LIMITS).consumed == len(CHUNKS) + 9


# ---------------------------------------------------------------- the peer's close


def closed(reading: Reading) -> tuple[str, Expected]:
    return reading.closed, error_of(reading)


CUT = "the connection closed in the middle of a message"


@pytest.mark.parametrize(
    ("data", "cut"),
    [
        (b"", False),
        (GET, False),
        (SIZED + b"hello", False),
        (CHUNKS + b"0\r\n\r\n", False),
        (GET + b"\r\n", False),
        (b"\r", True),
        (b"G", True),
        (GET[:-1], True),
        (GET + b"G", True),
        (SIZED, True),
        (SIZED + b"hell", True),
        (CHUNKS, True),
        (CHUNKS + b"5", True),
        (CHUNKS + b"5\r\nhello", True),
        (CHUNKS + b"5\r\nhello\r\n", True),
        (CHUNKS + b"5\r\nhello\r\n0\r\n", True),
        (CHUNKS + b"0\r\nX: y\r\n\r", True),
    ],
)
def test_close_of_a_client(data: bytes, cut: bool) -> None:
    """RFC 9112 section 8: a message that is cut short is never a whole one."""
    expected = ("", (RequestCut, CUT)) if cut else ("in between", None)
    assert closed(read_requests([data] if data else [], LIMITS)) == expected
    assert closed(read_requests(octets(data), LIMITS)) == expected


@pytest.mark.parametrize(
    ("data", "how"),
    [
        (b"", "in between"),
        (OK + b"Content-Length: 2\r\n\r\nhi", "in between"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "in between"),
        (OK + b"\r\n", "at the end"),
        (OK + b"\r\nhello", "at the end"),
        (b"HTTP/1.0 200 OK\r\n\r\n", "at the end"),
        (b"H", ""),
        (OK, ""),
        (OK + b"Content-Length: 2\r\n\r\n", ""),
        (OK + b"Content-Length: 2\r\n\r\nh", ""),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", ""),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", ""),
    ],
)
def test_close_of_an_origin(data: bytes, how: str) -> None:
    """RFC 9112 section 6.3, rule 8, and section 8."""
    expected = (how, None if how else (ResponseCut, CUT))
    assert closed(read_responses([data] if data else [], limits=LIMITS)) == expected
    assert closed(read_responses(octets(data), limits=LIMITS)) == expected


def test_close_before_the_end_was_asked_for() -> None:
    """A message whose last octet has come is complete, whether or not its `End` has been taken yet."""
    reader = ResponseReader(LIMITS)
    reader.expect(b"GET")
    reader.receive(OK + b"Content-Length: 2\r\n\r\nhi")
    reader.next_event()
    assert reader.next_event() == b"hi"
    end = reader.receive_close()
    assert end is not None
    assert end.trailers.lines == []
    assert reader.receive_close() is None


# ---------------------------------------------------------------- the rest


def types_of(reader: RequestReader | ResponseReader, received: Iterable[bytes]) -> set[type]:
    """The types of everything in the events that is octets."""
    types: set[type] = set()
    for piece in received:
        reader.receive(piece)
        while (event := reader.next_event()) is not None:
            if isinstance(event, bytes | bytearray):
                types.add(type(event))
                continue
            if isinstance(event, RequestHead):
                types |= {type(event.method), type(event.target), *map(type, event.options)}
            fields = event.trailers if hasattr(event, "trailers") else event.fields
            types |= {type(part) for line in fields.lines for part in line}
            types |= {type(name) for name in fields.index}
    return types


@pytest.mark.parametrize("cut", [1, 10, 60, 100, 120, 1000])
def test_events_are_bytes(cut: int) -> None:
    """Never the buffer's own type, which would be no key of a dict and could change behind its owner's back."""
    chunks = b"5\r\nhello\r\n1;a=b\r\nx\r\n0\r\nX: y \r\n\r\n"
    data = CHUNKS.replace(b"Host", b"Connection: a, b\r\nHost") + chunks + SIZED + b"hello" + GET
    assert types_of(RequestReader(LIMITS), pieces(data, range(cut, len(data), cut))) == {bytes}
    reader = ResponseReader(LIMITS)
    reader.expect(b"GET")
    data = OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + OK + b"\r\nrest"
    assert types_of(reader, pieces(data, range(cut, len(data), cut))) == {bytes}


def test_representation() -> None:
    reader = RequestReader(LIMITS)
    assert repr(reader) == "<RequestReader HEAD buffered=0>"
    reader.receive(CHUNKS + b"5\r\nhe")
    for state in ("CHUNK_LINE", "CHUNK_DATA"):
        reader.next_event()
        assert repr(reader) == f"<RequestReader {state} buffered={reader.buffered}>"
    assert not hasattr(reader, "__dict__")
    assert not hasattr(ResponseReader(LIMITS), "__dict__")
