"""A connected socket made into a connection of the reactor's, for one protocol."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory, Protocol


class Only(ClientFactory):
    """Makes the one protocol that there is already."""

    noisy = False

    def __init__(self, made: Protocol) -> None:
        self._made = made

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self._made


def adopt(reactor: Any, sock: socket.socket, factory: Any) -> None:
    """Let ``factory`` make the protocol of a connection on ``sock``, which is closed: the reactor has a duplicate.

    Raises OSError where there is no descriptor for that.
    """
    try:
        reactor.adoptStreamConnection(sock.fileno(), sock.family, factory)
    finally:
        sock.close()
