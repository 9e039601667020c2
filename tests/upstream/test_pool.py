"""The pool: what it keeps, what it caps, and who waits."""

from __future__ import annotations

import pytest

from tests.memory import MemoryTransport, Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def ask(wire: Wire, host: bytes = b"origin.test") -> MemoryTransport:
    client = wire.client()
    client.receive(b"GET http://" + host + b"/ HTTP/1.1\r\nHost: x\r\n\r\n")
    return client


def test_all_clients_share_it_and_the_newest_goes_first() -> None:
    wire = Wire()
    for _ in range(3):
        ask(wire)
    for origin in wire.origins:
        origin.receive(OK)
        origin.take()
    ask(wire)
    assert [bool(origin.take()) for origin in wire.origins] == [False, False, True]


def test_keys_do_not_mix() -> None:
    wire = Wire()
    ask(wire)
    wire.origins[0].receive(OK)
    ask(wire, b"other.test")
    ask(wire, b"origin.test:8000")
    assert [(dial.host, dial.port) for dial in wire.dialer.dials] == [
        ("origin.test", 80),
        ("other.test", 80),
        ("origin.test", 8000),
    ]


def test_an_origin_has_its_cap_and_the_first_who_waits_goes_first() -> None:
    wire = Wire(("upstream.max_connections_per_origin", "1"))
    clients = [ask(wire) for _ in range(3)]
    assert len(wire.origins) == 1
    for client in clients:
        wire.origins[0].receive(OK)
        assert client.take().endswith(b"hi")
    assert len(wire.origins) == 1


def test_a_place_that_comes_free_is_for_who_waits() -> None:
    wire = Wire(("upstream.max_connections_per_origin", "1"))
    ask(wire)
    second = ask(wire)
    wire.origins[0].peer_closes()
    wire.turn()
    assert len(wire.origins) == 2
    wire.origins[1].receive(OK)
    assert second.take().endswith(b"hi")


def test_waiting_ends() -> None:
    wire = Wire(("upstream.max_connections_per_origin", "1"))
    ask(wire)
    second = ask(wire)
    wire.pass_time(11)
    answer = second.take()
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"error=connection_limit_reached" in answer
    assert wire.records.reasons == ["upstream_connections_exceeded"]


def test_who_leaves_waits_no_more() -> None:
    wire = Wire(("upstream.max_connections_per_origin", "1"))
    ask(wire)
    second = ask(wire)
    third = ask(wire)
    second.peer_closes()
    wire.origins[0].receive(OK)
    wire.origins[0].receive(OK)
    assert third.take().endswith(b"hi")
    assert "waiting=0" in repr(wire.pool)


def test_an_idle_connection_makes_room_for_another_origin() -> None:
    wire = Wire(("upstream.max_connections", "1"))
    ask(wire)
    wire.origins[0].receive(OK)
    ask(wire, b"other.test")
    assert wire.origins[0].closed == "aborted"
    assert len(wire.origins) == 2
    assert wire.pool.open_connections == 1


def test_idle_connections_have_their_cap() -> None:
    wire = Wire(("upstream.max_idle", "1"))
    ask(wire)
    ask(wire)
    for origin in wire.origins:
        origin.receive(OK)
    assert [origin.closed for origin in wire.origins] == ["aborted", ""]
    assert repr(wire.pool) == "<Pool open=1 idle=1 waiting=0>"


def test_a_reload_leaves_old_connections_behind() -> None:
    """They were made under the old access policy."""
    wire = Wire()
    ask(wire)
    ask(wire)
    wire.origins[0].receive(OK)
    wire.reload()
    assert wire.origins[0].closed == "aborted"
    wire.origins[1].receive(OK)
    assert wire.origins[1].closed == "aborted"
    assert wire.pool.open_connections == 0


def test_a_connection_that_nobody_wants_any_more_is_given_up() -> None:
    wire = Wire()
    wire.dialer.open = False
    client = ask(wire)
    client.peer_resets()
    assert wire.dialer.dials[0].cancelled
    assert wire.pool.open_connections == 0
    assert repr(wire.pool) == "<Pool open=0 idle=0 waiting=0>"


@pytest.mark.parametrize("count", [1, 3])
def test_a_fault_in_dialing_is_an_answer(count: int, logged_errors: object) -> None:
    wire = Wire()
    wire.dialer.open = False
    clients = [ask(wire) for _ in range(count)]
    for dial in wire.dialer.dials:
        dial.fail(ZeroDivisionError())
    assert all(client.take().startswith(b"HTTP/1.1 500 ") for client in clients)
    assert wire.pool.open_connections == 0
    assert len(logged_errors.flush(ZeroDivisionError)) == count  # type: ignore[attr-defined]  # the fixture's own type


KEY = ("http", "origin.test", 80, "")


def test_other_workers_take_up_room() -> None:
    wire = Wire(("upstream.max_connections_per_origin", "2"), ("upstream.max_connections", "4"))
    wire.pool.learn({KEY: 1}, 1)
    ask(wire)
    ask(wire)
    assert len(wire.origins) == 1
    # Of others there is room for three in all, one of which is taken.
    for host in (b"a.test", b"b.test", b"c.test"):
        ask(wire, host)
    assert len(wire.origins) == 3
    assert wire.pool.waiting_requests == 2


@pytest.mark.parametrize("elsewhere", [({}, 0), ({KEY: 1}, 1)])
def test_who_waits_hears_of_room_elsewhere(elsewhere: tuple[dict[tuple[str, str, int], int], int]) -> None:
    wire = Wire(("upstream.max_connections_per_origin", "2"), ("upstream.wait_timeout", "10s"))
    wire.pool.learn({KEY: 2}, 2)
    client = ask(wire)
    assert wire.origins == []
    wire.pass_time(1)
    wire.pool.learn(*elsewhere)
    wire.origins[0].receive(OK)
    assert client.take().endswith(b"hi")


@pytest.mark.parametrize("cap", ["upstream.max_connections_per_origin", "upstream.max_connections"])
def test_what_is_idle_makes_room_for_others(cap: str) -> None:
    wire = Wire((cap, "2"))
    for _ in range(2):
        ask(wire)
    for origin in wire.origins:
        origin.receive(OK)
    assert (wire.pool.open_connections, wire.pool.in_use, wire.pool.idle_connections) == (2, 0, 2)
    assert wire.pool.in_use_by_key == {KEY: 0}
    wire.pool.learn({KEY: 1}, 1)
    assert (wire.pool.open_connections, wire.pool.idle_connections) == (1, 1)
    # The one that was used last is kept, and is of use although the others have all that is left.
    wire.pool.learn({KEY: 1}, 1)
    ask(wire)
    assert [bool(origin.take().count(b"GET") - 1) for origin in wire.origins] == [False, True]


def test_workers_share_what_may_be_idle() -> None:
    wire = Wire(("upstream.max_idle", "5"))
    wire.pool.workers = 2
    for number in range(4):
        ask(wire, b"origin-%d.test" % number)
        wire.origins[number].receive(OK)
    assert wire.pool.idle_connections == 3
