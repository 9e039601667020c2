r"""Listening sockets that somebody else opened: systemd's (sd_listen_fds(3)), an earlier daemon's, a parent's.

Theory of operation. A socket comes with what the system says of it, and perhaps with systemd's name for it, or with the
very endpoint description that it was opened for. The daemon goes through its descriptions as always and asks
`InheritedSockets` for each; where there is a socket for it, that one is used instead of opening another. Which kind of
endpoint it is does not matter, since TLS or the PROXY protocol begin after the accepting.

Twisted reads ``LISTEN_FDS`` too, when ``twisted.internet.endpoints`` is imported, and takes it out of ``os.environ``.
`starting_environment` still has it.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from twistedproxy.access.addresses import with_port
from twistedproxy.settings.endpoints import Endpoint, parse_endpoint

ACTIVATION_VARIABLES: Final = ("LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES")
"""The variables that are meant for the process that systemd started, and not for its children."""

FIRST_DESCRIPTOR: Final = 3

_MOST: Final = 1 << 16
_FAMILIES: Final = {"INET": socket.AF_INET, "INET6": socket.AF_INET6, "UNIX": socket.AF_UNIX}
_STARTING_ENVIRONMENT: Final = Path("/proc/self/environ")


class ActivationError(Exception):
    """A socket that was handed in cannot be used. The text says which, and why."""


@dataclass(frozen=True, slots=True)
class InheritedSocket:
    """A listening stream socket that is open in this process, as a number. Whoever uses it duplicates or closes that.

    ``address`` is host and port, with ``%`` and the number of its interface after a link-local host; or the path of a
    Unix socket, which begins with NUL when it is abstract. ``name`` is systemd's, ``index`` its place among systemd's,
    and ``description`` the endpoint that it was opened for. An ``owned`` one is this process's to remove at the end,
    where it is in the file system.
    """

    descriptor: int
    family: socket.AddressFamily
    address: tuple[str, int] | str
    name: str = ""
    index: int | None = None
    description: str | None = None
    owned: bool = False

    @classmethod
    def of(
        cls,
        descriptor: int,
        *,
        name: str = "",
        index: int | None = None,
        description: str | None = None,
        owned: bool = False,
    ) -> InheritedSocket:
        """The socket ``descriptor``, which children will not inherit and whose accepting will not block.

        `ActivationError` when it does not listen.
        """
        family, address = _inspected(descriptor, f"descriptor {descriptor}" + (f" ({name})" if name else ""))
        return cls(descriptor, family, address, name, index, description, owned)

    def __str__(self) -> str:
        return f"{self.place} (descriptor {self.descriptor}{f', {self.name}' if self.name else ''})"

    @property
    def place(self) -> str:
        """Where it listens, as people write it."""
        if isinstance(self.address, str):
            return self.address.replace("\0", "@") or "a Unix socket without a name"
        host, port = self.address
        return with_port(host, port)


def starting_environment(current: Mapping[str, str]) -> dict[str, str]:
    """The environment that this process was started with; ``current`` where the system does not tell."""
    try:
        content = _STARTING_ENVIRONMENT.read_bytes()
    except OSError:
        return dict(current)
    pairs = (entry.partition(b"=") for entry in content.split(b"\0") if entry)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def activated(environment: Mapping[str, str], pid: int) -> list[InheritedSocket]:
    """The sockets that systemd handed to the process ``pid``, in their order; none when it did not.

    Children will not inherit them. `ActivationError` when the variables contradict themselves, or when one of the
    descriptors is no listening stream socket.
    """
    if environment.get("LISTEN_PID") != str(pid):
        return []
    given = environment.get("LISTEN_FDS", "")
    if not given.isascii() or not given.isdigit() or int(given) > _MOST:
        raise ActivationError(f"LISTEN_FDS is {given!r}, which is no number of sockets")
    descriptors = range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(given))
    listed = environment.get("LISTEN_FDNAMES", "")
    names = listed.split(":") if listed else [""] * len(descriptors)
    if len(names) != len(descriptors):
        raise ActivationError(f"LISTEN_FDS announces {len(descriptors)} sockets, but LISTEN_FDNAMES names {len(names)}")
    return [
        InheritedSocket.of(descriptor, name=name, index=index)
        for index, (descriptor, name) in enumerate(zip(descriptors, names, strict=True))
    ]


class InheritedSockets:
    """The sockets that were handed in, each of which is given away once."""

    def __init__(self, sockets: Iterable[InheritedSocket] = ()) -> None:
        self._left = list(sockets)
        self._taken = 0

    def __repr__(self) -> str:
        return f"<InheritedSockets taken={self._taken} left=[{', '.join(map(str, self._left))}]>"

    def take(self, description: str) -> InheritedSocket | None:
        """The socket for an endpoint, or None when there is none and it has to be opened.

        One that was opened for exactly this description goes first. Then a ``systemd:`` endpoint gets the one of that
        name or index, and any other the one at the same address: what listens on everything is only the same as what
        listens on everything of the same family. Raises `ActivationError` when ``systemd:`` names one of another
        domain, and `Unfit` when it is no description.
        """
        endpoint = parse_endpoint(description)
        found = next((one for one in self._left if one.description == description), None)
        if found is None:
            found = self._by_systemd(endpoint) if endpoint.kind == "systemd" else self._by_address(endpoint)
        if found is not None:
            self._left.remove(found)
            self._taken += 1
        return found

    def add(self, inherited: InheritedSocket) -> None:
        """One more was handed in; it takes the place of one for exactly the same description."""
        if inherited.description is not None:
            for old in [one for one in self._left if one.description == inherited.description]:
                self._left.remove(old)
                os.close(old.descriptor)
        self._left.append(inherited)

    def has_for(self, description: str) -> bool:
        """Whether there is one that was opened for exactly this description."""
        return any(one.description == description for one in self._left)

    def unused(self) -> list[InheritedSocket]:
        """Those that nobody has asked for so far."""
        return list(self._left)

    def give_up(self) -> list[InheritedSocket]:
        """Those that nobody has asked for, which are the caller's to close from now on."""
        left, self._left = self._left, []
        return left

    def _by_systemd(self, endpoint: Endpoint) -> InheritedSocket | None:
        name, index = endpoint.arguments.get("name"), endpoint.arguments.get("index")
        if index is not None:
            meant = [one for one in self._left if one.index == int(index)]
        else:
            meant = [one for one in self._left if one.name == name]
        domain = endpoint.arguments["domain"]
        for one in meant:
            if one.family == _FAMILIES[domain]:
                return one
        if meant:
            of_it = meant[0].family.name.removeprefix("AF_")
            raise ActivationError(f"systemd's socket {meant[0].place} is one of the domain {of_it}, not {domain}")
        return None

    def _by_address(self, endpoint: Endpoint) -> InheritedSocket | None:
        if endpoint.kind == "unix":
            path = os.path.realpath(endpoint.arguments["address"])
            return next((one for one in self._left if _path(one) == path), None)
        interface = endpoint.interface
        port = int(endpoint.arguments.get("port", "443"))
        if interface is None or port == 0:
            return None
        candidates = [one for one in self._left if isinstance(one.address, tuple) and one.address[1] == port]
        if not candidates:
            # Nothing to look a name up for.
            return None
        wanted = _bound(interface)
        return next((one for one in candidates if _host(one.address[0]) == wanted), None)


def _inspected(descriptor: int, what: str) -> tuple[socket.AddressFamily, tuple[str, int] | str]:
    try:
        os.set_inheritable(descriptor, False)
        # systemd.service(5): without NonBlocking= it comes as one that blocks.
        os.set_blocking(descriptor, False)
        opened = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ActivationError(f"{what} was handed in, but cannot be used: {error.strerror}") from None
    try:
        family = socket.AddressFamily(opened.family)
        if family not in _FAMILIES.values() or opened.type != socket.SOCK_STREAM:
            raise ActivationError(f"{what} was handed in, but is no stream socket of IP or Unix")
        if not opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ActivationError(f"{what} was handed in, but does not listen: a socket unit needs Accept=no")
        return family, _address(opened.getsockname())
    except ValueError:
        raise ActivationError(f"{what} was handed in, but is no stream socket of IP or Unix") from None
    finally:
        opened.detach()


def _address(name: object) -> tuple[str, int] | str:
    match name:
        case (str(host), int(port), _, int(scope)):
            return (host if not scope or "%" in host else f"{host}%{scope}", port)
        case (str(host), int(port)):
            return (host, port)
        case bytes():
            return os.fsdecode(name)
    return str(name)


def _path(inherited: InheritedSocket) -> str | None:
    address = inherited.address
    if isinstance(address, tuple) or not address or address.startswith("\0"):
        return None
    return os.path.realpath(address)


_Host = tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]


def _bound(interface: str) -> _Host | None:
    """What a socket is bound to that is opened for ``interface``; a name is looked up, as binding would."""
    literal = _host(interface or "0.0.0.0")
    if literal is not None:
        return literal
    try:
        found = socket.getaddrinfo(interface, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return None
    return _host(str(found[0][4][0]))


def _host(host: str) -> _Host | None:
    """An address and the number of its interface, so that it can be compared; None for a name."""
    text, _, zone = host.partition("%")
    try:
        address = ipaddress.ip_address(text)
        scope = int(zone) if zone.isdigit() else socket.if_nametoindex(zone) if zone else 0
    except (ValueError, OSError):
        return None
    return address, scope
