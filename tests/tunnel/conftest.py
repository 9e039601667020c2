"""Tunnels over real loopback connections, with the test at both of their ends.

A `Tunnel` is a relay of either kind between two TCP connections. The test holds the far end of each, as a plain
socket, and reads and writes there like a client and an upstream; only time is a `Clock`'s.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater

from twistedproxy.deadlines import Deadlines
from twistedproxy.tunnel.copying import CopyingRelay
from twistedproxy.tunnel.pipes import PipePool
from twistedproxy.tunnel.relay import CLIENT, UPSTREAM, Meters, Relay
from twistedproxy.tunnel.splice import SpliceRelay

IDLE_TIMEOUT = 60.0
_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_PATTERN = bytes(range(256)) * 256
PATIENCE = 20.0
"""How long a test waits for something that is sure to come, in seconds."""


class _Adopted(Protocol):
    def connectionMade(self) -> None:
        self.transport.pauseProducing()


def connected_pair(buffer: int = 0) -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection over loopback, with kernel buffers of about that many bytes if any."""
    with socket.create_server(("127.0.0.1", 0)) as port:
        far = socket.socket()
        if buffer:
            for sock in (port, far):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
                # Loopback's segments are larger than such buffers, and would wait for a timer to be cut.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1448)
        far.connect(port.getsockname())
        near, _ = port.accept()
    for sock in (far, near):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return far, near


class Peer:
    """The far end of one of the tunnel's connections."""

    def __init__(self, sock: socket.socket, reactor: Any) -> None:
        self.socket = sock
        self._reactor = reactor

    async def turn(self, seconds: float = 0.0) -> None:
        """Let the reactor run."""
        await deferLater(self._reactor, seconds, lambda: None)

    async def patiently(self, attempt: Callable[[], Any]) -> Any:
        """What ``attempt`` returns, once it does not have to wait."""
        until = self._reactor.seconds() + PATIENCE
        while True:
            try:
                return attempt()
            except _NOT_YET:
                assert self._reactor.seconds() < until, "nothing more happens"
                await self.turn()

    async def write(self, data: bytes) -> None:
        """Send all of ``data``."""
        sent = 0
        while sent < len(data):
            sent += await self.patiently(partial(self.socket.send, memoryview(data)[sent:]))

    async def fill(self, relay: Relay, side: str) -> int:
        """Send until the relay is blocked from this side and no buffer takes more; how many bytes that was."""
        until = self._reactor.seconds() + PATIENCE
        sent = 0
        quiet = 0
        while True:
            assert self._reactor.seconds() < until, f"it is never full: {relay!r}"
            try:
                # The pattern goes on where the last send was cut.
                sent += self.socket.send(_PATTERN[sent % 256 :])
                quiet = 0
            except _NOT_YET:
                quiet = quiet + 1 if f"{side}=blocked" in repr(relay) else 0
                if quiet == 20:
                    return sent
                await self.turn(0.002)

    async def read(self, length: int) -> bytes:
        """Receive exactly so many bytes."""
        data = b""
        while len(data) < length:
            more = await self.patiently(partial(self.socket.recv, min(1 << 18, length - len(data))))
            assert more, f"the end came after {len(data)} of {length} bytes"
            data += more
        return data

    async def read_to_end(self) -> bytes:
        """Receive all bytes up to the FIN. Raises `ConnectionResetError` at a reset."""
        data = bytearray()
        while more := await self.patiently(partial(self.socket.recv, 1 << 18)):
            data += more
        return bytes(data)

    async def reset_reached(self) -> bytes:
        """Receive what comes before a reset, which must come."""
        data = bytearray()
        try:
            while more := await self.patiently(partial(self.socket.recv, 1 << 18)):
                data += more
        except ConnectionResetError:
            return bytes(data)
        raise AssertionError(f"a FIN came after {len(data)} bytes, not a reset")

    def finish(self) -> None:
        """Send a FIN, and go on reading."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection off."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()


class Tunnel:
    """A relay, and everything around it that a test can see."""

    def __init__(self, kind: str, reactor: Any, clock: Clock, deadlines: Deadlines, pipes: PipePool) -> None:
        self.kind = kind
        self.reactor = reactor
        self.clock = clock
        self.deadlines = deadlines
        self.pipes = pipes
        self.ended: list[Relay] = []
        self.on_end: Callable[[Relay], None] | None = None
        self.relay: Relay
        self.client: Peer
        self.upstream: Peer
        self.near_client: socket.socket
        self.near_upstream: socket.socket

    def connect(self, to_upstream: bytes, to_client: bytes, buffer: int, meters: Meters = (None, None)) -> None:
        """Make the connections and the relay."""
        self.early_to_upstream = to_upstream
        self.early_to_client = to_client
        client, self.near_client = connected_pair(buffer)
        upstream, self.near_upstream = connected_pair(buffer)
        self.client = Peer(client, self.reactor)
        self.upstream = Peer(upstream, self.reactor)
        common: dict[str, Any] = {
            "to_upstream": to_upstream,
            "to_client": to_client,
            "idle_timeout": IDLE_TIMEOUT,
            "ended": self._ended,
            "deadlines": self.deadlines,
            "meters": meters,
        }
        if self.kind == "splice":
            self.relay = SpliceRelay(
                self.near_client, self.near_upstream, pipes=self.pipes, reactor=self.reactor, **common
            )
        else:
            near = self._adopt(self.near_client), self._adopt(self.near_upstream)
            self.relay = CopyingRelay(*near, **common)

    def _adopt(self, sock: socket.socket) -> Any:
        protocol = _Adopted()
        self.reactor.adoptStreamConnection(sock.fileno(), sock.family, Factory.forProtocol(lambda: protocol))
        sock.close()
        return protocol.transport

    def _ended(self, relay: Relay) -> None:
        self.ended.append(relay)
        if self.on_end is not None:
            self.on_end(relay)

    async def turn(self, seconds: float = 0.0) -> None:
        """Let the reactor run."""
        await deferLater(self.reactor, seconds, lambda: None)

    async def fill_both(self) -> tuple[int, int]:
        """Fill it both ways; how many bytes the client and the upstream have sent."""
        up = down = 0
        while repr(self.relay).count("blocked") < 2:
            up += await self.client.fill(self.relay, CLIENT)
            down += await self.upstream.fill(self.relay, UPSTREAM)
        return up, down

    async def end(self) -> Relay:
        """Wait for the end that has been brought about; the relay, which told about it once."""
        until = self.reactor.seconds() + PATIENCE
        while not self.ended:
            assert self.reactor.seconds() < until, f"it does not end: {self.relay!r}"
            await self.turn()
        # What is still to happen, such as telling it again, happens now.
        for _ in range(3):
            await self.turn()
        self.clock.advance(2.0)
        for _ in range(3):
            await self.turn()
        assert self.ended == [self.relay]
        assert self.pipes.lent == 0
        assert repr(self.deadlines).startswith("<Deadlines watching=0 ")
        return self.relay

    def dispose(self) -> None:
        self.relay.stop("stopped")
        self.clock.advance(2.0)
        self.client.close()
        self.upstream.close()


Connect = Callable[..., Tunnel]
"""Makes a tunnel and starts it, unless told ``start=False``."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pipes() -> Iterator[PipePool]:
    pool = PipePool(large=4, large_size=1 << 17)
    yield pool
    pool.close()
    assert pool.lent == 0


@pytest.fixture
def tunnel_of(running_reactor: Any, clock: Clock, pipes: PipePool) -> Iterator[Callable[..., Tunnel]]:
    """Makes tunnels of the kind that it is told."""
    tunnels: list[Tunnel] = []
    deadlines = Deadlines(clock)

    def make(
        kind: str,
        *,
        to_upstream: bytes = b"",
        to_client: bytes = b"",
        buffer: int = 0,
        start: bool = True,
        meters: Meters = (None, None),
    ) -> Tunnel:
        tunnel = Tunnel(kind, running_reactor, clock, deadlines, pipes)
        tunnel.connect(to_upstream, to_client, buffer, meters)
        tunnels.append(tunnel)
        if start:
            tunnel.relay.start()
        return tunnel

    yield make
    for tunnel in tunnels:
        tunnel.dispose()


@pytest.fixture(params=["splice", "copying"])
def connect(request: pytest.FixtureRequest, tunnel_of: Callable[..., Tunnel]) -> Connect:
    """Makes tunnels of either kind: the test runs once for each."""
    return lambda **how: tunnel_of(request.param, **how)


@pytest.fixture
def spliced(tunnel_of: Callable[..., Tunnel]) -> Connect:
    """Makes tunnels that splice."""
    return lambda **how: tunnel_of("splice", **how)


@pytest.fixture
def pair() -> Iterator[Callable[..., tuple[socket.socket, socket.socket]]]:
    """Makes pairs of connected TCP sockets, and closes what is left of them."""
    made: list[socket.socket] = []

    def make(buffer: int = 0) -> tuple[socket.socket, socket.socket]:
        both = connected_pair(buffer)
        made.extend(both)
        return both

    yield make
    for sock in made:
        sock.close()


@pytest.fixture
def peer() -> type[Peer]:
    """Makes far ends out of sockets."""
    return Peer


@pytest.fixture
def all_of() -> Callable[..., Awaitable[list[Any]]]:
    """Runs coroutines at the same time, and waits for all of their results."""
    from twisted.internet.defer import Deferred, gatherResults

    async def wait(*running: Any) -> list[Any]:
        return await gatherResults([Deferred.fromCoroutine(one) for one in running], consumeErrors=True)

    return wait
