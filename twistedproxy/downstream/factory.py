"""The factory of client connections: how many there may be, and how they come to an end.

Accepting pauses when there are as many connections as there may be, and goes on when one has ended. A client waits in
the kernel's queue meanwhile, instead of being accepted and thrown out.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger

from twistedproxy.data_plane import DataPlane
from twistedproxy.downstream.http1 import DownstreamConnection

LOCAL_CLIENT = "127.0.0.1"
"""Who a client of a Unix socket is: somebody on this machine."""


class DownstreamFactory(ServerFactory):
    """Makes and counts the client connections of all listeners.

    ``max_connections`` is what the descriptors allow; the setting of that name, when it is lower, goes first.
    """

    noisy = False
    _log = Logger()

    def __init__(self, plane: DataPlane, max_connections: int) -> None:
        self.draining = False
        self._plane = plane
        self._descriptor_limit = max_connections
        self._connections: set[DownstreamConnection] = set()
        self._by_client: dict[str, int] = {}
        self._ports: list[Any] = []
        self._accepting = True
        self._emptied: list[Deferred[None]] = []

    def __repr__(self) -> str:
        state = "draining" if self.draining else "accepting" if self._accepting else "full"
        return f"<DownstreamFactory connections={len(self._connections)} {state}>"

    def buildProtocol(self, addr: IAddress | None) -> DownstreamConnection:
        host = getattr(addr, "host", LOCAL_CLIENT)
        return DownstreamConnection(self, self._plane, host.partition("%")[0], getattr(addr, "port", 0))

    @property
    def connections(self) -> int:
        """Client connections that are open, tunnels included."""
        return len(self._connections)

    @property
    def _max_connections(self) -> int:
        wanted = self._plane.snapshot.settings.downstream.max_connections
        return min(wanted, self._descriptor_limit) if wanted else self._descriptor_limit

    def accept_on(self, ports: list[Any]) -> None:
        """The listening ports whose accepting pauses when there are too many connections."""
        self._ports = ports
        self._accepting = True
        self._admit()

    def connection_made(self, connection: DownstreamConnection) -> bool:
        """Count a connection. False when its client has too many."""
        client = connection.client_address
        count = self._by_client.get(client, 0) + 1
        self._by_client[client] = count
        self._connections.add(connection)
        if self._accepting and len(self._connections) >= self._max_connections:
            self._admit()
        return count <= self._plane.snapshot.settings.downstream.max_connections_per_client

    def connection_lost(self, connection: DownstreamConnection) -> None:
        """A connection, or the tunnel that it became, has ended."""
        client = connection.client_address
        self._connections.discard(connection)
        count = self._by_client[client] - 1
        if count:
            self._by_client[client] = count
        else:
            del self._by_client[client]
        if not self._accepting:
            self._admit()
        if not self._connections and self._emptied:
            emptied, self._emptied = self._emptied, []
            for waiting in emptied:
                waiting.callback(None)

    def _admit(self) -> None:
        """Accept, or leave clients in the kernel's queue, as there is room."""
        accepting = len(self._connections) < self._max_connections
        if accepting == self._accepting:
            return
        self._accepting = accepting
        if not accepting:
            self._log.warn(
                "accepting pauses: {count} client connections are open, as many as there may be",
                count=len(self._connections),
            )
        for port in self._ports:
            if accepting:
                port.startReading()
            else:
                port.stopReading()

    def drain(self) -> Deferred[None]:
        """Let every connection end when nothing is under way on it. Fires when the last one has ended."""
        self.draining = True
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
