"""The streams of an HTTP/2 connection to an origin: WebSockets, and what ends one."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from tests.memory import MemoryTransport, Wire
from tests.secure_origin import SecureOrigin, context

AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)
HTTP2 = context(AUTHORITY, b"h2")
GET = b"GET https://origin.test/ HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The system trusts the origins' authority."""
    file = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))


def begun(*overrides: tuple[str, str], settings: dict[SettingCodes, int] | None = None) -> tuple[Wire, SecureOrigin]:
    """A proxy with a connection to an origin, on which the first stream is over."""
    wire = Wire(*overrides)
    wire.client().receive(GET)
    there = SecureOrigin(wire, wire.origins[0], HTTP2, settings)
    there.pump()
    there.answer(1)
    return wire, there


def ask(wire: Wire, request: bytes = GET) -> MemoryTransport:
    client = wire.client()
    client.receive(request)
    return client


def test_too_many_interim_answers_are_no_answer() -> None:
    wire, there = begun()
    client = ask(wire)
    there.pump()
    for _ in range(101):
        there.act(lambda h2: h2.send_headers(3, [(b":status", b"103")]))
    assert client.take().count(b"HTTP/1.1 103") == 100
    assert wire.records.reasons[-1] == "malformed_response"
    assert there.resets == {3: ErrorCodes.PROTOCOL_ERROR}


def test_an_answer_that_stops_has_its_time() -> None:
    wire, there = begun(("upstream.body_timeout", "5s"))
    client = ask(wire)
    there.pump()
    there.act(lambda h2: h2.send_headers(3, [(b":status", b"200"), (b"content-length", b"10")]))
    for _ in range(3):
        wire.pass_time(4)
        there.act(lambda h2: h2.send_data(3, b"x"))
    assert not client.closed
    wire.pass_time(6)
    there.pump()
    assert client.closed
    assert wire.records.reasons[-1] == "body_timeout"
    assert there.resets == {3: ErrorCodes.CANCEL}


def test_an_answer_before_the_end_of_the_question_ends_both() -> None:
    wire, there = begun()
    client = ask(wire, GET.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 10\r\n\r\nhello"))
    there.pump()
    there.answer(3, b"no")
    assert client.take().endswith(b"\r\n\r\nno")
    assert there.resets == {3: ErrorCodes.NO_ERROR}
    assert wire.pool.idle_connections == 1


def test_more_content_than_was_said_is_not_passed_on() -> None:
    """RFC 9113 section 8.1.1: or what is too much would be another answer to somebody."""
    wire, there = begun()
    client = ask(wire)
    there.pump()

    def lie(h2: H2Connection) -> None:
        h2.send_headers(3, [(b":status", b"200"), (b"content-length", b"2")])
        h2.send_data(3, b"hi")
        h2.send_data(3, b"HTTP/1.1 200 OK")

    there.act(lie)
    assert b"HTTP/1.1 200 OK\r\n" not in client.take()
    assert wire.records.reasons[-1] == "malformed_response"
    assert there.resets == {3: ErrorCodes.PROTOCOL_ERROR}
    other = ask(wire)
    there.pump()
    there.answer(5)
    assert other.take().endswith(b"hi")


def test_an_answer_to_head_has_no_content() -> None:
    wire, there = begun()
    client = ask(wire, GET.replace(b"GET", b"HEAD"))
    there.pump()
    there.act(lambda h2: h2.send_headers(3, [(b":status", b"200"), (b"content-length", b"500")], end_stream=True))
    assert b"\r\nContent-Length: 500\r\n" in client.take()
    assert wire.records.reasons[-1] == ""


def test_repr_tells_its_number() -> None:
    wire, there = begun()
    client = ask(wire)
    there.pump()
    stream = client.protocol.exchange._upstream
    assert repr(stream) == "<UpstreamStream 3 unsaid=0>"
    client.peer_closes()
    assert repr(stream) == "<UpstreamStream 3 over>"
