"""The limits of a real proxy: file descriptors, connections in all, and connections of one client."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.live.daemon import PATIENCE, Daemon
from tests.live.fetch import connected, fetch, request_for
from tests.live.origin import LINE, Origin
from tests.live.wire.raw import Connection

MakeDaemon = Callable[..., Daemon]

CLIENTS = 100


@contextmanager
def clients(proxy: Daemon, request: bytes) -> Iterator[list[socket.socket]]:
    """A hundred clients, each of which connects and says ``request`` as soon as it can."""
    host, _, port = proxy.address.rpartition(":")
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(CLIENTS)]
        for sock in sockets:
            sock.setblocking(False)
            sock.connect_ex((host, int(port)))
        waiting = set(sockets)
        until = time.monotonic() + PATIENCE
        while waiting:
            assert time.monotonic() < until, f"{len(waiting)} clients cannot connect"
            _, writable, _ = select.select([], list(waiting), [], 1.0)
            for sock in writable:
                assert sock.send(request) == len(request)
                waiting.remove(sock)
        for sock in sockets:
            sock.setblocking(True)
        yield sockets


@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_descriptors_run_out(make_daemon: MakeDaemon, origin: Origin, method: str) -> None:
    """With 64 of them and a hundred clients, accepting pauses and goes on, and everybody is served."""
    proxy = make_daemon(descriptors=64, settings={"access.connect_ports": "all", "log.format": "json"}).start()
    gate = f"descriptors-{method}"
    request = request_for(origin.url("http", f"/gated/{gate}"), "GET", "Connection: close")
    if method == "CONNECT":
        authority = f"127.0.0.1:{origin.port('http')}"
        early = f"GET /gated/{gate} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n"
        request = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n{early}".encode()
    with clients(proxy, request) as sockets:
        proxy.await_log(r"warn  accepting pauses: \d+ client connections are open, as many as there may be")
        origin.open(gate)
        for sock in sockets:
            client = Connection(sock)
            if method == "CONNECT":
                assert client.read_through(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
            answer = client.read_response()
            assert (answer.status, answer.content) == (200, LINE)
            # One more may come in.
            client.close()
    assert fetch(proxy, origin.url("http")).status == 200
    entries = proxy.access_entries(CLIENTS + 1)
    assert {(entry["status"], entry["reason"]) for entry in entries} == {(200, None)}
    assert "EMFILE" not in proxy.log


def test_connections_in_all(make_daemon: MakeDaemon, origin: Origin) -> None:
    """One too many waits, and is served when another has gone."""
    proxy = make_daemon(settings={"downstream.max_connections": "2"}).start()
    first, second, third = (connected(proxy, request_for(origin.url("http"))) for _ in range(3))
    assert first.read_response().content == LINE
    assert second.read_response().content == LINE
    proxy.await_log("warn  accepting pauses: 2 client connections are open")
    assert third.silent()
    first.close()
    assert third.read_response().content == LINE
    second.close()
    third.close()


def test_connections_of_one_client(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(settings={"downstream.max_connections_per_client": "2", "log.format": "json"}).start()
    held = [connected(proxy, request_for(origin.url("http"))) for _ in range(2)]
    for client in held:
        assert client.read_response().content == LINE
    refusal = fetch(proxy, origin.url("http"))
    assert refusal.status == 429
    assert b"it is set by downstream.max_connections_per_client." in refusal.content
    held[0].close()
    held[1].send(request_for(origin.url("http")))
    assert held[1].read_response().content == LINE
    assert fetch(proxy, origin.url("http")).status == 200
    held[1].close()
    reasons = [entry["reason"] for entry in proxy.access_entries(5)]
    assert sorted(map(str, reasons)) == ["None"] * 4 + ["client_connections_exceeded"]
