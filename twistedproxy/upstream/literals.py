"""Hosts that are addresses already, in every spelling that the system's own functions would take."""

from __future__ import annotations

import re
import socket
from typing import Final, NamedTuple

_NUMERIC: Final = re.compile(r"[0-9][0-9a-fx.]*")
_MAPPED: Final = bytes(10) + b"\xff\xff"
_LONGEST: Final = 64


class ResolvedAddress(NamedTuple):
    """One address of a host: its canonical text without a zone, its socket family, its scope (0 for none)."""

    address: str
    family: int
    scope_id: int = 0

    def at(self, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
        """What the socket calls take for this address and ``port``."""
        return (self.address, port, 0, self.scope_id) if self.scope_id else (self.address, port)


def read_literal(host: str) -> ResolvedAddress | None:
    """The address that ``host`` spells, or None when it is a name.

    Besides dotted decimal and RFC 5952 that is whatever ``inet_aton`` reads: ``127.1``, ``0x7f.1``,
    ``0177.0.0.1``, ``2130706433``. An IPv6 address may stand in brackets and have a zone; an IPv4-mapped one
    is IPv4.
    """
    if ":" in host:
        return _read_ipv6(host.removeprefix("[").removesuffix("]"))
    # As in a name, a last dot says that nothing is to be added.
    text = host.lower().removesuffix(".")
    if len(text) > _LONGEST or _NUMERIC.fullmatch(text) is None:
        return None
    try:
        return ResolvedAddress(socket.inet_ntoa(socket.inet_aton(text)), socket.AF_INET)
    except OSError:
        return None


def canonical(address: str, family: int, scope_id: int = 0) -> ResolvedAddress:
    """The address as it is compared and connected to: an IPv4-mapped one is IPv4. OSError when not valid."""
    if family == socket.AF_INET:
        return ResolvedAddress(address, family)
    packed = socket.inet_pton(socket.AF_INET6, address)
    if packed.startswith(_MAPPED):
        return ResolvedAddress(socket.inet_ntoa(packed[12:]), socket.AF_INET)
    return ResolvedAddress(socket.inet_ntop(socket.AF_INET6, packed), socket.AF_INET6, scope_id)


def _read_ipv6(text: str) -> ResolvedAddress | None:
    address, percent, zone = text.partition("%")
    if len(text) > _LONGEST or not address.isascii():
        return None
    try:
        scope_id = (int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)) if percent else 0
        return canonical(address, socket.AF_INET6, scope_id)
    except (OSError, ValueError):
        return None
