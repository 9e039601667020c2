"""Messages of WebSockets, read along."""

from __future__ import annotations

import tracemalloc
import zlib
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    DEFLATE,
    MASK,
    PING,
    PLAIN,
    PONG,
    RSV1,
    TEXT,
    Deflating,
    frame,
    message,
    read,
    some,
)
from tests.fuzz.messages import mutated
from tests.fuzz.reading import octets, pieces
from twistedproxy.http.websocket import FRAME_EFFORT, MOST_FINAL_BLOCKS, PIECE, Extensions, Message, MessageReader

HELLO = b"Hello"


def only(data: bytes, extensions: Extensions = PLAIN, *, from_client: bool = False, most: int = 1 << 20) -> Message:
    """The one message that there is."""
    messages, fault = read([data], extensions, from_client=from_client, most=most)
    assert (len(messages), fault) == (1, "")
    return messages[0]


# ---------------------------------------------------------------- RFC 6455 section 5.7


@pytest.mark.parametrize(
    ("data", "from_client", "expected"),
    [
        pytest.param("81 05 48656c6c6f", False, Message("text", HELLO, 5, 5, 1), id="unmasked text"),
        pytest.param("81 85 37fa213d 7f9f4d5158", True, Message("text", HELLO, 5, 5, 1), id="masked text"),
        pytest.param("01 03 48656c 80 02 6c6f", False, Message("text", HELLO, 5, 5, 2), id="fragments"),
        pytest.param("89 05 48656c6c6f", False, Message("ping", HELLO, 5, 5, 1), id="ping"),
        pytest.param("8a 85 37fa213d 7f9f4d5158", True, Message("pong", HELLO, 5, 5, 1), id="masked pong"),
        pytest.param("82 7e 0100" + "ab" * 256, False, Message("binary", b"\xab" * 256, 256, 256, 1), id="256 bytes"),
        pytest.param(
            "82 7f 0000000000010000" + "ab" * 65536,
            False,
            Message("binary", b"\xab" * 65536, 65536, 65536, 1),
            id="64 KiB",
        ),
        pytest.param("81 00", False, Message("text", b"", 0, 0, 1), id="nothing"),
    ],
)
def test_examples(data: str, from_client: bool, expected: Message) -> None:
    assert only(bytes.fromhex(data), from_client=from_client) == expected


def test_our_own_frames_are_those_of_the_examples() -> None:
    assert frame(TEXT, HELLO, mask=MASK).hex(" ", -4) == bytes.fromhex("818537fa213d7f9f4d5158").hex(" ", -4)
    assert message(TEXT, HELLO, cuts=[3]) == bytes.fromhex("010348656c80026c6f")


def test_control_frames_between_fragments_come_first() -> None:
    messages, fault = read([message(BINARY, HELLO, cuts=[1, 2], between=frame(PING, b"?"))])
    assert [(one.kind, one.content, one.frames) for one in messages] == [
        ("ping", b"?", 1),
        ("ping", b"?", 1),
        ("binary", HELLO, 3),
    ]
    assert fault == ""


def test_close_is_the_last() -> None:
    messages, fault = read([frame(CLOSE, b"\x03\xe9going"), frame(TEXT, HELLO), b"\xff" * 10])
    assert [(one.kind, one.code, one.text) for one in messages] == [("close", 1001, "going")]
    assert fault == ""


@pytest.mark.parametrize(("payload", "code", "text"), [(b"", None, ""), (b"\x03", None, ""), (b"\x0f\xa1", 4001, "")])
def test_codes(payload: bytes, code: int | None, text: str) -> None:
    closed = only(frame(CLOSE, payload))
    assert (closed.code, closed.text) == (code, text)
    assert only(frame(TEXT, b"\x03\xe8")).code is None


# ---------------------------------------------------------------- content up to a bound


def test_content_is_kept_up_to_the_bound_and_counted_beyond() -> None:
    told = only(message(BINARY, b"0123456789", cuts=[3, 6]), most=4)
    assert (told.content, told.length, told.payload_length, told.frames, told.truncated) == (b"0123", 10, 10, 3, True)
    assert not only(frame(BINARY, b"0123"), most=4).truncated
    nothing = only(frame(TEXT, HELLO), most=0)
    assert (nothing.content, nothing.length, nothing.text, nothing.truncated) == (b"", 5, "", True)


def test_status_code_is_no_content() -> None:
    told = only(frame(CLOSE, b"\x03\xe8bye"), most=0)
    assert (told.code, told.text, told.length, told.truncated) == (1000, "", 5, True)


def test_shortened() -> None:
    whole = only(frame(TEXT, HELLO))
    assert whole.shortened(5) is whole
    assert whole.shortened(2) == Message("text", b"He", 5, 5, 1)


@pytest.mark.parametrize("most", range(12))
def test_text_is_cut_between_characters(most: int) -> None:
    text = "aß€𝄞z"
    told = only(frame(TEXT, text.encode()), most=most)
    assert told.text is not None
    assert text.startswith(told.text)
    assert most - 3 <= len(told.text.encode()) <= most


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert only(frame(TEXT, b"a\xff\xfeb")).text == "a\ufffd\ufffdb"
    assert only(frame(TEXT, b"a\x80\x80\x80\x80\x80"), most=5).text == "a\ufffd\ufffd\ufffd\ufffd"
    assert only(frame(BINARY, HELLO)).text is None


# ---------------------------------------------------------------- what is no WebSocket


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (frame(3), "Invalid opcode 0x3"),
        (frame(0xB), "Invalid opcode 0xb"),
        (frame(PING, b"", fin=False), "Invalid attempt to fragment control frame"),
        (frame(PING, bytes(126)), "Control frame with payload len > 125"),
        (frame(TEXT, HELLO, mask=MASK), "client received unexpected masked frame"),
        (frame(TEXT, HELLO, reserved=RSV1), "Reserved bit set unexpectedly"),
        (frame(TEXT, HELLO, reserved=0x10), "Reserved bit set unexpectedly"),
        (b"\x82\x7e\x00\x05Hello", "Payload length used 2 bytes when 1 would have sufficed"),
        (b"\x82\x7f" + b"\xff" * 8, "8-byte payload length with non-zero MSB"),
        (frame(CONTINUATION, HELLO), "a fragment continues no message"),
        (frame(TEXT, HELLO, fin=False) + frame(TEXT, HELLO), "a message begins within another one"),
        (b"GET / HTTP/1.1\r\n\r\n", "Invalid opcode 0x7"),
    ],
)
def test_malformed(data: bytes, fault: str) -> None:
    """It is said once, after what came before, and nothing is read any more."""
    reader = MessageReader(PLAIN, from_client=False, most=100)
    assert [one.content for one in reader.feed(frame(TEXT, b"before") + data)] == [b"before"]
    assert reader.fault == fault
    assert reader.feed(frame(TEXT, b"after")) == []
    assert reader.fault == fault
    assert repr(reader).startswith(f"<MessageReader over: {fault} effort=")


def test_the_client_masks() -> None:
    assert read([frame(TEXT, HELLO)], from_client=True) == ([], "server received unexpected unmasked frame")


# ---------------------------------------------------------------- extensions


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((), PLAIN),
        ((b"permessage-deflate",), DEFLATE),
        ((b"Permessage-Deflate; server_max_window_bits=10",), DEFLATE),
        ((b'permessage-deflate ;client_max_window_bits="15"',), DEFLATE),
        ((b"permessage-deflate; server_no_context_takeover",), Extensions(True, server_takeover=False)),
        (
            (b"permessage-deflate; client_no_context_takeover; server_no_context_takeover",),
            Extensions(True, False, False),
        ),
        ((b"", b", permessage-deflate,"), DEFLATE),
        ((b"x-webkit-deflate-frame",), Extensions(unknown=("x-webkit-deflate-frame",))),
        ((b"permessage-deflate, mux; a=b",), Extensions(True, unknown=("mux",))),
        ((b"permessage-deflate; a",), Extensions(unknown=("permessage-deflate",))),
        ((b"permessage-deflate; server_max_window_bits=16",), Extensions(unknown=("permessage-deflate",))),
        ((b"permessage-deflate; server_no_context_takeover=1",), Extensions(unknown=("permessage-deflate",))),
        ((b"permessage-deflate", b"permessage-deflate"), Extensions(True, unknown=("permessage-deflate",))),
        ((b"\xfc",), Extensions(unknown=("\xfc",))),
    ],
)
def test_extensions(values: tuple[bytes, ...], expected: Extensions) -> None:
    assert Extensions.of(values) == expected


def test_unknown_extension_makes_messages_opaque() -> None:
    """Whatever bits it uses, and if it uses none."""
    unknown = Extensions(deflate=True, unknown=("other",))
    data = frame(TEXT, b"\xf2H", reserved=0x70) + frame(BINARY, b"plain") + frame(PING, b"?", reserved=0x20)
    messages, fault = read([data + message(TEXT, HELLO, cuts=[2], reserved=RSV1)], unknown)
    assert [(one.kind, one.content, one.opaque, one.compressed, one.text) for one in messages] == [
        ("text", b"\xf2H", True, False, None),
        ("binary", b"plain", True, False, None),
        ("ping", b"?", True, False, None),
        ("text", HELLO, True, False, None),
    ]
    assert fault == ""


# ---------------------------------------------------------------- permessage-deflate, RFC 7692 section 7.2.3


@pytest.mark.parametrize(
    ("data", "contents"),
    [
        pytest.param("c107 f248cdc9c90700", [HELLO], id="one block"),
        pytest.param("4103 f248cd 8004 c9c90700", [HELLO], id="fragments"),
        pytest.param("c107 f248cdc9c90700 c105 f200110000", [HELLO, HELLO], id="the window of the message before"),
        pytest.param("c10b 000500faff48656c6c6f00", [HELLO], id="without compression"),
        pytest.param("c108 f348cdc9c9070000", [HELLO], id="a final block"),
        pytest.param("c10d f248050000 00ffffcac9c90700", [HELLO], id="two blocks"),
        pytest.param("c101 00", [b""], id="nothing"),
        pytest.param("c107 f248cdc9c90700 c101 00 8102 6f6b", [HELLO, b"", b"ok"], id="some are not compressed"),
        pytest.param("c107 f348cdc9c90700", [HELLO], id="a final block without its padding"),
    ],
)
def test_compressed(data: str, contents: list[bytes]) -> None:
    messages, fault = read([bytes.fromhex(data)], DEFLATE)
    assert ([one.content for one in messages], fault) == (contents, "")


@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.parametrize("takeover", [True, False])
def test_any_window(bits: int, takeover: bool) -> None:
    """How large the sender's is need not be known."""
    deflating = Deflating(takeover, bits)
    agreed = Extensions(True, client_takeover=takeover, server_takeover=True)
    contents = [bytes(range(256)) * 300, b"again " * 5000, bytes(range(256)) * 300]
    data = b"".join(frame(BINARY, deflating(content), reserved=RSV1, mask=MASK) for content in contents)
    messages, fault = read([data], agreed, from_client=True)
    assert ([one.content for one in messages], fault) == (contents, "")
    assert [one.compressed for one in messages] == [True] * 3
    assert messages[1].payload_length < 500 < messages[1].length


def test_windows_are_forgotten_where_that_was_agreed() -> None:
    data = bytes.fromhex("c107f248cdc9c90700 c105f200110000")
    messages, fault = read([data], Extensions(True, server_takeover=False))
    assert [one.content for one in messages] == [HELLO]
    assert fault == "the compressed data is malformed"


def test_continuation_does_not_say_that_it_is_compressed() -> None:
    data = frame(TEXT, b"\xf2H", fin=False, reserved=RSV1) + frame(CONTINUATION, b"", reserved=RSV1)
    assert read([data], DEFLATE) == ([], "Reserved bit set unexpectedly")
    assert read([frame(PING, b"", reserved=RSV1)], DEFLATE) == ([], "Reserved bit set unexpectedly")


def test_malformed_compression() -> None:
    messages, fault = read([frame(TEXT, b"ok") + frame(TEXT, b"\xff\xff\xff", reserved=RSV1)], DEFLATE)
    assert ([one.content for one in messages], fault) == ([b"ok"], "the compressed data is malformed")


def test_bomb_takes_no_memory() -> None:
    """268 MB in 260 KB, of which 1000 bytes are kept, and the others counted."""
    size = 1 << 28
    packing = zlib.compressobj(9, wbits=-15)
    packed = b"".join(packing.compress(bytes(1 << 20)) for _ in range(size >> 20))
    packed += packing.flush(zlib.Z_SYNC_FLUSH).removesuffix(b"\x00\x00\xff\xff")
    data = frame(BINARY, packed, reserved=RSV1) + frame(TEXT, HELLO)
    reader = MessageReader(DEFLATE, from_client=False, most=1000)
    tracemalloc.start()
    try:
        messages = reader.feed(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [(len(one.content), one.length) for one in messages] == [(1000, size), (5, 5)]
    assert reader.effort == size + 2 * FRAME_EFFORT
    # The frame itself a few times, and pieces.
    assert peak < 8 * len(data) + 8 * PIECE


def test_data_that_ends_again_and_again() -> None:
    empty = b"\x03\x00"
    assert only(frame(TEXT, empty * MOST_FINAL_BLOCKS, reserved=RSV1), DEFLATE).length == 0
    # Counted for each message.
    several = frame(TEXT, empty * MOST_FINAL_BLOCKS, reserved=RSV1) * 3
    assert len(read([several], DEFLATE)[0]) == 3
    once_more = frame(TEXT, empty * (MOST_FINAL_BLOCKS + 1), reserved=RSV1)
    assert read([once_more], DEFLATE) == ([], "the compressed data ends again and again")


def test_final_block_as_large_as_a_piece() -> None:
    """The next message begins where it should."""
    packing = zlib.compressobj(wbits=-15)
    packed = packing.compress(bytes(PIECE)) + packing.flush()
    data = frame(BINARY, packed, reserved=RSV1) + frame(TEXT, bytes.fromhex("f248cdc9c90700"), reserved=RSV1)
    messages, fault = read([data], DEFLATE)
    assert ([one.length for one in messages], fault) == ([PIECE, 5], "")


# ---------------------------------------------------------------- whatever comes, and however it comes

RANDOMS = st.randoms(use_true_random=False)
EXTENSIONS = st.sampled_from([PLAIN, DEFLATE, Extensions(True, False, False), Extensions(unknown=("x",))])


@settings(max_examples=300)
@given(RANDOMS, EXTENSIONS, st.sampled_from([0, 3, 1000]), st.booleans())
def test_any_split_gives_the_same(random: Random, extensions: Extensions, most: int, spoilt: bool) -> None:
    data = some(random)
    if spoilt:
        data = mutated(random, data)
    whole = read([data], extensions, most=most)
    assert read(octets(data), extensions, most=most) == whole
    cuts = sorted(random.randrange(len(data) + 1) for _ in range(5))
    assert read(pieces(data, cuts), extensions, most=most) == whole


@given(st.binary(max_size=300), EXTENSIONS, st.booleans())
def test_any_bytes(data: bytes, extensions: Extensions, from_client: bool) -> None:
    whole = read([data], extensions, from_client=from_client)
    assert read(octets(data), extensions, from_client=from_client) == whole


@given(
    st.lists(
        st.tuples(
            st.sampled_from([TEXT, BINARY]),
            st.binary(max_size=300),
            st.lists(st.integers(0, 300), max_size=4),
            st.booleans(),
        ),
        max_size=6,
    ),
    st.booleans(),
    st.booleans(),
)
def test_what_is_sent_is_read(
    sent: list[tuple[int, bytes, list[int], bool]], takeover: bool, from_client: bool
) -> None:
    deflating = Deflating(takeover)
    mask = MASK if from_client else None
    data = b""
    for opcode, content, cuts, packed in sent:
        payload = deflating(content) if packed else content
        between = frame(PONG, b"!", mask=mask)
        data += message(opcode, payload, cuts=cuts, mask=mask, reserved=RSV1 if packed else 0, between=between)
    messages, fault = read([data], Extensions(True, takeover, takeover), from_client=from_client)
    got = [(one.kind, one.content, one.compressed) for one in messages if one.kind != "pong"]
    assert got == [("text" if kind == TEXT else "binary", content, packed) for kind, content, _, packed in sent]
    assert fault == ""


# ---------------------------------------------------------------- what it costs


def test_effort_counts_frames_and_what_is_unpacked() -> None:
    reader = MessageReader(DEFLATE, from_client=False, most=10)
    reader.feed(frame(BINARY, bytes(1000)) + message(TEXT, HELLO, cuts=[1]) + frame(PING))
    assert reader.effort == 4 * FRAME_EFFORT
    reader.feed(frame(BINARY, Deflating()(bytes(5000)), reserved=RSV1))
    assert reader.effort == 5 * FRAME_EFFORT + 5000


def test_nothing_is_kept_but_what_is_told() -> None:
    """A message of 40 MB, in one frame and byte by byte at its beginning, with 1 KB to keep."""
    size = 40 << 20
    reader = MessageReader(PLAIN, from_client=True, most=1000)
    chunk = bytes(1 << 16)
    head = b"\x82\xff" + size.to_bytes(8) + bytes(4)
    tracemalloc.start()
    try:
        for piece in octets(head):
            assert reader.feed(piece) == []
        read_so_far = [reader.feed(chunk) for _ in range(size >> 16)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [one.length for messages in read_so_far for one in messages] == [size]
    assert peak < 1 << 20
