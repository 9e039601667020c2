"""A server of a few lines, a program of its own, that shares its port with others: says its process number, and stays.

``inherited DESCRIPTOR`` accepts from a listening socket that its parent opened; ``reuseport PORT`` opens one of its own
for a port that others have too. A third argument is how many milliseconds each of its turns takes.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.protocol import Factory, Protocol

BACKLOG = 1024


class Greeting(Protocol):  # type: ignore[misc]  # Twisted's class is not typed
    """Says who it is to whoever comes."""

    def connectionMade(self) -> None:
        self.transport.write(b"%d\n" % os.getpid())


def main(way: str, number: int, milliseconds: int) -> None:
    """Serve until somebody ends it."""
    reactor: Any = installed
    if way == "inherited":
        listening = socket.socket(fileno=number)
    else:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(("127.0.0.1", number))
        listening.listen(BACKLOG)
    listening.setblocking(False)
    reactor.adoptStreamPort(listening.fileno(), socket.AF_INET, Factory.forProtocol(Greeting))
    listening.close()

    def work() -> None:
        time.sleep(milliseconds / 1000)
        reactor.callLater(0, work)

    if milliseconds:
        reactor.callLater(0, work)
    print("ready", flush=True)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
