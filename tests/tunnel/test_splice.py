"""What only the splicing relay can do, or do wrong."""

from __future__ import annotations

import errno
import gc
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from twistedproxy.tunnel import splice as splice_module
from twistedproxy.tunnel.relay import CLIENT, INTERNAL_ERROR, PROXY, STOPPED, UPSTREAM, UPSTREAM_RESET

SMALL = 1 << 15

asynchronous = pytest_twisted.ensureDeferred


@contextmanager
def no_new_descriptors() -> Iterator[None]:
    """As when the process, or the system, has run out of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def splice_that_fails(number: int, fails: Callable[[int, int], bool]) -> Callable[..., int]:
    """An `os.splice` with the error ``number`` whenever ``fails`` says so of the two descriptors."""
    real = os.splice

    def splice(source: int, destination: int, count: int, *, flags: int) -> int:
        if fails(source, destination):
            raise OSError(number, os.strerror(number))
        return real(source, destination, count, flags=flags)

    return splice


def is_pipe(descriptor: int) -> bool:
    return os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe:")


# ---------------------------------------------------------------- what a tunnel costs


@asynchronous
async def test_an_idle_tunnel_is_two_sockets_and_nothing_else(spliced: Callable[..., Any]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    tunnel = spliced(to_upstream=b"early")
    # Two near ends, two far ends.
    assert len(os.listdir("/proc/self/fd")) - before == 4
    await tunnel.client.write(b"bytes")
    assert await tunnel.upstream.read(10) == b"earlybytes"
    assert (tunnel.pipes.lent, tunnel.pipes.idle) == (0, 1)
    # Not a view of nothing, which would keep the early bytes.
    assert type(tunnel.relay._client.pending) is bytes
    assert not tunnel.reactor.getWriters()


@asynchronous
async def test_a_short_tunnel_takes_few_calls_of_the_system(
    spliced: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, running_reactor: Any
) -> None:
    calls: list[str] = []

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            calls.append(name)
            return function(*arguments, **named)

        return call

    for name in ("addReader", "removeReader", "addWriter", "removeWriter"):
        monkeypatch.setattr(running_reactor, name, counted(name, getattr(running_reactor, name)))
    monkeypatch.setattr(os, "splice", counted("splice", os.splice))
    tunnel = spliced()
    await tunnel.client.write(b"GET / HTTP/1.1\r\n\r\n")
    await tunnel.upstream.read(18)
    await tunnel.upstream.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await tunnel.client.read(19)
    tunnel.upstream.close()
    await tunnel.client.read_to_end()
    tunnel.client.close()
    await tunnel.end()
    assert calls.count("splice") == 6
    assert calls.count("addReader") == calls.count("removeReader") == 2
    assert not {"addWriter", "removeWriter"}.intersection(calls)


@asynchronous
async def test_a_tunnel_that_is_over_needs_no_garbage_collector(spliced: Callable[..., Any]) -> None:
    tunnel = spliced()
    tunnel.relay.stop("stopped")
    await tunnel.end()
    gc.collect()
    gc.disable()
    try:
        tunnel.relay = None
        tunnel.ended.clear()
        kinds = (splice_module.SpliceRelay, splice_module._Side)
        assert not [thing for thing in gc.get_objects() if isinstance(thing, kinds)]
    finally:
        gc.enable()
        tunnel.relay = spliced(start=False).relay


@asynchronous
async def test_one_turn_moves_one_pipe_at_most(spliced: Callable[..., Any]) -> None:
    tunnel = spliced(start=False)
    sent = tunnel.client.socket.send(bytes(1_000_000))
    await tunnel.turn()
    tunnel.relay.start()
    side = tunnel.relay._client
    before = side.moved
    side.doRead()
    assert 0 < side.moved - before <= 1 << 17 < sent
    assert len(await tunnel.upstream.read(sent)) == sent


# ---------------------------------------------------------------- bytes of one tunnel never reach another


@asynchronous
async def test_what_is_left_in_a_pipe_never_comes_out_of_it(spliced: Callable[..., Any]) -> None:
    for end in ("upstream reset", "client reset", "stop", "idle") * 2:
        tunnel = spliced(buffer=SMALL)
        await tunnel.client.fill(tunnel.relay, CLIENT)
        full = tunnel.relay._client.pipe
        assert tunnel.pipes.lent == 1
        match end:
            case "upstream reset":
                tunnel.upstream.reset()
            case "client reset":
                tunnel.client.reset()
                tunnel.clock.advance(61)
            case "stop":
                tunnel.relay.stop("stopped")
            case "idle":
                tunnel.clock.advance(61)
        await tunnel.end()
        assert tunnel.pipes.lent == 0
        for descriptor in (full.output, full.input):
            assert descriptor not in {end for pipe in tunnel.pipes._idle_large for end in pipe[:2]}
        other = spliced()
        await other.client.write(b"mine")
        other.client.finish()
        assert await other.upstream.read_to_end() == b"mine"
        other.upstream.finish()
        assert await other.client.read_to_end() == b""
        await other.end()


# ---------------------------------------------------------------- where it cannot splice


@asynchronous
async def test_without_descriptors_for_a_pipe_it_copies(spliced: Callable[..., Any]) -> None:
    tunnel = spliced(buffer=SMALL)
    with no_new_descriptors():
        sent = await tunnel.client.fill(tunnel.relay, CLIENT)
        assert (tunnel.pipes.lent, tunnel.pipes.idle) == (0, 0)
        # A chunk is held instead of a pipe.
        assert 0 < len(tunnel.relay._client.pending) <= splice_module.COPY_LENGTH
        assert "client=blocked" in repr(tunnel.relay)
        assert await tunnel.upstream.read(sent // 2) == (bytes(range(256)) * 9999)[: sent // 2]
    # When there are some again it splices, in the middle of the stream.
    rest = await tunnel.upstream.read(sent - sent // 2)
    assert rest == (bytes(range(256)) * 9999)[sent // 2 : sent]
    await tunnel.client.write(b"and on")
    tunnel.client.finish()
    assert await tunnel.upstream.read_to_end() == b"and on"
    assert tunnel.pipes.idle == 1
    with no_new_descriptors():
        tunnel.pipes.close()
        tunnel.upstream.finish()
        assert await tunnel.client.read_to_end() == b""
        assert (await tunnel.end()).reason == ""


@asynchronous
@pytest.mark.parametrize("into_pipe", [True, False])
async def test_sockets_that_the_kernel_does_not_splice_are_copied(
    spliced: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, into_pipe: bool, all_of: Callable[..., Any]
) -> None:
    fails = splice_that_fails(errno.EINVAL, lambda _, destination: is_pipe(destination) == into_pipe)
    monkeypatch.setattr(os, "splice", fails)
    tunnel = spliced()
    data = bytes(range(256)) * 4096
    _, received = await all_of(tunnel.client.write(data), tunnel.upstream.read(len(data)))
    assert received == data
    await tunnel.upstream.write(b"back")
    assert await tunnel.client.read(4) == b"back"
    tunnel.client.finish()
    assert await tunnel.upstream.read_to_end() == b""
    tunnel.upstream.finish()
    relay = await tunnel.end()
    assert (relay.reason, relay.bytes_to_upstream, relay.bytes_to_client) == ("", len(data), 4)


@asynchronous
async def test_a_kernel_short_of_memory_is_tried_again(
    spliced: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = [True] * 3
    fails = splice_that_fails(errno.ENOBUFS, lambda source, _: is_pipe(source) and bool(refusals and refusals.pop()))
    monkeypatch.setattr(os, "splice", fails)
    tunnel = spliced()
    await tunnel.client.write(b"in the end")
    assert await tunnel.upstream.read(10) == b"in the end"
    assert not refusals


@asynchronous
async def test_readiness_for_nothing_is_harmless(spliced: Callable[..., Any]) -> None:
    tunnel = spliced()
    tunnel.relay._client.doRead()
    tunnel.relay._upstream.doRead()
    await tunnel.client.write(b"bytes")
    assert await tunnel.upstream.read(5) == b"bytes"
    assert repr(tunnel.relay) == "<SpliceRelay to_upstream=5 to_client=0 client=flowing upstream=flowing>"


# ---------------------------------------------------------------- ends


@asynchronous
async def test_the_answer_of_an_upstream_that_then_reset_is_delivered(spliced: Callable[..., Any]) -> None:
    tunnel = spliced()
    await tunnel.client.write(b"a large upload begins")
    await tunnel.turn(0.01)
    # Unread bytes make its close a reset, as that of a server that refuses an upload.
    tunnel.upstream.socket.send(b"413, and here is why")
    tunnel.upstream.close()
    tunnel.client.socket.send(b"and goes on")
    # Before the reactor comes round to the answer, the next bytes of the upload meet the reset.
    tunnel.relay._client.doRead()
    assert await tunnel.client.reset_reached() == b"413, and here is why"
    relay = await tunnel.end()
    assert (relay.reason, relay.ended_by, relay.bytes_to_client) == (UPSTREAM_RESET, UPSTREAM, 20)


@asynchronous
async def test_an_upstream_that_is_gone_before_the_start_ends_it_at_the_start(
    spliced: Callable[..., Any],
) -> None:
    tunnel = spliced(to_upstream=b"early", to_client=b"early", start=False)
    tunnel.upstream.reset()
    await tunnel.turn()
    tunnel.relay.start()
    assert tunnel.ended == [tunnel.relay]
    assert repr(tunnel.relay) == ("<SpliceRelay to_upstream=0 to_client=0 ended by=upstream reason=upstream_reset>")
    await tunnel.client.reset_reached()


@asynchronous
async def test_a_reactor_that_stops_ends_it(spliced: Callable[..., Any], running_reactor: Any) -> None:
    tunnel = spliced()
    sides = tunnel.relay._client, tunnel.relay._upstream
    # What the reactor does when it stops: it forgets everyone, and then tells everyone.
    for side in sides:
        running_reactor.removeReader(side)
    for side in sides:
        side.connectionLost(Failure(ConnectionLost()))
    relay = await tunnel.end()
    assert (relay.reason, relay.ended_by) == (STOPPED, PROXY)
    assert await tunnel.client.read_to_end() == b""
    assert await tunnel.upstream.read_to_end() == b""


@asynchronous
async def test_a_fault_of_our_own_ends_it_with_a_reset_and_in_the_log(
    spliced: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, logged_errors: Any
) -> None:
    tunnel = spliced()

    def fail() -> None:
        raise ZeroDivisionError("not our day")

    monkeypatch.setattr(tunnel.pipes.__class__, "take", lambda self: fail())
    await tunnel.client.write(b"bytes")
    relay = await tunnel.end()
    assert (relay.reason, relay.ended_by) == (INTERNAL_ERROR, PROXY)
    await tunnel.client.reset_reached()
    await tunnel.upstream.reset_reached()
    (message,) = logged_errors.flush_messages()
    assert message.endswith("ZeroDivisionError: not our day\n")


@asynchronous
async def test_a_side_that_is_reset_while_full_both_ways_ends_it_once(spliced: Callable[..., Any]) -> None:
    tunnel = spliced(buffer=SMALL)
    await tunnel.fill_both()
    assert tunnel.pipes.lent == 2
    tunnel.upstream.reset()
    # It is watched for writing alone, and the reactor tells of the reset in its own way.
    relay = await tunnel.end()
    await tunnel.client.reset_reached()
    assert (relay.reason, relay.ended_by) == (UPSTREAM_RESET, UPSTREAM)
    assert (tunnel.near_client.fileno(), tunnel.near_upstream.fileno()) == (-1, -1)


@asynchronous
async def test_other_sockets_than_of_tcp(
    spliced: Callable[..., Any], running_reactor: Any, all_of: Callable[..., Any]
) -> None:
    """Unix-domain sockets are reset by nobody, and report their end in another way."""
    tunnel = spliced(start=False)
    tunnel.relay.stop("stopped")
    peer = type(tunnel.client)
    far_client, near_client = socket.socketpair()
    far_upstream, near_upstream = socket.socketpair()
    for sock in (far_client, near_client, far_upstream, near_upstream):
        sock.setblocking(False)
    tunnel.ended.clear()
    tunnel.client.close()
    tunnel.upstream.close()
    tunnel.client = peer(far_client, running_reactor)
    tunnel.upstream = peer(far_upstream, running_reactor)
    tunnel.relay = splice_module.SpliceRelay(
        near_client,
        near_upstream,
        to_upstream=b"",
        to_client=b"",
        idle_timeout=60.0,
        ended=tunnel.ended.append,
        deadlines=tunnel.deadlines,
        pipes=tunnel.pipes,
        reactor=running_reactor,
    )
    tunnel.relay.start()
    data = bytes(range(256)) * 8192
    _, received = await all_of(tunnel.client.write(data), tunnel.upstream.read(len(data)))
    assert received == data
    tunnel.upstream.close()
    assert await tunnel.client.read_to_end() == b""
    tunnel.client.close()
    assert (await tunnel.end()).reason == ""
