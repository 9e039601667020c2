"""CONNECT: its targets, its refusals, and the tunnel with both of its ends (RFC 9110 section 9.3.6)."""

from __future__ import annotations

import hashlib
import socket
import threading
import time

import pytest

from tests.live.wire.raw import Connection
from tests.live.wire.wire import Wire

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
CONNECT = b"CONNECT ORIGIN HTTP/1.1\r\nHost: ORIGIN\r\n\r\n"

# A target.
REFUSED = {
    "no port": b"127.0.0.1",
    "empty port": b"127.0.0.1:",
    "port 0": b"127.0.0.1:0",
    "port 65536": b"127.0.0.1:65536",
    "port that wraps 16 bits": b"127.0.0.1:65979",
    "port of six digits": b"127.0.0.1:000443",
    "port of letters": b"127.0.0.1:https",
    "negative port": b"127.0.0.1:-443",
    "port with a plus": b"127.0.0.1:+443",
    "two ports": b"127.0.0.1:443:443",
    "no host": b":443",
    "only a port": b"443",
    "path": b"ORIGIN/",
    "query": b"ORIGIN?a",
    "absolute form": b"http://ORIGIN",
    "absolute form with a path": b"http://ORIGIN/",
    "origin form": b"/",
    "asterisk": b"*",
    "user": b"user@ORIGIN",
    "IPv6 without brackets": b"::1:443",
    "half a bracket": b"[::1:443",
    "IPv6 without a port": b"[::1]",
    "empty label": b"a..b:443",
}


@pytest.mark.parametrize("case", REFUSED)
def test_target_is_refused(wire: Wire, case: str) -> None:
    """RFC 9112 section 3.2.3, RFC 9110 section 9.3.6."""
    wire.refuses(b"CONNECT " + REFUSED[case] + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400, "invalid_target")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (b"Host: ORIGIN\r\nContent-Length: 5\r\n\r\nhello", "malformed_framing"),
        (b"Host: ORIGIN\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "malformed_framing"),
        (b"\r\n", "invalid_host"),
        (b"Host: a\r\nHost: b\r\n\r\n", "invalid_host"),
        (b"Host: a\r\nA : b\r\n\r\n", "malformed_request"),
    ],
    ids=["length", "coding", "no Host", "two Hosts", "bad field"],
)
def test_head_is_refused(wire: Wire, lines: bytes, reason: str) -> None:
    """RFC 9110 section 9.3.6: content would be one thing to us and another to those who read the tunnel."""
    wire.refuses(b"CONNECT ORIGIN HTTP/1.1\r\n" + lines, 400, reason)


def open_tunnel(wire: Wire, request: bytes = CONNECT) -> tuple[Connection, Connection]:
    """A client and an origin with a tunnel between them."""
    client = wire.client(request)
    upstream = wire.origin.accept()
    assert client.read(len(ESTABLISHED)) == ESTABLISHED
    return client, upstream


@pytest.mark.parametrize(
    "request_text",
    [
        CONNECT,
        b"CONNECT ORIGIN HTTP/1.0\r\n\r\n",
        b"CONNECT ORIGIN HTTP/1.1\r\nHost: other.example:1\r\nProxy-Connection: keep-alive\r\n\r\n",
        b"CONNECT ORIGIN HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 0\r\n\r\n",
        b"CONNECT ORIGIN HTTP/1.1\r\nHost: ORIGIN\r\nConnection: close\r\n\r\n",
        b"CONNECT localhost:PORT HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT localhost.:PORT HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT 2130706433:PORT HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["1.1", "1.0", "other Host", "empty content", "close", "name", "name with a dot", "number"],
)
def test_tunnel(wire: Wire, request_text: bytes) -> None:
    """RFC 9110 section 9.3.6: the 200 has neither a length nor a coding, and then any byte passes, both ways."""
    client, upstream = open_tunnel(wire, request_text.replace(b"PORT", b"%d" % wire.origin.port))
    every_byte = bytes(range(256)) * 3
    client.send(every_byte)
    assert upstream.read(len(every_byte)) == every_byte
    upstream.send(every_byte[::-1])
    assert client.read(len(every_byte)) == every_byte[::-1]
    # Requests inside it are not ours (RFC 9110 section 3.8).
    client.send(b"GET http://x/ HTTP/1.1\r\n\r\n\x00")
    assert upstream.read(27) == b"GET http://x/ HTTP/1.1\r\n\r\n\x00"


def test_ipv6_literal(wire: Wire) -> None:
    """RFC 3986 section 3.2.2."""
    origin = wire.another_origin(socket.AF_INET6, "::1")
    client = wire.client(b"CONNECT [::1]:%d HTTP/1.1\r\nHost: x\r\n\r\n" % origin.port)
    upstream = origin.accept()
    assert client.read(len(ESTABLISHED)) == ESTABLISHED
    upstream.send(b"hello")
    assert client.read(5) == b"hello"


def test_early_data(wire: Wire) -> None:
    """RFC 9110 section 9.3.6: what came right after the head goes first."""
    client = wire.client(CONNECT + b"early ")
    upstream = wire.origin.accept()
    client.send(b"data")
    assert upstream.read(10) == b"early data"
    assert client.read(len(ESTABLISHED)) == ESTABLISHED


def test_head_that_comes_byte_by_byte(wire: Wire) -> None:
    """RFC 9112 section 2.2."""
    client = wire.client()
    for byte in wire.fill(CONNECT + b"early"):
        client.send(bytes((byte,)))
    assert wire.origin.accept().read(5) == b"early"
    assert client.read(len(ESTABLISHED)) == ESTABLISHED


def test_origin_speaks_first(wire: Wire) -> None:
    """RFC 9110 section 9.3.6: as servers of mail and SSH do; and none of it before the 200."""
    client = wire.client(CONNECT)
    upstream = wire.origin.accept()
    upstream.send(b"220 ready\r\n")
    assert client.read(len(ESTABLISHED) + 11) == ESTABLISHED + b"220 ready\r\n"


# ---------------------------------------------------------------- the ends


@pytest.fixture(params=["splice", "copy"])
def either(request: pytest.FixtureRequest) -> Wire:
    """A wire whose tunnels are spliced, and one whose tunnels are copied."""
    chosen = request.getfixturevalue("wire" if request.param == "splice" else "hasty")
    assert isinstance(chosen, Wire)
    return chosen


def test_client_half_closes(either: Wire) -> None:
    """RFC 9110 section 9.3.6: the origin still gets the last bytes, and what it then says still arrives."""
    client, upstream = open_tunnel(either)
    client.send(b"last words")
    client.finish()
    assert upstream.read_to_end() == b"last words"
    upstream.send(b"the answer to them")
    assert client.read(18) == b"the answer to them"
    assert client.silent()
    upstream.send(b", and more")
    upstream.close()
    assert client.read_to_end() == b", and more"
    [line] = either.proxy.access_lines(client)
    assert (line["kind"], line["status"], line["reason"]) == ("tunnel", 200, None)
    assert (line["bytes_to_upstream"], line["bytes_from_upstream"]) == (10, 28)
    assert line["bytes_to_client"] == len(ESTABLISHED) + 28
    assert line["bytes_from_client"] == len(either.fill(CONNECT)) + 10


def test_origin_half_closes(either: Wire) -> None:
    """RFC 9110 section 9.3.6."""
    client, upstream = open_tunnel(either)
    upstream.send(b"last words")
    upstream.finish()
    assert client.read_to_end() == b"last words"
    client.send(b"the answer to them")
    assert upstream.read(18) == b"the answer to them"
    assert upstream.silent()
    client.send(b", and more")
    client.close()
    assert upstream.read_to_end() == b", and more"
    assert either.why(client) is None


def test_half_close_right_after_the_head(either: Wire) -> None:
    """RFC 9110 section 9.3.6: early data, and then the end at once."""
    client = either.client(CONNECT + b"question")
    client.finish()
    upstream = either.origin.accept()
    assert upstream.read_to_end() == b"question"
    upstream.send(b"answer")
    upstream.finish()
    assert client.read_to_end() == ESTABLISHED + b"answer"


@pytest.mark.parametrize("from_client", [True, False], ids=["from client", "from origin"])
def test_last_bytes_of_a_large_transfer(either: Wire, from_client: bool) -> None:
    """RFC 9110 section 9.3.6: a reader that was slow gets all of it, also when the sender has long closed."""
    data = hashlib.shake_128(b"tunnel").digest(1 << 16) * 64
    client, upstream = open_tunnel(either)
    sender, receiver = (client, upstream) if from_client else (upstream, client)

    def send() -> None:
        sender.send(data)
        sender.close()

    sending = threading.Thread(target=send)
    sending.start()
    # The receiver does not read until there is no room left anywhere.
    sending.join(0.3)
    received = receiver.read_to_end()
    sending.join()
    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("by_client", [True, False], ids=["by client", "by origin"])
def test_reset(either: Wire, by_client: bool) -> None:
    """RFC 9110 section 9.3.6: what came before it is delivered, and the reset is passed on."""
    client, upstream = open_tunnel(either)
    one, other = (client, upstream) if by_client else (upstream, client)
    one.send(b"before")
    assert other.read(6) == b"before"
    one.reset()
    assert other.was_reset()
    assert either.why(client) == ("client_left" if by_client else "upstream_reset")


def test_client_that_leaves_frees_the_origin(either: Wire) -> None:
    """RFC 9110 section 9.3.6: when both sides have closed, nothing is left."""
    before = either.proxy.sockets()
    client, upstream = open_tunnel(either)
    client.close()
    assert upstream.ended()
    upstream.close()
    assert either.why(client) is None
    assert either.proxy.sockets() <= before


# ---------------------------------------------------------------- no tunnel


def test_port_that_is_not_allowed(hasty: Wire) -> None:
    """RFC 9110 section 9.3.6: 403, and the page says which setting would allow it."""
    client = hasty.client(b"CONNECT 127.0.0.1:25 HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n")
    response = client.read_response()
    assert response.status == 403
    assert response.values(b"content-type") == [b"text/html; charset=utf-8"]
    assert b"access.connect_ports" in response.content
    assert response.values(b"proxy-status") == [b"wire; error=http_request_denied"]
    assert hasty.why(client) == "port_denied"


def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize("method", [b"CONNECT", b"GET"])
def test_connection_refused(wire: Wire, method: bytes) -> None:
    """RFC 9110 section 15.6.3, RFC 9209 section 2.3.6."""
    authority = b"127.0.0.1:%d" % unused_port()
    target = authority if method == b"CONNECT" else b"http://" + authority + b"/"
    client = wire.client(method + b" " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    response = client.read_response()
    assert (response.status, response.cut) == (502, False)
    assert response.values(b"proxy-status") == [b"wire; error=connection_refused"]
    assert authority in response.content
    assert wire.why(client) == "connection_refused"
    # It is a response like any other: the connection goes on.
    client.send(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.read_response().status == 200


@pytest.mark.parametrize("method", [b"CONNECT", b"GET"])
def test_name_that_does_not_exist(wire: Wire, method: bytes) -> None:
    """RFC 9209 section 2.3.2."""
    target = b"nowhere.invalid:80" if method == b"CONNECT" else b"http://nowhere.invalid/"
    client = wire.client(method + b" " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    response = client.read_response()
    assert response.status == 502
    assert response.values(b"proxy-status") == [b"wire; error=dns_error"]
    assert wire.why(client) == "dns_error"


@pytest.mark.parametrize("method", [b"CONNECT", b"GET"])
def test_origin_that_does_not_accept(hasty: Wire, method: bytes) -> None:
    """RFC 9110 section 15.6.5, RFC 9209 section 2.3.7."""
    origin = hasty.another_origin(socket.AF_INET, "127.0.0.1", 0)
    # A full queue: the system drops what comes then, and says nothing.
    fillers = [socket.socket() for _ in range(8)]
    for filler in fillers:
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", origin.port))
    target = origin.authority if method == b"CONNECT" else b"http://" + origin.authority + b"/"
    began = time.monotonic()
    client = hasty.client(method + b" " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    response = client.read_response()
    assert response.status == 504
    assert time.monotonic() - began < 2
    assert response.values(b"proxy-status") == [b"wire; error=connection_timeout"]
    assert hasty.why(client) == "connect_timeout"
    for filler in fillers:
        filler.close()


def test_idle_tunnel_ends(hasty: Wire) -> None:
    """Nothing passes for as long as tunnel.idle_timeout says: both sides are closed."""
    client, upstream = open_tunnel(hasty)
    began = time.monotonic()
    assert client.ended()
    assert upstream.ended()
    assert 0.9 < time.monotonic() - began < 3
    assert hasty.why(client) == "tunnel_idle"
