"""Field blocks to and from bytes, against the library (RFC 7541)."""

from __future__ import annotations

from random import Random

import pytest
from hpack import Decoder, Encoder, NeverIndexedHeaderTuple
from hpack.exceptions import HPACKError, OversizedHeaderListError
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.http2.compression import LARGEST_INDEXED, LinearDecoder, PlainEncoder

NAMES = st.sampled_from([b":method", b":path", b"accept", b"cookie", b"x", b"y", b"content-length", b"n" * 200])
INSERTED = [b"\xbe", b"\xff\x80", b"\x3f\x81\x01", b"\x20", b"\x7f", b"\x0f\x0f"]
VALUES = st.sampled_from([b"", b"GET", b"/", b"a", b"b", b"\xff" * 50, b"v" * 127, b"w" * 128, b"l" * 600, b"h" * 3000])
LINES = st.lists(
    st.tuples(NAMES, VALUES)
    | st.builds(NeverIndexedHeaderTuple, NAMES, VALUES)
    | st.tuples(NAMES, st.binary(max_size=9)),
    max_size=12,
)


def never(lines: list[tuple[bytes, bytes]]) -> list[bool]:
    return [type(line) is NeverIndexedHeaderTuple for line in lines]


@given(st.lists(LINES, max_size=8), st.lists(st.integers(0, 5000), max_size=8))
def test_what_is_written_is_read_by_the_library(blocks: list[list[tuple[bytes, bytes]]], sizes: list[int]) -> None:
    encoder = PlainEncoder()
    decoder = Decoder(max_header_list_size=1 << 20)
    for position, lines in enumerate(blocks):
        if position < len(sizes):
            decoder.max_allowed_table_size = encoder.header_table_size = sizes[position]
        read = decoder.decode(encoder.encode(lines), raw=True)
        assert read == lines
        assert never(read) == never(lines)
        assert [*decoder.header_table.dynamic_entries] == [*encoder.header_table.dynamic_entries]


@given(st.lists(LINES, max_size=8), st.booleans())
def test_what_the_library_writes_is_read(blocks: list[list[tuple[bytes, bytes]]], huffman: bool) -> None:
    encoder = Encoder()
    decoder = LinearDecoder(max_header_list_size=1 << 20)
    for position, lines in enumerate(blocks):
        encoder.header_table_size = 4096 - 500 * position
        read = decoder.decode(encoder.encode(lines, huffman), raw=True)
        assert read == lines
        assert all(type(part) is bytes for line in read for part in line)


def outcome(decoder: Decoder, data: bytes) -> object:
    try:
        return decoder.decode(data, raw=True)
    except OversizedHeaderListError:
        return "oversized"
    except HPACKError:
        return "error"


def test_whatever_comes_is_read_as_the_library_reads_it() -> None:
    random = Random(7541)
    seen = set()
    for _ in range(4000):
        encoder = Encoder()
        ours, theirs = LinearDecoder(1000), Decoder(1000)
        for _ in range(3):
            lines = [
                (random.choice([b":path", b"a", b"bc"]), random.randbytes(random.randrange(20)))
                for _ in range(random.randrange(6))
            ]
            data = bytearray(encoder.encode(lines, huffman=random.random() < 0.5))
            for _ in range(random.randrange(3)):
                what = random.randrange(4)
                place = random.randrange(len(data) + 1)
                if what == 0 and place < len(data):
                    data[place] = random.randrange(256)
                elif what == 1:
                    data[place:place] = random.choice(
                        [b"\xbe", b"\xff\x80", b"\x3f\x81\x01", b"\x20", b"\x7f", b"\x0f\x0f"]
                    )
                elif what == 2:
                    del data[place:]
                else:
                    data[place:place] = random.randbytes(3)
            result = outcome(ours, bytes(data))
            assert result == outcome(theirs, bytes(data))
            seen.add(result if isinstance(result, str) else "read")
            if isinstance(result, str):
                break
            assert ours.header_table.dynamic_entries == theirs.header_table.dynamic_entries
    assert {"read", "error"} <= seen


@pytest.mark.parametrize(
    "data",
    [
        b"\x80",
        b"\xbe",
        b"\xff",
        b"\xff\x80",
        b"\xff\xff\xff\xff\xff\x0f",
        b"\x40",
        b"\x40\x01",
        b"\x40\x01a",
        b"\x40\x01a\x02b",
        b"\x40\x7f",
        b"\x40\x7f\xff\xff\xff\xff\x7f",
        b"\x82\x20",
        b"\x3f\xe2\x1f",
        b"\x41\x81\x00",
    ],
)
def test_blocks_that_are_not_valid(data: bytes) -> None:
    for decoder in (LinearDecoder(), Decoder()):
        with pytest.raises(HPACKError):
            decoder.decode(data, raw=True)


def test_how_much_is_unpacked_is_bounded() -> None:
    decoder = LinearDecoder(max_header_list_size=100)
    assert decoder.decode(b"\x40\x01a\x43" + b"x" * 67, raw=True)
    with pytest.raises(OversizedHeaderListError):
        decoder.decode(b"\x40\x01a\x44" + b"x" * 68, raw=True)


def test_long_values_do_not_drive_out_the_others() -> None:
    encoder = PlainEncoder()
    encoder.encode([(b"a", b"b"), (b"c", b"x" * LARGEST_INDEXED), (b"d", b"x" * (LARGEST_INDEXED + 1))])
    assert [name for name, _ in encoder.header_table.dynamic_entries] == [b"c", b"a"]


def test_what_is_remembered_of_the_table_is_bounded() -> None:
    encoder = PlainEncoder()
    for number in range(5000):
        encoder.encode([(b"n%d" % number, b"v%d" % number)])
    assert len(encoder._fields) <= 512
    assert len(encoder._names) <= 512
    assert encoder.encode([(b"n4999", b"v4999")]) == b"\xbe"


def test_never_indexed_fields_are_never_referred_to() -> None:
    encoder = PlainEncoder()
    encoder.encode([(b"a", b"b")])
    assert encoder.encode([NeverIndexedHeaderTuple(b"a", b"b")]) == b"\x1f\x2f\x01b"
