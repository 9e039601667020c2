"""Where clients come in: the listening ports, opened, kept over reloads and closed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedproxy.settings.endpoints import KINDS, parse_endpoint

BACKLOG: Final = 1024
"""How many connections the kernel keeps ready for a listener whose description does not say.

Twisted's 50 are fewer than one browser's burst and a few more clients, and whoever finds no place is asked to come
again in a second. The system may set a lower limit.
"""


class CannotListen(Exception):
    """An address to listen on cannot be had. The text says which, and why."""


class Listeners:
    """The ports at which connections come in, by the endpoint descriptions that opened them."""

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._ports: dict[str, Any] = {}
        self._gone: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Listeners {', '.join(map(address_text, self.addresses()))}>"

    @property
    def ports(self) -> list[Any]:
        """The `IListeningPort` of each."""
        return list(self._ports.values())

    def addresses(self) -> list[Any]:
        """The `IAddress` of each."""
        return [port.getHost() for port in self._ports.values()]

    def open(self, descriptions: Sequence[str], factory: IProtocolFactory) -> None:
        """Listen on ``descriptions``, anew or where it does already, for the connections of ``factory``.

        Those that are not among them any more go on until `close_gone`. Raises `CannotListen` when one cannot be had;
        it then listens where it did before.
        """
        standing = self._ports
        gone = {description: port for description, port in standing.items() if description not in descriptions}
        opened: dict[str, Any] = {}
        displaced: list[str] = []
        try:
            for description in descriptions:
                if description in standing:
                    continue
                for old in gone:
                    if old in standing and _same_place(old, description):
                        # The two cannot be open at the same time.
                        displaced.append(old)
                        _close_at_once(standing.pop(old))
                opened[description] = self._listen(description, factory)
        except CannotListen:
            for port in opened.values():
                _close_at_once(port)
            for description in displaced:
                standing[description] = self._listen(description, factory)
            raise
        self._ports = {description: standing.get(description) or opened[description] for description in descriptions}
        for description in displaced:
            del gone[description]
        self._gone.update(gone)

    def _listen(self, description: str, factory: IProtocolFactory) -> Any:
        endpoint = parse_endpoint(description)
        backlog = ""
        if "backlog" in KINDS.get(endpoint.kind, ()) and "backlog" not in endpoint.arguments:
            backlog = f":backlog={BACKLOG}"
        result: list[Any] = []
        try:
            serverFromString(self._reactor, description + backlog).listen(factory).addBoth(result.append)
        except Exception as fault:
            raise CannotListen(f"cannot listen on {description}: {fault}") from fault
        if not result:
            raise CannotListen(f"cannot listen on {description}: endpoints that take time to open are not supported")
        port = result[0]
        if isinstance(port, Failure):
            error = port.value
            cause = error.socketError if isinstance(error, CannotListenError) else error
            raise CannotListen(f"cannot listen on {description}: {getattr(cause, 'strerror', None) or cause}")
        return port

    def own_locks(self) -> None:
        """Make the locks of Unix sockets this process's, which is the child of the one that opened them.

        A lock belongs to a process by its number. Nobody else may take the socket of a daemon that runs for one that
        was left behind, and the daemon itself could not unlock it.
        """
        for port in self._ports.values():
            lock = getattr(port, "lockFile", None)
            if lock is not None:
                os.unlink(lock.name)
                lock.lock()

    def close_gone(self) -> None:
        """Close those that `open` was not told of any more."""
        gone, self._gone = self._gone, {}
        for description, port in gone.items():
            self._closed(description, port)

    def close(self) -> Deferred[Any]:
        """Close all of them. Fires when that has happened."""
        self.close_gone()
        ports, self._ports = self._ports, {}
        return gatherResults([self._closed(description, port) for description, port in ports.items()])

    def _closed(self, description: str, port: Any) -> Deferred[Any]:
        return maybeDeferred(port.stopListening).addErrback(self._not_closed, description)

    def _not_closed(self, failure: Failure, description: str) -> None:
        self._log.failure("the listener {description} could not be closed", failure, description=description)


def _same_place(one: str, other: str) -> bool:
    """Whether two descriptions name the same port, or the same Unix socket."""
    for name in ("port", "address"):
        place = parse_endpoint(one).arguments.get(name)
        if place not in (None, "0") and place == parse_endpoint(other).arguments.get(name):
            return True
    return False


def _close_at_once(port: Any) -> None:
    # What stopListening does takes a turn of the reactor, in which nobody would listen.
    port.stopReading()
    lost: Callable[[Failure], None] = port.connectionLost
    lost(Failure(ConnectionDone()))


def address_text(address: Any) -> str:
    """An `IAddress` as people write it."""
    if isinstance(address, IPv6Address):
        return f"[{address.host}]:{address.port}"
    if isinstance(address, IPv4Address):
        return f"{address.host}:{address.port}"
    name = getattr(address, "name", None)
    return os.fsdecode(name) if name else str(address)
