"""Which names stand in the system's hosts file: those whose look-up asks no server, and so cannot hang.

The addresses are not read here. The system's resolver does that, in the order that its own settings say; this
is only a hint about how long it may take.
"""

from __future__ import annotations

import os
from typing import Final

_LARGEST: Final = 256 * 1024


class HostsFile:
    """The names in a hosts file, read anew whenever the file changes."""

    def __init__(self, path: str = "/etc/hosts") -> None:
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._names: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"<HostsFile {self._path} names={len(self._names)}>"

    def __contains__(self, name: str) -> bool:
        """Whether ``name``, in lower case, stands in the file.

        False when the file cannot be read, or is so large that reading it would hold up everything else.
        """
        try:
            status = os.stat(self._path)
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
            if version != self._version:
                self._names = self._read() if status.st_size <= _LARGEST else frozenset()
                self._version = version
        except OSError:
            return False
        return name in self._names

    def _read(self) -> frozenset[str]:
        with open(self._path, encoding="utf-8", errors="replace") as file:
            lines = file.read(_LARGEST).lower().splitlines()
        return frozenset(name for line in lines for name in line.partition("#")[0].split()[1:])
