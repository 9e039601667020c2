"""Answers of the name servers that the settings name.

Theory of operation. A name that stands in the hosts file is found there. Any other goes to the servers of the longest
domain that it is in, or to those for all names; where the settings name servers for some domains only, the system's
resolver is asked for the rest. Each look-up takes its turn among those of all clients (see `fairness`), since it holds
sockets while servers are silent; and unlike the system's it can be given up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twistedproxy.deadlines import Deadlines
from twistedproxy.upstream.address_order import OwnAddress, in_order, own_address_towards
from twistedproxy.upstream.answers import Answer, Done, Source, UnderWay
from twistedproxy.upstream.dns.asking import Asking, Found
from twistedproxy.upstream.dns.lookup import Holding, NameLookup
from twistedproxy.upstream.dns.servers import Servers
from twistedproxy.upstream.fairness import FairQueue
from twistedproxy.upstream.hosts_file import HostsFile
from twistedproxy.upstream.special_names import is_local


class NamedServers:
    """See the head of the module.

    ``attempts`` is how often each server is asked, ``attempt_timeout`` how long each time, in seconds; at most
    ``limit`` look-ups run at a time. ``ttl`` is how long addresses from ``hosts_file`` hold, ``holding`` says it of all
    others. ``system`` is asked for names that no server is for. ``own_address`` stands for what the system says.
    """

    def __init__(
        self,
        reactor: Any,
        servers: Servers,
        *,
        deadlines: Deadlines,
        attempts: int,
        attempt_timeout: float,
        limit: int,
        ttl: float,
        holding: Holding,
        hosts_file: HostsFile | None,
        system: Source | None = None,
        own_address: OwnAddress = own_address_towards,
    ) -> None:
        self._reactor = reactor
        self._servers = servers
        self._deadlines = deadlines
        self._attempts = attempts
        self._attempt_timeout = attempt_timeout
        self._ttl = ttl
        self._holding = holding
        self._hosts_file = hosts_file
        self._system = system
        self._own_address = own_address
        self._queue: FairQueue[NameLookup] = FairQueue(limit, NameLookup.start)
        self._running: set[NameLookup] = set()

    def __repr__(self) -> str:
        return f"<NamedServers {self._servers!r} {self._queue.in_words}>"

    def begin(self, name: str, client: str, done: Done) -> UnderWay:
        """Look up ``name``, as `Source` says."""
        if self._hosts_file is not None:
            addresses = self._hosts_file.addresses(name.removesuffix("."))
            if addresses:
                done(Answer(in_order(dict.fromkeys(addresses), self._own_address), self._ttl), True)
                return _NOTHING
        domain = self._servers.domain_of(name)
        if domain is None:
            assert self._system is not None
            return self._system.begin(name, client, done)
        if is_local(name) and not domain:
            done(Answer((), 0.0, detail=f"{name}: names in .local are not asked for (RFC 6762)"), True)
            return _NOTHING
        try:
            lookup = NameLookup(self._reactor, name, self._ask, self._holding, done, self._over, self._own_address)
        except ValueError:
            done(Answer((), 0.0, detail=f"{name[:64]!r} is not a name"), True)
            return _NOTHING
        self._running.add(lookup)
        self._queue.add(lookup, client)
        return _Turn(self, lookup)

    def close(self) -> None:
        """Give up all look-ups, and close what is open."""
        self._queue.close()
        for lookup in self._running:
            lookup.cancel()
        self._running.clear()
        self._servers.close()
        if self._system is not None:
            self._system.close()

    def join(self, lookup: NameLookup, client: str) -> None:
        """``client`` waits for ``lookup`` too."""
        self._queue.join(lookup, client)

    def give_up(self, lookup: NameLookup) -> bool:
        """Nobody waits for ``lookup``: end it, unless it is over."""
        if lookup not in self._running:
            return False
        lookup.cancel()
        self._over(lookup)
        return True

    def _over(self, lookup: NameLookup) -> None:
        self._running.discard(lookup)
        if lookup.started:
            self._queue.over(lookup)
        else:
            self._queue.withdraw(lookup)

    def _ask(self, name: str, type: int, done: Callable[[Found], None]) -> Asking:
        return Asking(
            self._servers,
            name,
            type,
            attempts=self._attempts,
            attempt_timeout=self._attempt_timeout,
            deadlines=self._deadlines,
            done=done,
        )


class _Turn:
    """A look-up that has its turn, or waits for it."""

    __slots__ = ("_lookup", "_named")

    def __init__(self, named: NamedServers, lookup: NameLookup) -> None:
        self._named = named
        self._lookup = lookup

    def join(self, client: str) -> None:
        """As `UnderWay` says."""
        self._named.join(self._lookup, client)

    def give_up(self) -> bool:
        """As `UnderWay` says."""
        return self._named.give_up(self._lookup)


class _Nothing:
    """What was over before it began."""

    def join(self, client: str) -> None:
        """As `UnderWay` says."""

    def give_up(self) -> bool:
        """As `UnderWay` says."""
        return False


_NOTHING = _Nothing()
