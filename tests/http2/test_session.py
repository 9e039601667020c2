"""A session and the library at its other end: what is told, and what is said."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    InformationalResponseReceived,
    PingAckReceived,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from hyperframe.frame import DataFrame, SettingsFrame, WindowUpdateFrame

from tests.http2.peers import GET, OK, POST, Owner, Pair, frames_of, hello, kinds_of, octets, started
from twistedproxy.errors import RequestError, ResponseError
from twistedproxy.http2.session import PREFACE


def test_each_side_says_first_what_it_takes() -> None:
    settings, window = frames_of(Owner(client=False, max_streams=7, stream_window=100_000, max_head_size=5000).out)
    assert isinstance(settings, SettingsFrame)
    assert settings.settings == {1: 4096, 2: 0, 3: 7, 4: 100_000, 5: 65536, 6: 5000, 8: 1}
    assert isinstance(window, WindowUpdateFrame)
    assert window.window_increment == 4 * 1024 * 1024 - 65535
    out = Owner(client=True).out
    assert out.startswith(PREFACE)
    settings = frames_of(out)[0]
    assert isinstance(settings, SettingsFrame)
    assert settings.settings[2] == 0
    assert settings.settings[8] == 0


def test_a_request_and_its_response() -> None:
    pair = Pair()
    stream = pair.request(block=POST, end=False)
    pair.peer.send_data(1, b"question", pad_length=9)
    pair.peer.send_headers(1, [(b"a", b"b")], end_stream=True)
    pair.run()
    assert pair.owner.log[-5:] == [
        (1, "head", b"", False),
        (1, "turn"),
        (1, "content", b"question"),
        (1, "end", [(b"a", b"b")]),
        (1, "turn"),
    ]
    stream.say_head([(b":status", b"103"), (b"link", b"x")], False)
    stream.say_head(OK, False)
    stream.say(b"ans")
    stream.say(b"wer")
    stream.say_end([(b"c", b"d")])
    assert pair.owner.over == []
    assert repr(stream) == "<Told 1 unsaid=6>"
    pair.session.pump()
    assert (repr(stream), pair.owner.over, pair.session.streams) == ("<Told 1 over>", [1], {})
    told = pair.run()
    assert [type(event) for event in told] == [
        InformationalResponseReceived,
        ResponseReceived,
        DataReceived,
        DataReceived,
        TrailersReceived,
        StreamEnded,
    ]


def test_a_request_of_ours_and_its_response() -> None:
    pair = Pair(client=True)
    stream = pair.owner.open(POST)
    stream.say(b"question")
    stream.say_end(())
    pair.session.pump()
    told = pair.run()
    assert [type(event) for event in told] == [RequestReceived, DataReceived, StreamEnded]
    pair.peer.send_headers(1, [(b":status", b"100")])
    pair.peer.send_headers(1, OK)
    pair.peer.send_data(1, b"answer")
    pair.peer.send_headers(1, [(b"a", b"b")], end_stream=True)
    pair.run()
    assert pair.owner.calls("head", "content", "end", "turn") == [
        (1, "head", b"100", False),
        (1, "head", b"200", False),
        (1, "content", b"answer"),
        (1, "end", [(b"a", b"b")]),
        (1, "turn"),
    ]
    assert pair.owner.over == [1]


def test_the_last_piece_of_content_ends_the_stream() -> None:
    pair = Pair()
    stream = pair.request()
    stream.say_head(OK, False)
    stream.say(b"all")
    stream.say_end(())
    pair.session.pump()
    head, content = frames_of(pair.owner.take())
    assert isinstance(content, DataFrame)
    assert (head.flags, content.flags, content.data) == ({"END_HEADERS"}, {"END_STREAM"}, b"all")


def test_streams_are_told_in_the_order_in_which_they_were_touched() -> None:
    pair = Pair()
    owner = pair.owner
    for number in (1, 3, 5, 7):
        pair.peer.send_headers(number, GET, end_stream=True)
    owner.received(pair.peer.data_to_send())
    assert owner.calls("turn") == [(1, "turn"), (3, "turn"), (5, "turn"), (7, "turn")]


def test_bytes_are_counted_by_stream() -> None:
    pair = Pair()
    pair.peer.send_headers(1, POST)
    pair.peer.send_data(1, b"x" * 100, pad_length=3)
    sent = pair.peer.data_to_send()
    pair.owner.received(sent)
    stream = pair.owner.opened[1]
    assert stream.received == len(sent)
    pair.owner.take()
    stream.say_head(OK, False)
    stream.say(b"y" * 1000)
    pair.session.pump()
    assert stream.sent == len(pair.owner.take())


def test_bytes_of_a_head_in_parts_are_counted_and_those_of_late_ones_are_not() -> None:
    pair = Pair()
    pair.request(1, POST, end=False).reset(ErrorCodes.CANCEL)
    pair.peer.send_headers(1, [(b"late", b"x" * 1000)], end_stream=True)
    pair.owner.received(pair.peer.data_to_send())
    pair.peer.send_headers(3, [*GET, (b"long", b"x" * 70_000)], end_stream=True)
    sent = pair.peer.data_to_send()
    assert kinds_of(sent) == ["Headers 3", "Continuation 3"]
    pair.owner.received(sent)
    assert pair.owner.opened[3].received == len(sent)


# ---------------------------------------------------------------- messages that are not valid


def test_a_malformed_request_ends_its_stream_only() -> None:
    pair = Pair()
    sibling = pair.request(1, POST, end=False)
    pair.owner.head_error = RequestError("wrong")
    pair.peer.send_headers(3, POST)
    told = pair.run()
    (reset,) = [event for event in told if isinstance(event, StreamReset)]
    assert (reset.stream_id, reset.error_code) == (3, ErrorCodes.PROTOCOL_ERROR)
    assert pair.owner.calls("malformed") == [(3, "malformed", "wrong")]
    assert pair.owner.over == [3]
    pair.peer.send_data(1, b"on")
    pair.run()
    assert sibling.content == b"on"


def test_a_malformed_request_is_answered_first() -> None:
    for end in (True, False):
        pair = Pair()
        pair.owner.head_error = RequestError("wrong")
        pair.owner.says_when_malformed = True
        pair.peer.send_headers(1, GET, end_stream=end)
        told = pair.run()
        expected = [ResponseReceived, DataReceived, StreamEnded]
        assert [type(event) for event in told] == expected + ([] if end else [StreamReset])
        assert pair.owner.over == [1]


@pytest.mark.parametrize("end", [True, False])
def test_a_malformed_response_ends_its_stream_only(end: bool) -> None:
    pair = Pair(client=True)
    sibling = pair.owner.open(GET, True)
    pair.owner.open(GET, True)
    pair.run()
    pair.owner.head_error = ResponseError("wrong")
    pair.peer.send_headers(3, OK, end_stream=end)
    pair.run()
    assert pair.owner.calls("malformed") == [(3, "malformed", "wrong")]
    pair.owner.head_error = None
    pair.peer.send_headers(1, OK)
    pair.peer.send_data(1, b"on", end_stream=True)
    pair.run()
    assert sibling.content == b"on"
    assert pair.owner.over == [3, 1]


def test_malformed_trailers_end_their_stream_only() -> None:
    pair = Pair(client=True)
    pair.owner.open(GET, True)
    pair.run()
    pair.owner.end_error = ResponseError("wrong")
    pair.peer.send_headers(1, OK)
    pair.peer.send_headers(1, [(b"a", b"b")], end_stream=True)
    pair.run()
    assert pair.owner.calls("malformed") == [(1, "malformed", "wrong")]
    assert pair.owner.over == [1]
    pair.owner.open(GET, True)
    pair.run()
    assert pair.session.room_for_streams == 99


LENGTH = [*POST, (b"content-length", b"5")]
SHORT_OR_LONG = [
    # What follows the head, and the number of frames of it that are looked at.
    [octets(0, 0, 1, b"123456")],
    [octets(0, 0, 1, b"123"), octets(0, 0, 1, b"456")],
    [octets(0, 1, 1, b"1234")],
    [octets(0, 0, 1, b"1234"), octets(0, 1, 1)],
    [octets(0, 8, 1, b"\x02123456\0\0")],
    [octets(0, 0, 1, b"1234"), octets(1, 5, 1, b"\0\x01a\x01b")],
]


@pytest.mark.parametrize("rest", SHORT_OR_LONG)
@pytest.mark.parametrize("client", [False, True])
def test_content_that_is_not_as_long_as_promised_ends_its_stream_only(client: bool, rest: list[bytes]) -> None:
    pair = Pair(client=client)
    if client:
        pair.owner.open(GET, True)
        pair.run()
        pair.peer.send_headers(1, [*OK, (b"content-length", b"5")])
        pair.run()
    else:
        pair.request(1, LENGTH, end=False)
    pair.owner.take()
    for data in rest:
        pair.owner.received(data)
    assert pair.owner.calls("malformed") == [(1, "malformed", "the content is not as long as its Content-Length")]
    assert pair.owner.over == [1]
    assert kinds_of(pair.owner.take()) == ["RstStream 1"]


@pytest.mark.parametrize("padded", [b"", b"\x03"])
def test_content_that_is_as_long_as_promised(padded: bytes) -> None:
    pair = Pair()
    stream = pair.request(1, LENGTH, end=False)
    pair.owner.received(octets(0, 8 if padded else 0, 1, padded + b"12345" + (b"\0\0\0" if padded else b"")))
    pair.owner.received(octets(0, 1, 1))
    assert stream.content == b"12345"
    assert pair.owner.calls("end", "malformed") == [(1, "end", [])]


@pytest.mark.parametrize("value", [b"5, 5", b"", b"x", b"9" * 5000])
def test_the_library_does_not_judge_lengths(value: bytes) -> None:
    pair = Pair()
    pair.owner.head_error = RequestError("wrong")
    pair.peer.send_headers(1, [*GET, (b"content-length", value)])
    pair.run()
    assert pair.owner.calls("malformed") == [(1, "malformed", "wrong")]


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", b"200"), (b"GET", b"304"), (b"GET", b"204")])
def test_a_response_without_content_may_have_a_length_and_an_empty_last_frame(method: bytes, status: bytes) -> None:
    pair = Pair(client=True)
    pair.owner.open([(b":method", method), *GET[1:]], True)
    pair.run()
    block = pair.peer.encoder.encode([(b":status", status), (b"content-length", b"10" if status != b"200" else b"0")])
    pair.owner.received(octets(1, 4, 1, block) + octets(0, 1, 1))
    assert pair.owner.calls("end", "malformed") == [(1, "end", [])]


def test_content_after_a_response_that_has_none() -> None:
    pair = Pair(client=True)
    pair.owner.open(GET, True)
    pair.run()
    block = pair.peer.encoder.encode([(b":status", b"204")])
    pair.owner.received(octets(1, 4, 1, block) + octets(0, 0, 1, b"x"))
    assert pair.owner.calls("malformed") == [(1, "malformed", "the content is not as long as its Content-Length")]


# ---------------------------------------------------------------- resets and ends


def test_the_peer_resets() -> None:
    pair = Pair()
    pair.request(1, POST, end=False)
    pair.peer.reset_stream(1, ErrorCodes.CANCEL)
    pair.run()
    assert pair.owner.calls("reset") == [(1, "reset", 8)]
    assert pair.owner.over == [1]


def test_a_complete_response_to_an_unfinished_request() -> None:
    pair = Pair()
    stream = pair.request(1, POST, end=False)
    stream.say_head(OK, True)
    told = pair.run()
    assert [type(event) for event in told] == [ResponseReceived, StreamEnded, StreamReset]
    assert told[-1].error_code == ErrorCodes.NO_ERROR  # type: ignore[attr-defined]  # it is a StreamReset
    assert pair.owner.over == [1]


def test_a_stream_may_be_reset_before_its_head_and_after_its_end() -> None:
    pair = Pair(client=True)
    stream = pair.owner.open(GET, True)
    pair.run()
    pair.peer.send_headers(1, OK, end_stream=True)
    pair.owner.end_error = ResponseError("wrong")
    pair.run()
    stream.reset(ErrorCodes.CANCEL)
    assert pair.owner.over == [1]
    unsaid = type(stream)(pair.owner, pair.session)
    pair.session.open(unsaid)
    assert unsaid.id == 3
    unsaid.reset(ErrorCodes.CANCEL)
    assert pair.owner.over == [1, 3]
    assert pair.owner.take() == b""
    assert pair.owner.open(GET, True).id == 3


def test_nothing_is_said_on_a_stream_that_is_over() -> None:
    pair = Pair()
    stream = pair.request()
    stream.reset(ErrorCodes.CANCEL)
    pair.owner.take()
    stream.say_head(OK, False)
    stream.say(b"x")
    stream.say_end(())
    stream.reset(ErrorCodes.CANCEL)
    pair.session.pump()
    pair.session.drained()
    assert (pair.owner.take(), stream.unsaid, stream.room) == (b"", 0, 0)


def test_after_the_end_of_the_connection_nothing_is_said() -> None:
    pair = Pair()
    streams = [pair.request(number, POST, end=False) for number in (1, 3)]
    streams[0].say_head(OK, False)
    streams[0].say(b"x")
    pair.owner.take()
    assert pair.session.end() == streams
    assert pair.owner.over == [1, 3]
    pair.session.pump()
    pair.session.drained()
    pair.session.ping()
    pair.session.go_away()
    streams[1].reset(1)
    pair.owner.received(octets(6, 0, 0, b"12345678"))
    assert pair.owner.take() == b""
    assert pair.session.room_for_streams == 0


def test_after_an_error_nothing_is_said() -> None:
    pair = Pair()
    stream = pair.request(1, POST, end=False)
    pair.owner.failed(octets(6, 0, 0, b"short"))
    pair.owner.take()
    stream.say_head(OK, False)
    stream.say(b"x")
    stream.say_end(())
    stream.rest()
    stream.go_on()
    pair.session.pump()
    stream.reset(ErrorCodes.CANCEL)
    pair.owner.received(hello())
    assert (pair.owner.take(), pair.owner.over, stream.over) == (b"", [1], True)


# ---------------------------------------------------------------- GOAWAY and PING


def test_streams_go_on_after_the_peers_goaway() -> None:
    pair = Pair(client=True)
    stream = pair.owner.open(POST)
    pair.run()
    pair.owner.received(octets(7, 0, 0, b"\x80\0\0\1\0\0\0\2debug"))
    assert (0, "goaway", 1, 2) in pair.owner.log
    pair.peer.send_headers(1, OK)
    pair.peer.send_data(1, b"still")
    pair.run()
    stream.say(b"here")
    stream.say_end(())
    pair.session.pump()
    assert [type(event) for event in pair.run()] == [DataReceived, StreamEnded]
    assert stream.content == b"still"


def test_streams_go_on_after_our_goaway_and_new_ones_are_refused() -> None:
    pair = Pair()
    stream = pair.request(1, POST, end=False)
    pair.session.go_away()
    assert pair.owner.take()[-8:] == b"\x7f\xff\xff\xff\0\0\0\0"
    pair.request(3)
    pair.session.go_away(last=pair.session.highest_stream)
    assert pair.owner.take()[-8:] == b"\0\0\0\3\0\0\0\0"
    pair.peer.send_headers(5, POST)
    pair.peer.send_data(5, b"late")
    told = pair.run()
    assert [(event.stream_id, event.error_code) for event in told if isinstance(event, StreamReset)] == [(5, 7)]
    assert 5 not in pair.owner.opened
    # A number that has been said is not taken back.
    pair.session.go_away()
    assert pair.owner.take()[-8:] == b"\0\0\0\3\0\0\0\0"
    pair.peer.send_data(1, b"on")
    pair.run()
    assert stream.content == b"on"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (octets(7, 0, 1, bytes(8)), (1, "a GOAWAY is where it does not belong")),
        (octets(7, 0, 0, bytes(7)), (6, "a GOAWAY is too short")),
        (octets(1, 0, 1, b"\x82") + octets(7, 0, 0, bytes(8)), (1, "a GOAWAY is where it does not belong")),
    ],
)
def test_a_goaway_that_is_not_valid(data: bytes, error: tuple[int, str]) -> None:
    assert started().failed(data) == error


def test_pings() -> None:
    pair = Pair()
    pair.peer.ping(b"12345678")
    assert [type(event) for event in pair.run()] == [PingAckReceived]
    # Answers to nothing.
    pair.owner.received(octets(6, 1, 0, b"pyproxy?") + octets(4, 1, 0))
    pair.session.ping()
    pair.owner.received(octets(6, 1, 0, b"12345678"))
    assert pair.owner.calls("pong") == []
    pair.run()
    assert pair.owner.calls("pong") == [(0, "pong")]
    pair.owner.received(octets(6, 1, 0, b"pyproxy?"))
    assert pair.owner.calls("pong") == [(0, "pong")]


def test_the_first_bytes() -> None:
    owner = Owner(client=False)
    for position in range(len(PREFACE)):
        owner.received(PREFACE[position : position + 1])
    owner.received(hello())
    assert owner.log == [(0, "settings")]
    preface = (1, "the connection does not begin with the preface of HTTP/2")
    assert Owner(client=False).failed(b"GET / HTTP/1.1\r\n") == preface
    assert Owner(client=False).failed(PREFACE[:10] + b"x") == preface
    first = (1, "the first frame is no SETTINGS")
    assert Owner(client=False).failed(PREFACE + octets(6, 0, 0, bytes(8))) == first
    assert Owner(client=False).failed(PREFACE + octets(4, 1, 0)) == first
    assert Owner(client=True).failed(octets(1, 4, 1)) == first
    # An origin that speaks something else.
    assert Owner(client=True).failed(b"HTTP/1.1 400 Bad Request\r\n")[0] == ErrorCodes.FRAME_SIZE_ERROR


def test_what_the_peer_says_it_takes() -> None:
    owner = started(client=True, settings=[(3, 5), (8, 1)])
    assert (owner.session.room_for_streams, owner.session.takes_websocket) == (5, True)
    owner.open(GET, True)
    assert owner.session.room_for_streams == 4
    owner.received(hello([(3, 0)]))
    assert owner.session.room_for_streams == -1
    owner = started(client=True)
    assert (owner.session.room_for_streams, owner.session.takes_websocket) == (100, False)


def test_an_extended_connect_carries_bytes_both_ways() -> None:
    pair = Pair()
    block = [(b":method", b"CONNECT"), (b":protocol", b"websocket"), *GET[1:]]
    stream = pair.request(1, block, end=False)
    stream.say_head(OK, False)
    stream.say(b"to")
    pair.session.pump()
    pair.peer.send_data(1, b"fro")
    told = pair.run()
    assert [event.data for event in told if isinstance(event, DataReceived)] == [b"to"]
    assert stream.content == b"fro"
    pair.peer.end_stream(1)
    pair.run()
    assert pair.owner.calls("end") == [(1, "end", [])]
    assert not stream.over
    stream.say_end(())
    pair.session.pump()
    assert stream.over


def test_its_repr() -> None:
    pair = Pair()
    pair.request(1)
    assert repr(pair.session) == "<Session server streams=1 <Allowance left=1998>>"
    assert repr(Owner(client=True).session) == "<Session client streams=0 <Allowance left=2000>>"
