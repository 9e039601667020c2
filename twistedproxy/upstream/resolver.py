"""From host to addresses: a cache, and those who wait, in front of whoever knows.

Theory of operation. All who ask for a name while its look-up is under way wait for that one, and each answer is kept
for as long as it holds. That a name does not exist is remembered too. Where the answers come from, the system's own
resolver or name servers, is a `Source`'s to know. A look-up that takes too long fails for those who wait; it may go on,
and then its late answer is kept for those who ask again.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from math import inf
from typing import Final

from twisted.internet.defer import Deferred, fail, succeed

from twistedproxy import errors
from twistedproxy.deadlines import Deadlines
from twistedproxy.record.statistics import LookupTally
from twistedproxy.upstream.answers import Addresses as Addresses
from twistedproxy.upstream.answers import Answer, Source, UnderWay
from twistedproxy.upstream.literals import read_literal
from twistedproxy.upstream.special_names import special_answer

_NAME: Final = re.compile(r"[\x21-\x7e]{1,254}")


class _Lookup:
    """A look-up under way and those who wait for it."""

    __slots__ = ("name", "timed_out", "under_way", "waiters")

    def __init__(self, name: str) -> None:
        self.name = name
        self.timed_out = False
        self.under_way: UnderWay | None = None
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
        self.resolver.timed_out(self.lookup)
        self.result.errback(errors.NameTimeout(f"{self.lookup.name}: no answer in {self.resolver.timeout:g} s"))

    def _cancelled(self, _: Deferred[Addresses]) -> None:
        self.resolver.leave(self)


class Resolver:
    """Looks up hosts at ``source``; see the head of the module.

    ``cache_size`` is a number of names, ``timeout`` is how long anybody waits, in seconds. ``deadlines`` tells the time
    and watches the timeouts. ``tally`` counts, also for those who come after this one.
    """

    def __init__(
        self,
        source: Source,
        *,
        cache_size: int,
        timeout: float,
        deadlines: Deadlines,
        tally: LookupTally | None = None,
    ) -> None:
        self.timeout = timeout
        self.tally = tally or LookupTally()
        self._source = source
        self._cache_size = cache_size
        self._deadlines = deadlines
        self._seconds = self._deadlines.seconds
        self._cache: OrderedDict[str, Answer] = OrderedDict()
        self._lookups: dict[str, _Lookup] = {}
        self._closed = False
        self._retired: Callable[[Resolver], None] | None = None

    def __repr__(self) -> str:
        return f"<Resolver cached={len(self._cache)} under way={len(self._lookups)} {self._source!r}>"

    @property
    def lookups(self) -> int:
        """Look-ups that are under way, or wait for their turn."""
        return len(self._lookups)

    @property
    def names_kept(self) -> int:
        """How many names are in the cache, also those whose time is over."""
        return len(self._cache)

    def cached(self, host: str) -> Addresses | None:
        """The addresses of ``host`` if they are known now, in the order to try them in; else None."""
        answer = self._cache.get(host)
        if answer is None:
            literal = read_literal(host)
            if literal is not None:
                return (literal,)
            host = host.lower()
            answer = self._cache.get(host)
            if answer is None:
                special = special_answer(host)
                return (special.addresses or None) if special is not None else None
        if answer.expires <= self._seconds():
            return None
        self._cache.move_to_end(host)
        return answer.addresses or None

    def resolve(self, host: str, client: str = "") -> Deferred[Addresses]:
        """Look up ``host`` on behalf of ``client``, any text that tells clients apart.

        Fails with `NameNotFound`, `NameServersFailed`, `NameTimeout` or `OutOfDescriptors`. Cancelling it leaves the
        look-up to the others who wait for it.
        """
        literal = read_literal(host)
        if literal is not None:
            return succeed((literal,))
        name = host.lower()
        answer = self._cache.get(name)
        if answer is not None and answer.expires > self._seconds():
            self._cache.move_to_end(name)
            return _fired(answer)
        if _NAME.fullmatch(name) is None:
            return fail(errors.NameNotFound(f"{name[:64]!r} is not a name"))
        answer = special_answer(name)
        if answer is not None:
            return _fired(answer)
        if self._closed:
            return fail(errors.UpstreamError("this proxy is stopping"))
        return self._wait_for(name, client)

    def retire(self, gone: Callable[[Resolver], None]) -> None:
        """Another one is asked from now on: close when the last look-up under way is over, and call ``gone`` then."""
        self._retired = gone
        self._end_if_retired()

    def close(self) -> None:
        """Give up all look-ups."""
        self._closed = True
        self._source.close()
        lookups = list(self._lookups.values())
        self._lookups.clear()
        for lookup in lookups:
            self._settle(lookup, Answer((), 0.0, errors.UpstreamError, "this proxy is stopping"))

    def leave(self, waiter: _Waiter) -> None:
        """Let a waiter go; a look-up that nobody waits for is given up where that can be done."""
        lookup = waiter.lookup
        self._deadlines.forget(waiter)
        lookup.waiters.discard(waiter)
        if not lookup.waiters and lookup.under_way is not None and lookup.under_way.give_up():
            del self._lookups[lookup.name]
            self._end_if_retired()

    def timed_out(self, lookup: _Lookup) -> None:
        """Somebody has waited too long for ``lookup``."""
        if not lookup.timed_out:
            lookup.timed_out = True
            self.tally.failed(errors.NameTimeout.reason)

    def _end_if_retired(self) -> None:
        if self._retired is not None and not self._lookups and not self._closed:
            self.close()
            self._retired(self)

    def _wait_for(self, name: str, client: str) -> Deferred[Addresses]:
        lookup = self._lookups.get(name)
        if lookup is None:
            lookup = self._lookups[name] = _Lookup(name)
            waiter = self._new_waiter(lookup)
            self.tally.made += 1
            self._begin(lookup, client)
        else:
            waiter = self._new_waiter(lookup)
            if lookup.under_way is not None:
                lookup.under_way.join(client)
        return waiter.result

    def _new_waiter(self, lookup: _Lookup) -> _Waiter:
        waiter = _Waiter(self, lookup)
        lookup.waiters.add(waiter)
        self._deadlines.expire_in(waiter, self.timeout)
        return waiter

    def _begin(self, lookup: _Lookup, client: str) -> None:
        def done(answer: Answer, is_all: bool) -> None:
            self._keep(lookup.name, answer)
            if is_all:
                del self._lookups[lookup.name]
                if not (answer.addresses or lookup.timed_out):
                    self.tally.failed(answer.error.reason)
            self._settle(lookup, answer)
            if is_all:
                self._end_if_retired()

        lookup.under_way = self._source.begin(lookup.name, client, done)

    def _keep(self, name: str, answer: Answer) -> None:
        if answer.ttl <= 0:
            return
        answer.expires = self._seconds() + answer.ttl
        self._cache[name] = answer
        self._cache.move_to_end(name)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)

    def _settle(self, lookup: _Lookup, answer: Answer) -> None:
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


def _fired(answer: Answer) -> Deferred[Addresses]:
    return succeed(answer.addresses) if answer.addresses else fail(answer.error(answer.detail))
