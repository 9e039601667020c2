"""What the proxy fetches for itself, where the default route leads by other proxies: it goes by these too.

An errand has its own resolver, and knows nothing of which parents have failed: it comes once in hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from twistedproxy.access.policy import AccessPolicy
from twistedproxy.blocklists.files import BlocklistError
from twistedproxy.deadlines import Deadlines
from twistedproxy.routes.route import Route, Routes, RoutesError
from twistedproxy.settings.types import Settings
from twistedproxy.tls.trust import Trust
from twistedproxy.upstream.adopting import Only, adopt
from twistedproxy.upstream.connector import Connected, Connector
from twistedproxy.upstream.dial import Dialer
from twistedproxy.upstream.resolving import resolver_for


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a connection goes by; see `twistedproxy.upstream.parents.Terms`."""

    settings: Settings
    access: AccessPolicy
    trust: Trust
    via: bytes = b""


class Errand:
    """The way to servers by the parents of ``route``. `close` it in the end."""

    def __init__(self, reactor: Any, settings: Settings, trust: Trust, route: Route) -> None:
        self.route = route
        self._reactor = reactor
        deadlines = Deadlines(reactor)
        self._resolver = resolver_for(reactor, settings.resolver, deadlines, lambda: trust, threads=1, cache_size=0)
        upstream = settings.upstream
        connector = Connector(
            reactor, attempt_delay=upstream.attempt_delay, sources=upstream.source_address, deadlines=deadlines
        )
        self._parents = Dialer(self._resolver, connector).parents
        # A parent that is ourselves would be asked in vain, and say so.
        access = AccessPolicy.of(settings.access, own_ports=(), is_own_address=lambda _: False)
        self._terms = _Terms(settings, access, trust)

    def __repr__(self) -> str:
        return f"<Errand by the route {self.route.name}>"

    @property
    def forwards(self) -> bool:
        """Whether parents take requests for http:// URLs as they are, at `endpoint` without a host."""
        return self.route.forwards

    @property
    def authorization(self) -> bytes:
        """The value of Proxy-Authorization for these, or nothing."""
        return self.route.authorization

    def endpoint(self, host: str = "", port: int = 0) -> IStreamClientEndpoint:
        """Where ``host`` is at ``port``; without one, a parent."""
        return _Endpoint(self, host, port)

    def connect(self, host: str, port: int, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """A connection; for `endpoint`."""

        def connected(connected: Connected) -> IProtocol:
            whose: Any = None
            protocol = factory.buildProtocol(whose)
            assert isinstance(protocol, Protocol)
            adopt(self._reactor, connected.socket, Only(protocol))
            return protocol

        return self._parents.connect(self.route, host, port, self._terms).addCallback(connected)

    def close(self) -> None:
        """Let go of what looks names up."""
        self._resolver.close()


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, errand: Errand, host: str, port: int) -> None:
        self._errand = errand
        self._host = host
        self._port = port

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        return self._errand.connect(self._host, self._port, protocolFactory)


def errand(reactor: Any, settings: Settings, trust: Trust, environment: Mapping[str, str]) -> Errand | None:
    """The way that ``settings`` want for what the proxy fetches; None where it goes to the servers themselves.

    Raises `BlocklistError`.
    """
    try:
        routes = Routes.of(settings.routes, environment)
    except RoutesError as error:
        raise BlocklistError(str(error)) from None
    route = routes.default if routes is not None else None
    return Errand(reactor, settings, trust, route) if route is not None else None
