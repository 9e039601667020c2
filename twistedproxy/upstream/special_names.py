"""Names that mean something without anybody being asked (RFC 6761)."""

from __future__ import annotations

import socket
from typing import Final

from twistedproxy.upstream.answers import Answer
from twistedproxy.upstream.literals import ResolvedAddress, read_literal

LOOPBACK: Final = Answer(
    (ResolvedAddress("127.0.0.1", socket.AF_INET), ResolvedAddress("::1", socket.AF_INET6)), ttl=0.0
)
"""Of ``localhost``, and all below it."""


def special_answer(name: str) -> Answer | None:
    """What ``name``, in lower case, means by itself; None for names that have to be looked up.

    ``localhost`` is this machine (RFC 6761 section 6.3), ``invalid`` does not exist (section 6.4), and ``onion`` is
    Tor's, which no name server knows and none must hear of (RFC 7686).
    """
    match _last_label(name):
        case "localhost":
            return LOOPBACK
        case "invalid":
            return Answer((), 0.0, detail=f"{name}: no name in .invalid exists")
        case "onion":
            return Answer((), 0.0, detail=f"{name}: names in .onion are not looked up (RFC 7686)")
    return None


def known_addresses(host: str) -> tuple[ResolvedAddress, ...]:
    """What ``host`` leads to, where that is known without anybody being asked: it is an address, or special."""
    literal = read_literal(host)
    if literal is not None:
        return (literal,)
    special = special_answer(host.lower())
    return special.addresses if special is not None else ()


def is_local(name: str) -> bool:
    """Whether ``name`` is one of the local link's (RFC 6762), that name servers should not hear of."""
    return _last_label(name) == "local"


def _last_label(name: str) -> str:
    return name.removesuffix(".").rpartition(".")[2]
