"""What the logs tell of clients where they are not to tell all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.memory import Wire
from twistedproxy.record.discreet import Discretion
from twistedproxy.record.formats import access_format

GET = b"GET http://a.test/x?secret=1 HTTP/1.1\r\nHost: a.test\r\nReferer: http://b.test/y?secret=2\r\n\r\n"


def finished() -> Any:
    """An exchange that is over."""
    wire = Wire()
    kept: list[Any] = []
    wire.plane.access_log.finished = kept.append  # type: ignore[method-assign]  # where they all come
    wire.client().receive(GET)
    wire.turn()
    wire.origins[0].receive(b"HTTP/1.1 204 No Content\r\n\r\n")
    wire.turn()
    return kept[0]


@pytest.mark.parametrize("name", ["squid", "combined", "json"])
def test_every_format(name: str) -> None:
    exchange = finished()
    plain = access_format(name)(exchange)
    assert b"127.0.0.1" in plain
    assert b"/x?secret=1" in plain
    line = Discretion(True, True).format(access_format(name))(exchange)
    assert b"127.0.0.1" not in line
    assert b"127.0.0.0" in line
    assert b"40000" not in line
    assert b"secret" not in line
    assert b"http://a.test/x" in line


def test_each_by_itself() -> None:
    exchange = finished()
    of_addresses = json.loads(Discretion(addresses=True).format(access_format("json"))(exchange))
    assert (of_addresses["client_address"], of_addresses["client_port"]) == ("127.0.0.0", 0)
    assert (of_addresses["url"], of_addresses["referer"]) == ("http://a.test/x?secret=1", "http://b.test/y?secret=2")
    of_queries = json.loads(Discretion(queries=True).format(access_format("json"))(exchange))
    assert (of_queries["client_address"], of_queries["client_port"]) == ("127.0.0.1", 40000)
    assert (of_queries["url"], of_queries["referer"]) == ("http://a.test/x", "http://b.test/y")


def test_none_is_the_format_itself() -> None:
    format = access_format("squid")
    assert Discretion().format(format) is format
    exchange = finished()
    assert Discretion().view(exchange) is exchange


def test_a_detail_does_not_name_the_client() -> None:
    exchange = finished()
    exchange.detail = "clients at 127.0.0.1 are not allowed"
    assert Discretion(addresses=True).view(exchange).detail == "clients at 127.0.0.0 are not allowed"


def test_a_fault_in_the_operational_log_does_not_either() -> None:
    wire = Wire(("privacy.profile", "strict"))
    client = wire.client()
    client.receive(GET)
    text = repr(wire.connection(client).exchange)
    assert "127.0.0.1" not in text
    assert "secret" not in text


def test_address() -> None:
    assert Discretion().address("192.0.2.7") == "192.0.2.7"
    assert Discretion(addresses=True).address("2001:db8:1:2::3") == "2001:db8:1::"
