"""Dates in messages (RFC 9110 section 5.6.7)."""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache


@lru_cache(maxsize=4)
def imf_fixdate(seconds: int) -> bytes:
    """A point in time, in seconds since 1970, as IMF-fixdate; remembered, since one second has many responses."""
    return formatdate(seconds, usegmt=True).encode("ascii")
