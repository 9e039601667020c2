"""Where messages begin and end: Content-Length, Transfer-Encoding, and neither (RFC 9112 section 6)."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import pytest

from tests.live.wire.raw import Connection
from tests.live.wire.wire import Wire

LENGTH, BOTH, CODING = "9112 6.3 rule 5: ", "9112 6.1: ", "9112 6.3 rule 4: "

REFUSED = {
    BOTH + "length, then coding": (b"Content-Length: 5\r\nTransfer-Encoding: chunked", 400, "malformed_framing"),
    BOTH + "coding, then length": (b"Transfer-Encoding: chunked\r\nContent-Length: 5", 400, "malformed_framing"),
    LENGTH + "two lengths": (b"Content-Length: 5\r\nContent-Length: 6", 400, "malformed_framing"),
    LENGTH + "the same length twice": (b"Content-Length: 5\r\nContent-Length: 5", 400, "malformed_framing"),
    LENGTH + "list of lengths": (b"Content-Length: 5, 6", 400, "malformed_framing"),
    LENGTH + "plus sign": (b"Content-Length: +5", 400, "malformed_framing"),
    LENGTH + "minus sign": (b"Content-Length: -5", 400, "malformed_framing"),
    LENGTH + "hexadecimal": (b"Content-Length: 0x5", 400, "malformed_framing"),
    LENGTH + "hexadecimal digit": (b"Content-Length: a", 400, "malformed_framing"),
    LENGTH + "fraction": (b"Content-Length: 5.0", 400, "malformed_framing"),
    LENGTH + "exponent": (b"Content-Length: 5e0", 400, "malformed_framing"),
    LENGTH + "empty": (b"Content-Length:", 400, "malformed_framing"),
    LENGTH + "two numbers": (b"Content-Length: 5 5", 400, "malformed_framing"),
    LENGTH + "underscore": (b"Content-Length: 5_0", 400, "malformed_framing"),
    LENGTH + "quoted": (b'Content-Length: "5"', 400, "malformed_framing"),
    LENGTH + "digits of another script": ("Content-Length: ٥".encode(), 400, "malformed_framing"),
    LENGTH + "wraps 64 bits": (b"Content-Length: 18446744073709551621", 400, "malformed_framing"),
    LENGTH + "thousands of digits": (b"Content-Length: " + b"9" * 5000, 400, "malformed_framing"),
    LENGTH + "white space before the colon": (b"Content-Length : 5", 400, "malformed_request"),
    CODING + "chunked twice in a list": (b"Transfer-Encoding: chunked, chunked", 400, "malformed_framing"),
    CODING + "chunked twice in two lines": (
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        400,
        "malformed_framing",
    ),
    CODING + "chunked is not last": (b"Transfer-Encoding: chunked, gzip", 400, "malformed_framing"),
    CODING + "chunked, then identity": (
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        400,
        "malformed_framing",
    ),
    CODING + "identity": (b"Transfer-Encoding: identity", 400, "malformed_framing"),
    CODING + "empty": (b"Transfer-Encoding:", 400, "malformed_framing"),
    CODING + "quoted": (b'Transfer-Encoding: "chunked"', 400, "malformed_framing"),
    CODING + "parameter": (b"Transfer-Encoding: chunked;q=1", 400, "malformed_framing"),
    CODING + "vertical tab": (b"Transfer-Encoding: \x0bchunked", 400, "malformed_request"),
    CODING + "octet of Latin-1": (b"Transfer-Encoding: \xa0chunked", 400, "malformed_framing"),
    CODING + "white space before the colon": (b"Transfer-Encoding : chunked", 400, "malformed_request"),
    CODING + "folded": (b"Transfer-Encoding:\r\n chunked", 400, "malformed_request"),
    CODING + "unknown": (b"Transfer-Encoding: xchunked", 400, "malformed_framing"),
    CODING + "gzip": (b"Transfer-Encoding: gzip", 400, "malformed_framing"),
    "9112 6.1: a coding that is not implemented": (
        b"Transfer-Encoding: gzip, chunked",
        501,
        "transfer_coding_not_implemented",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_ambiguous_length_is_refused(wire: Wire, case: str) -> None:
    lines, status, reason = REFUSED[case]
    response = wire.refuses(
        b"POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n" + lines + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n", status, reason
    )
    assert response.values(b"proxy-status") == [b"wire; error=http_request_error"]


def test_coding_in_http_1_0_is_refused(wire: Wire) -> None:
    """RFC 9112 section 6.1."""
    wire.refuses(
        b"POST http://ORIGIN/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "malformed_framing"
    )


def test_nothing_is_read_after_an_ambiguous_length(wire: Wire) -> None:
    """RFC 9112 section 6.1: the connection closes, so what was smuggled is no request."""
    client = wire.client(
        b"POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET http://ORIGIN/smuggled HTTP/1.1\r\nHost: ORIGIN\r\n\r\n"
    )
    assert client.read_response().status == 400
    assert client.ended()
    assert wire.origin.untouched()
    assert len(wire.proxy.access_lines(client)) == 1


# What of a request's framing and content the origin sees.
REQUESTS = {
    "9112 6.2: length": (b"POST", b"Content-Length: 5\r\n\r\nhello", b"Content-Length: 5", b"hello"),
    "9112 6.2: leading zeros": (b"POST", b"Content-Length: 0005\r\n\r\nhello", b"Content-Length: 5", b"hello"),
    "9112 6.2: zero stays": (b"POST", b"Content-Length: 0\r\n\r\n", b"Content-Length: 0", b""),
    "9112 6.3 rule 7: neither is empty": (b"POST", b"\r\n", b"", b""),
    "9112 7.1: chunked": (
        b"POST",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked",
        b"5\r\nhello\r\n0\r\n\r\n",
    ),
    "9112 7: chunked in capitals": (
        b"POST",
        b"transfer-encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked",
        b"5\r\nhello\r\n0\r\n\r\n",
    ),
    "9110 5.6.1: empty list members": (
        b"POST",
        b"Transfer-Encoding: , chunked ,\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked",
        b"5\r\nhello\r\n0\r\n\r\n",
    ),
    "9110 9.3.1: GET with content": (b"GET", b"Content-Length: 5\r\n\r\nhello", b"Content-Length: 5", b"hello"),
    "9110 9.3.5: DELETE with content": (b"DELETE", b"Content-Length: 2\r\n\r\nhi", b"Content-Length: 2", b"hi"),
    "9110 9.1: extension method with content": (
        b"PROPFIND",
        b"Content-Length: 2\r\n\r\nhi",
        b"Content-Length: 2",
        b"hi",
    ),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_request_is_framed_anew(wire: Wire, case: str) -> None:
    method, rest, line, content = REQUESTS[case]
    seen, got = wire.exchange(
        method + b" http://ORIGIN/a HTTP/1.1\r\nHost: ORIGIN\r\n" + rest,
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: x\r\n\r\nok",
    )
    framing = line + b"\r\n" if line else b""
    assert seen.raw == wire.fill(
        method + b" /a HTTP/1.1\r\nHost: ORIGIN\r\n" + framing + b"Via: 1.1 wire\r\n\r\n" + content
    )
    assert got.raw == b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\nVia: 1.1 wire\r\n\r\nok"


# An answer; whether the origin closes after it; what a client of HTTP/1.1 gets, and what one of HTTP/1.0.
HEAD_1_1 = b"HTTP/1.1 200 OK\r\nDate: x\r\n%bVia: 1.1 wire\r\n\r\n"
HEAD_1_0 = b"HTTP/1.1 200 OK\r\nDate: x\r\n%bConnection: close\r\nVia: 1.1 wire\r\n\r\n"
RESPONSES = {
    "9112 6.2: length": (
        b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\nhello",
        False,
        HEAD_1_1 % b"Content-Length: 5\r\n" + b"hello",
        HEAD_1_0 % b"Content-Length: 5\r\n" + b"hello",
    ),
    "9112 6.2: zero": (
        b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 0\r\n\r\n",
        False,
        HEAD_1_1 % b"Content-Length: 0\r\n",
        HEAD_1_0 % b"Content-Length: 0\r\n",
    ),
    "9110 8.6: list of the same length": (
        b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5, 5\r\nContent-Length: 5\r\n\r\nhello",
        False,
        HEAD_1_1 % b"Content-Length: 5\r\n" + b"hello",
        HEAD_1_0 % b"Content-Length: 5\r\n" + b"hello",
    ),
    "9112 7.1: chunked": (
        b"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        False,
        HEAD_1_1 % b"Transfer-Encoding: chunked\r\n" + b"5\r\nhello\r\n0\r\n\r\n",
        HEAD_1_0 % b"" + b"hello",
    ),
    "9112 6.3 rule 8: until close": (
        b"HTTP/1.1 200 OK\r\nDate: x\r\n\r\nhello",
        True,
        HEAD_1_1 % b"Transfer-Encoding: chunked\r\n" + b"5\r\nhello\r\n0\r\n\r\n",
        HEAD_1_0 % b"" + b"hello",
    ),
    "9112 6.3 rule 8: until close, HTTP/1.0": (
        b"HTTP/1.0 200 OK\r\nDate: x\r\n\r\nhello",
        True,
        (HEAD_1_1 % b"Transfer-Encoding: chunked\r\n").replace(b"Via: 1.1", b"Via: 1.0") + b"5\r\nhello\r\n0\r\n\r\n",
        (HEAD_1_0 % b"").replace(b"Via: 1.1", b"Via: 1.0") + b"hello",
    ),
    "9112 6.3 rule 8: empty until close": (
        b"HTTP/1.1 200 OK\r\nDate: x\r\n\r\n",
        True,
        HEAD_1_1 % b"Transfer-Encoding: chunked\r\n" + b"0\r\n\r\n",
        HEAD_1_0 % b"",
    ),
}


@pytest.mark.parametrize("minor", [1, 0])
@pytest.mark.parametrize("case", RESPONSES)
def test_response_is_framed_anew(wire: Wire, case: str, minor: int) -> None:
    answer, closes, to_1_1, to_1_0 = RESPONSES[case]
    request = b"GET http://ORIGIN/ HTTP/1.%d\r\nHost: ORIGIN\r\n\r\n" % minor
    client = wire.client(request)
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(answer)
    if closes:
        upstream.finish()
    if minor:
        assert client.read(len(to_1_1)) == to_1_1
        assert client.silent()
    else:
        # RFC 9112 section 9.3: a client of HTTP/1.0 is not kept.
        assert client.read_to_end() == to_1_0
    if closes:
        assert upstream.ended()


# RFC 9112 section 6.3 rule 1: these have no content, whatever their fields say.
BODILESS = {
    "9110 9.3.2: HEAD with a length": (
        b"HEAD",
        b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\nVia: 1.1 wire\r\n\r\n",
    ),
    "9112 6.1: HEAD with a coding": (
        b"HEAD",
        b"HTTP/1.1 200 OK\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: x\r\nVia: 1.1 wire\r\n\r\n",
    ),
    "9110 9.3.2: HEAD without a length": (
        b"HEAD",
        b"HTTP/1.1 200 OK\r\nDate: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: x\r\nVia: 1.1 wire\r\n\r\n",
    ),
    "9110 8.6: HEAD with a length off its grammar": (
        b"HEAD",
        b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: +5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nDate: x\r\nVia: 1.1 wire\r\n\r\n",
    ),
    "9110 8.6: 204 with a length": (
        b"GET",
        b"HTTP/1.1 204 No Content\r\nDate: x\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nDate: x\r\nVia: 1.1 wire\r\n\r\n",
    ),
    "9112 6.1: 204 with a coding": (
        b"GET",
        b"HTTP/1.1 204 No Content\r\nDate: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nDate: x\r\nVia: 1.1 wire\r\n\r\n",
    ),
    "9110 8.6: 304 with a length": (
        b"GET",
        b'HTTP/1.1 304 Not Modified\r\nDate: x\r\nETag: "a"\r\nContent-Length: 5\r\n\r\n',
        b'HTTP/1.1 304 Not Modified\r\nDate: x\r\nETag: "a"\r\nContent-Length: 5\r\nVia: 1.1 wire\r\n\r\n',
    ),
}


@pytest.mark.parametrize("case", BODILESS)
def test_response_without_content(wire: Wire, case: str) -> None:
    method, answer, expected = BODILESS[case]
    request = method + b" http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n\r\n"
    client = wire.client(request)
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(answer)
    assert client.read(len(expected)) == expected
    assert client.silent()
    # Both connections carry the next exchange.
    client.send(wire.fill(b"GET http://ORIGIN/next HTTP/1.1\r\nHost: ORIGIN\r\n\r\n"))
    assert upstream.read_request().start == b"GET /next HTTP/1.1"
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")
    assert client.read_response().content == b"next"


@pytest.mark.parametrize(
    ("method", "answer", "surplus"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HELLO"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n", b"HELLO"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\n\r\n", b"HELLO"),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"HELLO"),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"\r\n"),
        (
            b"GET",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHELLO",
        ),
        (b"GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"HELLO"),
    ],
    ids=["HEAD", "204", "304", "a length", "an empty line", "another response", "the last chunk"],
)
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "a little later"])
def test_surplus_bytes_are_no_response(wire: Wire, method: bytes, answer: bytes, surplus: bytes, at_once: bool) -> None:
    """RFC 9112 sections 6.3 and 9.2: they reach nobody, and the connection they came on is not used again."""
    client = wire.client(method + b" http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n\r\n")
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(answer + surplus if at_once else answer)
    assert b"HELLO" not in client.read_response(method).raw
    if not at_once:
        upstream.send(surplus)
    assert upstream.ended()
    assert client.silent()
    client.send(wire.fill(b"GET http://ORIGIN/next HTTP/1.1\r\nHost: ORIGIN\r\n\r\n"))
    second = wire.origin.accept()
    assert second.read_request().start == b"GET /next HTTP/1.1"
    second.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")
    assert client.read_response().content == b"next"


# ---------------------------------------------------------------- pipelines


def test_pipelined_requests_are_answered_in_order(wire: Wire) -> None:
    """RFC 9112 section 9.3.2."""
    client = wire.client(
        b"".join(
            b"POST http://ORIGIN/%d HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 1\r\n\r\n%d" % (number, number)
            for number in range(5)
        )
    )
    upstream = wire.origin.accept()
    for number in range(5):
        seen = upstream.read_request()
        assert (seen.start, seen.content) == (b"POST /%d HTTP/1.1" % number, b"%d" % number)
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
    assert [client.read_response().content for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    assert client.silent()


@pytest.mark.parametrize(
    "second",
    [
        b"BROKEN\r\n\r\n",
        b"GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nBad name: x\r\n\r\n",
        b"GET http://ORIGIN/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0",
        b"\x16\x03\x01\x02\x00",
    ],
    ids=["no request line", "bad name", "two hosts", "both lengths", "TLS"],
)
def test_malformed_second_request(wire: Wire, second: bytes) -> None:
    """RFC 9112 sections 2.2 and 9.3.2: the first is answered, the second gets 400, and nothing after it is read."""
    client = wire.client(
        b"GET http://ORIGIN/1 HTTP/1.1\r\nHost: ORIGIN\r\n\r\n"
        + second
        + b"GET http://ORIGIN/3 HTTP/1.1\r\nHost: ORIGIN\r\n\r\n"
    )
    upstream = wire.origin.accept()
    assert upstream.read_request().start == b"GET /1 HTTP/1.1"
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
    assert client.read_response().content == b"1"
    assert client.read_response().status == 400
    assert client.ended()
    assert upstream.silent()


def test_pipeline_and_no_more(wire: Wire) -> None:
    """RFC 9112 section 9.6: all requests that came before the client's FIN are answered."""
    client = wire.client(
        b"".join(b"GET http://ORIGIN/%d HTTP/1.1\r\nHost: ORIGIN\r\n\r\n" % number for number in range(3))
    )
    client.finish()
    upstream = wire.origin.accept()
    for number in range(3):
        assert upstream.read_request().start == b"GET /%d HTTP/1.1" % number
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
        assert client.read_response().content == b"%d" % number
    assert client.ended()


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 5\r\n\r\nhi",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhi",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n",
    ],
    ids=["in a length", "in a chunk", "after a chunk", "after the last chunk"],
)
@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_request_cut_short(wire: Wire, rest: bytes, reset: bool) -> None:
    """RFC 9112 sections 6.3 rule 6 and 8: the origin does not get what looks like a whole request."""
    client = wire.client(b"POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n" + rest)
    upstream = wire.origin.accept()
    upstream.read_through(b"hi")
    if reset:
        client.reset()
    else:
        client.finish()
        assert client.read_response().status == 400
        assert client.ended()
    assert upstream.was_reset()
    assert wire.why(client) == ("client_left" if reset else "request_cut")


def test_requests_after_close_are_ignored(wire: Wire) -> None:
    """RFC 9112 section 9.6."""
    client = wire.client(
        b"GET http://ORIGIN/1 HTTP/1.1\r\nHost: ORIGIN\r\nConnection: close\r\n\r\n"
        b"GET http://ORIGIN/2 HTTP/1.1\r\nHost: ORIGIN\r\n\r\n"
    )
    upstream = wire.origin.accept()
    assert upstream.read_request().start == b"GET /1 HTTP/1.1"
    upstream.send(b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 1\r\n\r\n1")
    response = client.read_response()
    assert (response.content, response.values(b"connection")) == (b"1", [b"close"])
    assert client.ended()
    assert upstream.silent()


# ---------------------------------------------------------------- large contents


def _pattern(size: int) -> bytes:
    """Bytes that do not repeat in step with any buffer."""
    block = hashlib.shake_128(b"wire").digest(65521)
    return (block * (size // len(block) + 1))[:size]


LARGE = _pattern(6_000_011)


def _in_thread(call: Any, *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=call, args=arguments)
    thread.start()
    return thread


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_large_upload(wire: Wire, chunked: bool) -> None:
    """RFC 9112 section 6: every octet arrives."""
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(LARGE)
    client = wire.client(b"PUT http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n" + framing + b"\r\n\r\n")
    sizes = range(0, len(LARGE), 99_991)
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(LARGE[at : at + 99_991]), LARGE[at : at + 99_991]) for at in sizes)
    sending = _in_thread(client.send, chunks + b"0\r\n\r\n" if chunked else LARGE)
    upstream = wire.origin.accept()
    seen = upstream.read_request()
    sending.join()
    assert hashlib.sha256(seen.content).digest() == hashlib.sha256(LARGE).digest()
    upstream.send(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
    assert client.read_response().status == 201


def _send_and_finish(connection: Connection, data: bytes) -> None:
    connection.send(data)
    connection.finish()


@pytest.mark.parametrize("framing", ["length", "chunked", "until close"])
@pytest.mark.parametrize("minor", [1, 0])
def test_large_download(wire: Wire, framing: str, minor: int) -> None:
    """RFC 9112 section 6: every octet arrives."""
    client = wire.client(b"GET http://ORIGIN/ HTTP/1.%d\r\nHost: ORIGIN\r\n\r\n" % minor)
    upstream = wire.origin.accept()
    upstream.read_request()
    answer = b"HTTP/1.1 200 OK\r\n"
    if framing == "length":
        answer += b"Content-Length: %d\r\n\r\n" % len(LARGE) + LARGE
    elif framing == "chunked":
        answer += b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(LARGE), LARGE)
    else:
        answer += b"\r\n" + LARGE
    sending = _in_thread(_send_and_finish if framing == "until close" else Connection.send, upstream, answer)
    response = client.read_response()
    sending.join()
    assert not response.cut
    assert hashlib.sha256(response.content).digest() == hashlib.sha256(LARGE).digest()
