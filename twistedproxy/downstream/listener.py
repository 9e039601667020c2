"""The factory of one listener: whoever comes in there is known to have done so."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IAddress, IProtocolNegotiationFactory
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import ServerFactory
from zope.interface import implementer


class Doorway(Protocol):
    """Whoever makes the connections of all listeners."""

    def connection_at(self, listener: str, address: IAddress | None) -> TwistedProtocol | None:
        """The protocol for a client that has come in at ``listener``; None does not let it in."""

    def acceptableProtocols(self) -> list[bytes]:
        """What is spoken behind a TLS listener (RFC 7301)."""


@implementer(IProtocolNegotiationFactory)
class ListenerFactory(ServerFactory):
    """Passes the clients of the one ``listener`` to ``doorway``."""

    noisy = False

    def __init__(self, doorway: Doorway, listener: str) -> None:
        self._doorway = doorway
        self._listener = listener

    def __repr__(self) -> str:
        return f"<ListenerFactory {self._listener} to {self._doorway!r}>"

    def buildProtocol(self, addr: IAddress | None) -> TwistedProtocol | None:
        return self._doorway.connection_at(self._listener, addr)

    def acceptableProtocols(self) -> list[bytes]:
        """What is spoken behind a TLS listener; without this Twisted breaks off when a client asks."""
        return self._doorway.acceptableProtocols()
