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
        self._globs = re.compile("|".join(map(_expression, sorted(globs)))) if globs and not self._all else None

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
    """The one spelling of a host: in lower case, without its last dot, and an address in its shortest form."""
    if ":" in host:
        try:
            return str(ipaddress.ip_address(host))
        except ValueError:
            pass
    return host.lower().removesuffix(".")


_WILDCARDS: Final = {"*": ".*", "?": "."}


def _expression(glob: str) -> str:
    return "".join(_WILDCARDS.get(character) or re.escape(character) for character in glob)
