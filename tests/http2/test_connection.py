"""The library, without those of its judgments that a proxy makes itself."""

from __future__ import annotations

import sys

import pytest
from h2.events import ResponseReceived
from h2.settings import SettingCodes
from hpack import Decoder

from tests.http2.peers import GET, OK, Pair, frame, frames_of, hello, octets, started
from twistedproxy.http2.connection import LARGEST_TABLE, Connection, settings_taken
from twistedproxy.http2.frames import FrameReader


def filtered(payload: bytes, flags: int = 0, stream: int = 0) -> bytes:
    return settings_taken(frame(4, flags, stream, payload))


def test_settings_that_mean_nothing_are_left_out() -> None:
    known = [(1, 100), (2, 0), (3, 0), (4, 7), (5, 16384), (6, 2**32 - 1), (8, 1)]
    assert settings_taken(frame(4, 0, 0, hello(known)[9:])) == hello(known)
    mixed = hello([*known[:3], (7, 7), (0, 9), (0x2A2A, 3), *known[3:]])[9:]
    assert filtered(mixed) == hello(known)
    # The last of several counts.
    assert filtered(hello([(4, 1), (3, 2), (4, 3)])[9:]) == hello([(4, 3), (3, 2)])
    assert filtered(b"") == hello()


def test_a_table_is_never_larger_than_we_like() -> None:
    assert filtered(hello([(1, 2**32 - 1)])[9:]) == hello([(1, LARGEST_TABLE)])


@pytest.mark.parametrize(
    ("flags", "stream", "payload"), [(1, 0, b""), (1, 0, bytes(6)), (0, 0, bytes(7)), (0, 3, bytes(5))]
)
def test_settings_that_are_not_valid_are_left_to_the_library(flags: int, stream: int, payload: bytes) -> None:
    assert filtered(payload, flags, stream) == octets(4, flags, stream, payload)


def test_settings_keep_their_stream_so_that_the_library_refuses_it() -> None:
    assert filtered(hello([(3, 1)])[9:], 0, 5) == octets(4, 0, 5, hello([(3, 1)])[9:])


def test_unknown_settings_take_no_memory() -> None:
    owner = started()
    for start in range(100, 60_000, 10_000):
        owner.received(hello([(code, 1) for code in range(start, start + 10_000)]))
    assert len(owner.session._h2.remote_settings) < 10
    assert sys.getsizeof(owner.session._h2.remote_settings._settings) < 1000


def test_what_is_said_of_the_table_is_short_and_right() -> None:
    """RFC 7541 section 4.2: the smallest size, and the last."""
    pair = Pair()
    pair.request(1).say_head([*OK, (b"a", b"b")], False)
    decoder = Decoder()
    reader = FrameReader(1 << 20)
    reader.receive(pair.owner.take())
    head = reader.next_frame()
    assert head is not None
    assert decoder.decode(head.octets[9:], raw=True) == [*OK, (b"a", b"b")]
    for size in (100, 50, 2000, 0, 4000, 300, 300):
        pair.owner.received(hello([(1, size)]))
    pair.owner.take()
    pair.session.streams[1].say_end([(b"c", b"d")])
    pair.session.pump()
    reader.receive(pair.owner.take())
    trailers = reader.next_frame()
    assert trailers is not None
    decoder.max_allowed_table_size = 300
    # 0 and 300.
    assert trailers.octets[9:].startswith(b"\x20\x3f\x8d\x02")
    assert decoder.decode(trailers.octets[9:], raw=True) == [(b"c", b"d")]
    assert decoder.header_table_size == 300


def test_a_change_of_the_table_that_is_made_twice_is_said() -> None:
    pair = Pair()
    stream = pair.request(1)
    pair.owner.received(hello([(1, 0)]))
    pair.owner.received(hello([(1, 0)]))
    pair.owner.take()
    stream.say_head(OK, True)
    assert pair.owner.take()[9:].startswith(b"\x20")


def test_streams_that_are_over_are_forgotten() -> None:
    pair = Pair()
    for number in range(1, 2401, 2):
        pair.request(number).say_head(OK, True)
    connection = pair.session._h2
    assert connection.streams == {}
    assert len(connection._closed_streams) == 1000
    connection.forget(2401)
    assert len(connection._closed_streams) == 1000


def test_idle_streams() -> None:
    settings = {SettingCodes.MAX_FRAME_SIZE: 16384}
    server = Connection(False, settings, 1000)
    assert server.is_idle(1)
    assert server.is_idle(2)
    pair = Pair()
    pair.request(3, GET)
    server = pair.session._h2
    assert [server.is_idle(number) for number in (1, 2, 3, 4, 5)] == [False, True, False, True, True]
    pair = Pair(client=True)
    pair.owner.open(GET, True)
    client = pair.session._h2
    assert [client.is_idle(number) for number in (1, 2, 3)] == [False, True, True]


def test_what_is_said_is_plain_so_that_its_cost_is_linear() -> None:
    pair = Pair()
    stream = pair.request(1)
    value = b"abcdefgh" * 1000
    stream.say_head([*OK, (b"a", value)], False)
    out = pair.owner.take()
    assert value in out
    assert len(out) == 9 + 1 + 3 + 3 + len(value)


def test_a_size_of_the_table_that_is_not_allowed_any_more_is_not_said() -> None:
    pair = Pair()
    stream = pair.request(1)
    for size in (0, 4000, 100):
        pair.owner.received(hello([(1, size)]))
    pair.owner.take()
    stream.say_head(OK, False)
    # 0 and 100.
    assert pair.owner.take()[9:].startswith(b"\x20\x3f\x45\x88")
    pair.owner.received(hello([(1, 4000)]) + hello([(1, 50)]))
    pair.owner.take()
    stream.say_end([(b"c", b"d")])
    pair.session.pump()
    assert pair.owner.take()[9:].startswith(b"\x3f\x13\x40")


@pytest.mark.parametrize("size", [10, 16_384 - 5, 16_384 - 4, 16_384 * 3])
@pytest.mark.parametrize("end", [False, True])
def test_a_long_head_goes_in_parts(size: int, end: bool) -> None:
    pair = Pair()
    stream = pair.request(1)
    # An octet for the status, one for a literal, two of name and three of length.
    value = b"x" * (size - 3)
    stream.say_head([*OK, (b"a", value)], end)
    out = pair.owner.take()
    sizes = [len(one.data) for one in frames_of(out)]  # type: ignore[attr-defined]  # frames of field blocks
    assert all(one == 16_384 for one in sizes[:-1])
    assert 0 < sizes[-1] <= 16_384
    assert stream.sent == len(out)
    (answer, *rest) = pair.peer.receive_data(out)
    assert isinstance(answer, ResponseReceived)
    assert answer.headers == [*OK, (b"a", value)]
    assert len(rest) == int(end)
