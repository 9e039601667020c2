"""In which order the addresses of a name are tried: that of RFC 6724 section 6, as far as it concerns us.

Theory of operation. The system knows best which of its own addresses it would use towards another, so it is asked: a
UDP socket that is connected sends nothing, but has its own address then. A destination without one cannot be reached
and goes last (rule 1). Then come those whose own address is of the same kind (rule 5), and then those of a kind that
is preferred (rule 6), IPv6 before IPv4 by that. Others stay in the order in which they came. The connector takes the
families in turn from there (RFC 8305).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv6Network
from typing import Final

from twistedproxy.upstream.literals import ResolvedAddress

_DISCARD: Final = 9

# The default policy table of RFC 6724 section 2.1: prefix, precedence, label; the longest prefix first.
_POLICY: Final = tuple(
    (int(network.network_address) >> (128 - network.prefixlen), 128 - network.prefixlen, precedence, label)
    for network, precedence, label in (
        (IPv6Network("::1/128"), 50, 0),
        (IPv6Network("::/96"), 1, 3),
        (IPv6Network("2001::/32"), 5, 5),
        (IPv6Network("2002::/16"), 30, 2),
        (IPv6Network("3ffe::/16"), 1, 12),
        (IPv6Network("fec0::/10"), 1, 11),
        (IPv6Network("fc00::/7"), 3, 13),
        (IPv6Network("::/0"), 40, 1),
    )
)
_OF_IPV4: Final = (35, 4)

OwnAddress = Callable[[ResolvedAddress], str]
"""The address of this machine that a connection to another would come from; empty where there is no way to it."""


def own_address_towards(address: ResolvedAddress) -> str:
    """What the system says of it."""
    try:
        with socket.socket(address.family, socket.SOCK_DGRAM) as sock:
            sock.connect(address.at(_DISCARD))
            own: str = sock.getsockname()[0]
    except OSError:
        return ""
    return own


def in_order(
    addresses: Iterable[ResolvedAddress], own_address: OwnAddress = own_address_towards
) -> tuple[ResolvedAddress, ...]:
    """``addresses`` in the order in which they are to be tried."""
    addresses = tuple(addresses)
    if len(addresses) < 2 or len({address.family for address in addresses}) < 2:
        # Within one family all that matters here is nearly always the same.
        return addresses

    asked: dict[tuple[int, int], str] = {}

    def rank(address: ResolvedAddress) -> tuple[bool, bool, int]:
        precedence, label = _policy(address.address)
        kind = (address.family, label)
        if kind not in asked:
            # Ways differ by kind, and hardly between addresses of one.
            asked[kind] = own_address(address)
        own = asked[kind]
        return not own, bool(own) and _policy(own)[1] != label, -precedence

    return tuple(sorted(addresses, key=rank))


def _policy(text: str) -> tuple[int, int]:
    """Precedence and label."""
    if ":" not in text:
        return _OF_IPV4
    address = int.from_bytes(socket.inet_pton(socket.AF_INET6, text.partition("%")[0]), "big")
    return next((precedence, label) for prefix, bits, precedence, label in _POLICY if address >> bits == prefix)
