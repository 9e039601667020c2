"""Origins that answer badly, too early, too late, too much or not at all (RFC 9110 section 15.6.3, RFC 9112
section 8)."""

from __future__ import annotations

import time

import pytest

from tests.live.wire.raw import Connection
from tests.live.wire.wire import Wire

OK = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n\r\n"
POST = b"POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 2\r\n\r\nhi"

# An answer, after which the origin neither closes nor says more.
MALFORMED = {
    "9112 4: no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "9112 4: HTTP/0.9": b"<html>hello</html>\n",
    "9112 4: letters": b"garbage garbage garbage\r\n\r\n",
    "9112 4: octets": bytes(range(128, 256)),
    "9112 4: NUL": b"\x00",
    "9112 4: TLS alert": b"\x15\x03\x01\x00\x02\x02\x46",
    "9112 4: empty line first": b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "9112 4: space first": b" HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "9112 4: small letters": b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "9112 4: other protocol": b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n",
    "9112 2.3: no minor version": b"HTTP/1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "9112 2.3: HTTP/2": b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "9112 2.3: HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "9112 2.3: HTTP/0.9": b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
    "9112 2.3: two digits": b"HTTP/1.10 200 OK\r\nContent-Length: 0\r\n\r\n",
    "9112 4: two digits of status": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "9112 4: four digits of status": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "9112 4: letters of status": b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
    "9112 4: negative status": b"HTTP/1.1 -20 OK\r\nContent-Length: 0\r\n\r\n",
    "9112 4: no status": b"HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "9112 4: two spaces": b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
    "9112 4: tab": b"HTTP/1.1\t200\tOK\r\nContent-Length: 0\r\n\r\n",
    "9110 15: status 000": b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n",
    "9110 15: status 099": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "9110 15: status 600": b"HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n",
    "9110 15: status 999": b"HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n",
    "9112 4: NUL in the phrase": b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
    "9112 4: CR in the phrase": b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
    "9112 2.2: LF as line ends": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "9112 5.2: folded": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "9112 5.2: folded with a tab": b"HTTP/1.1 200 OK\r\nA: b\r\n\tc\r\nContent-Length: 0\r\n\r\n",
    "9112 2.2: white space before the first field": b"HTTP/1.1 200 OK\r\n A: b\r\nContent-Length: 0\r\n\r\n",
    "9110 5.5: NUL": b"HTTP/1.1 200 OK\r\nA: b\x00c\r\nContent-Length: 0\r\n\r\n",
    "9110 5.5: CR": b"HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c\r\nContent-Length: 0\r\n\r\n",
    "9110 5.5: LF": b"HTTP/1.1 200 OK\r\nA: b\nSet-Cookie: c\r\nContent-Length: 0\r\n\r\n",
    "9110 5.5: DEL": b"HTTP/1.1 200 OK\r\nA: b\x7f\r\nContent-Length: 0\r\n\r\n",
    "9110 5.1: no colon": b"HTTP/1.1 200 OK\r\nA b\r\nContent-Length: 0\r\n\r\n",
    "9110 5.1: no name": b"HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 0\r\n\r\n",
    "9110 5.1: space in the name": b"HTTP/1.1 200 OK\r\nA b: c\r\nContent-Length: 0\r\n\r\n",
    "9112 6.3 rule 5: two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    "9112 6.3 rule 5: list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nabc",
    "9112 6.3 rule 5: negative": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nab",
    "9112 6.3 rule 5: plus": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
    "9112 6.3 rule 5: letters": b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nab",
    "9112 6.3 rule 5: empty": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nab",
    "9112 6.3 rule 5: wraps 64 bits": b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nab",
    "9112 6.1: length and coding": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
    ),
    "9112 6.1: coding in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "9112 6.1: chunked twice": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    "9112 6.1: coding that was not offered": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "9112 6.3 rule 4: chunked is not last": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nab",
    "9112 6.3 rule 4: identity": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nab",
    "9112 6.3 rule 4: empty": b"HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n\r\nab",
    "9110 5.4: 257 fields": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 257 + b"\r\n",
    "9110 5.4: a field of 64 KiB": b"HTTP/1.1 200 OK\r\nA: " + b"b" * 65536 + b"\r\n\r\n",
    "9110 5.4: a head without end": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20000,
    "9112 4: a phrase without end": b"HTTP/1.1 200 " + b"O" * 100_000,
    "9110 15.2: 101 interim responses": b"HTTP/1.1 102 x\r\n\r\n" * 101,
}


@pytest.mark.parametrize("minor", [1, 0])
@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_answer(wire: Wire, case: str, minor: int) -> None:
    """The client gets 502 and none of it, the origin is closed, and the log says why."""
    client = wire.client(b"GET http://ORIGIN/ HTTP/1.%d\r\nHost: ORIGIN\r\n\r\n" % minor)
    upstream = wire.origin.accept()
    upstream.read_request()
    try:
        upstream.send(MALFORMED[case])
    except ConnectionError:
        assert "without end" in case
    response = client.read_response()
    assert (response.status, response.cut) == (502, False)
    assert response.values(b"set-cookie") == []
    large = "5.4" in case
    assert response.values(b"proxy-status") == [
        b"wire; error="
        + (b"http_response_header_section_size" if large or "without" in case else b"http_protocol_error")
    ]
    assert upstream.ended()
    assert wire.why(client) == ("response_head_too_large" if large or "without" in case else "malformed_response")
    if minor:
        # The client did nothing wrong: its connection goes on, with another one to the origin.
        client.send(wire.fill(GET))
        second = wire.origin.accept()
        second.read_request()
        second.send(OK)
        assert client.read_response().content == b"ok"
    else:
        assert client.ended()


# An answer, and what a client gets of it.
FORGIVEN = {
    "9112 5.1: white space before a colon is taken away": (
        b"HTTP/1.1 200 OK\r\nDate: x\r\nA \t: b\r\nContent-Length : 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nDate: x\r\nA: b\r\nContent-Length: 2\r\nVia: 1.1 wire\r\n\r\nok",
    ),
    "9110 5.4: 256 fields": (
        b"HTTP/1.1 200 OK\r\nDate: x\r\n" + b"A: b\r\n" * 254 + b"Content-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nDate: x\r\n" + b"A: b\r\n" * 254 + b"Content-Length: 2\r\nVia: 1.1 wire\r\n\r\nok",
    ),
    "9110 15.2: 100 interim responses": (
        b"HTTP/1.1 102 x\r\n\r\n" * 100 + OK,
        b"HTTP/1.1 102 x\r\nVia: 1.1 wire\r\n\r\n" * 100
        + b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\nVia: 1.1 wire\r\n\r\nok",
    ),
}


@pytest.mark.parametrize("case", FORGIVEN)
def test_forgiven_answer(wire: Wire, case: str) -> None:
    said, expected = FORGIVEN[case]
    client = wire.client(GET)
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(said)
    assert client.read(len(expected)) == expected
    assert client.silent()


def test_answer_byte_by_byte(wire: Wire) -> None:
    """RFC 9112 section 2.2."""
    client = wire.client(GET)
    upstream = wire.origin.accept()
    upstream.read_request()
    for byte in b"HTTP/1.1 103 Early\r\nA: b\r\n\r\n" + OK:
        upstream.send(bytes((byte,)))
    response = client.read_response()
    assert (response.status, response.content, len(response.interim)) == (200, b"ok", 1)


# ---------------------------------------------------------------- too short

# The beginning of an answer, after which the origin closes.
CUT = {
    "in the status line": b"HTTP/1.1 20",
    "in the head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "after an interim response": b"HTTP/1.1 103 Early\r\n\r\n",
}
CUT_CONTENT = {
    "before the content": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
    "in the content": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
    "before the first chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhello",
    "after a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "in the last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    "in the trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n",
}


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("case", CUT)
def test_head_cut_short(wire: Wire, case: str, reset: bool) -> None:
    """RFC 9110 section 15.6.3, RFC 9112 section 8."""
    client = wire.client(POST)
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(CUT[case])
    (upstream.reset if reset else upstream.close)()
    response = client.read_response()
    assert (response.status, response.cut) == (502, False)
    assert wire.why(client) in ("response_cut", "no_response")
    assert wire.origin.untouched()


@pytest.mark.parametrize("minor", [1, 0])
@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("case", CUT_CONTENT)
def test_content_cut_short(wire: Wire, case: str, reset: bool, minor: int) -> None:
    """RFC 9112 section 8: it never looks complete."""
    client = wire.client(b"GET http://ORIGIN/ HTTP/1.%d\r\nHost: ORIGIN\r\n\r\n" % minor)
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(CUT_CONTENT[case])
    if reset:
        # Not so fast that it takes back what was sent before it.
        assert upstream.silent()
        upstream.reset()
    else:
        upstream.close()
    try:
        response = client.read_response()
    except ConnectionResetError:
        # Content without a length, for a client of HTTP/1.0: only a reset can say that it is not all.
        assert (minor, b"chunked" in CUT_CONTENT[case]) == (0, True)
    else:
        assert response.cut or response.status == 502
    assert wire.why(client) == "response_cut"


@pytest.mark.parametrize("minor", [1, 0])
def test_content_until_a_reset(wire: Wire, minor: int) -> None:
    """RFC 9112 section 8: a reset is no end, also of content that ends with the connection."""
    client = wire.client(b"GET http://ORIGIN/ HTTP/1.%d\r\nHost: ORIGIN\r\n\r\n" % minor)
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
    client.read_through(b"hello")
    upstream.reset()
    try:
        rest = client.read_to_end()
    except ConnectionResetError:
        rest = b""
    assert b"0\r\n" not in rest
    assert wire.why(client) == "response_cut"


# ---------------------------------------------------------------- nothing at all


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("request_text", [GET, POST], ids=["GET", "POST"])
def test_no_answer_on_a_new_connection(wire: Wire, request_text: bytes, how: str) -> None:
    """RFC 9110 section 9.2.2: nothing tells that the origin did nothing; so there is no second try."""
    client = wire.client(request_text)
    upstream = wire.origin.accept()
    upstream.read_request()
    getattr(upstream, how)()
    response = client.read_response()
    assert (response.status, response.cut) == (502, False)
    assert response.values(b"proxy-status") == [b"wire; error=connection_terminated"]
    assert wire.origin.untouched()
    assert wire.why(client) == "no_response"


def pooled(wire: Wire) -> tuple[Connection, Connection]:
    """A client, and the connection to the origin that has carried an exchange of its."""
    client = wire.client(GET)
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(OK)
    assert client.read_response().content == b"ok"
    return client, upstream


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"PUT"])
def test_stale_connection_is_retried_once(wire: Wire, method: bytes, how: str) -> None:
    """RFC 9110 section 9.2.2, RFC 9112 section 9.3.1: an idempotent request goes out again, on a new connection."""
    client, upstream = pooled(wire)
    client.send(wire.fill(method + b" http://ORIGIN/2 HTTP/1.1\r\nHost: ORIGIN\r\n\r\n"))
    upstream.read_request()
    getattr(upstream, how)()
    second = wire.origin.accept()
    assert second.read_request().start == method + b" /2 HTTP/1.1"
    second.close()
    # A failed retry is not retried.
    assert client.read_response(method).status == 502
    assert wire.origin.untouched()
    assert wire.why(client) == "no_response"


@pytest.mark.parametrize("request_text", [POST, POST.replace(b"POST", b"PATCH"), POST.replace(b"POST", b"BREW")])
def test_other_methods_are_not_retried(wire: Wire, request_text: bytes) -> None:
    """RFC 9110 section 9.2.2."""
    client, upstream = pooled(wire)
    client.send(wire.fill(request_text))
    upstream.read_request()
    upstream.close()
    assert client.read_response().status == 502
    assert wire.origin.untouched()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_connection_that_was_closed_before(wire: Wire, how: str) -> None:
    """RFC 9112 section 9.3.1: a request of any method takes another connection then."""
    client, upstream = pooled(wire)
    getattr(upstream, how)()
    client.send(wire.fill(POST))
    second = wire.origin.accept()
    assert second.read_request().content == b"hi"
    second.send(OK)
    assert client.read_response().content == b"ok"


def test_no_retry_once_there_is_an_answer(wire: Wire) -> None:
    """RFC 9112 section 9.3.1."""
    client, upstream = pooled(wire)
    client.send(wire.fill(GET))
    upstream.read_request()
    upstream.send(b"HTTP/1.1 2")
    upstream.close()
    assert client.read_response().status == 502
    assert wire.origin.untouched()
    assert wire.why(client) == "response_cut"


# ---------------------------------------------------------------- too early, too late, at once


def test_answer_before_the_request_has_ended(wire: Wire) -> None:
    """RFC 9112 section 9.5: the upload stops, and the answer arrives whole, also when the origin resets after it."""
    client = wire.client(b"POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 50000000\r\n\r\nhello")
    upstream = wire.origin.accept()
    upstream.read_through(b"hello")
    upstream.send(b"HTTP/1.1 413 Too Large\r\nDate: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
    upstream.close()
    response = client.read_response()
    assert response.raw == (
        b"HTTP/1.1 413 Too Large\r\nDate: x\r\nContent-Length: 2\r\nConnection: close\r\nVia: 1.1 wire\r\n\r\nno"
    )
    began = time.monotonic()
    client.send_until_refused(b"x" * 65536)
    assert time.monotonic() - began < 5


def test_answer_to_nothing(wire: Wire) -> None:
    """RFC 9112 section 9.2: what comes while nothing is outstanding, such as a 408, answers nothing."""
    client, upstream = pooled(wire)
    upstream.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    assert upstream.ended()
    client.send(wire.fill(GET))
    second = wire.origin.accept()
    second.read_request()
    second.send(OK)
    assert client.read_response().content == b"ok"


def test_event_stream_arrives_at_once(wire: Wire) -> None:
    """RFC 9110 section 3.7: content is passed on as it comes, in any framing."""
    for framing, event in [
        (b"Transfer-Encoding: chunked\r\n", b"7\r\ndata: %d\r\n"),
        (b"", b"data: %d"),
        (b"Content-Length: 700\r\n", b"data: %d"),
    ]:
        client = wire.client(GET)
        upstream = wire.origin.accept()
        upstream.read_request()
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + framing + b"\r\n")
        assert client.read_through(b"\r\n\r\n")
        for number in range(5):
            upstream.send(event % number)
            assert client.read_through(b"data: %d" % number)
        upstream.reset()


def test_client_that_leaves_frees_the_origin(wire: Wire) -> None:
    """RFC 9112 section 9.5: within two seconds, before the answer and in the middle of it, for each way to leave."""
    left = []
    for answer in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"):
        for leave in (Connection.close, Connection.reset):
            client = wire.client(GET)
            upstream = wire.origin.accept()
            upstream.read_request()
            if answer:
                upstream.send(answer)
                assert client.read_through(b"hello")
            leave(client)
            left.append((client, upstream, time.monotonic()))
    for client, upstream, began in left:
        assert upstream.ended()
        assert time.monotonic() - began < 2
        assert wire.why(client) == "client_left"


def test_client_that_only_says_no_more(wire: Wire) -> None:
    """RFC 9112 section 9.6: after its FIN it still gets what arrives without delay."""
    client = wire.client(GET)
    client.finish()
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(OK)
    response = client.read_response()
    assert (response.content, response.cut) == (b"ok", False)
    assert client.ended()
