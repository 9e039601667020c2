"""The one door to the network: from a host and a port to a connection, past the access policy.

Whatever is asked for, by whatever method, is resolved, judged by its addresses, and connected to at exactly
the addresses that were judged. A name is looked up once for that, so that an answer which changes meanwhile
changes nothing. Where the way leads by other proxies, only these are looked up and connected to here, and their
names and addresses are judged by nobody but the operator, who has named them.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from twistedproxy import errors
from twistedproxy.tls.key_log import KeyLog
from twistedproxy.upstream.connector import Connected, Connector
from twistedproxy.upstream.literals import ResolvedAddress
from twistedproxy.upstream.parents import Parents
from twistedproxy.upstream.resolver import Addresses, Resolver


class Policy(Protocol):
    """Says which addresses may be connected to."""

    def check_destination(self, address: str, port: int) -> None:
        """Raise `Refused` unless the proxy may connect to this (resolved) address and port."""


Dialed = Connected
"""What `Dialer.dial` brings: the connection, and the seconds that resolving and connecting took."""


class Dialer:
    """Opens connections to origins; see the head of the module. ``key_log`` gets the secrets of TLS with parents."""

    def __init__(self, resolver: Resolver, connector: Connector, key_log: KeyLog | None = None) -> None:
        self.resolver = resolver
        self.parents = Parents(connector.reactor, connector.deadlines, self.dial, key_log)
        """The way by other proxies."""
        self._connector = connector

    def __repr__(self) -> str:
        return f"<Dialer {self.resolver!r} {self._connector!r}>"

    def dial(self, host: str, port: int, policy: Policy, timeout: float, client: str = "") -> Deferred[Dialed]:
        """Connect to ``host`` at ``port`` on behalf of ``client``, to an address that ``policy`` allows.

        ``timeout`` is for the connecting, in seconds; the look-up has its own. Fails with
        `Refused` when no address of the host is allowed, and as `Resolver.resolve` and
        `Connector.connect` do. Cancelling it closes everything.
        """
        addresses = self.resolver.cached(host)
        if addresses is not None:
            return self._connect(addresses, port, policy, timeout)
        seconds = self._connector.seconds
        asked = seconds()
        resolve_seconds = 0.0

        def resolved(addresses: Addresses) -> Deferred[Dialed]:
            nonlocal resolve_seconds
            resolve_seconds = seconds() - asked
            return self._connect(addresses, port, policy, timeout)

        def connected(dialed: Dialed) -> Dialed:
            dialed.resolve_seconds = resolve_seconds
            return dialed

        return self.resolver.resolve(host, client).addCallback(resolved).addCallback(connected)

    def _connect(self, addresses: Addresses, port: int, policy: Policy, timeout: float) -> Deferred[Dialed]:
        allowed: list[ResolvedAddress] = []
        refusal: errors.Refused | None = None
        for address in addresses:
            try:
                policy.check_destination(address.address, port)
            except errors.Refused as error:
                refusal = refusal or error
            else:
                allowed.append(address)
        if refusal is None:
            return self._connector.connect(allowed, port, timeout)
        if not allowed:
            return fail(refusal)
        return self._connector.connect(allowed, port, timeout).addErrback(_nowhere_else, refusal)


def _nowhere_else(failure: Failure, refusal: errors.Refused) -> Failure:
    """Where a host is at none of the addresses that are allowed, it is at those that are not."""
    return Failure(refusal) if failure.check(errors.ConnectionRefused, errors.Unreachable) else failure
