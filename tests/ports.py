"""Ports that nobody has."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

_GIVEN_OUT: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_SPAN: Final = 12_000

_chosen = random.SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 that is free, each time another, and not among those that the system gives out.

    One of these could be another test's a moment later.
    """
    first = int(_GIVEN_OUT.read_text().split()[0]) if _GIVEN_OUT.exists() else 32_768
    for _ in range(100):
        port = _chosen.randrange(max(first - _SPAN, 1024), first)
        if port in _given:
            continue
        try:
            with socket.create_server(("127.0.0.1", port)), socket.socket(type=socket.SOCK_DGRAM) as datagrams:
                datagrams.bind(("127.0.0.1", port))
        except OSError:
            continue
        _given.add(port)
        return port
    raise AssertionError("no port is free")
