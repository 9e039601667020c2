"""TCP connections to resolved addresses: all of a host's, in a race (RFC 8305), on bare sockets.

Theory of operation. A connection is a non-blocking socket that the reactor watches until it is writable, and
nothing more: what it is for is not known here, and a transport that is thrown away again costs more than the
connecting itself. A peer on this machine has nearly always answered by the time the first call returns, so it
is asked at once and the reactor never hears of it.

With several addresses the families alternate. A new attempt begins ``attempt_delay`` seconds after the one
before it, or as soon as any attempt fails; the first to succeed wins and the others are closed.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Sequence
from itertools import zip_longest
from math import inf
from typing import Final

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedproxy import errors
from twistedproxy.access.addresses import with_port
from twistedproxy.deadlines import Deadlines
from twistedproxy.upstream.literals import ResolvedAddress

# One system call where the platform can; see `_new_socket` for where it cannot.
_STREAM: Final = socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0) | getattr(socket, "SOCK_CLOEXEC", 0)
_MUST_SET_NONBLOCKING: Final = not hasattr(socket, "SOCK_NONBLOCK")

# Python names it from 3.12 on.
_BIND_ADDRESS_NO_PORT: Final = 24 if sys.platform == "linux" else 0

_CONNECTED: Final = (0, errno.EISCONN)
_NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE})
_NO_ROUTE: Final = frozenset(
    {
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.EHOSTDOWN,
        errno.EAFNOSUPPORT,
        errno.EADDRNOTAVAIL,
        errno.EACCES,
        errno.EPERM,
        errno.EINVAL,
    }
)


class Connected:
    """An open connection: ``socket`` is non-blocking, without Nagle's delay, and not inherited by children.

    Whoever receives it closes the socket. ``address`` and ``port`` are the peer's; the durations are seconds.
    Where somebody wants to know whether the peer answers at all, ``judged`` is called by who finds out, once.
    """

    __slots__ = ("address", "connect_seconds", "judged", "port", "resolve_seconds", "socket")

    def __init__(self, sock: socket.socket, address: str, port: int, connect_seconds: float) -> None:
        self.socket = sock
        self.address = address
        self.port = port
        self.connect_seconds = connect_seconds
        self.resolve_seconds = 0.0
        self.judged: Callable[[bool], object] | None = None

    def __repr__(self) -> str:
        return f"<Connected {self.address_text} fd={self.socket.fileno()}>"

    @property
    def address_text(self) -> str:
        """Address and port as they are written together: ``192.0.2.1:80``, ``[2001:db8::1]:80``."""
        return with_port(self.address, self.port)


class Connector:
    """Connects to the first of several addresses that answers; see the head of the module.

    ``attempt_delay`` is RFC 8305's Connection Attempt Delay, in seconds. ``sources`` are the addresses of this machine
    that connections come from, one of a family; when there are any, addresses of another family are not connected to.
    Both may be set at any time. ``deadlines`` tells the time and
    watches the timeouts, ``clock`` times the delay; without them the reactor does.
    """

    def __init__(
        self,
        reactor: IReactorFDSet,
        *,
        attempt_delay: float,
        sources: Sequence[str] = (),
        clock: IReactorTime | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        self.reactor = reactor
        self.clock = clock or IReactorTime(reactor)
        self.deadlines = deadlines or Deadlines(self.clock)
        self.seconds = self.deadlines.seconds
        self.attempt_delay = attempt_delay
        self.sources = sources
        self.racing = 0
        """How many connections are in the making."""

    def __repr__(self) -> str:
        return f"<Connector racing={self.racing}>"

    def connect(self, addresses: Sequence[ResolvedAddress], port: int, timeout: float) -> Deferred[Connected]:
        """Connect to one of ``addresses`` within ``timeout`` seconds; cancelling it closes everything.

        Fails with `ConnectionRefused`, `Unreachable`, `ConnectTimeout`, `OutOfDescriptors`, or
        `UpstreamError` for any other reason; the detail names each address and what became of it.
        """
        if not addresses:
            return fail(errors.Unreachable("there is no address to connect to"))
        started = self.seconds()
        first = addresses[0]
        sock, error = self.begin(first, port)
        if sock is not None and not error:
            return succeed(_connected(sock, first, port, self.seconds() - started))
        race = _Race(self, interleaved(addresses)[1:], port, timeout, started)
        if not race.take(first, sock, error):
            race.advance()
        if not race.result.called:
            self.deadlines.expire_in(race, timeout)
        return race.result

    @property
    def sources(self) -> Sequence[str]:
        """See the class."""
        return tuple(self._sources.values())

    @sources.setter
    def sources(self, addresses: Sequence[str]) -> None:
        self._sources = {_family(address): address for address in addresses}

    def begin(self, address: ResolvedAddress, port: int) -> tuple[socket.socket | None, int]:
        """A socket and 0 when it is connected, a socket and EINPROGRESS, or no socket and the error."""
        source = ""
        if self._sources:
            source = self._sources.get(address.family, "")
            if not source:
                return None, errno.EADDRNOTAVAIL
        return _begin(address, port, source)


@implementer(IWriteDescriptor)
class _Attempt:
    """A socket on its way to one address."""

    __slots__ = ("_fileno", "address", "race", "socket")

    def __init__(self, race: _Race, address: ResolvedAddress, sock: socket.socket) -> None:
        self.race = race
        self.address = address
        self.socket = sock
        self._fileno = sock.fileno()

    def __repr__(self) -> str:
        return f"<_Attempt {self.address.address} fd={self._fileno}>"

    def logPrefix(self) -> str:
        """What Twisted's log calls it."""
        return "connect"

    def fileno(self) -> int:
        """The descriptor's number; the same for good, also when the socket has gone to its new owner."""
        return self._fileno

    def doWrite(self) -> None:
        """It is connected or has failed; or the event was meant for an earlier socket of this number."""
        error = self._state()
        if error != errno.EALREADY:
            self.race.ended(self, error)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor has seen an error, and watches no longer."""
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) or self._state()
        if error == errno.EALREADY:
            self.race.watch(self)
        else:
            self.race.ended(self, error)

    def _state(self) -> int:
        # Asking again tells more than SO_ERROR does: whether it is still under way.
        return self.socket.connect_ex(self.address.at(self.race.port))


class _Race:
    """One connection in the making, by one attempt or several."""

    __slots__ = (
        "_attempts",
        "_connector",
        "_delay",
        "_failures",
        "_started",
        "_timeout",
        "_waiting",
        "deadline",
        "deadline_bucket",
        "port",
        "result",
    )

    def __init__(
        self,
        connector: Connector,
        addresses: Sequence[ResolvedAddress],
        port: int,
        timeout: float,
        started: float,
    ) -> None:
        self.port = port
        self.result: Deferred[Connected] = Deferred(self._cancelled)
        self.deadline = inf
        self.deadline_bucket = 0
        self._connector = connector
        self._waiting = deque(addresses)
        self._timeout = timeout
        self._started = started
        self._attempts: list[_Attempt] = []
        self._failures: list[tuple[ResolvedAddress, int]] = []
        self._delay: IDelayedCall | None = None
        connector.racing += 1

    def __repr__(self) -> str:
        return f"<_Race under way={self._attempts} failed={len(self._failures)} waiting={len(self._waiting)}>"

    def take(self, address: ResolvedAddress, sock: socket.socket | None, error: int) -> bool:
        """Take over what `_begin` began; False when that has failed and the next address's turn has come."""
        if sock is None:
            self._failures.append((address, error))
            return False
        if not error:
            self._win(address, sock)
            return True
        attempt = _Attempt(self, address, sock)
        self._attempts.append(attempt)
        self.watch(attempt)
        if self._waiting:
            self._delay = self._connector.clock.callLater(self._connector.attempt_delay, self.advance)
        return True

    def watch(self, attempt: _Attempt) -> None:
        """Let ``attempt`` hear when its socket changes."""
        self._connector.reactor.addWriter(attempt)

    def advance(self) -> None:
        """Begin the next attempt; when there is none, and none under way, the race is lost."""
        if self._delay is not None and self._delay.active():
            self._delay.cancel()
        self._delay = None
        while self._waiting:
            address = self._waiting.popleft()
            if self.take(address, *self._connector.begin(address, self.port)):
                return
        if not self._attempts:
            self._lose(False)

    def ended(self, attempt: _Attempt, error: int) -> None:
        """An attempt has come to its end."""
        self._connector.reactor.removeWriter(attempt)
        self._attempts.remove(attempt)
        if error in _CONNECTED:
            self._win(attempt.address, attempt.socket)
        else:
            attempt.socket.close()
            self._failures.append((attempt.address, error))
            self.advance()

    def deadline_passed(self) -> None:
        """The time for all of it is over."""
        self._lose(True)

    def _win(self, address: ResolvedAddress, sock: socket.socket) -> None:
        self._close()
        connector = self._connector
        connected = _connected(sock, address, self.port, connector.seconds() - self._started)
        self.result.callback(connected)

    def _lose(self, timed_out: bool) -> None:
        late = [attempt.address for attempt in self._attempts]
        untried = list(self._waiting)
        self._close()
        fates = [(address, os.strerror(error)) for address, error in self._failures]
        fates += [(address, f"no answer in {self._timeout:g} s") for address in late]
        fates += [(address, "not tried in time") for address in untried]
        detail = "; ".join(f"{with_port(address.address, self.port)}: {fate}" for address, fate in fates)
        numbers = {error for _, error in self._failures}
        self.result.errback(errors.ConnectTimeout(detail) if timed_out else _worst(numbers)(detail))

    def _cancelled(self, _: Deferred[Connected]) -> None:
        self._close()

    def _close(self) -> None:
        connector = self._connector
        connector.racing -= 1
        connector.deadlines.forget(self)
        if self._delay is not None and self._delay.active():
            self._delay.cancel()
        self._delay = None
        self._waiting.clear()
        for attempt in self._attempts:
            connector.reactor.removeWriter(attempt)
            attempt.socket.close()
        self._attempts.clear()


def _begin(address: ResolvedAddress, port: int, source: str) -> tuple[socket.socket | None, int]:
    try:
        sock = _new_socket(address.family)
    except OSError as failure:
        return None, failure.errno or errno.EIO
    if source:
        try:
            _bind(sock, source)
        except OSError as failure:
            sock.close()
            return None, failure.errno or errno.EIO
    sockaddr = address.at(port)
    error = sock.connect_ex(sockaddr)
    if error == errno.EINPROGRESS:
        # A peer on this machine has answered by now, but only a second call tells.
        error = sock.connect_ex(sockaddr)
        if error == errno.EALREADY:
            return sock, errno.EINPROGRESS
    if error in _CONNECTED:
        return sock, 0
    sock.close()
    return None, error


def _new_socket(family: int) -> socket.socket:
    sock = socket.socket(family, _STREAM)
    if _MUST_SET_NONBLOCKING:
        sock.setblocking(False)
    return sock


def _bind(sock: socket.socket, source: str) -> None:
    if _BIND_ADDRESS_NO_PORT:
        try:
            # The port is chosen when the peer is known, so that there are as many for each peer.
            sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
        except OSError:
            # A kernel before 4.2.
            pass
    sock.bind((source, 0))


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _connected(sock: socket.socket, address: ResolvedAddress, port: int, seconds: float) -> Connected:
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        # Some systems refuse this when the peer has already gone; whoever reads will notice that.
        pass
    return Connected(sock, address.address, port, seconds)


def interleaved(addresses: Sequence[ResolvedAddress]) -> list[ResolvedAddress]:
    """The families in turn from the first address's on, each in its own order (RFC 8305 section 4)."""
    first = [address for address in addresses if address.family == addresses[0].family]
    others = [address for address in addresses if address.family != addresses[0].family]
    return [address for pair in zip_longest(first, others) for address in pair if address is not None]


def _worst(numbers: set[int]) -> type[errors.UpstreamError]:
    """The error that says most about attempts that all failed, with these error numbers."""
    if numbers & _NO_DESCRIPTOR:
        return errors.OutOfDescriptors
    if errno.ECONNREFUSED in numbers:
        return errors.ConnectionRefused
    if errno.ETIMEDOUT in numbers:
        return errors.ConnectTimeout
    if numbers <= _NO_ROUTE:
        return errors.Unreachable
    return errors.UpstreamError
