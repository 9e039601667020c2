"""The proxy's middle in memory: a client's transport on one side, origins' transports on the other, a clock in between.

Everything between the two transports is the real thing. Only the network is not: a dial succeeds when the test says
so, with a transport that keeps what is written to it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from twistedproxy.access.blocklists.image import Image, compile_list
from twistedproxy.access.blocklists.lists import Blocklists, OpenList
from twistedproxy.access.hosts import HostSet
from twistedproxy.access.rules import Destinations
from twistedproxy.data_plane import DataPlane
from twistedproxy.deadlines import Deadlines
from twistedproxy.downstream.factory import DownstreamFactory
from twistedproxy.downstream.http1 import DownstreamConnection
from twistedproxy.errors import ProxyError
from twistedproxy.routes.route import Route
from twistedproxy.settings.load import load
from twistedproxy.snapshot import Snapshot
from twistedproxy.tls.authority import AuthorityError, make_authority, utc
from twistedproxy.tls.leaves import Leaves
from twistedproxy.tls.serving import serve_http
from twistedproxy.tunnel.pipes import PipePool
from twistedproxy.upstream.connector import Connected
from twistedproxy.upstream.pool import Pool

WALL = 1_800_000_000.0
DATE = b"Fri, 15 Jan 2027 08:00:00 GMT"
VIA = b"1.1 proxy.test"
CLIENT = IPv4Address("TCP", "127.0.0.1", 40000)
LISTENER = "tcp:8080:interface=127.0.0.1"


PRIME = 576460752303423433
"""What names are hashed with."""


def opened_list(name: str, content: str, *, category: str = "", action: str = "block") -> OpenList:
    """A list in memory."""
    _, pieces = compile_list([content.encode()], format="auto", subdomains=True, prime=PRIME, source="")
    return OpenList(name, category, action, False, True, HostSet(()), Image(b"".join(pieces), PRIME))


class MemoryTransport(StringTransport):  # type: ignore[misc]  # Twisted's class is not typed
    """Keeps what is written; closing it tells the protocol in the clock's next turn, as the reactor would."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(peerAddress=CLIENT)
        self.clock = clock
        self.protocol: Any = None
        self.closed = ""
        self.write_closed = False

    def getHandle(self) -> None:
        """There is no socket."""

    def take(self) -> bytes:
        """What has been written since the last time."""
        written: bytes = self.value()
        self.clear()
        return written

    def loseConnection(self) -> None:
        self._close("closed", ConnectionDone())

    def abortConnection(self) -> None:
        self._close("aborted", ConnectionAborted())

    def loseWriteConnection(self) -> None:
        self.write_closed = True

    def _close(self, how: str, reason: Exception) -> None:
        if not self.closed:
            self.closed = how
            self.clock.callLater(0, self._lost, reason)

    def _lost(self, reason: Exception) -> None:
        if self.protocol is not None:
            self.protocol.connectionLost(Failure(reason))

    def receive(self, data: bytes) -> None:
        """The peer sends ``data``."""
        assert not self.closed, "the proxy has closed this connection"
        self.protocol.dataReceived(data)

    def peer_closes(self) -> None:
        """The peer closes in good order."""
        self.closed = "by the peer"
        self.protocol.connectionLost(Failure(ConnectionDone()))

    def peer_resets(self) -> None:
        """The peer breaks off."""
        self.closed = "by the peer"
        self.protocol.connectionLost(Failure(ConnectionLost()))

    def fill(self) -> None:
        """The peer does not read: the transport has more than it wants."""
        self.producer.pauseProducing()

    def drain(self) -> None:
        """The peer has read all there was."""
        self.producer.resumeProducing()

    @property
    def paused(self) -> bool:
        """Whether the protocol rests from reading."""
        return bool(self.producerState == "paused")


class MemoryReactor(Clock):
    """A clock that turns sockets into transports in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.advance(1000)
        self.transports: list[MemoryTransport] = []

    def adoptStreamConnection(self, descriptor: int, family: int, factory: Any) -> None:
        protocol = factory.buildProtocol(None)
        transport = MemoryTransport(self)
        transport.protocol = protocol
        self.transports.append(transport)
        protocol.makeConnection(transport)


@dataclass
class Dial:
    """One wish for a connection, and its answer."""

    host: str
    port: int
    client: str
    result: Deferred[Connected]
    cancelled: bool = False
    policy: Destinations | None = None
    route: str = ""
    judged: Callable[[bool], object] | None = None

    def succeed(self, address: str = "192.0.2.1") -> None:
        """The connection stands, where the access rules allow the address."""
        try:
            if self.policy is not None:
                self.policy.check_destination(address, self.port)
        except ProxyError as error:
            self.fail(error)
            return
        sock, other = socket.socketpair()
        other.close()
        connected = Connected(sock, address, self.port, 0.0)
        connected.judged = self.judged
        self.result.callback(connected)

    def fail(self, error: Exception) -> None:
        """There is none."""
        self.result.errback(Failure(error))


class MemoryDialer:
    """Keeps every dial for the test to answer, or answers at once when ``open`` says so; those by parents too."""

    def __init__(self) -> None:
        self.parents = self
        self.dials: list[Dial] = []
        self.open = True
        self.address = "192.0.2.1"
        """Where every name leads."""
        self.judged: Callable[[bool], object] | None = None
        """What is told whether parents answer."""

    def dial(self, host: str, port: int, policy: Any, timeout: float, client: str = "") -> Deferred[Connected]:
        # The settings' own policy is not asked: it refuses the addresses that stand for the world's here.
        return self._dial(host, port, client, policy=policy if isinstance(policy, Destinations) else None)

    def connect(
        self, route: Route, host: str, port: int, snapshot: Snapshot, vias: Sequence[bytes] = ()
    ) -> Deferred[Connected]:
        return self._dial(host, port, "", route=route.name, judged=self.judged)

    def _dial(self, host: str, port: int, client: str, **how: Any) -> Deferred[Connected]:
        def cancel(_: Deferred[Connected]) -> None:
            made.cancelled = True

        made = Dial(host, port, client, Deferred(cancel), **how)
        self.dials.append(made)
        if self.open:
            made.succeed(self.address)
        return made.result


class MemoryIssuer:
    """Leaves of an authority that is in no file; none when ``error`` says why, and later when ``waiting`` is a list."""

    def __init__(self) -> None:
        self.made: Leaves | None = None
        self.error = ""
        self.waiting: list[Deferred[Leaves]] | None = None

    def use(self, settings: Any) -> None:
        """Whatever they say."""

    def leaves(self) -> Deferred[Leaves]:
        if self.error:
            return fail(AuthorityError(self.error))
        if self.waiting is not None:
            self.waiting.append(Deferred())
            return self.waiting[-1]
        return succeed(self.made_now())

    def made_now(self) -> Leaves:
        """The leaves, which are made when they are first asked for."""
        if self.made is None:
            self.made = Leaves(make_authority(utc(time.time())), time.time, prepare=serve_http)
        return self.made


@dataclass(frozen=True)
class Record:
    """What the access log was told of one exchange."""

    kind: str
    method: bytes
    url: bytes
    status: int
    reason: str
    bytes_from_client: int
    bytes_to_client: int
    bytes_to_upstream: int
    bytes_from_upstream: int
    reused: bool
    upstream_address: str
    route: Route | None
    rule: str


@dataclass
class Records:
    """The access log's place."""

    all: list[Record] = field(default_factory=list)

    def finished(self, exchange: Any) -> None:
        self.all.append(Record(**{name: getattr(exchange, name) for name in Record.__dataclass_fields__}))

    @property
    def reasons(self) -> list[str]:
        """Only the reasons, in order."""
        return [record.reason for record in self.all]


class Wire:
    """A proxy with nothing but memory on both sides. ``overrides`` are settings, as ``--set`` takes them."""

    def __init__(self, *overrides: tuple[str, str], max_connections: int = 1000) -> None:
        self.reactor = MemoryReactor()
        self.deadlines = Deadlines(self.reactor)
        self.dialer = MemoryDialer()
        self.records = Records()
        self.issuer = MemoryIssuer()
        self.generation = 0
        snapshot = self.compile(overrides)
        self.pool = Pool(self.reactor, self.dialer, self.deadlines, snapshot, 100)  # type: ignore[arg-type]  # a double
        self.plane = DataPlane(
            reactor=self.reactor,
            wall=lambda: WALL,
            deadlines=self.deadlines,
            dialer=self.dialer,  # type: ignore[arg-type]  # a double
            pool=self.pool,
            pipes=PipePool(),
            issuer=self.issuer,  # type: ignore[arg-type]  # a double
            access_log=self.records,  # type: ignore[arg-type]  # a double
            snapshot=snapshot,
        )
        self.factory = DownstreamFactory(self.plane, max_connections)

    def compile(self, overrides: Sequence[tuple[str, str]]) -> Snapshot:
        """A snapshot of the defaults with ``overrides``."""
        self.generation += 1
        wanted = [("forwarding.via", "proxy.test"), ("access.connect_ports", "all"), *overrides]
        return Snapshot.of(
            load("", "test", wanted).settings,
            generation=self.generation,
            pseudonym="unused",
            own_ports=[("127.0.0.1", 8080)],
            is_own_address=lambda _: False,
        )

    def reload(self, *overrides: tuple[str, str]) -> None:
        """Go by other settings from now on."""
        self.plane.use(self.compile(overrides))

    def block(self, *lists: OpenList) -> None:
        """Go by these lists of what is blocked from now on."""
        self.plane.use(self.plane.snapshot.with_lists(Blocklists(lists, PRIME)))

    def client(self, address: IPv4Address = CLIENT) -> MemoryTransport:
        """A client connects."""
        protocol = self.factory.connection_at(LISTENER, address)
        transport = MemoryTransport(self.reactor)
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return transport

    @property
    def origins(self) -> list[MemoryTransport]:
        """The connections to origins that were ever made, in order."""
        return self.reactor.transports

    def pass_time(self, seconds: float) -> None:
        """Time passes, in steps that no deadline is late for."""
        while seconds > 0:
            self.reactor.advance(min(0.5, seconds))
            seconds -= 0.5

    def turn(self) -> None:
        """One turn of the reactor, in which no time passes."""
        self.reactor.advance(0)

    def connection(self, client: MemoryTransport) -> DownstreamConnection:
        """The protocol of a client's connection."""
        assert isinstance(client.protocol, DownstreamConnection)
        return client.protocol
