"""A name server of twisted.names in a process of its own, over UDP and TCP, for the live tests.

Run with the path of a zone, which is read anew for each question, and of a file to note questions in. A zone is a JSON
object: for each name its answers, taken in turn, the last one again and again; an answer is a list of records, each a
type, a value and seconds. It prints its port, and runs until its standard input is closed.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from twisted.names import dns, server
from twisted.names.error import AuthoritativeDomainError

RECORDS: dict[str, Any] = {"A": dns.Record_A, "AAAA": dns.Record_AAAA, "CNAME": dns.Record_CNAME}
NAMES = {getattr(dns, type): type for type in RECORDS}


class Zone:
    """What the server asks, as its resolvers are asked."""

    def __init__(self, path: Path, asked: Path) -> None:
        self._path = path
        self._asked = asked
        self._turns: Counter[tuple[str, int]] = Counter()

    def query(self, query: dns.Query, timeout: Any = None) -> Deferred[Any]:
        name = query.name.name.decode("ascii").lower()
        with self._asked.open("a") as file:
            file.write(f"{name} {NAMES.get(query.type, query.type)}\n")
        zone = json.loads(self._path.read_text())
        if name not in zone:
            return fail(AuthoritativeDomainError(name))
        answers: list[dns.RRHeader] = []
        while name in zone and len(answers) < 30:
            turn = min(self._turns[name, query.type], len(zone[name]) - 1)
            self._turns[name, query.type] += 1
            next = ""
            for type, value, seconds in zone[name][turn]:
                record = RECORDS[type]
                if type == "CNAME" or getattr(dns, type) == query.type:
                    answers.append(dns.RRHeader(name, record.TYPE, ttl=seconds, payload=record(value, seconds)))
                if type == "CNAME":
                    next = value
            name = next
        return succeed((answers, [], []))


class Watch(Protocol):
    """Notices that whoever has started this wants it no more."""

    def connectionLost(self, reason: Any = None) -> None:
        reactor.stop()  # type: ignore[attr-defined]  # the module stands for the reactor


def main(zone: str, asked: str) -> None:
    """Listen, and say where."""
    factory = server.DNSServerFactory(clients=[Zone(Path(zone), Path(asked))])
    factory.noisy = False
    loop: Any = reactor
    while True:
        port = loop.listenTCP(0, factory, interface="127.0.0.1")
        number = port.getHost().port
        try:
            loop.listenUDP(number, dns.DNSDatagramProtocol(factory), interface="127.0.0.1")
            break
        except CannotListenError:
            port.stopListening()
    StandardIO(Watch())
    print(number, flush=True)
    loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
