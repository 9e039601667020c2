"""The stages of an ordinary request, with the network in memory."""

from __future__ import annotations

import pytest

from tests.memory import VIA, MemoryTransport, Wire
from twistedproxy.errors import ConnectionRefused, NameNotFound

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: d\r\n\r\nhi"


@pytest.fixture
def wire() -> Wire:
    return Wire()


def ask(wire: Wire, method: bytes = b"GET", fields: bytes = b"", content: bytes = b"") -> MemoryTransport:
    """A client that has sent a request for ``http://origin.test/``."""
    client = wire.client()
    client.receive(method + b" http://origin.test/ HTTP/1.1\r\nHost: other.test\r\n" + fields + b"\r\n" + content)
    return client


# ---------------------------------------------------------------- answers of the proxy's own


def test_options_asterisk_speaks_of_the_proxy(wire: Wire) -> None:
    client = wire.client()
    client.receive(b"OPTIONS * HTTP/1.1\r\nHost: proxy\r\n\r\n")
    assert client.take() == (
        b"HTTP/1.1 200 OK\r\nAllow: CONNECT, DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, TRACE\r\n"
        b"Content-Length: 0\r\nDate: Fri, 15 Jan 2027 08:00:00 GMT\r\n\r\n"
    )


def test_trace_at_its_last_hop_echoes_without_secrets(wire: Wire) -> None:
    """RFC 9110 sections 7.6.2 and 9.3.8."""
    client = ask(wire, b"TRACE", b"Max-Forwards: 0\r\nCookie: a\r\nAuthorization: b\r\nX-Seen: yes\r\n")
    answer = client.take()
    head, _, content = answer.partition(b"\r\n\r\n")
    assert b"Content-Type: message/http" in head
    assert content == (
        b"TRACE http://origin.test/ HTTP/1.1\r\nHost: other.test\r\nMax-Forwards: 0\r\nX-Seen: yes\r\n\r\n"
    )
    assert wire.origins == []


def test_max_forwards_is_counted_down(wire: Wire) -> None:
    ask(wire, b"OPTIONS", b"Max-Forwards: 3\r\n")
    assert wire.origins[0].take() == (
        b"OPTIONS / HTTP/1.1\r\nHost: origin.test\r\nMax-Forwards: 2\r\nVia: " + VIA + b"\r\n\r\n"
    )


def test_a_request_that_comes_round_again_is_refused(wire: Wire) -> None:
    client = ask(wire, fields=b"Via: 1.1 first, 1.1 PROXY.test (us)\r\n")
    assert client.take().startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert wire.records.reasons == ["loop_detected"]
    assert wire.origins == []


# ---------------------------------------------------------------- content


def test_content_that_comes_before_the_connection_waits(wire: Wire) -> None:
    wire.dialer.open = False
    client = ask(wire, b"POST", b"Content-Length: 6\r\n", b"abc")
    assert client.paused
    wire.dialer.dials[0].succeed()
    assert not client.paused
    assert wire.origins[0].take().endswith(b"\r\n\r\nabc")
    client.receive(b"def")
    assert wire.origins[0].take() == b"def"
    wire.origins[0].receive(OK)
    assert client.take().endswith(b"hi")


def test_chunks_are_made_anew(wire: Wire) -> None:
    """RFC 9112 section 7.1: decoded, and framed again; a trailer of no harm goes with them."""
    client = ask(
        wire,
        b"POST",
        b"Transfer-Encoding: chunked\r\n",
        b"2;x=y\r\nab\r\n1\r\nc\r\n0\r\nX-Sum: 6\r\nHost: evil\r\n\r\n",
    )
    sent = wire.origins[0].take()
    assert sent.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n")
    wire.origins[0].receive(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDate: d\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\nX-End: 1\r\n\r\n"
    )
    assert client.take().endswith(b"\r\n\r\n2\r\nab\r\n0\r\nX-End: 1\r\n\r\n")


def test_an_upload_rests_while_the_origin_does(wire: Wire) -> None:
    client = ask(wire, b"POST", b"Content-Length: 1000\r\n", b"a")
    origin = wire.origins[0]
    origin.fill()
    client.receive(b"b")
    assert client.paused
    origin.drain()
    assert not client.paused


def test_an_answer_before_the_end_of_the_upload_is_the_last(wire: Wire) -> None:
    """RFC 9110 section 10.1.1; and the origin's connection is not used again."""
    client = ask(wire, b"POST", b"Content-Length: 1000\r\n", b"a")
    wire.origins[0].receive(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nDate: d\r\n\r\n")
    assert b"\r\nConnection: close\r\n" in client.take()
    assert wire.origins[0].closed == "aborted"
    wire.pass_time(3)
    assert client.closed
    assert wire.records.reasons == [""]


# ---------------------------------------------------------------- interim responses, and switching


def test_interim_responses_are_forwarded(wire: Wire) -> None:
    client = ask(wire, b"POST", b"Expect: 100-continue\r\nContent-Length: 2\r\n")
    origin = wire.origins[0]
    assert b"\r\nExpect: 100-continue\r\n" in origin.take()
    origin.receive(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    assert client.take() == (
        b"HTTP/1.1 100 Continue\r\nVia: " + VIA + b"\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nVia: " + VIA + b"\r\n\r\n"
    )
    client.receive(b"ok")
    assert origin.take() == b"ok"
    origin.receive(OK)
    assert client.take().endswith(b"hi")


def test_interim_responses_are_not_for_http_1_0(wire: Wire) -> None:
    client = wire.client()
    client.receive(b"POST http://origin.test/ HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok")
    assert b"Expect" not in wire.origins[0].take()
    wire.origins[0].receive(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    assert client.take() == b""
    wire.origins[0].receive(OK)
    assert client.take().startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_flood_of_interim_responses_ends(wire: Wire) -> None:
    client = ask(wire)
    wire.origins[0].receive(b"HTTP/1.1 102 Processing\r\n\r\n" * 101)
    assert b"HTTP/1.1 502 Bad Gateway\r\n" in client.take()
    assert wire.records.reasons == ["malformed_response"]


UPGRADE = b"Connection: upgrade\r\nUpgrade: websocket\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Key: k\r\n\r\n"


def test_an_upgrade_becomes_a_relay(wire: Wire) -> None:
    client = ask(wire, fields=UPGRADE, content=b"early")
    origin = wire.origins[0]
    assert origin.take() == (
        b"GET / HTTP/1.1\r\nHost: origin.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nVia: " + VIA + b"\r\n\r\n"
    )
    origin.receive(SWITCHING + b"soon")
    assert client.take() == (
        b"HTTP/1.1 101 Switching Protocols\r\nX-Key: k\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nVia: "
        + VIA
        + b"\r\n\r\nsoon"
    )
    assert origin.take() == b"early"
    client.receive(b"GET is not looked at")
    assert origin.take() == b"GET is not looked at"
    origin.receive(b"pong")
    assert client.take() == b"pong"
    assert wire.records.all == []
    client.peer_resets()
    wire.turn()
    record = wire.records.all[0]
    assert (record.kind, record.status, record.reason) == ("tunnel", 101, "client_left")
    assert wire.factory.connections == 0
    assert wire.pool.open_connections == 0


@pytest.mark.parametrize(
    ("fields", "switching"),
    [
        pytest.param(b"", SWITCHING, id="nothing was offered"),
        pytest.param(UPGRADE, SWITCHING.replace(b"websocket", b"tea/1"), id="something else was offered"),
        pytest.param(UPGRADE, b"HTTP/1.1 101 Switching Protocols\r\n\r\n", id="to nothing"),
    ],
)
def test_a_switch_that_was_not_offered_is_an_error(wire: Wire, fields: bytes, switching: bytes) -> None:
    """RFC 9110 section 7.8."""
    client = ask(wire, fields=fields)
    wire.origins[0].receive(switching)
    assert client.take().startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert wire.records.reasons == ["upgrade_failed"]
    assert wire.origins[0].closed == "aborted"


# ---------------------------------------------------------------- what goes wrong upstream


@pytest.mark.parametrize(
    ("error", "status", "proxy_status"),
    [
        (NameNotFound("x"), b"502 Bad Gateway", b"dns_error"),
        (ConnectionRefused("x"), b"502 Bad Gateway", b"connection_refused"),
    ],
)
def test_no_connection_is_an_answer(wire: Wire, error: Exception, status: bytes, proxy_status: bytes) -> None:
    wire.dialer.open = False
    client = ask(wire)
    wire.dialer.dials[0].fail(error)
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert b"\r\nProxy-Status: proxy.test; error=" + proxy_status + b"\r\n" in answer
    assert not client.closed
    assert wire.pool.open_connections == 0


def test_an_origin_that_says_nothing_is_given_up(wire: Wire) -> None:
    client = ask(wire)
    wire.pass_time(299)
    assert client.take() == b""
    wire.pass_time(2)
    assert client.take().startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
    assert wire.records.reasons == ["first_byte_timeout"]


def test_an_origin_that_stops_in_the_middle_is_given_up(wire: Wire) -> None:
    client = ask(wire)
    wire.origins[0].receive(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    wire.pass_time(301)
    assert client.take().endswith(b"abc")
    assert client.closed == "closed"
    assert wire.records.reasons == ["body_timeout"]


def served_once(wire: Wire) -> None:
    """Leaves one idle connection in the pool."""
    client = ask(wire)
    wire.origins[0].receive(OK)
    client.take()
    wire.origins[0].take()


def test_a_stale_connection_is_tried_again_once(wire: Wire) -> None:
    """RFC 9112 section 9.3.1."""
    served_once(wire)
    client = ask(wire)
    wire.origins[0].peer_closes()
    assert len(wire.origins) == 2
    wire.origins[1].receive(OK)
    assert client.take().endswith(b"hi")
    assert wire.records.reasons == ["", ""]


def test_not_a_second_time(wire: Wire) -> None:
    served_once(wire)
    client = ask(wire)
    wire.origins[0].peer_closes()
    wire.origins[1].peer_closes()
    assert len(wire.origins) == 2
    assert client.take().startswith(b"HTTP/1.1 502 ")
    assert wire.records.reasons == ["", "no_response"]


@pytest.mark.parametrize(
    ("method", "fields", "content"),
    [(b"POST", b"", b""), (b"PATCH", b"", b""), (b"PUT", b"Content-Length: 1\r\n", b"x")],
)
def test_what_cannot_be_sent_twice_is_not(wire: Wire, method: bytes, fields: bytes, content: bytes) -> None:
    """RFC 9110 section 9.2.2."""
    served_once(wire)
    client = ask(wire, method, fields, content)
    wire.origins[0].peer_resets()
    assert len(wire.origins) == 1
    assert client.take().startswith(b"HTTP/1.1 502 ")


def test_an_answer_that_began_is_not_asked_for_again(wire: Wire) -> None:
    served_once(wire)
    client = ask(wire)
    wire.origins[0].receive(b"HTTP/1.1 2")
    wire.origins[0].peer_closes()
    assert len(wire.origins) == 1
    assert client.take().startswith(b"HTTP/1.1 502 ")
    assert wire.records.reasons == ["", "response_cut"]


def test_a_fresh_connection_is_not_tried_again(wire: Wire) -> None:
    client = ask(wire)
    wire.origins[0].peer_closes()
    assert len(wire.origins) == 1
    assert client.take().startswith(b"HTTP/1.1 502 ")
