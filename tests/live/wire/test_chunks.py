"""The chunked transfer coding, in requests and in responses: its grammar, its limits, its trailers (RFC 9112
section 7)."""

from __future__ import annotations

import pytest

from tests.live.wire.wire import Wire

SIZE, EXTENSION, DATA, TRAILER = "9112 7.1: ", "9112 7.1.1: ", "9112 7.1: ", "9112 7.1.2: "

# What follows the head of a message that says it is chunked.
MALFORMED = {
    SIZE + "no size": b"\r\nhello\r\n0\r\n\r\n",
    SIZE + "no hexadecimal digit": b"g\r\nhello\r\n0\r\n\r\n",
    SIZE + "plus sign": b"+5\r\nhello\r\n0\r\n\r\n",
    SIZE + "minus sign": b"-5\r\nhello\r\n0\r\n\r\n",
    SIZE + "prefix 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    SIZE + "underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    SIZE + "white space before": b" 5\r\nhello\r\n0\r\n\r\n",
    SIZE + "white space after": b"5 \r\nhello\r\n0\r\n\r\n",
    SIZE + "tab after": b"5\t\r\nhello\r\n0\r\n\r\n",
    SIZE + "white space within": b"0 5\r\nhello\r\n0\r\n\r\n",
    SIZE + "17 digits that wrap 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    SIZE + "17 digits, all but one zero": b"00000000000000005\r\nhello\r\n0\r\n\r\n",
    SIZE + "hundreds of digits": b"f" * 600 + b"\r\nhello\r\n0\r\n\r\n",
    SIZE + "NUL": b"5\x00\r\nhello\r\n0\r\n\r\n",
    SIZE + "line ends with LF": b"5\nhello\r\n0\r\n\r\n",
    SIZE + "line ends with CR": b"5\rhello\r\n0\r\n\r\n",
    SIZE + "comma": b"5,\r\nhello\r\n0\r\n\r\n",
    SIZE + "last line ends with LF": b"5\r\nhello\r\n0\n\n",
    EXTENSION + "LF in it": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    EXTENSION + "CR in it": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    EXTENSION + "NUL in it": b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
    EXTENSION + "no name": b"5;\r\nhello\r\n0\r\n\r\n",
    EXTENSION + "no value": b"5;a=\r\nhello\r\n0\r\n\r\n",
    EXTENSION + "string is not closed": b'5;a="b\r\nhello\r\n0\r\n\r\n',
    EXTENSION + "line end in a string": b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n',
    EXTENSION + "no semicolon": b"5 a=b\r\nhello\r\n0\r\n\r\n",
    EXTENSION + "one line of 5000 octets": b"5;a=" + b"b" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
    DATA + "longer than its size": b"4\r\nhello\r\n0\r\n\r\n",
    DATA + "shorter than its size": b"6\r\nhello\r\n0\r\n\r\n",
    DATA + "no line end after it": b"5\r\nhello0\r\n\r\n",
    DATA + "LF after it": b"5\r\nhello\n0\r\n\r\n",
    DATA + "CR and something after it": b"5\r\nhello\rX0\r\n\r\n",
    TRAILER + "no colon": b"5\r\nhello\r\n0\r\nbad\r\n\r\n",
    TRAILER + "empty name": b"5\r\nhello\r\n0\r\n: x\r\n\r\n",
    TRAILER + "white space in the name": b"5\r\nhello\r\n0\r\na b: x\r\n\r\n",
    TRAILER + "folded": b"5\r\nhello\r\n0\r\na: x\r\n y\r\n\r\n",
    TRAILER + "NUL in the value": b"5\r\nhello\r\n0\r\na: x\x00y\r\n\r\n",
    TRAILER + "CR in the value": b"5\r\nhello\r\n0\r\na: x\ry\r\n\r\n",
    TRAILER + "line ends with LF": b"5\r\nhello\r\n0\r\na: x\nb: y\r\n\r\n",
    TRAILER + "too many": b"5\r\nhello\r\n0\r\n" + b"a: x\r\n" * 300 + b"\r\n",
    TRAILER + "too large": b"5\r\nhello\r\n0\r\na: " + b"x" * 70_000 + b"\r\n\r\n",
}

HEAD = b"POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nTransfer-Encoding: chunked\r\n\r\n"
FORWARDED = b"POST / HTTP/1.1\r\nHost: ORIGIN\r\nTransfer-Encoding: chunked\r\nVia: 1.1 wire\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n"
FORWARDED_ANSWER = b"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\nVia: 1.1 wire\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_request_chunks(wire: Wire, case: str) -> None:
    """The client gets a 4xx and the close; the origin never gets what looks like the end of the request."""
    client = wire.client(HEAD + MALFORMED[case])
    response = client.read_response()
    assert response.status == (431 if "too" in case else 400)
    assert response.values(b"connection") == [b"close"]
    assert client.ended()
    try:
        seen = wire.origin.accept().read_to_end()
    except ConnectionResetError:
        seen = b""
    assert b"0\r\n" not in seen.partition(b"\r\n\r\n")[2]
    assert wire.why(client) in ("malformed_framing", "malformed_request", "head_too_large")


@pytest.mark.parametrize("minor", [1, 0])
@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_response_chunks(wire: Wire, case: str, minor: int) -> None:
    """RFC 9110 section 15.6.3, RFC 9112 section 8: the client gets 502, or less than a whole response."""
    client = wire.client(b"GET http://ORIGIN/ HTTP/1.%d\r\nHost: ORIGIN\r\n\r\n" % minor)
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(ANSWER + MALFORMED[case])
    response = client.read_response()
    if "too large" in case:
        # More than one turn's worth: what is well-formed of it is out by then.
        assert response.cut or response.status == 502
    else:
        assert (response.status, response.cut) == (502, False)
        assert b"hello" not in response.raw
    assert upstream.ended()
    assert wire.why(client) in ("malformed_response", "response_head_too_large")


@pytest.mark.parametrize("minor", [1, 0])
@pytest.mark.parametrize("case", MALFORMED)
def test_response_chunks_that_become_malformed(wire: Wire, case: str, minor: int) -> None:
    """RFC 9112 section 8: once the response has begun it ends so that the client can tell that it is not whole."""
    client = wire.client(b"GET http://ORIGIN/ HTTP/1.%d\r\nHost: ORIGIN\r\n\r\n" % minor)
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(ANSWER + b"5\r\nfirst\r\n")
    if minor:
        assert client.read_through(b"\r\n\r\n") == FORWARDED_ANSWER
        assert client.read(10) == b"5\r\nfirst\r\n"
        upstream.send(MALFORMED[case])
        assert b"0\r\n" not in client.read_to_end()
    else:
        assert client.read_through(b"first")
        upstream.send(MALFORMED[case])
        # Content without a length ends with the connection, so only a reset can say that this is not all.
        assert client.was_reset()
    assert upstream.ended()
    assert wire.why(client) in ("malformed_response", "response_head_too_large")


# What was said, and what is said on.
WELL_FORMED = {
    SIZE + "small and capital digits": (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
    SIZE + "leading zeros": (b"0000000000000005\r\nhello\r\n000\r\n\r\n", b"hello"),
    SIZE + "nothing but the last chunk": (b"0\r\n\r\n", b""),
    DATA + "looks like chunks": (b"b\r\n0\r\n\r\n5\r\nhel\r\n0\r\n\r\n", b"0\r\n\r\n5\r\nhel"),
    DATA + "looks like a request": (b"10\r\nGET / HTTP/1.1\r\n\r\n0\r\n\r\n", b"GET / HTTP/1.1\r\n"),
    EXTENSION + "name": (b"5;a\r\nhello\r\n0;b\r\n\r\n", b"hello"),
    EXTENSION + "name and value": (b"5;a=b;c=d\r\nhello\r\n0\r\n\r\n", b"hello"),
    EXTENSION + "string": (b'5;a="b; \\"c\\" =d"\r\nhello\r\n0\r\n\r\n', b"hello"),
    EXTENSION + "white space around it": (b"5 ; a = b\t;c\r\nhello\r\n0\r\n\r\n", b"hello"),
    EXTENSION + "each of many chunks": (b"1;a=b\r\nx\r\n" * 500 + b"0\r\n\r\n", b"x" * 500),
}


@pytest.mark.parametrize("case", WELL_FORMED)
def test_well_formed_chunks(wire: Wire, case: str) -> None:
    """They are decoded and coded anew, without extensions: requests and responses."""
    said, content = WELL_FORMED[case]
    seen, got = wire.exchange(HEAD + said, ANSWER + said)
    assert seen.content == content
    assert got.content == content
    assert seen.head == wire.fill(FORWARDED)
    assert got.head == FORWARDED_ANSWER
    assert b";a" not in seen.framed + got.framed


def test_chunk_extensions_are_bounded_in_all(wire: Wire) -> None:
    """RFC 9112 section 7.1.1: 64 KiB of them in one message are enough."""
    chunk = b"1;" + b"a" * 2000 + b"\r\nx\r\n"
    client = wire.client(HEAD + chunk * 20)
    upstream = wire.origin.accept()
    client.send(chunk * 20)
    assert client.read_response().status == 400
    assert client.ended()
    assert upstream.was_reset()
    assert wire.why(client) == "malformed_framing"


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_any_split_gives_the_same(wire: Wire, step: int) -> None:
    """RFC 9112 section 2.2: where the bytes were split means nothing."""
    request = wire.fill(HEAD + b"5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-A: b\r\n\r\n")
    answer = ANSWER + b"5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-A: b\r\n\r\n"
    client = wire.client()
    for at in range(0, len(request), step):
        client.send(request[at : at + step])
    upstream = wire.origin.accept()
    seen = upstream.read_request()
    assert (seen.head, seen.content, seen.trailers) == (wire.fill(FORWARDED), b"hello world", [(b"X-A", b"b")])
    for at in range(0, len(answer), step):
        upstream.send(answer[at : at + step])
    got = client.read_response()
    assert (got.head, got.content, got.trailers) == (FORWARDED_ANSWER, b"hello world", [(b"X-A", b"b")])


def test_a_chunk_is_not_held_back(wire: Wire) -> None:
    """RFC 9112 section 7.1: what there is of a chunk goes on, also when the rest of it takes its time."""
    client = wire.client(HEAD + b"ff\r\nfirst")
    upstream = wire.origin.accept()
    assert upstream.read_through(b"\r\n\r\n") == wire.fill(FORWARDED)
    assert upstream.read(10) == b"5\r\nfirst\r\n"
    upstream.send(ANSWER + b"ff\r\nfirst")
    assert client.read_through(b"\r\n\r\n") == FORWARDED_ANSWER.replace(b"Via", b"Connection: close\r\nVia")
    assert client.read(10) == b"5\r\nfirst\r\n"


# ---------------------------------------------------------------- trailers

TRAILERS = {
    "9110 6.5.1: ordinary fields go on": (
        b"X-Checksum: abc\r\nx-b: \xff\r\n",
        [(b"X-Checksum", b"abc"), (b"x-b", b"\xff")],
    ),
    "9110 5.3: order and case stay": (b"b: 1\r\nA: 2\r\nb: 3\r\n", [(b"b", b"1"), (b"A", b"2"), (b"b", b"3")]),
    "9110 6.5.1: framing": (b"Content-Length: 9\r\nTransfer-Encoding: gzip\r\nX-A: b\r\n", [(b"X-A", b"b")]),
    "9110 6.5.1: routing": (b"Host: evil\r\nMax-Forwards: 1\r\nVia: 1.1 x\r\nX-A: b\r\n", [(b"X-A", b"b")]),
    "9110 6.5.1: authentication": (
        b"Authorization: x\r\nProxy-Authorization: x\r\nSet-Cookie: a=b\r\nCookie: a\r\nX-A: b\r\n",
        [(b"X-A", b"b")],
    ),
    "9110 6.5.1: content": (
        b"Content-Type: x/y\r\nContent-Encoding: gzip\r\nContent-Range: bytes 0-1/2\r\nTrailer: X-A\r\nX-A: b\r\n",
        [(b"X-A", b"b")],
    ),
    "9110 6.5.1: controls": (
        b"Cache-Control: no-store\r\nExpect: 100-continue\r\nTE: trailers\r\nRange: bytes=0-1\r\nX-A: b\r\n",
        [(b"X-A", b"b")],
    ),
    "9110 7.6.1: connection fields": (
        b"Connection: x\r\nKeep-Alive: 1\r\nUpgrade: x\r\nProxy-Connection: x\r\nX-A: b\r\n",
        [(b"X-A", b"b")],
    ),
    "9110 7.6.1: nominated by Connection": (b"X-Nominated: a\r\nX-A: b\r\n", [(b"X-A", b"b")]),
    "9110 5.5: white space around the value": (b"X-A: \t b \t\r\n", [(b"X-A", b"b")]),
}


@pytest.mark.parametrize("case", TRAILERS)
def test_trailers(wire: Wire, case: str) -> None:
    """They stay trailers, and those that would change the message are dropped: requests and responses."""
    lines, expected = TRAILERS[case]
    said = b"5\r\nhello\r\n0\r\n" + lines + b"\r\n"
    nominating = b"Connection: X-Nominated\r\n\r\n"
    seen, got = wire.exchange(HEAD[:-2] + nominating + said, ANSWER[:-2] + nominating + said)
    assert seen.head == wire.fill(FORWARDED)
    assert got.head == FORWARDED_ANSWER
    assert (seen.content, seen.trailers) == (b"hello", expected)
    assert (got.content, got.trailers) == (b"hello", expected)


def test_trailers_are_dropped_for_http_1_0(wire: Wire) -> None:
    """RFC 9110 section 6.5: where the framing has no room for trailers, they are not merged into the header."""
    client = wire.client(b"GET http://ORIGIN/ HTTP/1.0\r\n\r\n")
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(ANSWER + b"5\r\nhello\r\n0\r\nX-A: b\r\n\r\n")
    expected = b"HTTP/1.1 200 OK\r\nDate: x\r\nConnection: close\r\nVia: 1.1 wire\r\n\r\nhello"
    assert client.read_to_end() == expected


def test_te_trailers_is_nominated(wire: Wire) -> None:
    """RFC 9110 section 10.1.4, RFC 9112 section 7.4: TE speaks of one hop; ours says what the client's did."""
    seen, _ = wire.exchange(
        b"GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nTE: gzip;q=0.5, Trailers, chunked\r\nConnection: TE\r\n\r\n",
        OK,
    )
    te = b"TE: trailers\r\nConnection: TE\r\n"
    assert seen.head == wire.fill(b"GET / HTTP/1.1\r\nHost: ORIGIN\r\n" + te + b"Via: 1.1 wire\r\n\r\n")


def test_te_without_trailers_is_dropped(wire: Wire) -> None:
    """RFC 9110 section 10.1.4: we decode no other coding, so none is offered."""
    seen, _ = wire.exchange(
        b"GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nTE: gzip;q=0.5\r\nConnection: TE\r\n\r\n", OK
    )
    assert seen.head == wire.fill(b"GET / HTTP/1.1\r\nHost: ORIGIN\r\nVia: 1.1 wire\r\n\r\n")
