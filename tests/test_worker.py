"""One worker, with real connections: what it counts, what it tells, and how it shares limits."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path
from typing import Any

import pytest_twisted

from tests.workers.conftest import Processes
from twistedproxy.listeners import Listeners
from twistedproxy.record.statistics import Requests
from twistedproxy.settings.load import load
from twistedproxy.settings.types import Settings
from twistedproxy.usage import Usage
from twistedproxy.worker import Worker

LOOPBACK = "tcp:0:interface=127.0.0.1"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Alone:
    """A worker, its listener, and an origin."""

    def __init__(self, reactor: Any, directory: Path) -> None:
        self.reactor = Processes(reactor)
        self.directory = directory
        self.origin = socket.create_server(("127.0.0.1", 0))
        self.origin.setblocking(False)
        self.authority = f"127.0.0.1:{self.origin.getsockname()[1]}".encode()
        self.open: list[socket.socket] = [self.origin]
        self.worker = Worker(
            self.reactor,
            self.settings(),
            number=4,
            workers=1,
            pseudonym="p",
            descriptors=1000,
            standard_output=None,
            access_log_path=directory / "access.log",
            state_directory=directory,
        )
        self.listeners = Listeners(reactor)
        self.listeners.open([LOOPBACK], self.worker.factory.at)
        self.worker.start()

    def settings(self, **wanted: str) -> Settings:
        values = {"access.connect_ports": "all", "forwarding.via": "proxy.test"}
        values |= {name.replace("__", "."): value for name, value in wanted.items()}
        return load("", "test", list(values.items())).settings

    def use(self, generation: int = 1, **wanted: str) -> None:
        self.worker.use(self.settings(**wanted), generation, self.listeners)

    async def until(self, true: Any) -> None:
        def so() -> Any:
            self.reactor.advance(0)
            return true()

        await self.reactor.until(so)

    async def client(self, text: bytes = b"") -> socket.socket:
        before = self.worker.factory.accepted
        client = socket.create_connection(self.listeners.ports[0].socket.getsockname())
        self.open.append(client)
        client.setblocking(False)
        client.sendall(text)
        await self.until(lambda: self.worker.factory.accepted > before)
        return client

    async def read(self, sock: socket.socket, count: int) -> bytes:
        """At least so many bytes."""
        data = b""

        def more() -> bool:
            nonlocal data
            try:
                data += sock.recv(65536)
            except BlockingIOError:
                pass
            return len(data) >= count

        await self.until(more)
        return data

    async def accept(self) -> socket.socket:
        """The next connection at the origin."""
        accepted: list[socket.socket] = []

        def more() -> bool:
            try:
                accepted.append(self.origin.accept()[0])
            except BlockingIOError:
                return False
            return True

        await self.until(more)
        self.open += accepted
        accepted[0].setblocking(False)
        return accepted[0]

    async def ask(self) -> tuple[socket.socket, socket.socket, bytes]:
        """A client whose request has come to the origin: both connections, and the request."""
        request = b"GET http://%b/ HTTP/1.1\r\nHost: %b\r\n\r\n" % (self.authority, self.authority)
        client = await self.client(request)
        return client, await self.accept(), request

    async def end(self) -> None:
        drained = self.worker.drain(0)
        self.worker.stop()
        for one in self.open:
            one.close()
        await self.until(lambda: drained.called)
        await self.until(lambda: not self.reactor.getDelayedCalls())
        await self.listeners.close()


@pytest_twisted.async_yield_fixture
async def alone(running_reactor: Any, tmp_path: Path) -> Any:
    """A worker that has settings and a listener."""
    made = Alone(running_reactor, tmp_path)
    made.use()
    yield made
    await made.end()


# ---------------------------------------------------------------- numbers


@pytest_twisted.ensureDeferred
async def test_numbers_at_first(alone: Alone) -> None:
    statistics = alone.worker.statistics(complete=False)
    assert statistics.requests == []
    assert set(statistics.bytes.values()) == {0}
    assert (statistics.connections, statistics.connections_accepted, statistics.connections_refused) == (0, 0, 0)
    assert (statistics.upstream_open, statistics.upstream_idle, statistics.upstream_waiting) == (0, 0, 0)
    assert (statistics.tunnels, statistics.lookups, statistics.log_lines_lost, statistics.descriptors) == (0, 0, 0, 0)
    assert (statistics.cpu_seconds > 0, statistics.resident > 0, statistics.descriptor_limit > 0) == (True,) * 3


@pytest_twisted.ensureDeferred
async def test_numbers_of_a_request(alone: Alone) -> None:
    client, origin, request = await alone.ask()
    forwarded = await alone.read(origin, 1)
    under_way = alone.worker.statistics(complete=True)
    assert under_way.bytes == {
        "from_client": len(request),
        "to_client": 0,
        "to_upstream": len(forwarded),
        "from_upstream": 0,
    }
    assert (under_way.connections, under_way.upstream_open, under_way.upstream_idle) == (1, 1, 0)
    # Only what is complete looks at what is under way.
    assert set(alone.worker.statistics(complete=False).bytes.values()) == {0}
    origin.sendall(OK)
    answer = await alone.read(client, 2)
    for complete in (True, False):
        over = alone.worker.statistics(complete=complete)
        assert over.requests == [Requests("forward", "2xx", "", 1)]
        assert over.bytes == {
            "from_client": len(request),
            "to_client": len(answer),
            "to_upstream": len(forwarded),
            "from_upstream": len(OK),
        }
        assert (over.connections, over.upstream_open, over.upstream_idle) == (1, 1, 1)
        assert sum(over.phases["request"].counts) == 1
    assert over.descriptors == 0


@pytest_twisted.ensureDeferred
async def test_numbers_of_a_tunnel(alone: Alone) -> None:
    head = b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (alone.authority, alone.authority)
    client = await alone.client(head)
    origin = await alone.accept()
    answer = await alone.read(client, 12)
    assert answer.startswith(b"HTTP/1.1 200 ")
    client.sendall(b"u" * 1000)
    await alone.read(origin, 1000)
    origin.sendall(b"d" * 2000)
    await alone.read(client, 2000)
    statistics = alone.worker.statistics(complete=True)
    assert (statistics.tunnels, statistics.connections) == (1, 1)
    assert statistics.bytes == {
        "from_client": len(head) + 1000,
        "to_client": len(answer) + 2000,
        "to_upstream": 1000,
        "from_upstream": 2000,
    }
    (total, (found,)) = alone.worker.connections(5, "", "tunnel")
    assert (total, found.id, found.method, found.target) == (1, "4-1", "CONNECT", alone.authority.decode())
    assert (found.bytes_from_client, found.bytes_to_client) == (len(head) + 1000, len(answer) + 2000)
    assert found.upstream == alone.authority.decode()


@pytest_twisted.ensureDeferred
async def test_numbers_of_who_waits(alone: Alone) -> None:
    alone.use(upstream__max_connections_per_origin="1")
    await alone.ask()
    before = alone.worker.factory.accepted
    await alone.client(b"GET http://%b/ HTTP/1.1\r\nHost: x\r\n\r\n" % alone.authority)
    assert alone.worker.factory.accepted == before + 1
    await alone.until(lambda: alone.worker.statistics(complete=False).upstream_waiting == 1)


@pytest_twisted.ensureDeferred
async def test_lost_lines_are_those_of_the_logs(alone: Alone) -> None:
    alone.worker.logs.open()
    alone.worker.plane.access_log.unformatted = 3
    assert alone.worker.statistics(complete=False).log_lines_lost == 3


# ---------------------------------------------------------------- connections


@pytest_twisted.ensureDeferred
async def test_connections(alone: Alone) -> None:
    await alone.client()
    await alone.ask()
    await alone.client()
    total, found = alone.worker.connections(2, "", "")
    assert (total, [one.id for one in found]) == (3, ["4-1", "4-2"])
    total, found = alone.worker.connections(1, "127.0.0.1", "idle")
    assert (total, [one.id for one in found]) == (2, ["4-1"])
    assert alone.worker.connections(5, "192.0.2.1", "") == (0, [])
    assert alone.worker.connections(5, "", "tunnel") == (0, [])


@pytest_twisted.ensureDeferred
async def test_closing_one(alone: Alone) -> None:
    await alone.ask()
    await alone.client()
    assert not alone.worker.close_connection(3)
    assert alone.worker.close_connection(1)
    await alone.until(lambda: alone.worker.factory.connections == 1)
    assert [one.id for one in alone.worker.connections(5, "", "")[1]] == ["4-2"]
    assert alone.worker.statistics(complete=False).requests[0].reason == "stopped"


# ---------------------------------------------------------------- shared limits


@pytest_twisted.ensureDeferred
async def test_learned(alone: Alone) -> None:
    rejections = alone.worker.plane.rejections
    for client, host in (("192.0.2.1", "a.test"), ("192.0.2.1", "a.test"), ("2001:db8::1", "b.test")):
        rejections.rejected(client, host)
    told = alone.worker.learned("", False)
    assert [(one.worker, one.client, one.host, one.times, one.left_alone) for one in told] == [
        (4, "192.0.2.1", "a.test", 2, True),
        (4, "2001:db8::/64", "b.test", 1, False),
    ]
    assert all(86300 < one.seconds <= 86400 for one in told)
    assert [one.host for one in alone.worker.learned("A.test.", True)] == ["a.test"]
    assert [one.host for one in alone.worker.learned("", False)] == ["b.test"]
    assert alone.worker.learned(".", True) == []
    alone.use(intercept__learn_after="0")
    assert [one.left_alone for one in alone.worker.learned("", True)] == [False]
    assert alone.worker.learned("", False) == []


@pytest_twisted.ensureDeferred
async def test_usage(alone: Alone) -> None:
    alone.use(downstream__max_connections_per_client="64", upstream__max_connections_per_origin="64")
    await alone.ask()
    await alone.client()
    key = ("http", "127.0.0.1", alone.origin.getsockname()[1], "")
    assert alone.worker.usage() == Usage({"127.0.0.1": 2}, {key: 1}, 1)


@pytest_twisted.ensureDeferred
async def test_connections_that_a_client_has_elsewhere(alone: Alone) -> None:
    alone.use(downstream__max_connections_per_client="3")
    alone.worker.learn(Usage({"127.0.0.1": 2}, {}, 0))
    await alone.client()
    refused = await alone.client(b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert (await alone.read(refused, 12))[:12] == b"HTTP/1.1 429"
    assert alone.worker.statistics(complete=False).connections_refused == 1
    alone.worker.learn(Usage())
    assert alone.worker.factory.elsewhere == {}
    await alone.client()
    assert alone.worker.statistics(complete=False).connections_refused == 1


@pytest_twisted.ensureDeferred
async def test_share_of_several(alone: Alone) -> None:
    worker = alone.worker
    worker.workers = 3
    assert (worker.workers, worker.plane.workers, worker.plane.pool.workers) == (3, 3, 3)
    alone.use(downstream__max_connections="10")
    # What the others leave in the queue, they take.
    for _ in range(4):
        await alone.client()
    assert repr(worker.factory) == "<DownstreamFactory connections=4 full>"
    assert repr(worker).startswith("<Worker 4 <DownstreamFactory connections=4 full> ")


@pytest_twisted.ensureDeferred
async def test_look_ups_are_shared_out(alone: Alone) -> None:
    """Also when only the number of workers is another."""
    alone.use(resolver__threads="10")
    limits = []
    for workers in (1, 3, 3, 5):
        alone.worker.workers = workers
        before = alone.worker.plane.dialer.resolver
        alone.use(resolver__threads="10")
        resolver = alone.worker.plane.dialer.resolver
        limits.append((re.findall(r"busy=0/(\d+)", repr(resolver)), resolver is before))
    assert limits == [(["10"], True), (["4"], False), (["4"], True), (["2"], False)]


# ---------------------------------------------------------------- the end


@pytest_twisted.ensureDeferred
async def test_drains_to_the_deadline(alone: Alone) -> None:
    await alone.ask()
    ended = alone.worker.drain(5.0)
    alone.reactor.advance(4.9)
    assert alone.worker.factory.connections == 1
    alone.reactor.advance(0.1)
    await alone.until(lambda: ended.called)
    assert alone.worker.factory.connections == 0
    assert alone.worker.statistics(complete=True).requests[0].reason == "stopped"


@pytest_twisted.ensureDeferred
async def test_end_may_be_asked_for_twice(alone: Alone) -> None:
    client = await alone.client(b"GET ")
    first, second = alone.worker.drain(3600.0), alone.worker.drain(5.0)
    alone.reactor.advance(5.0)
    await alone.until(lambda: first.called and second.called)
    await alone.until(lambda: alone.worker.factory.connections == 0)
    assert client.fileno() >= 0
    assert alone.worker.started <= time.monotonic()
