"""The encoding of LDAP's messages: BER, restricted to definite lengths (RFC 4511 section 5.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
OCTETS: Final = 0x04
ENUMERATED: Final = 0x0A
SEQUENCE: Final = 0x30
SET: Final = 0x31

_LONGEST_LENGTH: Final = 4
"""Bytes of a length."""


class Malformed(Exception):
    """What was received is no message of LDAP, or a larger one than is taken. The text says why."""


def element(tag: int, *contents: bytes) -> bytes:
    """An element of that tag, with ``contents`` one after the other."""
    content = b"".join(contents)
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size) + content


def integer(value: int, tag: int = INTEGER) -> bytes:
    """A number that is not negative."""
    return element(tag, value.to_bytes(value.bit_length() // 8 + 1))


def octets(value: bytes, tag: int = OCTETS) -> bytes:
    """A string."""
    return element(tag, value)


def whole_length(buffer: bytes | bytearray, largest: int) -> int:
    """How many bytes the element takes up that ``buffer`` begins with; 0 while that cannot be told. Raises `Malformed`.

    No more than ``largest`` are taken.
    """
    if len(buffer) < 2:
        return 0
    if buffer[0] & 0x1F == 0x1F:
        raise Malformed("a tag of several bytes")
    first = buffer[1]
    head, length = 2, first
    if first & 0x80:
        size = first & 0x7F
        if not 1 <= size <= _LONGEST_LENGTH:
            raise Malformed("a length that is not definite, or too long")
        head += size
        if len(buffer) < head:
            return 0
        length = int.from_bytes(buffer[2:head])
    if head + length > largest:
        raise Malformed(f"more than {largest} bytes")
    return head + length


def elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The tag and the content of each element that ``content`` consists of. Raises `Malformed`."""
    position = 0
    while position < len(content):
        rest = content[position : position + 2 + _LONGEST_LENGTH]
        length = whole_length(rest, len(content) - position)
        if not length:
            raise Malformed("an element that is cut off")
        size = rest[1] & 0x7F if rest[1] & 0x80 else 0
        yield content[position], content[position + 2 + size : position + length]
        position += length


def number(content: bytes) -> int:
    """The number in the content of an INTEGER or ENUMERATED. Raises `Malformed`."""
    if not 1 <= len(content) <= 4:
        raise Malformed("a number without digits, or with too many")
    return int.from_bytes(content, signed=True)
