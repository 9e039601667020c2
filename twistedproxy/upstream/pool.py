"""The connections to origins, shared by all clients: taken, given back, capped and thrown away here.

Theory of operation. A connection belongs to a key: scheme, host and port. Idle ones wait, the newest on top, because
that is the one the origin is least likely to have closed. An exchange that finds none idle gets a connection of its
own, unless the key or the pool has as many as it may: then it waits its turn, for ``upstream.wait_timeout`` at most.
Whatever comes free goes to who has waited longest for that key.

Every connection was made under one snapshot's access policy. After a reload the old ones finish what they carry and
are not used again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import ClientFactory
from twisted.internet.ssl import optionsForClientTLS
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from twistedproxy.deadlines import Deadlines
from twistedproxy.errors import OutOfDescriptors, ProxyError, UpstreamBusy
from twistedproxy.snapshot import Snapshot
from twistedproxy.upstream.connector import Connected
from twistedproxy.upstream.dial import Dialer
from twistedproxy.upstream.http1 import UpstreamConnection, UpstreamFactory

Key = tuple[str, str, int]
"""Scheme, host and port: what a connection can be used for."""


class Requester(Protocol):
    """What the exchange is to the pool."""

    def upstream_ready(self, connection: UpstreamConnection) -> None:
        """Here is a connection; it is the exchange's until its response has ended, or it abandons it."""

    def upstream_failed(self, error: ProxyError) -> None:
        """There is no connection to be had."""


class Ticket:
    """One exchange's wait for a connection; `cancel` when it wants none any more."""

    __slots__ = (
        "_pool",
        "connection",
        "deadline",
        "deadline_bucket",
        "dialing",
        "key",
        "requester",
        "snapshot",
    )

    def __init__(self, pool: Pool, key: Key, requester: Requester, snapshot: Snapshot) -> None:
        self._pool = pool
        self.key = key
        self.requester: Requester | None = requester
        self.snapshot = snapshot
        self.dialing: Deferred[Connected] | None = None
        self.connection: UpstreamConnection | None = None
        self.deadline = 0.0
        self.deadline_bucket = 0

    def cancel(self) -> None:
        """Stop waiting. A connection that is being made is given up."""
        self._pool.cancel(self)

    def deadline_passed(self) -> None:
        self._pool.wait_is_over(self)


class Pool:
    """Connections by key; see the head of the module.

    ``max_idle`` is what the descriptors allow; the setting of that name, when it is lower, goes first.
    """

    _log = Logger()

    def __init__(self, reactor: Any, dialer: Dialer, deadlines: Deadlines, snapshot: Snapshot, max_idle: int) -> None:
        self._reactor = reactor
        self._dialer = dialer
        self._deadlines = deadlines
        self._max_idle = max_idle
        self._settings = snapshot.settings.upstream
        self._generation = snapshot.generation
        # What other workers were using a moment ago: for each key, but for those with few, and in all.
        self._elsewhere: Mapping[Key, int] = {}
        self._all_elsewhere = 0
        self.workers = 1
        """How many workers share what may be idle."""
        self._idle: dict[Key, list[UpstreamConnection]] = {}
        self._idle_by_age: dict[UpstreamConnection, None] = {}
        self._open: dict[Key, int] = {}
        self._total = 0
        self._waiting: dict[Key, deque[Ticket]] = {}
        self._tickets: dict[UpstreamConnection, Ticket] = {}
        self._tls_options: Callable[[str], IOpenSSLClientConnectionCreator] = lru_cache(maxsize=256)(
            optionsForClientTLS
        )

    def __repr__(self) -> str:
        return f"<Pool open={self._total} idle={len(self._idle_by_age)} waiting={self.waiting_requests}>"

    @property
    def open_connections(self) -> int:
        """Connections that are open or being made."""
        return self._total

    @property
    def in_use(self) -> int:
        """Connections that carry something, or are being made."""
        return self._total - len(self._idle_by_age)

    @property
    def in_use_by_key(self) -> Mapping[Key, int]:
        """The same for each key."""
        return {key: count - len(self._idle.get(key, ())) for key, count in self._open.items()}

    @property
    def idle_connections(self) -> int:
        """Connections that carry nothing."""
        return len(self._idle_by_age)

    @property
    def waiting_requests(self) -> int:
        """Exchanges that wait for their turn."""
        return sum(map(len, self._waiting.values()))

    def learn(self, elsewhere: Mapping[Key, int], all_elsewhere: int) -> None:
        """Other workers use so many connections for each key, and in all, of what is allowed to all of us together.

        What is idle here makes room for them, and who waits here may find that they have made some.
        """
        self._elsewhere = elsewhere
        self._all_elsewhere = all_elsewhere
        most = self._settings.max_connections_per_origin
        for key, count in elsewhere.items():
            while key in self._idle and self._open[key] + count > most:
                self._idle[key][0].abandon()
        while self._idle_by_age and self._total + all_elsewhere > self._settings.max_connections:
            next(iter(self._idle_by_age)).abandon()
        if self._waiting:
            self._serve_waiting()

    def use(self, snapshot: Snapshot) -> None:
        """Go by another snapshot. What is idle was made under the old one, and is closed."""
        self._settings = snapshot.settings.upstream
        self._generation = snapshot.generation
        self.close_idle()

    def close_idle(self) -> None:
        """Close every connection that carries nothing."""
        for connection in list(self._idle_by_age):
            connection.abandon()

    # ------------------------------------------------------------ taking

    def take_idle(self, key: Key, must_be_alive: bool) -> UpstreamConnection | None:
        """The idle connection that was used last; None when there is none.

        ``must_be_alive`` looks for the origin's close, which may not have reached the reactor yet: for requests that
        cannot be sent twice.
        """
        stack = self._idle.get(key)
        while stack:
            connection = stack.pop()
            del self._idle_by_age[connection]
            if not stack:
                del self._idle[key]
            if not must_be_alive or not connection.has_gone():
                return connection
            connection.abandon()
        return None

    def acquire(self, key: Key, requester: Requester, snapshot: Snapshot, client: str) -> Ticket:
        """Get a new connection for ``requester``, now or when there is room. ``client`` is its client's address."""
        ticket = Ticket(self, key, requester, snapshot)
        if self._has_room(key):
            self._dial(ticket, client)
        else:
            self._waiting.setdefault(key, deque()).append(ticket)
            self._deadlines.expire_in(ticket, self._settings.wait_timeout)
        return ticket

    def _has_room(self, key: Key) -> bool:
        open_for_key = self._open.get(key, 0)
        if self._elsewhere:
            open_for_key += self._elsewhere.get(key, 0)
        if open_for_key >= self._settings.max_connections_per_origin:
            return False
        if self._total + self._all_elsewhere >= self._settings.max_connections:
            if not self._idle_by_age:
                return False
            # Somebody's idle connection makes room for a busy one.
            next(iter(self._idle_by_age)).abandon()
        return True

    def _dial(self, ticket: Ticket, client: str) -> None:
        key = ticket.key
        self._open[key] = self._open.get(key, 0) + 1
        self._total += 1
        ticket.dialing = dialing = self._dialer.dial(
            key[1], key[2], ticket.snapshot.access, self._settings.connect_timeout, client
        )
        dialing.addCallbacks(self._dialed, self._not_dialed, callbackArgs=(ticket,), errbackArgs=(ticket,))
        dialing.addErrback(self._broke, ticket)

    def _dialed(self, dialed: Connected, ticket: Ticket) -> None:
        ticket.dialing = None
        sock = dialed.socket
        requester = ticket.requester
        if requester is None:
            sock.close()
            self._forget(ticket.key)
            return
        key = ticket.key
        connection = UpstreamConnection(
            self,
            key,
            dialed.address_text,
            ticket.snapshot.generation,
            ticket.snapshot.settings,
            self._deadlines,
        )
        ticket.connection = connection
        self._tickets[connection] = ticket
        factory: ClientFactory | TLSMemoryBIOFactory = UpstreamFactory(connection)
        try:
            if key[0] == "https":
                factory = TLSMemoryBIOFactory(self._tls_options(key[1]), True, factory)
            # The reactor's transport has its own duplicate of the descriptor.
            self._reactor.adoptStreamConnection(sock.fileno(), sock.family, factory)
        except OSError as error:
            self._tickets.pop(connection, None)
            self._forget(key)
            requester.upstream_failed(OutOfDescriptors(str(error)))
        finally:
            sock.close()

    def _not_dialed(self, failure: Failure, ticket: Ticket) -> None:
        ticket.dialing = None
        self._forget(ticket.key)
        requester = ticket.requester
        error = failure.value
        if requester is not None and isinstance(error, ProxyError):
            ticket.requester = None
            requester.upstream_failed(error)
        else:
            failure.trap(CancelledError, ProxyError)

    def _broke(self, failure: Failure, ticket: Ticket) -> None:
        self._log.failure("a connection to {key} could not be set up", failure, key=ticket.key)
        if ticket.requester is not None:
            requester = ticket.requester
            ticket.requester = None
            requester.upstream_failed(ProxyError())

    def cancel(self, ticket: Ticket) -> None:
        """Stop a ticket's wait; for `Ticket.cancel`."""
        ticket.requester = None
        if ticket.dialing is not None:
            ticket.dialing.cancel()
        elif ticket.connection is not None:
            connection = ticket.connection
            ticket.connection = None
            if self._tickets.pop(connection, None) is not None:
                connection.abandon()
        else:
            self._stop_waiting(ticket)

    def wait_is_over(self, ticket: Ticket) -> None:
        """A ticket's turn did not come in time; for its deadline."""
        requester = ticket.requester
        ticket.requester = None
        self._stop_waiting(ticket)
        if requester is not None:
            scheme, host, port = ticket.key
            requester.upstream_failed(UpstreamBusy(f"no connection to {scheme}://{host}:{port} came free"))

    def _stop_waiting(self, ticket: Ticket) -> None:
        self._deadlines.forget(ticket)
        waiting = self._waiting.get(ticket.key)
        if waiting is not None and ticket in waiting:
            waiting.remove(ticket)
            if not waiting:
                del self._waiting[ticket.key]

    # ------------------------------------------------------------ what the connections say

    def connection_ready(self, connection: UpstreamConnection) -> None:
        ticket = self._tickets.pop(connection)
        requester = ticket.requester
        ticket.requester = ticket.connection = None
        if requester is None:
            connection.abandon()
        else:
            requester.upstream_ready(connection)

    def connection_failed(self, connection: UpstreamConnection, error: ProxyError) -> None:
        ticket = self._tickets.pop(connection)
        requester = ticket.requester
        ticket.requester = ticket.connection = None
        if requester is not None:
            requester.upstream_failed(error)

    def connection_free(self, connection: UpstreamConnection) -> None:
        if connection.generation != self._generation:
            connection.abandon()
            return
        key = connection.key
        if self._waiting and (ticket := self._next_waiting(key)) is not None:
            requester = ticket.requester
            ticket.requester = None
            assert requester is not None
            requester.upstream_ready(connection)
            return
        self._idle.setdefault(key, []).append(connection)
        self._idle_by_age[connection] = None
        if len(self._idle_by_age) > min(-(-self._settings.max_idle // self.workers), self._max_idle):
            next(iter(self._idle_by_age)).abandon()

    def connection_closed(self, connection: UpstreamConnection) -> None:
        key = connection.key
        if connection in self._idle_by_age:
            del self._idle_by_age[connection]
            stack = self._idle[key]
            stack.remove(connection)
            if not stack:
                del self._idle[key]
        self._forget(key)

    def _forget(self, key: Key) -> None:
        """One connection fewer; somebody may have waited for that."""
        count = self._open[key] - 1
        if count:
            self._open[key] = count
        else:
            del self._open[key]
        self._total -= 1
        if self._waiting:
            # Not in the middle of whatever closed the connection.
            self._reactor.callLater(0, self._serve_waiting)

    def _serve_waiting(self) -> None:
        for key in list(self._waiting):
            while key in self._waiting and self._has_room(key):
                ticket = self._next_waiting(key)
                if ticket is None:
                    break
                self._dial(ticket, "")

    def _next_waiting(self, key: Key) -> Ticket | None:
        waiting = self._waiting.get(key)
        if not waiting:
            return None
        ticket = waiting.popleft()
        if not waiting:
            del self._waiting[key]
        self._deadlines.forget(ticket)
        return ticket


__all__ = ["Key", "Pool", "Requester", "Ticket"]
