"""The settings of the look-up of names; `types` puts them together with the others."""

from __future__ import annotations

from typing import Annotated

import msgspec

from twistedproxy.settings.kinds import count, duration, flag, special


class ResolverDomain(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """Domains that some name servers are asked about, and no others."""

    names: tuple[str, ...]
    servers: tuple[str, ...]


class ResolverSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the names of servers are turned into addresses."""

    servers: Annotated[
        tuple[str, ...],
        special(
            "name servers",
            "The name servers that are asked, in the order of preference; they have to be such as find out everything "
            "for those who ask (recursive ones). An address, with a port where that is not 53 (IPv6 in brackets then); "
            "`tls://192.0.2.53#dns.example` speaks TLS (RFC 7858) with a server whose certificate has that name, on "
            "port 853 unless one is given, and `upstream_tls` says who vouches for it. Empty leaves it to the system's "
            "own resolver. With servers named here, names are taken as whole ones: there are no search domains, and a "
            "name of a single label is asked for as it is. Names in `.local` are not asked for (RFC 6762) unless "
            "`domains` has a domain there.",
            examples=[["192.0.2.53", "192.0.2.54:5353", "[2001:db8::53]:53"]],
        ),
    ] = ()
    domains: Annotated[
        tuple[ResolverDomain, ...],
        special(
            "resolver domains",
            "Domains that other name servers are asked about: a table `[[resolver.domains]]` for each group. `names` "
            "are domains, each with all below it, and `servers` are in the notation of the key above. Of several that "
            "fit, the longest name counts. The servers of a domain are the only ones that are asked about it. Names in "
            "no domain go to `servers`, or the system's resolver.",
            examples=[[{"names": ["corp.example"], "servers": ["10.0.0.53"]}]],
        ),
    ] = ()
    hosts_file: Annotated[
        bool,
        flag(
            "Whether names in the system's hosts file have the addresses that stand there, when name servers are named "
            "above. One of more than 256 KiB is not read: such lists are for `blocklists`. The system's own resolver "
            "goes by its own settings (`nsswitch.conf`)."
        ),
    ] = True
    cache_size: Annotated[
        int,
        count(
            "How many names are remembered. When there is one too many, the one that was not asked for "
            "longest is forgotten.",
            examples=[100_000],
        ),
    ] = 10_000
    ttl: Annotated[
        float,
        duration(
            "How long the addresses of a name are used before it is looked up again, where nobody tells how long they "
            "are valid: the system's resolver and the hosts file do not. 0 looks every name up every time.",
            least=0,
            examples=["5m"],
        ),
    ] = 60.0
    min_ttl: Annotated[
        float,
        duration(
            "How long addresses from a name server are used at least, though it says that they are valid for less. "
            "Servers that move their names about by answers for a few seconds are followed more slowly then.",
            least=0,
            most=3600,
            examples=["5s"],
        ),
    ] = 0.0
    max_ttl: Annotated[
        float,
        duration(
            "How long addresses from a name server are used at most, though it says that they are valid for longer.",
            least=0,
            examples=["1d"],
        ),
    ] = 3600.0
    negative_ttl: Annotated[
        float,
        duration(
            "How long it is remembered that a name could not be found. A name server can tell a shorter time "
            "(RFC 2308). That servers failed or did not answer is remembered for a second (RFC 9520). 0 remembers "
            "neither.",
            least=0,
            examples=["30s"],
        ),
    ] = 5.0
    timeout: Annotated[
        float,
        duration(
            "How long a look-up may take. After that the client is answered with 504 (`dns_timeout`).",
            examples=["5s"],
        ),
    ] = 10.0
    attempt_timeout: Annotated[
        float,
        duration(
            "How long one name server may take to answer before the next one is asked, or the same one again.",
            least=0.1,
            most=60,
            examples=["1s"],
        ),
    ] = 2.0
    attempts: Annotated[
        int,
        count("How many times each name server is asked when none answers.", most=10, examples=[3]),
    ] = 2
    threads: Annotated[
        int,
        count(
            "How many names are looked up at the same time; more than that wait for their turn, and one client has a "
            "quarter of the turns at most. The system's resolver blocks a thread for each, and name servers "
            "take two sockets.",
            most=1024,
            examples=[64],
        ),
    ] = 32
