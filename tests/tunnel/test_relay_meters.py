"""Relays that are measured, between real connections."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted

from twistedproxy.tunnel.relay import CLIENT, TUNNEL_IDLE, UPSTREAM

asynchronous = pytest_twisted.ensureDeferred


class Allowance:
    """A meter that lets so many bytes pass, and then whatever the test says."""

    def __init__(self, allowed: int, piece: int = 1 << 20) -> None:
        self.allowed = allowed
        self.piece = piece
        self.pieces: list[int] = []
        self.resting = False
        self.go_on: Callable[[], object] = lambda: None

    def passed(self, size: int) -> bool:
        self.pieces.append(size)
        self.allowed -= size
        self.resting = self.allowed <= 0
        return not self.resting

    def allow(self, more: int) -> None:
        """Let more pass."""
        self.allowed += more
        if self.resting and self.allowed > 0:
            self.resting = False
            self.go_on()


@asynchronous
async def test_nothing_comes_while_it_rests(connect: Callable[..., Any]) -> None:
    up, down = Allowance(4), Allowance(1 << 30)
    tunnel = connect(meters=(up, down))
    await tunnel.client.write(b"1234")
    assert await tunnel.upstream.read(4) == b"1234"
    assert "client=resting upstream=flowing" in repr(tunnel.relay)
    await tunnel.client.write(b"5678")
    # The other way goes on.
    for _ in range(5):
        await tunnel.upstream.write(b"abc")
        assert await tunnel.client.read(3) == b"abc"
    assert tunnel.relay.bytes_to_upstream == 4
    up.allow(10)
    assert await tunnel.upstream.read(4) == b"5678"
    assert sum(up.pieces) == 8
    assert sum(down.pieces) == 15


@asynchronous
async def test_an_end_that_comes_in_a_rest_is_passed_on_after_it(connect: Callable[..., Any]) -> None:
    up = Allowance(1)
    tunnel = connect(meters=(up, None))
    await tunnel.client.write(b"1")
    assert await tunnel.upstream.read(1) == b"1"
    await tunnel.client.write(b"2")
    tunnel.client.finish()
    for _ in range(10):
        await tunnel.turn()
    up.allow(100)
    assert await tunnel.upstream.read_to_end() == b"2"
    tunnel.upstream.finish()
    assert (await tunnel.end()).reason == ""


@asynchronous
async def test_what_was_read_before_counts(connect: Callable[..., Any]) -> None:
    up, down = Allowance(3), Allowance(3)
    tunnel = connect(to_upstream=b"early", to_client=b"too", meters=(up, down))
    assert await tunnel.upstream.read(5) == b"early"
    assert await tunnel.client.read(3) == b"too"
    assert repr(tunnel.relay).endswith("client=resting upstream=resting>")
    await tunnel.client.write(b"more")
    up.allow(3)
    assert await tunnel.upstream.read(4) == b"more"


@asynchronous
async def test_nobody_is_idle_who_may_not_go_on(connect: Callable[..., Any]) -> None:
    up = Allowance(1)
    tunnel = connect(meters=(up, None))
    await tunnel.client.write(b"1")
    assert await tunnel.upstream.read(1) == b"1"
    for _ in range(10):
        tunnel.clock.advance(30)
    assert tunnel.ended == []
    up.allow(5)
    for _ in range(10):
        tunnel.clock.advance(7)
    assert (await tunnel.end()).reason == TUNNEL_IDLE


@asynchronous
async def test_a_side_may_be_full_and_rest(connect: Callable[..., Any]) -> None:
    """Bytes that are held when a rest begins still leave, and nothing comes after them before it is over."""
    up = Allowance(1 << 19)
    tunnel = connect(buffer=1 << 14, meters=(up, None))
    sent = await tunnel.client.fill(tunnel.relay, CLIENT)
    received = 0
    while not up.resting:
        received += len(await tunnel.upstream.patiently(lambda: tunnel.upstream.socket.recv(4096)))
        while True:
            try:
                sent += tunnel.client.socket.send(bytes(4096))
            except BlockingIOError:
                break
        await tunnel.turn()
    for _ in range(20):
        await tunnel.turn()
    moved = tunnel.relay.bytes_to_upstream
    assert moved <= (1 << 19) + (1 << 17)
    up.allow(1 << 30)
    tunnel.client.finish()
    assert received + len(await tunnel.upstream.read_to_end()) == sent == tunnel.relay.bytes_to_upstream


@asynchronous
async def test_the_end_of_the_other_side_ends_a_rest(connect: Callable[..., Any]) -> None:
    up, down = Allowance(1), Allowance(1 << 30)
    tunnel = connect(meters=(up, down))
    await tunnel.client.write(b"1")
    assert await tunnel.upstream.read(1) == b"1"
    tunnel.upstream.reset()
    assert (await tunnel.end()).ended_by == UPSTREAM
    up.allow(5)


@asynchronous
async def test_splice_moves_no_more_than_a_piece(spliced: Callable[..., Any]) -> None:
    down = Allowance(1 << 30, piece=8192)
    tunnel = spliced(meters=(None, down))
    await tunnel.upstream.write(bytes(200_000))
    assert len(await tunnel.client.read(200_000)) == 200_000
    assert max(down.pieces) == 8192
    assert sum(down.pieces) == 200_000


@pytest.mark.parametrize("kind", ["splice", "copying"])
@asynchronous
async def test_a_stop_is_a_stop(kind: str, tunnel_of: Callable[..., Any]) -> None:
    up = Allowance(1)
    tunnel = tunnel_of(kind, meters=(up, None))
    await tunnel.client.write(b"1")
    assert await tunnel.upstream.read(1) == b"1"
    tunnel.relay.stop("quota_exceeded")
    assert (await tunnel.end()).reason == "quota_exceeded"
    up.allow(5)
