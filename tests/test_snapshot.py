"""Snapshots: what the settings come to."""

from __future__ import annotations

import re

import pytest

from tests.memory import Wire
from twistedproxy.errors import DestinationRefused
from twistedproxy.settings.load import load
from twistedproxy.snapshot import Snapshot, random_pseudonym


def compiled(*overrides: tuple[str, str]) -> Snapshot:
    return Snapshot.of(
        load("", "test", overrides).settings,
        generation=7,
        pseudonym="pyproxy-0badcafe",
        own_ports=[("127.0.0.1", 8080)],
        is_own_address=lambda _: False,
    )


def test_limits_and_access_come_from_the_settings() -> None:
    snapshot = compiled(("downstream.max_fields", "9"), ("access.connect_ports", "[1, 2]"))
    assert (snapshot.generation, snapshot.head_limits.max_fields) == (7, 9)
    assert [port for port in range(5) if snapshot.access.connect_port_allowed(port)] == [1, 2]
    with pytest.raises(DestinationRefused):
        snapshot.access.check_destination("127.0.0.1", 8080)


def test_a_pseudonym_is_made_where_none_is_set() -> None:
    assert compiled().via == b"pyproxy-0badcafe"
    assert compiled(("forwarding.via", "edge.example:8080")).via == b"edge.example:8080"
    assert re.fullmatch("pyproxy-[0-9a-f]{8}", random_pseudonym())
    assert random_pseudonym() != random_pseudonym()


def test_hosts_whose_messages_are_written_down() -> None:
    snapshot = compiled(("log.websocket_hosts", '[".example.com"]'), ("log.websocket_max_content", "1KiB"))
    assert [snapshot.logs_messages_of(host) for host in ("example.com", "A.Example.com", "example.org")] == [
        True,
        True,
        False,
    ]
    assert snapshot.logged_content == 1024
    assert compiled().logs_messages_of("anything")


def test_an_exchange_keeps_the_snapshot_that_it_began_with() -> None:
    wire = Wire()
    first, second = wire.client(), wire.client()
    first.receive(b"GET http://origin.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
    wire.reload(("access.clients", "192.0.2.0/24"))
    wire.origins[0].receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    second.receive(b"GET http://origin.test/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert first.take().startswith(b"HTTP/1.1 200 ")
    assert second.take().startswith(b"HTTP/1.1 403 ")
