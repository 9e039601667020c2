"""The factory of client connections: how many there may be, and how they come to an end.

Accepting pauses when there are as many connections as there may be, and goes on when one has ended. A client waits in
the kernel's queue meanwhile, instead of being accepted and thrown out. No more are accepted in one turn than there is
room for: the first one too many could be the one without a descriptor for its second half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from twistedproxy.data_plane import DataPlane
from twistedproxy.downstream.connection import ClientConnection
from twistedproxy.downstream.fair_share import FairShare
from twistedproxy.downstream.http1 import DownstreamConnection
from twistedproxy.downstream.listener import ListenerFactory
from twistedproxy.downstream.opening import begin
from twistedproxy.downstream_side import Protocols
from twistedproxy.headcount import ABSENT, Headcount
from twistedproxy.http.inner import Inside

LOCAL_CLIENT = "127.0.0.1"
"""Who a client of a Unix socket is: somebody on this machine."""

QUIET = 10.0
"""Seconds after a warning that accepting pauses in which there is no second one: at the limit it pauses all
the time."""


class DownstreamFactory:
    """Makes and counts the client connections of all listeners.

    ``max_connections`` is what the descriptors allow; the setting of that name, when it is lower, goes first.
    """

    _log = Logger()

    def __init__(self, plane: DataPlane, max_connections: int) -> None:
        self.draining = False
        self._plane = plane
        self._descriptor_limit = max_connections
        self.accepted = self.refused = 0
        self.elsewhere: Mapping[str, int] = {}
        """How many connections each client has in other workers, a moment ago; those with few are left out."""
        self.fair_share: FairShare | None = None
        """What leaves connections to other workers; None when there are none."""
        self._connections: set[ClientConnection] = set()
        self._by_client: dict[str, int] = {}
        self._ports: list[Any] = []
        self._accepting = True
        self._warned_at = -QUIET
        self._emptied: list[Deferred[None]] = []

    def __repr__(self) -> str:
        state = "draining" if self.draining else "accepting" if self._accepting else "full"
        return f"<DownstreamFactory connections={len(self._connections)} {state}>"

    def at(self, listener: str) -> ListenerFactory:
        """The factory for the listener of that description."""
        return ListenerFactory(self, listener)

    def connection_at(self, listener: str, address: IAddress | None) -> DownstreamConnection:
        """The protocol for a client that has come in at ``listener``."""
        host = getattr(address, "host", LOCAL_CLIENT)
        return DownstreamConnection(self, self._plane, host.partition("%")[0], getattr(address, "port", 0), listener)

    def acceptableProtocols(self) -> list[bytes]:
        """What is spoken behind a TLS listener (RFC 7301)."""
        return [b"http/1.1", b"http/1.0"]

    @property
    def connections(self) -> int:
        """Client connections that are open, tunnels included."""
        return len(self._connections)

    @property
    def by_client(self) -> Mapping[str, int]:
        """How many connections each client has open."""
        return self._by_client

    def __iter__(self) -> Iterator[ClientConnection]:
        """The client connections that are open."""
        return iter(list(self._connections))

    @property
    def _max_connections(self) -> int:
        wanted = self._plane.snapshot.settings.downstream.max_connections
        # The other workers accept what this one leaves in the queue, so that a fixed share is enough.
        share = -(-wanted // self._plane.workers)
        return min(share, self._descriptor_limit) if wanted else self._descriptor_limit

    @property
    def _room(self) -> int:
        """How many more connections there may be; negative when a reload has allowed fewer than there are."""
        return self._max_connections - len(self._connections)

    def accept_on(self, ports: list[Any]) -> None:
        """The listening ports whose accepting pauses when there are too many connections; others are left alone."""
        for port in self._ports:
            if port not in ports:
                _leave(port)
        for port in ports:
            if port not in self._ports:
                self._accept_within_room(port)
        self._ports = ports
        self._accepting = self._room > 0
        self._open_ports()
        self._tell()

    def _accept_within_room(self, port: Any) -> None:
        """Let one turn of ``port`` accept no more connections than there is room for.

        Twisted's ports accept up to ``numberAccepts`` connections in a turn, also when they were told in the middle
        of it to rest.
        """
        accept = port.doRead

        def accept_some() -> None:
            room = self._room
            if room <= 0:
                return
            fair_share = self.fair_share
            if fair_share is not None:
                if fair_share.resting:
                    # Another port was ready in the same turn.
                    return
                room = min(room, fair_share.quota())
                if not room:
                    fair_share.rest()
                    self._open_ports()
                    return
            port.numberAccepts = min(port.numberAccepts, room)
            accept()

        port.doRead = accept_some

    def share(self, headcount: Headcount, number: int, workers: int) -> None:
        """Leave connections to other workers: this is ``number`` of ``workers`` that ``headcount`` tells of."""
        self.fair_share = FairShare(self._plane.reactor, headcount, number, workers, self._open_ports)

    def connection_made(self, connection: ClientConnection) -> bool:
        """Count a connection. False when its client has too many."""
        if connection in self._connections:
            # It goes on with one that was counted.
            return True
        client = connection.client_address
        self.accepted += 1
        connection.number = self.accepted
        count = self._by_client.get(client, 0) + 1
        self._by_client[client] = count
        self._connections.add(connection)
        if self._accepting and self._room <= 0:
            self._pause()
        if self.fair_share is not None:
            self._tell()
        if self.elsewhere:
            count += self.elsewhere.get(client, 0)
        if count <= self._plane.snapshot.settings.downstream.max_connections_per_client:
            return True
        self.refused += 1
        return False

    def open_up(
        self, outer: ClientConnection, transport: Any, inside: Inside, context: Any, protocols: Protocols
    ) -> Callable[[bytes], object]:
        """Go on with ``outer``'s ``transport`` as a connection to the origin ``inside``, in its place; see
        `twistedproxy.downstream.opening`."""
        return begin(self, self._plane, outer, transport, inside, context, protocols)

    def replace(self, before: ClientConnection, after: ClientConnection, connect: Callable[[], object]) -> None:
        """Count ``after`` in the place of ``before``; ``connect`` gives it the transport."""
        after.begin_as(before)
        before.gone = True
        self._connections.discard(before)
        self._connections.add(after)
        connect()
        if self.draining:
            after.drain()

    def connection_lost(self, connection: ClientConnection) -> None:
        """A connection, or the tunnel that it became, has ended."""
        client = connection.client_address
        self._connections.discard(connection)
        count = self._by_client[client] - 1
        if count:
            self._by_client[client] = count
        else:
            del self._by_client[client]
        if not self._accepting and self._room > 0:
            self._accepting = True
            self._open_ports()
        if self.fair_share is not None:
            self._tell()
        if not self._connections and self._emptied:
            emptied, self._emptied = self._emptied, []
            for waiting in emptied:
                waiting.callback(None)

    def _pause(self) -> None:
        """Leave clients in the kernel's queue until there is room."""
        self._accepting = False
        self._open_ports()
        now = self._plane.deadlines.seconds()
        if now >= self._warned_at + QUIET:
            self._warned_at = now
            self._log.warn(
                "accepting pauses: {count} client connections are open, as many as there may be",
                count=len(self._connections),
            )

    def _tell(self) -> None:
        """Let the other workers see how many there are; one that takes no more is not waited for."""
        if self.fair_share is not None:
            self.fair_share.tell(len(self._connections) if self._accepting else ABSENT)

    def _open_ports(self) -> None:
        reading = self._accepting and not (self.fair_share is not None and self.fair_share.resting)
        for port in self._ports:
            if reading:
                port.startReading()
            else:
                port.stopReading()

    def drain(self) -> Deferred[None]:
        """Let every connection end when nothing is under way on it. Fires when the last one has ended."""
        self.draining = True
        # They are being closed, or another's, and must not be told to read again when there is room.
        self.accept_on([])
        if self.fair_share is not None:
            self.fair_share.leave()
            self.fair_share = None
        for connection in list(self._connections):
            connection.drain()
        if not self._connections:
            return succeed(None)
        emptied: Deferred[None] = Deferred()
        self._emptied.append(emptied)
        return emptied

    def stop(self, reason: str) -> None:
        """End every connection now."""
        for connection in list(self._connections):
            connection.stop(reason)


def _leave(port: Any) -> None:
    """Stop accepting on ``port``, and leave no trace on it."""
    port.stopReading()
    del port.doRead
