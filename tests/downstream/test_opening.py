"""Requests in tunnels that were opened, with the network in memory; which ones is in `test_connect_opened`."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from tests.inner import ESTABLISHED, Inner, connect_to, established, trusting
from tests.memory import VIA, MemoryTransport, Wire
from twistedproxy.downstream.opening import InnerConnection
from twistedproxy.errors import ConnectTimeout
from twistedproxy.tls.client_hello import HelloReader
from twistedproxy.tls.rejections import Rejection

GET = b"GET /a?b HTTP/1.1\r\nHost: origin.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def wire() -> Wire:
    return Wire(("intercept.mode", "all-but"), ("intercept.ports", "all"))


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What the operational log is told."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_namespace"].startswith("twistedproxy.downstream.opened_tunnel"):
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def opened(wire: Wire, authority: str = "origin.test:443") -> Inner:
    inner = Inner(wire, established(wire, authority), authority.rpartition(":")[0].strip("[]"))
    inner.shake_hands()
    return inner


def refusing(wire: Wire) -> None:
    """A client that does not trust the authority comes, and goes."""
    client = established(wire)
    inner = Inner(wire, client, context=ssl.create_default_context())
    with pytest.raises(ssl.SSLCertVerificationError):
        inner.shake_hands()
    assert client.closed
    wire.turn()


# ---------------------------------------------------------------- what is inside


def test_request_inside(wire: Wire) -> None:
    inner = opened(wire)
    assert inner.tls.version() == "TLSv1.3"
    assert wire.dialer.dials == []
    (intercepted,) = wire.records.all
    assert (intercepted.kind, intercepted.method, intercepted.url) == ("intercept", b"CONNECT", b"origin.test:443")
    assert (intercepted.status, intercepted.reason) == (200, "")
    assert intercepted.bytes_from_client == len(connect_to("origin.test:443"))
    assert intercepted.bytes_to_client == len(ESTABLISHED)
    inner.ask(GET)
    (dial,) = wire.dialer.dials
    assert (dial.host, dial.port, dial.client) == ("origin.test", 443, "127.0.0.1")
    # The origin is spoken to in TLS, and by its name.
    hello = HelloReader().feed(wire.origins[0].take())
    assert hello is not None
    assert hello.server_name == "origin.test"
    assert wire.factory.connections == 1
    assert wire.factory.accepted == 1
    assert wire.factory.by_client == {"127.0.0.1": 1}
    inner.client.peer_closes()
    wire.turn()
    assert wire.factory.connections == 0
    assert wire.factory.by_client == {}
    assert wire.records.all[1].url == b"https://origin.test/a?b"
    assert wire.records.all[1].reason == "client_left"


def test_it_is_still_the_same_connection(wire: Wire) -> None:
    inner = opened(wire)
    (connection,) = wire.factory
    assert isinstance(connection, InnerConnection)
    assert connection.number == 1
    assert connection.client_port == 40000
    inner.ask(GET)
    assert connection.requests == 1


def test_another_port(wire: Wire) -> None:
    inner = opened(wire, "origin.test:8443")
    inner.ask(GET.replace(b"test\r", b"test:8443\r"))
    assert (wire.dialer.dials[0].host, wire.dialer.dials[0].port) == ("origin.test", 8443)


@pytest.mark.parametrize("authority", ["192.0.2.7:443", "[2001:db8::7]:443"])
def test_an_address(wire: Wire, authority: str) -> None:
    """The leaf is for the address, and a client that asks for one names nobody in its hello."""
    host = authority.rpartition(":")[0]
    inner = opened(wire, authority)
    inner.ask(GET.replace(b"origin.test", host.encode()))
    assert wire.dialer.dials[0].host == host.strip("[]")


def test_plain_http_inside(wire: Wire) -> None:
    client = established(wire, "origin.test:80")
    client.receive(GET)
    origin = wire.origins[0]
    assert origin.take() == b"GET /a?b HTTP/1.1\r\nHost: origin.test\r\nVia: " + VIA + b"\r\n\r\n"
    origin.receive(OK)
    assert client.take().endswith(b"\r\n\r\nok")
    # It is kept, on both sides.
    client.receive(GET)
    origin.receive(OK)
    assert client.take().endswith(b"\r\n\r\nok")
    assert [record.kind for record in wire.records.all] == ["intercept", "forward", "forward"]
    assert wire.records.all[2].url == b"http://origin.test/a?b"
    assert len(wire.dialer.dials) == 1


def test_what_came_early_is_not_lost(wire: Wire) -> None:
    client = wire.client()
    client.receive(connect_to("origin.test:80") + GET)
    assert client.take() == ESTABLISHED
    assert wire.origins[0].take().startswith(b"GET /a?b HTTP/1.1\r\n")
    assert [record.kind for record in wire.records.all] == ["intercept"]


def test_credentials_for_the_proxy_stay_here(wire: Wire) -> None:
    client = wire.client()
    secret = b"Proxy-Authorization: Basic c2VjcmV0\r\n\r\n"
    client.receive(connect_to("origin.test:80").replace(b"\r\n\r\n", b"\r\n" + secret))
    client.receive(GET.replace(b"\r\n\r\n", b"\r\n" + secret))
    said = wire.origins[0].take()
    assert said.startswith(b"GET /a?b ")
    assert b"c2VjcmV0" not in said


@pytest.mark.parametrize(
    "request_",
    [
        GET.replace(b"origin.test", b"other.test"),
        GET.replace(b"origin.test", b"origin.test:444"),
        GET.replace(b"/a?b", b"https://other.test/"),
        GET.replace(b"/a?b", b"http://origin.test/"),
    ],
)
def test_another_host_inside(wire: Wire, request_: bytes) -> None:
    """RFC 9110 section 15.5.20: two of them never mix on one connection."""
    inner = opened(wire)
    inner.ask(request_)
    answer = inner.heard()
    assert answer.startswith(b"HTTP/1.1 421 Misdirected Request\r\n")
    assert b"Connection: close\r\n" in answer
    assert wire.dialer.dials == []
    assert wire.records.all[1].reason == "misdirected_request"


def test_the_origin_cannot_be_had(wire: Wire) -> None:
    """The page that says so comes inside, where the client reads it."""
    wire.dialer.open = False
    inner = opened(wire)
    inner.ask(GET)
    wire.dialer.dials[0].fail(ConnectTimeout("x"))
    assert inner.heard().startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
    inner.ask(GET)
    assert len(wire.dialer.dials) == 2


def test_tls_1_2(wire: Wire) -> None:
    context = trusting(wire)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    inner = Inner(wire, established(wire), context=context, protocols=["http/1.1"])
    inner.shake_hands()
    assert inner.tls.version() == "TLSv1.2"
    assert inner.tls.selected_alpn_protocol() == "http/1.1"
    inner.ask(GET)
    assert len(wire.dialer.dials) == 1


# ---------------------------------------------------------------- the end of it


def test_nothing_is_asked_for(wire: Wire) -> None:
    """downstream.idle_timeout, and no rejection."""
    inner = opened(wire)
    wire.pass_time(61)
    inner.exchange()
    wire.pass_time(3)
    assert inner.client.closed
    assert wire.plane.rejections.all() == []
    assert wire.factory.connections == 0


def test_handshake_without_end(wire: Wire) -> None:
    client = established(wire)
    client.receive(Inner(wire, client).hello())
    wire.pass_time(63)
    assert client.closed
    assert wire.plane.rejections.all() == []
    assert wire.factory.connections == 0


def test_drain(wire: Wire) -> None:
    """RFC 9112 section 9.5: the first request may still be on its way."""
    inner = opened(wire)
    client = established(wire)
    wire.factory.drain()
    late = Inner(wire, client)
    late.shake_hands()
    wire.pass_time(2.5)
    late.exchange()
    inner.exchange()
    wire.pass_time(2.5)
    assert inner.client.closed
    assert client.closed
    assert wire.factory.connections == 0
    assert wire.plane.rejections.all() == []


def test_stop(wire: Wire) -> None:
    client = established(wire)
    client.receive(Inner(wire, client).hello())
    wire.factory.stop("stopped")
    wire.turn()
    assert client.closed
    assert wire.plane.rejections.all() == []
    assert wire.factory.connections == 0


# ---------------------------------------------------------------- clients that do not take the certificate


def test_rejections_teach(wire: Wire, said: list[str]) -> None:
    refusing(wire)
    assert wire.plane.rejections.all() == [Rejection("127.0.0.1", "origin.test", 1, 87400.0)]
    assert said == []
    refusing(wire)
    assert said == ["127.0.0.1 does not take our certificate for origin.test: its tunnels there are left alone"]
    client = established_by_dial(wire)
    hello = Inner(wire, client).hello()
    client.receive(hello)
    assert wire.origins[-1].take() == hello


def established_by_dial(wire: Wire) -> MemoryTransport:
    """A client whose tunnel leads to the origin itself."""
    before = len(wire.dialer.dials)
    client = established(wire)
    assert len(wire.dialer.dials) == before + 1
    return client


def test_what_was_learned_is_forgotten(wire: Wire) -> None:
    refusing(wire)
    refusing(wire)
    established_by_dial(wire)
    wire.reactor.advance(86401)
    refusing(wire)
    assert [one.times for one in wire.plane.rejections.all()] == [1]


def test_never_learns(wire: Wire) -> None:
    wire.reload(("intercept.mode", "all-but"), ("intercept.learn_after", "0"))
    for _ in range(4):
        refusing(wire)
    assert wire.dialer.dials == []


def test_a_request_shows_that_it_is_taken(wire: Wire) -> None:
    refusing(wire)
    inner = opened(wire)
    assert len(wire.plane.rejections.all()) == 1
    inner.ask(GET)
    assert wire.plane.rejections.all() == []
    refusing(wire)
    refusing(wire)
    established_by_dial(wire)


def test_late_alert(wire: Wire) -> None:
    """RFC 8446 section 4.4.4: some clients have finished the handshake when they look at the certificate."""
    inner = opened(wire)
    (connection,) = wire.factory
    assert isinstance(connection, InnerConnection)
    # As OpenSSL would tell of unknown_ca; a client that behaves so cannot be made of Python's.
    connection.alert_received(48)
    inner.client.peer_resets()
    wire.turn()
    assert [one.times for one in wire.plane.rejections.all()] == [1]


def test_connection_that_is_never_used(wire: Wire) -> None:
    """One that was made in advance is no rejection, however it ends."""
    for how in (MemoryTransport.peer_closes, MemoryTransport.peer_resets):
        inner = opened(wire)
        how(inner.client)
        wire.turn()
    inner = opened(wire)
    with pytest.raises(ssl.SSLWantReadError):
        inner.tls.unwrap()
    inner.exchange()
    assert wire.plane.rejections.all() == []


def test_close_in_the_middle(wire: Wire) -> None:
    for how in (MemoryTransport.peer_closes, MemoryTransport.peer_resets):
        client = established(wire)
        client.receive(Inner(wire, client).hello())
        assert client.take()
        how(client)
    assert [one.times for one in wire.plane.rejections.all()] == [2]


def test_no_cipher_in_common(wire: Wire) -> None:
    """It cannot speak to us at all; the origin may know better."""
    context = trusting(wire)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-GCM-SHA256")
    inner = Inner(wire, established(wire), context=context)
    with pytest.raises(ssl.SSLError):
        inner.shake_hands()
    wire.turn()
    assert [one.times for one in wire.plane.rejections.all()] == [1]
