"""Tunnels under limits, with the network in memory; the relay copies there."""

from __future__ import annotations

import pytest

from tests.inner import ESTABLISHED, Inner, connect_to
from tests.memory import MemoryTransport, Wire


def limited(table: str, *more: tuple[str, str]) -> Wire:
    return Wire(("limits.tables", f'[{{ name = "a", {table} }}]'), *more)


def ask(wire: Wire) -> MemoryTransport:
    client = wire.client()
    client.receive(connect_to("origin.test:443"))
    return client


def test_tunnels_are_counted_until_they_end() -> None:
    wire = limited('per = "client", tunnels = 2, connections = 9')
    first, second, third = ask(wire), ask(wire), ask(wire)
    assert first.take() == second.take() == ESTABLISHED
    refused = third.take()
    assert refused.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert b"the limit a: 2 tunnels at the same time" in refused
    assert wire.records.reasons == ["tunnels_exceeded"]
    # The connection is good for another try.
    third.receive(connect_to("origin.test:443"))
    assert third.take().startswith(b"HTTP/1.1 429 ")
    first.peer_resets()
    wire.pass_time(1)
    third.receive(connect_to("origin.test:443"))
    assert third.take() == ESTABLISHED
    (state,) = wire.plane.restraint.states()
    assert (state.connections, state.tunnels) == (2, 2)


def test_a_tunnel_waits_for_another_to_end() -> None:
    wire = limited('per = "client", tunnels = 1, when_over = "slow"')
    first, second = ask(wire), ask(wire)
    assert second.take() == b""
    first.peer_resets()
    wire.pass_time(1)
    assert second.take() == ESTABLISHED


def test_one_that_is_opened_is_no_tunnel_any_more() -> None:
    wire = limited('per = "client", tunnels = 1', ("intercept.mode", "all-but"))
    client = ask(wire)
    assert client.take() == ESTABLISHED
    inner = Inner(wire, client, protocols=["http/1.1"])
    inner.shake_hands()
    assert list(wire.plane.restraint.states()) == []
    assert ask(wire).take() == ESTABLISHED


def test_what_is_asked_for_in_there_is_limited_for_itself() -> None:
    wire = limited('per = "client", requests_per_second = 1, burst = 2', ("intercept.mode", "all-but"))
    client = ask(wire)
    client.take()
    inner = Inner(wire, client, protocols=["http/1.1"])
    inner.shake_hands()
    for status in (b"", b"HTTP/1.1 429 "):
        inner.ask(b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n")
        heard = inner.heard()
        assert heard.startswith(status)
        if not status:
            wire.dialer.open = False
            client.peer_closes()
            client = ask(wire)
            assert client.take().startswith(b"HTTP/1.1 429 ")
            return


@pytest.mark.parametrize("direction", ["download", "upload"])
def test_a_tunnel_is_as_fast_as_it_may_be(direction: str) -> None:
    wire = limited(f'per = "client", {direction} = "100KiB"')
    client = ask(wire)
    client.take()
    (origin,) = wire.origins
    source, destination = (origin, client) if direction == "download" else (client, origin)
    came = 0
    for _ in range(800):
        while not source.paused:
            source.receive(bytes(8192))
        came += len(destination.take())
        wire.reactor.advance(0.0125)
        # Nothing holds up the other way.
        destination.receive(bytes(65536))
        source.take()
        assert not destination.paused
    assert came == pytest.approx(1024 * 1000 + 25600, abs=16384)


def test_a_tunnel_that_uses_up_a_quota_is_cut() -> None:
    wire = limited('per = "client", daily = "100KiB"')
    client = ask(wire)
    client.take()
    client.receive(bytes(60000))
    wire.turn()
    assert not client.closed
    wire.origins[0].receive(bytes(60000))
    wire.turn()
    assert client.closed
    assert wire.origins[0].closed
    (record,) = wire.records.all
    assert (record.kind, record.reason) == ("tunnel", "quota_exceeded")
    assert (record.bytes_to_upstream, record.bytes_from_upstream) == (60000, 60000)
    wire.pass_time(2)
    assert ask(wire).take().startswith(b"HTTP/1.1 429 ")
