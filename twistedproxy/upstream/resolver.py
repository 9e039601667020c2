"""From host to addresses: the system's own resolver in threads, behind a cache.

Theory of operation. ``getaddrinfo`` knows the hosts file, the search domains and the order of addresses that
this machine is set up for, but it blocks and it tells no time to live. So it runs in threads, each answer is
kept for a fixed time, and all who ask for a name while its look-up is under way wait for that one. A look-up
that takes too long fails for those who wait, and goes on: its late answer is kept for those who ask again. A
name that does not exist is remembered too, for a shorter time.
"""

from __future__ import annotations

import errno
import re
import socket
from collections import OrderedDict
from collections.abc import Callable
from math import inf
from typing import Any, Final

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

from twistedproxy import errors
from twistedproxy.deadlines import Deadlines
from twistedproxy.upstream.hosts_file import HostsFile
from twistedproxy.upstream.literals import ResolvedAddress, canonical, read_literal
from twistedproxy.upstream.lookup_threads import Job, LookupThreads

Addresses = tuple[ResolvedAddress, ...]
GetAddrInfo = Callable[[bytes, None, int, int], list[tuple[Any, ...]]]
"""``socket.getaddrinfo``, or what stands for it, called with host, port, family and type."""

MOST_ADDRESSES: Final = 16
"""How many addresses of a name are tried at most: an answer may hold hundreds."""

_NAME: Final = re.compile(r"[\x21-\x7e]{1,254}")
_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)


class _Answer:
    """What a look-up brought: addresses, or none and the error to raise."""

    __slots__ = ("addresses", "detail", "error", "expires")

    def __init__(self, addresses: Addresses, error: type[errors.UpstreamError], detail: str = "") -> None:
        self.addresses = addresses
        self.error = error
        self.detail = detail
        self.expires = inf


class _Lookup:
    """A look-up under way and those who wait for it."""

    __slots__ = ("job", "name", "waiters")

    def __init__(self, name: str) -> None:
        self.name = name
        self.job: Job[Addresses]
        self.waiters: set[_Waiter] = set()


class _Waiter:
    """One who waits for a look-up, until a deadline."""

    __slots__ = ("deadline", "deadline_bucket", "lookup", "resolver", "result")

    def __init__(self, resolver: Resolver, lookup: _Lookup) -> None:
        self.deadline = inf
        self.deadline_bucket = 0
        self.resolver = resolver
        self.lookup = lookup
        self.result: Deferred[Addresses] = Deferred(self._cancelled)

    def deadline_passed(self) -> None:
        self.resolver.leave(self)
        self.result.errback(errors.NameTimeout(f"{self.lookup.name}: no answer in {self.resolver.timeout:g} s"))

    def _cancelled(self, _: Deferred[Addresses]) -> None:
        self.resolver.leave(self)


class Resolver:
    """Looks up hosts; see the head of the module.

    ``cache_size`` is a number of names; ``ttl``, ``negative_ttl`` and ``timeout`` are seconds; at most
    ``threads`` look-ups run at a time. ``deadlines`` tells the time and watches the timeouts, and
    ``getaddrinfo`` and ``hosts_file`` take the place of the system's.
    """

    def __init__(
        self,
        reactor: IReactorFromThreads,
        *,
        cache_size: int,
        ttl: float,
        negative_ttl: float,
        timeout: float,
        threads: int,
        deadlines: Deadlines | None = None,
        getaddrinfo: GetAddrInfo = socket.getaddrinfo,
        hosts_file: HostsFile | None = None,
    ) -> None:
        self.timeout = timeout
        self._cache_size = cache_size
        self._ttl = ttl
        self._negative_ttl = negative_ttl
        self._getaddrinfo = getaddrinfo
        self._hosts_file = hosts_file or HostsFile()
        self._deadlines = deadlines or Deadlines(IReactorTime(reactor))
        self._seconds = self._deadlines.seconds
        self._threads = LookupThreads(reactor, threads, "resolver")
        self._cache: OrderedDict[str, _Answer] = OrderedDict()
        self._lookups: dict[str, _Lookup] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<Resolver cached={len(self._cache)} under way={len(self._lookups)} {self._threads!r}>"

    @property
    def lookups(self) -> int:
        """Look-ups that are under way, or wait for a thread."""
        return len(self._lookups)

    def cached(self, host: str) -> Addresses | None:
        """The addresses of ``host`` if they are known now, in the order to try them in; else None."""
        answer = self._cache.get(host)
        if answer is None:
            literal = read_literal(host)
            if literal is not None:
                return (literal,)
            host = _canonical_name(host)
            answer = self._cache.get(host)
        if answer is None or answer.expires <= self._seconds():
            return None
        self._cache.move_to_end(host)
        return answer.addresses or None

    def resolve(self, host: str, client: str = "") -> Deferred[Addresses]:
        """Look up ``host`` on behalf of ``client``, any text that tells clients apart.

        Fails with `NameNotFound`, `NameTimeout` or `OutOfDescriptors`. Cancelling it leaves the look-up to
        the others who wait for it.
        """
        literal = read_literal(host)
        if literal is not None:
            return succeed((literal,))
        name = _canonical_name(host)
        answer = self._cache.get(name)
        if answer is not None and answer.expires > self._seconds():
            self._cache.move_to_end(name)
            if answer.addresses:
                return succeed(answer.addresses)
            return fail(answer.error(answer.detail))
        if _NAME.fullmatch(name) is None:
            return fail(errors.NameNotFound(f"{name[:64]!r} is not a name"))
        if self._closed:
            return fail(errors.UpstreamError("this proxy is stopping"))
        return self._wait_for(name, client)

    def close(self) -> None:
        """Give up all look-ups. One that hangs keeps its thread until it ends, and nothing waits for that."""
        self._closed = True
        self._threads.close()
        lookups = list(self._lookups.values())
        self._lookups.clear()
        for lookup in lookups:
            self._settle(lookup, _Answer((), errors.UpstreamError, "this proxy is stopping"))

    def leave(self, waiter: _Waiter) -> None:
        """Let a waiter go; a look-up that nobody waits for and that has not begun is given up."""
        lookup = waiter.lookup
        self._deadlines.forget(waiter)
        lookup.waiters.discard(waiter)
        if not lookup.waiters and self._threads.withdraw(lookup.job):
            del self._lookups[lookup.name]

    def _wait_for(self, name: str, client: str) -> Deferred[Addresses]:
        lookup = self._lookups.get(name)
        if lookup is None:
            lookup = self._lookups[name] = _Lookup(name)
            waiter = self._new_waiter(lookup)
            self._begin(lookup, client)
        else:
            waiter = self._new_waiter(lookup)
            self._threads.join(lookup.job, client)
        return waiter.result

    def _new_waiter(self, lookup: _Lookup) -> _Waiter:
        waiter = _Waiter(self, lookup)
        lookup.waiters.add(waiter)
        self._deadlines.expire_in(waiter, self.timeout)
        return waiter

    def _begin(self, lookup: _Lookup, client: str) -> None:
        name = lookup.name.encode("ascii")

        def look_up() -> Addresses:
            return _distinct(self._getaddrinfo(name, None, socket.AF_UNSPEC, socket.SOCK_STREAM))

        def done(addresses: Addresses | None, error: Exception | None) -> None:
            del self._lookups[lookup.name]
            answer = _Answer(addresses, errors.NameNotFound) if addresses else _failure(lookup.name, error)
            self._keep(lookup.name, answer)
            self._settle(lookup, answer)

        lookup.job = Job(look_up, done, prompt=lookup.name in self._hosts_file)
        self._threads.add(lookup.job, client)

    def _keep(self, name: str, answer: _Answer) -> None:
        if answer.addresses:
            answer.expires = self._seconds() + self._ttl
        elif answer.error is errors.NameNotFound:
            answer.expires = self._seconds() + self._negative_ttl
        else:
            # It says nothing about the name.
            return
        self._cache[name] = answer
        self._cache.move_to_end(name)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)

    def _settle(self, lookup: _Lookup, answer: _Answer) -> None:
        waiters = list(lookup.waiters)
        lookup.waiters.clear()
        for waiter in waiters:
            self._deadlines.forget(waiter)
        for waiter in waiters:
            # One waiter's callbacks may have cancelled another.
            if waiter.result.called:
                continue
            if answer.addresses:
                waiter.result.callback(answer.addresses)
            else:
                waiter.result.errback(answer.error(answer.detail))


def _canonical_name(host: str) -> str:
    """One spelling a name. A last dot stays, since it turns the search domains off, but for localhost's."""
    name = host.lower()
    return "localhost" if name == "localhost." else name


def _distinct(found: list[tuple[Any, ...]]) -> Addresses:
    """The addresses that getaddrinfo found, each once, in its order."""
    addresses: dict[ResolvedAddress, None] = {}
    for family, _, _, _, sockaddr in found:
        if family in (socket.AF_INET, socket.AF_INET6) and len(addresses) < MOST_ADDRESSES:
            scope_id = sockaddr[3] if family == socket.AF_INET6 else 0
            addresses[canonical(sockaddr[0], family, scope_id)] = None
    return tuple(addresses)


def _failure(name: str, error: Exception | None) -> _Answer:
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror):
        if error.errno in _NO_DESCRIPTOR:
            return _Answer((), errors.OutOfDescriptors, f"{name}: {error.strerror}")
        return _Answer((), errors.UpstreamError, f"{name}: {error.strerror or error}")
    if isinstance(error, socket.gaierror):
        return _Answer((), errors.NameNotFound, f"{name}: {error.strerror}")
    if error is None:
        return _Answer((), errors.NameNotFound, f"{name}: no address")
    return _Answer((), errors.UpstreamError, f"{name}: {error}")
