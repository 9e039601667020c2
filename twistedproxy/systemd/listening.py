"""What a socket unit has to say to hold the addresses of ``downstream.listen`` (systemd.socket(5), ListenStream=)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from twistedproxy.settings.endpoints import Endpoint, parse_endpoint

BACKLOG: Final = 1024
"""The backlog of an endpoint that does not say one; the same as when the daemon opens it."""

_MODE: Final = "666"
_TLS_PORT: Final = "443"


@dataclass(frozen=True, slots=True)
class Stream:
    """One endpoint, as a socket unit sees it.

    ``listen`` is what follows ``ListenStream=``; empty where the unit cannot hold it, because its address is only
    known when it is opened. ``port`` is 0 where it has none. ``mode`` is that of a Unix socket.
    """

    description: str
    listen: str
    port: int
    backlog: int
    mode: int | None = None


def streams(descriptions: Iterable[str]) -> list[Stream]:
    """One for each of the endpoint descriptions. `Unfit` when one of them is none."""
    return [_stream(description, parse_endpoint(description)) for description in descriptions]


def _stream(description: str, endpoint: Endpoint) -> Stream:
    arguments = endpoint.arguments
    # A backlog of 0 means to systemd what it means to the kernel.
    backlog = int(arguments.get("backlog", BACKLOG))
    if endpoint.kind == "unix":
        path = arguments["address"]
        # systemd takes nothing but absolute paths, and does not know where the daemon would have been started.
        listen = path if path.startswith("/") else ""
        return Stream(description, listen, 0, backlog, int(arguments.get("mode", _MODE), 8) if listen else None)
    interface = endpoint.interface
    if interface is None:
        return Stream(description, "", 0, backlog)
    port = int(arguments.get("port", _TLS_PORT))
    return Stream(description, _listen(interface, port) if port else "", port, backlog)


def _listen(interface: str, port: int) -> str:
    host, percent, zone = interface.partition("%")
    if host == "":
        host = "0.0.0.0"
    elif host.lower() == "localhost":
        host = "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}{percent}{zone}"
