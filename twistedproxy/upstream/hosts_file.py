"""The system's hosts file: names that stand in it are found without asking anybody.

With the system's resolver the addresses are not read here. That goes by its own settings; for it this is only a hint
that a look-up will not hang.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from twistedproxy.upstream.literals import ResolvedAddress, canonical

_LARGEST: Final = 256 * 1024


class HostsFile:
    """The names in a hosts file, read anew whenever the file changes."""

    def __init__(self, path: str = "/etc/hosts") -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._names: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def __repr__(self) -> str:
        return f"<HostsFile {self._path} names={len(self._names)}>"

    def __contains__(self, name: str) -> bool:
        """Whether ``name``, in lower case, stands in the file.

        False when the file cannot be read, or is so large that reading it would hold up everything else.
        """
        return name in self._current()

    def addresses(self, name: str) -> list[ResolvedAddress]:
        """The addresses of ``name``, in lower case, in the file's order; what is no address is left out."""
        found: list[ResolvedAddress] = []
        for text in self._current().get(name, ()):
            try:
                if ":" in text:
                    found.append(canonical(text, socket.AF_INET6))
                else:
                    found.append(
                        ResolvedAddress(socket.inet_ntoa(socket.inet_pton(socket.AF_INET, text)), socket.AF_INET)
                    )
            except OSError:
                continue
        return found

    def _current(self) -> Mapping[str, tuple[str, ...]]:
        try:
            status = os.stat(self._path)
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
            if version != self._version:
                self._names = self._read() if status.st_size <= _LARGEST else MappingProxyType({})
                self._version = version
        except OSError:
            return MappingProxyType({})
        return self._names

    def _read(self) -> Mapping[str, tuple[str, ...]]:
        with open(self._path, encoding="utf-8", errors="replace") as file:
            lines = file.read(_LARGEST).lower().splitlines()
        names: dict[str, tuple[str, ...]] = {}
        for line in lines:
            address, *rest = line.partition("#")[0].split() or [""]
            for name in rest:
                names[name] = (*names.get(name, ()), address)
        return names
