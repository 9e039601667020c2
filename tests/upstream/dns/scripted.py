"""A name server on loopback that does as a test says, over UDP and TCP; and messages for it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.names import dns
from twisted.protocols.basic import Int16StringReceiver

from twistedproxy.settings.name_servers import NameServerAddress

Reaction = Callable[[bytes], "bytes | Iterable[bytes] | None"]
"""What comes of a query: the reply, several messages, or nothing."""


def a(name: str, address: str, ttl: int = 300) -> dns.RRHeader:
    return dns.RRHeader(name, dns.A, ttl=ttl, payload=dns.Record_A(address, ttl))


def aaaa(name: str, address: str, ttl: int = 300) -> dns.RRHeader:
    return dns.RRHeader(name, dns.AAAA, ttl=ttl, payload=dns.Record_AAAA(address, ttl))


def cname(name: str, target: str, ttl: int = 300) -> dns.RRHeader:
    return dns.RRHeader(name, dns.CNAME, ttl=ttl, payload=dns.Record_CNAME(target, ttl))


def soa(zone: str, ttl: int = 600, minimum: int = 60) -> dns.RRHeader:
    record = dns.Record_SOA("ns." + zone, "admin." + zone, 1, 2, 3, 4, minimum, ttl)
    return dns.RRHeader(zone, dns.SOA, ttl=ttl, payload=record)


def referral(zone: str) -> dns.RRHeader:
    return dns.RRHeader(zone, dns.NS, ttl=60, payload=dns.Record_NS("ns." + zone))


def reply(
    query: bytes,
    *answers: dns.RRHeader,
    code: int = 0,
    authority: Iterable[dns.RRHeader] = (),
    additional: Iterable[dns.RRHeader] = (),
    truncated: bool = False,
    recursive: bool = True,
) -> bytes:
    """The reply to ``query`` with these records."""
    asked = dns.Message()
    asked.fromStr(query)
    message = dns.Message(asked.id, answer=1, recDes=1, recAv=int(recursive), rCode=code, trunc=int(truncated))
    message.maxSize = 65535
    message.queries = asked.queries
    message.answers = list(answers)
    message.authority = list(authority)
    message.additional = list(additional)
    return message.toStr()


def replying(*answers: dns.RRHeader, **how: Any) -> Reaction:
    """Reply with these records."""
    return lambda query: reply(query, *answers, **how)


def silence(query: bytes) -> None:
    """Reply nothing."""


def asked_for(query: bytes) -> tuple[str, int]:
    """Name and type of the question in ``query``."""
    message = dns.Message()
    message.fromStr(query)
    (one,) = message.queries
    return one.name.name.decode("latin-1"), one.type


class ScriptedServer(DatagramProtocol):
    """Listens at ``address``. Reactions to a question are taken in turn, the last one again and again.

    Without any, there is no such name. ``asked`` has the name, the type and how it came, of each query.
    """

    noisy = False

    def __init__(self, reactor: Any, interface: str = "127.0.0.1") -> None:
        self.asked: list[tuple[str, int, str]] = []
        self.sources: list[tuple[str, int]] = []
        self.queries: list[bytes] = []
        self.otherwise: Reaction = replying(code=dns.ENAME)
        self.connections: list[ServedStream] = []
        self._reactions: dict[tuple[str, int, str], list[Reaction]] = {}
        self._waiting: list[tuple[int, Deferred[None]]] = []
        self._datagrams, self._streams = self._listen(reactor, interface)
        port = self._datagrams.getHost().port
        self.address = NameServerAddress(interface, port)

    def _listen(self, reactor: Any, interface: str) -> tuple[Any, Any]:
        factory = Factory.forProtocol(ServedStream)
        factory.noisy = False
        factory.server = self  # type: ignore[attr-defined]  # what protocols find there
        while True:
            streams = reactor.listenTCP(0, factory, interface=interface)
            try:
                return reactor.listenUDP(streams.getHost().port, self, interface=interface), streams
            except CannotListenError:
                streams.stopListening()

    def on(self, name: str, type: int, *reactions: Reaction, by: str = "udp") -> None:
        self._reactions[name, type, by] = list(reactions)

    def messages_for(self, query: bytes, by: str) -> list[bytes]:
        name, type = asked_for(query)
        self.asked.append((name, type, by))
        self.queries.append(query)
        for waiting in [one for one in self._waiting if len(self.asked) >= one[0]]:
            self._waiting.remove(waiting)
            waiting[1].callback(None)
        reactions = self._reactions.get((name.lower(), type, by), [self.otherwise])
        result = (reactions.pop(0) if len(reactions) > 1 else reactions[0])(query)
        return [] if result is None else [result] if isinstance(result, bytes) else list(result)

    def awaited(self, count: int) -> Deferred[None]:
        """Fires when that many queries have come."""
        over: Deferred[None] = Deferred()
        if len(self.asked) >= count:
            over.callback(None)
        else:
            self._waiting.append((count, over))
        return over

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.sources.append(addr)
        for message in self.messages_for(datagram, "udp"):
            self.transport.write(message, addr)  # type: ignore[union-attr]  # it has one while it listens

    def stop(self) -> Deferred[Any]:
        for connection in self.connections:
            connection.transport.abortConnection()
        return DeferredList([port.stopListening() for port in (self._datagrams, self._streams)])


class ServedStream(Int16StringReceiver):
    """A client over TCP; its query is answered with these messages, each with its length."""

    MAX_LENGTH = 65535
    factory: Any

    def connectionMade(self) -> None:
        self.factory.server.connections.append(self)

    def stringReceived(self, string: bytes) -> None:
        for message in self.factory.server.messages_for(string, "tcp"):
            self.transport.write(struct.pack("!H", len(message)) + message)

    def connectionLost(self, reason: Any = None) -> None:
        self.factory.server.connections.remove(self)
