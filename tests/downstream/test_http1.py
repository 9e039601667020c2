"""The client-facing protocol, with its transport in memory."""

from __future__ import annotations

import pytest

from tests.memory import DATE, VIA, MemoryTransport, Wire
from twistedproxy.downstream.http1 import LAST_REQUEST, LINGER, MAX_WAITING

GET = b"GET http://origin.test/a HTTP/1.1\r\nHost: origin.test\r\n\r\n"
FORWARDED_GET = b"GET /a HTTP/1.1\r\nHost: origin.test\r\nVia: " + VIA + b"\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: today\r\n\r\nhi"
FORWARDED_OK = b"HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: 2\r\nVia: " + VIA + b"\r\n\r\nhi"


@pytest.fixture
def wire() -> Wire:
    return Wire()


def exchange(wire: Wire) -> tuple[MemoryTransport, MemoryTransport]:
    """A client whose GET has reached its origin."""
    client = wire.client()
    client.receive(GET)
    origin = wire.origins[-1]
    assert origin.take() == FORWARDED_GET
    return client, origin


def test_forwards_a_request_and_its_response(wire: Wire) -> None:
    client, origin = exchange(wire)
    origin.receive(OK)
    assert client.take() == FORWARDED_OK
    assert not client.closed
    record = wire.records.all[0]
    assert (record.kind, record.status, record.reason) == ("forward", 200, "")
    assert record.bytes_from_client == len(GET)
    assert record.bytes_to_client == len(FORWARDED_OK)
    assert record.bytes_to_upstream == len(FORWARDED_GET)
    assert record.bytes_from_upstream == len(OK)
    assert record.upstream_address == "192.0.2.1:80"


def test_each_byte_alone_makes_no_difference(wire: Wire) -> None:
    client = wire.client()
    for position in range(len(GET)):
        client.receive(GET[position : position + 1])
    origin = wire.origins[0]
    assert origin.take() == FORWARDED_GET
    for position in range(len(OK)):
        origin.receive(OK[position : position + 1])
    assert client.take() == FORWARDED_OK


def test_pipelined_requests_are_answered_in_order(wire: Wire) -> None:
    """RFC 9112 section 9.3.2: the second waits until the first is answered."""
    client = wire.client()
    client.receive(GET + GET.replace(b"/a", b"/b"))
    origin = wire.origins[0]
    assert origin.take() == FORWARDED_GET
    origin.receive(OK)
    assert client.take() == FORWARDED_OK
    assert origin.take() == FORWARDED_GET.replace(b"/a", b"/b")
    origin.receive(OK)
    assert client.take() == FORWARDED_OK
    assert len(wire.origins) == 1
    assert [record.reused for record in wire.records.all] == [False, True]


def test_many_pipelined_refusals_do_not_recurse(wire: Wire) -> None:
    client = wire.client()
    client.receive(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)
    assert client.take().count(b"HTTP/1.1 200 OK\r\n") == 2000


def test_what_waits_too_long_in_line_is_not_read(wire: Wire) -> None:
    client, origin = exchange(wire)
    client.receive(b"x" * MAX_WAITING)
    assert not client.paused
    client.receive(b"x")
    assert client.paused
    origin.receive(OK)
    assert not client.paused
    assert b"HTTP/1.1 501 Not Implemented\r\n" in client.take()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01", b"400 Bad Request", id="a TLS ClientHello"),
        pytest.param(b"GET http://x/ HTTP/1.1\n\n", b"400 Bad Request", id="bare line feeds"),
        pytest.param(b"GET http://x/ HTTP/1.1\r\n\r\n", b"400 Bad Request", id="no Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"400 Bad Request", id="a path"),
        pytest.param(b"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", b"501 Not Implemented", id="another scheme"),
        pytest.param(b"GET http://x/ HTTP/3.0\r\nHost: x\r\n\r\n", b"505 HTTP Version Not Supported", id="version"),
        pytest.param(
            b"GET http://x/ HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n", b"417 Expectation Failed", id="expectation"
        ),
        pytest.param(
            b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", b"400 Bad Request", id="CONNECT"
        ),
        pytest.param(
            b"TRACE http://x/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", b"400 Bad Request", id="TRACE"
        ),
    ],
)
def test_answers_what_cannot_be_taken_and_closes(wire: Wire, request_bytes: bytes, status: bytes) -> None:
    client = wire.client()
    client.receive(request_bytes)
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    assert b"\r\nDate: " + DATE + b"\r\n" in answer
    assert b"\r\nProxy-Status: proxy.test; error=http_request_error\r\n" in answer
    assert wire.origins == []
    wire.pass_time(LINGER + 1)
    assert client.closed
    assert wire.factory.connections == 0
    assert len(wire.records.all) == 1


def test_a_refusal_by_policy_keeps_the_connection(wire: Wire) -> None:
    wire.reload(("access.clients", "192.0.2.0/24"))
    client = wire.client()
    client.receive(GET)
    assert client.take().startswith(b"HTTP/1.1 403 Forbidden\r\n")
    client.receive(GET)
    assert client.take().startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert not client.closed
    assert wire.records.reasons == ["client_denied", "client_denied"]


# ---------------------------------------------------------------- deadlines


def test_an_idle_connection_is_closed(wire: Wire) -> None:
    client = wire.client()
    wire.pass_time(59)
    assert not client.closed
    wire.pass_time(2)
    assert client.closed
    assert client.take() == b""
    assert wire.records.all == []


def test_a_head_that_trickles_in_is_ended(wire: Wire) -> None:
    client = wire.client()
    for byte in GET[:40]:
        client.receive(bytes([byte]))
        wire.pass_time(0.5)
        if client.value():
            break
    assert client.take().startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert wire.reactor.seconds() - 1000 == pytest.approx(15, abs=1)
    assert wire.records.reasons == ["request_timeout"]


def test_the_head_deadline_holds_for_later_requests_too(wire: Wire) -> None:
    client, origin = exchange(wire)
    wire.pass_time(30)
    origin.receive(OK)
    client.take()
    client.receive(b"G")
    wire.pass_time(14)
    assert client.take() == b""
    wire.pass_time(2)
    assert client.take().startswith(b"HTTP/1.1 408 ")


def test_content_that_stops_coming_is_ended(wire: Wire) -> None:
    client = wire.client()
    client.receive(b"POST http://origin.test/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    wire.pass_time(40)
    client.receive(b"d")
    wire.pass_time(40)
    assert client.take() == b""
    wire.pass_time(21)
    assert client.take().startswith(b"HTTP/1.1 408 ")
    assert wire.origins[0].closed == "aborted"


def test_a_client_that_does_not_read_is_cut(wire: Wire) -> None:
    client, origin = exchange(wire)
    origin.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    client.fill()
    origin.receive(b"x" * 1000)
    assert origin.paused
    wire.pass_time(59)
    assert not client.closed
    wire.pass_time(2)
    assert client.closed == "aborted"
    assert origin.closed == "aborted"
    assert wire.records.reasons == ["client_stalled"]


def test_a_client_that_reads_again_gets_the_rest(wire: Wire) -> None:
    client, origin = exchange(wire)
    origin.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n")
    client.fill()
    origin.receive(b"x" * 1000)
    wire.pass_time(30)
    client.drain()
    assert not origin.paused
    wire.pass_time(50)
    origin.receive(b"x" * 1000)
    assert client.take().endswith(b"x" * 2000)
    assert wire.records.reasons == [""]


def test_the_next_request_waits_for_a_client_that_does_not_read(wire: Wire) -> None:
    """Or pipelining would fill the memory with answers that nobody reads."""
    client, origin = exchange(wire)
    client.fill()
    origin.receive(OK)
    client.receive(GET)
    assert origin.take() == b""
    client.drain()
    assert origin.take() == FORWARDED_GET


# ---------------------------------------------------------------- the client's end


def test_a_client_that_leaves_frees_its_upstream(wire: Wire) -> None:
    client, origin = exchange(wire)
    client.peer_closes()
    assert origin.closed == "aborted"
    assert wire.records.reasons == ["client_left"]
    assert wire.factory.connections == 0


def test_a_client_that_leaves_while_connecting_stops_that(wire: Wire) -> None:
    wire.dialer.open = False
    client = wire.client()
    client.receive(GET)
    client.peer_resets()
    assert wire.dialer.dials[0].cancelled
    assert wire.pool.open_connections == 0
    assert wire.records.reasons == ["client_left"]


def test_a_half_closed_client_gets_its_answer(wire: Wire) -> None:
    client, origin = exchange(wire)
    client.protocol.readConnectionLost()
    wire.pass_time(0.5)
    origin.receive(OK)
    assert client.take() == FORWARDED_OK
    wire.turn()
    assert client.closed == "closed"


def test_a_half_closed_client_that_gets_nothing_has_left(wire: Wire) -> None:
    client, origin = exchange(wire)
    client.protocol.readConnectionLost()
    wire.pass_time(2)
    assert client.closed == "aborted"
    assert origin.closed == "aborted"
    assert wire.records.reasons == ["client_left"]


def test_a_half_closed_client_that_goes_on_reading_is_not_hurried(wire: Wire) -> None:
    client, origin = exchange(wire)
    client.protocol.readConnectionLost()
    origin.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
    for _ in range(9):
        wire.pass_time(1)
        origin.receive(b"x")
    origin.receive(b"x")
    assert client.take().endswith(b"x" * 10)
    assert wire.records.reasons == [""]


def test_a_request_that_is_cut_short_reaches_no_good_end(wire: Wire) -> None:
    client = wire.client()
    client.receive(b"POST http://origin.test/ HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    client.protocol.readConnectionLost()
    assert client.take().startswith(b"HTTP/1.1 400 ")
    assert wire.origins[0].closed == "aborted"
    assert wire.records.reasons == ["request_cut"]


def test_a_head_that_is_cut_short_is_answered(wire: Wire) -> None:
    client = wire.client()
    client.receive(GET[:20])
    client.protocol.readConnectionLost()
    assert client.take().startswith(b"HTTP/1.1 400 ")


def test_a_close_between_requests_is_just_that(wire: Wire) -> None:
    client = wire.client()
    client.protocol.readConnectionLost()
    wire.turn()
    assert client.closed == "closed"
    assert client.take() == b""
    assert wire.records.all == []


# ---------------------------------------------------------------- HTTP/1.0, and closing


def test_an_http_1_0_client_is_not_kept(wire: Wire) -> None:
    """RFC 9112 section 9.3, and no chunks for it (section 6.1)."""
    client = wire.client()
    client.receive(b"GET http://origin.test/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    origin = wire.origins[0]
    assert origin.take() == b"GET /a HTTP/1.1\r\nHost: origin.test\r\nVia: 1.0 proxy.test\r\n\r\n"
    origin.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDate: d\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert client.take() == b"HTTP/1.1 200 OK\r\nDate: d\r\nConnection: close\r\nVia: " + VIA + b"\r\n\r\nabc"
    wire.turn()
    assert client.closed == "closed"


def test_content_that_ends_with_the_connection_is_chunked_for_the_client(wire: Wire) -> None:
    client, origin = exchange(wire)
    origin.receive(b"HTTP/1.1 200 OK\r\nDate: d\r\n\r\nabc")
    origin.peer_closes()
    assert client.take() == (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nDate: d\r\nVia: ".replace(
            b"Transfer-Encoding: chunked\r\nDate: d", b"Date: d\r\nTransfer-Encoding: chunked"
        )
        + VIA
        + b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )
    assert not client.closed


@pytest.mark.parametrize(
    ("head", "how"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "closed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "closed"),
    ],
)
def test_a_cut_response_never_looks_complete(wire: Wire, head: bytes, how: str) -> None:
    client, origin = exchange(wire)
    origin.receive(head)
    origin.peer_closes()
    answer = client.take()
    assert b"abc" in answer
    assert b"0\r\n\r\n" not in answer
    wire.turn()
    assert client.closed == how
    assert wire.records.reasons == ["response_cut"]


def test_a_reset_is_no_end_of_content(wire: Wire) -> None:
    client, origin = exchange(wire)
    origin.receive(b"HTTP/1.1 200 OK\r\n\r\nabc")
    origin.peer_resets()
    assert b"0\r\n\r\n" not in client.take()
    assert wire.records.reasons == ["response_cut"]


def test_cut_content_until_close_is_reset_for_http_1_0(wire: Wire) -> None:
    client = wire.client()
    client.receive(b"GET http://origin.test/a HTTP/1.0\r\n\r\n")
    wire.origins[0].receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    wire.origins[0].peer_closes()
    assert client.closed == "aborted"


def test_connection_close_is_honoured(wire: Wire) -> None:
    client = wire.client()
    client.receive(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + GET)
    wire.origins[0].receive(OK)
    assert b"\r\nConnection: close\r\n" in client.take()
    wire.turn()
    assert client.closed == "closed"
    assert len(wire.records.all) == 1


def test_draining_says_so_and_closes(wire: Wire) -> None:
    client, origin = exchange(wire)
    idle, idle_origin = exchange(wire)
    idle_origin.receive(OK)
    idle.take()
    drained = wire.factory.drain()
    wire.pass_time(2 * LAST_REQUEST)
    assert idle.closed == "closed"
    assert not client.closed
    origin.receive(OK)
    assert b"\r\nConnection: close\r\n" in client.take()
    assert not drained.called
    wire.turn()
    assert client.closed == "closed"
    assert drained.called


def test_draining_answers_a_request_that_is_on_its_way(wire: Wire) -> None:
    """RFC 9112 section 9.6: closing while a request comes in leaves the client in doubt."""
    client = wire.client()
    drained = wire.factory.drain()
    wire.turn()
    assert not client.closed
    client.receive(GET)
    wire.pass_time(2 * LAST_REQUEST)
    wire.origins[0].receive(OK)
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer
    wire.turn()
    assert client.closed == "closed"
    assert drained.called


@pytest.mark.parametrize("drains", [True, False])
def test_time_is_not_over_before_what_has_come_is_read(wire: Wire, drains: bool) -> None:
    """A turn of the reactor can take so long that the deadline passes while a request waits for the next one."""
    client, origin = exchange(wire)
    origin.receive(OK)
    client.take()
    seconds = 2 * LAST_REQUEST
    if drains:
        wire.factory.drain()
    else:
        seconds += wire.plane.snapshot.settings.downstream.idle_timeout
    # Behind the deadline, in the same turn.
    wire.reactor.callLater(seconds, client.receive, GET)
    wire.reactor.advance(seconds)
    wire.origins[-1].receive(OK)
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert (b"\r\nConnection: close\r\n" in answer) is drains
    wire.turn()
    assert client.closed == ("closed" if drains else "")


def test_draining_is_not_a_reason_to_read_faster(wire: Wire) -> None:
    """The last answer still waits for its client, for as long as without a drain."""
    client, origin = exchange(wire)
    client.fill()
    origin.receive(OK)
    wire.factory.drain()
    wire.pass_time(4 * LAST_REQUEST)
    assert not client.closed
    client.drain()
    wire.turn()
    assert client.closed == "closed"


def test_stopping_cuts_what_is_under_way(wire: Wire) -> None:
    client, origin = exchange(wire)
    wire.factory.stop("stopped")
    wire.turn()
    assert client.closed
    assert origin.closed == "aborted"
    assert wire.records.reasons == ["stopped"]
    assert wire.factory.connections == 0


def test_a_fault_of_our_own_is_a_500_and_no_dead_connection(wire: Wire, logged_errors: object) -> None:
    client, origin = exchange(wire)
    origin.receive(OK)
    client.take()
    wire.plane.pool.take_idle = None  # type: ignore[method-assign,assignment]  # what no input could do
    client.receive(GET)
    assert client.take().startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert wire.records.reasons == ["", "internal_error"]
    assert len(logged_errors.flush(TypeError)) == 1  # type: ignore[attr-defined]  # the fixture's own type


def test_repr_tells_what_it_does(wire: Wire) -> None:
    client = wire.client()
    assert repr(wire.connection(client)) == "<DownstreamConnection 127.0.0.1:40000 'idle'>"
