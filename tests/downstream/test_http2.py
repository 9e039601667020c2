"""HTTP/2 connections of clients: how they begin, what they may do, and how they end."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import ContinuationFrame, HeadersFrame, PingFrame, PriorityFrame, SettingsFrame

from tests.http2_client import GET, POST, HTTP2Client
from tests.inner import Inner, established
from tests.memory import LISTENER, Wire
from tests.secure_origin import SecureOrigin
from twistedproxy.downstream.http2 import HTTP2Connection
from twistedproxy.downstream.listing import listed
from twistedproxy.http2.session import PREFACE

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: x\r\n\r\nhi"
OPEN = (("intercept.mode", "all-but"), ("intercept.ports", "all"))
LAST = 2**31 - 1
Find = Callable[..., SecureOrigin]


@pytest.fixture
def wire() -> Wire:
    return Wire(*OPEN)


@pytest.fixture
def client(wire: Wire) -> HTTP2Client:
    return HTTP2Client(wire)


def reasons(wire: Wire) -> list[tuple[int, str]]:
    """Status and reason of each record but those of the tunnels."""
    return [(record.status, record.reason) for record in wire.records.all if record.kind != "intercept"]


# ---------------------------------------------------------------- the beginning


def test_settings(wire: Wire) -> None:
    client = HTTP2Client(wire)
    assert client.settings == {
        SettingCodes.HEADER_TABLE_SIZE: 4096,
        SettingCodes.MAX_CONCURRENT_STREAMS: 100,
        SettingCodes.MAX_HEADER_LIST_SIZE: 65536,
        SettingCodes.INITIAL_WINDOW_SIZE: 262144,
        SettingCodes.MAX_FRAME_SIZE: 65536,
        SettingCodes.ENABLE_PUSH: 0,
        SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
    }
    wire.reload(*OPEN, ("http2.max_streams", "7"), ("http2.stream_window", "1MiB"))
    client = HTTP2Client(wire)
    assert client.settings[SettingCodes.MAX_CONCURRENT_STREAMS] == 7
    assert client.settings[SettingCodes.INITIAL_WINDOW_SIZE] == 1024 * 1024


def test_counted_as_the_connection_that_it_was(wire: Wire) -> None:
    client = HTTP2Client(wire)
    (connection,) = wire.factory
    assert isinstance(connection, HTTP2Connection)
    assert (connection.number, connection.listener, wire.factory.accepted) == (1, LISTENER, 1)
    assert wire.factory.by_client == {"127.0.0.1": 1}
    assert repr(connection) == "<HTTP2Connection 127.0.0.1:40000 'idle'>"
    client.transport.peer_closes()
    assert wire.factory.connections == 0


@pytest.mark.parametrize(
    "settings",
    [
        [("http2.with_clients", "false")],
        [("http2.except_hosts", "origin.test")],
        [("downstream.listen", LISTENER), ("http2.except_listeners", LISTENER)],
    ],
)
def test_not_spoken(settings: list[tuple[str, str]]) -> None:
    wire = Wire(*OPEN, *settings)
    inner = Inner(wire, established(wire), protocols=["h2", "http/1.1"])
    inner.shake_hands()
    assert inner.tls.selected_alpn_protocol() == "http/1.1"


def test_what_another_listener_has_said(wire: Wire) -> None:
    wire = Wire(*OPEN, ("downstream.listen", f'["tcp:1", "{LISTENER}"]'), ("http2.except_listeners", "tcp:1"))
    assert HTTP2Client(wire).connection.listener == LISTENER


def test_an_alert_after_the_handshake(wire: Wire) -> None:
    """RFC 8446 section 4.4.4: some have finished the handshake when they look at the certificate."""
    client = HTTP2Client(wire)
    client.connection.alert_received(48)
    client.transport.peer_resets()
    wire.turn()
    assert [one.times for one in wire.plane.rejections.all()] == [1]


def test_a_request_shows_that_the_certificate_is_taken(wire: Wire) -> None:
    wire.plane.rejections.rejected("127.0.0.1", "origin.test")
    HTTP2Client(wire).ask()
    assert wire.plane.rejections.all() == []


# ---------------------------------------------------------------- what is told of it


def test_listed(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    def told() -> tuple[object, ...]:
        one = listed(client.connection, 0, wire.deadlines.seconds())
        return one.state, one.requests, one.exchanges, one.method, one.target, one.upstream

    assert told() == ("idle", 0, 0, "", "", "")
    client.ask()
    client.ask(POST, b"x", end=False)
    assert told() == ("request", 2, 2, "GET", "https://origin.test/a?b", "")
    origin(wire).say(OK)
    client.turn()
    assert told() == ("request", 2, 1, "POST", "https://origin.test/a?b", "")
    one = listed(client.connection, 0, wire.deadlines.seconds())
    assert one.bytes_from_client == client.connection.received > 100
    assert one.bytes_to_client == client.connection.sent > 100


# ---------------------------------------------------------------- how much one may ask for


def test_one_stream_too_many(origin: Find) -> None:
    """It is refused, and may be asked for again; the others go on."""
    wire = Wire(*OPEN, ("http2.max_streams", "2"))
    client = HTTP2Client(wire)
    client.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] = 100
    client.h2.remote_settings.acknowledge()
    first, second, third = client.ask(), client.ask(), client.ask()
    assert client.answers[third].reset == ErrorCodes.REFUSED_STREAM
    assert client.answers[second].reset is None
    origin(wire).say(OK)
    client.turn()
    assert client.answers[first].ended
    assert client.answers[client.ask()].reset is None
    assert not client.goaways


def resets(client: HTTP2Client) -> None:
    for _ in range(400):
        stream = client.h2.get_next_available_stream_id()
        client.h2.send_headers(stream, list(GET), end_stream=True)
        client.h2.reset_stream(stream, ErrorCodes.CANCEL)


def pings(client: HTTP2Client) -> None:
    for _ in range(3000):
        client.h2.ping(b"12345678")


def settings(client: HTTP2Client) -> None:
    for number in range(3000):
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 65535 + number})


def windows(client: HTTP2Client) -> None:
    for _ in range(3000):
        client.h2.increment_flow_control_window(1)


def empty_content(client: HTTP2Client) -> None:
    stream = client.ask(POST, b"", end=False)
    for _ in range(3000):
        client.h2.send_data(stream, b"")


@pytest.mark.parametrize("flood", [resets, pings, settings, windows, empty_content])
def test_floods(wire: Wire, flood: Callable[[HTTP2Client], None]) -> None:
    """RFC 9113 section 10.5: they end the connection, and nothing else."""
    beside = HTTP2Client(wire)
    client = HTTP2Client(wire)
    wire.dialer.open = False
    flood(client)
    client.turn()
    assert [code for _, code in client.goaways] == [ErrorCodes.ENHANCE_YOUR_CALM]
    wire.pass_time(3)
    assert client.transport.closed
    assert all(dial.cancelled for dial in wire.dialer.dials)
    assert reasons(wire)[-1][1] in ("malformed_connection", "client_left")
    assert wire.factory.connections == 1
    beside.ask()
    assert reasons(wire)[-1][1] in ("malformed_connection", "client_left")


def test_continuation_without_end(wire: Wire, client: HTTP2Client) -> None:
    head = HeadersFrame(1)
    head.data = client.h2.encoder.encode(list(GET))
    client.inner.tls.write(head.serialize())
    for number in range(100):
        more = ContinuationFrame(1)
        more.data = client.h2.encoder.encode([(b"x-%d" % number, b"a" * 4000)])
        client.inner.tls.write(more.serialize())
        if client.transport.closed:
            break
        client.turn()
    assert [code for _, code in client.goaways] == [ErrorCodes.ENHANCE_YOUR_CALM]
    assert reasons(wire) == [(0, "malformed_connection")]


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (b"\x00\x00\x08\x06\x00\x00\x00\x00\x01" + b"x" * 8, ErrorCodes.PROTOCOL_ERROR),
        (b"\x00\x00\x07\x06\x00\x00\x00\x00\x00" + b"x" * 7, ErrorCodes.FRAME_SIZE_ERROR),
        (b"\x01\x00\x01\x00\x00\x00\x00\x00\x01", ErrorCodes.FRAME_SIZE_ERROR),
        (b"\x00\x00\x01\x00\x01\x00\x00\x00\x00a", ErrorCodes.PROTOCOL_ERROR),
        (b"\x00\x00\x01\x01\x05\x00\x00\x00\x03\xff", ErrorCodes.COMPRESSION_ERROR),
        (b"\x00\x00\x01\x01\x05\x00\x00\x00\x02\x82", ErrorCodes.PROTOCOL_ERROR),
        (b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00", ErrorCodes.PROTOCOL_ERROR),
    ],
)
def test_connection_errors(wire: Wire, client: HTTP2Client, octets: bytes, code: ErrorCodes) -> None:
    """The client is told why, what was under way is given up, and there is a line that says what was wrong."""
    client.ask()
    client.say(octets)
    assert [said for _, said in client.goaways] == [code]
    assert reasons(wire) == [(0, "malformed_connection")]
    wire.pass_time(3)
    assert client.transport.closed
    assert wire.factory.connections == 0
    assert wire.plane.rejections.all() == []


def test_no_preface(wire: Wire) -> None:
    inner = Inner(wire, established(wire), protocols=["h2"])
    inner.shake_hands()
    inner.ask(b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n")
    assert b"\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" in inner.heard()
    assert reasons(wire) == [(0, "malformed_connection")]
    assert wire.dialer.dials == []


def test_what_is_ignored(wire: Wire, client: HTTP2Client) -> None:
    """RFC 9113 sections 5.3.2, 5.5 and 6.5.2: priorities, and frames and settings that nobody knows."""
    client.inner.tls.write(PriorityFrame(5).serialize())
    client.inner.tls.write(b"\x00\x00\x02\xee\x00\x00\x00\x00\x00hi")
    client.inner.tls.write(SettingsFrame(0, settings={0x7FFF: 1}).serialize())
    client.say(PingFrame(0, opaque_data=b"12345678").serialize())
    client.ask()
    assert len(wire.dialer.dials) == 1
    assert not client.goaways


# ---------------------------------------------------------------- clients that do not read


def test_client_that_does_not_read(wire: Wire, origin: Find) -> None:
    """Everybody's origin rests, more than a little is not taken from it any more, and after write_timeout it is cut."""
    client = HTTP2Client(wire)
    streams = [client.ask() for _ in range(3)]
    there = [origin(wire, number) for number in range(3)]
    client.transport.fill()
    for one in there:
        one.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"a" * 60_000)
    assert all(one.transport.paused for one in there)
    wire.pass_time(50)
    client.transport.drain()
    client.turn()
    assert not any(one.transport.paused for one in there)
    assert [client.answers[stream].status for stream in streams] == [200] * 3
    client.transport.fill()
    for one in there:
        one.say(b"a" * 60_000)
    wire.pass_time(61)
    assert client.transport.closed == "aborted"
    assert reasons(wire) == [(200, "client_stalled")] * 3
    assert all(one.transport.closed == "aborted" for one in there)
    assert wire.factory.connections == 0


def test_client_that_reads_slowly(wire: Wire, origin: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever it has taken what waited, it has write_timeout for what comes next, although that waits at once."""
    client = HTTP2Client(wire, window=10_000_000)
    client.h2.increment_flow_control_window(10_000_000)
    client.ask()
    there = origin(wire)
    there.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
    client.turn()
    transport = client.transport
    write = transport.write

    def write_and_be_full(data: bytes) -> None:
        write(data)
        transport.fill()

    monkeypatch.setattr(transport, "write", write_and_be_full)
    there.say(b"a" * 200_000)
    for _ in range(4):
        wire.pass_time(50)
        assert not transport.closed
        transport.clear()
        transport.drain()
        there.say(b"a" * 200_000)
    assert reasons(wire) == []
    wire.pass_time(62)
    assert transport.closed == "aborted"
    assert reasons(wire) == [(200, "client_stalled")]


def test_client_that_only_asks(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is answered without anybody's help would pile up."""
    monkeypatch.setattr("twistedproxy.downstream.http2.MAX_WAITING", 2000)
    client = HTTP2Client(wire)
    client.transport.fill()
    wire.reload(*OPEN, ("access.clients", "[]"))
    asked = 0
    while not client.transport.paused:
        # The library would not: it takes those for open that it has no answer to.
        head = HeadersFrame(2 * asked + 1, flags=["END_HEADERS", "END_STREAM"])
        head.data = client.h2.encoder.encode([(b":method", b"HEAD"), *GET[1:]])
        client.inner.tls.write(head.serialize())
        client.inner.exchange()
        asked += 1
        assert asked < 500
    client.transport.drain()
    assert not client.transport.paused
    assert reasons(wire) == [(403, "client_denied")] * asked


# ---------------------------------------------------------------- deadlines


def test_idle(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """downstream.idle_timeout after the last request; signs of life do not put it off."""
    client.ask()
    origin(wire).say(OK)
    client.turn()
    wire.pass_time(40)
    client.h2.ping(b"12345678")
    client.turn()
    assert not client.goaways
    wire.pass_time(21)
    client.turn()
    assert client.goaways == [(1, ErrorCodes.NO_ERROR)]
    wire.pass_time(3)
    assert client.transport.closed
    assert wire.factory.connections == 0
    assert reasons(wire) == [(200, "")]


def test_not_idle_while_there_is_a_stream(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    client.ask()
    there = origin(wire)
    wire.pass_time(200)
    client.turn()
    assert not client.goaways
    there.say(OK)
    client.turn()
    assert reasons(wire) == [(200, "")]


def test_head_that_does_not_end(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """downstream.head_timeout from its beginning; the connection can carry nothing else meanwhile."""
    client.ask()
    there = origin(wire)
    head = HeadersFrame(3)
    head.data = client.h2.encoder.encode(list(GET))
    client.say(head.serialize())
    wire.pass_time(16)
    client.turn()
    assert client.goaways == [(1, ErrorCodes.NO_ERROR)]
    assert reasons(wire) == [(0, "request_timeout")]
    assert there.transport.closed == "aborted"


def test_frame_that_does_not_end(wire: Wire, client: HTTP2Client) -> None:
    client.say(b"\x00\x01\x00\x01\x05\x00\x00\x00\x01abc")
    wire.pass_time(16)
    client.turn()
    assert len(client.goaways) == 1
    assert reasons(wire) == [(0, "request_timeout")]


def test_no_preface_comes(wire: Wire) -> None:
    inner = Inner(wire, established(wire), protocols=["h2"])
    inner.shake_hands()
    inner.ask(PREFACE[:10])
    wire.pass_time(64)
    assert inner.client.closed
    assert reasons(wire) == []


# ---------------------------------------------------------------- the end


def test_drain(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """RFC 9113 section 6.8: a warning, a sign of life, the last stream; what is under way ends well."""
    stream = client.ask()
    there = origin(wire)
    before = client.h2.data_to_send()
    drained = wire.factory.drain()
    client.inner.tls.write(before)
    # The client has not heard of it, and asks.
    late = client.h2.get_next_available_stream_id()
    client.h2.send_headers(late, list(GET), end_stream=True)
    client.inner.tls.write(client.h2.data_to_send())
    client.turn()
    assert client.goaways == [(LAST, ErrorCodes.NO_ERROR), (late, ErrorCodes.NO_ERROR)]
    assert client.pings == 1
    there.say(OK)
    origin(wire, 1).say(OK)
    client.turn()
    assert client.answers[stream].content + client.answers[late].content == b"hihi"
    assert not drained.called
    wire.pass_time(3)
    assert client.transport.closed
    assert drained.called
    assert reasons(wire) == [(200, ""), (200, "")]


def test_drain_of_a_silent_client(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    client.ask()
    origin(wire).say(OK)
    client.turn()
    wire.factory.drain()
    wire.pass_time(0.5)
    client.inner.exchange()
    wire.pass_time(2.5)
    assert client.transport.closed
    assert wire.factory.connections == 0


def test_stream_after_the_last(wire: Wire, client: HTTP2Client) -> None:
    client.ask()
    wire.factory.drain()
    client.turn()
    head = HeadersFrame(3, flags=["END_HEADERS", "END_STREAM"])
    head.data = client.h2.encoder.encode(list(GET))
    client.say(head.serialize())
    assert client.answers[3].reset == ErrorCodes.REFUSED_STREAM
    assert len(wire.dialer.dials) == 1


def test_handshake_in_a_drain(wire: Wire) -> None:
    """It is told at once."""
    transport = established(wire)
    wire.factory.drain()
    inner = Inner(wire, transport, protocols=["h2"])
    inner.shake_hands()
    assert b"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x7f\xff\xff\xff" in inner.heard()
    wire.pass_time(5)
    assert transport.closed
    assert wire.factory.connections == 0


def test_stop(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    stream = client.ask()
    there = origin(wire)
    there.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi")
    client.turn()
    wire.factory.stop("stopped")
    assert wire.factory.connections == 0
    client.turn()
    answer = client.answers[stream]
    assert (answer.status, answer.ended, answer.reset) == (200, False, ErrorCodes.INTERNAL_ERROR)
    assert client.goaways == [(1, ErrorCodes.NO_ERROR)]
    assert reasons(wire) == [(200, "stopped")]
    assert there.transport.closed == "aborted"


def test_client_leaves(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    client.ask()
    client.ask()
    there = origin(wire), origin(wire, 1)
    client.transport.peer_resets()
    assert reasons(wire) == [(0, "client_left")] * 2
    wire.turn()
    assert [one.transport.closed for one in there] == ["aborted", "aborted"]
    assert wire.factory.connections == 0


def test_client_goes_away(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """What it has asked for is still answered."""
    stream = client.ask()
    client.inner.tls.write(b"\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
    client.turn()
    origin(wire).say(OK)
    client.turn()
    assert client.answers[stream].ended
    assert reasons(wire) == [(200, "")]
