"""Accept-Language in short (RFC 9110 section 12.5.4): how many languages, and which, tells people apart."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from twistedproxy.http.grammar import list_members

_LONGEST: Final = 256
_RANGE: Final = re.compile(rb"(\*|[A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8})*)(?:[ \t]*;[ \t]*[qQ]=([01](?:\.[0-9]{0,3})?))?")


@lru_cache(maxsize=1024)
def first_language(value: bytes) -> bytes:
    """The language range that ``value`` likes best, without weight; ``*`` when it has none."""
    best, weight = b"*", 0.0
    for member in list_members((value[:_LONGEST],)):
        match = _RANGE.fullmatch(member)
        if match is not None and (liked := float(match[2] or 1)) > weight:
            best, weight = match[1], liked
    return best


def primary_language(value: bytes) -> bytes:
    """The same without script and region: ``de`` for ``de-CH``."""
    return first_language(value).partition(b"-")[0]


REDUCED: Final[Mapping[str, Callable[[bytes], bytes]]] = MappingProxyType(
    {"first": first_language, "language": primary_language}
)
"""What the words of ``privacy.accept_language`` do."""
