"""Messages of a WebSocket that passes, and who sees them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.frames import BINARY, CLOSE, MASK, PING, RSV1, TEXT, Deflating, frame, message
from tests.http2_client import WEBSOCKET, HTTP2Client
from tests.memory import MemoryTransport, Wire
from tests.secure_origin import SecureOrigin, context
from twistedproxy.exchange import Exchange
from twistedproxy.http.websocket import FRAME_EFFORT, Message
from twistedproxy.http.websocket_handshake import accept_for
from twistedproxy.record.log_file import LogFile
from twistedproxy.record.message_log import MessageLog
from twistedproxy.watching import MOST_EFFORT, SLICE, watch

REQUEST = b"GET http://%b/chat HTTP/1.1\r\nHost: %b\r\nConnection: upgrade\r\nUpgrade: %b\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %b\r\n%b\r\n"
DEFLATED = b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
HELLO = frame(TEXT, b"Hello")


class Listening:
    """Wants so many bytes of each message of some hosts, and keeps what it hears."""

    def __init__(self, most: int | None = 100, hosts: tuple[str, ...] = ("origin.test",)) -> None:
        self.most = most
        self.hosts = hosts
        self.asked: list[tuple[bytes, str]] = []
        self.heard: list[tuple[str, str, bytes]] = []

    def wants(self, exchange: Exchange, host: str) -> int | None:
        self.asked.append((exchange.url, host))
        return self.most if host in self.hosts else None

    def message(self, exchange: Exchange, direction: str, message: Message) -> None:
        self.heard.append((direction, message.kind, message.content))

    def unreadable(self, exchange: Exchange, direction: str, why: str) -> None:
        self.heard.append((direction, "unreadable", why.encode()))


def switched(
    wire: Wire, fields: bytes = b"", *, host: bytes = b"origin.test", protocol: bytes = b"websocket", early: bytes = b""
) -> tuple[MemoryTransport, MemoryTransport]:
    """A client and an origin that have switched to another protocol."""
    client = wire.client()
    client.receive(REQUEST % (host, host, protocol))
    wire.origins[-1].receive(SWITCHING % (protocol, fields) + early)
    assert client.take().startswith(b"HTTP/1.1 101 ")
    wire.origins[-1].take()
    return client, wire.origins[-1]


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_messages_of_both_directions(wire: Wire) -> None:
    """They are heard when they have been passed on, the early ones too."""
    listening = Listening()
    wire.plane.message_listeners = (listening,)
    client, origin = switched(wire, early=HELLO)
    assert listening.heard == [("from_upstream", "text", b"Hello")]
    question = frame(BINARY, b"what?", mask=MASK)
    client.receive(question[:4])
    assert origin.take() == question[:4]
    assert len(listening.heard) == 1
    client.receive(question[4:])
    assert origin.take() == question[4:]
    origin.receive(frame(PING, b"!") + frame(CLOSE, b"\x03\xe8"))
    assert client.take() == frame(PING, b"!") + frame(CLOSE, b"\x03\xe8")
    assert listening.heard[1:] == [
        ("from_client", "binary", b"what?"),
        ("from_upstream", "ping", b"!"),
        ("from_upstream", "close", b"\x03\xe8"),
    ]
    assert listening.asked == [(b"http://origin.test/chat", "origin.test")]
    client.peer_closes()


def test_what_was_passed_on_is_heard_after_it(wire: Wire) -> None:
    order: list[str] = []

    class Ordered(Listening):
        def message(self, exchange: Exchange, direction: str, message: Message) -> None:
            order.append(f"heard with {len(client.value())} bytes sent")

    wire.plane.message_listeners = (Ordered(),)
    client, origin = switched(wire)
    origin.receive(HELLO)
    assert order == [f"heard with {len(HELLO)} bytes sent"]
    client.peer_closes()


def test_nobody_who_wants_them(wire: Wire) -> None:
    """Nothing reads along, and what reads is not even imported."""
    not_asked = Listening(hosts=())
    wire.plane.message_listeners = (not_asked,)
    client, _ = switched(wire)
    assert not_asked.asked == [(b"http://origin.test/chat", "origin.test")]
    (connection,) = wire.factory
    assert connection.exchange is not None
    assert watch(connection.exchange, "origin.test") is None
    client.peer_closes()


def test_another_protocol_is_nobodys_business(wire: Wire) -> None:
    listening = Listening()
    wire.plane.message_listeners = (listening,)
    client, origin = switched(wire, protocol=b"tea/1")
    origin.receive(HELLO)
    assert client.take() == HELLO
    assert (listening.asked, listening.heard) == ([], [])
    client.peer_closes()


def test_several_listeners_with_wishes_of_their_own(wire: Wire) -> None:
    """The most that one wants is kept."""
    listeners = (Listening(2), Listening(None), Listening(4))
    wire.plane.message_listeners = listeners
    client, origin = switched(wire)
    origin.receive(HELLO)
    assert [one.heard for one in listeners] == [
        [("from_upstream", "text", b"Hell")],
        [],
        [("from_upstream", "text", b"Hell")],
    ]
    client.peer_closes()


def test_extensions_are_those_of_the_response(wire: Wire) -> None:
    listening = Listening()
    wire.plane.message_listeners = (listening,)
    client, origin = switched(wire, DEFLATED)
    deflating = Deflating()
    origin.receive(frame(TEXT, deflating(b"Hello"), reserved=RSV1) + frame(TEXT, deflating(b"Hello"), reserved=RSV1))
    assert listening.heard == [("from_upstream", "text", b"Hello")] * 2
    client.peer_closes()


def test_what_is_no_websocket_is_passed_on(wire: Wire) -> None:
    """It is said once, and the other direction goes on."""
    listening = Listening()
    wire.plane.message_listeners = (listening,)
    client, origin = switched(wire)
    for _ in range(3):
        client.receive(b"\xff" * 100)
        assert origin.take() == b"\xff" * 100
    origin.receive(HELLO)
    assert client.take() == HELLO
    assert listening.heard == [
        ("from_client", "unreadable", b"Invalid opcode 0xf"),
        ("from_upstream", "text", b"Hello"),
    ]
    client.peer_closes()


def test_a_listener_that_fails(wire: Wire, logged_errors: Any) -> None:
    """The bytes go on, and the fault is in the log, once a direction."""

    class Failing(Listening):
        def message(self, exchange: Exchange, direction: str, message: Message) -> None:
            raise ZeroDivisionError

    wire.plane.message_listeners = (Failing(),)
    client, origin = switched(wire)
    for _ in range(2):
        origin.receive(HELLO)
        assert client.take() == HELLO
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    client.peer_closes()


# ---------------------------------------------------------------- what it may cost


TOO_MUCH = ("from_upstream", "unreadable", b"it takes too much work to follow")


@pytest.fixture
def listening(wire: Wire) -> Listening:
    """Wants ten bytes of each message."""
    made = Listening(10)
    wire.plane.message_listeners = (made,)
    return made


def test_too_many_frames_at_once(wire: Wire, listening: Listening) -> None:
    """Frames of nothing, 65,536 bytes of them: it is given up before they keep others waiting."""
    client, origin = switched(wire)
    data = frame(BINARY) * (1 << 15)
    origin.receive(data)
    assert client.take() == data
    assert listening.heard[-1] == TOO_MUCH
    assert len(listening.heard) - 1 <= MOST_EFFORT // FRAME_EFFORT + SLICE // 2
    heard = len(listening.heard)
    origin.receive(HELLO)
    assert client.take() == HELLO
    assert len(listening.heard) == heard
    client.receive(frame(TEXT, b"Hello", mask=MASK))
    assert listening.heard[-1] == ("from_client", "text", b"Hello")
    client.peer_closes()


def test_as_many_frames_one_after_the_other(wire: Wire, listening: Listening) -> None:
    """It is not the number that counts, but how many come at once."""
    client, origin = switched(wire)
    for _ in range(40):
        origin.receive(frame(BINARY) * 1000)
    assert listening.heard == [("from_upstream", "binary", b"")] * 40_000
    client.peer_closes()


def test_bomb(wire: Wire, listening: Listening) -> None:
    """A thousand times its size, for a read's worth of it."""
    client, origin = switched(wire, DEFLATED)
    packing = zlib.compressobj(9, wbits=-15)
    packed = b"".join(packing.compress(bytes(1 << 20)) for _ in range(64)) + packing.flush(zlib.Z_SYNC_FLUSH)
    data = frame(BINARY, packed[:-4], reserved=RSV1)
    origin.receive(data)
    assert client.take() == data
    assert listening.heard == [TOO_MUCH]
    client.peer_closes()


def test_a_large_message_is_followed_whole(wire: Wire, listening: Listening) -> None:
    client, origin = switched(wire)
    data = message(BINARY, bytes(8 << 20), cuts=range(1 << 16, 8 << 20, 1 << 20), between=frame(PING))
    for start in range(0, len(data), 1 << 16):
        origin.receive(data[start : start + (1 << 16)])
    assert client.take() == data
    assert listening.heard == [("from_upstream", "ping", b"")] * 8 + [("from_upstream", "binary", bytes(10))]
    client.peer_closes()


# ---------------------------------------------------------------- over HTTP/2


def test_websockets_of_a_client_of_http_2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Several on one connection, each a stream of its own (RFC 8441)."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    wire = Wire(("intercept.mode", "all-but"), ("intercept.ports", "all"))
    heard: list[tuple[int, str, str, bytes]] = []

    class Streams(Listening):
        def message(self, exchange: Exchange, direction: str, message: Message) -> None:
            heard.append((exchange.downstream.stream, direction, message.kind, message.content))

    wire.plane.message_listeners = (Streams(),)
    client = HTTP2Client(wire)
    streams: list[int] = []
    for number in range(2):
        streams.append(client.ask(WEBSOCKET, end=False))
        origin = SecureOrigin(wire, wire.origins[number], context(authority, b"http/1.1"))
        origin.pump()
        (key,) = re.findall(rb"(?i)^sec-websocket-key: (.*)\r$", origin.plain, re.MULTILINE)
        origin.say(SWITCHING % (b"websocket", b"Sec-WebSocket-Accept: " + accept_for(key) + b"\r\n" + DEFLATED))
        client.turn()
        assert client.answers[streams[-1]].status == 200
        client.send(streams[-1], frame(TEXT, b"question", mask=MASK))
        origin.pump()
        origin.say(frame(TEXT, Deflating()(b"answer"), reserved=RSV1))
        client.turn()
    assert streams[0] != streams[1]
    assert heard == [
        message
        for stream in streams
        for message in ((stream, "from_client", "text", b"question"), (stream, "from_upstream", "text", b"answer"))
    ]
    assert len({connection.number for connection in wire.factory}) == 1


# ---------------------------------------------------------------- with the log


def test_log_of_messages(tmp_path: Path) -> None:
    """As the snapshot says that the exchange began with: other hosts are not looked at."""
    wire = Wire(("log.websocket_hosts", '[".origin.test"]'), ("log.websocket_max_content", "3"))
    log = MessageLog(0, lambda: 1_800_000_000.0)
    file = LogFile(str(tmp_path / "websocket.log"), wire.reactor)
    file.open()
    log.go_on_in(file)
    wire.plane.message_listeners = (log,)
    for host in (b"origin.test", b"other.test", b"a.Origin.test:8080"):
        client, origin = switched(wire, host=host)
        origin.receive(HELLO)
        client.receive(frame(TEXT, b"no", mask=MASK))
        client.peer_closes()
    log.go_on_in(None)
    told = [json.loads(line) for line in (tmp_path / "websocket.log").read_text().splitlines()]
    assert [(line["connection"], line["url"], line["direction"], line["content"]) for line in told] == [
        ("0-1", "http://origin.test/chat", "from_upstream", "Hel"),
        ("0-1", "http://origin.test/chat", "from_client", "no"),
        ("0-3", "http://a.Origin.test:8080/chat", "from_upstream", "Hel"),
        ("0-3", "http://a.Origin.test:8080/chat", "from_client", "no"),
    ]


def test_wsproto_is_not_imported_before_it_is_needed() -> None:
    """It is 20 ms of a start, for those who ask for it only."""
    code = "import sys, twistedproxy.tap, twistedproxy.worker; sys.exit('wsproto' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
