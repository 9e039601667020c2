"""A look at all connections in one go.

Theory of operation. Twisted's reactor gives each descriptor that has something a logging context of its own, which is
ten calls of Python for each event: a tenth of what a forwarded GET costs. Nothing here logs by such a context. So the
connections' descriptors are watched by an epoll of their own, which is itself a descriptor that the reactor watches:
it tells that something has happened, and what follows is told to the connections from here. To them it is a reactor
that makes ports and connections; everything else of it is the reactor's.
"""

from __future__ import annotations

import select
from contextlib import suppress
from typing import Any, Final

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.posixbase import PosixReactorBase
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import directlyProvides, providedBy

MOST_EVENTS: Final = 512
"""How many descriptors are told of in one turn at most; the others have the next one."""

_EPOLL: Final = getattr(select, "epoll", None)
_IN: Final = getattr(select, "EPOLLIN", 0)
_OUT: Final = getattr(select, "EPOLLOUT", 0)
_GONE: Final = getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLERR", 0)


def polled(reactor: Any) -> Any:
    """What connections should take for ``reactor``: a `Poll`, where the system has epoll, and sockets are watched."""
    return Poll(reactor) if _EPOLL is not None and isinstance(reactor, PosixReactorBase) else reactor


class Poll:
    """See the head of the module; it takes the place of ``reactor`` for connections."""

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        # There is one as long as there is something to watch.
        self._poller: Any = None
        self._watched: dict[int, Any] = {}
        self._flags: dict[int, int] = {}
        # Whose numbers may be those of others by now, while what has happened is told.
        self._left: set[int] = set()
        # Looked up often.
        self.callLater = reactor.callLater
        directlyProvides(self, providedBy(reactor))

    def __repr__(self) -> str:
        return f"<Poll of {len(self._watched)} descriptors>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    # ------------------------------------------------------------ what makes ports and connections

    def listenTCP(self, *arguments: Any, **named: Any) -> Any:
        return self._ours("listenTCP", arguments, named)

    def listenSSL(self, *arguments: Any, **named: Any) -> Any:
        return self._ours("listenSSL", arguments, named)

    def listenUNIX(self, *arguments: Any, **named: Any) -> Any:
        return self._ours("listenUNIX", arguments, named)

    def adoptStreamConnection(self, *arguments: Any, **named: Any) -> Any:
        return self._ours("adoptStreamConnection", arguments, named)

    def _ours(self, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """The reactor's method, for which this is the reactor."""
        return getattr(type(self._reactor), name)(self, *arguments, **named)

    # ------------------------------------------------------------ IReactorFDSet

    def addReader(self, reader: Any) -> None:
        self._watch(reader, _IN)

    def addWriter(self, writer: Any) -> None:
        self._watch(writer, _OUT)

    def removeReader(self, reader: Any) -> None:
        self._leave(reader, _IN)

    def removeWriter(self, writer: Any) -> None:
        self._leave(writer, _OUT)

    def getReaders(self) -> list[Any]:
        return [one for fd, one in self._watched.items() if self._flags[fd] & _IN]

    def getWriters(self) -> list[Any]:
        return [one for fd, one in self._watched.items() if self._flags[fd] & _OUT]

    def removeAll(self) -> list[Any]:
        every = list(self._watched.values())
        for one in every:
            self._leave(one, _IN | _OUT)
        return every

    def _watch(self, selectable: Any, flag: int) -> None:
        fd = selectable.fileno()
        known = self._watched.get(fd)
        if known is not None and known is not selectable:
            # That one was closed without a word, and with it what the poller knew of it.
            self._forget(fd)
        before = self._flags.get(fd, 0)
        flags = before | flag
        if flags == before:
            return
        if before:
            self._poller.modify(fd, flags)
        else:
            if self._poller is None:
                assert _EPOLL is not None
                self._poller = _EPOLL()
                self._reactor.addReader(self)
            self._poller.register(fd, flags)
        self._flags[fd] = flags
        self._watched[fd] = selectable

    def _leave(self, selectable: Any, flag: int) -> None:
        fd = selectable.fileno()
        if fd == -1:
            fd = next((known for known, one in self._watched.items() if one is selectable), -1)
        if self._watched.get(fd) is not selectable:
            return
        before = self._flags[fd]
        flags = before & ~flag
        if flags == before:
            return
        if flags:
            self._poller.modify(fd, flags)
            self._flags[fd] = flags
            return
        self._forget(fd)
        if not self._watched:
            self._reactor.removeReader(self)
            self._poller.close()
            self._poller = None

    def _forget(self, fd: int) -> None:
        with suppress(OSError):
            # What is closed has left it by itself.
            self._poller.unregister(fd)
        self._left.add(fd)
        del self._flags[fd]
        del self._watched[fd]

    # ------------------------------------------------------------ to the reactor it is a reader

    def fileno(self) -> int:
        """The epoll's descriptor."""
        return -1 if self._poller is None else int(self._poller.fileno())

    def logPrefix(self) -> str:
        return "-"

    def doRead(self) -> None:
        """Tell the connections what has happened."""
        watched = self._watched
        left = self._left
        left.clear()
        for fd, event in self._poller.poll(0, min(len(watched), MOST_EVENTS)):
            if fd in left:
                # One before it has closed it. Another that has its number by now is told of its own in the next turn.
                continue
            selectable = watched[fd]
            try:
                if event == _IN:
                    # As nearly always: a call less for each.
                    why = selectable.doRead()
                    reading = True
                else:
                    why, reading = self._tell(selectable, fd, event)
            except Exception as error:
                self._log.failure("{selectable!r} has met a fault", selectable=selectable)
                why, reading = error, False
            if why:
                self._disconnect(selectable, why, reading)

    def _tell(self, selectable: Any, fd: int, event: int) -> tuple[Exception | None, bool]:
        """What ends the connection, if anything, and whether that was met in reading."""
        if event & _GONE and not event & _IN:
            reading = self._flags[fd] & _IN != 0
            return (CONNECTION_DONE if reading else CONNECTION_LOST), reading
        why = selectable.doRead() if event & _IN else None
        if why or not event & _OUT:
            return why, True
        return selectable.doWrite(), False

    def _disconnect(self, selectable: Any, why: Exception, reading: bool) -> None:
        try:
            self._leave(selectable, _IN)
            if type(why) is ConnectionDone:
                reason = Failure(CONNECTION_DONE)
                if reading and IHalfCloseableDescriptor.providedBy(selectable):
                    selectable.readConnectionLost(reason)
                    return
            else:
                reason = Failure(CONNECTION_LOST if type(why) is ConnectionLost else why)
            self._leave(selectable, _OUT)
            selectable.connectionLost(reason)
        except Exception:
            self._log.failure("{selectable!r} could not be told what has happened to it", selectable=selectable)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops: so it is for all of them."""
        for selectable in self.removeAll():
            selectable.connectionLost(reason)
