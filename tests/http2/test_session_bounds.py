"""What a peer can make a session do and keep (RFC 9113 section 10.5)."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import pytest
from h2.errors import ErrorCodes
from h2.events import StreamReset
from hpack import Encoder
from hyperframe.frame import RstStreamFrame

from tests.http2.peers import GET, OK, POST, Owner, Pair, frames_of, hello, kinds_of, octets, started
from twistedproxy.errors import HeadTooLarge
from twistedproxy.http2.frames import frame_header
from twistedproxy.http2.session import SessionError

CALM = ErrorCodes.ENHANCE_YOUR_CALM
GET_BLOCK = b"\x82\x87\x01\x01h\x84"
POST_BLOCK = b"\x83\x87\x01\x01h\x84"
OPEN = octets(1, 4, 1, POST_BLOCK)


def opening(number: int, end: bool = False) -> bytes:
    return octets(1, 5 if end else 4, number, GET_BLOCK if end else POST_BLOCK)


def frames_until_the_end(owner: Owner, *flood: bytes, most: int = 100_000) -> tuple[int, int]:
    """How many of these can be sent again and again before the connection ends, and its error's code."""
    for sent in range(most):
        for data in flood:
            try:
                owner.received(data)
            except SessionError as error:
                return sent, error.code
            owner.out = b""
    raise AssertionError("the connection goes on")


def streams_until_the_end(owner: Owner, make: Callable[[int], bytes]) -> int:
    """How many streams with these frames the peer may have before it is told to calm down."""
    for sent in range(1000):
        try:
            owner.received(make(2 * sent + 1))
        except SessionError as error:
            return sent if error.code == CALM else -1
    raise AssertionError("the connection goes on")


@pytest.mark.parametrize(
    "data",
    [
        hello(),
        hello([(1, 0)]),
        octets(4, 1, 0),
        octets(6, 0, 0, bytes(8)),
        octets(6, 1, 0, bytes(8)),
        octets(8, 0, 0, b"\0\0\0\1"),
        octets(8, 0, 1, b"\0\0\0\1"),
        octets(2, 0, 1, bytes(5)),
        octets(2, 0, 99, bytes(5)),
        octets(7, 0, 0, bytes(8)),
        octets(99, 0, 0, b"x"),
        octets(99, 0, 1, b"x"),
        octets(10, 0, 1, b"\0\0x"),
    ],
)
def test_floods(data: bytes) -> None:
    for client in (False, True):
        owner = started(client=client)
        if client:
            owner.open(POST)
        else:
            owner.received(OPEN)
        sent, code = frames_until_the_end(owner, data)
        assert (1990 <= sent <= 2000, code) == (True, CALM)


@pytest.mark.parametrize("data", [octets(0, 0, 1), octets(0, 8, 1, b"\x03\0\0\0")])
def test_floods_of_frames_without_content(data: bytes) -> None:
    owner = started()
    owner.received(OPEN)
    sent, code = frames_until_the_end(owner, data)
    assert (1990 <= sent <= 2000, code) == (True, CALM)


def test_frames_at_a_bearable_rate_are_never_too_many() -> None:
    owner = started()
    for _ in range(10_000):
        owner.received(octets(6, 0, 0, bytes(8)))
        owner.now += 0.0101
        owner.out = b""


@pytest.mark.parametrize(
    "wrong",
    [
        lambda number: octets(3, 0, number, b"\0\0\0\x08"),
        # Some bytes do not pay for resets.
        lambda number: octets(0, 0, number, b"x") * 3 + octets(3, 0, number, b"\0\0\0\x08"),
        # CVE-2025-8671: what makes us reset the stream.
        lambda number: octets(8, 0, number, b"\x7f\xff\xff\xff"),
        lambda number: octets(0, 1, number) + octets(0, 0, number, b"x"),
        lambda number: octets(0, 1, number) + octets(1, 5, number, b"\x40\1a\1b"),
    ],
)
def test_a_flood_of_resets(wrong: Callable[[int], bytes]) -> None:
    """CVE-2023-44487."""
    owner = started()
    assert 175 <= streams_until_the_end(owner, lambda number: opening(number) + wrong(number)) <= 200
    assert len(owner.over) <= 200


def test_a_flood_of_malformed_requests() -> None:
    owner = started()
    owner.head_error = HeadTooLarge("wrong")
    assert streams_until_the_end(owner, opening) == 199
    assert len(owner.opened) == 200


def test_a_window_that_is_opened_byte_by_byte() -> None:
    """CVE-2019-9511."""
    owner = started(settings=[(4, 0)])
    owner.received(opening(1, end=True))
    owner.opened[1].say_head(OK, False)
    owner.opened[1].say(bytes(100_000))
    sent, code = frames_until_the_end(owner, octets(8, 0, 1, b"\0\0\0\1"))
    assert (1990 <= sent <= 2000, code) == (True, CALM)


def test_late_heads() -> None:
    pair = Pair()
    pair.request(1, POST, end=False).reset(ErrorCodes.CANCEL)
    assert frames_until_the_end(pair.owner, octets(1, 5, 1, b"\x40\1a\1b")) in [(n, CALM) for n in range(1980, 2000)]


def test_interim_answers_without_end() -> None:
    owner = started(client=True)
    owner.open(GET, True)
    sent, code = frames_until_the_end(owner, octets(1, 4, 1, Encoder().encode([(b":status", b"103")])))
    assert (1990 <= sent <= 2000, code) == (True, CALM)


# ---------------------------------------------------------------- traffic that is many frames, and no flood


def test_a_long_download_to_a_client_that_updates_both_windows_for_each_frame() -> None:
    owner = started()
    owner.received(opening(1, end=True))
    stream = owner.opened[1]
    stream.say_head(OK, False)
    update = octets(8, 0, 0, (16384).to_bytes(4, "big")) + octets(8, 0, 1, (16384).to_bytes(4, "big"))
    for _ in range(3000):
        stream.say(bytes(16384))
        owner.session.pump()
        owner.received(update)
        owner.out = b""
    assert stream.unsaid == 0


def test_many_small_messages_both_ways_with_updates_and_measurements() -> None:
    owner = started()
    owner.received(opening(1))
    stream = owner.opened[1]
    stream.say_head(OK, False)
    for _ in range(3000):
        owner.received(octets(0, 0, 1, b"ping"))
        stream.say(b"pong")
        owner.session.pump()
        owner.received(octets(8, 0, 0, b"\0\0\0\4") + octets(8, 0, 1, b"\0\0\0\4") + octets(6, 0, 0, bytes(8)))
        owner.out = b""
    assert len(stream.content) == 12_000


def test_a_long_upload() -> None:
    owner = started()
    owner.received(opening(1))
    data = octets(0, 0, 1, bytes(1000))
    for _ in range(20_000):
        owner.received(data)
        owner.opened[1].content = b""
        owner.log.clear()
        owner.out = b""


def test_many_requests_that_end_with_an_empty_frame() -> None:
    owner = started()
    for number in range(1, 6001, 2):
        owner.received(opening(number) + octets(0, 1, number))
        owner.opened.pop(number).say_head(OK, True)
        owner.log.clear()
        owner.out = b""
    assert len(owner.over) == 3000


def test_many_responses_that_end_with_an_empty_frame() -> None:
    owner = started(client=True)
    block = Encoder().encode([(b":status", b"200")])
    for number in range(1, 6001, 2):
        owner.open(GET, True)
        owner.received(octets(1, 4, number, block) + octets(0, 1, number))
        owner.log.clear()
        owner.out = b""
    assert len(owner.over) == 3000


def test_an_origin_that_answers_before_it_has_heard_all() -> None:
    owner = started(client=True)
    for number in range(1, 4001, 2):
        stream = owner.open(POST)
        owner.received(octets(1, 5, number, Encoder().encode([(b":status", b"413")])))
        owner.received(octets(3, 0, number, bytes(4)))
        assert stream.over
        owner.out = b""
        owner.now += 0.02


# ---------------------------------------------------------------- streams


def test_a_stream_too_many_is_refused_and_the_others_go_on() -> None:
    pair = Pair(max_streams=3)
    pair.peer.remote_settings.max_concurrent_streams = 100
    pair.peer.remote_settings.acknowledge()
    for number in (1, 3, 5):
        pair.request(number, POST, end=False)
    pair.peer.send_headers(7, [*POST, (b"x", b"indexed")])
    pair.peer.send_data(7, b"late")
    told = pair.run()
    assert [(event.stream_id, event.error_code) for event in told if isinstance(event, StreamReset)] == [
        (7, ErrorCodes.REFUSED_STREAM)
    ]
    assert sorted(pair.owner.opened) == [1, 3, 5]
    # Trailers on their way to a stream that is over are no new stream.
    pair.owner.opened[1].reset(ErrorCodes.CANCEL)
    pair.request(9, [*POST, (b"x", b"indexed")], end=False)
    pair.owner.received(octets(1, 5, 1, b"\x40\1a\1b"))
    assert sorted(pair.session.streams) == [3, 5, 9]
    assert pair.session.highest_stream == 9


def test_a_flood_of_streams_too_many() -> None:
    owner = started(max_streams=10)
    assert streams_until_the_end(owner, opening) == 209
    assert len(owner.opened) == 10


# ---------------------------------------------------------------- heads


def test_a_head_that_is_too_large_but_can_be_read_ends_its_stream() -> None:
    pair = Pair(max_head_size=10_000)
    pair.owner.head_error = HeadTooLarge("it is larger than 10000 bytes")
    pair.peer.send_headers(1, [*GET, (b"x", b"y" * 12_000)], end_stream=True)
    told = pair.run()
    assert [type(event) for event in told] == [StreamReset]
    assert pair.owner.calls("malformed") == [(1, "malformed", "it is larger than 10000 bytes")]


def test_a_head_that_is_large_when_unpacked_ends_the_connection() -> None:
    owner = started(max_head_size=10_000)
    entry = b"\x40\1a\x7f\xa1\x1e" + b"x" * 4000
    owner.received(octets(1, 5, 1, GET_BLOCK + entry))
    assert len(owner.opened) == 1
    # Each octet is a field of 4033 bytes.
    assert owner.failed(octets(1, 5, 3, GET_BLOCK + b"\xbe" * 1000))[0] == CALM


def test_a_head_that_never_ends() -> None:
    owner = started(max_head_size=10_000)
    owner.received(octets(1, 1, 1, GET_BLOCK))
    more = octets(9, 0, 1, b"\x40\1a\x7f\x85\x06" + b"x" * 900)
    sent, code = frames_until_the_end(owner, more)
    assert (sent, code) == (21, CALM)
    assert owner.opened == {}
    owner = started()
    owner.received(octets(1, 1, 1, GET_BLOCK))
    # The library's limit.
    assert frames_until_the_end(owner, octets(9, 0, 1)) == (63, ErrorCodes.PROTOCOL_ERROR)


def test_the_cost_of_a_head_is_bounded() -> None:
    owner = started()
    fields = b"\0\0\0" * 1900
    block = GET_BLOCK + fields + b"\0\0\x7f\x81\x7c" + b"x" * 16_000
    began = perf_counter()
    owner.received(octets(1, 5, 1, block))
    assert perf_counter() - began < 1


def test_a_frame_that_is_too_large_is_refused_by_its_header() -> None:
    assert started().failed(frame_header(65537, 0, 0, 1)) == (
        ErrorCodes.FRAME_SIZE_ERROR,
        "a frame has 65537 bytes, more than 65536",
    )


# ---------------------------------------------------------------- frames where they do not belong


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (octets(0, 0, 3, b"x"), ErrorCodes.PROTOCOL_ERROR),
        (octets(0, 0, 2, b"x"), ErrorCodes.PROTOCOL_ERROR),
        (octets(0, 0, 0, b"x"), ErrorCodes.PROTOCOL_ERROR),
        (octets(1, 5, 0, GET_BLOCK), ErrorCodes.PROTOCOL_ERROR),
        (octets(1, 5, 2, GET_BLOCK), ErrorCodes.PROTOCOL_ERROR),
        (octets(3, 0, 3, bytes(4)), ErrorCodes.PROTOCOL_ERROR),
        (octets(3, 0, 2, bytes(4)), ErrorCodes.PROTOCOL_ERROR),
        (octets(3, 0, 0, bytes(4)), ErrorCodes.PROTOCOL_ERROR),
        (octets(3, 0, 1, bytes(3)), ErrorCodes.FRAME_SIZE_ERROR),
        (octets(4, 0, 1), ErrorCodes.PROTOCOL_ERROR),
        (octets(4, 0, 0, bytes(5)), ErrorCodes.FRAME_SIZE_ERROR),
        (hello([(2, 2)]), ErrorCodes.PROTOCOL_ERROR),
        (hello([(5, 16383)]), ErrorCodes.PROTOCOL_ERROR),
        (hello([(8, 2)]), ErrorCodes.PROTOCOL_ERROR),
        (octets(5, 4, 1, b"\0\0\0\2" + GET_BLOCK), ErrorCodes.PROTOCOL_ERROR),
        (octets(6, 0, 0, bytes(7)), ErrorCodes.FRAME_SIZE_ERROR),
        (octets(6, 0, 1, bytes(8)), ErrorCodes.PROTOCOL_ERROR),
        (octets(9, 4, 1, GET_BLOCK), ErrorCodes.PROTOCOL_ERROR),
        (octets(0, 8, 1, b"\x05x"), ErrorCodes.PROTOCOL_ERROR),
        (octets(1, 5, 3, b"\xff\xff\xff\xff\xff\xff"), ErrorCodes.COMPRESSION_ERROR),
        (octets(1, 5, 3, b"\x3f\xe2\x1f" + GET_BLOCK), ErrorCodes.COMPRESSION_ERROR),
        (octets(1, 5, 3, b"\x80"), ErrorCodes.COMPRESSION_ERROR),
        # Something else in the middle of a field block.
        (octets(1, 1, 3, GET_BLOCK) + octets(6, 0, 0, bytes(8)), ErrorCodes.PROTOCOL_ERROR),
        (octets(1, 1, 3, GET_BLOCK) + octets(9, 4, 1), ErrorCodes.PROTOCOL_ERROR),
        (octets(1, 1, 3, GET_BLOCK) + octets(99, 0, 0), ErrorCodes.PROTOCOL_ERROR),
        # Trailers that are not the end.
        (octets(1, 4, 1, b"\x40\1a\1b"), ErrorCodes.PROTOCOL_ERROR),
    ],
)
def test_frames_that_end_the_connection(data: bytes, code: int) -> None:
    owner = started()
    owner.received(OPEN)
    assert owner.failed(data)[0] == code


def test_a_push_is_refused() -> None:
    owner = started(client=True)
    owner.open(GET, True)
    assert owner.failed(octets(5, 4, 1, b"\0\0\0\2" + GET_BLOCK))[0] == ErrorCodes.PROTOCOL_ERROR


def test_a_head_for_a_stream_that_has_ended() -> None:
    pair = Pair()
    pair.request(1).say_head(OK, True)
    assert pair.owner.failed(octets(1, 5, 1, GET_BLOCK))[0] == ErrorCodes.STREAM_CLOSED


def test_late_frames_that_mean_nothing() -> None:
    pair = Pair()
    pair.request(1).say_head(OK, True)
    pair.request(3, POST, end=False).reset(ErrorCodes.CANCEL)
    pair.owner.take()
    for number in (1, 3):
        for data in (octets(8, 0, number, b"\0\0\0\1"), octets(3, 0, number, bytes(4)), octets(2, 0, number, bytes(5))):
            pair.owner.received(data)
    assert pair.owner.take() == b""
    pair.owner.received(octets(1, 5, 3, b"\x40\1a\1b"))
    (reset,) = frames_of(pair.owner.take())
    assert isinstance(reset, RstStreamFrame)
    pair.owner.received(octets(0, 0, 3, b"late") + octets(0, 1, 3))
    assert kinds_of(pair.owner.take()) == []
    assert pair.session.streams == {}
