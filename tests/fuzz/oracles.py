"""What other parsers make of the first message in some bytes; in one form for all, so that they can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h11
import httptools

from tests.fuzz.reading import Reading, read_requests, read_responses
from twistedproxy.http.head import HeadLimits
from twistedproxy.http.message import RequestHead

FieldLines = list[tuple[bytes, bytes]]

LIMITS = HeadLimits()


@dataclass(frozen=True)
class Outcome:
    """What became of the first message.

    ``verdict`` is "accepted", "refused" or "waiting" (for more bytes, after those that came). ``start`` is the method
    and the target, or the status code; it and ``fields`` are there once the head was accepted, and ``content`` as far
    as it came. Names are in lower case, and so is the value of Transfer-Encoding.
    """

    verdict: str
    reason: str = ""
    start: tuple[object, ...] = ()
    fields: FieldLines | None = None
    content: bytes = b""
    trailers: FieldLines | None = None
    size: int = 0


def _tidied(lines: Any) -> FieldLines:
    """What all parsers can agree on: h11 joins equal Content-Lengths, httptools leaves white space after values."""
    tidied: FieldLines = []
    for name, value in lines:
        name, value = bytes(name).lower(), bytes(value).rstrip(b" \t")
        if name == b"transfer-encoding":
            value = value.lower()
        elif name == b"content-length":
            if len(numbers := {number.strip() for number in value.split(b",")}) == 1:
                value = numbers.pop()
            if (name, value) in tidied:
                continue
        tidied.append((name, value))
    return tidied


# ---------------------------------------------------------------- this proxy


def ours_request(data: bytes) -> Outcome:
    return _ours(read_requests([data], LIMITS))


def ours_response(data: bytes, method: bytes) -> Outcome:
    return _ours(read_responses([data], [method], LIMITS))


def _ours(reading: Reading) -> Outcome:
    first = reading.messages[0] if reading.messages else None
    verdict, reason = "waiting", ""
    if reading.error is not None and not type(reading.error).__name__.endswith("Cut"):
        verdict, reason = "refused", reading.error.detail
    if first is None:
        return Outcome(verdict, reason)
    head = first.head
    start = (head.method, head.target) if isinstance(head, RequestHead) else (head.status,)
    fields = _tidied(head.fields.lines)
    if not first.complete:
        return Outcome(verdict, reason, start, fields, first.content)
    return Outcome("accepted", "", start, fields, first.content, _tidied(first.trailers), first.end)


# ---------------------------------------------------------------- h11


def h11_request(data: bytes) -> Outcome:
    return _h11(h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20), data)


def h11_response(data: bytes, method: bytes) -> Outcome:
    client = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    client.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"h")]))
    client.send(h11.EndOfMessage())
    return _h11(client, data)


def _h11(connection: h11.Connection, data: bytes) -> Outcome:
    connection.receive_data(data)
    closed = False
    start: tuple[object, ...] = ()
    fields: FieldLines | None = None
    content = b""
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                start, fields = (event.method, event.target), _tidied(event.headers)
            elif isinstance(event, h11.Response):
                start, fields = (event.status_code,), _tidied(event.headers)
            elif isinstance(event, h11.InformationalResponse):
                size = len(data) - len(connection.trailing_data[0])
                return Outcome("accepted", "", (event.status_code,), _tidied(event.headers), b"", [], size)
            elif isinstance(event, h11.Data):
                content += event.data
            elif isinstance(event, h11.EndOfMessage):
                size = len(data) - len(connection.trailing_data[0])
                return Outcome("accepted", "", start, fields, content, _tidied(event.headers), size)
            elif event is h11.NEED_DATA and start and not closed and connection.our_role is h11.CLIENT:
                closed = True
                connection.receive_data(b"")
            else:
                return Outcome("waiting", "", start, fields, content)
    except h11.RemoteProtocolError as error:
        cut = closed and "closed" in str(error)
        return Outcome("waiting" if cut else "refused", "" if cut else str(error), start, fields, content)


# ---------------------------------------------------------------- httptools


class _Callbacks:
    """What httptools calls while it parses."""

    def __init__(self) -> None:
        self.target = b""
        self.lines: FieldLines = []
        self.head_lines: FieldLines | None = None
        self.content = b""
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.lines.append((name, value))

    def on_headers_complete(self) -> None:
        self.head_lines, self.lines = self.lines, []

    def on_body(self, body: bytes) -> None:
        self.content += body

    def on_message_complete(self) -> None:
        self.complete = True


def httptools_request(data: bytes) -> Outcome:
    callbacks = _Callbacks()
    parser = httptools.HttpRequestParser(callbacks)
    return _httptools(callbacks, parser, data, lambda: (parser.get_method(), callbacks.target))


def httptools_response(data: bytes, method: bytes) -> Outcome:
    callbacks = _Callbacks()
    parser = httptools.HttpResponseParser(callbacks)
    return _httptools(callbacks, parser, data, lambda: (parser.get_status_code(),))


def _httptools(callbacks: _Callbacks, parser: Any, data: bytes, start: Any) -> Outcome:
    verdict, reason, size = "waiting", "", 0
    try:
        # One by one, because it does not say where the message ended.
        for size in range(1, len(data) + 1):
            parser.feed_data(data[size - 1 : size])
            if callbacks.complete:
                verdict = "accepted"
                break
    except httptools.HttpParserUpgrade:
        verdict = "accepted" if callbacks.complete else "waiting"
    except httptools.HttpParserError as error:
        verdict, reason = "refused", str(error)
    if callbacks.head_lines is None:
        return Outcome(verdict, reason)
    fields = _tidied(callbacks.head_lines)
    if verdict != "accepted":
        return Outcome(verdict, reason, start(), fields, callbacks.content)
    return Outcome("accepted", "", start(), fields, callbacks.content, _tidied(callbacks.lines), size)
