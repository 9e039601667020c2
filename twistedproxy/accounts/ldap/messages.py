"""The messages of LDAP (RFC 4511 section 4): those that are sent, as bytes, and those that come, taken apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from twistedproxy.accounts.ldap.ber import (
    BOOLEAN,
    ENUMERATED,
    OCTETS,
    SEQUENCE,
    SET,
    Malformed,
    element,
    elements,
    integer,
    number,
    octets,
)

BASE: Final = 0
SUBTREE: Final = 2
"""Scopes of a search: the entry itself, or all below it too."""

SUCCESS: Final = 0
SIZE_LIMIT: Final = 4
NO_SUCH_OBJECT: Final = 32
INVALID_DN: Final = 34
INAPPROPRIATE_AUTHENTICATION: Final = 48
INVALID_CREDENTIALS: Final = 49
"""Result codes (appendix A)."""

START_TLS: Final = b"1.3.6.1.4.1.1466.20037"
"""The name of the extended operation (section 4.14)."""

BIND_RESPONSE: Final = 0x61
SEARCH_ENTRY: Final = 0x64
SEARCH_DONE: Final = 0x65
SEARCH_REFERENCE: Final = 0x73
EXTENDED_RESPONSE: Final = 0x78

_BIND, _UNBIND, _SEARCH, _EXTENDED = 0x60, 0x42, 0x63, 0x77
_PASSWORD: Final = 0x80
_RESULTS: Final = (BIND_RESPONSE, SEARCH_DONE, EXTENDED_RESPONSE)


class Entry(NamedTuple):
    """An entry that a search has found. ``attributes`` are by their names in lower case (RFC 4512 section 2.5)."""

    dn: str
    attributes: Mapping[str, Sequence[bytes]]


class Result(NamedTuple):
    """The end of an operation, with the directory's own words on it."""

    operation: int
    code: int
    words: str


class Reference(NamedTuple):
    """Where else one could search."""


Message = Entry | Result | Reference


def bind_request(dn: str, password: bytes) -> bytes:
    """Be ``dn`` from now on (section 4.2)."""
    return element(_BIND, integer(3), octets(dn.encode()), octets(password, _PASSWORD))


def search_request(
    base: str, scope: int, wanted: bytes, attributes: Sequence[str], *, most: int, seconds: int
) -> bytes:
    """Find ``most`` entries that fit the encoded filter ``wanted`` (section 4.5). No alias is followed."""
    return element(
        _SEARCH,
        octets(base.encode()),
        integer(scope, ENUMERATED),
        integer(0, ENUMERATED),
        integer(most),
        integer(seconds),
        element(BOOLEAN, b"\0"),
        wanted,
        element(SEQUENCE, *(octets(one.encode()) for one in attributes)),
    )


def extended_request(name: bytes) -> bytes:
    """Do what ``name`` stands for (section 4.12)."""
    return element(_EXTENDED, octets(name, 0x80))


UNBIND_REQUEST: Final = element(_UNBIND)
"""The last one (section 4.3)."""


def message(identifier: int, operation: bytes) -> bytes:
    """A request as it is sent (section 4.1.1)."""
    return element(SEQUENCE, integer(identifier), operation)


def parse_message(content: bytes) -> tuple[int, Message]:
    """The number of the request that it answers, and what it says. Raises `Malformed`.

    ``content`` is that of the outermost sequence.
    """
    parts = list(elements(content))
    if len(parts) < 2 or parts[0][0] != 0x02:
        raise Malformed("no number of a message")
    identifier = number(parts[0][1])
    tag, operation = parts[1]
    if tag == SEARCH_ENTRY:
        return identifier, _entry(operation)
    if tag == SEARCH_REFERENCE:
        return identifier, Reference()
    if tag in _RESULTS:
        return identifier, _result(tag, operation)
    raise Malformed(f"an operation of the kind {tag:#x}")


def _result(tag: int, content: bytes) -> Result:
    match list(elements(content)):
        case [(0x0A, code), (0x04, _), (0x04, words), *_]:
            return Result(tag, number(code), words.decode("utf-8", "replace"))
    raise Malformed("a result without its parts")


def _entry(content: bytes) -> Entry:
    match list(elements(content)):
        case [(0x04, dn), (0x30, listed)]:
            attributes: dict[str, list[bytes]] = {}
            for tag, one in elements(listed):
                match list(elements(one)) if tag == SEQUENCE else []:
                    case [(0x04, name), (found, values)] if found == SET:
                        texts = [value for kind, value in elements(values) if kind == OCTETS]
                        attributes.setdefault(name.decode("utf-8", "replace").lower(), []).extend(texts)
                    case _:
                        raise Malformed("an attribute without its parts")
            return Entry(dn.decode("utf-8", "replace"), attributes)
    raise Malformed("an entry without its parts")
