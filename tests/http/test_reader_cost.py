"""What reading costs: linear in the bytes, however they come.

Nothing is timed. The buffers and the expressions that look into them are replaced by ones that count the octets that
they look at, copy or move; the sum must stay below a few times the octets that came.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, SupportsIndex

import pytest

from tests.fuzz.reading import octets, pieces
from twistedproxy.http import grammar, reader
from twistedproxy.http.head import HeadLimits
from twistedproxy.http.reader import RequestReader, ResponseReader

LIMITS = HeadLimits()
GET = b"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKS = b"POST http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


class Work:
    """Octets looked at, copied or moved."""

    done = 0

    @classmethod
    def add(cls, start: SupportsIndex | None, end: SupportsIndex | None, size: int) -> None:
        first, last, _ = slice(start, end).indices(size)
        cls.done += max(0, last - first)


def counted(kind: Any) -> Any:
    """A buffer: ``find`` costs as much as it looked at, a slice what it copies, and more bytes what they are.

    Taking away its beginning is free, as in a bytearray: that moves an offset.
    """

    def find(self: Any, sought: bytes, start: int = 0, end: int | None = None) -> int:
        found: int = kind.find(self, sought, start, len(self) if end is None else end)
        Work.add(start, end if found < 0 else found + len(sought), len(self))
        return found

    def get(self: Any, key: Any) -> Any:
        if not isinstance(key, slice):
            return kind.__getitem__(self, key)
        Work.add(key.start, key.stop, len(self))
        return type(self)(kind.__getitem__(self, key))

    def delete(self: Any, key: Any) -> None:
        assert key.start is None
        kind.__delitem__(self, key)

    def add(self: Any, other: Any) -> Any:
        Work.done += len(other)
        return kind.__iadd__(self, other)

    methods = {"find": find, "__getitem__": get}
    if kind is bytearray:
        methods |= {"__delitem__": delete, "__iadd__": add}
    return type(f"Counted{kind.__name__}", (kind,), methods)


CountedBytes = counted(bytes)
CountedBytearray = counted(bytearray)


class CountedExpression:
    """An expression. A match costs its length, and a failure all that there was."""

    def __init__(self, expression: re.Pattern[bytes]) -> None:
        self._expression = expression

    def _count(self, found: re.Match[bytes] | None, block: bytes, start: int, end: int) -> re.Match[bytes] | None:
        Work.add(start, end if found is None else found.end(), len(block))
        return found

    def search(self, block: bytes, start: int = 0, end: int = 1 << 30) -> re.Match[bytes] | None:
        return self._count(self._expression.search(block, start, end), block, start, end)

    def match(self, block: bytes, start: int = 0, end: int = 1 << 30) -> re.Match[bytes] | None:
        return self._count(self._expression.match(block, start, end), block, start, end)


@pytest.fixture(autouse=True)
def counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "bytearray", CountedBytearray, raising=False)
    forbidden = CountedExpression(grammar.FORBIDDEN_IN_HEAD)
    monkeypatch.setattr(grammar, "FORBIDDEN_IN_HEAD", forbidden)
    monkeypatch.setattr(reader, "FORBIDDEN_IN_HEAD", forbidden)
    monkeypatch.setattr(reader, "CHUNK_LINE", CountedExpression(grammar.CHUNK_LINE))


def work(data: bytes, received: Iterable[bytes], messages: int) -> float:
    """The work for each octet of ``data``, that comes as ``received`` and makes so many messages."""
    is_response = data.startswith(b"HTTP/")
    one = ResponseReader(LIMITS) if is_response else RequestReader(LIMITS)
    Work.done = 0
    ended = 0
    for piece in received:
        one.receive(CountedBytes(piece))
        if isinstance(one, ResponseReader):
            one.expect(b"GET")
        while (event := one.next_event()) is not None:
            ended += type(event).__name__ == "End"
    assert ended == messages
    assert one.consumed == len(data)
    return Work.done / len(data)


HEAD = GET[:-2] + b"X: " + b"y" * 20_000 + b"\r\n\r\n"
LINES = GET[:-2] + b"X: y\r\n" * 126 + b"\r\n"
TARGET = b"GET http://h/" + b"a" * 16_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n"
TRAILERS = CHUNKS + b"0\r\nX: " + b"y" * 20_000 + b"\r\n\r\n"
EXTENSIONS = CHUNKS + (b"1;" + b"e" * 4000 + b"\r\na\r\n") * 6 + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "messages"),
    [
        (HEAD, 1),
        (LINES, 1),
        (TARGET, 1),
        (TRAILERS, 1),
        (EXTENSIONS, 1),
        (CHUNKS + b"1\r\na\r\n" * 3000 + b"0\r\n\r\n", 1),
        (CHUNKS + b"8000\r\n" + b"a" * 0x8000 + b"\r\n0\r\n\r\n", 1),
        (GET * 800, 800),
        (b"\r\n".join([GET] * 800), 800),
        (OK + b"X: " + b"y" * 20_000 + b"\r\nContent-Length: 0\r\n\r\n", 1),
        (b"HTTP/1.1 200 " + b"O" * 20_000 + b"\r\nContent-Length: 0\r\n\r\n", 1),
        ((OK + b"Content-Length: 0\r\n\r\n") * 800, 800),
        ((OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n") * 800, 800),
    ],
    ids=[
        "head",
        "lines",
        "target",
        "trailers",
        "extensions",
        "chunks",
        "chunk",
        "pipeline",
        "empty lines",
        "response",
        "phrase",
        "responses",
        "chunked responses",
    ],
)
def test_cost_is_linear(data: bytes, messages: int) -> None:
    """Whole, octet by octet, in pairs, in segments, and in segments that are cut one octet off."""
    assert len(data) > 700
    cuts: list[Iterable[bytes]] = [
        [data],
        octets(data),
        pieces(data, range(2, len(data), 2)),
        pieces(data, range(1460, len(data), 1460)),
        pieces(data, [1]),
        pieces(data, [len(data) - 1]),
    ]
    costs = [work(data, received, messages) for received in cuts]
    # Each octet is looked at for the end of the section, for what is forbidden, and for the line's end; it is copied
    # into the buffer and out of it; and short pieces look a few octets back. Anything quadratic is in the thousands.
    assert max(costs) < 25


def test_counting_counts() -> None:
    """A reader that looked at everything with each octet would be found out."""
    costs = 0
    for end in range(len(LINES)):
        Work.done = 0
        CountedBytes(LINES[:end]).find(b"\r\n\r\n")
        costs += Work.done
    assert costs == sum(range(len(LINES)))
    assert costs / len(LINES) > 350


def test_waiting_requests_are_not_moved() -> None:
    """Requests that wait while others are answered, and while more come: none is copied for each that is taken."""
    one = RequestReader(LIMITS)
    Work.done = 0
    for _ in range(800):
        one.receive(CountedBytes(GET))
    for _ in range(800):
        assert one.next_event() is not None
        assert one.next_event() is not None
        one.receive(CountedBytes(GET))
    assert one.buffered == 800 * len(GET)
    assert Work.done / (1600 * len(GET)) < 10
