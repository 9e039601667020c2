"""Where clients come in: the listening ports, opened or inherited, kept over reloads, handed on and closed.

A listener is opened once, by whoever starts first: this process, the service manager, an earlier version of the
daemon, or the parent of this worker. Everybody after that inherits its socket. So it is never closed while somebody
needs it, and no connection in its queue is lost when one of those who share it ends.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from twisted.internet import tcp, unix
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.protocols.haproxy import proxyEndpoint
from twisted.python.failure import Failure
from twisted.python.lockfile import FilesystemLock
from zope.interface import implementer

from twistedproxy.access.addresses import with_port
from twistedproxy.settings.endpoints import HAPROXY, KINDS, expand_credentials, parse_endpoint
from twistedproxy.settings.problems import Unfit
from twistedproxy.systemd.activation import ActivationError, InheritedSocket, InheritedSockets
from twistedproxy.tls.listening import ListenerError, ListenerTLS
from twistedproxy.tls.records import Records
from twistedproxy.tls_transport import TLSTransportFactory
from twistedproxy.turns import Turn

BACKLOG: Final = 1024
"""How many connections the kernel keeps ready for a listener whose description does not say.

Twisted's 50 are fewer than one browser's burst and a few more clients, and whoever finds no place is asked to come
again in a second. The system may set a lower limit.
"""

FactoryAt = Callable[[str], IProtocolFactory]
"""Has the factory for the listener of a description."""


class CannotListen(Exception):
    """An address to listen on cannot be had. The text says which, and why."""


class Listeners:
    """The ports at which connections come in, by the endpoint descriptions that opened them.

    ``inherited`` are sockets that are there already, and are used for the descriptions that they fit.
    """

    _log = Logger()

    def __init__(
        self, reactor: Any, inherited: InheritedSockets | None = None, environment: Mapping[str, str] = os.environ
    ) -> None:
        self.inherited = inherited or InheritedSockets([])
        self._reactor = reactor
        self._environment = environment
        self._ports: dict[str, Any] = {}
        self._gone: dict[str, Any] = {}
        self._turn = Turn(reactor)
        self._records: Records | None = None

    def __repr__(self) -> str:
        return f"<Listeners {', '.join(map(address_text, self.addresses()))}>"

    @property
    def ports(self) -> list[Any]:
        """The `IListeningPort` of each."""
        return list(self._ports.values())

    def addresses(self) -> list[Any]:
        """The `IAddress` of each."""
        return [port.getHost() for port in self._ports.values()]

    def sockets(self) -> dict[str, int]:
        """The descriptor of each one's socket, by its description, for others to inherit."""
        return {description: port.fileno() for description, port in self._ports.items()}

    def open(self, descriptions: Sequence[str], factory_at: FactoryAt) -> None:
        """Listen on ``descriptions``, anew or where it does already, each for the factory that there is at it.

        Those that are not among them any more go on until `close_gone`, and can be had back before by asking for them.
        Raises `CannotListen` when one cannot be had; it then listens where it did before, though a listener that had
        to make room for a moment has another socket.
        """
        available = self._gone | self._ports
        renewals = [_renewal(one, available[one]) for one in descriptions if one in available]
        opened: dict[str, Any] = {}
        displaced: list[str] = []
        try:
            for description in descriptions:
                # A socket that was handed in for just this one goes before what stands.
                renewed = self.inherited.has_for(description)
                if description in available and not renewed:
                    continue
                for old in list(available):
                    if old == description or (old not in descriptions and _same_place(old, description)):
                        # The two cannot be open at the same time.
                        displaced.append(old)
                        _close_at_once(available.pop(old))
                opened[description] = self._listen(description, factory_at)
        except CannotListen:
            for port in opened.values():
                self._keep_for_later(port)
                _close_at_once(port)
            for description in displaced:
                if description in self._ports:
                    self._have_back(description, available, factory_at)
            self._ports = {
                description: available[description] for description in self._ports if description in available
            }
            self._gone = {description: available[description] for description in self._gone if description in available}
            raise
        self._ports = {description: opened.get(description) or available[description] for description in descriptions}
        self._gone = {description: port for description, port in available.items() if description not in self._ports}
        for renew in renewals:
            renew()

    def _have_back(self, description: str, available: dict[str, Any], factory_at: FactoryAt) -> None:
        try:
            available[description] = self._listen(description, factory_at)
        except CannotListen as error:
            self._log.error("a listener that had made room is lost: {error}", error=error)

    def _keep_for_later(self, port: Any) -> None:
        """Keep a socket of the service manager's that is not wanted now: it has no other way to come back."""
        inherited: InheritedSocket | None = getattr(port, "inherited", None)
        if inherited is not None and inherited.index is not None:
            self.inherited.add(replace(inherited, descriptor=os.dup(port.fileno())))

    def _listen(self, description: str, factory_at: FactoryAt) -> Any:
        try:
            inherited = self.inherited.take(description)
        except (ActivationError, Unfit) as error:
            raise CannotListen(f"cannot listen on {description}: {error}") from error
        try:
            return self._listen_at(description, inherited, factory_at(description))
        except CannotListen:
            if inherited is not None:
                self.inherited.add(inherited)
            raise

    def _listen_at(self, description: str, inherited: InheritedSocket | None, factory: IProtocolFactory) -> Any:
        endpoint = parse_endpoint(description)
        text = description
        if inherited is None and endpoint.kind == "systemd":
            raise CannotListen(f"cannot listen on {description}: systemd has passed on no such socket")
        if endpoint.kind == "systemd":
            # Not for Twisted to look for; what stands in front of it may still be its own.
            text = description[: -len(description.removeprefix(HAPROXY))] + "tcp:0"
        elif "backlog" in KINDS.get(endpoint.kind, ()) and "backlog" not in endpoint.arguments:
            text += f":backlog={BACKLOG}"
        reactor = self._reactor if inherited is None else _Inheriting(self._reactor, inherited)
        result: list[Any] = []
        try:
            text = expand_credentials(text, self._environment)
            self._endpoint(description, text, reactor, factory).listen(factory).addBoth(result.append)
        except Unfit as unfit:
            raise CannotListen(f"cannot listen on {description}: expected {unfit.expected}") from unfit
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

    def _endpoint(self, description: str, text: str, reactor: Any, factory: IProtocolFactory) -> Any:
        """The endpoint that ``text`` describes; TLS is ours."""
        endpoint = parse_endpoint(text)
        if endpoint.kind != "ssl":
            return serverFromString(reactor, text)
        tls = ListenerTLS(description, endpoint, getattr(factory, "acceptableProtocols", None))
        # A few hundred KiB, for all of them.
        self._records = records = self._records or Records()
        secured = _Secured(
            serverFromString(reactor, endpoint.plain),
            tls,
            lambda inner: TLSTransportFactory(tls, False, inner, self._reactor, self._turn, records),
        )
        # What stands in front of it is inside TLS, as with Twisted's own.
        return proxyEndpoint(secured) if text.startswith(HAPROXY) else secured

    def own_locks(self) -> None:
        """Make the locks of Unix sockets this process's, which did not open them itself.

        A lock belongs to a process by its number: that of the one that forked this daemon, or of an earlier version.
        Nobody else may take the socket of a daemon that runs for one that was left behind, and the daemon itself
        could not unlock it.
        """
        for description, port in self._ports.items():
            lock = getattr(port, "lockFile", None)
            if lock is None:
                if not getattr(port, "owner", False) or parse_endpoint(description).arguments.get("lockfile") == "0":
                    continue
                lock = port.lockFile = FilesystemLock(os.fsdecode(port.getHost().name) + ".lock")
            try:
                if os.path.lexists(lock.name):
                    os.unlink(lock.name)
                lock.lock()
            except OSError as error:
                self._log.warn("the lock {lock} cannot be made ours: {error}", lock=lock.name, error=error)

    def handed_on(self) -> dict[str, tuple[int, bool]]:
        """The descriptor of each one's socket by its description, and whether its file is this process's to remove."""
        return {
            description: (port.fileno(), getattr(port, "owner", isinstance(port, unix.Port)))
            for description, port in self._ports.items()
        }

    def close_unused(self) -> None:
        """Close the inherited sockets that nobody has asked for: whoever came in there would wait for ever."""
        for one in self.inherited.give_up():
            os.close(one.descriptor)
            self._log.info("nothing listens on {place} any more", place=one.place)
            if one.owned and isinstance(one.address, str):
                try:
                    for path in (one.address, one.address + ".lock"):
                        if os.path.lexists(path):
                            os.unlink(path)
                except OSError as error:
                    self._log.warn("{place} stays in the file system: {error}", place=one.place, error=error)

    def rest(self) -> None:
        """Accept nothing: that is for others to do, who inherit the sockets."""
        for port in self._ports.values():
            port.stopReading()

    def close_gone(self) -> None:
        """Close those that `open` was not told of any more."""
        gone, self._gone = self._gone, {}
        for description, port in gone.items():
            self._keep_for_later(port)
            self._closed(description, port)

    def close(self) -> Deferred[Any]:
        """Close all of them. Fires when that has happened."""
        ports = [*self._gone.items(), *self._ports.items()]
        self._ports, self._gone = {}, {}
        return gatherResults([self._closed(description, port) for description, port in ports])

    def leave(self) -> None:
        """Close this process's share of all of them: whoever inherited the sockets goes on."""
        for port in [*self._ports.values(), *self._gone.values()]:
            if not port.connected:
                # Whoever opened it has shut it down, for everybody.
                continue
            # Twisted shuts a socket of its own down, for everybody who shares it. And not the port's own end, which
            # would take a Unix socket out of the file system.
            port._shouldShutdown = False
            _close_at_once(port, tcp.Port.connectionLost)
        self._ports, self._gone = {}, {}

    def _closed(self, description: str, port: Any) -> Deferred[Any]:
        return maybeDeferred(port.stopListening).addErrback(self._not_closed, description)

    def _not_closed(self, failure: Failure, description: str) -> None:
        if failure.check(PermissionError):
            self._log.warn(
                "{description} stays in the file system: {error}", description=description, error=failure.value
            )
            return
        self._log.failure("the listener {description} could not be closed", failure, description=description)


@implementer(IStreamServerEndpoint)
class _Secured:
    """An endpoint with ``tls`` over another; ``over`` makes the factory for what comes through it."""

    def __init__(self, endpoint: Any, tls: ListenerTLS, over: Callable[[Any], Any]) -> None:
        self._endpoint = endpoint
        self._tls = tls
        self._over = over

    def listen(self, protocolFactory: Any) -> Any:
        return self._endpoint.listen(self._over(protocolFactory)).addCallback(self._opened)

    def _opened(self, port: Any) -> Any:
        port.tls = self._tls
        return port


class _Inheriting:
    """The reactor, to an endpoint whose socket is there already: whatever it asks for, it gets that."""

    def __init__(self, reactor: Any, inherited: InheritedSocket) -> None:
        self._reactor = reactor
        self._inherited = inherited

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(self, port: int, factory: Any, backlog: int = BACKLOG, interface: str = "") -> Any:
        return self._adopt(factory, backlog)

    def listenUNIX(self, address: str, factory: Any, backlog: int = BACKLOG, mode: int = 0, wantPID: int = 0) -> Any:
        return self._adopt(factory, backlog)

    def _adopt(self, factory: Any, backlog: int) -> Any:
        inherited = self._inherited
        if inherited.family == socket.AF_UNIX:
            port = _InheritedUnixPort._fromListeningDescriptor(self._reactor, inherited.descriptor, factory)
            port.owner = inherited.owned
        else:
            port = tcp.Port._fromListeningDescriptor(self._reactor, inherited.descriptor, inherited.family, factory)
        port.backlog = backlog
        port.startListening()
        port.inherited = inherited
        # The port has a duplicate of its own.
        os.close(inherited.descriptor)
        return port


class _InheritedUnixPort(unix.Port):
    """A Unix socket that is in the file system already, and leaves it only with its owner."""

    owner = False
    _shouldShutdown = False

    # Those of its own make the file accessible to everybody, and remove it.
    startListening = tcp.Port.startListening

    def connectionLost(self, reason: Failure) -> None:
        if self.owner:
            super().connectionLost(reason)
        else:
            tcp.Port.connectionLost(self, reason)


def _renewal(description: str, port: Any) -> Callable[[], None]:
    """Read again what a port that stands has for TLS; what comes back puts it to use. Raises `CannotListen`."""
    tls: ListenerTLS | None = getattr(port, "tls", None)
    try:
        return tls.read_again() if tls is not None else lambda: None
    except ListenerError as error:
        raise CannotListen(f"cannot listen on {description}: {error}") from error


def _same_place(one: str, other: str) -> bool:
    """Whether two descriptions name the same port, or the same Unix socket."""
    for name in ("port", "address"):
        place = parse_endpoint(one).arguments.get(name)
        if place not in (None, "0") and place == parse_endpoint(other).arguments.get(name):
            return True
    return False


def _close_at_once(port: Any, lost: Callable[[Any, Failure], None] | None = None) -> None:
    if not port.connected:
        # Whoever had the socket first has shut it down for all, and the reactor has closed the port.
        return
    # What stopListening does takes a turn of the reactor, in which nobody would listen.
    port.stopReading()
    reason = Failure(ConnectionDone())
    if lost is None:
        port.connectionLost(reason)
    else:
        lost(port, reason)


def address_text(address: Any) -> str:
    """An `IAddress` as people write it."""
    if isinstance(address, IPv4Address | IPv6Address):
        return with_port(address.host, address.port)
    name = getattr(address, "name", None)
    return os.fsdecode(name) if name else str(address)
