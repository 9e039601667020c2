"""Field blocks to and from bytes (RFC 7541), over the tables of the library ``hpack``.

The library copies what is left of a block for each field that it reads, and looks through its table for each that it
writes. Its Huffman code takes time that grows with the square of a value's length: 64 KiB are half a second, and an
origin says how long its fields are. Here all of that is linear, and what is said is not Huffman-coded, which spares
most of the time for a fifth of the bytes of those fields that are not in the table.
"""

from __future__ import annotations

from typing import Any, Final

from hpack import Decoder, Encoder, NeverIndexedHeaderTuple
from hpack.exceptions import HPACKDecodingError, OversizedHeaderListError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from twistedproxy.http.message import FieldLine

_STATIC: Final = len(HeaderTable.STATIC_TABLE)
_STATIC_NAMES: Final = HeaderTable.STATIC_TABLE_MAPPING

LARGEST_INDEXED: Final = 512
"""Bytes of the longest value that goes into the table: longer ones would drive out everything else."""

_MOST_REMEMBERED: Final = 512
_OVERHEAD: Final = 32
_MOST_SHIFT: Final = 28


class PlainEncoder(Encoder):
    """Writes field blocks. Fields of type `NeverIndexedHeaderTuple` go into no table (RFC 7541 section 7.1.3)."""

    def __init__(self) -> None:
        super().__init__()
        # How many fields went into the table so far, and which of them is a field, or the last of a name.
        self._added = 0
        self._fields: dict[FieldLine, int] = {}
        self._names: dict[bytes, int] = {}

    def encode(self, headers: Any, huffman: bool = False) -> bytes:
        """A field block (RFC 7541 section 6)."""
        table = self.header_table
        block = bytearray()
        if table.resized:
            block += self._encode_table_size_change()
            table.resized = False
        entries = table.dynamic_entries
        for header in headers:
            name, value = header
            never = type(header) is NeverIndexedHeaderTuple
            known = _STATIC_NAMES.get(name)
            oldest = self._added - len(entries)
            if not never:
                index = known[1].get(value, 0) if known is not None else 0
                if not index:
                    number = self._fields.get(header, -1)
                    index = _STATIC + self._added - number if number >= oldest else 0
                if index:
                    _write_integer(block, 0x80, 0x7F, index)
                    continue
            if known is not None:
                index = known[0]
            else:
                number = self._names.get(name, -1)
                index = _STATIC + self._added - number if number >= oldest else 0
            if never:
                _write_integer(block, 0x10, 0x0F, index)
            elif len(value) > LARGEST_INDEXED:
                _write_integer(block, 0, 0x0F, index)
            else:
                _write_integer(block, 0x40, 0x3F, index)
                self._add(name, value)
            if not index:
                _write_integer(block, 0, 0x7F, len(name))
                block += name
            _write_integer(block, 0, 0x7F, len(value))
            block += value
        return bytes(block)

    def _add(self, name: bytes, value: bytes) -> None:
        table = self.header_table
        table.add(name, value)
        if not table.dynamic_entries:
            # It is larger than the whole table.
            return
        self._fields[name, value] = self._names[name] = self._added
        self._added += 1
        if len(self._fields) > _MOST_REMEMBERED:
            oldest = self._added - len(table.dynamic_entries)
            self._fields = {field: number for field, number in self._fields.items() if number >= oldest}
            self._names = {known: number for known, number in self._names.items() if number >= oldest}


class LinearDecoder(Decoder):
    """Reads field blocks. ``max_header_list_size`` bounds what they are unpacked to."""

    def decode(self, data: bytes, raw: bool = False) -> Any:
        """The field lines of a block; those that are never to be indexed are `NeverIndexedHeaderTuple`.

        Raises the library's `HPACKError`, or `OversizedHeaderListError`.
        """
        table = self.header_table
        most = self.max_header_list_size
        lines: list[FieldLine] = []
        total = position = 0
        end = len(data)
        while position < end:
            octet = data[position]
            if octet & 0x80:
                index = octet & 0x7F
                position += 1
                if index == 0x7F:
                    index, position = _read_integer(data, position, 0x7F)
                line = table.get_by_index(index)
            elif octet & 0x60 == 0x20:
                if lines:
                    raise HPACKDecodingError("Table size update not at the start of the block")
                position += self._update_encoding_context(data[position : position + 8])
                continue
            else:
                indexed = octet & 0x40
                mask = 0x3F if indexed else 0x0F
                index = octet & mask
                position += 1
                if index == mask:
                    index, position = _read_integer(data, position, mask)
                if index:
                    name = table.get_by_index(index)[0]
                else:
                    name, position = _read_string(data, position)
                value, position = _read_string(data, position)
                if indexed:
                    table.add(name, value)
                    line = (name, value)
                else:
                    line = NeverIndexedHeaderTuple(name, value) if octet & 0x10 else (name, value)
            lines.append(line)
            total += len(line[0]) + len(line[1]) + _OVERHEAD
            if total > most:
                raise OversizedHeaderListError(f"A header list larger than {most} has been received")
        self._assert_valid_table_size()
        return lines


def _write_integer(block: bytearray, first: int, mask: int, value: int) -> None:
    """RFC 7541 section 5.1."""
    if value < mask:
        block.append(first | value)
        return
    block.append(first | mask)
    value -= mask
    while value >= 0x80:
        block.append(value & 0x7F | 0x80)
        value >>= 7
    block.append(value)


def _read_integer(data: bytes, position: int, value: int) -> tuple[int, int]:
    """The rest of an integer that is ``value`` at least, and where the next thing begins."""
    shift = 0
    while True:
        if position >= len(data) or shift >= _MOST_SHIFT:
            raise HPACKDecodingError("an integer is cut off, or too large")
        octet = data[position]
        position += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, position
        shift += 7


def _read_string(data: bytes, position: int) -> tuple[bytes, int]:
    """RFC 7541 section 5.2: a string, and where the next thing begins."""
    if position >= len(data):
        raise HPACKDecodingError("a string is cut off")
    octet = data[position]
    size = octet & 0x7F
    position += 1
    if size == 0x7F:
        size, position = _read_integer(data, position, 0x7F)
    end = position + size
    if end > len(data):
        raise HPACKDecodingError("a string is cut off")
    string = data[position:end]
    return (bytes(decode_huffman(string)) if octet & 0x80 else string), end
