"""Sets of addresses as the operator writes them: the word for a well-known set, a network or an address.

Only the notation is checked here; which addresses a word stands for is decided where the addresses are.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final

from twistedproxy.settings.problems import Unfit

CLIENT_SETS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "loopback": "this machine",
        "private": "the private networks",
        "all": "everybody",
    }
)
"""The words that may stand in ``access.clients``, and what each says of who it is."""

DESTINATION_SETS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "link-local": "addresses that only mean something on the local link",
        "metadata": "the addresses at which cloud providers give out a machine's credentials",
        "unspecified": "0.0.0.0 and ::, by which a host may mean itself",
        "multicast": "multicast groups",
        "reserved": "addresses that no host may have",
        "private": "the private networks",
        "loopback": "this machine",
    }
)
"""The words that may stand in ``access.refuse_destinations``, and what each refuses."""


def check_network(text: str, words: Iterable[str]) -> None:
    """Accept one of ``words``, a network such as ``10.0.0.0/8`` or an address; else `Unfit` says why not."""
    if text in words:
        return
    if "%" in text:
        raise Unfit("an address without a zone (what follows the %): clients and servers show none")
    try:
        ipaddress.ip_network(text)
        return
    except ValueError:
        pass
    try:
        wider = ipaddress.ip_network(text, strict=False)
    except ValueError:
        close = get_close_matches(text.lower(), words, 1, 0.6)
        hint = f'did you mean "{close[0]}"?' if close else ""
        known = ", ".join(f'"{word}"' for word in words)
        raise Unfit(f'{known}, a network such as "10.0.0.0/8" or an address', hint) from None
    address = text.partition("/")[0]
    raise Unfit("a network without bits beyond its prefix", f'"{wider}", or "{address}" for the one address')


def check_own_address(value: object) -> None:
    """Accept an address that a connection can come from; else `Unfit` says why not."""
    if isinstance(value, str) and "%" not in value:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            pass
        else:
            if not (address.is_unspecified or address.is_multicast or getattr(address, "ipv4_mapped", None)):
                return
    raise Unfit('an address of this machine such as "192.168.7.2", without a prefix, port or zone')


def reaches_everybody(entries: Iterable[str]) -> bool:
    """Whether these clients are the whole of the Internet, by the word or by networks that add up to it."""
    entries = tuple(entries)
    if "all" in entries:
        return True
    networks = [ipaddress.ip_network(entry) for entry in entries if entry not in CLIENT_SETS]
    four = [network for network in networks if isinstance(network, ipaddress.IPv4Network)]
    six = [network for network in networks if isinstance(network, ipaddress.IPv6Network)]
    return any(network.prefixlen == 0 for network in ipaddress.collapse_addresses(four)) or any(
        network.prefixlen == 0 for network in ipaddress.collapse_addresses(six)
    )


def only_loopback(entries: Iterable[str]) -> bool:
    """Whether no client outside this machine is among these."""
    return all(
        entry == "loopback" or (entry not in CLIENT_SETS and ipaddress.ip_network(entry).is_loopback)
        for entry in entries
    )
