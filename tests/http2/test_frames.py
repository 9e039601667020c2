"""Whole frames from bytes, however they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.http2.peers import frame, octets
from twistedproxy.http2.frames import DATA, PADDED, FrameReader, FrameTooLarge, frame_header

FRAMES = st.lists(
    st.builds(
        frame,
        st.integers(0, 255),
        st.integers(0, 255),
        st.integers(0, 2**31 - 1),
        st.binary(max_size=300),
    ),
    max_size=6,
)


@given(FRAMES, st.data())
def test_frames_come_out_however_the_bytes_are_cut(frames: list[object], data: st.DataObject) -> None:
    whole = b"".join(one.octets for one in frames)  # type: ignore[attr-defined]  # hypothesis builds them
    reader = FrameReader(300)
    found = []
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        reader.receive(whole[:size])
        whole = whole[size:]
        while (one := reader.next_frame()) is not None:
            assert type(one.octets) is bytes
            found.append(one)
    assert found == frames
    assert reader.buffered == 0


def test_bytes_of_part_of_a_frame_wait() -> None:
    reader = FrameReader(100)
    whole = octets(DATA, 0, 1, b"abc")
    for position in range(len(whole)):
        assert reader.buffered == position
        assert repr(reader) == f"<FrameReader buffered={position}>"
        assert reader.next_frame() is None
        reader.receive(whole[position : position + 1])
    assert reader.next_frame() == (DATA, 0, 1, whole)
    assert reader.next_frame() is None


def test_a_frame_too_large_is_refused_by_its_header() -> None:
    reader = FrameReader(16384)
    reader.receive(frame_header(16385, DATA, 0, 1)[:8])
    assert reader.next_frame() is None
    reader.receive(frame_header(16385, DATA, 0, 1)[8:])
    with pytest.raises(FrameTooLarge, match="a frame has 16385 bytes, more than 16384"):
        reader.next_frame()
    reader = FrameReader(16384)
    reader.receive(frame_header(16384, DATA, 0, 1))
    assert reader.next_frame() is None


def test_the_reserved_bit_of_the_stream_is_nobodys() -> None:
    reader = FrameReader(0)
    reader.receive(b"\0\0\0\x06\x01\xff\xff\xff\xff")
    found = reader.next_frame()
    assert found is not None
    assert (found.kind, found.flags, found.stream) == (6, 1, 2**31 - 1)


@pytest.mark.parametrize(
    ("flags", "payload", "size"),
    [
        (0, b"", 0),
        (0, b"\x05abc", 4),
        (PADDED, b"\0", 0),
        (PADDED, b"\0abc", 3),
        (PADDED, b"\x02abc\0\0", 3),
        (PADDED, b"\x05\0\0\0\0\0", 0),
        # Not valid, and for the library to refuse.
        (PADDED, b"", -1),
        (PADDED, b"\x03\0", -2),
    ],
)
def test_content_is_what_is_not_padding(flags: int, payload: bytes, size: int) -> None:
    assert frame(DATA, flags, 1, payload).content_size == size


def test_header_of_a_frame() -> None:
    assert frame_header(0x012345, 3, 4, 0x7FFFFFFE) == b"\x01\x23\x45\x03\x04\x7f\xff\xff\xfe"
