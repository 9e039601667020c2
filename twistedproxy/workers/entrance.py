"""Where the connections of every listener come in: it passes each to whoever serves at the moment."""

from __future__ import annotations

from twisted.internet.interfaces import IAddress, IProtocolNegotiationFactory
from twisted.internet.protocol import Protocol, ServerFactory
from zope.interface import implementer

from twistedproxy.downstream.factory import DownstreamFactory


@implementer(IProtocolNegotiationFactory)
class Entrance(ServerFactory):
    """The factory of ports that outlive the worker they were opened for. Without a ``server`` nobody is let in."""

    noisy = False

    def __init__(self) -> None:
        self.server: DownstreamFactory | None = None

    def __repr__(self) -> str:
        return f"<Entrance to {self.server!r}>"

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        return None if self.server is None else self.server.buildProtocol(addr)

    def acceptableProtocols(self) -> list[bytes]:
        """What is spoken behind a TLS listener (RFC 7301)."""
        return [] if self.server is None else self.server.acceptableProtocols()
