"""Whoever wants too much: memory stays flat, the cost stays in proportion, and everybody else is still served
(RFC 9110 section 17.5)."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.wire.raw import Connection
from tests.live.wire.twistd_process import TwistdProcess, pause
from tests.live.wire.wire import Wire

OK = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n\r\n"
OPTIONS = b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"
MIB = 1 << 20

MANY = 300


@pytest.fixture
def still_well(wire: Wire) -> Callable[[], None]:
    """Says whether somebody else is served as ever."""

    def check() -> None:
        other = wire.client(OPTIONS)
        assert other.read_response().status == 200
        other.close()

    check()
    return check


def push(connection: Connection, data: bytes, most: int) -> int:
    """Send copies of ``data`` until there is no room for a while, or ``most`` bytes are out; how many were."""
    connection.socket.setblocking(False)
    sent = 0
    while sent < most:
        _, ready, _ = select.select([], [connection.socket], [], 0.3)
        if not ready:
            break
        sent += connection.socket.send(data)
    connection.socket.settimeout(5)
    return sent


def test_download_that_nobody_reads(wire: Wire, still_well: Callable[[], None]) -> None:
    """The origin is not read from either: what waits is in the system's buffers."""
    client = wire.client(GET)
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
    before = wire.proxy.memory()
    assert push(upstream, b"x" * 65536, 200 * MIB) < 100 * MIB
    assert wire.proxy.memory() - before < 4 * MIB
    still_well()
    client.reset()
    assert upstream.was_reset()


def test_cut_download_that_nobody_reads(wire: Wire) -> None:
    """RFC 9112 section 8: when the client reads again it finds the end, and nothing is left."""
    before = wire.proxy.sockets()
    client = wire.client(GET)
    upstream = wire.origin.accept()
    upstream.read_request()
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (1 << 40))
    push(upstream, b"x" * 65536, 200 * MIB)
    upstream.reset()
    while not client.ended():
        pass
    assert wire.why(client) == "response_cut"
    assert wire.proxy.sockets() <= before


@pytest.mark.parametrize("framing", [b"Content-Length: 99999999999", b"Transfer-Encoding: chunked"])
def test_upload_that_nobody_reads(wire: Wire, still_well: Callable[[], None], framing: bytes) -> None:
    """The client is not read from either."""
    client = wire.client(b"POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\n" + framing + b"\r\n\r\n")
    upstream = wire.origin.accept()
    before = wire.proxy.memory()
    piece = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    assert push(client, piece if b"chunked" in framing else b"x" * 65536, 200 * MIB) < 100 * MIB
    assert wire.proxy.memory() - before < 4 * MIB
    still_well()
    client.reset()
    # All that it sent, and then the news that this is not all.
    assert upstream.was_reset()


def test_tunnel_that_nobody_reads(wire: Wire, still_well: Callable[[], None]) -> None:
    """RFC 9110 section 9.3.6."""
    client = wire.client(b"CONNECT ORIGIN HTTP/1.1\r\nHost: ORIGIN\r\n\r\n")
    upstream = wire.origin.accept()
    client.read_through(b"\r\n\r\n")
    before = wire.proxy.memory()
    assert push(client, b"x" * 65536, 200 * MIB) < 100 * MIB
    assert push(upstream, b"x" * 65536, 200 * MIB) < 100 * MIB
    assert wire.proxy.memory() - before < 4 * MIB
    still_well()
    client.reset()
    assert upstream.was_reset()


def test_pipeline_that_nobody_reads(wire: Wire, still_well: Callable[[], None]) -> None:
    """RFC 9112 section 9.3.2: requests are read no faster than their answers."""
    client = wire.client()
    before = wire.proxy.memory()
    assert push(client, OPTIONS * 500, 200 * MIB) < 100 * MIB
    assert wire.proxy.memory() - before < 4 * MIB
    still_well()
    client.reset()


def test_pipeline_behind_a_request_that_takes_long(wire: Wire, still_well: Callable[[], None]) -> None:
    """RFC 9112 section 9.3.2: later requests wait in the system's buffers."""
    client = wire.client(GET)
    upstream = wire.origin.accept()
    upstream.read_request()
    before = wire.proxy.memory()
    sent = push(client, OPTIONS * 500, 200 * MIB)
    assert sent < 100 * MIB
    assert wire.proxy.memory() - before < 4 * MIB
    still_well()
    upstream.send(OK)
    assert client.read_response().content == b"ok"
    for _ in range(1000):
        assert client.read_response().status == 200


def test_pipeline_that_never_ends(wire: Wire, still_well: Callable[[], None]) -> None:
    """RFC 9112 section 9.3.2: no more is read while enough waits, however many answers go out meanwhile."""
    client = wire.client(GET)
    upstream = wire.origin.accept()
    before = wire.proxy.memory()
    requests = wire.fill(GET) * 2000
    client.socket.setblocking(False)
    for _ in range(300):
        upstream.read_request()
        upstream.send(OK)
        while select.select([], [client.socket], [], 0)[1]:
            client.socket.send(requests)
    assert wire.proxy.memory() - before < 4 * MIB
    still_well()
    client.reset()


def test_pipeline_of_many(wire: Wire) -> None:
    """RFC 9112 section 9.3.2: deep, and each answered by the proxy itself in one turn."""
    client = wire.client()
    sending = threading.Thread(target=client.send, args=(OPTIONS * 3000,))
    sending.start()
    for _ in range(3000):
        assert client.read_response().status == 200
    sending.join()


def test_small_chunks_cost_little(wire: Wire) -> None:
    """RFC 9112 section 7.1: a million octets, each in a chunk of its own; and they do not stay so."""
    client = wire.client(b"POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nTransfer-Encoding: chunked\r\n\r\n")
    upstream = wire.origin.accept()
    before = wire.proxy.cpu_seconds()
    sending = threading.Thread(target=client.send, args=(b"1\r\nx\r\n" * 1_000_000 + b"0\r\n\r\n",))
    sending.start()
    seen = upstream.read_request()
    sending.join()
    assert wire.proxy.cpu_seconds() - before < 6
    assert (len(seen.content), len(seen.chunks) < 2000) == (1_000_000, True)
    upstream.send(OK)
    assert client.read_response().status == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET http://ORIGIN/" + b"a" * 16000 + b" HTTP/1.1\r\nHost: ORIGIN\r\n",
        b"GET http://ORIGIN/ HTTP/1.1\r\nHost: x\r\n",
    ],
    ids=["line", "fields"],
)
def test_head_byte_by_byte_costs_little(wire: Wire, head: bytes) -> None:
    """Reading a head is linear in its bytes, however they come."""
    if len(head) < 100:
        head += (b"A: " + b"b" * 155 + b"\r\n") * 100
    client = wire.client()
    before = wire.proxy.cpu_seconds()
    for byte in wire.fill(head) + b"\r\n":
        client.send(bytes((byte,)))
    upstream = wire.origin.accept()
    upstream.read_request()
    assert wire.proxy.cpu_seconds() - before < 6
    upstream.send(OK)
    assert client.read_response().status == 200


# Fields whose reading could take longer than their length says.
COSTLY = {
    "commas": b"Connection: " + b"," * 60000,
    "options": b"Connection: " + b",".join(b"a%d" % number for number in range(8000)),
    "open string": b"Accept: " + b'"' + b"\\" * 60000,
    "strings": b"Accept: " + b'",' * 30000,
    "white space": b"A:" + b" \t" * 30000 + b"b",
    "white space at the end": b"A: b" + b" \t" * 30000,
    "Via": b"Via: " + b"1.1 a, " * 9000,
    "Transfer-Encoding": b"Transfer-Encoding: " + b"a," * 30000,
    "Expect": b"Expect: " + b"," * 60000 + b"100-continue",
    "Host": b"Host: " + b"a." * 30000,
    "digits": b"Content-Length: " + b"1" * 60000,
    "Max-Forwards": b"Max-Forwards: " + b"9" * 60000,
    "TE": b"TE: " + b"trailers, " * 6000,
    "Upgrade": b"Connection: upgrade\r\nUpgrade: " + b"a/b, " * 12000,
}


@pytest.mark.parametrize("case", COSTLY)
def test_costly_fields(wire: Wire, case: str) -> None:
    """A head of 64 KiB costs no more than a fraction of a second, whatever is in it."""
    client = wire.client(
        b"OPTIONS http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n" * (case != "Host")
        + b"OPTIONS http://127.0.0.1:1/ HTTP/1.1\r\n" * (case == "Host")
        + COSTLY[case]
        + b"\r\n\r\n"
    )
    before = wire.proxy.cpu_seconds()
    assert client.read_response().status in (400, 403, 417, 501, 502)
    assert wire.proxy.cpu_seconds() - before < 0.5


def test_costly_target(wire: Wire) -> None:
    """Likewise for a target."""
    before = wire.proxy.cpu_seconds()
    for target in (
        b"http://" + b"a." * 8000,
        b"http://a" + b"@" * 16000,
        b"a+" * 8000,
        b"http://[" + b":" * 16000 + b"]",
    ):
        client = wire.client(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.read_response().status == 400
    assert wire.proxy.cpu_seconds() - before < 0.5


def test_many_who_say_little(wire: Wire, still_well: Callable[[], None]) -> None:
    """Idle connections, and heads that trickle in, cost a few KiB each and hold nobody up."""
    before = wire.proxy.memory()
    clients = [wire.client(b"GET http://ORIGIN/ HT" if number % 2 else b"") for number in range(MANY)]
    still_well()
    assert wire.proxy.memory() - before < 16 * MIB
    for client in clients:
        client.close()


def test_many_who_wait(wire: Wire, still_well: Callable[[], None]) -> None:
    """An origin that takes its time holds up its own clients only; and all are answered."""
    clients = [wire.client(GET) for _ in range(200)]
    upstreams = [wire.origin.accept() for _ in clients]
    still_well()
    for upstream in upstreams:
        upstream.read_request()
        upstream.send(OK)
    assert [client.read_response().status for client in clients] == [200] * 200


def test_nothing_is_left_of_those_who_left(wire: Wire, still_well: Callable[[], None]) -> None:
    """No socket stays, from whatever state a client leaves."""
    before = wire.proxy.sockets()
    beginnings = (
        b"",
        b"G",
        b"BAD\r\n\r\n",
        GET[:-2],
        GET,
        GET * 3,
        b"POST http://ORIGIN/ HTTP/1.1\r\nHost: ORIGIN\r\nContent-Length: 9\r\n\r\nhi",
        b"CONNECT ORIGIN HTTP/1.1\r\nHost: ORIGIN\r\n\r\nhello",
        b"GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://nowhere.invalid/ HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    for number in range(MANY):
        client = wire.client(beginnings[number % len(beginnings)])
        (client.reset if number % 3 else client.close)()
    for upstream in iter(lambda: wire.origin.untouched(0.3), True):
        assert not upstream
    wire.origin.close()
    still_well()
    deadline = time.monotonic() + 5
    while wire.proxy.sockets() > before:
        assert time.monotonic() < deadline
        pause()


def test_one_client_with_many_connections(hasty: Wire) -> None:
    """RFC 9112 section 9.4: downstream.max_connections_per_client; one too many is told so."""
    clients = [hasty.client() for _ in range(100)]
    one_more = hasty.client(OPTIONS)
    response = one_more.read_response()
    assert (response.status, response.values(b"connection")) == (429, [b"close"])
    assert one_more.ended()
    assert hasty.why(one_more) == "client_connections_exceeded"
    one_more.close()
    clients[0].close()
    # Its place is free as soon as the proxy has heard of it.
    deadline = time.monotonic() + 5
    while True:
        next_one = hasty.client(OPTIONS)
        if next_one.read_response().status == 200:
            break
        next_one.close()
        assert time.monotonic() < deadline
        pause()


def test_descriptors_that_run_out(tmp_path: Path) -> None:
    """Accepting pauses, those who are there are served, and it goes on when some have left."""
    proxy = TwistdProcess(tmp_path, descriptors=96)
    wire = Wire(proxy)
    try:
        clients = [wire.client() for _ in range(120)]
        clients[0].send(wire.fill(GET))
        upstream = wire.origin.accept()
        upstream.read_request()
        upstream.send(OK)
        assert clients[0].read_response().content == b"ok"
        last = clients[-1]
        last.send(OPTIONS)
        assert last.silent(0.2)
        for client in clients[:100]:
            client.close()
        assert last.read_response().status == 200
    finally:
        wire.close()
        proxy.stop()
    assert "accepting pauses" in proxy.log
