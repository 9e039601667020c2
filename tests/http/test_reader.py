"""The readers: which events there are, in which order, and what becomes of the bytes around them."""

from __future__ import annotations

import pytest

from tests.fuzz.reading import Reading, octets, read_requests, read_responses
from twistedproxy.errors import (
    ProxyError,
    RequestError,
    ResponseError,
)
from twistedproxy.http.head import HeadLimits
from twistedproxy.http.message import END, UNTIL_CLOSE, End, RequestHead, ResponseHead
from twistedproxy.http.reader import (
    MAX_LEADING_LINES,
    Event,
    RequestReader,
    ResponseReader,
)

LIMITS = HeadLimits()
GET = b"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST http://h/ HTTP/1.1\r\nHost: h\r\n"
SIZED = POST + b"Content-Length: 5\r\n\r\n"
CHUNKS = POST + b"Transfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def events(reader: RequestReader | ResponseReader) -> list[Event]:
    found: list[Event] = []
    while (event := reader.next_event()) is not None:
        found.append(event)
    return found


def kinds(found: list[Event]) -> list[object]:
    """Content as it is, heads by their types, trailers as lines."""
    return [
        event.trailers.lines if isinstance(event, End) else event if isinstance(event, bytes) else type(event)
        for event in found
    ]


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


# ---------------------------------------------------------------- messages, one after the other


def test_request_without_content() -> None:
    """RFC 9112 section 6.3, rule 7."""
    reader = RequestReader(LIMITS)
    assert reader.between_messages
    reader.receive(GET)
    assert not reader.between_messages
    head = reader.next_event()
    assert isinstance(head, RequestHead)
    assert (head.method, head.target, head.length) == (b"GET", b"http://h/", 0)
    assert reader.in_content
    assert reader.next_event() is END
    assert not reader.in_content
    assert reader.next_event() is None
    assert reader.between_messages
    assert reader.consumed == len(GET)


def test_pipelined_requests() -> None:
    """RFC 9112 section 9.3.2: one after the other; those that nobody asks for wait."""
    reader = RequestReader(LIMITS)
    reader.receive(SIZED + b"hello" + CHUNKS + b"2\r\nhi\r\n0\r\nX: y\r\n\r\n" + GET)
    assert isinstance(reader.next_event(), RequestHead)
    assert reader.next_event() == b"hello"
    assert reader.next_event() is END
    assert reader.consumed == len(SIZED) + 5
    assert reader.buffered == len(CHUNKS + b"2\r\nhi\r\n0\r\nX: y\r\n\r\n" + GET)
    assert not reader.between_messages
    assert not reader.in_content
    assert kinds(events(reader)) == [RequestHead, b"hi", [(b"X", b"y")], RequestHead, []]
    assert reader.between_messages
    assert reader.buffered == 0


@pytest.mark.parametrize("lines", [0, 1, MAX_LEADING_LINES])
def test_empty_lines_before_a_request(lines: int) -> None:
    """RFC 9112 section 2.2: skipped, and counted anew for each request."""
    empty = b"\r\n" * lines
    reading = requests(empty + GET + empty + SIZED + b"hello" + empty)
    assert [message.complete for message in reading.messages] == [True, True]
    assert error_of(reading) is None
    assert reading.consumed == 3 * len(empty) + len(GET) + len(SIZED) + 5
    assert reading.closed == "in between"


def test_too_many_empty_lines() -> None:
    expected = (RequestError, "there are too many empty lines before the request line")
    assert error_of(requests(b"\r\n" * (MAX_LEADING_LINES + 1))) == expected
    assert error_of(requests(b"\r\n" * (MAX_LEADING_LINES + 1) + GET)) == expected
    assert error_of(requests(GET + b"\r\n" * 1000)) == expected


@pytest.mark.parametrize("before", [b"\n", b"\r", b"\r\r\n", b" ", b" \r\n", b"\t", b"\x00", b"\xef\xbb\xbf"])
def test_other_octets_before_a_request(before: bytes) -> None:
    """RFC 9112 section 2.2: white space before the first line is no field and no method."""
    assert error_of(requests(before + GET)) == (RequestError, "the request line does not begin with a method")


def test_no_empty_line_before_a_response() -> None:
    assert error_of(responses(b"\r\n" + OK + b"\r\n")) == (ResponseError, "the status line is not valid")


def test_interim_responses() -> None:
    """RFC 9110 section 15.2: any number of them, without an `End`, before the final one."""
    reader = ResponseReader(LIMITS)
    reader.expect(b"POST")
    reader.receive(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nContent-Length: 3\r\n\r\n")
    assert [head.status for head in events(reader) if isinstance(head, ResponseHead)] == [100, 103]
    assert reader.between_messages
    reader.receive(OK + b"Content-Length: 2\r\n\r\nhi")
    assert kinds(events(reader)) == [ResponseHead, b"hi", []]


def test_switching_protocols() -> None:
    """RFC 9110 section 15.2.2: what follows is not HTTP, and nobody's but the owner's."""
    reader = ResponseReader(LIMITS)
    reader.expect(b"GET")
    reader.receive(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n\x00\x01\r\n")
    head = reader.next_event()
    assert isinstance(head, ResponseHead)
    assert head.status == 101
    assert reader.take_rest() == b"\x00\x01\r\n"
    assert reader.buffered == 0


@pytest.mark.parametrize("pieces", [1, 2, 100])
def test_rest_after_a_connect(pieces: int) -> None:
    """RFC 9110 section 9.3.6: data may follow the head at once; the reader has not looked at it."""
    connect = b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"
    early = b"\x16\x03\x01\r\n\r\n\x00"
    reader = RequestReader(LIMITS)
    data = connect + early
    size = -(-len(data) // pieces)
    for start in range(0, len(data), size):
        reader.receive(data[start : start + size])
        if not reader.in_content:
            event = reader.next_event()
            assert event is None or isinstance(event, RequestHead)
    assert reader.next_event() is END
    rest = reader.take_rest()
    assert rest == early
    assert type(rest) is bytes
    assert reader.consumed == len(connect)


@pytest.mark.parametrize("method", [b"HEAD", b"GET"])
@pytest.mark.parametrize("status", [b"200 OK", b"204 No Content", b"304 Not Modified"])
def test_responses_without_content(method: bytes, status: bytes) -> None:
    """RFC 9112 section 6.3, rule 1: what follows is the next message, never content."""
    first = b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\n"
    if method == b"GET" and status == b"200 OK":
        first += b"hi"
    reading = responses(first + OK + b"Content-Length: 3\r\n\r\nyou", method, b"GET")
    assert [message.content for message in reading.messages] == [first[-2:] if first[-2:] == b"hi" else b"", b"you"]
    assert error_of(reading) is None


def test_response_until_close() -> None:
    """RFC 9112 section 6.3, rule 8."""
    reader = ResponseReader(LIMITS)
    reader.expect(b"GET")
    reader.receive(OK + b"\r\nHTTP/1.1 ")
    head, content = events(reader)
    assert isinstance(head, ResponseHead)
    assert (head.length, content) == (UNTIL_CLOSE, b"HTTP/1.1 ")
    reader.receive(b"404")
    assert events(reader) == [b"404"]
    assert reader.receive_close() is END
    assert reader.between_messages


# ---------------------------------------------------------------- content


def test_sized_content_comes_as_it_is_received() -> None:
    reader = RequestReader(LIMITS)
    reader.receive(POST + b"Content-Length: 1000000\r\n\r\n" + b"a" * 10)
    assert kinds(events(reader)) == [RequestHead, b"a" * 10]
    reader.receive(b"b" * 100_000)
    assert events(reader) == [b"b" * 100_000]
    assert reader.buffered == 0
    reader.receive(b"c" * 899_990 + GET)
    assert kinds(events(reader)) == [b"c" * 899_990, [], RequestHead, []]


def test_content_is_not_looked_at() -> None:
    content = bytes(range(256)) + b"\r\n\r\n0\r\n\r\n\n\n"
    reading = requests(POST + b"Content-Length: %d\r\n\r\n" % len(content) + content + GET)
    assert [message.content for message in reading.messages] == [content, b""]
    reading = requests(CHUNKS + b"%x\r\n" % len(content) + content + b"\r\n0\r\n\r\n" + GET)
    assert [message.content for message in reading.messages] == [content, b""]


def test_chunks_of_one_turn_are_one_piece() -> None:
    """A peer that sends a chunk for each octet makes one event, not thousands."""
    reader = RequestReader(LIMITS)
    reader.receive(CHUNKS + b"1\r\na\r\n" * 5000 + b"3\r\nb")
    assert kinds(events(reader)) == [RequestHead, b"a" * 5000 + b"b"]
    reader.receive(b"cd\r\n0\r")
    assert events(reader) == [b"cd"]
    reader.receive(b"\n\r\n")
    assert events(reader) == [END]
    assert reader.between_messages


def test_the_same_fields_on_one_connection_are_read_once() -> None:
    reader = RequestReader(LIMITS)
    reader.receive(GET + GET.replace(b"/ ", b"/b ") + GET.replace(b": h", b": H") + GET)
    heads = [event for event in events(reader) if isinstance(event, RequestHead)]
    assert [head.target for head in heads] == [b"http://h/", b"http://h/b", b"http://h/", b"http://h/"]
    assert heads[1].fields is heads[0].fields
    assert [head.fields.first(b"host") for head in heads] == [b"h", b"h", b"H", b"h"]
