"""Sets of IP addresses, and whether an address is in one.

Theory of operation. Every address is one number on one line: IPv6 addresses first, the IPv4 ones after
them. A set is a sorted list of spans on that line, and the answer for a text that has been asked before comes
from a bounded memo.

An IPv4-mapped address is the IPv4 address: that is how a socket of both families spells it. Other IPv6
addresses only *lead* to an IPv4 address, through a translator or a tunnel. Whoever refuses addresses wants to
look inside these too; whoever admits by address must not, or everybody could come from ``2002:7f00:1::``
and be at home.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from types import MappingProxyType
from typing import Final

Address = IPv4Address | IPv6Address

NAMED_SETS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "loopback": ("127.0.0.0/8", "::1/128"),
        # RFC 1918, RFC 6598 (behind a carrier's address translation), RFC 4193, and site-local of old.
        "private": (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",
            "fc00::/7",
            "fec0::/10",
        ),
        "link-local": ("169.254.0.0/16", "fe80::/10"),
        # AWS, GCP and most others; AWS containers; Alibaba; Azure; Oracle; then AWS and GCP over IPv6.
        "metadata": (
            "169.254.169.254/32",
            "169.254.170.2/32",
            "169.254.170.23/32",
            "100.100.100.200/32",
            "168.63.129.16/32",
            "192.0.0.192/32",
            "fd00:ec2::254/128",
            "fd00:ec2::23/128",
            "fd20:ce::254/128",
        ),
        "unspecified": ("0.0.0.0/8", "::/128"),
        "multicast": ("224.0.0.0/4", "ff00::/8"),
        # From the registries of RFC 6890: future use and broadcast, protocol assignments, documentation, the
        # anycast of 6to4's relays, benchmarks; then for IPv6 discarding, benchmarks, ORCHID, documentation
        # and segment identifiers.
        "reserved": (
            "240.0.0.0/4",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "100::/64",
            "100:0:0:1::/64",
            "2001:2::/48",
            "2001:10::/28",
            "2001:db8::/32",
            "3fff::/20",
            "5f00::/16",
        ),
        "all": ("0.0.0.0/0", "::/0"),
    }
)
"""The sets that have a name, and the networks that they are made of."""

_LONGEST_TEXT = 64
_MEMO_SIZE = 4096
_MAPPED = IPv6Network("::ffff:0:0/96")
_V4_LINE = 1 << 128
_LOW = 0xFFFFFFFF

_Span = tuple[int, int, str]


def read_address(text: str) -> Address | None:
    """The address that ``text`` spells, without its zone, an IPv4-mapped one as IPv4; None for other text."""
    if len(text) > _LONGEST_TEXT:
        return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or (IPv6Address(int(address)) if address.scope_id else address)
    return address


def with_port(address: str, port: int) -> str:
    """An address or a name, and a port, as they are written together: ``192.0.2.1:80``, ``[2001:db8::1]:80``."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def addresses_within(text: str) -> tuple[Address, ...]:
    """The address that ``text`` spells, then the IPv4 addresses that it leads to; nothing for other text."""
    address = read_address(text)
    if address is None:
        return ()
    if isinstance(address, IPv4Address):
        return (address,)
    return (address, *map(IPv4Address, _embedded(int(address))))


def _embedded(number: int) -> tuple[int, ...]:
    """The IPv4 addresses inside an IPv6 address, by its prefix or by its interface identifier."""
    prefix, low = number >> 32, number & _LOW
    if prefix in (0, 0x0064_FF9B << 64, 0xFFFF << 16):
        # IPv4-compatible (RFC 4291 2.5.5.1), but not :: and ::1; NAT64 (RFC 6052); translated (RFC 2765).
        return () if number < 2 else (low,)
    if number >> 80 == 0x0064_FF9B_0001:
        # A network's own NAT64 (RFC 8215): the address is last or, with a prefix of 48 bits, around octet 8.
        return (low,) if low else ((number >> 48 & 0xFFFF_0000) | (number >> 40 & 0xFFFF),)
    if number >> 112 == 0x2002:
        # 6to4 (RFC 3056).
        return (number >> 80 & _LOW,)
    if number >> 96 == 0x2001_0000:
        # Teredo (RFC 4380): the server, and the client with its bits turned.
        return (number >> 64 & _LOW, low ^ _LOW)
    if prefix & _LOW in (0x0000_5EFE, 0x0200_5EFE):
        # ISATAP (RFC 5214).
        return (low,)
    return ()


class AddressSet:
    """A set of addresses: ``address in addresses``, with the address as text. It does not change.

    What is not an address is in no set, not even in ``all``.
    """

    __slots__ = ("_ends", "_entries", "_look_inside", "_memo", "_spans", "_starts")

    def __init__(self, entries: Iterable[str], look_inside: bool) -> None:
        self._entries = tuple(entries)
        self._look_inside = look_inside
        self._spans = tuple(span for entry in self._entries for span in _spans(entry))
        self._starts: list[int] = []
        self._ends: list[int] = []
        for low, high, _ in sorted(self._spans):
            if self._ends and low <= self._ends[-1] + 1:
                self._ends[-1] = max(high, self._ends[-1])
            else:
                self._starts.append(low)
                self._ends.append(high)
        self._memo: dict[str, tuple[str, ...] | None] = {}

    @classmethod
    def of(cls, entries: Iterable[str], *, look_inside: bool = True) -> AddressSet:
        """The set of these names, networks (``10.0.0.0/8``) and addresses; ValueError for another entry.

        With ``look_inside``, an IPv6 address is also in the set when an IPv4 address that it leads to is.
        """
        return cls(entries, look_inside)

    def __repr__(self) -> str:
        return f"<AddressSet {', '.join(self._entries) or 'empty'}>"

    def __bool__(self) -> bool:
        return bool(self._spans)

    def __contains__(self, address: str) -> bool:
        return bool(self.entries_with(address))

    def holds(self, address: str) -> bool:
        """The same as ``in``, for who remembers the answer: it is not remembered here."""
        return bool(self._find(address))

    def entries_with(self, address: str) -> tuple[str, ...] | None:
        """The entries that ``address`` is in, as given and in their order; None if it is not an address."""
        try:
            return self._memo[address]
        except KeyError:
            entries = self._find(address)
        if len(address) <= _LONGEST_TEXT:
            if len(self._memo) >= _MEMO_SIZE:
                self._memo.clear()
            self._memo[address] = entries
        return entries

    def _find(self, text: str) -> tuple[str, ...] | None:
        addresses = addresses_within(text)
        if not addresses:
            return None
        numbers = [_number(address) for address in (addresses if self._look_inside else addresses[:1])]
        if not any(map(self._covers, numbers)):
            return ()
        names = [name for low, high, name in self._spans if any(low <= number <= high for number in numbers)]
        return tuple(dict.fromkeys(names))

    def _covers(self, number: int) -> bool:
        place = bisect_right(self._starts, number) - 1
        return place >= 0 and number <= self._ends[place]


def _number(address: Address) -> int:
    return int(address) + _V4_LINE if isinstance(address, IPv4Address) else int(address)


def _spans(entry: str) -> list[_Span]:
    networks = NAMED_SETS.get(entry) or (entry,)
    try:
        return [_span(ip_network(network), entry) for network in networks]
    except ValueError:
        names = ", ".join(NAMED_SETS)
        raise ValueError(f"{entry!r} is not an address, not a network, and none of {names}") from None


def _span(network: IPv4Network | IPv6Network, entry: str) -> _Span:
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        network = IPv4Network((int(network.network_address) & _LOW, network.prefixlen - 96))
    low = _number(network.network_address)
    return low, low + network.num_addresses - 1, entry
