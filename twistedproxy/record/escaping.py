"""Making what strangers send safe to stand in a line of a log.

Theory of operation. Nearly every value is clean, and finding that out must cost next to nothing: deleting the
harmless bytes with ``bytes.translate`` leaves nothing of a clean value, in one pass in C. Only what is left
with something takes the slow way. ``@`` counts as not clean although it is harmless, so that the search for
userinfo costs the clean ones nothing. The slow way is linear too, with a table in place of a function call a
byte, since how often it is taken is in the hands of strangers.

Whatever is written is one line of printable ASCII without quotes or backslashes of the stranger's, and each
value is at most `LONGEST` bytes of it before they are escaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Generic, TypeVar

LONGEST: Final = 8192
"""How many bytes of one value are logged; a longer one is cut and ends in ``...``."""

_PRINTABLE = bytes(range(0x20, 0x7F))

COLUMN_CLEAN: Final = _PRINTABLE.translate(None, b' "@')
"""The bytes that need no second look in a column of a line whose columns are separated by spaces."""

QUOTED_CLEAN: Final = _PRINTABLE.translate(None, b'"\\@')
"""The bytes that need no second look between double quotes."""

QUOTED_WORD_CLEAN: Final = QUOTED_CLEAN.translate(None, b" ")
"""The same for one of several words between double quotes."""


def _escapes(template: bytes, clean: bytes) -> tuple[bytes, ...]:
    return tuple(bytes((byte,)) if byte in clean else template % byte for byte in range(256))


_COLUMN_ESCAPES = _escapes(b"%%%02X", COLUMN_CLEAN + b"@")
_QUOTED_ESCAPES = _escapes(rb"\x%02X", QUOTED_CLEAN + b"@")
_QUOTED_WORD_ESCAPES = _escapes(rb"\x%02X", QUOTED_WORD_CLEAN + b"@")

# RFC 3986 section 3.2: userinfo is all before the last "@" of the authority, which ends at "/", "?" or "#".
# Forms that are not quite URLs are met as well (CONNECT's "host:port", "http:/host"), and none of them may
# give a password away.
_USERINFO = re.compile(rb"\A((?:[A-Za-z][A-Za-z0-9+.\-]*:)?/+|)[^/?#]*@")

K = TypeVar("K", bound=str | bytes | int)
V = TypeVar("V")


def without_userinfo(url: bytes) -> bytes:
    """``url`` without a user name and password (RFC 9110 section 4.2.4)."""
    # An integer is looked for, which is six times as fast as looking for b"@".
    if 0x40 not in url:
        return url
    return _USERINFO.sub(rb"\1", url, count=1)


def shortened(value: bytes) -> bytes:
    """The first `LONGEST` bytes of ``value``, and ``...`` when there were more."""
    return value if len(value) <= LONGEST else value[:LONGEST] + b"..."


def column(value: bytes) -> bytes:
    """``value`` as a column of its own; ``-`` when empty.

    Spaces, double quotes, control and non-ASCII bytes stand as ``%XX``.
    """
    return b"".join(map(_COLUMN_ESCAPES.__getitem__, shortened(value))) or b"-"


def quoted(value: bytes) -> bytes:
    r"""``value`` to stand between double quotes; ``-`` when empty.

    Double quotes, backslashes, control and non-ASCII bytes stand as ``\xHH``.
    """
    return b"".join(map(_QUOTED_ESCAPES.__getitem__, shortened(value))) or b"-"


def quoted_word(value: bytes) -> bytes:
    """As `quoted`, and spaces are escaped too, so that the words on its either side stay what they are."""
    return b"".join(map(_QUOTED_WORD_ESCAPES.__getitem__, shortened(value))) or b"-"


class Cached(dict[K, V], Generic[K, V]):
    """The results of ``make`` for the keys seen of late: ``cached[key]`` is ``make(key)``.

    Bounded: it starts afresh after ``size`` keys and does not keep keys longer than ``longest``, since both
    are in the hands of strangers.
    """

    __slots__ = ("_longest", "_make", "_size")

    _make: Callable[[K], V]

    def __init__(self, make: Callable[[K], V], size: int = 1024, longest: int = 128) -> None:
        super().__init__()
        self._make = make
        self._size = size
        self._longest = longest

    def __missing__(self, key: K) -> V:
        value = self._make(key)
        if isinstance(key, int) or len(key) <= self._longest:
            if len(self) >= self._size:
                self.clear()
            self[key] = value
        return value
