"""Before and beyond the final response: Expect, 1xx responses, and other protocols (RFC 9110 sections 7.8,
10.1.1, 15.2)."""

from __future__ import annotations

import pytest

from tests.live.wire.wire import Wire

OK = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 0\r\n\r\n"
GET = b"GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n"
POST = b"POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\nVia: 1.1 wire\r\n\r\n"


@pytest.mark.parametrize("expectation", [b"100-continue", b"100-Continue", b", 100-continue,"])
def test_continue_comes_from_the_origin(wire: Wire, expectation: bytes) -> None:
    """RFC 9110 section 10.1.1: the expectation goes on, the origin's 100 comes back, and then the content goes."""
    client = wire.client(POST + b"Expect: " + expectation + b"\r\nContent-Length: 5\r\n\r\n")
    upstream = wire.origin.accept()
    head = upstream.read_through(b"\r\n\r\n")
    assert head == wire.fill(
        b"POST / HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 5\r\nExpect: 100-continue\r\nVia: 1.1 wire\r\n\r\n"
    )
    assert client.silent()
    upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.read(len(CONTINUE)) == CONTINUE
    client.send(b"hello")
    assert upstream.read(5) == b"hello"
    upstream.send(OK)
    assert client.read_response().status == 200
    assert client.silent()


@pytest.mark.parametrize("status", [b"417 Expectation Failed", b"401 Unauthorized", b"200 OK"])
def test_final_response_instead_of_continue(wire: Wire, status: bytes) -> None:
    """RFC 9110 section 10.1.1: the client hears that the connection closes, since nobody knows what it sends now."""
    client = wire.client(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    upstream = wire.origin.accept()
    upstream.read_through(b"\r\n\r\n")
    upstream.send(b"HTTP/1.1 " + status + b"\r\nDate: x\r\nContent-Length: 2\r\n\r\nno")
    response = client.read_response()
    assert response.raw == (
        b"HTTP/1.1 " + status + b"\r\nDate: x\r\nContent-Length: 2\r\nConnection: close\r\nVia: 1.1 wire\r\n\r\nno"
    )
    assert client.ended()
    assert upstream.ended()


def test_content_that_does_not_wait(wire: Wire) -> None:
    """RFC 9110 section 10.1.1: the client need not wait, and the origin need not say 100."""
    client = wire.client(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
    upstream = wire.origin.accept()
    seen = upstream.read_request()
    assert (seen.content, seen.values(b"expect")) == (b"hello", [b"100-continue"])
    upstream.send(OK)
    assert client.read_response().interim == []
    assert client.silent()


def test_expectation_of_http_1_0_is_ignored(wire: Wire) -> None:
    """RFC 9110 section 10.1.1: and the origin's 100 is not for such a client (section 15.2)."""
    client = wire.client(b"POST http://ORIGIN/ HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
    upstream = wire.origin.accept()
    seen = upstream.read_request()
    assert (seen.content, seen.values(b"expect")) == (b"hello", [])
    upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)
    response = client.read_response()
    assert (response.status, response.interim) == (200, [])


def test_refusal_instead_of_continue(wire: Wire) -> None:
    """RFC 9110 section 10.1.1: our own refusal is a final answer, and comes without waiting for the content."""
    client = wire.client(
        b"POST http://169.254.169.254/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    )
    response = client.read_response()
    assert (response.status, response.interim) == (403, [])
    assert response.values(b"connection") == [b"close"]
    assert client.ended()


INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nConnection: x\r\nX: y\r\n\r\n"


def test_interim_responses_are_forwarded(wire: Wire) -> None:
    """RFC 9110 section 15.2: at once, each, also those nobody knows; connection fields go no further."""
    client = wire.client(GET + b"\r\n")
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(b"HTTP/1.1 102 Processing\r\n\r\n")
    expected = b"HTTP/1.1 102 Processing\r\nVia: 1.1 wire\r\n\r\n"
    assert client.read(len(expected)) == expected
    upstream.send(INTERIM + b"HTTP/1.1 199 What\r\n\r\n" + OK)
    response = client.read_response()
    assert [interim.raw for interim in response.interim] == [
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nVia: 1.1 wire\r\n\r\n",
        b"HTTP/1.1 199 What\r\nVia: 1.1 wire\r\n\r\n",
    ]
    assert response.status == 200
    assert client.silent()


def test_interim_responses_are_not_for_http_1_0(wire: Wire) -> None:
    """RFC 9110 section 15.2."""
    client = wire.client(b"GET http://ORIGIN/ HTTP/1.0\r\n\r\n")
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n" + INTERIM + OK)
    response = client.read_response()
    assert (response.status, response.interim) == (200, [])


@pytest.mark.parametrize("lines", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_interim_response_has_no_framing(wire: Wire, lines: bytes) -> None:
    """RFC 9110 section 8.6, RFC 9112 section 6.1."""
    client = wire.client(GET + b"\r\n")
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(b"HTTP/1.1 103 Early Hints\r\n" + lines + b"\r\n" + OK)
    response = client.read_response()
    assert [interim.raw for interim in response.interim] == [b"HTTP/1.1 103 Early Hints\r\nVia: 1.1 wire\r\n\r\n"]
    assert response.status == 200


# ---------------------------------------------------------------- other protocols

KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://a.example\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n"
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
)


def test_websocket(wire: Wire) -> None:
    """RFC 9110 section 7.8, RFC 6455: after 101 it is opaque, both ways, to the last byte, and Origin is untouched."""
    client = wire.client(GET + KEY + b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n")
    upstream = wire.origin.accept()
    assert upstream.read_request().raw == wire.fill(
        b"GET / HTTP/1.1\r\nHost: ORIGIN\r\n"
        + KEY
        + b"Upgrade: websocket\r\nConnection: Upgrade\r\nVia: 1.1 wire\r\n\r\n"
    )
    upstream.send(SWITCH + b"\r\n\x81\x05hello")
    expected = SWITCHED + b"Via: 1.1 wire\r\n\r\n\x81\x05hello"
    assert client.read(len(expected)) == expected
    client.send(b"\x00\r\n\r\n\xff")
    assert upstream.read(6) == b"\x00\r\n\r\n\xff"
    upstream.send(b"GET / HTTP/1.1\r\n\r\n")
    assert client.read(18) == b"GET / HTTP/1.1\r\n\r\n"
    client.finish()
    assert upstream.read_to_end() == b""
    upstream.send(b"the last words")
    upstream.finish()
    assert client.read_to_end() == b"the last words"
    [line] = wire.proxy.access_lines(client)
    assert (line["status"], line["kind"], line["reason"]) == (101, "tunnel", None)


def test_bytes_that_do_not_wait_for_the_switch(wire: Wire) -> None:
    """RFC 9110 section 7.8: what follows the request belongs to the other protocol once that is agreed upon."""
    client = wire.client(GET + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\nearly")
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(SWITCH + b"\r\n")
    assert upstream.read(5) == b"early"
    client.send(b" late")
    assert upstream.read(5) == b" late"
    assert client.read_response().status == 101


def test_upgrade_that_is_declined(wire: Wire) -> None:
    """RFC 9110 section 7.8: the connection stays HTTP, for both sides."""
    client = wire.client(GET + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(OK)
    assert client.read_response().status == 200
    client.send(wire.fill(GET + b"\r\n"))
    assert upstream.read_request().values(b"upgrade") == []
    upstream.send(OK)
    assert client.read_response().status == 200


def test_upgrade_required(wire: Wire) -> None:
    """RFC 9110 section 15.5.22: a 426 says what to upgrade to."""
    client = wire.client(GET + b"\r\n")
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(b"HTTP/1.1 426 No\r\nDate: x\r\nUpgrade: foo/2\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n")
    response = client.read_response()
    assert response.raw == (
        b"HTTP/1.1 426 No\r\nDate: x\r\nContent-Length: 0\r\nUpgrade: foo/2\r\nConnection: Upgrade\r\n"
        b"Via: 1.1 wire\r\n\r\n"
    )


# Fields of a request, and what of Upgrade and Connection the origin gets.
@pytest.mark.parametrize(
    ("lines", "minor", "offered"),
    [
        (b"Upgrade: websocket", 1, []),
        (b"Upgrade: websocket\r\nConnection: Upgrade", 0, []),
        (b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAA", 1, []),
        (b"Upgrade: H2C\r\nConnection: upgrade", 1, []),
        (b"Upgrade: h2c, websocket\r\nConnection: upgrade", 1, [b"websocket"]),
        (b"Upgrade: foo/1, bar\r\nConnection: upgrade", 1, [b"foo/1, bar"]),
        (b"Connection: upgrade", 1, []),
    ],
    ids=["no option", "HTTP/1.0", "h2c", "h2c in capitals", "h2c and another", "two", "no Upgrade"],
)
def test_what_is_offered(wire: Wire, lines: bytes, minor: int, offered: list[bytes]) -> None:
    """RFC 9110 section 7.8; RFC 9113 section 3.1 has withdrawn h2c."""
    seen, _ = wire.exchange(b"GET http://ORIGIN/ HTTP/1.%d\r\nHost: ORIGIN\r\n" % minor + lines + b"\r\n\r\n", OK)
    assert seen.values(b"upgrade") == offered
    assert seen.values(b"connection") == ([b"Upgrade"] if offered else [])
    assert seen.values(b"http2-settings") == []


# Fields of a request, and a 101 that does not go with them.
@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (b"", SWITCH + b"\r\n"),
        (b"Upgrade: websocket\r\n", SWITCH + b"\r\n"),
        (b"Upgrade: foo\r\nConnection: Upgrade\r\n", SWITCH + b"\r\n"),
        (b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"HTTP/1.1 101 Hm\r\nConnection: Upgrade\r\n\r\n"),
        (b"Upgrade: h2c\r\nConnection: Upgrade\r\n", b"HTTP/1.1 101 Hm\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
        (
            b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
            b"HTTP/1.1 101 Hm\r\nUpgrade: websocket, foo\r\nConnection: Upgrade\r\n\r\n",
        ),
    ],
    ids=["nothing offered", "no option", "another offered", "to nothing", "h2c", "more than offered"],
)
def test_switch_that_was_not_offered(wire: Wire, lines: bytes, answer: bytes) -> None:
    """RFC 9110 section 7.8."""
    client = wire.client(GET + lines + b"\r\n")
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(answer + b"not HTTP")
    response = client.read_response()
    assert (response.status, response.cut) == (502, False)
    assert response.values(b"proxy-status") == [b"wire; error=http_upgrade_failed"]
    assert b"not HTTP" not in response.raw
    assert upstream.ended()
    assert wire.why(client) == "upgrade_failed"


def test_continue_before_the_switch(wire: Wire) -> None:
    """RFC 9110 section 7.8: first 100, then the content, then 101."""
    client = wire.client(
        POST + b"Expect: 100-continue\r\nContent-Length: 5\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    )
    upstream = wire.origin.accept()
    assert upstream.read_through(b"\r\n\r\n")
    upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.read(len(CONTINUE)) == CONTINUE
    client.send(b"hello")
    assert upstream.read(5) == b"hello"
    upstream.send(SWITCH + b"\r\nnow")
    assert client.read_response().status == 101
    assert client.read(3) == b"now"


def test_switch_before_the_end_of_the_request(wire: Wire) -> None:
    """RFC 9110 section 7.8: an origin that switches before it has the request mixes up whose bytes are whose."""
    client = wire.client(POST + b"Content-Length: 5\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhe")
    upstream = wire.origin.accept()
    upstream.read_through(b"\r\n\r\nhe")
    upstream.send(SWITCH + b"\r\n")
    assert client.read_response().status == 502
    assert upstream.ended()
