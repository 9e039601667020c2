"""What of the page that a request comes from is told to its target (Referer, RFC 9110 section 10.1.3)."""

from __future__ import annotations

from typing import Final

from twistedproxy.http.target import Target
from twistedproxy.privacy.sites import read_place
from twistedproxy.privacy.tracking import without_tracking

PASS: Final = "pass"
ORIGIN: Final = "origin"
NONE: Final = "none"


def trimmed(referer: bytes, target: Target, policy: str, strip: bool) -> bytes | None:
    """What is left of ``referer`` towards ``target``; None when nothing is.

    ``policy`` is a word of ``privacy.referer``: ``origin`` is what browsers call strict-origin-when-cross-origin. With
    ``strip`` the page's own tracking parameters go too.
    """
    if policy == NONE:
        return None
    place = read_place(referer)
    if place is None:
        return None
    if (place.scheme, place.host, place.port) == (target.scheme, target.host, target.port):
        rest = without_tracking(place.rest, place.host) if strip else place.rest
        return place.origin + rest
    if policy != ORIGIN or (place.scheme == "https" and target.scheme == "http"):
        return None
    return place.origin + b"/"
