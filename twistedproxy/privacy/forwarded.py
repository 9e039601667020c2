"""What is told of the client's address: X-Forwarded-For, and Forwarded (RFC 7239)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from secrets import token_hex
from types import MappingProxyType
from typing import Final

from twistedproxy.http.message import Fields

X_FORWARDED_FOR: Final = b"x-forwarded-for"
FORWARDED: Final = b"forwarded"

NAMES: Final[Mapping[bytes, bytes]] = MappingProxyType({X_FORWARDED_FOR: b"X-Forwarded-For", FORWARDED: b"Forwarded"})
"""How the fields are written, by their names in lower case."""

_FORMS: Final[Mapping[str, tuple[bytes, ...]]] = MappingProxyType(
    {
        "x-forwarded-for": (X_FORWARDED_FOR,),
        "forwarded": (FORWARDED,),
        "both": (X_FORWARDED_FOR, FORWARDED),
    }
)

# RFC 7239 section 6.2, and what is usual in the other field.
_UNKNOWN: Final = b"unknown"

Change = Callable[[dict[bytes, bytes | None], Fields, frozenset[bytes], str], None]
"""Enters what the fields of a request are to be, from those it has, its connection options and the client's address."""


@lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """The address of the network that ``address`` is in, of 24 bits for IPv4 and 48 for IPv6; what is none is kept.

    An IPv4-mapped address is the IPv4 address.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(ip_network((parsed, 48 if parsed.version == 6 else 24), strict=False).network_address)


def x_forwarded_for(address: str) -> bytes:
    """``address`` as an element of X-Forwarded-For; without one, as over a Unix socket, ``unknown``."""
    return address.encode("ascii", "replace") if address else _UNKNOWN


def forwarded(address: str) -> bytes:
    """``address`` as an element of Forwarded: ``for=192.0.2.1``, ``for="[2001:db8::1]"`` (RFC 7239 section 6)."""
    if not address:
        return b"for=" + _UNKNOWN
    return (f'for="[{address}]"' if ":" in address else f"for={address}").encode("ascii", "replace")


def obfuscated() -> bytes:
    """An element of Forwarded with an identifier that says nothing, and is never used again (section 6.3)."""
    return b"for=_" + token_hex(8).encode("ascii")


def forwarded_change(mode: str, form: str) -> Change | None:
    """What the settings ``privacy.forwarded_for`` and ``forwarded_form`` do to requests; None where that is nothing."""
    told = _FORMS[form]
    elements: dict[bytes, Callable[[str], bytes]]
    match mode:
        case "transparent":
            return None
        case "delete":
            return _delete
        case "off":
            elements = {X_FORWARDED_FOR: lambda _: _UNKNOWN, FORWARDED: lambda _: obfuscated()}
        case _:
            elements = {X_FORWARDED_FOR: x_forwarded_for, FORWARDED: forwarded}
    wanted = [(name, elements[name]) for name in told]

    def append(changes: dict[bytes, bytes | None], fields: Fields, options: frozenset[bytes], client: str) -> None:
        for name, element in wanted:
            # What the client nominates in Connection is for this proxy only. Ours is not the client's to take out.
            came = () if name in options else tuple(value for value in fields.values(name) if value)
            changes[name] = b", ".join((*came, element(client)))

    def put(changes: dict[bytes, bytes | None], fields: Fields, options: frozenset[bytes], client: str) -> None:
        _delete(changes, fields, options, client)
        network = network_of(client)
        for name, element in wanted:
            changes[name] = element(network)

    return put if mode == "truncate" else append


def _delete(changes: dict[bytes, bytes | None], fields: Fields, options: frozenset[bytes], client: str) -> None:
    index = fields.index
    for name in NAMES:
        if name in index:
            changes[name] = None
