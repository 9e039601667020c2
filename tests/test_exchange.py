"""What is true of every exchange."""

from __future__ import annotations

import pytest

from tests.memory import Wire
from twistedproxy.errors import ConnectionRefused, DestinationRefused, ProxyError, RequestTimeout
from twistedproxy.exchange import Exchange
from twistedproxy.http.head import HeadLimits, parse_request_head

HEAD = b"GET http://user:secret@origin.test/ HTTP/1.1\r\nHost: x\r\nReferer: here\r\n\r\n"


@pytest.fixture
def wire() -> Wire:
    return Wire()


def test_it_ends_once(wire: Wire) -> None:
    client = wire.client()
    exchange = Exchange(wire.plane, wire.connection(client), None)
    exchange.fail(RequestTimeout("late"))
    exchange.fail(RequestTimeout("later"))
    exchange.client_left("client_left")
    exchange.stop("stopped")
    assert wire.records.reasons == ["request_timeout"]
    assert client.take().count(b"HTTP/1.1 408 ") == 1


def test_an_unreadable_request_has_nothing_to_show(wire: Wire) -> None:
    exchange = Exchange(wire.plane, wire.connection(wire.client()), None)
    assert (exchange.method, exchange.url, exchange.version) == (b"", b"", b"")
    assert exchange.request_field(b"referer") == exchange.response_field(b"content-type") == b""


def test_fields_are_there_for_the_log(wire: Wire) -> None:
    head = parse_request_head(HEAD, HeadLimits())
    exchange = Exchange(wire.plane, wire.connection(wire.client()), head)
    assert exchange.request_field(b"referer") == b"here"
    assert exchange.version == b"HTTP/1.1"


@pytest.mark.parametrize(("error", "kind"), [(DestinationRefused, "answer"), (ConnectionRefused, "forward")])
def test_a_refusal_was_never_forwarded(wire: Wire, error: type[ProxyError], kind: str) -> None:
    """Not even when it took a look-up to find out; the log tells policy from misfortune by this."""
    exchange = Exchange(wire.plane, wire.connection(wire.client()), None)
    exchange.kind = "forward"
    exchange.fail(error())
    assert wire.records.all[0].kind == kind


def test_its_repr_keeps_secrets(wire: Wire) -> None:
    head = parse_request_head(HEAD, HeadLimits())
    exchange = Exchange(wire.plane, wire.connection(wire.client()), head)
    assert repr(exchange) == "<Exchange 127.0.0.1 b'GET' b'http://origin.test/' 0 under way>"


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.9.10"])
def test_time_passes_on_the_clock(wire: Wire, client: str) -> None:
    transport = wire.client()
    exchange = Exchange(wire.plane, wire.connection(transport), None)
    wire.reactor.advance(2.5)
    exchange.fail(RequestTimeout())
    assert exchange.finished_at - exchange.started_at == 2.5
    assert exchange.finished_wall == 1_800_000_000.0
