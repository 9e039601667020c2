"""What holds whatever comes in: the same for every split, nothing but a `ProxyError`, and no smuggling."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import messages
from tests.fuzz.invariants import check_requests, check_responses
from tests.fuzz.reading import pieces, read_requests, read_responses
from twistedproxy.http.head import HeadLimits
from twistedproxy.http.message import CHUNKED, FieldLine
from twistedproxy.http.writer import chunk_bytes, field_section, last_chunk_bytes, request_bytes, response_bytes

RANDOMS = st.randoms(use_true_random=False)
METHODS = st.lists(st.sampled_from([b"GET", b"HEAD", b"POST"]), max_size=3)
LIMITS = HeadLimits()


@settings(max_examples=300)
@given(messages.REQUESTS, RANDOMS)
def test_requests(data: bytes, random: Random) -> None:
    """See `tests.fuzz.invariants`."""
    check_requests(data, random)


@settings(max_examples=300)
@given(messages.RESPONSES, RANDOMS, METHODS)
def test_responses(data: bytes, random: Random, methods: list[bytes]) -> None:
    check_responses(data, random, methods)


@settings(max_examples=200)
@given(st.binary(max_size=200), RANDOMS)
def test_any_bytes(data: bytes, random: Random) -> None:
    check_requests(data, random)
    check_responses(data, random)
    check_responses(b"HTTP/1.1 200 OK\r\n" + data, random)
    check_requests(b"GET http://h/ HTTP/1.1\r\nHost: h\r\n" + data, random)
    check_requests(b"GET http://h/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + data, random)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300), RANDOMS)
def test_any_size(method: int, target: int, value: int, random: Random) -> None:
    """Around every limit: of 200 octets for a target, 600 for a head, 64 for a method."""
    start = b"G" * method + b" " + b"/" * target + b" HTTP/1.1\r\n"
    check_requests(start + b"Host: h\r\nX: " + b"y" * value + b"\r\n\r\n", random)
    check_requests(start[: value * 2], random)


# ---------------------------------------------------------------- what is written is read back

TOKENS = st.text("abcXYZ019-_.!~", min_size=1, max_size=12).map(str.encode)
FIELD_OCTETS = bytes([9, *range(32, 127), *range(128, 256)])
VALUES = st.lists(st.sampled_from(FIELD_OCTETS), max_size=20).map(bytes).map(lambda value: value.strip(b" \t"))
FRAMING_NAMES = {b"host", b"content-length", b"transfer-encoding", b"expect", b"connection"}
LINES = st.lists(st.tuples(TOKENS.filter(lambda name: name.lower() not in FRAMING_NAMES), VALUES), max_size=6)
CONTENTS = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


def framed(lines: list[FieldLine], contents: list[bytes], trailers: list[FieldLine] | None) -> tuple[int, bytes]:
    """Add the framing field to the lines: the length, and the content as it is sent. No trailers: not chunked."""
    if trailers is None:
        content = b"".join(contents)
        lines.append((b"Content-Length", b"%d" % len(content)))
        return len(content), content
    lines.append((b"Transfer-Encoding", b"chunked"))
    return CHUNKED, b"".join(map(chunk_bytes, contents)) + last_chunk_bytes(trailers)


@given(
    TOKENS,
    st.text("/?&%abc123~", min_size=1).map(str.encode),
    LINES,
    CONTENTS,
    st.none() | LINES,
    st.lists(st.integers(0, 600)).map(sorted),
)
def test_written_request_is_read_back(
    method: bytes,
    target: bytes,
    lines: list[FieldLine],
    contents: list[bytes],
    trailers: list[FieldLine] | None,
    cuts: list[int],
) -> None:
    lines = [(b"Host", b"h"), *lines]
    length, content = framed(lines, contents, trailers)
    data = request_bytes(method, target, field_section(lines)) + content
    reading = read_requests(pieces(data * 2, cuts), LIMITS)
    assert reading.error is None
    assert reading.consumed == 2 * len(data)
    expected: tuple[object, ...] = (
        method,
        target,
        False,
        1,
        lines,
        length,
        [],
        True,
        b"".join(contents),
        trailers or [],
    )
    assert [message.described() for message in reading.messages] == [expected, expected]


@given(
    st.integers(200, 599).filter(lambda status: status not in (204, 304)),
    VALUES,
    LINES,
    CONTENTS,
    st.none() | LINES,
    st.lists(st.integers(0, 600)).map(sorted),
)
def test_written_response_is_read_back(
    status: int,
    phrase: bytes,
    lines: list[FieldLine],
    contents: list[bytes],
    trailers: list[FieldLine] | None,
    cuts: list[int],
) -> None:
    lines = [*lines]
    length, content = framed(lines, contents, trailers)
    data = response_bytes(status, phrase, lines) + content
    reading = read_responses(pieces(data * 2, cuts), limits=LIMITS)
    assert reading.error is None
    assert reading.consumed == 2 * len(data)
    expected: tuple[object, ...] = (status, phrase, 1, lines, length, [], True, b"".join(contents), trailers or [])
    assert [message.described() for message in reading.messages] == [expected, expected]
