"""Flow control in both directions (RFC 9113 section 5.2), and how streams take turns."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes
from h2.events import DataReceived
from hyperframe.frame import DataFrame, WindowUpdateFrame

from tests.http2.peers import GET, OK, POST, Owner, Pair, Told, frames_of, hello, kinds_of, octets, started
from twistedproxy.errors import RequestError
from twistedproxy.http2.session import CONNECTION_WINDOW

WINDOW = 262_144


def updates(data: bytes) -> list[tuple[int, int]]:
    """The streams and increments of the WINDOW_UPDATEs in what was written."""
    return [(one.stream_id, one.window_increment) for one in frames_of(data) if isinstance(one, WindowUpdateFrame)]


def contents(data: bytes) -> list[tuple[int, int]]:
    """The streams and sizes of the frames of content in what was written."""
    return [(one.stream_id, len(one.data)) for one in frames_of(data) if isinstance(one, DataFrame)]


# ---------------------------------------------------------------- what comes


def test_a_stream_is_acknowledged_by_halves_of_its_window() -> None:
    pair = Pair()
    pair.request(1, POST, end=False)
    for size in (60_000, 60_000, 11_071):
        pair.owner.received(octets(0, 0, 1, bytes(size)))
    assert updates(pair.owner.take()) == []
    pair.owner.received(octets(0, 0, 1, b"x"))
    assert updates(pair.owner.take()) == [(1, WINDOW // 2)]


def test_padding_is_acknowledged_with_the_content() -> None:
    pair = Pair()
    pair.request(1, POST, end=False)
    for _ in range(513):
        pair.owner.received(octets(0, 8, 1, b"\xff" + bytes(255)))
    assert updates(pair.owner.take()) == [(1, WINDOW // 2)]
    assert pair.owner.opened[1].content == b""


def test_a_resting_stream_holds_one_window_and_its_siblings_go_on() -> None:
    pair = Pair()
    resting = pair.request(1, POST, end=False)
    sibling = pair.request(3, POST, end=False)
    resting.rest()
    assert repr(resting) == "<Told 1 unsaid=0 resting>"
    for _ in range(4):
        pair.owner.received(octets(0, 0, 1, bytes(65536)))
    for _ in range(4):
        pair.owner.received(octets(0, 0, 3, bytes(65536)))
    assert updates(pair.owner.take()) == [(3, WINDOW // 2), (3, WINDOW // 2)]
    assert len(sibling.content) == WINDOW
    resting.go_on()
    resting.go_on()
    assert updates(pair.owner.take()) == [(1, WINDOW)]


def test_content_beyond_the_window_of_a_stream_ends_the_connection() -> None:
    pair = Pair()
    pair.request(1, POST, end=False).rest()
    for _ in range(4):
        pair.owner.received(octets(0, 0, 1, bytes(65536)))
    assert pair.owner.failed(octets(0, 0, 1, b"x"))[0] == ErrorCodes.FLOW_CONTROL_ERROR


def test_the_last_frame_may_be_the_one_that_half_of_the_window_is_due_with() -> None:
    pair = Pair(client=True)
    stream = pair.owner.open(GET, True)
    pair.run()
    pair.peer.send_headers(1, OK)
    pair.run()
    pair.owner.received(octets(0, 0, 1, bytes(65536)))
    pair.owner.received(octets(0, 1, 1, bytes(65536)))
    assert len(stream.content) == 131_072
    assert pair.owner.over == [1]
    assert updates(pair.owner.take()) == []


def test_a_rest_that_ends_after_the_content_acknowledges_nothing() -> None:
    pair = Pair()
    stream = pair.request(1, POST, end=False)
    stream.rest()
    for flags in (0, 0, 0, 1):
        pair.owner.received(octets(0, flags, 1, bytes(65536)))
    stream.go_on()
    assert updates(pair.owner.take()) == []


def test_the_connection_is_acknowledged_whatever_becomes_of_its_streams() -> None:
    """Over many streams that are reset while content is on its way to them, nothing of the window is lost."""
    pair = Pair(stream_window=65536)
    left = CONNECTION_WINDOW
    number = 1
    for _ in range(1500):
        pair.peer.send_headers(number, POST)
        pair.owner.received(pair.peer.data_to_send())
        pair.owner.opened[number].reset(ErrorCodes.CANCEL)
        pair.owner.received(octets(0, 0, number, bytes(16384)) + octets(0, 1, number, bytes(1)))
        left -= 16385
        out = pair.owner.take()
        assert kinds_of(out)[0] == f"RstStream {number}"
        assert kinds_of(out)[1:] in ([], ["WindowUpdate 0"])
        left += sum(increment for _, increment in updates(out))
        assert left > CONNECTION_WINDOW // 2 - 16385
        pair.peer.receive_data(out)
        number += 2
    assert pair.session.streams == {}


def test_content_for_a_stream_that_the_peer_has_ended() -> None:
    pair = Pair()
    pair.request(1, GET, end=True)
    assert pair.owner.take() == b""
    pair.owner.received(octets(0, 0, 1, b"more"))
    assert pair.owner.calls("reset") == [(1, "reset", ErrorCodes.STREAM_CLOSED)]
    assert kinds_of(pair.owner.take()) == ["RstStream 1"]
    # One that both have ended.
    pair.request(3).say_head(OK, True)
    pair.owner.take()
    pair.owner.received(octets(0, 0, 3, b"more"))
    assert kinds_of(pair.owner.take()) == ["RstStream 3"]
    assert pair.session.streams == {}


# ---------------------------------------------------------------- what goes


def test_streams_take_turns() -> None:
    owner = started(settings=[(4, 1 << 20), (5, 16384)])
    owner.received(octets(8, 0, 0, (1 << 20).to_bytes(4, "big")))
    encoder = Pair().peer.encoder
    for number in (1, 3):
        owner.received(octets(1, 5, number, encoder.encode(GET)))
        owner.opened[number].say_head(OK, False)
    owner.take()
    owner.opened[1].say(bytes(40_000))
    owner.opened[3].say(bytes(20_000))
    owner.opened[3].say_end(())
    owner.session.pump()
    out = owner.take()
    assert contents(out) == [(1, 16384), (3, 16384), (1, 16384), (3, 3616), (1, 7232)]
    assert owner.over == [3]
    assert owner.opened[1].room == 1


def test_frames_are_as_large_as_both_sides_like() -> None:
    for taken, size in ((16384, 16384), (1 << 20, 65536)):
        owner = started(settings=[(4, 1 << 20), (5, taken)])
        owner.received(octets(8, 0, 0, (1 << 20).to_bytes(4, "big")))
        owner.received(octets(1, 5, 1, Pair().peer.encoder.encode(GET)))
        owner.opened[1].say_head(OK, False)
        owner.opened[1].say(bytes(100_000))
        owner.take()
        owner.session.pump()
        assert contents(owner.take())[0] == (1, size)


def told_to_say(window: int, size: int) -> Owner:
    """A server that has ``size`` bytes to say to a client with that window."""
    owner = started(settings=[(4, window)])
    owner.received(octets(1, 5, 1, Pair().peer.encoder.encode(GET)))
    owner.opened[1].say_head(OK, False)
    owner.opened[1].say(bytes(size))
    owner.opened[1].say_end(())
    owner.take()
    owner.session.pump()
    return owner


def test_a_window_that_shrinks_below_what_was_sent() -> None:
    owner = told_to_say(1000, 1500)
    assert contents(owner.take()) == [(1, 1000)]
    stream = owner.opened[1]
    assert (stream.full, stream.unsaid) == (True, 500)
    owner.received(hello([(4, 100)]))
    owner.received(octets(8, 0, 1, (900).to_bytes(4, "big")))
    assert contents(owner.take()) == []
    owner.received(octets(8, 0, 1, (1).to_bytes(4, "big")))
    assert contents(owner.take()) == [(1, 1)]
    owner.received(hello([(4, 599)]))
    assert contents(owner.take()) == [(1, 499)]
    assert owner.over == [1]


def test_the_window_of_the_connection_stops_all_and_is_shared() -> None:
    owner = told_to_say(1 << 20, 60_000)
    owner.received(octets(1, 5, 3, Pair().peer.encoder.encode(GET)))
    other = owner.opened[3]
    other.say_head(OK, False)
    other.say(bytes(10_000))
    owner.session.pump()
    assert sum(size for _, size in contents(owner.take())) == 65535
    assert other.unsaid == 4465
    for size in (1, 4000):
        owner.received(octets(8, 0, 0, size.to_bytes(4, "big")))
        assert contents(owner.take()) == [(3, size)]
    owner.received(octets(8, 0, 0, (464).to_bytes(4, "big")))
    assert contents(owner.take()) == [(3, 464)]
    assert other.room == 1


def test_an_end_without_content_needs_no_window() -> None:
    owner = told_to_say(0, 0)
    assert contents(owner.take()) == [(1, 0)]
    assert owner.over == [1]


def test_nothing_is_sent_while_the_connection_takes_nothing() -> None:
    owner = started()
    owner.received(octets(1, 5, 1, Pair().peer.encoder.encode(GET)))
    stream = owner.opened[1]
    stream.say_head(OK, False)
    owner.take()
    owner.blocked = True
    stream.say(b"x")
    owner.session.pump()
    assert (owner.take(), stream.full) == (b"", True)
    owner.blocked = False
    owner.session.drained()
    assert (contents(owner.take()), stream.full) == ([(1, 1)], False)
    assert stream.room > 0


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (octets(8, 0, 0, bytes(4)), ErrorCodes.PROTOCOL_ERROR),
        (octets(8, 0, 1, bytes(4)), ErrorCodes.PROTOCOL_ERROR),
        (octets(8, 0, 0, b"\x7f\xff\xff\xff"), ErrorCodes.FLOW_CONTROL_ERROR),
        (octets(8, 0, 5, b"\0\0\0\1"), ErrorCodes.PROTOCOL_ERROR),
        (octets(8, 0, 0, b"\0\0\1"), ErrorCodes.FRAME_SIZE_ERROR),
        (hello([(4, 1 << 31)]), ErrorCodes.FLOW_CONTROL_ERROR),
        (octets(8, 0, 1, b"\x7f\0\0\0") + hello([(4, (1 << 31) - 1)]), ErrorCodes.FLOW_CONTROL_ERROR),
    ],
)
def test_windows_that_cannot_be(data: bytes, code: int) -> None:
    owner = started()
    owner.received(octets(1, 4, 1, Pair().peer.encoder.encode(POST)))
    assert owner.failed(data)[0] == code


def test_a_window_of_a_stream_that_overflows_ends_the_stream() -> None:
    pair = Pair()
    pair.request(1, POST, end=False)
    sibling = pair.request(3, POST, end=False)
    pair.owner.received(octets(8, 0, 1, b"\x7f\xff\xff\xff"))
    assert pair.owner.calls("reset") == [(1, "reset", ErrorCodes.FLOW_CONTROL_ERROR)]
    assert kinds_of(pair.owner.take()) == ["RstStream 1"]
    sibling.say_head(OK, False)
    sibling.say(b"on")
    pair.session.pump()
    assert [event.data for event in pair.run() if isinstance(event, DataReceived)] == [b"on"]


def test_what_the_settings_allow_is_not_done_before_they_are_acknowledged() -> None:
    owner = started(settings=[(4, 0)])
    owner.head_error = RequestError("wrong")
    owner.says_when_malformed = True
    owner.received(hello([(4, 100), (1, 0)]) + octets(1, 5, 1, Pair().peer.encoder.encode(GET)))
    assert kinds_of(owner.take()) == ["Settings 0", "Headers 1", "Data 1"]


def test_streams_that_say_more_as_soon_as_there_is_room() -> None:
    """However many they are and however much they say, nobody is called while he is being called."""
    owner = started(settings=[(4, 1 << 20)], max_streams=300)
    owner.received(octets(8, 0, 0, (1 << 20).to_bytes(4, "big")))
    encoder = Pair().peer.encoder
    for number in range(1, 600, 2):
        owner.received(octets(1, 5, number, encoder.encode(GET)))
        owner.opened[number].say_head(OK, False)
    depth = 0

    def say_more(stream: Told) -> None:
        nonlocal depth
        depth += 1
        assert depth == 1
        if stream.room < 20:
            stream.say(b"more")
            owner.session.pump()
        depth -= 1

    owner.when_room_is_made = say_more
    for stream in owner.opened.values():
        stream.say(b"some")
    owner.session.pump()
    assert {stream.room for stream in owner.opened.values()} == {20}
    assert {stream.sent for stream in owner.opened.values()} == {10 + 20 * (9 + 4)}
