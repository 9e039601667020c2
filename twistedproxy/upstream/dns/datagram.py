"""One question over UDP, from a socket of its own.

Theory of operation. Each question has a random id and a new socket, so that whoever wants to answer in the server's
place has to guess the id and the port (RFC 5452 section 9). The system chooses the port at random, and since the socket
is connected, it lets in nothing from another address, and tells when the server's machine does not take it. What comes
from the right address and is no reply to the question is ignored, but not without end: then somebody is guessing.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedproxy.settings.name_servers import NameServerAddress
from twistedproxy.upstream.dns.messages import LARGEST_REPLY, is_reply, query

Replied = Callable[[bytes | None, str], None]
"""Called once with the reply; or with None, and why there is none."""

GUESSED: Final = "somebody else answers in its place"
"""Why there is none when too much came that is no reply."""

_MOST_STRANGE: Final = 32
_READS: Final = 16


@implementer(IReadDescriptor)
class Datagram:
    """See the head of the module. OSError when it cannot be sent."""

    def __init__(self, reactor: Any, server: NameServerAddress, question: bytes, replied: Replied) -> None:
        self._reactor = reactor
        self._id = secrets.randbits(16)
        self._question = question
        self._replied = replied
        self._strange = 0
        family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect((server.address, server.port))
            self._socket.send(query(self._id, question))
        except OSError:
            self._socket.close()
            raise
        reactor.addReader(self)

    def __repr__(self) -> str:
        return f"<Datagram fd={self._socket.fileno()}>"

    def cancel(self) -> None:
        """Want the reply no more."""
        if self._socket.fileno() >= 0:
            self._reactor.removeReader(self)
            self._socket.close()

    def fileno(self) -> int:
        """The socket's descriptor, -1 when it is over."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """What Twisted calls it."""
        return "dns"

    def doRead(self) -> None:
        """Something has come."""
        for _ in range(_READS):
            try:
                data = self._socket.recv(LARGEST_REPLY + 1)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(None, os.strerror(error.errno or 0))
                return
            if is_reply(data, self._id, self._question):
                self._end(data, "")
                return
            self._strange += 1
            if self._strange >= _MOST_STRANGE:
                self._end(None, GUESSED)
                return

    def connectionLost(self, reason: Failure) -> None:
        """The reactor watches it no more: there is an error and nothing to read, or it stops."""
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if self._socket.fileno() >= 0 else 0
        self._end(None, os.strerror(error) if error else "the reactor has stopped")

    def _end(self, data: bytes | None, why: str) -> None:
        if self._socket.fileno() >= 0:
            self.cancel()
            self._replied(data, why)
