"""Other proxies as the operator writes them, and what may stand in one table of ``routes.tables``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from twistedproxy.settings.entries import check_keys, check_within
from twistedproxy.settings.paths import check_credential
from twistedproxy.settings.problems import Unfit
from twistedproxy.settings.spelling import toml_string

DIRECT: Final = "direct"
"""The name of the route that has no parent: connections go to the servers themselves."""

HTTP: Final = "http"
HTTPS: Final = "https"
SOCKS5: Final = "socks5"
SCHEMES: Final = (HTTP, HTTPS, SOCKS5)

_PARENT: Final = re.compile(
    r"(?P<scheme>[a-z0-9+.-]+)://(?:\[(?P<six>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[^\[\]:/@?#]{1,254})):(?P<port>[0-9]{1,5})",
    re.IGNORECASE,
)
_LABELS: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.?")
_EXPECTED: Final = 'another proxy such as "http://proxy.example:3128" or "socks5://192.0.2.1:1080"'
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MOST_PARENTS: Final = 16
_LONGEST_USER: Final = 255


class ParentAddress(NamedTuple):
    """Where another proxy is, and what is spoken with it: one of `SCHEMES`. ``host`` has no brackets."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def read_parent(text: object) -> ParentAddress:
    """The proxy that ``text`` names. Raises `Unfit`."""
    if not isinstance(text, str):
        raise Unfit(_EXPECTED)
    match = _PARENT.fullmatch(text)
    if match is None:
        if "@" in text:
            # A password that stands there is not repeated.
            raise Unfit(message=f"expected {_EXPECTED}; name and password go into user and password_file")
        stripped = text.rstrip("/")
        is_near = stripped != text and _PARENT.fullmatch(stripped) is not None
        raise Unfit(_EXPECTED, f"did you mean {toml_string(stripped)}?" if is_near else "")
    scheme, port = match["scheme"].lower(), int(match["port"])
    if scheme not in SCHEMES:
        near = text.replace(match["scheme"], SOCKS5, 1) if scheme in ("socks", "socks5h") else ""
        raise Unfit(
            f"one of {', '.join(f'{one}://' for one in SCHEMES)}", f"did you mean {toml_string(near)}?" if near else ""
        )
    host = _host(match["six"] or match["name"].lower(), is_six=match["six"] is not None)
    if host is None or not 0 < port < 65536:
        raise Unfit(_EXPECTED)
    return ParentAddress(scheme, host, port)


def check_route(entry: object) -> None:
    """Accept one table of ``routes.tables``; else `Unfit` says what is wrong, and in which of its keys."""
    entry = check_keys(entry, _CHECKS, 'a table such as { name = "office", parents = ["http://proxy.example:3128"] }')
    for name, value in entry.items():
        check_within(_CHECKS[name], name, value)
    for name in ("name", "parents"):
        if name not in entry:
            raise Unfit(f"the key {name} too")
    for name, other in (("user", "password_file"), ("password_file", "user")):
        if name in entry and other not in entry:
            raise Unfit(f"the key {other} too, which belongs to {name}")


def check_route_name(value: object) -> None:
    """Accept a name that a route can have; else `Unfit` says why not."""
    if not isinstance(value, str) or _NAME.fullmatch(value) is None:
        raise Unfit("a name of letters, digits, dots, dashes and underscores")


def is_exposed(parent: ParentAddress) -> bool:
    """Whether what is said to ``parent`` can be read on the way there."""
    if parent.scheme == HTTPS or parent.host in ("localhost", "localhost."):
        return False
    try:
        return not ipaddress.ip_address(parent.host).is_loopback
    except ValueError:
        return True


def _host(text: str, *, is_six: bool) -> str | None:
    """A host in the form that it is compared in; None where it is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        # What ends with a number is an address to those that look names up (WHATWG URL, "ends in a number").
        is_number = text.rstrip(".").rpartition(".")[2].isdigit()
        return None if is_six or is_number or len(text) > 253 or not _LABELS.fullmatch(text) else text
    return str(address) if (address.version == 6) is is_six else None


def _name(value: object) -> None:
    check_route_name(value)
    if value == DIRECT:
        raise Unfit(f"another name than {toml_string(DIRECT)}, which stands for no parent at all")


def _parents(value: object) -> None:
    if not isinstance(value, (list, tuple)) or not 0 < len(value) <= _MOST_PARENTS:
        raise Unfit(f"a list of 1 to {_MOST_PARENTS} other proxies")
    seen: set[ParentAddress] = set()

    def check(one: object) -> None:
        parent = read_parent(one)
        if parent in seen:
            raise Unfit("each parent only once")
        if seen and (parent.scheme == SOCKS5) is not any(other.scheme == SOCKS5 for other in seen):
            # They differ in what goes by one connection.
            raise Unfit("parents that either all speak HTTP or all speak SOCKS, or a route for each")
        seen.add(parent)

    for number, one in enumerate(value):
        check_within(check, f"[{number}]", one)


def _user(value: object) -> None:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value.encode()) <= _LONGEST_USER:
        raise Unfit(f"a name of printable characters, of {_LONGEST_USER} bytes at most")
    if ":" in value:
        # RFC 7617 section 2: the colon is what ends it.
        raise Unfit("a name without a colon")


_CHECKS: Final[Mapping[str, Callable[[object], None]]] = MappingProxyType(
    {"name": _name, "parents": _parents, "user": _user, "password_file": check_credential}
)
