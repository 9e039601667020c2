"""One worker: everything of one process that moves traffic, made of `Settings` and steered from above.

It does not know whether it is alone in the daemon's own process or one of several with a parent. Whoever steers it
brings it settings and listeners, asks for its numbers, and ends it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedproxy.access.hosts import canonical_host
from twistedproxy.accounts.roster import Roster
from twistedproxy.blocklists.files import ListOrders, Opened
from twistedproxy.data_plane import DataPlane
from twistedproxy.deadlines import Deadlines
from twistedproxy.descriptors import descriptor_budget
from twistedproxy.downstream.factory import DownstreamFactory
from twistedproxy.downstream.listing import is_tunnel, listed
from twistedproxy.headcount import Headcount
from twistedproxy.listeners import Listeners
from twistedproxy.logs import TrafficLogs
from twistedproxy.record.access_log import NoAccessLog
from twistedproxy.record.connections import Connection
from twistedproxy.record.lag import ReactorLag
from twistedproxy.record.learned import Learned
from twistedproxy.record.log_file import LogFile
from twistedproxy.record.process import read_process_into
from twistedproxy.record.statistics import DIRECTIONS, LookupTally, Statistics
from twistedproxy.routes.route import Routes
from twistedproxy.settings.types import Settings
from twistedproxy.snapshot import Snapshot
from twistedproxy.tls.issuing import Issuer
from twistedproxy.tls.key_log import KeyLog
from twistedproxy.tls.trust import Trust
from twistedproxy.tunnel.pipes import PipePool
from twistedproxy.tunnel.relay import STOPPED
from twistedproxy.upstream.connector import Connector
from twistedproxy.upstream.dial import Dialer
from twistedproxy.upstream.own_addresses import OwnAddresses
from twistedproxy.upstream.pool import Pool
from twistedproxy.upstream.resolver import Resolver
from twistedproxy.upstream.resolving import resolver_for, uses_tls
from twistedproxy.usage import Usage, told

T = TypeVar("T")


class Worker:
    """A data plane with its clients' connections.

    ``number`` is its own, from 0, of ``workers`` in all. ``standard_output`` is None for a daemon, which has none.
    ``access_log_path`` is where the access log goes when the settings do not say. ``state_directory`` has the
    certificate authority. ``headcount`` tells of the connections of all the workers, where there are several.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: Settings,
        *,
        number: int,
        workers: int,
        pseudonym: str,
        descriptors: int,
        standard_output: LogFile | None,
        access_log_path: str | Path,
        state_directory: str | Path,
        headcount: Headcount | None = None,
    ) -> None:
        self.number = number
        self.started = time.monotonic()
        self._reactor = reactor
        self._pseudonym = pseudonym
        budget = descriptor_budget(descriptors)
        deadlines = Deadlines(reactor, seconds=time.monotonic)
        self._key_log = KeyLog.of(os.environ)
        self._lag = ReactorLag(reactor, time.monotonic)
        self._lists = Opened()
        self._own_addresses = OwnAddresses(deadlines.seconds)
        self._workers = workers
        snapshot = self._compile(settings, 0, [])
        self._lookup_tally = LookupTally()
        self._retired_resolvers: set[Resolver] = set()
        self._resolver = self._new_resolver(snapshot, deadlines)
        self._connector = Connector(
            reactor,
            attempt_delay=settings.upstream.attempt_delay,
            sources=settings.upstream.source_address,
            deadlines=deadlines,
        )
        dialer = Dialer(self._resolver, self._connector, self._key_log)
        self.plane = DataPlane(
            reactor=reactor,
            wall=time.time,
            deadlines=deadlines,
            dialer=dialer,
            pool=Pool(reactor, dialer, deadlines, snapshot, budget.idle, self._key_log),
            pipes=PipePool(),
            issuer=Issuer(reactor, Path(state_directory), settings.tls, key_log=self._key_log),
            access_log=NoAccessLog(),
            snapshot=snapshot,
        )
        self.logs = TrafficLogs(
            reactor, self.plane, number, default_access_log=access_log_path, standard_output=standard_output
        )
        self.factory = DownstreamFactory(self.plane, budget.clients)
        if headcount is not None:
            self.factory.share(headcount, number, workers)
        self.workers = workers

    def __repr__(self) -> str:
        return f"<Worker {self.number} {self.factory!r} {self.plane!r}>"

    @property
    def workers(self) -> int:
        """How many workers share the limits, this one included."""
        return self._workers

    @workers.setter
    def workers(self, workers: int) -> None:
        self._workers = self.plane.workers = self.plane.pool.workers = workers
        self.plane.restraint.tells = workers > 1
        if self.factory.fair_share is not None:
            self.factory.fair_share.workers = workers

    # ------------------------------------------------------------ settings

    def _compile(
        self,
        settings: Settings,
        generation: int,
        addresses: list[Any],
        trust: Trust | None = None,
        accounts: Roster | None = None,
        routes: Routes | None = None,
        lists: ListOrders | None = None,
    ) -> Snapshot:
        return Snapshot.of(
            settings,
            generation=generation,
            pseudonym=self._pseudonym,
            own_ports=[
                (address.host, address.port) for address in addresses if isinstance(address, IPv4Address | IPv6Address)
            ],
            is_own_address=self._own_addresses,
            trust=trust,
            accounts=accounts,
            routes=routes,
            lists=self._lists.lists(lists) if lists is not None else None,
        )

    def _new_resolver(self, snapshot: Snapshot, deadlines: Deadlines) -> Resolver:
        wanted = snapshot.settings.resolver
        self._resolver_shared_by = self._workers
        return resolver_for(
            self._reactor,
            wanted,
            deadlines,
            lambda: snapshot.trust,
            threads=-(-wanted.threads // self._workers),
            tally=self._lookup_tally,
        )

    def _renew_resolver(self, snapshot: Snapshot) -> None:
        """Have names looked up as ``snapshot`` wants it. Look-ups under way end as they would have."""
        settings, current = snapshot.settings, self.plane.snapshot.settings
        is_other = settings.resolver != current.resolver or self._workers != self._resolver_shared_by
        if not is_other and (settings.upstream_tls == current.upstream_tls or not uses_tls(settings.resolver)):
            return
        replaced = self._resolver
        self._resolver = self.plane.dialer.resolver = self._new_resolver(snapshot, self.plane.deadlines)
        self._retired_resolvers.add(replaced)
        replaced.retire(self._retired_resolvers.discard)

    def use(self, settings: Settings, generation: int, listeners: Listeners, lists: ListOrders | None = None) -> None:
        """Let everything go by ``settings`` from the next exchange on, and clients come in at ``listeners``.

        ``lists`` are those of what is blocked.

        Raises `Unusable` when something that they name is that, and goes by the old ones then.
        """
        plane = self.plane
        current = plane.snapshot

        def kept(table: str, made: T) -> T | None:
            # The files were read when this was made, before the process may have become another account's.
            is_first = not current.generation and getattr(settings, table) == getattr(current.settings, table)
            return made if is_first else None

        snapshot = self._compile(
            settings,
            generation,
            listeners.addresses(),
            trust=kept("upstream_tls", current.trust),
            accounts=kept("accounts", current.accounts),
            routes=kept("routes", current.routes),
            lists=lists,
        )
        self._renew_resolver(snapshot)
        plane.use(snapshot)
        self._connector.attempt_delay = settings.upstream.attempt_delay
        self._connector.sources = settings.upstream.source_address
        self.factory.accept_on(listeners.ports)

    def use_lists(self, lists: ListOrders) -> None:
        """Let what is blocked go by ``lists`` from the next exchange on."""
        self.plane.use(self.plane.snapshot.with_lists(self._lists.lists(lists)))

    # ------------------------------------------------------------ what it tells

    def statistics(self, *, complete: bool) -> Statistics:
        """Its numbers. ``complete`` ones take longer: what exchanges under way have moved so far, and descriptors."""
        plane = self.plane
        statistics = Statistics()
        plane.tally.read_into(statistics)
        statistics.limit_refusals = dict(plane.restraint.refusals)
        statistics.limit_slowings = dict(plane.restraint.slowings)
        factory = self.factory
        statistics.connections_accepted = factory.accepted
        statistics.connections_refused = factory.refused
        statistics.log_lines_lost = self.logs.lost_lines
        statistics.connections = factory.connections
        statistics.upstream_open = plane.pool.open_connections
        statistics.upstream_idle = plane.pool.idle_connections
        statistics.upstream_waiting = plane.pool.waiting_requests
        self._lookup_tally.read_into(statistics)
        plane.dialer.parents.read_into(statistics)
        statistics.lookups = self._resolver.lookups + sum(one.lookups for one in self._retired_resolvers)
        statistics.names_kept = self._resolver.names_kept
        statistics.lag = self._lag.worst
        read_process_into(statistics, count_descriptors=complete)
        if complete:
            for connection in factory:
                for exchange in connection.exchanges:
                    statistics.tunnels += is_tunnel(exchange)
                    for direction, moved in zip(DIRECTIONS, exchange.moved_so_far(), strict=True):
                        statistics.bytes[direction] += moved
        return statistics

    def usage(self) -> Usage:
        """What it has taken up of the limits that are shared."""
        settings = self.plane.snapshot.settings
        pool = self.plane.pool
        usage = told(
            self.factory.by_client,
            settings.downstream.max_connections_per_client,
            pool.in_use_by_key,
            settings.upstream.max_connections_per_origin,
            pool.in_use,
        )
        usage.limits = self.plane.restraint.told()
        return usage

    def learn(self, elsewhere: Usage) -> None:
        """The other workers have taken up ``elsewhere`` of the limits that are shared."""
        self.factory.elsewhere = elsewhere.clients
        self.plane.pool.learn(elsewhere.origins, elsewhere.upstream)
        self.plane.restraint.learn(elsewhere.limits)

    def connections(self, limit: int, client: str, state: str) -> tuple[int, list[Connection]]:
        """How many connections there are that match, and the oldest ``limit`` of them."""
        now = self.plane.deadlines.seconds()
        found = sorted(
            (connection for connection in self.factory if not client or connection.client_address == client),
            key=lambda connection: connection.number,
        )
        if not state:
            return len(found), [listed(connection, self.number, now) for connection in found[:limit]]
        told_of = [listed(connection, self.number, now) for connection in found]
        matching = [connection for connection in told_of if connection.state == state]
        return len(matching), matching[:limit]

    def close_connection(self, number: int) -> bool:
        """Close the connection of that number, whatever it carries; False when there is none."""
        for connection in self.factory:
            if connection.number == number:
                connection.stop(STOPPED)
                return True
        return False

    def learned(self, host: str, forget: bool) -> list[Learned]:
        """Who has refused our certificates, for ``host`` only unless it is empty; with ``forget`` that is forgotten."""
        rejections = self.plane.rejections
        now = self.plane.deadlines.seconds()
        host = canonical_host(host) or host
        told_of = [
            Learned(self.number, one.client, one.host, one.times, 0 < rejections.after <= one.times, one.expires - now)
            for one in rejections.all()
            if not host or one.host == host
        ]
        if forget:
            rejections.clear(host)
        return told_of

    # ------------------------------------------------------------ beginning and end

    def start(self) -> None:
        """Begin to measure how late the reactor is."""
        self._lag.start()

    def drain(self, timeout: float) -> Deferred[None]:
        """Let what is under way finish for ``timeout`` seconds, then cut it, and close everything. Fires at the end.

        Its listeners are for whoever brought them to close.
        """
        drained = self.factory.drain()
        if not drained.called:
            self._log.info(
                "draining {count} connections, for {timeout:g} s at most",
                count=self.factory.connections,
                timeout=timeout,
            )
            deadline = self._reactor.callLater(timeout, self._drained_too_long)
            drained.addBoth(_cancel, deadline)
        # The last connection tells that it is gone before its exchange has been recorded.
        return drained.addBoth(lambda result: deferLater(self._reactor, 0, self._close, result))

    def _drained_too_long(self) -> None:
        self._log.warn("{count} connections did not end in time", count=self.factory.connections)
        self.stop()

    def stop(self) -> None:
        """Cut what is under way."""
        self.factory.stop(STOPPED)

    def _close(self, result: object) -> None:
        if isinstance(result, Failure):
            self._log.failure("the proxy did not stop in good order", result)
        self._lag.stop()
        self.plane.pool.close_idle()
        self.plane.pipes.close()
        for resolver in (self._resolver, *self._retired_resolvers):
            resolver.close()
        self.logs.close()
        self._lists = Opened()
        self.plane.snapshot = self.plane.snapshot.with_lists(None)
        if self._key_log is not None:
            self._key_log.close()


def _cancel(result: object, call: Any) -> object:
    if call.active():
        call.cancel()
    return result
