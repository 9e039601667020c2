"""Bodies of any size, readers that stall and connects that hang: memory stays flat, and nobody else waits."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext

import pytest

from tests.live.daemon import PATIENCE, Daemon, awaited
from tests.live.fetch import connected, fetch, request_for, tunnel
from tests.live.origin import LINE, Origin
from tests.live.wire.raw import Connection
from tests.live.wire.raw import Origin as ScriptedOrigin

MakeDaemon = Callable[..., Daemon]

MIB = 1 << 20
PIECE = bytes(MIB)
PIECES = 200

MOST_IN_FLIGHT = PIECES * MIB // 2
"""More than the kernel's buffers on both sides of the proxy hold, in bytes, and much less than there is."""

MOST_MEMORY = 4 * MIB
"""How much the proxy's resident memory may grow meanwhile, in bytes."""

STALLED = 0.3
"""A send that takes longer than so many seconds is one that nobody reads."""

HANGING = 50


@pytest.fixture(scope="module")
def long_lived_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A proxy for the whole of this page, so that nothing is measured while it still grows into its size."""
    settings = {"access.connect_ports": "all", "log.format": "json"}
    started = Daemon(tmp_path_factory.mktemp("streaming"), settings=settings).start()
    yield started
    started.stop()


@pytest.fixture
def source() -> Iterator[ScriptedOrigin]:
    """An origin that does what the test says."""
    origin = ScriptedOrigin()
    yield origin
    origin.close()


@contextmanager
def flat_memory(proxy: Daemon) -> Iterator[None]:
    """The proxy's resident memory does not grow beyond `MOST_MEMORY`, not for a moment either."""
    before = proxy.resident()
    proxy.forget_peak()
    yield
    assert proxy.peak() - before < MOST_MEMORY


def send_until_stalled(sender: Connection) -> int:
    """Send pieces until nobody takes more; how many bytes went."""
    sender.socket.settimeout(STALLED)
    sent = 0
    try:
        while sent < PIECES * MIB:
            sent += sender.socket.send(PIECE[: PIECES * MIB - sent])
    except TimeoutError:
        pass
    sender.socket.settimeout(PATIENCE)
    return sent


def move(sender: Connection, sent: int, receiver: Connection) -> int:
    """Send the rest of the pieces while ``receiver`` reads; how many bytes it got."""

    def send_rest() -> None:
        rest = PIECES * MIB - sent
        while rest:
            rest -= sender.socket.send(PIECE[:rest])

    sending = threading.Thread(target=send_rest)
    sending.start()
    received = 0
    while received < PIECES * MIB:
        data = receiver.read_some()
        if not data:
            break
        received += len(data)
    sending.join()
    return received


def test_download_with_a_reader_that_stalls(long_lived_proxy: Daemon, source: ScriptedOrigin) -> None:
    proxy = long_lived_proxy
    url = f"http://127.0.0.1:{source.port}/"
    client = connected(proxy, request_for(url))
    upstream = source.accept()
    upstream.read_request()
    with flat_memory(proxy):
        upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (PIECES * MIB))
        sent = send_until_stalled(upstream)
        assert MIB // 8 < sent < MOST_IN_FLIGHT
        assert client.read_through(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
        assert move(upstream, sent, client) == PIECES * MIB
    client.close()


def test_upload_to_an_origin_that_stalls(long_lived_proxy: Daemon, source: ScriptedOrigin) -> None:
    proxy = long_lived_proxy
    url = f"http://127.0.0.1:{source.port}/"
    client = connected(proxy, request_for(url, "POST", f"Content-Length: {PIECES * MIB}"))
    upstream = source.accept()
    upstream.read_through(b"\r\n\r\n")
    with flat_memory(proxy):
        sent = send_until_stalled(client)
        assert MIB // 8 < sent < MOST_IN_FLIGHT
        assert move(client, sent, upstream) == PIECES * MIB
        upstream.send(b"HTTP/1.1 204 No Content\r\n\r\n")
        assert client.read_response().status == 204
    client.close()


@pytest.mark.parametrize("splice", ["true", "false"])
@pytest.mark.parametrize("upwards", [True, False], ids=["upwards", "downwards"])
def test_tunnel_whose_reader_stalls(
    make_daemon: MakeDaemon, source: ScriptedOrigin, splice: str, upwards: bool
) -> None:
    proxy = make_daemon(settings={"access.connect_ports": "all", "tunnel.splice": splice}).start()
    for memory in (nullcontext(), flat_memory(proxy)):
        client = tunnel(proxy, source.port)
        upstream = source.accept()
        sender, receiver = (client, upstream) if upwards else (upstream, client)
        # What the proxy needs for its first tunnel it needs once.
        with memory:
            sent = send_until_stalled(sender)
            assert MIB // 8 < sent < MOST_IN_FLIGHT
            assert move(sender, sent, receiver) == PIECES * MIB
        client.close()
        upstream.close()


def test_stalled_download_delays_nobody(long_lived_proxy: Daemon, origin: Origin, source: ScriptedOrigin) -> None:
    proxy = long_lived_proxy
    client = connected(proxy, request_for(f"http://127.0.0.1:{source.port}/"))
    upstream = source.accept()
    upstream.read_request()
    upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (PIECES * MIB))
    send_until_stalled(upstream)
    assert slowest_of(20, proxy, origin) < 1.0
    client.close()
    # A client that has left frees its upstream.
    assert upstream.ended()


def slowest_of(times: int, proxy: Daemon, origin: Origin) -> float:
    """How long the slowest of several requests took, in seconds."""
    slowest = 0.0
    for _ in range(times):
        began = time.monotonic()
        assert fetch(proxy, origin.url("http")).content == LINE
        slowest = max(slowest, time.monotonic() - began)
    return slowest


@contextmanager
def full_listener() -> Iterator[int]:
    """The port of a listener that accepts nobody and whose queue is full: connecting to it hangs."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = listener.getsockname()
        while True:
            sock = stack.enter_context(socket.socket())
            sock.settimeout(STALLED)
            try:
                sock.connect(address)
            except TimeoutError:
                break
        yield int(address[1])


@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_hanging_connects_delay_nobody(make_daemon: MakeDaemon, origin: Origin, method: str) -> None:
    settings = {
        "access.connect_ports": "all",
        "log.format": "json",
        "upstream.connect_timeout": "2",
        "downstream.half_closed_timeout": "0.25",
    }
    proxy = make_daemon(settings=settings).start()
    with full_listener() as port:
        authority = f"127.0.0.1:{port}"
        target = f"http://{authority}/" if method == "GET" else authority
        request = f"{method} {target} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()
        hanging = [connected(proxy, request) for _ in range(HANGING)]
        # One of them leaves at once, and the others hear how it ended.
        hanging.pop().close()
        began = time.monotonic()
        while time.monotonic() - began < 1.0:
            assert slowest_of(1, proxy, origin) < 1.0
        for client in hanging:
            assert client.read_response(b"GET").status == 504
            client.close()
    reasons = [json.loads(line)["reason"] for line in proxy.lines_so_far()]
    assert reasons.count("connect_timeout") == HANGING - 1
    assert reasons.count("client_left") == 1


def test_connections_are_given_back(make_daemon: MakeDaemon, origin: Origin) -> None:
    """Five hundred clients come, are served, and go; of their connections those stay that the pool may keep."""
    proxy = make_daemon(settings={"upstream.max_idle": "10"}).start()
    before = proxy.descriptors()
    clients = [connected(proxy, request_for(origin.url("http"))) for _ in range(500)]
    for client in clients:
        assert client.read_response().content == LINE
    assert proxy.descriptors() >= before + 500
    for client in clients:
        client.close()
    awaited(lambda: proxy.descriptors() <= before + 10, "the end of the connections")
