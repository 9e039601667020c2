"""Who may use the proxy, and where it may go: the settings of ``access``, compiled once.

A destination is always judged by a resolved address, and the connection then goes to that very address. A
name is never judged: what it stands for can change between the question and the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from twistedproxy import errors
from twistedproxy.access.addresses import Address, AddressSet, addresses_within, read_address
from twistedproxy.access.ports import PortSet


class AccessSettings(Protocol):
    """The settings that a policy is made of."""

    @property
    def clients(self) -> Sequence[str]:
        """Names of address sets, networks and addresses that may use the proxy."""

    @property
    def connect_ports(self) -> Sequence[int | str]:
        """Ports, ranges such as ``"8000-8999"``, or ``"all"``, that tunnels may lead to."""

    @property
    def refuse_destinations(self) -> Sequence[str]:
        """Names of address sets, networks and addresses that the proxy never connects to."""


@dataclass(frozen=True, slots=True, repr=False)
class AccessPolicy:
    """What the settings allow. Made with `of`; it never changes."""

    clients: AddressSet
    refused: AddressSet
    ports: PortSet
    listeners: Mapping[int, tuple[Address | None, ...]]
    is_own_address: Callable[[str], bool]

    @classmethod
    def of(
        cls,
        settings: AccessSettings,
        *,
        own_ports: Iterable[tuple[str, int]],
        is_own_address: Callable[[str], bool],
    ) -> AccessPolicy:
        """Compile ``settings``; ValueError when an entry of theirs means nothing.

        ``own_ports`` are the addresses and ports at which this proxy itself listens, ``""`` standing for
        every address; ``is_own_address`` says whether an address is one of this machine's.
        """
        listeners: dict[int, tuple[Address | None, ...]] = {}
        for address, port in own_ports:
            # An address that cannot be read counts as every address: better a refusal too many than a loop.
            listeners[port] = (*listeners.get(port, ()), read_address(address))
        return cls(
            clients=AddressSet.of(settings.clients, look_inside=False),
            refused=AddressSet.of(settings.refuse_destinations),
            ports=PortSet.of(settings.connect_ports),
            listeners=listeners,
            is_own_address=is_own_address,
        )

    def __repr__(self) -> str:
        return (
            f"<AccessPolicy clients={self.clients!r} connect_ports={self.ports} "
            f"refused={self.refused!r} own_ports={','.join(map(str, sorted(self.listeners)))}>"
        )

    def client_allowed(self, address: str) -> bool:
        """Whether a client at ``address`` may use the proxy."""
        return address in self.clients

    def check_client(self, address: str) -> None:
        """Raise `ClientRefused` unless a client at ``address`` may use the proxy."""
        if address not in self.clients:
            raise errors.ClientRefused(
                f"clients at {address} are not allowed: add the address, or its network, to access.clients"
            )

    def connect_port_allowed(self, port: int) -> bool:
        """Whether a tunnel may lead to ``port``."""
        return port in self.ports

    def check_connect_port(self, port: int) -> None:
        """Raise `PortRefused` unless a tunnel may lead to ``port`` (RFC 9110 section 9.3.6)."""
        if not self.connect_port_allowed(port):
            raise errors.PortRefused(f"CONNECT to port {port} is not allowed: add it to access.connect_ports")

    def check_destination(self, address: str, port: int) -> None:
        """Raise `DestinationRefused` unless the proxy may connect to this (resolved) address and port."""
        entries = self.refused.entries_with(address)
        if entries:
            raise errors.DestinationRefused(
                f"{address} is among what access.refuse_destinations names: {', '.join(entries)}"
            )
        if entries is None:
            raise errors.DestinationRefused(f"{address[:64]!r} is not an IP address")
        self.check_not_own(address, port)

    def check_not_own(self, address: str, port: int) -> None:
        """Raise `DestinationRefused` where the proxy itself listens at this (resolved) address and port."""
        for listener in self.listeners.get(port, ()):
            if any(self._reaches(destination, listener) for destination in addresses_within(address)):
                raise errors.DestinationRefused(f"{address} port {port} is this proxy itself")

    def _reaches(self, destination: Address, listener: Address | None) -> bool:
        """Whether a connection to ``destination`` arrives at a listener there; None listens everywhere."""
        if destination.is_unspecified or destination == listener:
            # A connection to 0.0.0.0 or :: arrives at this machine.
            return True
        if listener is not None and not listener.is_unspecified:
            return False
        return destination.is_loopback or self.is_own_address(str(destination))
