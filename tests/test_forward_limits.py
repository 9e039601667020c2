"""Requests under limits: refused, slowed, counted; with the network in memory and a clock."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, IPv6Address

from tests.memory import WALL, MemoryTransport, Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: d\r\n\r\nhi"
LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\nDate: d\r\n\r\n"
REQUEST = b"GET http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\n\r\n"
UPLOAD = b"PUT http://origin.test/ HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 1048576\r\n\r\n"
PIECE = 65536


def limited(table: str, *more: tuple[str, str]) -> Wire:
    """A proxy with one limit, or several."""
    tables = table if table.startswith("[") else f'[{{ name = "a", {table} }}]'
    return Wire(("limits.tables", tables), *more)


def client_at(wire: Wire, host: str) -> MemoryTransport:
    kind = IPv6Address if ":" in host else IPv4Address
    return wire.client(kind("TCP", host, 40000))


def ask(wire: Wire, client: MemoryTransport | None = None, request: bytes = REQUEST) -> MemoryTransport:
    client = client or wire.client()
    client.receive(request)
    return client


def answer(wire: Wire, content: bytes = OK) -> None:
    """What the origin says on every connection that waits for it."""
    for origin in wire.origins:
        if not origin.closed and origin.take():
            origin.receive(content)
    wire.turn()


def field(answered: bytes, name: bytes) -> bytes:
    lines = answered.partition(b"\r\n\r\n")[0].split(b"\r\n")
    return next((line.partition(b": ")[2] for line in lines if line.startswith(name + b":")), b"")


# ---------------------------------------------------------------- requests


def test_requests_over_the_rate_are_refused() -> None:
    wire = limited('per = "client", requests_per_second = 2, burst = 3')
    client = wire.client()
    for _ in range(3):
        ask(wire, client)
        answer(wire)
        assert client.take().startswith(b"HTTP/1.1 200 OK\r\n")
    ask(wire, client)
    refused = client.take()
    assert refused.startswith(b"HTTP/1.1 429 Too Many Requests\r\n")
    assert field(refused, b"Retry-After") == b"1"
    assert field(refused, b"Proxy-Status") == b"proxy.test; error=http_request_denied"
    assert b"the limit a: 2 requests a second" in refused
    assert wire.records.reasons == ["", "", "", "requests_exceeded"]
    assert wire.records.all[-1].kind == "answer"
    wire.pass_time(0.5)
    ask(wire, client)
    answer(wire)
    assert client.take().startswith(b"HTTP/1.1 200 OK\r\n")
    assert wire.plane.restraint.refusals == {"a": 1}


def test_retry_after_is_when_the_next_may_come() -> None:
    wire = limited('per = "client", requests_per_second = 0.1')
    ask(wire)
    assert field(ask(wire).take(), b"Retry-After") == b"10"
    wire.pass_time(4.5)
    assert field(ask(wire).take(), b"Retry-After") == b"6"


def test_each_client_has_its_own() -> None:
    wire = limited('per = "client", requests_per_second = 1', ("access.clients", "all"))
    addresses = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"]
    for address in addresses:
        assert ask(wire, client_at(wire, address)).take() == b""
    for address in [*addresses[:2], "2001:db8::2", "2001:db8:0:1:ffff::1", "::ffff:192.0.2.1"]:
        assert b" 429 " in ask(wire, client_at(wire, address)).take(), address


def test_requests_wait_for_their_turn() -> None:
    wire = limited('per = "client", requests_per_second = 2, burst = 1, when_over = "slow"', ("limits.max_wait", "1s"))
    clients = [ask(wire) for _ in range(4)]
    assert len(wire.origins) == 1
    # The fourth would have to wait for one and a half seconds.
    assert field(clients[3].take(), b"Retry-After") == b"2"
    wire.pass_time(0.55)
    assert len(wire.origins) == 2
    wire.pass_time(0.5)
    assert len(wire.origins) == 3
    answer(wire)
    assert [client.take()[:15] for client in clients] == [b"HTTP/1.1 200 OK"] * 3 + [b""]
    assert wire.records.reasons == ["requests_exceeded", "", "", ""]
    restraint = wire.plane.restraint
    assert (restraint.refusals, restraint.slowings) == ({"a": 1}, {"a": 2})


def test_no_more_wait_than_may() -> None:
    wire = limited('per = "all", requests_per_second = 1, when_over = "slow"', ("limits.max_waiting", "2"))
    answers = [ask(wire).take()[:12] for _ in range(5)]
    assert answers == [b"", b"", b"", b"HTTP/1.1 429", b"HTTP/1.1 429"]


def test_content_waits_with_its_request() -> None:
    wire = limited('per = "client", requests_per_second = 1, when_over = "slow"')
    ask(wire)
    client = ask(wire, request=UPLOAD + b"abc")
    assert client.paused
    assert len(wire.origins) == 1
    wire.pass_time(1.1)
    assert not client.paused
    assert wire.origins[1].take().endswith(b"\r\n\r\nabc")


def test_a_client_that_leaves_while_it_waits_is_gone() -> None:
    wire = limited('per = "client", requests_per_second = 1, connections = 2, when_over = "slow"')
    ask(wire)
    leaving = ask(wire)
    leaving.peer_closes()
    wire.pass_time(2)
    assert len(wire.origins) == 1
    assert wire.records.reasons == ["client_left"]
    # Its connection is not counted any more.
    assert ask(wire).take() == b""


def test_what_the_rules_refuse_is_not_counted() -> None:
    rules = '[{ hosts = ["other.test"], action = "deny" }]'
    wire = limited('per = "client", requests_per_second = 1', ("access.rules", rules))
    for _ in range(3):
        assert b" 403 " in ask(wire, request=REQUEST.replace(b"origin", b"other")).take()
    assert ask(wire).take() == b""


# ---------------------------------------------------------------- who is counted


def test_limits_that_rules_give() -> None:
    tables = (
        '[{ name = "slow", per = "client", everybody = false, requests_per_second = 1 },'
        ' { name = "one", per = "rule", tunnels = 5, requests_per_second = 1 }]'
    )
    rules = (
        '[{ clients = ["192.0.2.0/30"], action = "set", limits = ["slow"] },'
        ' { name = "night", clients = ["192.0.2.8/30"], action = "set", limits = ["one"] },'
        ' { name = "day", clients = ["192.0.2.16/30"], action = "set", limits = ["one"] }]'
    )
    wire = limited(tables, ("access.rules", rules), ("access.clients", "all"))
    for address, refused in [
        ("192.0.2.1", False),
        ("192.0.2.1", True),
        ("192.0.2.2", False),
        ("192.0.2.9", False),
        ("192.0.2.10", True),
        ("192.0.2.17", False),
        ("192.0.2.18", True),
        ("192.0.2.33", False),
        ("192.0.2.33", False),
    ]:
        assert (b" 429 " in ask(wire, client_at(wire, address)).take()) is refused, address


def test_the_strictest_wins() -> None:
    tables = (
        '[{ name = "all", per = "all", requests_per_second = 1, burst = 3 },'
        ' { name = "each", per = "client", requests_per_second = 1, burst = 2 }]'
    )
    wire = limited(tables, ("access.clients", "all"))
    first, second = (client_at(wire, address) for address in ("192.0.2.1", "192.0.2.2"))

    def limit(client: MemoryTransport) -> bytes:
        taken = ask(wire, client).take()
        answer(wire)
        client.take()
        return taken.partition(b"the limit ")[2].partition(b":")[0]

    assert [limit(first), limit(first), limit(first)] == [b"", b"", b"each"]
    # What one limit has refused has taken nothing from the other.
    assert [limit(second), limit(second)] == [b"", b"all"]


# ---------------------------------------------------------------- what is under way


def test_connections_with_a_request_under_way() -> None:
    wire = limited('per = "client", connections = 2')
    idle = wire.client()
    first, second = ask(wire), ask(wire)
    refused = ask(wire, idle).take()
    assert refused.startswith(b"HTTP/1.1 429 ")
    assert b"the limit a: 2 connections at the same time" in refused
    assert wire.records.reasons == ["connections_exceeded"]
    answer(wire)
    assert first.take()[:12] == second.take()[:12] == b"HTTP/1.1 200"
    # Both are still open.
    assert ask(wire, idle).take() == b""


def test_connections_wait_for_one_another() -> None:
    wire = limited('per = "client", connections = 1, when_over = "slow"', ("limits.max_wait", "3s"))
    first, second, third, fourth = (ask(wire) for _ in range(4))
    assert len(wire.origins) == 1
    answer(wire)
    assert first.take().endswith(b"hi")
    assert wire.origins[0].take()
    third.peer_closes()
    wire.origins[0].receive(OK)
    wire.turn()
    assert second.take().endswith(b"hi")
    assert wire.origins[0].take()
    fifth = ask(wire)
    wire.pass_time(3.1)
    assert fifth.take().startswith(b"HTTP/1.1 429 ")
    wire.origins[0].receive(OK)
    assert fourth.take().endswith(b"hi")
    assert wire.records.reasons == ["", "client_left", "", "connections_exceeded", ""]


def test_an_upgrade_counts_as_a_tunnel() -> None:
    wire = limited('per = "client", tunnels = 1')
    upgrade = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n")
    assert ask(wire, request=upgrade).take() == b""
    assert ask(wire).take() == b""
    refused = ask(wire, request=upgrade).take()
    assert b"the limit a: 1 tunnels at the same time" in refused
    assert wire.records.reasons == ["tunnels_exceeded"]
    wire.origins[0].receive(OK)
    assert ask(wire, request=upgrade).take() == b""


# ---------------------------------------------------------------- bandwidth


def download(wire: Wire, client: MemoryTransport, seconds: float, origin: int = 0) -> int:
    """How many bytes came to a client from an origin that always has more."""
    came = 0
    for _ in range(round(seconds / 0.0125)):
        while not wire.origins[origin].paused:
            wire.origins[origin].receive(bytes(8192))
        came += len(client.take())
        wire.reactor.advance(0.0125)
    return came


def test_a_download_is_as_fast_as_it_may_be() -> None:
    wire = limited('per = "client", download = "100KiB"')
    client = ask(wire)
    wire.origins[0].receive(LARGE.replace(b"1048576", b"104857600"))
    assert download(wire, client, 10) == pytest.approx(1024 * 1000 + 25600, abs=16384)
    assert wire.plane.restraint.slowings == {"a": 1}


def test_downloads_of_one_client_share_its_rate_evenly() -> None:
    wire = limited('per = "client", download = "100KiB"', ("access.clients", "all"))
    clients = [ask(wire), ask(wire), ask(wire, client_at(wire, "192.0.2.1"))]
    for origin in wire.origins:
        origin.receive(LARGE.replace(b"1048576", b"104857600"))
    came = [0, 0, 0]
    for _ in range(800):
        for number, client in enumerate(clients):
            while not wire.origins[number].paused:
                wire.origins[number].receive(bytes(4096))
            came[number] += len(client.take())
        wire.reactor.advance(0.0125)
    assert came[0] + came[1] == pytest.approx(came[2], rel=0.05)
    assert came[2] == pytest.approx(1024 * 1000 + 25600, rel=0.02)
    # The first to come had the burst.
    assert came[0] == pytest.approx(came[1], rel=0.1)


def test_an_upload_is_as_fast_as_it_may_be() -> None:
    wire = limited('per = "client", upload = "100KiB"')
    client = ask(wire, request=UPLOAD.replace(b"1048576", b"104857600"))
    came = 0
    for _ in range(800):
        while not client.paused:
            client.receive(bytes(8192))
        came += len(wire.origins[0].take())
        wire.reactor.advance(0.0125)
    assert came == pytest.approx(1024 * 1000 + 25600, abs=16384)


def test_many_small_answers_are_no_way_around() -> None:
    wire = limited('per = "client", download = "10KiB"')
    content = b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nDate: d\r\n\r\n" + bytes(5000)
    client, came = wire.client(), 0
    for _ in range(100):
        ask(wire, client)
        for _ in range(200):
            answer(wire, content)
            taken = len(client.take())
            came += taken
            if taken:
                break
            wire.reactor.advance(0.01)
    assert came == 100 * len(content) + 100 * len(b"Via: 1.1 proxy.test\r\n")
    assert wire.reactor.seconds() - 1000 == pytest.approx(came / 10240, rel=0.05)


def test_no_deadline_passes_in_a_rest() -> None:
    wire = limited('per = "client", download = "1KiB", upload = "1KiB"')
    client = ask(wire)
    wire.origins[0].receive(LARGE + bytes(PIECE * 8))
    assert wire.origins[0].paused
    client.protocol.readConnectionLost()
    wire.pass_time(500)
    assert not client.closed
    wire.pass_time(13)
    assert not wire.origins[0].paused
    sending = ask(wire, request=UPLOAD)
    sending.receive(bytes(PIECE * 4))
    assert sending.paused
    wire.pass_time(250)
    assert sending.paused
    assert not sending.closed


def test_a_client_that_does_not_read_and_has_rested_is_waited_for() -> None:
    """Either may hold up the origin, and only when neither does it goes on."""
    wire = limited('per = "client", download = "64KiB"')
    client = ask(wire)
    wire.origins[0].receive(LARGE + bytes(PIECE))
    assert wire.origins[0].paused
    client.fill()
    wire.pass_time(2)
    assert wire.origins[0].paused
    client.drain()
    assert not wire.origins[0].paused
    wire.origins[0].receive(bytes(PIECE))
    assert wire.origins[0].paused
    client.fill()
    client.drain()
    assert wire.origins[0].paused
    wire.pass_time(1)
    assert not wire.origins[0].paused


def test_a_reload_changes_the_rate_of_what_is_under_way() -> None:
    wire = limited('per = "client", download = "10KiB"')
    client = ask(wire)
    wire.origins[0].receive(LARGE.replace(b"1048576", b"104857600"))
    assert download(wire, client, 5) < 100_000
    wire.reload(("limits.tables", '[{ name = "a", per = "client", download = "100KiB" }]'))
    assert download(wire, client, 10) == pytest.approx(1024 * 1000, rel=0.1)
    wire.reload()
    # Those that have begun under a limit keep it.
    assert download(wire, client, 10) == pytest.approx(1024 * 1000, rel=0.1)


# ---------------------------------------------------------------- quotas


def test_a_quota_that_is_used_up_refuses_until_midnight() -> None:
    wire = limited('per = "client", daily = "1KiB"')
    ask(wire)
    answer(wire, b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\nDate: d\r\n\r\n" + bytes(2000))
    assert wire.records.reasons == [""]
    refused = ask(wire).take()
    assert refused.startswith(b"HTTP/1.1 429 ")
    # It is eight o'clock.
    assert field(refused, b"Retry-After") == b"%d" % (16 * 3600)
    assert wire.records.reasons[-1] == "quota_exceeded"
    wire.plane.restraint.wall = lambda: WALL + 16 * 3600
    assert ask(wire).take() == b""


def test_what_is_under_way_is_cut() -> None:
    wire = limited('per = "client", daily = "100KiB"')
    client = ask(wire)
    wire.origins[0].receive(LARGE + bytes(65536))
    wire.turn()
    assert not client.closed
    wire.origins[0].receive(bytes(65536))
    wire.turn()
    assert client.closed
    assert wire.origins[0].closed
    (record,) = wire.records.all
    assert (record.status, record.reason) == (200, "quota_exceeded")
    assert wire.plane.restraint.refusals == {"a": 1}


def test_a_quota_counts_what_the_log_tells() -> None:
    wire = limited('per = "client", monthly = "1GiB"')
    for content in (b"", b"abc"):
        ask(wire, request=UPLOAD.replace(b"1048576", b"%d" % len(content)) + content)
        answer(wire)
    (state,) = wire.plane.restraint.states()
    told = sum(record.bytes_from_client + record.bytes_to_client for record in wire.records.all)
    assert state.in_month == state.today == told > 250
