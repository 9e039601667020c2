"""Connections that stay: WebSockets, in a tunnel and by an upgrade, and event streams."""

from __future__ import annotations

import base64
import hashlib
import os
import ssl
import threading
from collections.abc import Callable

import pytest
from websockets.sync.client import connect

from tests.live.daemon import Daemon
from tests.live.fetch import connected, request_for, tunnel
from tests.live.origin import Authority, Origin
from tests.live.wire.raw import Connection

MESSAGE = "Grüße" * 20_000


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_websocket_in_a_tunnel(proxy: Daemon, origin: Origin, authority: Authority, scheme: str) -> None:
    trust = ssl.create_default_context(cafile=str(authority.file)) if scheme == "wss" else None
    with connect(origin.url(scheme, "/"), proxy=proxy.url, ssl=trust) as socket:
        socket.send(MESSAGE)
        assert socket.recv() == MESSAGE
        socket.send(b"bytes")
        assert socket.recv() == b"bytes"


def masked(content: bytes) -> bytes:
    """A client's frame of binary content, of less than 126 bytes (RFC 6455 section 5.2)."""
    mask = os.urandom(4)
    return bytes((0x82, 0x80 | len(content))) + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(content))


def upgraded(client: Connection, url: str) -> None:
    """Ask for a WebSocket on ``client``, and see that it becomes one (RFC 6455 section 4)."""
    key = base64.b64encode(os.urandom(16))
    client.send(
        request_for(
            url,
            "GET",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key.decode()}",
            "Sec-WebSocket-Version: 13",
        )
    )
    head = client.read_through(b"\r\n\r\n").lower()
    accepted = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    assert head.startswith(b"http/1.1 101 ")
    assert b"\r\nupgrade: websocket\r\n" in head
    assert b"\r\nconnection: upgrade\r\n" in head
    assert b"\r\nsec-websocket-accept: " + accepted.lower() in head


@pytest.mark.parametrize("splice", ["true", "false"])
def test_websocket_by_upgrade(make_daemon: Callable[..., Daemon], origin: Origin, splice: str) -> None:
    """A request for http that becomes an opaque relay."""
    proxy = make_daemon(settings={"tunnel.splice": splice, "log.format": "json"}).start()
    url = origin.url("ws", "/").replace("ws:", "http:")
    client = connected(proxy)
    upgraded(client, url)
    for content in (b"one", b"another"):
        client.send(masked(content))
        assert client.read(2 + len(content)) == bytes((0x82, len(content))) + content
    # The closing handshake, after which the server closes the connection.
    client.send(b"\x88\x82" + bytes(4) + b"\x03\xe8")
    assert client.read_to_end() == b"\x88\x02\x03\xe8"
    client.close()
    entry = proxy.access_entries(1)[0]
    assert (entry["kind"], entry["method"], entry["url"], entry["status"]) == ("tunnel", "GET", url, 101)
    assert entry["reason"] is None


def test_upgrade_that_is_refused(proxy: Daemon, origin: Origin) -> None:
    """An origin that knows no WebSockets answers as ever, and the connection goes on."""
    client = connected(proxy)
    for _ in range(2):
        client.send(request_for(origin.url("http"), "GET", "Upgrade: websocket", "Connection: Upgrade"))
        assert client.read_response().status == 200
    client.close()


def test_first_event_does_not_wait_for_the_second(proxy: Daemon, origin: Origin) -> None:
    client = connected(proxy, request_for(origin.url("http", "/events/first")))
    # The origin sends the second when it is told to.
    assert client.read_through(b"data: first\n\n")
    origin.open("first")
    assert client.read_through(b"data: second\n\n")
    client.close()


def test_many_tunnels_at_once(proxy: Daemon, origin: Origin) -> None:
    """Bytes of a hundred tunnels, each in both directions at the same time, stay apart."""
    results: dict[int, bytes] = {}

    def use(number: int) -> None:
        through = tunnel(proxy, origin.port("http"))
        content = bytes((number,)) * 200_000
        head = f"POST /digest HTTP/1.1\r\nHost: origin\r\nContent-Length: {len(content)}\r\n\r\n"
        through.send(head.encode() + content)
        results[number] = through.read_response(b"POST").content
        through.close()

    clients = [threading.Thread(target=use, args=(number,)) for number in range(100)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    for number in range(100):
        assert hashlib.sha256(bytes((number,)) * 200_000).hexdigest().encode() in results[number]
