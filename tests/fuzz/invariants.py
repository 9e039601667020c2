"""What holds for every input whatever: the readers, the forwarding rules and the writer, put together as in the proxy.

Each check takes arbitrary bytes. It raises `AssertionError` when

* anything but a `ProxyError` comes out (nothing at all, of the messages of a WebSocket), or an event is of the wrong
  type;
* the events or the error depend on how the bytes were split;
* a message that was accepted is, once forwarded, not exactly one message to our own reader and to h11, of the same
  method or status, with the same content: this is how requests are smuggled;
* forwarding a forwarded message changes more than its Via and Max-Forwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from random import Random

import h11

from tests.fuzz.messages import cuts
from tests.fuzz.reading import (
    MOST_CONTENT,
    Message,
    Reading,
    octets,
    pieces,
    read_messages,
    read_requests,
    read_responses,
)
from twistedproxy.errors import ProxyError
from twistedproxy.http.forwarding import (
    forwarded_request_lines,
    forwarded_request_section,
    forwarded_response_lines,
    forwarded_trailer_lines,
    max_forwards,
    upgrade_offered,
)
from twistedproxy.http.head import HeadLimits
from twistedproxy.http.message import CHUNKED, UNTIL_CLOSE, FieldLine, Fields, RequestHead, ResponseHead
from twistedproxy.http.target import Form, parse_target
from twistedproxy.http.writer import chunk_bytes, field_section, last_chunk_bytes, request_bytes, response_bytes

VIA = b"proxy.example"
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
WIDE = HeadLimits(max_head_size=1 << 20, max_fields=1 << 10, max_target_size=1 << 19)


def check_requests(data: bytes, random: Random) -> Reading:
    """Check everything of bytes that a client might send."""
    reading = check_splits(read_requests, data, random)
    for message in reading.messages:
        check_forwarded_request(message)
    return reading


def check_responses(data: bytes, random: Random, methods: Sequence[bytes] = ()) -> Reading:
    """Check everything of bytes that an origin might send in answer to requests with these methods."""
    reading = check_splits(lambda received: read_responses(received, methods), data, random)
    waiting = [*methods]
    method = waiting.pop(0) if waiting else b"GET"
    for message in reading.messages:
        assert isinstance(message.head, ResponseHead)
        check_forwarded_response(message, method)
        if message.head.status >= 200 or message.head.status == 101:
            method = waiting.pop(0) if waiting else b"GET"
    return reading


def check_messages(data: bytes, random: Random) -> Reading:
    """Check everything of bytes that a server might send in a WebSocket."""
    reading = check_splits(read_messages, data, random)
    for message in reading.said:
        assert type(message.content) is bytes
        assert len(message.content) <= min(message.length, MOST_CONTENT)
        assert message.compressed or message.length == message.payload_length
        assert message.payload_length <= len(data)
    return reading


def check_splits(read: Callable[[Iterable[bytes]], Reading], data: bytes, random: Random) -> Reading:
    """The bytes give the same whole, one by one, and in random pieces."""
    whole = read([data] if data else [])
    expected = whole.described()
    for received in (octets(data), pieces(data, cuts(random, len(data)))):
        assert read(received).described() == expected
    return whole


# ---------------------------------------------------------------- requests


def forwarded_request(message: Message) -> tuple[bytes, list[FieldLine], list[FieldLine]] | None:
    """A request as the origin gets it, its field lines and its trailers; None for one that is not forwarded."""
    head = message.head
    assert isinstance(head, RequestHead)
    try:
        target = parse_target(head.method, head.target)
    except ProxyError:
        return None
    if target.form is not Form.ABSOLUTE or max_forwards(head) == 0:
        return None
    lines = forwarded_request_lines(head, target.authority, VIA, upgrade_offered(head))
    trailers = forwarded_trailer_lines(Fields(message.trailers or ()), head.options)
    section = forwarded_request_section(head, target.authority, VIA, upgrade_offered(head))
    assert section == field_section(lines)
    data = request_bytes(head.method, target.path, section)
    return data + _framed(head.length, message.content, trailers), lines, trailers


def check_forwarded_request(message: Message) -> None:
    """A complete request stays one and the same request when it is forwarded."""
    if not message.complete:
        return
    forwarded = forwarded_request(message)
    if forwarded is None:
        return
    data, lines, trailers = forwarded
    head = message.head
    assert isinstance(head, RequestHead)
    again = read_requests([data], WIDE)
    assert again.error is None
    assert again.closed == "in between"
    assert again.consumed == len(data)
    assert len(again.messages) == 1
    read_again = again.messages[0]
    second = read_again.head
    assert isinstance(second, RequestHead)
    assert (second.method, second.minor, second.length) == (head.method, 1, head.length)
    assert second.fields.lines == lines
    assert (read_again.content, read_again.trailers) == (message.content, trailers if head.length == CHUNKED else [])
    _check_idempotent(second, lines)

    expected = (head.method, second.target, _lowered(lines), message.content, _lowered(read_again.trailers or []))
    assert h11_request(data) == expected


def _check_idempotent(head: RequestHead, lines: list[FieldLine]) -> None:
    if max_forwards(head) == 0:
        return
    lines_again = forwarded_request_lines(head, head.fields.first(b"host"), VIA, upgrade_offered(head))
    changing = (b"via", b"max-forwards") if max_forwards(head) is not None else (b"via",)
    assert _without(lines_again, changing) == _without(lines, changing)
    assert lines_again[-1] == (b"Via", b"1.1 " + VIA)


def h11_request(data: bytes) -> tuple[bytes, bytes, list[FieldLine], bytes, list[FieldLine]]:
    """The one request that h11, as a server, reads from the bytes."""
    server = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    server.receive_data(data)
    request = server.next_event()
    assert isinstance(request, h11.Request)
    content, trailers = _h11_content(server)
    return request.method, request.target, list(request.headers), content, trailers


# ---------------------------------------------------------------- responses


def check_forwarded_response(message: Message, method: bytes) -> None:
    """A response stays one and the same response when it is forwarded to clients of either version."""
    if not message.complete:
        return
    head = message.head
    assert isinstance(head, ResponseHead)
    interim = 100 <= head.status < 200
    for minor in (0, 1):
        if interim and not minor:
            continue
        length = head.length
        if length < 0:
            length = CHUNKED if minor else UNTIL_CLOSE
        lines = forwarded_response_lines(head, method, VIA, DATE, minor, close=not minor)
        data = response_bytes(head.status, head.phrase, lines)
        trailers = forwarded_trailer_lines(Fields(message.trailers or ()), head.options)
        data += _framed(length, message.content, trailers)
        again = read_responses([data], [method], WIDE)
        assert again.error is None
        assert again.consumed == len(data)
        assert len(again.messages) == 1
        read_again = again.messages[0]
        second = read_again.head
        assert isinstance(second, ResponseHead)
        assert (second.status, second.phrase, second.length) == (head.status, head.phrase, length)
        assert second.fields.lines == lines
        assert (read_again.content, read_again.trailers) == (message.content, trailers if length == CHUNKED else [])
        if not interim:
            expected = (head.status, head.phrase, _lowered(lines), message.content, _lowered(read_again.trailers or []))
            assert h11_response(data, method) == expected


def h11_response(data: bytes, method: bytes) -> tuple[int, bytes, list[FieldLine], bytes, list[FieldLine]]:
    """The one response that h11, as a client that sent ``method``, reads from the bytes before the close."""
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    client.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"origin.example")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    content, trailers = _h11_content(client, closed=True)
    return response.status_code, response.reason, list(response.headers), content, trailers


# ---------------------------------------------------------------- both


def _framed(length: int, content: bytes, trailers: list[FieldLine]) -> bytes:
    if length == CHUNKED:
        return (chunk_bytes(content) if content else b"") + last_chunk_bytes(trailers)
    return content


def _h11_content(connection: h11.Connection, closed: bool = False) -> tuple[bytes, list[FieldLine]]:
    content = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Data):
            content += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert connection.trailing_data[0] == b""
            return content, list(event.headers)
        else:
            assert event is h11.NEED_DATA
            assert closed
            connection.receive_data(b"")


def _lowered(lines: Iterable[FieldLine]) -> list[FieldLine]:
    return [(name.lower(), value) for name, value in lines]


def _without(lines: Iterable[FieldLine], names: Sequence[bytes]) -> list[FieldLine]:
    return [line for line in lines if line[0].lower() not in names]
