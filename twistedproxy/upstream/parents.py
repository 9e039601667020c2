"""The way to a server by other proxies: connected to like any server, and then asked to open the rest of the way.

Theory of operation. The parents of a route are tried in their order. One that could not be connected to, or broke off
before it had answered, comes after the others for a while, and so does one that has let several servers' time pass.
What a parent answers counts, good or bad: the next one would have to ask the same server. The server's name is the
parent's to look up, and nobody else hears of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet
from twisted.logger import Logger

from twistedproxy.access.addresses import with_port
from twistedproxy.access.policy import AccessPolicy
from twistedproxy.deadlines import Deadlines
from twistedproxy.errors import (
    OutOfDescriptors,
    ParentBroken,
    ParentTimeout,
    ParentUnreachable,
    ProxyError,
)
from twistedproxy.http.head import HeadLimits
from twistedproxy.record.statistics import Statistics
from twistedproxy.routes.http_connect import HTTPConnect
from twistedproxy.routes.route import Route
from twistedproxy.routes.socks5 import SOCKS5
from twistedproxy.settings.parents import HTTPS, ParentAddress
from twistedproxy.settings.types import Settings
from twistedproxy.tls.client_side import ClientSide
from twistedproxy.tls.key_log import KeyLog
from twistedproxy.tls.records import Records
from twistedproxy.tls.trust import Trust
from twistedproxy.upstream.connector import Connected
from twistedproxy.upstream.negotiating import Negotiating, Negotiation
from twistedproxy.upstream.tls_leg import TLSLeg

MOST_IN_VAIN: Final = 3
"""To how many servers a parent has not opened the way in time, with no answer in between, when it counts as failing."""


class Dial(Protocol):
    """Connects to a host as to a server: `twistedproxy.upstream.dial.Dialer.dial`."""

    def __call__(self, host: str, port: int, policy: NotOurselves, timeout: float, /) -> Deferred[Connected]: ...


class Terms(Protocol):
    """What a connection goes by; a `Snapshot` is that."""

    @property
    def settings(self) -> Settings:
        """All of them."""

    @property
    def access(self) -> AccessPolicy:
        """Says where the proxy itself listens."""

    @property
    def trust(self) -> Trust:
        """Whom to trust, where TLS is spoken with a parent."""

    @property
    def via(self) -> bytes:
        """What we are called in Via; nothing where we are not to be named."""


class NotOurselves:
    """The policy for parents, which are the operator's own choice: anywhere but at the proxy itself."""

    def __init__(self, access: AccessPolicy) -> None:
        self._access = access

    def __repr__(self) -> str:
        return f"<NotOurselves {self._access!r}>"

    def check_destination(self, address: str, port: int) -> None:
        """Raise `DestinationRefused` where the proxy itself listens."""
        self._access.check_not_own(address, port)


class Parents:
    """Connects by way of parents, which ``dial`` connects to; see the head of the module.

    It knows for how long each of them is to come last. ``key_log`` gets the secrets of TLS with them.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorFDSet, deadlines: Deadlines, dial: Dial, key_log: KeyLog | None = None) -> None:
        self._reactor = reactor
        self._deadlines = deadlines
        self._dial = dial
        # TLS with parents, by the trust of the last terms.
        self._tls: ClientSide | None = None
        self._records = Records()
        self._key_log = key_log
        # By their names in the statistics, which have that of the route too.
        self._last_until: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        # For which hosts they were waited for in vain since they last said something.
        self._in_vain: dict[str, set[str]] = {}

    def __repr__(self) -> str:
        return f"<Parents failing={', '.join(self._last_until) or 'none'}>"

    def connect(
        self, route: Route, host: str, port: int, terms: Terms, vias: Sequence[bytes] = ()
    ) -> Deferred[Connected]:
        """A connection to ``host``, a name or an address, at ``port``; with no host, one to a parent of ``route``.

        ``vias`` are the values of the Via fields of a client's own CONNECT.
        Fails with `ParentFailed` and what is below it, with what a parent says of the server, and with
        `OutOfDescriptors`. Cancelling it closes everything.
        """
        return Deferred.fromCoroutine(self._connect(route, host, port, terms, vias))

    async def _connect(self, route: Route, host: str, port: int, terms: Terms, vias: Sequence[bytes]) -> Connected:
        failures: list[ProxyError] = []
        for parent in self._in_order(route):
            try:
                connected = await self._reach(parent, route, terms)
                if host:
                    await self._negotiate(connected, parent, route, host, port, terms, vias)
            except ProxyError as error:
                said, error.detail = error.detail, f"{parent}: {error.detail}"
                if isinstance(error, ParentTimeout):
                    self._waited_for(route, parent, host, said)
                    raise
                if not isinstance(error, ParentUnreachable | ParentBroken):
                    if not isinstance(error, OutOfDescriptors):
                        self._answered(route, parent)
                    raise
                self._failed(route, parent, said)
                failures.append(error)
            else:
                if host:
                    self._answered(route, parent)
                else:
                    connected.judged = partial(self._judged, route, parent)
                return connected
        failures[0].detail = "; ".join(error.detail for error in failures)
        raise failures[0]

    async def _reach(self, parent: ParentAddress, route: Route, terms: Terms) -> Connected:
        timeout = terms.settings.upstream.connect_timeout
        try:
            connected = await self._dial(parent.host, parent.port, NotOurselves(terms.access), timeout)
            if parent.scheme == HTTPS:
                if self._tls is None or self._tls.trust is not terms.trust:
                    self._tls = ClientSide(terms.trust, key_log=self._key_log)
                creator = self._tls.creator(parent.host, parent.port, (), route.name)
                leg = TLSLeg(self._reactor, self._deadlines, connected, creator, self._records, terms.settings)
                connected = await leg.start()
            return connected
        except OutOfDescriptors:
            raise
        except ProxyError as error:
            raise ParentUnreachable(error.detail) from None

    async def _negotiate(
        self,
        connected: Connected,
        parent: ParentAddress,
        route: Route,
        host: str,
        port: int,
        terms: Terms,
        vias: Sequence[bytes],
    ) -> None:
        negotiation: Negotiation
        if not route.forwards:
            negotiation = SOCKS5(host, port, route.user, route.password)
        else:
            upstream = terms.settings.upstream
            limits = HeadLimits(upstream.max_head_size, upstream.max_fields)
            authority = with_port(host, port).encode("ascii")
            negotiation = HTTPConnect(authority, terms.via, route.authorization, limits, vias)
        started = self._deadlines.seconds()
        try:
            await Negotiating(self._reactor, self._deadlines, connected.socket, negotiation, route.timeout).start()
        except BaseException:
            # Cancelling comes as one too.
            connected.socket.close()
            raise
        connected.connect_seconds += self._deadlines.seconds() - started

    # ------------------------------------------------------------ who comes last

    def read_into(self, statistics: Statistics) -> None:
        """Write who has failed, and who comes last for now, into ``statistics``."""
        now = self._deadlines.seconds()
        statistics.parent_failures = dict(self._failures)
        statistics.parents_failing = {name: 1 for name, until in self._last_until.items() if until > now}

    def _in_order(self, route: Route) -> list[ParentAddress]:
        if not self._last_until:
            return list(route.parents)
        now = self._deadlines.seconds()
        return sorted(route.parents, key=lambda parent: self._last_until.get(_name(route, parent), now) > now)

    def _failed(self, route: Route, parent: ParentAddress, why: str) -> None:
        name = _name(route, parent)
        if name not in self._last_until:
            self._log.warn(
                "the parent {parent} of the route {route} fails: {reason}",
                parent=str(parent),
                route=route.name,
                reason=why,
            )
        self._last_until[name] = self._deadlines.seconds() + route.retry_after
        self._failures[name] = self._failures.get(name, 0) + 1

    def _waited_for(self, route: Route, parent: ParentAddress, host: str, why: str) -> None:
        """It did not answer in time: as likely as not because the host does not, unless that becomes of all."""
        hosts = self._in_vain.setdefault(_name(route, parent), set())
        hosts.add(host)
        if len(hosts) >= MOST_IN_VAIN:
            hosts.clear()
            self._failed(route, parent, why)

    def _judged(self, route: Route, parent: ParentAddress, answers: bool) -> None:
        if answers:
            self._answered(route, parent)
        else:
            self._failed(route, parent, "it broke off before it had answered")

    def _answered(self, route: Route, parent: ParentAddress) -> None:
        self._in_vain.pop(_name(route, parent), None)
        if self._last_until.pop(_name(route, parent), None) is not None:
            self._log.info(
                "the parent {parent} of the route {route} answers again", parent=str(parent), route=route.name
            )


def _name(route: Route, parent: ParentAddress) -> str:
    return f"{route.name} {parent}"
