"""Name servers as the operator writes them, and the domains that some are asked about."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Container, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from twistedproxy.settings.entries import check_keys, check_within
from twistedproxy.settings.problems import Unfit
from twistedproxy.settings.spelling import toml_string

PORT: Final = 53
TLS_PORT: Final = 853
"""RFC 7858 section 3.1."""

_SCHEME: Final = "tls://"
_SERVER: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<four>[0-9.]{7,15}))(?::(?P<port>[0-9]{1,5}))?")
_LABELS: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_LONGEST: Final = 253
_EXPECTED: Final = 'an address of a name server such as "192.0.2.53", "192.0.2.53:5353" or "[2001:db8::53]:53"'


class NameServerAddress(NamedTuple):
    """Where a name server is; ``tls_name`` is the name in its certificate, empty where TLS is not spoken with it."""

    address: str
    port: int
    tls_name: str = ""

    def __str__(self) -> str:
        where = f"[{self.address}]" if ":" in self.address else self.address
        if self.tls_name:
            port = "" if self.port == TLS_PORT else f":{self.port}"
            return f"{_SCHEME}{where}{port}#{self.tls_name}"
        return self.address if self.port == PORT else f"{where}:{self.port}"


def read_name_server(text: object) -> NameServerAddress:
    """The server that ``text`` names. Raises `Unfit`."""
    if not isinstance(text, str):
        raise Unfit(_EXPECTED)
    rest, tls_name, port = text, "", PORT
    if text.startswith(_SCHEME):
        rest, hash, tls_name = text.removeprefix(_SCHEME).partition("#")
        if not hash or not _is_name(tls_name):
            raise Unfit('the name in the server\'s certificate too, such as "tls://192.0.2.53#dns.example"')
        port = TLS_PORT
    if "%" in rest:
        raise Unfit("an address without a zone (what follows the %)")
    address = _address(rest)
    if address is None:
        match = _SERVER.fullmatch(rest)
        address = _address(match["six"] or match["four"]) if match is not None else None
        if match is None or address is None or (match["six"] is None) is not (address.version == 4):
            raise Unfit(_EXPECTED)
        if match["port"] is not None:
            port = int(match["port"])
            if not 1 <= port <= 65535:
                raise Unfit("a port from 1 to 65535 after the address")
    if address.is_multicast or address.is_unspecified or getattr(address, "ipv4_mapped", None) is not None:
        raise Unfit("the address of one server")
    return NameServerAddress(str(address), port, tls_name.lower())


def longest_domain(name: str, domains: Container[str]) -> str:
    """The longest of ``domains`` that ``name``, in lower case, is or is below; empty where there is none."""
    domain = name.removesuffix(".")
    while domain and domain not in domains:
        domain = domain.partition(".")[2]
    return domain


def check_name_server(value: object) -> None:
    """Accept one name server; else `Unfit` says why not."""
    read_name_server(value)


def check_resolver_domain(entry: object) -> None:
    """Accept one table of ``resolver.domains``; else `Unfit` says what is wrong, and in which of its keys."""
    entry = check_keys(entry, _CHECKS, 'a table such as { names = ["corp.example"], servers = ["10.0.0.53"] }')
    for name, check in _CHECKS.items():
        if name not in entry:
            raise Unfit(f"the key {name} too")
        value = entry[name]
        if not isinstance(value, (list, tuple)) or not value:
            raise Unfit("a list with one entry at least", within=name, value=value)
        for number, one in enumerate(value):
            check_within(check, f"{name}[{number}]", one)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_name(text: str) -> bool:
    return len(text) <= _LONGEST and _LABELS.fullmatch(text.lower()) is not None and _address(text) is None


def _domain(value: object) -> None:
    expected = 'a domain such as "corp.example", which stands for all below it too'
    if not isinstance(value, str) or not _is_name(value):
        hint = ""
        if isinstance(value, str) and _is_name(value.strip("*.")):
            hint = f"did you mean {toml_string(value.strip('*.'))}?"
        raise Unfit(expected, hint)


_CHECKS: Final[Mapping[str, Callable[[object], None]]] = MappingProxyType(
    {"names": _domain, "servers": check_name_server}
)
