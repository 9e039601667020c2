"""A socket made into a connection."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from twistedproxy.upstream.adopting import Only, adopt


class Kept(Protocol):
    """Keeps what comes, and tells of the end."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's default
        self.lost.callback(None)


@pytest_twisted.ensureDeferred
async def test_it_is_a_connection(running_reactor: Any) -> None:
    ours, theirs = socket.socketpair()
    kept = Kept()
    adopt(running_reactor, ours, Only(kept))
    assert ours.fileno() == -1
    kept.transport.write(b"said")  # type: ignore[union-attr]  # it is connected
    theirs.sendall(b"heard")
    theirs.shutdown(socket.SHUT_WR)
    await kept.lost
    assert kept.received == b"heard"
    assert theirs.recv(100) == b"said"
    theirs.close()


def test_a_socket_that_cannot_be_one_is_closed() -> None:
    class Full:
        def adoptStreamConnection(self, *_: Any) -> None:
            raise OSError(24, "Too many open files")

    ours, theirs = socket.socketpair()
    with pytest.raises(OSError, match="Too many open files"):
        adopt(Full(), ours, Only(Kept()))
    assert theirs.recv(1) == b""
    theirs.close()
