"""Whether an address is one of this machine's."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from twistedproxy.upstream.literals import ResolvedAddress, read_literal

_MEMO_SIZE: Final = 1024

# Addresses for documentation (RFC 5737, RFC 3849), which no machine should have.
_STRANGERS: Final[Mapping[int, ResolvedAddress]] = MappingProxyType(
    {
        socket.AF_INET: ResolvedAddress("203.0.113.1", socket.AF_INET),
        socket.AF_INET6: ResolvedAddress("2001:db8::1", socket.AF_INET6),
    }
)

# Without a descriptor nothing can be found out.
_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)
_DISCARD: Final = 9


class OwnAddresses:
    """Tells whether an address is one of this machine's, by trying to bind a socket to it.

    That costs a few system calls, so an answer holds for ``ttl`` seconds of the clock ``seconds``.
    """

    def __init__(self, seconds: Callable[[], float], ttl: float = 5.0) -> None:
        self._seconds = seconds
        self._ttl = ttl
        self._memo: dict[str, tuple[float, bool]] = {}

    def __repr__(self) -> str:
        return f"<OwnAddresses known={len(self._memo)}>"

    def __call__(self, address: str) -> bool:
        """Whether ``address``, as text, is this machine's. When that cannot be found out, it is."""
        now = self._seconds()
        known = self._memo.get(address)
        if known is not None and known[0] > now:
            return known[1]
        own = is_own_address(address)
        if len(self._memo) >= _MEMO_SIZE:
            self._memo.clear()
        self._memo[address] = (now + self._ttl, own)
        return own


def is_own_address(address: str) -> bool:
    """Whether ``address`` is this machine's, asked of the system now."""
    literal = read_literal(address)
    if literal is None:
        return False
    if literal.family == socket.AF_INET6 and literal.address.startswith("fe80:"):
        # One can only be bound together with its interface.
        candidates = [literal._replace(scope_id=index) for index, _ in socket.if_nameindex()]
    else:
        candidates = [literal]
    if not any(map(_can_bind, candidates)):
        return False
    # A system can be set up to bind to every address there is, as one that takes over from another is. Then
    # the route tells: the one to an own address begins where it ends.
    return not _can_bind(_STRANGERS[literal.family]) or any(map(_leads_back, candidates))


def _can_bind(address: ResolvedAddress) -> bool:
    try:
        with socket.socket(address.family, socket.SOCK_DGRAM) as sock:
            sock.bind(address.at(0))
    except OSError as error:
        return error.errno in _NO_DESCRIPTOR
    return True


def _leads_back(address: ResolvedAddress) -> bool:
    try:
        with socket.socket(address.family, socket.SOCK_DGRAM) as sock:
            # Nothing is sent by this.
            sock.connect(address.at(_DISCARD))
            return bool(sock.getsockname()[0] == address.address)
    except OSError as error:
        return error.errno in _NO_DESCRIPTOR
