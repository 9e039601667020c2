"""Sites, and whether a request is a third party's: to another site than that of the page that it is made for.

Theory of operation. A site is a registrable domain: a public suffix and one label more. Which suffixes are public is in
the list of that name, which comes with the library `publicsuffixlist` and is never fetched. A proxy does not know the
page. A browser says so itself over TLS (Sec-Fetch-Site); elsewhere Origin and Referer name the page, but also the one
that somebody has come from by a link, which makes nothing third: a browser marks navigations with
Upgrade-Insecure-Requests. Where nothing tells, the request is not a third party's.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from publicsuffixlist import PublicSuffixList

from twistedproxy.access.hosts import canonical_host
from twistedproxy.http.message import RequestHead
from twistedproxy.http.target import Target, parse_authority

_URL: Final = re.compile(rb"(https?|wss?)://(?:[^/?#@]*@)?([^/?#@]*)([/?][^#]*)?(?:#.*)?", re.IGNORECASE | re.DOTALL)
_LONGEST_REMEMBERED: Final = 512
_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class Place(NamedTuple):
    """What a URL names: an origin, and what stands behind it without user information and fragment."""

    scheme: str
    host: str
    port: int
    origin: bytes
    rest: bytes


def read_place(url: bytes) -> Place | None:
    """The place that the absolute ``url`` names; None when it is not one of http or WebSocket."""
    return _remembered(url) if len(url) <= _LONGEST_REMEMBERED else _read(url)


def _read(url: bytes) -> Place | None:
    match = _URL.fullmatch(url)
    if match is None:
        return None
    authority = parse_authority(match[2])
    if authority is None:
        return None
    scheme = match[1].lower().decode("ascii")
    port = authority.port or _PORTS[scheme]
    return Place(scheme, authority.host, port, match[1] + b"://" + authority.text, match[3] or b"")


# All that is on a page asks with the same Referer.
_remembered = lru_cache(maxsize=1024)(_read)


@lru_cache(maxsize=1)
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList()


def load_suffixes() -> None:
    """Read the list, if nobody has yet: that takes 50 ms, which no request should have to wait."""
    _suffixes()


@lru_cache(maxsize=4096)
def site_of(host: str) -> str:
    """The registrable domain of ``host``; itself where it has none, as an address or ``localhost``."""
    host = canonical_host(host)
    if ":" in host or host.rpartition(".")[2].isdigit():
        return host
    return _suffixes().privatesuffix(host) or host


def is_third_party(head: RequestHead, target: Target) -> bool:
    """Whether the request ``head`` for ``target`` is made for a page of another site."""
    fields = head.fields
    index = fields.index
    if b"sec-fetch-site" in index:
        # A navigation of the whole window makes its target the first party.
        return fields.first(b"sec-fetch-site") == b"cross-site" and fields.first(b"sec-fetch-dest") != b"document"
    if b"upgrade-insecure-requests" in index:
        return False
    for name in (b"origin", b"referer"):
        if name in index:
            place = read_place(fields.first(name))
            if place is not None:
                return site_of(place.host) != site_of(target.host)
    return False
