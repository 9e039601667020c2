"""The names that a leaf may carry, from input that anybody may have made up: a target, an SNI, a server's certificate.

A name is in the form that certificates have it in (RFC 5280 section 4.2.1.6): A-labels in lower case, without a dot at
the end. A wildcard is a whole label, the leftmost, with two more at least behind it (RFC 9525 section 6.3); nobody
asks for one, so that it only comes from a certificate.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

import idna
from cryptography import x509

Address: TypeAlias = IPv4Address | IPv6Address

MOST_NAMES: Final = 100
"""How many names a leaf has. Real certificates have fewer, and all of them go to the client in each handshake."""

_LONGEST: Final = 253
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_WILDCARD: Final = "*."


class InvalidName(ValueError):
    """It is no name that a certificate may have. The text says what is."""


@dataclass(frozen=True, slots=True)
class LeafNames:
    """What a leaf is for. Two of them are equal when a leaf of the one serves for the other."""

    hosts: tuple[str, ...]
    addresses: tuple[Address, ...] = ()

    @property
    def title(self) -> str:
        """The one that stands for all of them."""
        return self.hosts[0] if self.hosts else str(self.addresses[0])

    def alternative_names(self) -> x509.SubjectAlternativeName:
        """All of them, as the certificate says it."""
        hosts: list[x509.GeneralName] = [x509.DNSName(host) for host in self.hosts]
        return x509.SubjectAlternativeName([*hosts, *map(x509.IPAddress, self.addresses)])

    def covers(self, asked: str | Address) -> bool:
        """Whether a client that wants ``asked`` is served (RFC 9525 section 6.3)."""
        if not isinstance(asked, str):
            return asked in self.addresses
        _label, dot, parent = asked.partition(".")
        return asked in self.hosts or bool(dot and f"{_WILDCARD}{parent}" in self.hosts)


def asked_for(host: str) -> LeafNames:
    """The names for a client that asked for ``host``: a name, also an international one, or an IP address.

    Raises `InvalidName`.
    """
    name = canonical_name(host)
    return LeafNames((name,)) if isinstance(name, str) else LeafNames((), (name,))


def mirrored(certificate: x509.Certificate, host: str) -> LeafNames:
    """The names that ``certificate``, a server's, has, and ``host`` where it does not cover that.

    Names that no leaf may have are left out, and so are those beyond `MOST_NAMES`. Raises `InvalidName` for ``host``.
    """
    asked = canonical_name(host)
    hosts: dict[str, None] = {}
    addresses: dict[Address, None] = {}
    for name in _alternative_names(certificate):
        if len(hosts) + len(addresses) >= MOST_NAMES:
            break
        (hosts if isinstance(name, str) else addresses)[name] = None  # type: ignore[index]  # each has its own kind
    names = LeafNames(tuple(sorted(hosts)), tuple(sorted(addresses, key=lambda one: (one.version, int(one)))))
    if names.covers(asked):
        return names
    if isinstance(asked, str):
        return LeafNames((asked, *names.hosts[: MOST_NAMES - 1]), names.addresses)
    return LeafNames(names.hosts, (asked, *names.addresses[: MOST_NAMES - 1]))


def _alternative_names(certificate: x509.Certificate) -> Iterator[str | Address]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        # None, or one that cannot be read.
        return
    for name in extension.value:
        if isinstance(name, x509.IPAddress):
            if isinstance(name.value, IPv4Address | IPv6Address):
                yield name.value
        elif isinstance(name, x509.DNSName):
            host = name.value.lower()
            parent = host.removeprefix(_WILDCARD)
            if _is_name(parent) and len(host) <= _LONGEST and (parent == host or "." in parent):
                yield host


def canonical_name(host: str) -> str | Address:
    """``host`` as certificates have it: a name in A-labels, or an address, with or without brackets.

    Raises `InvalidName`.
    """
    text = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if len(text) > 4 * _LONGEST:
        raise InvalidName("a host name has 253 characters at most")
    if "%" not in text:
        try:
            return ipaddress.ip_address(text)
        except ValueError:
            pass
    name = text.lower().removesuffix(".")
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            raise InvalidName(f"{host!r} is no international name: {error}") from None
    if not _is_name(name):
        raise InvalidName(f"{host!r} is no host name")
    return name


def _is_name(name: str) -> bool:
    return len(name) <= _LONGEST and _NAME.fullmatch(name) is not None and not _NUMBER.fullmatch(name.split(".")[-1])
