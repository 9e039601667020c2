"""Distinguished names (RFC 4514): a value put into one, and the value that one begins with."""

from __future__ import annotations

import re
from typing import Final

_SAFE: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")

# section 3: an attribute's type, a sign of equality, and a value up to the first separator that is not escaped, or to
# the spaces before it that are not.
_FIRST: Final = re.compile(r"[A-Za-z0-9.-]+ *= *((?: *(?:[^\\,+; ]|\\.))*)", re.DOTALL)
_ESCAPED: Final = re.compile(rb"\\([0-9a-fA-F]{2})|\\(.)", re.DOTALL)


def escaped(text: str) -> str:
    """``text`` as a value in which nothing has a meaning: all but letters and digits by numbers (section 2.4)."""
    return "".join(chr(one) if one in _SAFE else f"\\{one:02x}" for one in text.encode())


def first_value(dn: str) -> str:
    """The value of the first part; nothing where that cannot be read."""
    match = _FIRST.match(dn)
    if match is None or match[1].startswith("#"):
        return ""
    return _ESCAPED.sub(_unescape, match[1].encode()).decode("utf-8", "replace")


def _unescape(match: re.Match[bytes]) -> bytes:
    return bytes.fromhex(match[1].decode("ascii")) if match[1] else match[2]
