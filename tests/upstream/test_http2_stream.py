"""The streams of an HTTP/2 connection to an origin: WebSockets, and what ends one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trustme
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from tests.frames import MASK, RSV1, TEXT, Deflating, frame
from tests.memory import MemoryTransport, Wire
from tests.secure_origin import SecureOrigin, context

AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)
HTTP2 = context(AUTHORITY, b"h2")
GET = b"GET https://origin.test/ HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The system trusts the origins' authority."""
    file = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))


def begun(*overrides: tuple[str, str], settings: dict[SettingCodes, int] | None = None) -> tuple[Wire, SecureOrigin]:
    """A proxy with a connection to an origin, on which the first stream is over."""
    wire = Wire(("http2.with_servers", "always"), *overrides)
    wire.client().receive(GET)
    there = SecureOrigin(wire, wire.origins[0], HTTP2, settings)
    there.pump()
    there.answer(1)
    return wire, there


def ask(wire: Wire, request: bytes = GET) -> MemoryTransport:
    client = wire.client()
    client.receive(request)
    return client


def test_too_many_interim_answers_are_no_answer() -> None:
    wire, there = begun()
    client = ask(wire)
    there.pump()
    for _ in range(101):
        there.act(lambda h2: h2.send_headers(3, [(b":status", b"103")]))
    assert client.take().count(b"HTTP/1.1 103") == 100
    assert wire.records.reasons[-1] == "malformed_response"
    assert there.resets == {3: ErrorCodes.PROTOCOL_ERROR}


def test_an_answer_that_stops_has_its_time() -> None:
    wire, there = begun(("upstream.body_timeout", "5s"))
    client = ask(wire)
    there.pump()
    there.act(lambda h2: h2.send_headers(3, [(b":status", b"200"), (b"content-length", b"10")]))
    for _ in range(3):
        wire.pass_time(4)
        there.act(lambda h2: h2.send_data(3, b"x"))
    assert not client.closed
    wire.pass_time(6)
    there.pump()
    assert client.closed
    assert wire.records.reasons[-1] == "body_timeout"
    assert there.resets == {3: ErrorCodes.CANCEL}


def test_an_answer_before_the_end_of_the_question_ends_both() -> None:
    wire, there = begun()
    client = ask(wire, GET.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 10\r\n\r\nhello"))
    there.pump()
    there.answer(3, b"no")
    assert client.take().endswith(b"\r\n\r\nno")
    assert there.resets == {3: ErrorCodes.NO_ERROR}
    assert wire.pool.idle_connections == 1


def test_more_content_than_was_said_is_not_passed_on() -> None:
    """RFC 9113 section 8.1.1: or what is too much would be another answer to somebody."""
    wire, there = begun()
    client = ask(wire)
    there.pump()

    def lie(h2: H2Connection) -> None:
        h2.send_headers(3, [(b":status", b"200"), (b"content-length", b"2")])
        h2.send_data(3, b"hi")
        h2.send_data(3, b"HTTP/1.1 200 OK")

    there.act(lie)
    assert b"HTTP/1.1 200 OK\r\n" not in client.take()
    assert wire.records.reasons[-1] == "malformed_response"
    assert there.resets == {3: ErrorCodes.PROTOCOL_ERROR}
    other = ask(wire)
    there.pump()
    there.answer(5)
    assert other.take().endswith(b"hi")


def test_an_answer_to_head_has_no_content() -> None:
    wire, there = begun()
    client = ask(wire, GET.replace(b"GET", b"HEAD"))
    there.pump()
    there.act(lambda h2: h2.send_headers(3, [(b":status", b"200"), (b"content-length", b"500")], end_stream=True))
    assert b"\r\nContent-Length: 500\r\n" in client.take()
    assert wire.records.reasons[-1] == ""


UPGRADE = GET.replace(
    b"\r\n\r\n",
    b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
)
TAKES_WEBSOCKET = {SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}


def switched() -> tuple[Wire, SecureOrigin, MemoryTransport]:
    """A WebSocket through a stream."""
    wire, there = begun(settings=TAKES_WEBSOCKET)
    client = ask(wire, UPGRADE)
    there.pump()
    there.act(lambda h2: h2.send_headers(3, [(b":status", b"200"), (b"sec-websocket-protocol", b"chat")]))
    return wire, there, client


def test_a_websocket_is_an_extended_connect() -> None:
    """RFC 8441 section 5, with the example of RFC 6455 section 1.3 on the other side."""
    _, there, client = switched()
    assert len(there.wire.origins) == 1
    request = there.requests[3]
    assert (request[b":method"], request[b":protocol"], request[b":path"]) == (b"CONNECT", b"websocket", b"/")
    assert request[b"sec-websocket-version"] == b"13"
    assert not {b"sec-websocket-key", b"upgrade", b"connection"} & set(request)
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    assert b"\r\nsec-websocket-protocol: chat\r\n" in answer


def test_a_websockets_bytes_pass_both_ways_until_both_have_ended() -> None:
    wire, there, client = switched()
    client.take()
    client.receive(b"\x81\x85ping")
    there.pump()
    assert there.contents == {3: b"\x81\x85ping"}
    there.act(lambda h2: h2.send_data(3, b"\x81\x04pong"))
    assert client.take() == b"\x81\x04pong"
    there.act(lambda h2: h2.end_stream(3))
    assert client.write_closed
    client.peer_closes()
    there.pump()
    assert there.ended == [1, 3]
    record = wire.records.all[-1]
    assert (record.kind, record.status, record.reason) == ("tunnel", 101, "")
    assert (wire.pool.open_connections, wire.pool.idle_connections) == (1, 1)


def test_a_websockets_messages_are_seen() -> None:
    """As over HTTP/1.1, with what the answer to the extended CONNECT says of permessage-deflate."""
    heard: list[tuple[str, str, bytes, bool]] = []

    class Listening:
        def wants(self, exchange: Any, host: str) -> int:
            assert host == "origin.test"
            return 10

        def message(self, exchange: Any, direction: str, message: Any) -> None:
            heard.append((direction, message.kind, message.content, message.compressed))

    wire, there = begun(settings=TAKES_WEBSOCKET)
    wire.plane.message_listeners = (Listening(),)
    client = ask(wire, UPGRADE)
    there.pump()
    agreed = [(b":status", b"200"), (b"sec-websocket-extensions", b"permessage-deflate")]
    there.act(lambda h2: h2.send_headers(3, agreed))
    client.receive(frame(TEXT, b"ping", mask=MASK))
    there.act(lambda h2: h2.send_data(3, frame(TEXT, Deflating()(b"pong" * 3), reserved=RSV1)))
    assert heard == [("from_client", "text", b"ping", False), ("from_upstream", "text", b"pongpongpo", True)]


def test_a_websocket_breaks_off_with_its_connection() -> None:
    wire, _there, client = switched()
    client.take()
    wire.origins[0].peer_resets()
    wire.pass_time(1)
    assert client.closed == "aborted"
    assert wire.records.reasons[-1] == "upstream_reset"


def test_a_websocket_that_the_origin_refuses_is_an_answer() -> None:
    wire, there = begun(settings=TAKES_WEBSOCKET)
    client = ask(wire, UPGRADE)
    there.pump()
    there.answer(3, b"no", (b"x-why", b"because"))
    # It said 200 to a question that has no other good answer than a switch.
    assert client.take().startswith(b"HTTP/1.1 101 ")
    client = ask(wire, UPGRADE)
    there.pump()
    there.act(lambda h2: h2.send_headers(5, [(b":status", b"403"), (b"content-length", b"0")], end_stream=True))
    assert client.take().startswith(b"HTTP/1.1 403 Forbidden\r\n")


def test_a_websocket_has_its_own_connection_where_the_origin_knows_no_other_way() -> None:
    wire, there = begun()
    ask(wire, UPGRADE)
    there.pump()
    assert list(there.requests) == [1]
    assert len(wire.origins) == 2


def test_repr_tells_its_number() -> None:
    wire, there = begun()
    client = ask(wire)
    there.pump()
    stream = client.protocol.exchange._upstream
    assert repr(stream) == "<UpstreamStream 3 unsaid=0>"
    client.peer_closes()
    assert repr(stream) == "<UpstreamStream 3 over>"


@pytest.mark.parametrize(("content", "reason"), [(b"hi", ""), (b"h", "client_left")])
def test_a_client_that_has_all_of_it_may_leave_before_its_end(content: bytes, reason: str) -> None:
    """Many servers say END_STREAM in a frame of its own."""
    wire, there = begun()
    client = ask(wire)
    there.pump()
    there.act(lambda h2: h2.send_headers(3, [(b":status", b"200"), (b"content-length", b"2")]))
    there.act(lambda h2: h2.send_data(3, content))
    assert client.take().endswith(b"\r\n\r\n" + content)
    client.peer_resets()
    wire.turn()
    there.pump()
    assert wire.records.reasons[-1] == reason
    assert there.resets == {3: ErrorCodes.CANCEL}
