"""The look-up of one name: for addresses of both families at once.

Theory of operation. When one family has brought addresses, the other one gets the Resolution Delay of RFC 8305 section
3 to bring its own; then those who wait get what there is, and the rest comes later, for those who ask again. A family
that fails, or that has nothing, does not fail the name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall

from twistedproxy import errors
from twistedproxy.upstream.address_order import OwnAddress, in_order
from twistedproxy.upstream.answers import FAILURE_TTL, Answer, Done
from twistedproxy.upstream.dns.asking import Asking, Found, What
from twistedproxy.upstream.dns.messages import AAAA, A
from twistedproxy.upstream.fairness import Queued

RESOLUTION_DELAY: Final = 0.05
"""How long one family waits for the other, in seconds."""

Ask = Callable[[str, int, Callable[[Found], None]], Asking]
"""Makes what asks for a name's addresses of a type."""


class Holding:
    """How long answers hold, in seconds: what servers say is kept within these."""

    __slots__ = ("least", "most", "negative")

    def __init__(self, least: float, most: float, negative: float) -> None:
        self.least = least
        self.most = most
        self.negative = negative

    def found(self, ttl: float) -> float:
        """Of addresses. Who sets the least means it, whatever the most is."""
        return max(self.least, min(ttl, self.most))


class NameLookup(Queued):
    """See the head of the module. ``over`` is called at its end, before ``done`` is called for the last time."""

    __slots__ = ("_askings", "_call", "_done", "_found", "_holding", "_over", "_own_address", "_reactor", "name")

    def __init__(
        self,
        reactor: Any,
        name: str,
        ask: Ask,
        holding: Holding,
        done: Done,
        over: Callable[[NameLookup], None],
        own_address: OwnAddress,
    ) -> None:
        super().__init__()
        self.name = name
        self._reactor = reactor
        self._holding = holding
        self._done: Done | None = done
        self._over = over
        self._own_address = own_address
        self._found: dict[int, Found] = {}
        self._call: IDelayedCall | None = None
        self._askings = [ask(name, type, self._taking(type)) for type in (AAAA, A)]

    def __repr__(self) -> str:
        return f"<NameLookup {self.name} found={sorted(self._found)}>"

    @property
    def is_over(self) -> bool:
        """Whether nothing comes any more."""
        return self._done is None

    def start(self) -> None:
        """Ask for both."""
        for asking in self._askings:
            # The first may have ended everything.
            if self._done is not None:
                asking.start()

    def cancel(self) -> None:
        """Want to know no more. ``done`` is not called again, nor is ``over``."""
        self._done = None
        self._forget_delay()
        for asking in self._askings:
            asking.cancel()

    def _taking(self, type: int) -> Callable[[Found], None]:
        return lambda found: self._take(type, found)

    def _take(self, type: int, found: Found) -> None:
        done = self._done
        if done is None:
            return
        self._found[type] = found
        self._forget_delay()
        if len(self._found) == len(self._askings):
            self._done = None
            self._over(self)
            done(self._answer(), True)
        elif found.addresses:
            self._call = self._reactor.callLater(RESOLUTION_DELAY, self._waited)

    def _waited(self) -> None:
        self._call = None
        if self._done is not None:
            self._done(self._answer(), False)

    def _forget_delay(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _answer(self) -> Answer:
        """What has come so far."""
        found = [one for one in self._found.values() if one.addresses]
        if found:
            addresses = (self._found[type].addresses for type in (AAAA, A) if type in self._found)
            ttl = self._holding.found(min(one.ttl for one in found))
            return Answer(in_order(dict.fromkeys(sum(addresses, ())), self._own_address), ttl)
        by_what: dict[What, Found] = {one.what: one for one in self._found.values()}
        negative = self._holding.negative
        absent = by_what.get("no name")
        if absent is None and set(by_what) == {"no address"}:
            absent = min(self._found.values(), key=lambda one: one.ttl)
        if absent is not None:
            return Answer((), min(absent.ttl, negative), errors.NameNotFound, absent.detail)
        if "no descriptor" in by_what:
            return Answer((), 0.0, errors.OutOfDescriptors, by_what["no descriptor"].detail)
        ttl = min(FAILURE_TTL, negative)
        if "failed" in by_what:
            return Answer((), ttl, errors.NameServersFailed, by_what["failed"].detail)
        return Answer((), ttl, errors.NameTimeout, by_what["no reply"].detail)
