"""Streams under limits, with the network in memory and ``h2`` as the client."""

from __future__ import annotations

from collections.abc import Callable

from tests.http2_client import GET, POST, HTTP2Client
from tests.memory import Wire
from tests.secure_origin import SecureOrigin

Find = Callable[..., SecureOrigin]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: d\r\n\r\nhi"


def opened(table: str, *more: tuple[str, str]) -> tuple[Wire, HTTP2Client]:
    """A proxy with one limit, or several, and a client in a tunnel that is looked into."""
    tables = table if table.startswith("[") else f'[{{ name = "a", {table} }}]'
    wire = Wire(("limits.tables", tables), ("intercept.mode", "all-but"), ("intercept.ports", "all"), *more)
    return wire, HTTP2Client(wire)


def test_streams_are_refused_one_by_one(origin: Find) -> None:
    # The CONNECT is one of them.
    wire, client = opened('per = "client", requests_per_second = 1, burst = 2, connections = 1')
    first, second = client.ask(), client.ask()
    refused = client.answers[second]
    assert (refused.status, refused.head[b"retry-after"], refused.ended) == (429, b"1", True)
    origin(wire).say(OK)
    client.turn()
    assert client.answers[first].content == b"hi"
    assert [record.reason for record in wire.records.all] == ["", "requests_exceeded", ""]


def test_a_slow_stream_does_not_hold_up_its_siblings(origin: Find) -> None:
    tables = '[{ name = "slow", per = "rule", download = "10KiB" }]'
    rules = '[{ name = "big", paths = ["/big"], action = "set", limits = ["slow"] }]'
    wire, client = opened(tables, ("access.rules", rules))
    big = client.ask([*GET[:3], (b":path", b"/big")])
    there = origin(wire, 0, b"h2")
    there.act(lambda h2: h2.send_headers(1, [(b":status", b"200")]))
    there.act(lambda h2: h2.send_data(1, bytes(16384)))
    there.act(lambda h2: h2.send_data(1, bytes(16384)))
    client.turn()
    small = client.ask()
    there.pump()
    there.act(lambda h2: h2.send_headers(3, [(b":status", b"200")]))
    there.act(lambda h2: h2.send_data(3, bytes(30000 - 16384)))
    there.act(lambda h2: h2.send_data(3, bytes(16384), end_stream=True))
    client.turn()
    assert (len(client.answers[small].content), client.answers[small].ended) == (30000, True)
    assert not client.answers[big].ended


def test_an_upload_over_http2_rests(origin: Find) -> None:
    """A stream that rests takes a window, and no more before the debt is paid."""
    wire, client = opened('per = "client", upload = "10KiB"')
    stream = client.ask(POST, b"", end=False)
    origin(wire)
    while window := client.h2.local_flow_control_window(stream):
        client.send(stream, bytes(min(window, 16384)))
    wire.pass_time(24)
    client.turn()
    assert client.h2.local_flow_control_window(stream) == 0
    wire.pass_time(3)
    client.turn()
    assert client.h2.local_flow_control_window(stream) > 0
