"""The resolver that the settings want."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twistedproxy.deadlines import Deadlines
from twistedproxy.record.statistics import LookupTally
from twistedproxy.settings.name_servers import NameServerAddress, longest_domain, read_name_server
from twistedproxy.settings.resolver import ResolverSettings
from twistedproxy.tls.client_side import ClientSide
from twistedproxy.tls.trust import Trust
from twistedproxy.upstream.answers import Source
from twistedproxy.upstream.hosts_file import HostsFile
from twistedproxy.upstream.resolver import Resolver
from twistedproxy.upstream.special_names import is_local, special_answer
from twistedproxy.upstream.system_names import SystemNames


def resolver_for(
    reactor: Any,
    wanted: ResolverSettings,
    deadlines: Deadlines,
    trust: Callable[[], Trust],
    *,
    threads: int,
    cache_size: int | None = None,
    tally: LookupTally | None = None,
) -> Resolver:
    """Make it, for ``threads`` look-ups at a time. ``trust`` is asked where name servers are spoken to with TLS."""
    return Resolver(
        _source(reactor, wanted, deadlines, trust, threads),
        cache_size=wanted.cache_size if cache_size is None else cache_size,
        timeout=wanted.timeout,
        deadlines=deadlines,
        tally=tally,
    )


def uses_tls(wanted: ResolverSettings) -> bool:
    """Whether any name server is spoken to with TLS, so that what it is made sure of by matters."""
    servers = (*wanted.servers, *(server for domain in wanted.domains for server in domain.servers))
    return any(read_name_server(server).tls_name for server in servers)


def groups(wanted: ResolverSettings) -> dict[str, list[NameServerAddress]]:
    """The servers by domain, in lower case; those for all other names by the empty one, where there are any."""
    found: dict[str, list[NameServerAddress]] = {}
    for domain in wanted.domains:
        for name in domain.names:
            found.setdefault(name.lower(), []).extend(map(read_name_server, domain.servers))
    if wanted.servers:
        found[""] = list(map(read_name_server, wanted.servers))
    return found


def told(wanted: ResolverSettings, name: str) -> str:
    """Who is asked for ``name``, in lower case, in words."""
    if special_answer(name) is not None:
        return "nobody is asked"
    servers = groups(wanted)
    if not servers:
        return "the system's resolver"
    if wanted.hosts_file and name.removesuffix(".") in HostsFile():
        return "the hosts file"
    domain = longest_domain(name, servers)
    if not domain and is_local(name) and "" in servers:
        return "nobody is asked"
    if domain not in servers:
        return "the system's resolver"
    return ", ".join(map(str, servers[domain])) + (f", for {domain}" if domain else "")


def _source(
    reactor: Any, wanted: ResolverSettings, deadlines: Deadlines, trust: Callable[[], Trust], threads: int
) -> Source:
    named = groups(wanted)
    system = None
    if "" not in named:
        system = SystemNames(reactor, ttl=wanted.ttl, negative_ttl=wanted.negative_ttl, threads=threads)
        if not named:
            return system
    # Who has no name servers need not wait for what speaks with them.
    from twistedproxy.upstream.dns.lookup import Holding
    from twistedproxy.upstream.dns.named import NamedServers
    from twistedproxy.upstream.dns.servers import NameServer, Servers

    side = ClientSide(trust()) if uses_tls(wanted) else None

    def make(address: NameServerAddress) -> NameServer:
        return NameServer(
            reactor,
            address,
            deadlines,
            (lambda name, port: side.creator(name, port, ())) if side is not None else None,
        )

    return NamedServers(
        reactor,
        Servers(named.items(), make),
        deadlines=deadlines,
        attempts=wanted.attempts,
        attempt_timeout=wanted.attempt_timeout,
        limit=threads,
        ttl=wanted.ttl,
        holding=Holding(wanted.min_ttl, wanted.max_ttl, wanted.negative_ttl),
        hosts_file=HostsFile() if wanted.hosts_file else None,
        system=system,
    )
