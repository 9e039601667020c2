"""A client's connection, whatever is spoken on it: who is at its other end, and where they have found us."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import Protocol

from twistedproxy.exchange import Reached


class ClientConnection(Protocol):
    """The base of the connections that clients have with the proxy.

    ``number`` counts them, ``requests`` those that came on it, and ``opened_at`` is in monotonic seconds.
    """

    def __init__(self, address: str, port: int, opened_at: float) -> None:
        self.client_address = address
        self.client_port = port
        self.number = self.requests = 0
        self.opened_at = opened_at

    @property
    def _transport(self) -> Any:
        return self.transport

    @property
    def reached(self) -> Reached:
        """Where the client has found us."""
        host = self._transport.getHost()
        address = getattr(host, "host", "").partition("%")[0]
        return Reached(address, getattr(host, "port", 0), ISSLTransport.providedBy(self.transport))

    def send_at_once(self) -> None:
        """Let the system hold no small piece back, where there is such a thing (TCP_NODELAY)."""
        set_no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            set_no_delay(True)
