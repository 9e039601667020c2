"""Which tunnels are opened, by the settings and by what is said in them, and what becomes of the others."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import pytest

from tests.inner import ESTABLISHED, Inner, connect_to, established, trusting
from tests.memory import LISTENER, MemoryTransport, Wire
from twistedproxy.errors import ConnectTimeout

ALL_BUT = (("intercept.mode", "all-but"), ("intercept.ports", "all"))
GET = b"GET / HTTP/1.1\r\nHost: origin.test\r\n\r\n"


@pytest.fixture
def wire() -> Wire:
    return Wire(*ALL_BUT)


def hello(wire: Wire, name: str | None = "origin.test", *protocols: str) -> bytes:
    """The first flight of a client."""
    return Inner(wire, MemoryTransport(wire.reactor), name, protocols=protocols).hello()


def is_tunnel(wire: Wire, client: MemoryTransport, said: bytes) -> bool:
    """Whether ``said`` has reached the origin, byte by byte, and the client hears it."""
    origin = wire.origins[-1]
    assert origin.take() == said
    origin.receive(b"\x01")
    assert client.take() == b"\x01"
    client.receive(b"\x02")
    return bool(origin.take() == b"\x02")


# ---------------------------------------------------------------- by the settings


@pytest.mark.parametrize(
    "settings",
    [
        [("intercept.mode", "off")],
        [("intercept.mode", "listed")],
        [("intercept.mode", "listed"), ("intercept.hosts", ".origin.test.example")],
        [*ALL_BUT, ("intercept.leave_alone", "origin.test")],
        [("intercept.mode", "all-but"), ("intercept.ports", "8443")],
        [*ALL_BUT, ("intercept.clients", "192.0.2.0/24")],
    ],
)
def test_left_alone(settings: list[tuple[str, str]]) -> None:
    """The client is told that there is a tunnel when there is one."""
    wire = Wire(*settings)
    wire.dialer.open = False
    client = wire.client()
    client.receive(connect_to("origin.test:443"))
    assert client.take() == b""
    wire.dialer.dials[0].succeed()
    assert client.take() == ESTABLISHED
    said = hello(wire)
    client.receive(said)
    assert is_tunnel(wire, client, said)


def test_listed() -> None:
    wire = Wire(("intercept.mode", "listed"), ("intercept.hosts", ".origin.test"))
    for authority in ("origin.test:443", "a.ORIGIN.test:443", "origin.test.:443"):
        assert established(wire, authority)
    assert wire.dialer.dials == []


def test_name_that_no_certificate_has(wire: Wire) -> None:
    client = established(wire, "a.1:443")
    assert len(wire.dialer.dials) == 1
    client.receive(b"x")
    assert is_tunnel(wire, client, b"x")


def test_an_exchange_keeps_its_settings(wire: Wire) -> None:
    client = established(wire)
    wire.reload(("intercept.mode", "off"))
    client.receive(hello(wire))
    assert client.take()[:3] == b"\x16\x03\x03"
    assert wire.dialer.dials == []


# ---------------------------------------------------------------- by what is said


@pytest.mark.parametrize("cut", [0, 1, 4, 5, 6, 60])
def test_hello_in_pieces(wire: Wire, cut: int) -> None:
    client = established(wire)
    said = hello(wire)
    client.receive(said[:cut]) if cut else None
    assert client.take() == b""
    client.receive(said[cut:])
    assert client.take()[:3] == b"\x16\x03\x03"


@pytest.mark.parametrize("name", ["origin.test", None])
@pytest.mark.parametrize("protocols", [[], ["http/1.1"], ["h2", "http/1.1"]])
def test_opened(wire: Wire, name: str | None, protocols: list[str]) -> None:
    client = established(wire)
    client.receive(hello(wire, name, *protocols))
    assert client.take()[:3] == b"\x16\x03\x03"
    assert wire.records.all[0].kind == "intercept"


def old_hello(wire: Wire) -> bytes:
    """Of a client that knows TLS 1.1 at most, as it says."""
    context = trusting(wire)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    said = bytearray(Inner(wire, MemoryTransport(wire.reactor), context=context).hello())
    assert said[9:11] == b"\x03\x03"
    said[9:11] = b"\x03\x02"
    return bytes(said)


@pytest.mark.parametrize(
    "made",
    [
        lambda wire: hello(wire, "other.test"),
        lambda wire: hello(wire, "origin.test", "imap"),
        old_hello,
        lambda _: b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
        lambda _: b"SSH-2.0-OpenSSH_9.6\r\n",
        lambda _: b"\x00\x01\x02",
        lambda _: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        lambda _: b"EHLO origin.test\r\n",
    ],
)
def test_not_opened(wire: Wire, made: Callable[[Wire], bytes]) -> None:
    """It is a tunnel after all, and every byte goes on as it came."""
    client = established(wire)
    assert wire.dialer.dials == []
    said = made(wire)
    client.receive(said)
    assert (wire.dialer.dials[0].host, wire.dialer.dials[0].port) == ("origin.test", 443)
    assert is_tunnel(wire, client, said)
    client.peer_resets()
    wire.turn()
    (record,) = wire.records.all
    assert (record.kind, record.status, record.reason) == ("tunnel", 200, "client_left")
    assert record.bytes_to_upstream == len(said) + 1
    assert record.bytes_from_client == len(connect_to("origin.test:443")) + len(said) + 1


def test_silence(wire: Wire) -> None:
    """intercept.peek_timeout: in some protocols the server speaks first."""
    client = established(wire)
    wire.pass_time(2.5)
    assert wire.dialer.dials == []
    wire.pass_time(1)
    assert is_tunnel(wire, client, b"")


def test_half_a_hello(wire: Wire) -> None:
    client = established(wire)
    said = hello(wire)[:40]
    client.receive(said)
    wire.pass_time(4)
    assert is_tunnel(wire, client, said)


@pytest.mark.parametrize("said", [b"SSH-2.0-x\r\n", b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00", b""])
def test_refused(said: bytes) -> None:
    """intercept.unreadable: what cannot be seen does not pass."""
    wire = Wire(*ALL_BUT, ("intercept.unreadable", "refuse"))
    client = established(wire)
    client.receive(said) if said else wire.pass_time(4)
    wire.turn()
    assert client.closed == "aborted"
    assert wire.dialer.dials == []
    (record,) = wire.records.all
    assert (record.kind, record.status, record.reason) == ("tunnel", 200, "not_opened")
    assert wire.factory.connections == 0


# ---------------------------------------------------------------- when it goes wrong


def test_the_client_leaves_before_it_speaks(wire: Wire) -> None:
    established(wire).peer_closes()
    assert wire.records.reasons == ["client_left"]
    assert wire.factory.connections == 0
    wire.pass_time(4)
    assert wire.dialer.dials == []


def test_stopped_before_it_speaks(wire: Wire) -> None:
    client = established(wire)
    wire.factory.stop("stopped")
    wire.turn()
    assert client.closed
    assert wire.records.reasons == ["stopped"]
    assert wire.factory.connections == 0


@pytest.mark.parametrize("how", ["fails", "client leaves", "stopped"])
def test_tunnel_after_all_that_cannot_be_had(wire: Wire, how: str) -> None:
    """It was told that there is one; nothing more can be said in there."""
    wire.dialer.open = False
    client = established(wire)
    client.receive(b"\x00")
    assert client.paused
    (dial,) = wire.dialer.dials
    if how == "fails":
        dial.fail(ConnectTimeout("x"))
    elif how == "stopped":
        wire.factory.stop("stopped")
    else:
        client.peer_resets()
    wire.turn()
    assert client.closed
    assert client.take() == b""
    assert dial.cancelled == (how != "fails")
    reason = {"fails": "connect_timeout", "client leaves": "client_left", "stopped": "stopped"}[how]
    assert wire.records.reasons == [reason]
    assert wire.factory.connections == 0


def test_a_dial_that_breaks(wire: Wire, logged_errors: object) -> None:
    wire.dialer.open = False
    client = established(wire)
    client.receive(b"\x00")
    wire.dialer.dials[0].fail(ZeroDivisionError())
    wire.turn()
    assert client.closed
    assert len(logged_errors.flush(ZeroDivisionError)) == 1  # type: ignore[attr-defined]  # the fixture's own type


def test_no_authority(wire: Wire) -> None:
    """Before there is a tunnel, so that the client can be told; it is never left alone for that."""
    wire.issuer.error = "it has ended"
    client = wire.client()
    client.receive(connect_to("origin.test:443"))
    answer = client.take()
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b"proxy.test; error=proxy_configuration_error" in answer
    assert b"it has ended" not in answer
    assert wire.records.reasons == ["authority_unusable"]
    assert wire.dialer.dials == []


def test_the_authority_is_waited_for(wire: Wire) -> None:
    wire.issuer.waiting = []
    clients = [wire.client() for _ in range(3)]
    for client in clients:
        client.receive(connect_to("origin.test:443") + hello(wire))
        assert client.take() == b""
    clients[2].peer_closes()
    for one in wire.issuer.waiting:
        one.callback(wire.issuer.made_now())
    for client in clients[:2]:
        assert client.take().startswith(ESTABLISHED + b"\x16\x03\x03")
    assert wire.records.reasons == ["client_left", "", ""]


def test_the_authority_ends_in_the_meantime(wire: Wire) -> None:
    client = established(wire)
    leaves = wire.issuer.made_now()
    leaves._seconds = lambda: leaves.authority.ends.timestamp() + 1
    client.receive(hello(wire))
    wire.turn()
    assert client.closed == "aborted"
    assert wire.records.reasons == ["authority_unusable"]


def test_plain_http_needs_a_method_first(wire: Wire) -> None:
    client = established(wire, "origin.test:80")
    for piece in (b"G", b"ET", b" "):
        client.receive(piece)
        assert wire.records.all == []
    client.receive(GET[4:])
    assert wire.records.all[0].kind == "intercept"
    assert wire.origins[0].take().startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("settings", "protocols", "opened"),
    [
        ((), ("h2",), True),
        ((("http2.with_clients", "false"),), ("h2",), False),
        ((("http2.with_clients", "false"),), ("h2", "http/1.1"), True),
        ((("http2.except_hosts", "origin.test"),), ("h2",), False),
        ((("http2.except_hosts", "other.test"),), ("h2",), True),
        ((("http2.except_listeners", LISTENER),), ("h2",), False),
        ((("http2.with_servers", "never"),), ("h2",), True),
    ],
)
def test_http2_alone(settings: tuple[tuple[str, str], ...], protocols: tuple[str, ...], opened: bool) -> None:
    """A client that wants nothing else is only opened where HTTP/2 is spoken with it."""
    wire = Wire(("intercept.mode", "all-but"), ("downstream.listen", LISTENER), *settings)
    client = established(wire)
    client.receive(hello(wire, "origin.test", *protocols))
    assert (wire.dialer.dials == []) == opened
