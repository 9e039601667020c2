"""The settings of the lists of what is blocked; `types` puts them together with the others."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from twistedproxy.settings.kinds import count, duration, size, special

ListFormat: TypeAlias = Literal["auto", "domains", "hosts", "dnsmasq", "rpz", "adblock", "regexes"]
ListAction: TypeAlias = Literal["block", "log"]


class Blocklist(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One list; ``refresh`` is a duration as it is written, or empty for that of all lists."""

    name: str
    source: str
    format: ListFormat = "auto"
    category: str = ""
    action: ListAction = "block"
    allow: bool = False
    everybody: bool = True
    subdomains: bool = True
    exceptions: tuple[str, ...] = ()
    refresh: str = ""


class BlocklistsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Lists of hosts and URLs that clients may not have, or always may."""

    lists: Annotated[
        tuple[Blocklist, ...],
        special(
            "blocklists",
            "The lists: a table `[[blocklists.lists]]` for each. `name` is what pages, logs and `pyproxyctl block` "
            "call it, `source` a file or a URL that it is fetched from. `format` is `auto` (each line is recognised "
            "by itself), `domains`, `hosts`, `dnsmasq`, `rpz`, `adblock` or `regexes` (of URLs). `category` is shown "
            'with it. `action` is `"block"` (403, `blocked`) or `"log"`, which only notes a match. With '
            "`allow = true` it is a list of what is never blocked, whatever other lists say. `everybody = false` keeps "
            "it for those whose profile names it. `subdomains = false` takes names in lists of domains and hosts files "
            "for themselves, not for all below them. `exceptions` are hosts that are not blocked by this list, in the "
            "notation of `intercept.hosts`. `refresh` overrides the setting of that name. Of several lists the first "
            "that has a host decides.",
            examples=[[{"name": "ads", "source": "https://lists.example/ads.txt", "category": "advertising"}]],
        ),
    ] = ()
    refresh: Annotated[
        float,
        duration(
            "How often a list is looked at again: a URL is asked whether it has changed, and a file is read when its "
            "time or size has.",
            least=60,
            examples=["6h"],
        ),
    ] = 86400.0
    timeout: Annotated[
        float,
        duration("How long it may take to fetch a list. After that the last good copy stays in use.", examples=["5m"]),
    ] = 120.0
    max_size: Annotated[
        int,
        size(
            "The largest list that is taken, in bytes, unpacked. A larger one is not used; the last good copy is.",
            least=1024,
            most=4 << 30,
            examples=["32MiB"],
        ),
    ] = 256 << 20
    max_shrink: Annotated[
        int,
        count(
            "By how many per cent a list may have become smaller. One that has lost more is taken for a mistake of its "
            "makers: the last good copy stays in use, until `pyproxyctl block refresh --force`. 100 takes any.",
            least=0,
            most=100,
            examples=[90],
        ),
    ] = 50
