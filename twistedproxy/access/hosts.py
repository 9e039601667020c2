"""Sets of hosts, and whether a host is in one.

An entry is a name (``example.com``), a name with a dot before it for itself and all below it (``.example.com``), a glob
in which ``*`` stands for any characters and ``?`` for one (``*.cdn.example.com``), or an IP address.

Theory of operation. Names and suffixes are looked up in hash tables: once, and once for each label. Globs come to one
regular expression, and are few.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from twistedproxy.access.globs import glob_expression

ALL: Final = "*"
"""The entry that every host fits."""


class HostSet:
    """The hosts that ``entries`` name, as DNS has them (IDNA A-labels)."""

    __slots__ = ("_all", "_globs", "_names", "_suffixes")

    def __init__(self, entries: Iterable[str]) -> None:
        names: set[str] = set()
        suffixes: set[str] = set()
        globs: set[str] = set()
        for entry in entries:
            host = canonical_host(entry)
            if "*" in host or "?" in host:
                globs.add(host)
            elif host.startswith("."):
                suffixes.add(host[1:])
            else:
                names.add(host)
        self._all = ALL in globs
        self._names = frozenset(names)
        self._suffixes = frozenset(suffixes)
        self._globs = re.compile("|".join(map(glob_expression, sorted(globs)))) if globs and not self._all else None

    def __repr__(self) -> str:
        globs = self._globs.pattern.count("|") + 1 if self._globs else 0
        count = "all" if self._all else str(len(self._names) + len(self._suffixes) + globs)
        return f"<HostSet {count}>"

    def __bool__(self) -> bool:
        return bool(self._all or self._names or self._suffixes or self._globs)

    def __contains__(self, host: str) -> bool:
        """Whether ``host`` is one of them; see `canonical_host`."""
        host = canonical_host(host)
        if self._all or host in self._names:
            return True
        if self._suffixes:
            rest = host
            while rest:
                if rest in self._suffixes:
                    return True
                rest = rest.partition(".")[2]
        return self._globs is not None and self._globs.fullmatch(host) is not None


def canonical_host(host: str) -> str:
    """The one spelling of a host: in lower case, without its last dot, and an address in its shortest form.

    An address is one in whatever spelling the system's own functions take: ``0x7f.1`` and ``2130706433`` are
    ``127.0.0.1``, and so is ``::ffff:127.0.0.1``.
    """
    if ":" in host:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            return host.lower().removesuffix(".")
        return str(address.ipv4_mapped or address)
    host = host.lower().removesuffix(".")
    if host.rpartition(".")[2][:1].isdigit():
        # No name ends in such a label (RFC 1123 section 2.1): it is an address, or nothing.
        return numeric_address(host) or host
    return host


_NUMBER: Final = re.compile(r"0x([0-9a-f]+)|0([0-7]*)|([1-9][0-9]*)")
_LONGEST_NUMERIC: Final = 64


def numeric_address(text: str) -> str:
    """The IPv4 address that ``text`` (in lower case) spells for ``inet_aton``; empty when it spells none.

    One number to four, each decimal, octal after a 0 or hexadecimal after 0x; the last one fills what is left.
    """
    parts = text.split(".")
    if len(parts) > 4 or len(text) > _LONGEST_NUMERIC:
        return ""
    numbers: list[int] = []
    for part in parts:
        match = _NUMBER.fullmatch(part)
        if match is None or not part.isascii():
            return ""
        hexadecimal, octal, decimal = match.groups()
        digits, base = (hexadecimal, 16) if hexadecimal else (decimal, 10) if decimal else (octal or "0", 8)
        numbers.append(int(digits, base))
    *first, last = numbers
    if any(number > 255 for number in first) or last >= 256 ** (5 - len(numbers)):
        return ""
    for place, number in enumerate(first):
        last += number << (24 - 8 * place)
    return str(ipaddress.IPv4Address(last))
