"""Search filters (RFC 4515), with places for what clients say: that is put in after the filter has been taken apart.

So nothing in it can be taken for a part of the filter, and nothing has to be escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from twistedproxy.accounts.ldap.ber import SEQUENCE, element, octets

DEEPEST: Final = 20
"""Filters within filters."""

_AND, _OR, _NOT = 0xA0, 0xA1, 0xA2
_EQUAL, _SUBSTRINGS, _EXTENSIBLE, _PRESENT = 0xA3, 0xA4, 0xA9, 0x87
_ORDERS: Final = {"=": _EQUAL, ">=": 0xA5, "<=": 0xA6, "~=": 0xA8}

# attr filtertype assertionvalue, or attr [":dn"] [":" matchingrule] ":=" assertionvalue
_ITEM: Final = re.compile(
    r"(?P<attribute>[A-Za-z0-9.;-]*)(?:(?P<dn>:dn)?(?::(?P<rule>[A-Za-z0-9.-]+))?(?P<extensible>:=)|(?P<order>[><~]?=))"
    r"(?P<value>[^()]*)"
)
_PIECE: Final = re.compile(r"\\([0-9a-fA-F]{2})|(\{[a-z]+\})|([^\\{}]+)")

Values = Mapping[str, bytes]
"""What is put in, by its place: ``{name}`` and the like."""

Piece = bytes | str
"""A piece of a value: bytes, or a place."""


class FilterError(ValueError):
    """It is no filter. The text says where it is wrong."""


class Filter:
    """The filter ``text``. Raises `FilterError`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._root = self._read(0)
        if self._position != len(text):
            raise self._wrong()

    def __repr__(self) -> str:
        return f"<Filter {self._text}>"

    def encoded(self, values: Values) -> bytes:
        """The filter as a message has it, with ``values`` in their places."""
        return self._root.encoded(values)

    def _wrong(self) -> FilterError:
        return FilterError(f"there is no filter of RFC 4515 at character {self._position + 1} of {self._text}")

    def _expect(self, character: str) -> None:
        if not self._text.startswith(character, self._position):
            raise self._wrong()
        self._position += 1

    def _read(self, depth: int) -> _Node:
        if depth > DEEPEST:
            raise self._wrong()
        self._expect("(")
        sign = self._text[self._position : self._position + 1]
        node: _Node
        if sign in ("&", "|", "!") and sign:
            self._position += 1
            parts = []
            while self._text.startswith("(", self._position):
                parts.append(self._read(depth + 1))
            if sign == "!" and len(parts) != 1:
                raise self._wrong()
            node = _Set({"&": _AND, "|": _OR, "!": _NOT}[sign], parts)
        else:
            node = self._item()
        self._expect(")")
        return node

    def _item(self) -> _Node:
        match = _ITEM.match(self._text, self._position)
        if match is None:
            raise self._wrong()
        attribute = match["attribute"].encode()
        pieces = [self._pieces(part) for part in match["value"].split("*")]
        if not attribute and not (match["extensible"] and match["rule"]):
            raise self._wrong()
        self._position = match.end()
        if match["extensible"]:
            rule = (match["rule"] or "").encode()
            node: _Node = _Extensible(attribute, rule, bool(match["dn"]), pieces[0])
        elif match["order"] == "=" and len(pieces) > 1:
            node = _Substrings(attribute, pieces)
        else:
            node = _Order(_ORDERS[match["order"]], attribute, pieces[0])
        if len(pieces) > 1 and match["order"] != "=":
            raise self._wrong()
        return node

    def _pieces(self, text: str) -> list[Piece]:
        pieces: list[Piece] = []
        position = 0
        while position < len(text):
            match = _PIECE.match(text, position)
            if match is None:
                raise self._wrong()
            pieces.append(match[2] or (bytes.fromhex(match[1]) if match[1] else match[3].encode()))
            position = match.end()
        return pieces


class _Node:
    """A filter, or a part of one."""

    def encoded(self, values: Values) -> bytes:
        raise NotImplementedError


class _Set(_Node):
    def __init__(self, tag: int, parts: list[_Node]) -> None:
        self._tag = tag
        self._parts = parts

    def encoded(self, values: Values) -> bytes:
        return element(self._tag, *(part.encoded(values) for part in self._parts))


class _Order(_Node):
    def __init__(self, tag: int, attribute: bytes, value: list[Piece]) -> None:
        self._tag = tag
        self._attribute = attribute
        self._value = value

    def encoded(self, values: Values) -> bytes:
        return element(self._tag, octets(self._attribute), octets(_filled(self._value, values)))


class _Substrings(_Node):
    """What begins with the first of ``parts``, ends with the last, has the others between. Empty ones say nothing."""

    def __init__(self, attribute: bytes, parts: list[list[Piece]]) -> None:
        self._attribute = attribute
        self._parts = parts

    def encoded(self, values: Values) -> bytes:
        last = len(self._parts) - 1
        found = [
            octets(_filled(part, values), 0x80 if not number else 0x82 if number == last else 0x81)
            for number, part in enumerate(self._parts)
            if part
        ]
        if not found:
            return octets(self._attribute, _PRESENT)
        return element(_SUBSTRINGS, octets(self._attribute), element(SEQUENCE, *found))


class _Extensible(_Node):
    def __init__(self, attribute: bytes, rule: bytes, dn: bool, value: list[Piece]) -> None:
        self._attribute = attribute
        self._rule = rule
        self._dn = dn
        self._value = value

    def encoded(self, values: Values) -> bytes:
        parts = [octets(self._rule, 0x81)] if self._rule else []
        if self._attribute:
            parts.append(octets(self._attribute, 0x82))
        parts.append(octets(_filled(self._value, values), 0x83))
        if self._dn:
            parts.append(octets(b"\xff", 0x84))
        return element(_EXTENSIBLE, *parts)


def _filled(pieces: list[Piece], values: Values) -> bytes:
    return b"".join(values[piece] if isinstance(piece, str) else piece for piece in pieces)


ANY: Final = octets(b"objectClass", _PRESENT)
"""The filter that every entry fits."""
