"""What both kinds of relay do, between real connections."""

from __future__ import annotations

import hashlib
import random
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted

from twistedproxy.tunnel.relay import CLIENT, CLIENT_LEFT, PROXY, TUNNEL_IDLE, UPSTREAM, UPSTREAM_RESET, Relay

IDLE_TIMEOUT = 60.0
SMALL = 1 << 15

asynchronous = pytest_twisted.ensureDeferred


# ---------------------------------------------------------------- bytes


@asynchronous
async def test_bytes_pass_both_ways_and_are_counted(connect: Callable[..., Any]) -> None:
    tunnel = connect()
    await tunnel.client.write(b"question")
    assert await tunnel.upstream.read(8) == b"question"
    await tunnel.upstream.write(b"the answer")
    assert await tunnel.client.read(10) == b"the answer"
    await tunnel.client.write(b"more")
    assert await tunnel.upstream.read(4) == b"more"
    assert (tunnel.relay.bytes_to_upstream, tunnel.relay.bytes_to_client) == (12, 10)
    assert (tunnel.relay.reason, tunnel.relay.ended_by, tunnel.ended) == ("", "", [])


@asynchronous
async def test_eight_mebibytes_each_way_at_once(connect: Callable[..., Any], all_of: Callable[..., Any]) -> None:
    tunnel = connect()
    up = random.Random(1).randbytes(1 << 23)
    down = random.Random(2).randbytes(1 << 23)

    async def talk(peer: Any, data: bytes) -> None:
        await peer.write(data)
        peer.finish()

    _, _, got_up, got_down = await all_of(
        talk(tunnel.client, up),
        talk(tunnel.upstream, down),
        tunnel.upstream.read_to_end(),
        tunnel.client.read_to_end(),
    )
    assert hashlib.sha256(got_up).digest() == hashlib.sha256(up).digest()
    assert hashlib.sha256(got_down).digest() == hashlib.sha256(down).digest()
    relay = await tunnel.end()
    assert (relay.reason, relay.bytes_to_upstream, relay.bytes_to_client) == ("", 1 << 23, 1 << 23)


@asynchronous
async def test_bytes_read_early_come_first(connect: Callable[..., Any]) -> None:
    tunnel = connect(to_upstream=b"early up ", to_client=b"early down ", start=False)
    await tunnel.client.write(b"late up")
    await tunnel.upstream.write(b"late down")
    tunnel.relay.start()
    assert await tunnel.upstream.read(16) == b"early up late up"
    assert await tunnel.client.read(20) == b"early down late down"
    assert (tunnel.relay.bytes_to_upstream, tunnel.relay.bytes_to_client) == (16, 20)


@asynchronous
async def test_early_bytes_that_the_other_side_has_no_room_for_wait_their_turn(
    connect: Callable[..., Any],
) -> None:
    early = random.Random(3).randbytes(1 << 20)
    tunnel = connect(to_upstream=early, buffer=SMALL)
    await tunnel.client.write(b"late")
    tunnel.client.finish()
    await tunnel.turn(0.02)
    await tunnel.upstream.write(b"against the stream")
    assert await tunnel.client.read(18) == b"against the stream"
    assert await tunnel.upstream.read_to_end() == early + b"late"


@asynchronous
async def test_early_bytes_reach_a_side_that_has_finished(connect: Callable[..., Any]) -> None:
    tunnel = connect(to_upstream=b"early", start=False)
    tunnel.upstream.finish()
    tunnel.client.finish()
    await tunnel.turn()
    tunnel.relay.start()
    assert await tunnel.upstream.read_to_end() == b"early"
    assert await tunnel.client.read_to_end() == b""
    assert (await tunnel.end()).reason == ""


# ---------------------------------------------------------------- backpressure


@asynchronous
@pytest.mark.parametrize("from_client", [True, False])
async def test_a_side_that_does_not_read_stops_the_other_and_nothing_is_lost(
    connect: Callable[..., Any], from_client: bool
) -> None:
    tunnel = connect(buffer=SMALL)
    source, sink = tunnel.client, tunnel.upstream
    if not from_client:
        source, sink = sink, source
    sent = await source.fill(tunnel.relay, CLIENT if from_client else UPSTREAM)
    # One pipe or transport buffer, and four kernel buffers, which are larger than they were asked to be.
    assert sent < 1_000_000
    assert "blocked" in repr(tunnel.relay)
    # The other direction does not mind.
    await sink.write(b"meanwhile")
    assert await source.read(9) == b"meanwhile"
    received = await sink.read(sent)
    assert received == (bytes(range(256)) * (sent // 256 + 1))[:sent]
    await tunnel.turn(0.01)
    assert "blocked" not in repr(tunnel.relay)
    await source.write(b"and on")
    source.finish()
    assert await sink.read_to_end() == b"and on"


@asynchronous
async def test_both_sides_can_be_full_at_once(connect: Callable[..., Any], all_of: Callable[..., Any]) -> None:
    tunnel = connect(buffer=SMALL)
    up, down = await tunnel.fill_both()
    got_up, got_down = await all_of(tunnel.upstream.read(up), tunnel.client.read(down))
    assert (len(got_up), len(got_down)) == (up, down)
    await tunnel.client.write(b"and on")
    await tunnel.upstream.write(b"and back")
    assert await tunnel.upstream.read(6) == b"and on"
    assert await tunnel.client.read(8) == b"and back"


# ---------------------------------------------------------------- the end in order


@asynchronous
async def test_the_end_from_the_client_first(connect: Callable[..., Any]) -> None:
    tunnel = connect()
    await tunnel.client.write(b"last words")
    tunnel.client.finish()
    assert await tunnel.upstream.read_to_end() == b"last words"
    await tunnel.upstream.write(b"x" * 1_000_000)
    assert not tunnel.ended
    assert "client=finished upstream=flowing" in repr(tunnel.relay)
    tunnel.upstream.finish()
    assert await tunnel.client.read_to_end() == b"x" * 1_000_000
    relay = await tunnel.end()
    assert (relay.reason, relay.ended_by) == ("", CLIENT)
    assert (relay.bytes_to_upstream, relay.bytes_to_client) == (10, 1_000_000)


@asynchronous
async def test_the_end_from_the_upstream_first(connect: Callable[..., Any]) -> None:
    tunnel = connect()
    await tunnel.upstream.write(b"bye")
    tunnel.upstream.finish()
    assert await tunnel.client.read_to_end() == b"bye"
    await tunnel.client.write(b"one more thing")
    assert await tunnel.upstream.read(14) == b"one more thing"
    tunnel.client.close()
    assert await tunnel.upstream.read_to_end() == b""
    relay = await tunnel.end()
    assert (relay.reason, relay.ended_by) == ("", UPSTREAM)


@asynchronous
async def test_the_end_from_both_at_once(connect: Callable[..., Any]) -> None:
    tunnel = connect(start=False)
    await tunnel.client.write(b"up")
    await tunnel.upstream.write(b"down")
    tunnel.client.finish()
    tunnel.upstream.finish()
    await tunnel.turn()
    tunnel.relay.start()
    assert await tunnel.upstream.read_to_end() == b"up"
    assert await tunnel.client.read_to_end() == b"down"
    relay = await tunnel.end()
    assert (relay.reason, relay.bytes_to_upstream, relay.bytes_to_client) == ("", 2, 4)
    assert relay.ended_by in (CLIENT, UPSTREAM)


@asynchronous
async def test_a_full_buffer_is_delivered_before_the_end(connect: Callable[..., Any]) -> None:
    tunnel = connect(buffer=SMALL)
    sent = await tunnel.client.fill(tunnel.relay, CLIENT)
    tunnel.client.finish()
    tunnel.upstream.finish()
    assert await tunnel.client.read_to_end() == b""
    await tunnel.turn(0.01)
    assert not tunnel.ended
    assert len(await tunnel.upstream.read_to_end()) == sent
    relay = await tunnel.end()
    assert (relay.reason, relay.ended_by, relay.bytes_to_upstream) == ("", UPSTREAM, sent)


@asynchronous
async def test_a_side_that_has_finished_costs_nothing(connect: Callable[..., Any]) -> None:
    tunnel = connect()
    tunnel.client.finish()
    assert await tunnel.upstream.read_to_end() == b""
    began = time.process_time()
    await tunnel.turn(0.3)
    # A socket at its end stays readable; a reactor that is told so again and again never rests.
    assert time.process_time() - began < 0.15
    tunnel.upstream.close()
    assert await tunnel.client.read_to_end() == b""
    await tunnel.end()


# ---------------------------------------------------------------- the end out of order


@asynchronous
@pytest.mark.parametrize("by_client", [True, False])
async def test_a_reset_is_passed_on_after_the_bytes_before_it(connect: Callable[..., Any], by_client: bool) -> None:
    tunnel = connect()
    breaker, other = (tunnel.client, tunnel.upstream) if by_client else (tunnel.upstream, tunnel.client)
    await breaker.write(b"so far")
    assert await other.read(6) == b"so far"
    await other.write(b"and back")
    assert await breaker.read(8) == b"and back"
    await breaker.write(b"the last")
    breaker.reset()
    relay = await tunnel.end()
    assert await other.reset_reached() == b"the last"
    assert relay.ended_by == (CLIENT if by_client else UPSTREAM)
    assert relay.reason == (CLIENT_LEFT if by_client else UPSTREAM_RESET)
    assert relay.bytes_to_upstream == (14 if by_client else 8)


@asynchronous
async def test_a_reset_of_a_side_that_is_being_written_to(connect: Callable[..., Any]) -> None:
    tunnel = connect(buffer=SMALL)
    await tunnel.client.fill(tunnel.relay, CLIENT)
    tunnel.upstream.reset()
    relay = await tunnel.end()
    await tunnel.client.reset_reached()
    assert (relay.reason, relay.ended_by) == (UPSTREAM_RESET, UPSTREAM)


@asynchronous
async def test_a_reset_of_a_side_that_had_finished(connect: Callable[..., Any]) -> None:
    tunnel = connect(buffer=SMALL)
    tunnel.client.finish()
    assert await tunnel.upstream.read_to_end() == b""
    await tunnel.upstream.fill(tunnel.relay, UPSTREAM)
    tunnel.client.reset()
    relay = await tunnel.end()
    # It has read the client's FIN, so it can only learn of the reset when it writes.
    with pytest.raises(BrokenPipeError):
        await tunnel.upstream.write(b"anyone there?")
    assert (relay.reason, relay.ended_by) == (CLIENT_LEFT, CLIENT)


@asynchronous
async def test_a_close_with_bytes_unread_is_a_reset(connect: Callable[..., Any]) -> None:
    tunnel = connect()
    await tunnel.client.write(b"unwanted")
    await tunnel.turn(0.02)
    tunnel.upstream.close()
    relay = await tunnel.end()
    await tunnel.client.reset_reached()
    assert (relay.reason, relay.ended_by) == (UPSTREAM_RESET, UPSTREAM)


@asynchronous
async def test_a_side_that_dies_after_its_end_is_noticed_by_the_idle_timeout(
    connect: Callable[..., Any],
) -> None:
    tunnel = connect()
    tunnel.client.finish()
    assert await tunnel.upstream.read_to_end() == b""
    tunnel.client.reset()
    began = time.process_time()
    await tunnel.turn(0.3)
    # Nothing is to be read from it and nothing to be written, so nobody watches it, nor spins for it.
    assert time.process_time() - began < 0.15
    assert not tunnel.ended
    tunnel.clock.advance(IDLE_TIMEOUT + 1)
    relay = await tunnel.end()
    assert (relay.reason, relay.ended_by) == (TUNNEL_IDLE, PROXY)


@asynchronous
async def test_a_side_that_dies_while_it_is_kept_waiting_is_noticed_by_the_idle_timeout(
    connect: Callable[..., Any],
) -> None:
    tunnel = connect(buffer=SMALL)
    await tunnel.client.fill(tunnel.relay, CLIENT)
    tunnel.client.reset()
    began = time.process_time()
    await tunnel.turn(0.3)
    assert time.process_time() - began < 0.15
    if "client=blocked" in repr(tunnel.relay):
        tunnel.clock.advance(IDLE_TIMEOUT + 1)
    relay = await tunnel.end()
    await tunnel.upstream.reset_reached()
    # Should the kernel find more room for the other side by itself, the client is read from, and noticed early.
    assert (relay.reason, relay.ended_by) in {(TUNNEL_IDLE, PROXY), (CLIENT_LEFT, CLIENT)}


# ---------------------------------------------------------------- deadlines and stopping


@asynchronous
async def test_silence_ends_it(connect: Callable[..., Any]) -> None:
    tunnel = connect()
    tunnel.clock.advance(IDLE_TIMEOUT - 0.5)
    assert not tunnel.ended
    tunnel.clock.advance(1.0)
    relay = await tunnel.end()
    assert (relay.reason, relay.ended_by) == (TUNNEL_IDLE, PROXY)
    # Nothing was cut, so both see an end and no reset.
    assert await tunnel.client.read_to_end() == b""
    assert await tunnel.upstream.read_to_end() == b""


@asynchronous
@pytest.mark.parametrize("from_client", [True, False])
async def test_bytes_in_either_direction_push_the_deadline_back(connect: Callable[..., Any], from_client: bool) -> None:
    tunnel = connect()
    source, sink = tunnel.client, tunnel.upstream
    if not from_client:
        source, sink = sink, source
    for _ in range(4):
        tunnel.clock.advance(IDLE_TIMEOUT - 1)
        await source.write(b".")
        assert await sink.read(1) == b"."
    assert not tunnel.ended
    tunnel.clock.advance(IDLE_TIMEOUT + 1)
    assert (await tunnel.end()).reason == TUNNEL_IDLE


@asynchronous
async def test_a_reader_that_is_slow_but_reads_is_not_idle(connect: Callable[..., Any]) -> None:
    tunnel = connect(buffer=SMALL)
    sent = await tunnel.client.fill(tunnel.relay, CLIENT)
    received = 0
    while received < sent:
        tunnel.clock.advance(IDLE_TIMEOUT - 1)
        assert not tunnel.ended
        # What is read makes room for what is held here; after that there is silence in truth.
        received += len(await tunnel.upstream.read(min(1 << 17, sent - received)))
        await tunnel.turn(0.01)
        if "blocked" not in repr(tunnel.relay):
            break
    tunnel.clock.advance(IDLE_TIMEOUT - 1)
    assert not tunnel.ended
    tunnel.clock.advance(2)
    assert (await tunnel.end()).reason == TUNNEL_IDLE


@asynchronous
async def test_stopping_an_idle_tunnel_closes_it_in_order(connect: Callable[..., Any]) -> None:
    tunnel = connect()
    await tunnel.client.write(b"bytes")
    assert await tunnel.upstream.read(5) == b"bytes"
    tunnel.relay.stop("drain_deadline")
    assert tunnel.ended == [tunnel.relay]
    relay = await tunnel.end()
    assert (relay.reason, relay.ended_by) == ("drain_deadline", PROXY)
    assert await tunnel.client.read_to_end() == b""
    assert await tunnel.upstream.read_to_end() == b""


@asynchronous
async def test_stopping_with_bytes_held_resets_both(connect: Callable[..., Any]) -> None:
    tunnel = connect(buffer=SMALL)
    await tunnel.client.fill(tunnel.relay, CLIENT)
    tunnel.relay.stop("stopped")
    assert tunnel.ended == [tunnel.relay]
    await tunnel.end()
    await tunnel.client.reset_reached()
    await tunnel.upstream.reset_reached()


@asynchronous
async def test_only_the_first_end_counts(connect: Callable[..., Any]) -> None:
    tunnel = connect()
    tunnel.on_end = lambda relay: relay.stop("within")
    tunnel.relay.stop("first")
    tunnel.relay.stop("second")
    tunnel.client.reset()
    tunnel.upstream.reset()
    relay = await tunnel.end()
    relay.stop("third")
    relay.deadline_passed()
    assert (await tunnel.end()).reason == "first"


@asynchronous
async def test_stopping_before_the_start(connect: Callable[..., Any]) -> None:
    tunnel = connect(start=False)
    tunnel.relay.stop("stopped")
    assert (await tunnel.end()).reason == "stopped"
    assert await tunnel.client.read_to_end() == b""
    assert await tunnel.upstream.read_to_end() == b""


@asynchronous
async def test_who_wants_to_know_may_fail(connect: Callable[..., Any], logged_errors: Any) -> None:
    tunnel = connect()

    def fail(relay: Relay) -> None:
        raise ZeroDivisionError("not our day")

    tunnel.on_end = fail
    tunnel.client.reset()
    assert (await tunnel.end()).reason == CLIENT_LEFT
    assert [str(failure.value) for failure in logged_errors.flush(ZeroDivisionError)] == ["not our day"]
    await tunnel.upstream.reset_reached()


@asynchronous
async def test_what_an_operator_sees(connect: Callable[..., Any]) -> None:
    tunnel = connect(to_client=b"hello")
    await tunnel.client.read(5)
    name = type(tunnel.relay).__name__
    counts = "to_upstream=0 to_client=5"
    assert repr(tunnel.relay) == f"<{name} {counts} client=flowing upstream=flowing>"
    tunnel.client.finish()
    await tunnel.upstream.read_to_end()
    assert repr(tunnel.relay) == f"<{name} {counts} client=finished upstream=flowing>"
    tunnel.upstream.reset()
    await tunnel.end()
    assert repr(tunnel.relay) == f"<{name} {counts} ended by=upstream reason=upstream_reset>"


# ---------------------------------------------------------------- oddities


@asynchronous
async def test_an_urgent_byte_stops_nothing(connect: Callable[..., Any]) -> None:
    tunnel = connect()
    await tunnel.client.write(b"before")
    tunnel.client.socket.send(b"!", socket.MSG_OOB)
    await tunnel.turn(0.02)
    began = time.process_time()
    await tunnel.turn(0.3)
    # Where a splice stops it, the socket stays readable and yet gives nothing.
    assert time.process_time() - began < 0.15
    await tunnel.client.write(b" after")
    assert await tunnel.upstream.read(12) == b"before after"
    tunnel.client.finish()
    assert await tunnel.upstream.read_to_end() == b""


@asynchronous
@pytest.mark.parametrize("seed", range(12))
async def test_any_order_of_writing_reading_and_finishing(connect: Callable[..., Any], seed: int) -> None:
    """Against the simplest model of a tunnel: what went in at one end comes out of the other, and then the end."""
    dice = random.Random(seed)
    tunnel = connect(
        to_upstream=dice.randbytes(dice.choice((0, 5, 70_000))),
        to_client=dice.randbytes(dice.choice((0, 5, 70_000))),
        buffer=dice.choice((0, SMALL)),
        start=False,
    )
    peers = {CLIENT: tunnel.client, UPSTREAM: tunnel.upstream}
    expected = {UPSTREAM: bytearray(), CLIENT: bytearray()}
    received = {UPSTREAM: bytearray(), CLIENT: bytearray()}
    other = {CLIENT: UPSTREAM, UPSTREAM: CLIENT}
    unfinished = [CLIENT, UPSTREAM]
    early = {side: getattr(tunnel, f"early_to_{side}") for side in expected}
    for side, data in early.items():
        expected[side] += data
    tunnel.relay.start()
    for _ in range(200):
        side = dice.choice((CLIENT, UPSTREAM))
        match dice.choices(("write", "read", "turn", "finish"), (6, 6, 3, 0.1))[0]:
            case "write" if side in unfinished:
                data = dice.randbytes(dice.choice((1, 100, 5_000, 200_000)))
                try:
                    taken = peers[side].socket.send(data)
                except BlockingIOError:
                    taken = 0
                expected[other[side]] += data[:taken]
            case "read":
                try:
                    received[side] += peers[side].socket.recv(dice.choice((10, 10_000, 500_000)))
                except BlockingIOError:
                    pass
            case "finish" if side in unfinished:
                peers[side].finish()
                unfinished.remove(side)
            case _:
                await tunnel.turn()
    for side in unfinished:
        peers[side].finish()
    # One side is only read once the other has been, whatever fills up meanwhile.
    for side in dice.sample((CLIENT, UPSTREAM), 2):
        received[side] += await peers[side].read_to_end()
    assert received == expected
    relay = await tunnel.end()
    assert relay.reason == ""
    assert relay.bytes_to_upstream == len(expected[UPSTREAM])
    assert relay.bytes_to_client == len(expected[CLIENT])
