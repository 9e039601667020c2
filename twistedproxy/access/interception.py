"""Which tunnels are opened to see inside: the settings of ``intercept``, compiled once.

Off is the default. A host is opened only when the mode says so, and never when it is to be left alone. Which host that
is comes from the CONNECT; where the ClientHello in it names another one, the tunnel stays closed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from twistedproxy.access.addresses import AddressSet
from twistedproxy.access.hosts import HostSet
from twistedproxy.access.left_alone import LEFT_ALONE
from twistedproxy.access.ports import PortSet

OFF: Final = "off"
LISTED: Final = "listed"
ALL_BUT: Final = "all-but"

DEFAULTS: Final = "defaults"
"""The entry of ``leave_alone`` that stands for the list that comes with the proxy."""


class InterceptSettings(Protocol):
    """The settings that a policy is made of."""

    @property
    def mode(self) -> str:
        """``off``, ``listed`` or ``all-but``."""

    @property
    def hosts(self) -> Sequence[str]:
        """The hosts to open in the mode ``listed``."""

    @property
    def leave_alone(self) -> Sequence[str]:
        """The hosts never to open; `DEFAULTS` stands for the list that comes with the proxy."""

    @property
    def ports(self) -> Sequence[int | str]:
        """The ports at which tunnels are opened."""

    @property
    def clients(self) -> Sequence[str]:
        """The clients whose tunnels are opened."""


@dataclass(frozen=True, slots=True, repr=False)
class Interception:
    """What the settings allow. Made with `of`; it never changes."""

    mode: str
    hosts: HostSet
    leave_alone: HostSet
    ports: PortSet
    clients: AddressSet
    by_rule: bool = False

    @classmethod
    def of(cls, settings: InterceptSettings, *, by_rule: bool = False) -> Interception:
        """Compile ``settings``; ValueError when an entry of theirs means nothing.

        ``by_rule`` says whether there is an access rule that wants tunnels to be opened.
        """
        return cls(
            mode=settings.mode,
            hosts=HostSet(settings.hosts),
            leave_alone=HostSet(_written_out(settings.leave_alone)),
            ports=PortSet.of(settings.ports),
            clients=AddressSet.of(settings.clients, look_inside=False),
            by_rule=by_rule,
        )

    def __repr__(self) -> str:
        return f"<Interception {self.mode} hosts={self.hosts!r} leave_alone={self.leave_alone!r} ports={self.ports!r}>"

    @property
    def opens_any(self) -> bool:
        """Whether there is a host whose tunnels are opened."""
        return self.mode == ALL_BUT or (self.mode == LISTED and bool(self.hosts)) or self.by_rule

    @property
    def shown_mode(self) -> str:
        """The mode that a client is told: which tunnels can be opened, be it by a rule."""
        if self.mode == OFF and self.by_rule:
            return LISTED
        return self.mode if self.opens_any else OFF

    def opens(self, host: str, port: int, client: str, wanted: bool | None = None) -> bool:
        """Whether a tunnel to ``host`` is to be opened for the client at an address.

        ``wanted`` is what an access rule says: it stands in the place of mode, hosts and clients. What is to be left
        alone always is.
        """
        if wanted is None:
            wanted = self.mode != OFF and (self.mode == ALL_BUT or host in self.hosts) and client in self.clients
        return wanted and port in self.ports and host not in self.leave_alone


def _written_out(entries: Sequence[str]) -> Iterator[str]:
    for entry in entries:
        if entry == DEFAULTS:
            yield from LEFT_ALONE
        else:
            yield entry
