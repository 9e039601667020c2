"""Names as lists have them, in the one spelling that they are compared in.

That is the spelling of DNS: A-labels in lower case without a dot at the end (RFC 5890 section 2.3.2.1), and addresses
in their shortest form (RFC 5952). Lists are written by anybody, so that nothing here raises.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import idna

LONGEST: Final = 253
"""Bytes that a name has at most (RFC 1035 section 2.3.4, without the dots at its ends)."""

# What host names are made of in practice: underscores too, and hyphens wherever they like.
LABEL: Final = rb"[a-z0-9_-]{1,63}"
_NAME: Final = re.compile(rb"(?:%b\.)*%b" % (LABEL, LABEL))
# Up to what inet_aton reads: the last label is a number.
_NUMERIC: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_DIGITS: Final = frozenset("0123456789")
_BYTE_DIGITS: Final = frozenset(b"%d" % digit for digit in range(10))
# Bytes are searched for a number much faster than for other bytes.
_COLON: Final = ord(":")
_PARTS: Final = re.compile(r"0x[0-9a-f]{0,8}|[0-9]{1,11}")


def listed_name(text: bytes) -> bytes | None:
    """The name or address that ``text`` is; None when it is neither."""
    name = text.removesuffix(b".")
    if not name or len(name) > 4 * LONGEST:
        return None
    if not name.isascii():
        return _in_ascii(name)
    name = name.lower()
    if b":" in name or name.startswith(b"["):
        return _ipv6(name)
    if len(name) > LONGEST or _NAME.fullmatch(name) is None:
        return None
    if _NUMERIC.fullmatch(name.decode("ascii")):
        address = dotted(name.decode("ascii"))
        return address.encode("ascii") if address else None
    return name


def asked_name(host: str) -> str:
    """The spelling in which lists would have ``host``, that somebody asks for."""
    name = host.lower().removesuffix(".")
    if ":" in name:
        found = _ipv6(name.encode("ascii", "replace"))
        return found.decode("ascii") if found else name
    if name[-1:] in _DIGITS or "0x" in name:
        return dotted(name) or name
    return name


def dotted(text: str) -> str:
    """The IPv4 address that ``text`` spells in whatever way inet_aton reads, in dotted decimal; empty when none."""
    parts = text.split(".")
    if len(parts) > 4 or not all(map(_PARTS.fullmatch, parts)):
        return ""
    try:
        numbers = [_number(part) for part in parts]
    except ValueError:
        return ""
    *bytes_before, last = numbers
    room = 4 - len(bytes_before)
    if any(number > 255 for number in bytes_before) or last >= 256**room:
        return ""
    packed = bytes(bytes_before) + last.to_bytes(room, "big")
    return ".".join(map(str, packed))


def is_address(name: bytes) -> bool:
    """Whether ``name``, which `listed_name` gave, is an IP address."""
    return _COLON in name or (name[-1:] in _BYTE_DIGITS and name.replace(b".", b"").isdigit())


def _number(part: str) -> int:
    if part.startswith("0x"):
        return int(part[2:] or "0", 16)
    return int(part, 8) if part.startswith("0") and len(part) > 1 else int(part)


def _ipv6(name: bytes) -> bytes | None:
    text = name.decode("ascii", "replace").removeprefix("[").removesuffix("]")
    try:
        address = ipaddress.IPv6Address(text.partition("%")[0])
    except ValueError:
        return None
    return str(address.ipv4_mapped or address).encode("ascii")


def _in_ascii(name: bytes) -> bytes | None:
    try:
        ascii_name = idna.encode(name.decode("utf-8"), uts46=True)
    except (idna.IDNAError, UnicodeError):
        return None
    # A full stop of another script may have become the last dot.
    return listed_name(ascii_name) if ascii_name.isascii() else None
