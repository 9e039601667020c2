"""Whoever is too slow: each phase has its deadline, its answer and its reason in the log (RFC 9110 sections
15.5.9, 15.6.5)."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from tests.live.wire.raw import Connection
from tests.live.wire.twistd_process import pause
from tests.live.wire.wire import Wire

OK = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n\r\n"


class Elapsed:
    """The time since it was made, in seconds."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() - self._began


@pytest.mark.parametrize("beginning", [b"G", b"GET http://ORIGIN/ HTTP/1.1\r\n", b"\r\n"])
def test_head_that_trickles_in(hasty: Wire, beginning: bytes) -> None:
    """RFC 9110 section 15.5.9: downstream.head_timeout runs from the first byte; later ones do not push it back."""
    client = hasty.client(beginning)
    elapsed = Elapsed()
    rest = iter(b"GET http://ORIGIN/ HTTP/1.1\r\nA: bcdefghijklmnopqrstuvwxyz" if beginning == b"\r\n" else b"A" * 40)
    while client.silent(0.1):
        client.send(bytes((next(rest),)))
    assert 0.4 < elapsed() < 1.5
    response = client.read_response()
    assert (response.status, response.values(b"connection")) == (408, [b"close"])
    assert client.ended()
    assert hasty.why(client) == "request_timeout"


def test_head_that_stops(hasty: Wire) -> None:
    """RFC 9110 section 15.5.9."""
    client = hasty.client(b"GET http://ORIGIN/ HTTP/1.1\r\nHost:")
    elapsed = Elapsed()
    assert client.read_response().status == 408
    assert 0.4 < elapsed() < 1.5
    assert client.ended()


def test_second_head_that_stops(hasty: Wire) -> None:
    """RFC 9110 section 15.5.9: the deadline holds for each head of a connection, from its own first byte."""
    client = hasty.client(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\nOPT")
    elapsed = Elapsed()
    assert client.read_response().status == 200
    assert client.read_response().status == 408
    assert 0.4 < elapsed() < 1.5
    assert client.ended()


def test_connection_without_a_request(hasty: Wire) -> None:
    """RFC 9112 section 9.5: downstream.idle_timeout; there is nothing to answer."""
    client = hasty.client()
    elapsed = Elapsed()
    assert client.read_to_end() == b""
    assert 0.9 < elapsed() < 2


def test_connection_after_its_last_request(hasty: Wire) -> None:
    """RFC 9112 section 9.5."""
    client = hasty.client(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.read_response().status == 200
    elapsed = Elapsed()
    assert client.read_to_end() == b""
    assert 0.9 < elapsed() < 2


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 10\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\na\r\nhello"]
)
def test_content_that_stops(hasty: Wire, framing: bytes) -> None:
    """RFC 9110 section 15.5.9: downstream.body_timeout; the origin does not get a whole request."""
    client = hasty.client(b"POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n" + framing)
    elapsed = Elapsed()
    upstream = hasty.origin.accept()
    upstream.read_through(b"hello")
    assert client.read_response().status == 408
    assert 0.4 < elapsed() < 1.5
    assert client.ended()
    assert upstream.was_reset()
    assert hasty.why(client) == "request_timeout"


def test_content_that_is_slow(hasty: Wire) -> None:
    """RFC 9112 section 9.5: as long as it comes, it may take its time."""
    client = hasty.client(b"POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 6\r\n\r\n")
    upstream = hasty.origin.accept()
    for byte in b"slowly":
        assert client.silent(0.25)
        client.send(bytes((byte,)))
    assert upstream.read_request().content == b"slowly"
    upstream.send(OK)
    assert client.read_response().content == b"ok"


def test_origin_that_does_not_answer(hasty: Wire) -> None:
    """RFC 9110 section 15.6.5, RFC 9209 section 2.3.15: upstream.first_byte_timeout."""
    client = hasty.client(GET)
    elapsed = Elapsed()
    upstream = hasty.origin.accept()
    upstream.read_request()
    response = client.read_response()
    assert response.status == 504
    assert response.values(b"proxy-status") == [b"wire; error=http_response_timeout"]
    assert 0.4 < elapsed() < 1.5
    assert upstream.ended()
    assert hasty.why(client) == "first_byte_timeout"


def test_answer_that_trickles_in(hasty: Wire) -> None:
    """RFC 9110 section 15.6.5: the head of an answer is late too when it comes byte by byte."""
    client = hasty.client(GET)
    elapsed = Elapsed()
    upstream = hasty.origin.accept()
    upstream.read_request()
    for byte in b"HTTP/1.1 200 OK\r\nA: bcdefghijklmnopqrstuvwxyz":
        upstream.send(bytes((byte,)))
        if not client.silent(0.1):
            break
    assert 0.4 < elapsed() < 1.5
    assert client.read_response().status == 504
    assert hasty.why(client) == "first_byte_timeout"


def test_interim_answers_show_that_it_works(hasty: Wire) -> None:
    """RFC 9110 section 15.2: each of them gives the final one as long again."""
    client = hasty.client(GET)
    upstream = hasty.origin.accept()
    upstream.read_request()
    for _ in range(4):
        assert client.silent(0.2)
        upstream.send(b"HTTP/1.1 102 Processing\r\n\r\n")
        client.read_through(b"\r\n\r\n")
    upstream.send(OK)
    assert client.read_response().status == 200


def test_origin_that_stops(hasty: Wire) -> None:
    """RFC 9112 section 8: upstream.body_timeout; what there is never looks complete, in any framing, for anybody."""
    framings = [b"Content-Length: 9\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n9\r\nhello", b"\r\nhello"]
    waiting = []
    for framing, minor in itertools.product(framings, (0, 1)):
        origin = hasty.another_origin()
        client = hasty.client(b"GET http://%b/ HTTP/1.%d\r\nHost: x\r\n\r\n" % (origin.authority, minor))
        upstream = origin.accept()
        upstream.read_request()
        upstream.send(b"HTTP/1.1 200 OK\r\n" + framing)
        waiting.append((client, upstream, Elapsed()))
    for client, upstream, elapsed in waiting:
        response = client.read_response()
        assert (response.status, response.cut) == (200, True)
        assert 0.4 < elapsed() < 1.5
        assert upstream.ended()
        assert hasty.why(client) == "body_timeout"


def test_client_that_does_not_read(hasty: Wire) -> None:
    """RFC 9110 section 17.5: downstream.write_timeout; its connection is cut, and the origin's freed."""
    client = hasty.client(GET)
    upstream = hasty.origin.accept()
    upstream.read_request()
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
    elapsed = Elapsed()
    upstream.send_until_refused(b"x" * 65536)
    assert elapsed() < 3
    assert client.was_reset()
    assert hasty.why(client) == "client_stalled"


def test_clients_that_read_slowly(hasty: Wire) -> None:
    """RFC 9112 section 9.6: who goes on reading gets all of it, however much waits in the system's buffers.

    One client's connection is kept, the other's closed after the answer.
    """
    size = 4_000_000
    # Whatever the system's buffers hold, the second client has an origin's connection of its own.
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    clients: list[Connection] = []
    sending: list[threading.Thread] = []
    for option in (b"x", b"close"):
        clients.append(hasty.client(GET[:-2] + b"Connection: " + option + b"\r\n\r\n"))
        upstream = hasty.origin.accept()
        upstream.read_request()
        sending.append(threading.Thread(target=upstream.send, args=(answer,)))
        sending[-1].start()
        assert b"Content-Length: 4000000" in clients[-1].read_through(b"\r\n\r\n")
    elapsed = Elapsed()
    for _ in range(size // 100_000):
        for client in clients:
            client.read(100_000)
        pause(0.1)
    for thread in sending:
        thread.join()
    assert elapsed() > 3
    assert [hasty.why(client) for client in clients] == [None, None]


def test_origin_that_does_not_read(hasty: Wire) -> None:
    """RFC 9110 section 15.6.5: an upload that nobody takes ends with 504, and not with its client's fault."""
    client = hasty.client(b"POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 100000000\r\n\r\n")
    upstream = hasty.origin.accept()
    elapsed = Elapsed()

    def send() -> None:
        try:
            while True:
                client.send(b"x" * 65536)
        except OSError:
            pass

    sending = threading.Thread(target=send)
    sending.start()
    response = client.read_response()
    assert response.status == 504
    assert elapsed() < 3
    client.close()
    sending.join()
    upstream.close()
    assert hasty.why(client) == "first_byte_timeout"


def test_connections_that_are_all_in_use(hasty: Wire) -> None:
    """RFC 9110 section 15.6.4, RFC 9209 section 2.3.12: upstream.wait_timeout; who has waited goes first."""
    first, second = hasty.client(GET), hasty.client(GET)
    one, two = hasty.origin.accept(), hasty.origin.accept()
    one.read_request()
    two.read_request()
    third = hasty.client(GET.replace(b"/ ", b"/third "))
    assert third.silent(0.02)
    one.send(OK)
    assert one.read_request().start == b"GET /third HTTP/1.1"
    fourth = hasty.client(GET)
    response = fourth.read_response()
    assert response.status == 503
    assert response.values(b"proxy-status") == [b"wire; error=connection_limit_reached"]
    assert hasty.why(fourth) == "upstream_connections_exceeded"
    assert hasty.origin.untouched()
    one.send(OK)
    assert sorted(client.read_response().status for client in (first, second, third)) == [200, 200, 504]


def test_pooled_connection_that_nobody_uses(hasty: Wire) -> None:
    """RFC 9112 section 9.5: upstream.idle_timeout."""
    client = hasty.client(GET)
    upstream = hasty.origin.accept()
    upstream.read_request()
    upstream.send(OK)
    assert client.read_response().status == 200
    elapsed = Elapsed()
    assert upstream.ended()
    assert 0.4 < elapsed() < 1.5


def test_client_that_does_not_close(hasty: Wire) -> None:
    """RFC 9112 section 9.6: after its last answer it gets two seconds, whatever it sends."""
    client = hasty.client(b"BAD\r\n\r\n")
    assert client.read_response().status == 400
    assert client.ended()
    elapsed = Elapsed()
    client.send_until_refused(b"x", 0.02)
    assert 1 < elapsed() < 3
