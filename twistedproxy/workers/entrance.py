"""Where the connections of every listener come in: it passes each to whoever serves at the moment."""

from __future__ import annotations

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol

from twistedproxy.downstream.factory import DownstreamFactory
from twistedproxy.downstream.listener import ListenerFactory


class Entrance:
    """The way in of ports that outlive the worker they were opened for. Without a ``server`` nobody is let in."""

    def __init__(self) -> None:
        self.server: DownstreamFactory | None = None

    def __repr__(self) -> str:
        return f"<Entrance to {self.server!r}>"

    def at(self, listener: str) -> ListenerFactory:
        """The factory for the listener of that description."""
        return ListenerFactory(self, listener)

    def connection_at(self, listener: str, address: IAddress | None) -> Protocol | None:
        """The protocol for a client that has come in at ``listener``."""
        return None if self.server is None else self.server.connection_at(listener, address)

    def acceptableProtocols(self) -> list[bytes]:
        """What is spoken behind a TLS listener (RFC 7301)."""
        return [] if self.server is None else self.server.acceptableProtocols()
