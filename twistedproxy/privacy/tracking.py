"""Tracking parameters, and URLs without them."""

from __future__ import annotations

from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from twistedproxy.access.hosts import HostSet
from twistedproxy.privacy.tracking_list import HOSTS_THAT_NEED_THEM, NAMES, PREFIXES, SIGNATURES

_NAMES: Final = frozenset(name.encode("ascii") for name in NAMES)
_PREFIXES: Final = tuple(prefix.encode("ascii") for prefix in PREFIXES)
_SIGNATURES: Final = frozenset(name.encode("ascii") for name in SIGNATURES)
_MOST_PARAMETERS: Final = 1000


@lru_cache(maxsize=1)
def _needing() -> HostSet:
    return HostSet(HOSTS_THAT_NEED_THEM)


@lru_cache(maxsize=1024)
def _needs_them(host: str) -> bool:
    return host in _needing()


def without_tracking(path: bytes, host: str) -> bytes:
    """``path``, a path with its query, at ``host``, without the tracking parameters that are in the query.

    What stays keeps its order and its encoding. A query that is signed is left alone, and so is one of a host that
    needs them, or with more than a thousand parameters.
    """
    before, mark, query = path.partition(b"?")
    if not query or query.count(b"&") >= _MOST_PARAMETERS:
        return path
    names = [parameter.partition(b"=")[0] for parameter in query.lower().split(b"&")]
    if b"%" in query:
        names = [unquote_to_bytes(name).lower() for name in names]
    tracks = [name in _NAMES or name.startswith(_PREFIXES) for name in names]
    if True not in tracks or not _SIGNATURES.isdisjoint(names) or _needs_them(host):
        return path
    kept = [parameter for parameter, gone in zip(query.split(b"&"), tracks, strict=True) if not gone]
    return before + mark + b"&".join(kept) if kept else before
