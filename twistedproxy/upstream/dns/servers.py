"""Name servers: how each is spoken to, and which of them is asked first.

Theory of operation. The servers of a group stand in the operator's order. One that has failed twice in a row (no reply,
no way there, a reply that makes no sense, a refusal) is asked last for a while, so that not every look-up waits for it;
as soon as it replies it has its place back. It is still asked when the others fail too, so that nothing is lost when it
was the network that failed. What fails at about the same time counts once: most look-ups are two questions, and whoever
asks for names that hang should not move a server by one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import Any, Final, Protocol

from twisted.logger import Logger

from twistedproxy.deadlines import Deadlines
from twistedproxy.settings.name_servers import NameServerAddress, longest_domain
from twistedproxy.upstream.dns.datagram import Datagram, Replied
from twistedproxy.upstream.dns.stream import MakeTLS, Stream

LAST_FOR: Final = 30.0
"""How long a server that fails is asked last, in seconds."""

_FAILURES: Final = 2
_AT_ONCE: Final = 1.0


class Asked(Protocol):
    """A question that waits for its reply."""

    def cancel(self) -> None:
        """Want the reply no more."""


class NameServer:
    """One server; see the head of the module. ``make_tls`` is for those that TLS is spoken with."""

    _log = Logger()

    def __init__(
        self, reactor: Any, address: NameServerAddress, deadlines: Deadlines, make_tls: MakeTLS | None = None
    ) -> None:
        self.address = address
        self._reactor = reactor
        self._seconds = deadlines.seconds
        self._stream = Stream(reactor, address, deadlines, make_tls)
        self._failures = 0
        self._failed_at = -inf
        self._last_until = 0.0

    def __repr__(self) -> str:
        return f"<NameServer {self.address} failures={self._failures}>"

    @property
    def is_last(self) -> bool:
        """Whether it is to be asked after the others."""
        return self._last_until > self._seconds()

    def ask(self, question: bytes, replied: Replied, *, whole: bool = False) -> Asked:
        """Ask ``question``; ``whole`` is for a reply that may be longer than a datagram.

        ``replied`` is called later, once, unless it is cancelled. OSError when it cannot be sent.
        """
        if whole or self.address.tls_name:
            return self._stream.ask(question, replied)
        return Datagram(self._reactor, self.address, question, replied)

    def has_replied(self) -> None:
        """It has said something of use."""
        if self._last_until:
            self._log.info("the name server {server} replies again", server=self.address)
        self._failures = 0
        self._last_until = 0.0

    def has_failed(self, why: str) -> None:
        """Nothing of use has come from it."""
        now = self._seconds()
        if now - self._failed_at < _AT_ONCE:
            return
        self._failed_at = now
        self._failures += 1
        if self._failures >= _FAILURES and not self.is_last:
            self._last_until = now + LAST_FOR
            self._log.warn(
                "the name server {server} is asked last for {seconds:g} s: {why}",
                server=self.address,
                seconds=LAST_FOR,
                why=why,
            )

    def close(self) -> None:
        """Close its connection."""
        self._stream.close()


class Servers:
    """Groups of servers by domain; those of the empty domain are for all other names."""

    def __init__(
        self,
        groups: Iterable[tuple[str, Iterable[NameServerAddress]]],
        make: Callable[[NameServerAddress], NameServer],
    ) -> None:
        made: dict[NameServerAddress, NameServer] = {}
        self._groups: dict[str, list[NameServer]] = {}
        for domain, addresses in groups:
            self._groups[domain] = [
                made[address] if address in made else made.setdefault(address, make(address))
                for address in dict.fromkeys(addresses)
            ]
        self._all = tuple(made.values())

    def __repr__(self) -> str:
        return f"<Servers {len(self._all)} domains={len(self._groups)}>"

    def domain_of(self, name: str) -> str | None:
        """The longest domain that ``name``, in lower case, is in; empty for all others, None where it is nobody's."""
        domain = longest_domain(name, self._groups)
        return domain if domain in self._groups else None

    def of(self, name: str) -> list[NameServer]:
        """The servers that are asked for ``name``, in order; none where it is nobody's."""
        domain = self.domain_of(name)
        if domain is None:
            return []
        # The sort is stable: among those that are well, and among the others, the operator's order stays.
        return sorted(self._groups[domain], key=lambda server: server.is_last)

    def close(self) -> None:
        """Close their connections."""
        for server in self._all:
            server.close()
