"""The origin-facing protocol: what its exchanges do not show."""

from __future__ import annotations

import pytest

from tests.memory import Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
GET = b"GET http://origin.test/ HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OK + b"surplus", id="surplus bytes"),
        pytest.param(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), id="close"),
        pytest.param(OK.replace(b"1.1", b"1.0"), id="HTTP/1.0"),
    ],
)
def test_a_connection_that_is_not_sure_is_not_kept(wire: Wire, answer: bytes) -> None:
    """RFC 9112 sections 6.3 and 9.3."""
    client = wire.client()
    client.receive(GET)
    wire.origins[0].receive(answer)
    assert client.take().endswith(b"\r\n\r\nhi")
    assert wire.origins[0].closed == "aborted"
    assert wire.pool.open_connections == 0
    client.receive(GET)
    assert len(wire.origins) == 2


def test_bytes_that_answer_nothing_close_the_connection(wire: Wire) -> None:
    """RFC 9112 section 9.2: nobody gets them."""
    client = wire.client()
    client.receive(GET)
    wire.origins[0].receive(OK)
    client.take()
    wire.origins[0].receive(OK)
    assert wire.origins[0].closed == "aborted"
    client.receive(GET)
    assert client.take() == b""
    assert len(wire.origins) == 2


def test_an_idle_connection_is_closed_in_time(wire: Wire) -> None:
    client = wire.client()
    client.receive(GET)
    wire.origins[0].receive(OK)
    wire.pass_time(29)
    assert not wire.origins[0].closed
    wire.pass_time(2)
    assert wire.origins[0].closed == "aborted"


@pytest.mark.parametrize(
    "garbage",
    [b"SSH-2.0-OpenSSH\r\n", b"<html>hello</html>", b"HTTP/1.1 abc\r\n\r\n", b"\x00", b"HTTP/2 200\r\n\r\n", b"\n\n"],
)
def test_an_answer_that_is_not_http_is_a_502_at_once(wire: Wire, garbage: bytes) -> None:
    client = wire.client()
    client.receive(GET)
    wire.origins[0].receive(garbage)
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"error=http_protocol_error" in answer
    assert wire.origins[0].closed == "aborted"


def test_repr_tells_where_it_is(wire: Wire) -> None:
    client = wire.client()
    client.receive(GET)
    connection = wire.origins[0].protocol
    assert repr(connection) == "<UpstreamConnection http://origin.test:80 at 192.0.2.1:80 busy exchanges=1>"


def test_the_end_comes_in_a_rest(wire: Wire) -> None:
    """TLS tells what it has read when it is told to rest; the connection is read again when it is kept."""
    client = wire.client()
    client.receive(GET)
    client.fill()
    wire.origins[0].receive(OK[:-1])
    assert wire.origins[0].paused
    wire.origins[0].receive(OK[-1:])
    assert not wire.origins[0].paused
    client.drain()
    client.receive(GET)
    assert len(wire.origins) == 1
    # The idle connection's deadline is not that of a response.
    wire.origins[0].receive(OK)
    wire.pass_time(31)
    assert wire.pool.open_connections == 0
