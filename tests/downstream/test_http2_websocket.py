"""WebSocket over HTTP/2 (RFC 8441), with the network in memory."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from h2.errors import ErrorCodes

from tests.http2_client import WEBSOCKET, HTTP2Client
from tests.memory import Wire
from tests.secure_origin import SecureOrigin
from twistedproxy.downstream.listing import listed
from twistedproxy.http.websocket_handshake import accept_for

Find = Callable[..., SecureOrigin]


@pytest.fixture
def wire() -> Wire:
    return Wire(("intercept.mode", "all-but"), ("intercept.ports", "all"))


@pytest.fixture
def client(wire: Wire) -> HTTP2Client:
    return HTTP2Client(wire)


def reasons(wire: Wire) -> list[tuple[str, int, str]]:
    return [(record.kind, record.status, record.reason) for record in wire.records.all if record.kind != "intercept"]


def key_of(there: SecureOrigin) -> bytes:
    """What the server was asked with."""
    (key,) = re.findall(rb"\r\nsec-websocket-key: (\S+)\r\n", there.plain)
    return bytes(key)


def switching(there: SecureOrigin, *, accept: bytes = b"", rest: bytes = b"") -> None:
    """The server switches protocols."""
    accept = accept or accept_for(key_of(there))
    there.say(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n" + rest
    )


def opened(client: HTTP2Client, origin: Find, number: int = 0) -> tuple[int, SecureOrigin]:
    stream = client.ask([*WEBSOCKET, (b"sec-websocket-protocol", b"chat")], end=False)
    there = origin(client.wire, number)
    switching(there)
    client.turn()
    return stream, there


def test_both_ways(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    stream = client.ask([*WEBSOCKET, (b"sec-websocket-key", b"mine"), (b"origin", b"https://a.test")], end=False)
    there = origin(wire)
    lines = there.plain.split(b"\r\n")
    assert lines[0] == b"GET /a?b HTTP/1.1"
    assert {b"Connection: Upgrade", b"Upgrade: websocket", b"sec-websocket-version: 13"} < set(lines)
    assert b"origin: https://a.test" in lines
    assert key_of(there) != b"mine"
    switching(there, rest=b"at once")
    client.turn()
    answer = client.answers[stream]
    assert answer.head == {b":status": b"200", b"sec-websocket-protocol": b"chat", b"via": b"1.1 proxy.test"}
    assert answer.content == b"at once"
    client.send(stream, b"from the client")
    there.pump()
    assert there.plain.endswith(b"\r\n\r\nfrom the client")
    there.say(b"from the server")
    client.turn()
    assert answer.content == b"at oncefrom the server"
    told = listed(client.connection, 0, wire.deadlines.seconds())
    assert (told.state, told.exchanges) == ("tunnel", 1)
    client.send(stream, b"", end=True)
    there.pump()
    client.turn()
    assert there.transport.closed
    assert answer.ended
    assert reasons(wire) == [("tunnel", 101, "")]
    record = wire.records.all[-1]
    assert record.bytes_to_upstream >= len(there.plain)
    assert 15 < record.bytes_from_client < 250
    assert 22 < record.bytes_to_client < 250


def test_over_http2_on_both_sides(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """A server that takes it so is asked so; one that does not is asked over HTTP/1.1."""
    stream = client.ask([*WEBSOCKET], end=False)
    there = origin(wire)
    assert there.plain.startswith(b"GET /a?b HTTP/1.1\r\n")
    switching(there)
    client.turn()
    assert client.answers[stream].status == 200


def test_said_too_early(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """What the client says before it has an answer is not lost, and no more than a window."""
    stream = client.ask(WEBSOCKET, b"early", end=False)
    while (room := client.h2.local_flow_control_window(stream)) > 0:
        client.send(stream, b"a" * min(room, 16384))
    there = origin(wire)
    assert b"early" not in there.plain
    switching(there)
    client.turn()
    there.pump()
    client.turn()
    assert there.plain.partition(b"\r\n\r\n")[2].startswith(b"earlyaaa")
    assert client.h2.local_flow_control_window(stream) > 100_000


@pytest.mark.parametrize("accept", [b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", b"x"])
def test_server_that_does_not_speak_it(wire: Wire, client: HTTP2Client, origin: Find, accept: bytes) -> None:
    """RFC 6455 section 4.1: what it says could be anything."""
    stream = client.ask(WEBSOCKET, end=False)
    there = origin(wire)
    switching(there, accept=accept, rest=b"evil")
    client.turn()
    answer = client.answers[stream]
    assert answer.status in (0, 502)
    assert answer.reset is not None
    assert b"evil" not in answer.content
    assert [reason for *_, reason in reasons(wire)] == ["upgrade_failed"]
    assert there.transport.closed == "aborted"


def test_server_that_answers_well(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """Its 200 would be the beginning of WebSocket to this client."""
    stream = client.ask(WEBSOCKET, end=False)
    origin(wire).say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    client.turn()
    answer = client.answers[stream]
    assert (answer.status, answer.ended) == (502, True)
    assert reasons(wire) == [("forward", 502, "upgrade_failed")]


@pytest.mark.parametrize("status", [b"302 Found", b"403 Forbidden", b"426 Upgrade Required"])
def test_server_that_refuses(wire: Wire, client: HTTP2Client, origin: Find, status: bytes) -> None:
    stream = client.ask(WEBSOCKET, end=False)
    origin(wire).say(b"HTTP/1.1 " + status + b"\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno")
    client.turn()
    answer = client.answers[stream]
    assert (b"%d" % answer.status, answer.content, answer.ended) == (status[:3], b"no", True)
    assert answer.reset == ErrorCodes.NO_ERROR
    assert b"upgrade" not in answer.head


def test_client_resets(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    stream, there = opened(client, origin)
    client.h2.reset_stream(stream, ErrorCodes.CANCEL)
    client.turn()
    wire.turn()
    wire.pass_time(1)
    assert there.transport.closed
    assert reasons(wire) == [("tunnel", 101, "client_left")]


def test_server_resets(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    stream, there = opened(client, origin)
    there.transport.peer_resets()
    wire.pass_time(1)
    client.turn()
    assert client.answers[stream].reset == ErrorCodes.CANCEL
    assert reasons(wire) == [("tunnel", 101, "upstream_reset")]
    assert not client.goaways


def test_connection_is_lost(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    _, there = opened(client, origin)
    client.transport.peer_resets()
    wire.turn()
    wire.pass_time(2)
    assert there.transport.closed
    assert reasons(wire) == [("tunnel", 101, "client_left")]
    assert wire.factory.connections == 0


def test_client_that_does_not_read(wire: Wire, origin: Find) -> None:
    """Its server rests, and a sibling goes on."""
    client = HTTP2Client(wire, reads=False)
    stream, there = opened(client, origin)
    there.say(b"a" * 70_000)
    client.h2.increment_flow_control_window(1_000_000)
    client.turn()
    assert there.transport.paused
    _, beside = opened(client, origin, 1)
    beside.say(b"b")
    client.turn()
    assert client.answers[stream + 2].content == b"b"
    client.h2.increment_flow_control_window(70_000, stream)
    client.turn()
    assert not there.transport.paused
    assert client.answers[stream].content == b"a" * 70_000


def test_server_that_does_not_read(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """No more than a window is taken from the client."""
    stream, there = opened(client, origin)
    there.transport.fill()
    sent = 0
    while (room := client.h2.local_flow_control_window(stream)) > 0:
        client.send(stream, b"a" * min(room, 16384))
        sent += min(room, 16384)
        assert sent < 1_000_000
    there.transport.drain()
    there.pump()
    client.turn()
    assert client.h2.local_flow_control_window(stream) > 100_000


def test_drain_and_stop(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    stream, there = opened(client, origin)
    wire.factory.drain()
    client.turn()
    there.say(b"still")
    client.turn()
    assert client.answers[stream].content == b"still"
    wire.factory.stop("stopped")
    wire.pass_time(2)
    assert there.transport.closed
    assert reasons(wire) == [("tunnel", 101, "stopped")]
    assert wire.factory.connections == 0


def test_idle(wire: Wire, client: HTTP2Client, origin: Find) -> None:
    """tunnel.idle_timeout; its connection goes on."""
    stream, there = opened(client, origin)
    wire.pass_time(3602)
    client.turn()
    assert client.answers[stream].ended or client.answers[stream].reset is not None
    assert there.transport.closed
    assert reasons(wire) == [("tunnel", 101, "tunnel_idle")]
