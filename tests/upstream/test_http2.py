"""The HTTP/2 client: connections that many exchanges share, behind a client that speaks HTTP/1.1."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from tests.memory import MemoryTransport, Wire
from tests.secure_origin import SecureOrigin, context

AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)
HTTP2 = context(AUTHORITY, b"h2", b"http/1.1")
HTTP1 = context(AUTHORITY, b"http/1.1")
ONLY_HTTP2 = context(AUTHORITY, b"h2", refuses=True)
GET = b"GET https://origin.test/page?q HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST https://origin.test/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"
ALWAYS = ("http2.with_servers", "always")
KEY = ("https", "origin.test", 443, "")


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The system trusts the origins' authority."""
    file = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))


@pytest.fixture
def wire() -> Wire:
    return Wire(ALWAYS)


def ask(wire: Wire, request: bytes = GET) -> MemoryTransport:
    client = wire.client()
    client.receive(request)
    return client


def origin(wire: Wire, number: int = 0, settings: dict[SettingCodes, int] | None = None) -> SecureOrigin:
    """The origin at the other end of the connection of that number, after the handshake."""
    made = SecureOrigin(wire, wire.origins[number], HTTP2, settings)
    made.pump()
    return made


def test_a_request_and_its_answer_are_translated(wire: Wire) -> None:
    client = ask(
        wire, GET.replace(b"\r\n\r\n", b"\r\nCookie: a\r\nX-Y: z\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\r\n")
    )
    there = origin(wire)
    assert there.offered == b"h2"
    assert there.requests == {
        1: {
            b":method": b"GET",
            b":scheme": b"https",
            b":authority": b"origin.test",
            b":path": b"/page?q",
            b"cookie": b"a",
            b"x-y": b"z",
            b"via": b"1.1 proxy.test",
        }
    }
    assert there.ended == [1]
    there.answer(1, b"hi", (b"x-answer", b"1"))
    head, _, content = client.take().partition(b"\r\n\r\n")
    assert content == b"hi"
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nx-answer: 1\r\n" in head
    assert head.endswith(b"\r\nVia: 2.0 proxy.test")
    (record,) = wire.records.all
    assert (record.kind, record.status, record.reason, record.reused) == ("forward", 200, "", False)
    assert record.bytes_to_upstream > 0
    assert record.bytes_from_upstream > 0


def test_many_share_one_connection(wire: Wire) -> None:
    """Those that come before it is known what the origin speaks wait for the first one's handshake."""
    clients = [ask(wire) for _ in range(5)]
    assert len(wire.origins) == 1
    there = origin(wire)
    clients.append(ask(wire))
    there.pump()
    assert len(wire.origins) == 1
    assert sorted(there.requests) == [1, 3, 5, 7, 9, 11]
    for stream in (11, 9, 7, 5, 3, 1):
        there.answer(stream, b"%d" % stream)
    assert [client.take()[-2:].strip() for client in clients] == [b"1", b"3", b"5", b"7", b"9", b"11"]
    assert [record.reused for record in wire.records.all] == [True] * 5 + [False]
    assert repr(wire.pool) == "<Pool open=1 idle=1 waiting=0>"
    assert wire.pool.in_use_by_key == {KEY: 0}


def test_an_origin_of_http1_gets_as_many_connections_as_there_are_requests(wire: Wire) -> None:
    clients = [ask(wire) for _ in range(3)]
    assert len(wire.origins) == 1
    first = SecureOrigin(wire, wire.origins[0], HTTP1)
    first.pump()
    assert len(wire.origins) == 3
    # From now on nobody waits.
    clients.append(ask(wire))
    assert len(wire.origins) == 4
    assert first.offered == b"http/1.1"
    assert first.plain.startswith(b"GET /page?q HTTP/1.1\r\n")
    first.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    assert clients[0].take().endswith(b"\r\n\r\nhi")


def test_a_client_of_http1_is_mirrored() -> None:
    """It has its own connection, and waits for nobody."""
    wire = Wire()
    client = ask(wire)
    ask(wire)
    assert len(wire.origins) == 2
    there = origin(wire)
    assert there.offered == b"http/1.1"
    there.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    assert client.take().endswith(b"hi")


def test_an_origin_that_refuses_http1_is_asked_in_http2() -> None:
    """RFC 7301 section 3.2; from then on it is asked so at once."""
    wire = Wire()
    clients = [ask(wire)]
    SecureOrigin(wire, wire.origins[0], ONLY_HTTP2).pump()
    there = origin(wire, 1)
    for number in (1, 3):
        there.pump()
        assert sorted(there.requests)[-1] == number
        there.answer(number)
        assert clients[-1].take().endswith(b"hi")
        clients.append(ask(wire))
    assert len(wire.origins) == 2
    assert wire.records.reasons == ["", ""]


def test_an_origin_that_speaks_http2_unasked_is_asked_in_it() -> None:
    """Servers that know nothing else may take whoever does not agree on a protocol for one who does."""
    wire = Wire()
    client = ask(wire)
    deaf = SecureOrigin(wire, wire.origins[0], HTTP1)
    deaf.pump()
    deaf.say(b"\0\0\0\x04\0\0\0\0\0")
    there = origin(wire, 1)
    assert there.offered == b"h2"
    there.answer(1)
    assert client.take().endswith(b"hi")
    assert wire.records.reasons == [""]


def test_an_origin_with_which_http2_is_not_spoken_has_no_version_in_common() -> None:
    wire = Wire(("http2.with_servers", "never"))
    client = ask(wire)
    SecureOrigin(wire, wire.origins[0], ONLY_HTTP2).pump()
    assert client.take().startswith(b"HTTP/1.1 502 ")
    assert wire.records.reasons == ["no_common_version"]


def test_who_leaves_leaves_the_connection_to_those_who_follow(wire: Wire) -> None:
    first, second = ask(wire), ask(wire)
    first.peer_closes()
    there = origin(wire)
    assert list(there.requests) == [1]
    there.answer(1)
    assert second.take().endswith(b"hi")


def test_when_the_last_leaves_the_connection_is_given_up(wire: Wire) -> None:
    first, second = ask(wire), ask(wire)
    second.peer_closes()
    first.peer_closes()
    assert wire.origins[0].closed == "aborted"
    assert wire.pool.open_connections == 0


def test_all_who_wait_hear_that_it_failed(wire: Wire) -> None:
    clients = [ask(wire) for _ in range(3)]
    wire.origins[0].peer_resets()
    assert [client.take().split(b"\r\n")[0] for client in clients] == [b"HTTP/1.1 502 Bad Gateway"] * 3
    assert wire.records.reasons == ["tls_failed"] * 3
    assert wire.pool.open_connections == 0


def test_content_and_trailers_go_both_ways(wire: Wire) -> None:
    head = b"POST https://origin.test/rpc HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n"
    client = ask(wire, head)
    there = origin(wire)
    client.receive(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")
    there.pump()
    assert there.requests[1][b"te"] == b"trailers"
    assert there.contents == {1: b"hello"}
    assert there.trailers == {1: [(b"x-sum", b"1")]}

    def answer(h2: H2Connection) -> None:
        h2.send_headers(1, [(b":status", b"200")])
        h2.send_data(1, b"world")
        h2.send_headers(1, [(b"grpc-status", b"0")], end_stream=True)

    there.act(answer)
    written = client.take()
    assert b"\r\nTransfer-Encoding: chunked\r\n" in written
    assert written.endswith(b"\r\n\r\n5\r\nworld\r\n0\r\ngrpc-status: 0\r\n\r\n")


def test_an_interim_answer_passes(wire: Wire) -> None:
    client = ask(wire)
    there = origin(wire)
    there.act(lambda h2: h2.send_headers(1, [(b":status", b"103"), (b"link", b"</a>")]))
    assert client.take().startswith(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n")
    there.answer(1)
    assert client.take().endswith(b"hi")


def test_an_upload_waits_for_the_origins_window(wire: Wire) -> None:
    size = 200_000
    client = ask(wire, POST.replace(b": 5", b": %d" % size))
    there = origin(wire)
    there.acknowledges = False
    client.receive(b"x" * (size // 2))
    there.pump()
    assert len(there.contents[1]) == 65535
    assert client.paused
    there.acknowledges = True
    there.act(lambda h2: h2.acknowledge_received_data(65535, 1))
    assert not client.paused
    client.receive(b"x" * (size // 2))
    there.pump()
    assert there.contents[1] == b"x" * size
    assert there.ended == [1]


def test_a_client_that_does_not_read_holds_back_its_own_stream_only(wire: Wire) -> None:
    slow, fast = ask(wire), ask(wire)
    there = origin(wire)
    slow.fill()
    size = 600_000
    head = [(b":status", b"200"), (b"content-length", b"%d" % size)]
    left = size

    def push(h2: H2Connection) -> None:
        nonlocal left
        while left and (room := min(h2.local_flow_control_window(1), 16384, left)):
            h2.send_data(1, b"z" * room, end_stream=room == left)
            left -= room

    there.act(lambda h2: h2.send_headers(1, head))
    for _ in range(10):
        there.act(push)
    # One window, and not a byte more.
    assert size - left == 256 * 1024
    there.answer(3, b"y" * 10_000)
    assert fast.take().endswith(b"y" * 10_000)
    slow.drain()
    for _ in range(10):
        there.act(push)
    assert left == 0
    assert slow.take().count(b"z") == size


def test_a_client_that_leaves_resets_its_stream_only(wire: Wire) -> None:
    first, second = ask(wire), ask(wire)
    there = origin(wire)
    first.peer_closes()
    there.pump()
    assert there.resets == {1: ErrorCodes.CANCEL}
    there.answer(3)
    assert second.take().endswith(b"hi")


@pytest.mark.parametrize(
    ("code", "attempts"),
    [(ErrorCodes.REFUSED_STREAM, 2), (ErrorCodes.INTERNAL_ERROR, 1), (ErrorCodes.PROTOCOL_ERROR, 1)],
)
def test_a_stream_that_was_refused_is_asked_for_again(wire: Wire, code: ErrorCodes, attempts: int) -> None:
    """RFC 9113 section 8.7."""
    client = ask(wire)
    there = origin(wire)
    there.reset(1, code)
    assert len(there.requests) == attempts
    if attempts == 2:
        there.answer(3)
        assert client.take().endswith(b"hi")
        assert wire.records.reasons == [""]
    else:
        assert client.take().startswith(b"HTTP/1.1 502 ")
        assert wire.records.reasons == ["no_response"]


def test_an_origin_that_wants_http1_gets_it(wire: Wire) -> None:
    client = ask(wire)
    there = origin(wire)
    there.reset(1, ErrorCodes.HTTP_1_1_REQUIRED)
    second = origin(wire, 1)
    assert second.offered == b"http/1.1"
    second.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    assert client.take().endswith(b"hi")
    client.receive(GET)
    assert len(wire.origins) == 2


def test_an_answer_that_breaks_off_is_cut(wire: Wire) -> None:
    client = ask(wire)
    there = origin(wire)

    def begin(h2: H2Connection) -> None:
        h2.send_headers(1, [(b":status", b"200"), (b"content-length", b"10")])
        h2.send_data(1, b"12345")

    there.act(begin)
    there.reset(1, ErrorCodes.INTERNAL_ERROR)
    assert client.take().endswith(b"12345")
    assert client.closed
    assert wire.records.reasons == ["response_cut"]


def test_streams_that_a_server_does_not_know_of_go_elsewhere(wire: Wire) -> None:
    """RFC 9113 section 6.8: after GOAWAY the others go on."""
    first, second = ask(wire), ask(wire)
    there = origin(wire)
    there.say(GoAwayFrame(0, last_stream_id=1).serialize())
    again = origin(wire, 1)
    again.answer(1, b"again")
    assert second.take().endswith(b"again")
    there.answer(1, b"first")
    assert first.take().endswith(b"first")
    assert wire.origins[0].closed == "closed"
    assert wire.records.reasons == ["", ""]
    assert wire.pool.open_connections == 1


def test_a_lost_connection_fails_what_it_carries(wire: Wire) -> None:
    """What has begun is cut. What has not is asked for again, but only where the connection was not a new one."""
    begun, silent = ask(wire), ask(wire)
    there = origin(wire)
    there.act(lambda h2: h2.send_headers(1, [(b":status", b"200")]))
    wire.origins[0].peer_resets()
    assert begun.take().startswith(b"HTTP/1.1 200 ")
    assert begun.closed
    again = origin(wire, 1)
    again.answer(1)
    assert silent.take().endswith(b"hi")
    assert wire.records.reasons == ["response_cut", ""]


def test_what_cannot_be_sent_twice_is_not(wire: Wire) -> None:
    ask(wire)
    client = ask(wire, POST + b"hello")
    origin(wire)
    wire.origins[0].peer_resets()
    assert client.take().startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize(
    "head",
    [
        [(b":status", b"101")],
        [(b":status", b"200"), (b"connection", b"close")],
        [(b":status", b"200"), (b"content-length", b"-1")],
        [(b":status", b"099")],
    ],
)
def test_a_malformed_answer_is_its_streams_fault_alone(wire: Wire, head: list[tuple[bytes, bytes]]) -> None:
    """RFC 9113 section 8.1.1."""
    wrong, right = ask(wire), ask(wire)
    there = origin(wire)
    assert there.h2 is not None
    there.h2.config.validate_outbound_headers = False
    there.h2.config.normalize_outbound_headers = False
    there.act(lambda h2: h2.send_headers(1, head, end_stream=False))
    assert wrong.take().startswith(b"HTTP/1.1 502 ")
    assert there.resets == {1: ErrorCodes.PROTOCOL_ERROR}
    there.answer(3)
    assert right.take().endswith(b"hi")


def test_more_streams_than_the_origin_takes_need_another_connection(wire: Wire) -> None:
    wire = Wire(ALWAYS, ("upstream.max_connections_per_origin", "2"))
    ask(wire)
    there = origin(wire, settings={SettingCodes.MAX_CONCURRENT_STREAMS: 2})
    clients = [ask(wire) for _ in range(5)]
    there.pump()
    assert sorted(there.requests) == [1, 3]
    second = origin(wire, 1, {SettingCodes.MAX_CONCURRENT_STREAMS: 2})
    assert wire.pool.open_connections == 2
    taken = len(second.requests)
    there.answer(1)
    assert len(there.requests) + len(second.requests) == taken + 3
    assert clients[0].take() == b""


def test_a_reload_leaves_it_behind(wire: Wire) -> None:
    client = ask(wire)
    there = origin(wire)
    wire.reload(ALWAYS)
    other = ask(wire)
    second = origin(wire, 1)
    there.answer(1)
    assert client.take().endswith(b"hi")
    assert wire.origins[0].closed == "closed"
    second.answer(1)
    assert other.take().endswith(b"hi")
    assert wire.pool.open_connections == 1


def test_an_idle_connection_is_closed_in_time(wire: Wire) -> None:
    ask(wire)
    there = origin(wire)
    there.answer(1)
    wire.pass_time(29)
    assert not wire.origins[0].closed
    wire.pass_time(2)
    there.pump()
    assert wire.origins[0].closed == "closed"
    assert wire.pool.open_connections == 0


def test_an_origin_that_says_nothing_is_not_trusted_with_more(wire: Wire) -> None:
    wire = Wire(ALWAYS, ("upstream.first_byte_timeout", "5s"))
    client = ask(wire)
    there = origin(wire)
    wire.pass_time(6)
    there.pump()
    assert client.take().startswith(b"HTTP/1.1 504 ")
    assert there.resets == {1: ErrorCodes.CANCEL}
    ask(wire)
    assert len(wire.origins) == 2


def test_it_can_be_switched_off(wire: Wire) -> None:
    for number, setting in enumerate([("http2.with_servers", "never"), ("http2.except_hosts", '["origin.test"]')]):
        wire.reload(setting)
        ask(wire)
        assert origin(wire, number).offered == b"http/1.1"


@pytest.mark.parametrize("scheme", [b"Negotiate", b"NTLM"])
def test_what_authenticates_a_connection_has_one_of_its_own(wire: Wire, scheme: bytes) -> None:
    ask(wire, GET.replace(b"\r\n\r\n", b"\r\nAuthorization: " + scheme + b" abc\r\n\r\n"))
    assert origin(wire).offered == b"http/1.1"


def test_a_fault_of_the_protocol_ends_the_connection(wire: Wire) -> None:
    client = ask(wire)
    there = origin(wire)
    there.say(b"HTTP/1.1 200 OK\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 502 ")
    assert wire.records.reasons == ["malformed_response"]
    assert wire.pool.open_connections == 0


def test_repr_tells_where_it_is(wire: Wire) -> None:
    ask(wire)
    there = origin(wire)
    connection = wire.origins[0].protocol.wrappedProtocol
    assert repr(connection) == "<SharedConnection https://origin.test:443 at 192.0.2.1:443 streams=1>"
    there.answer(1)
    assert repr(connection) == "<SharedConnection https://origin.test:443 at 192.0.2.1:443 idle>"
    connection.abandon()
    assert repr(connection) == "<SharedConnection https://origin.test:443 at 192.0.2.1:443 closed>"
