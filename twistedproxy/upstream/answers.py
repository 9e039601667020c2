"""What a look-up brings, and what brings it: between the cache in `resolver` and where the answers come from."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from math import inf
from typing import Final, Protocol

from twistedproxy import errors
from twistedproxy.upstream.literals import ResolvedAddress, canonical

Addresses = tuple[ResolvedAddress, ...]

MOST_ADDRESSES: Final = 16
"""How many addresses of a name are tried at most: an answer may hold hundreds."""

FAILURE_TTL: Final = 1.0
"""How long it is remembered that nobody could say, in seconds: as little as RFC 9520 section 3.2 allows."""


class Answer:
    """Addresses, or none and the error to raise. ``ttl`` is how long it holds, in seconds; 0 is for now only."""

    __slots__ = ("addresses", "detail", "error", "expires", "ttl")

    def __init__(
        self,
        addresses: Addresses,
        ttl: float,
        error: type[errors.UpstreamError] = errors.NameNotFound,
        detail: str = "",
    ) -> None:
        self.addresses = addresses
        self.ttl = ttl
        self.error = error
        self.detail = detail
        self.expires = inf
        """For whoever keeps it."""

    def __repr__(self) -> str:
        what = " ".join(one.address for one in self.addresses) or f"{self.error.__name__} {self.detail!r}"
        return f"<Answer {what} ttl={self.ttl:g}>"


Done = Callable[[Answer, bool], None]
"""Called with what was found, and whether that is all: if not, it is called again."""


class UnderWay(Protocol):
    """A look-up that has begun."""

    def join(self, client: str) -> None:
        """``client`` waits for it too."""

    def give_up(self) -> bool:
        """Nobody waits any more. True when it ends here; else it goes on, since it cannot be helped."""


class Source(Protocol):
    """Where answers come from."""

    def begin(self, name: str, client: str, done: Done) -> UnderWay:
        """Look up ``name``, in lower case, on behalf of ``client``. ``done`` may be called before this returns."""

    def close(self) -> None:
        """Give up everything; no ``done`` is called any more."""


def distinct(found: Iterable[tuple[str, int, int]]) -> Addresses:
    """Addresses, families and scopes, each once and in their order, as many as are used."""
    addresses: dict[ResolvedAddress, None] = {}
    for address, family, scope_id in found:
        if family in (socket.AF_INET, socket.AF_INET6) and len(addresses) < MOST_ADDRESSES:
            addresses[canonical(address, family, scope_id)] = None
    return tuple(addresses)
