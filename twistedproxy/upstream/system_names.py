"""Answers of the system's own resolver, in threads.

Theory of operation. ``getaddrinfo`` knows the hosts file, the search domains and the order of addresses that this
machine is set up for, but it blocks and it tells no time to live. So it runs in threads, and each answer holds for a
fixed time. It cannot be interrupted: a look-up that has begun goes on when nobody waits for it any more, and its late
answer is for those who ask again.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IReactorFromThreads

from twistedproxy import errors
from twistedproxy.upstream.answers import Addresses, Answer, Done, distinct
from twistedproxy.upstream.hosts_file import HostsFile
from twistedproxy.upstream.lookup_threads import Job, LookupThreads

GetAddrInfo = Callable[[bytes, None, int, int], list[tuple[Any, ...]]]
"""``socket.getaddrinfo``, or what stands for it, called with host, port, family and type."""

_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)


class SystemNames:
    """See the head of the module.

    ``ttl`` and ``negative_ttl`` are how long answers hold, in seconds; at most ``threads`` look-ups run at a time.
    ``getaddrinfo`` and ``hosts_file`` take the place of the system's.
    """

    def __init__(
        self,
        reactor: IReactorFromThreads,
        *,
        ttl: float,
        negative_ttl: float,
        threads: int,
        getaddrinfo: GetAddrInfo = socket.getaddrinfo,
        hosts_file: HostsFile | None = None,
    ) -> None:
        self._ttl = ttl
        self._negative_ttl = negative_ttl
        self._getaddrinfo = getaddrinfo
        self._hosts_file = hosts_file or HostsFile()
        self._threads = LookupThreads(reactor, threads, "resolver")

    def __repr__(self) -> str:
        return f"<SystemNames {self._threads!r}>"

    def begin(self, name: str, client: str, done: Done) -> _InThread:
        """Look up ``name``, as `Source` says."""
        asked = name.encode("ascii")

        def look_up() -> Addresses:
            found = self._getaddrinfo(asked, None, socket.AF_UNSPEC, socket.SOCK_STREAM)
            return distinct(
                (sockaddr[0], family, sockaddr[3] if family == socket.AF_INET6 else 0)
                for family, _, _, _, sockaddr in found
            )

        def finished(addresses: Addresses | None, error: Exception | None) -> None:
            done(Answer(addresses, self._ttl) if addresses else self._failure(name, error), True)

        job = Job(look_up, finished, prompt=name in self._hosts_file)
        self._threads.add(job, client)
        return _InThread(self._threads, job)

    def close(self) -> None:
        """Give up all look-ups. One that hangs keeps its thread until it ends, and nothing waits for that."""
        self._threads.close()

    def _failure(self, name: str, error: Exception | None) -> Answer:
        match error:
            case None:
                return Answer((), self._negative_ttl, detail=f"{name}: no address")
            case socket.gaierror():
                return Answer((), self._negative_ttl, detail=f"{name}: {error.strerror}")
        # What is our own trouble says nothing about the name.
        if isinstance(error, OSError) and error.errno in _NO_DESCRIPTOR:
            return Answer((), 0.0, errors.OutOfDescriptors, f"{name}: {error.strerror}")
        text = error.strerror if isinstance(error, OSError) else ""
        return Answer((), 0.0, errors.UpstreamError, f"{name}: {text or error}")


class _InThread:
    """A look-up that has a thread, or waits for one."""

    __slots__ = ("_job", "_threads")

    def __init__(self, threads: LookupThreads, job: Job[Addresses]) -> None:
        self._threads = threads
        self._job = job

    def join(self, client: str) -> None:
        """As `UnderWay` says."""
        self._threads.join(self._job, client)

    def give_up(self) -> bool:
        """As `UnderWay` says."""
        return self._threads.withdraw(self._job)
