"""A stream's own queue and what it holds back."""

from __future__ import annotations

from h2.errors import ErrorCodes

from tests.http2.peers import OK, POST, Pair, frames_of, kinds_of, octets


def test_content_waits_for_the_pump() -> None:
    pair = Pair()
    stream = pair.request()
    stream.say_head(OK, False)
    pair.owner.take()
    stream.say(b"")
    assert (stream.unsaid, stream.wants_to_speak, stream.full) == (0, False, False)
    stream.say(b"abc")
    stream.say(b"de")
    assert (stream.unsaid, [*stream.queue], stream.wants_to_speak, stream.full) == (5, [b"abc", b"de"], True, True)
    assert pair.owner.take() == b""
    pair.session.pump()
    assert (stream.unsaid, stream.wants_to_speak, stream.full, stream.room) == (0, False, False, 1)
    assert [frame.data for frame in frames_of(pair.owner.take())] == [b"abc", b"de"]  # type: ignore[attr-defined]


def test_the_end_waits_for_the_content() -> None:
    pair = Pair()
    stream = pair.request()
    stream.say(b"abc")
    stream.say_end([(b"a", b"b")])
    assert (stream.take_end(), stream.ends_after_queue) == (None, False)
    stream.say_end(())
    assert stream.ends_after_queue
    stream.queue.clear()
    stream.unsaid = 0
    assert stream.take_end() == ()
    assert stream.take_end() is None


def test_it_is_full_while_the_connection_is() -> None:
    pair = Pair()
    stream = pair.request()
    assert not stream.full
    pair.owner.blocked = True
    assert stream.full


def test_an_end_that_is_said_twice_is_said_once() -> None:
    pair = Pair(client=True)
    stream = pair.owner.open(POST)
    stream.say_end(())
    pair.session.pump()
    stream.say_end(())
    pair.session.pump()
    assert kinds_of(pair.owner.take())[-2:] == ["Headers 1", "Data 1"]
    assert (stream.output_ended, stream.over) == (True, False)


def test_what_was_to_be_said_is_dropped_with_the_stream() -> None:
    pair = Pair()
    stream = pair.request()
    stream.say(b"abc")
    stream.say_end([(b"a", b"b")])
    pair.owner.take()
    stream.reset(ErrorCodes.CANCEL)
    assert (stream.over, stream.unsaid, len(stream.queue), stream.wants_to_speak) == (True, 0, 0, False)
    pair.session.pump()
    assert kinds_of(pair.owner.take()) == ["RstStream 1"]
    assert repr(stream) == "<Told 1 over>"


def test_a_rest_is_over_with_the_stream() -> None:
    pair = Pair()
    stream = pair.request(1, POST, end=False)
    stream.rest()
    assert stream.resting
    for _ in range(4):
        pair.owner.received(octets(0, 0, 1, bytes(65536)))
    pair.owner.take()
    stream.reset(ErrorCodes.CANCEL)
    pair.owner.take()
    stream.go_on()
    assert not stream.resting
    assert pair.owner.take() == b""
