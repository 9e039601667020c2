"""The connections to origins, shared by all clients: taken, given back, capped and thrown away here.

Theory of operation. A connection belongs to a key: scheme, host, port and route. Idle ones wait, the newest on top,
because that is the one the origin is least likely to have closed. An exchange that finds none idle gets a connection of
its own, unless the key or the pool has as many as it may: then it waits its turn, for ``upstream.wait_timeout`` at
most. Whatever comes free goes to who has waited longest for that key.

A connection that speaks HTTP/2 is shared: each exchange is a stream of it. So where an origin may speak that, one
connection is made at a time, and the others follow it (`twistedproxy.upstream.making`). Origins that were found to
speak HTTP/1.1 are remembered, up to `MOST_REMEMBERED`, and have as many made as are wanted.

Every connection was made under one snapshot's access policy. After a reload the old ones finish what they carry and
are not used again. Where access rules depend on the address that a connection leads to, an exchange comes with its
`Destinations`, and is given no connection that these do not allow, whoever it was made for.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Any, Final

from twistedproxy.access.rules import Destinations
from twistedproxy.deadlines import Deadlines
from twistedproxy.errors import NoCommonVersion, ProxyError, UpstreamBusy
from twistedproxy.snapshot import Snapshot
from twistedproxy.tls.client_side import ClientSide
from twistedproxy.tls.key_log import KeyLog
from twistedproxy.tls.records import Records
from twistedproxy.upstream.carrier import Carrier, Key, key_text
from twistedproxy.upstream.dial import Dialer
from twistedproxy.upstream.http1 import UpstreamConnection
from twistedproxy.upstream.http2 import SharedConnection
from twistedproxy.upstream.making import Making
from twistedproxy.upstream.parent_connection import ParentConnection
from twistedproxy.upstream.ticket import Requester, Ticket

MOST_REMEMBERED: Final = 10_000
"""Origins whose version of HTTP is remembered."""

_HTTP1: Final[tuple[bytes, ...]] = (b"http/1.1",)
_HTTP2: Final[tuple[bytes, ...]] = (b"h2", b"http/1.1")

Connection = UpstreamConnection | SharedConnection


class Pool:
    """Connections by key; see the head of the module.

    ``max_idle`` is what the descriptors allow; the setting of that name, when it is lower, goes first. ``key_log`` gets
    the secrets of connections with TLS.
    """

    def __init__(
        self,
        reactor: Any,
        dialer: Dialer,
        deadlines: Deadlines,
        snapshot: Snapshot,
        max_idle: int,
        key_log: KeyLog | None = None,
    ) -> None:
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
        self._idle_by_age: dict[Connection, None] = {}
        self._shared: dict[Key, list[SharedConnection]] = {}
        self._makings: dict[Key, Making] = {}
        # Connections that have yet to hear how many streams there may be, and who waits for that.
        self._settling: dict[SharedConnection, Making] = {}
        # True where the origin has asked for HTTP/1.1, False where it just did not choose anything else.
        self._http1_origins: OrderedDict[Key, bool] = OrderedDict()
        # Those that know nothing else than HTTP/2.
        self._http2_origins: OrderedDict[Key, bool] = OrderedDict()
        self._open: dict[Key, int] = {}
        self._total = 0
        self._waiting: dict[Key, deque[Ticket]] = {}
        self.tls = ClientSide(snapshot.trust, key_log=key_log)
        """TLS with the origins."""
        self.records = Records()
        """What it passes through."""

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
        return {key: count - len(self._idle_of(key)) for key, count in self._open.items()}

    def _idle_of(self, key: Key) -> list[Connection]:
        """The idle connections of ``key``, the one first that was not used longest."""
        shared = [connection for connection in self._shared.get(key, ()) if connection in self._idle_by_age]
        return [*shared, *self._idle.get(key, ())]

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
            for connection in self._idle_of(key):
                if self._open[key] + count > most:
                    connection.abandon()
        while self._idle_by_age and self._total + all_elsewhere > self._settings.max_connections:
            next(iter(self._idle_by_age)).abandon()
        if self._waiting:
            self._serve_waiting()

    def use(self, snapshot: Snapshot) -> None:
        """Go by another snapshot. What is idle was made under the old one, and is closed."""
        self._settings = snapshot.settings.upstream
        self._generation = snapshot.generation
        self.tls = self.tls.under(snapshot.trust)
        self._shared.clear()
        self._makings.clear()
        self.close_idle()

    def close_idle(self) -> None:
        """Close every connection that carries nothing."""
        for connection in list(self._idle_by_age):
            connection.abandon()

    # ------------------------------------------------------------ taking

    def take_idle(
        self, key: Key, must_be_alive: bool, http1: bool = False, destinations: Destinations | None = None
    ) -> Carrier | None:
        """What can carry an exchange now: a stream, or the idle connection that was used last; None when there is none.

        ``must_be_alive`` looks for the origin's close, which may not have reached the reactor yet: for requests that
        cannot be sent twice. ``http1`` is for an exchange that needs a connection of its own, ``destinations`` for one
        to which it matters where that leads.
        """
        if self._shared and not http1 and (stream := self._take_stream(key, destinations)) is not None:
            return stream
        stack = self._idle.get(key)
        while stack:
            if destinations is None:
                connection = stack.pop()
            else:
                allowed = [one for one in stack if destinations.allows(one.address)]
                if not allowed:
                    return None
                connection = allowed[-1]
                stack.remove(connection)
            del self._idle_by_age[connection]
            if not stack:
                del self._idle[key]
            if not must_be_alive or not connection.has_gone():
                return connection
            connection.abandon()
        return None

    def websocket_stream(self, key: Key, destinations: Destinations | None = None) -> Carrier | None:
        """A stream that can carry a WebSocket (RFC 8441), where there is a connection whose origin offers that."""
        return self._take_stream(key, destinations, for_websocket=True)

    def _take_stream(self, key: Key, destinations: Destinations | None, for_websocket: bool = False) -> Carrier | None:
        for shared in self._shared.get(key, ()):
            if destinations is not None and not destinations.allows(shared.address):
                continue
            if shared.room > 0 and (shared.takes_websocket or not for_websocket):
                self._idle_by_age.pop(shared, None)
                return shared.take_stream()
        return None

    def acquire(
        self,
        key: Key,
        requester: Requester,
        snapshot: Snapshot,
        client: str,
        http1: bool = False,
        destinations: Destinations | None = None,
    ) -> Ticket:
        """Get a connection for ``requester``, now or when there is room. ``client`` is its client's address.

        ``http1`` and ``destinations`` are as in `take_idle`.
        """
        ticket = Ticket(self, key, requester, snapshot, client, http1, destinations)
        self._place(ticket)
        return ticket

    def _place(self, ticket: Ticket) -> None:
        """Let ``ticket`` have a stream, follow a connection in the making, have one made, or wait."""
        key = ticket.key
        making = None if ticket.http1 else self._makings.get(key)
        destinations = ticket.destinations
        if self._shared and not ticket.http1 and (stream := self._take_stream(key, destinations)) is not None:
            ticket.serve(stream)
        elif making is not None and making.suits(ticket):
            making.follow(ticket)
        elif self._has_room(key) or (destinations is not None and self._make_room(key)):
            self._make(ticket)
        else:
            self._waiting.setdefault(key, deque()).append(ticket)
            self._deadlines.expire_in(ticket, self._settings.wait_timeout)

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

    def _make_room(self, key: Key) -> bool:
        """Close the connection of ``key`` that was idle longest, which leads to where somebody must not go."""
        idle = self._idle_of(key)
        if idle:
            idle[0].abandon()
        return bool(idle) and self._has_room(key)

    def _protocols(self, ticket: Ticket) -> tuple[bytes, ...]:
        """What the origin is offered (RFC 7301)."""
        key = ticket.key
        if ticket.http1 or self._http1_origins.get(key) or not ticket.snapshot.http2.with_server(key[1]):
            return _HTTP1
        return _HTTP2

    def _make(self, ticket: Ticket) -> None:
        key = ticket.key
        self._open[key] = self._open.get(key, 0) + 1
        self._total += 1
        making = Making(self, self._reactor, self._deadlines, ticket)
        protocols = _HTTP1
        if key[0] == "https":
            protocols = self._protocols(ticket)
            making.may_be_shared = protocols is _HTTP2
            if protocols is _HTTP2 and key not in self._http1_origins:
                self._makings.setdefault(key, making)
        _, host, port, route = key
        making.start(
            self._dialer, self._settings.connect_timeout, lambda: self.tls.creator(host, port, protocols, route)
        )

    def cancel(self, ticket: Ticket) -> None:
        """Stop a ticket's wait; for `Ticket.cancel`."""
        ticket.requester = None
        if ticket.making is not None:
            ticket.making.leave(ticket)
        else:
            self._stop_waiting(ticket)

    def wait_is_over(self, ticket: Ticket) -> None:
        """A ticket's turn did not come in time; for its deadline."""
        self._stop_waiting(ticket)
        ticket.fail(UpstreamBusy(f"no connection to {key_text(ticket.key)} came free"))

    def _stop_waiting(self, ticket: Ticket) -> None:
        self._deadlines.forget(ticket)
        waiting = self._waiting.get(ticket.key)
        if waiting is not None and ticket in waiting:
            waiting.remove(ticket)
            if not waiting:
                del self._waiting[ticket.key]

    # ------------------------------------------------------------ connections in the making

    def speaker(self, making: Making, address: str, protocol: bytes | None) -> Connection:
        snapshot = making.snapshot
        key = making.key
        if protocol == b"h2":
            call_later = self._reactor.callLater
            return SharedConnection(
                self, key, address, snapshot.generation, snapshot.settings, self._deadlines, call_later
            )
        made = (self, key, address, snapshot.generation, snapshot.settings, self._deadlines)
        if making.route is not None and not key[1]:
            return ParentConnection(*made, making.route.authorization, making.judged)
        return UpstreamConnection(*made)

    def made(self, making: Making, speaker: Connection) -> None:
        key = making.key
        ticket = making.ticket
        assert ticket is not None
        ticket.making = None
        if isinstance(speaker, SharedConnection):
            self._http1_origins.pop(key, None)
            if speaker.generation == self._generation:
                self._shared.setdefault(key, []).append(speaker)
            self._settling[speaker] = making
            ticket.serve(speaker.take_stream())
        else:
            if key[0] == "https":
                self._http2_origins.pop(key, None)
                if making.may_be_shared:
                    _remember(self._http1_origins, key, self._http1_origins.get(key, False))
            self._end_making(making)
            ticket.serve(speaker)
            self._place_followers(making)

    def _place_followers(self, making: Making) -> None:
        followers, making.followers = making.followers, []
        for follower in followers:
            follower.making = None
            self._place(follower)

    def _settled(self, connection: SharedConnection) -> None:
        """It is known how many streams the connection takes, or that it takes none."""
        making = self._settling.pop(connection, None)
        if making is not None:
            self._end_making(making)
            self._place_followers(making)

    def not_made(self, making: Making, error: ProxyError) -> None:
        self._end_making(making)
        self._forget(making.key)
        if isinstance(error, NoCommonVersion):
            self.http1_unknown(making.key)
        for ticket in (making.ticket, *making.followers):
            if ticket is not None:
                ticket.making = None
                ticket.fail(error)

    def _end_making(self, making: Making) -> None:
        if self._makings.get(making.key) is making:
            del self._makings[making.key]

    def knows_no_http1(self, key: Key) -> bool:
        """Whether the origin was found to speak nothing else than HTTP/2."""
        return key in self._http2_origins

    def http1_unknown(self, key: Key) -> None:
        """The origin speaks nothing else than HTTP/2."""
        self._http1_origins.pop(key, None)
        _remember(self._http2_origins, key, True)

    # ------------------------------------------------------------ what the connections say

    def connection_free(self, connection: UpstreamConnection) -> None:
        if connection.generation != self._generation:
            connection.abandon()
            return
        key = connection.key
        if self._waiting and (ticket := self._next_waiting(key, peer=connection.address)) is not None:
            ticket.serve(connection)
            return
        if self._waiting and key in self._waiting:
            # It leads to where none of them may go: its place is of more use.
            connection.abandon()
            return
        self._idle.setdefault(key, []).append(connection)
        self._keep(connection)

    def stream_free(self, connection: SharedConnection) -> None:
        """The connection has room for another stream, and carries nothing when it is idle."""
        key = connection.key
        self._settled(connection)
        if connection not in self._shared.get(key, ()):
            if connection.idle:
                connection.abandon()
            return
        peer = connection.address
        while self._waiting and connection.room > 0 and (ticket := self._next_waiting(key, False, peer)) is not None:
            ticket.serve(connection.take_stream())
        if not connection.idle:
            return
        if any(not _suits(one, None, peer) for one in self._waiting.get(key, ())):
            # It leads to where who waits may not go: its place is of more use.
            connection.abandon()
        else:
            self._keep(connection)

    def _keep(self, connection: Connection) -> None:
        self._idle_by_age[connection] = None
        if len(self._idle_by_age) > min(-(-self._settings.max_idle // self.workers), self._max_idle):
            next(iter(self._idle_by_age)).abandon()

    def connection_full(self, connection: SharedConnection) -> None:
        """The connection takes no more streams, ever."""
        shared = self._shared.get(connection.key, [])
        if connection in shared:
            shared.remove(connection)
            if not shared:
                del self._shared[connection.key]

    def http1_required(self, connection: SharedConnection) -> None:
        """The origin does not want to be spoken to in HTTP/2 (RFC 9113 section 7)."""
        _remember(self._http1_origins, connection.key, True)
        self.connection_full(connection)

    def connection_closed(self, connection: Connection) -> None:
        key = connection.key
        if connection in self._idle_by_age:
            del self._idle_by_age[connection]
            if isinstance(connection, UpstreamConnection):
                stack = self._idle[key]
                stack.remove(connection)
                if not stack:
                    del self._idle[key]
        self._forget(key)
        if isinstance(connection, SharedConnection):
            self.connection_full(connection)
            self._settled(connection)

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
                self._place(ticket)

    def _next_waiting(self, key: Key, http1: bool | None = None, peer: str = "") -> Ticket | None:
        """Who has waited longest for ``key``.

        Of those only who does, or does not, need a connection of its own, and who may go to ``peer`` where that is set.
        """
        waiting = self._waiting.get(key)
        if not waiting:
            return None
        ticket = next((one for one in waiting if _suits(one, http1, peer)), None)
        if ticket is not None:
            self._stop_waiting(ticket)
        return ticket


def _remember(origins: OrderedDict[Key, bool], key: Key, what: bool) -> None:
    """Keep ``what`` of the origin, and forget the one that has been kept longest where there are too many."""
    origins[key] = what
    origins.move_to_end(key)
    if len(origins) > MOST_REMEMBERED:
        origins.popitem(last=False)


def _suits(ticket: Ticket, http1: bool | None, peer: str) -> bool:
    if http1 is not None and ticket.http1 != http1:
        return False
    return not peer or ticket.destinations is None or ticket.destinations.allows(peer)


__all__ = ["Key", "Pool", "Requester", "Ticket"]
