"""The HTTP/2 server, with the network in memory and ``h2`` as the client."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from tests.http2_client import HTTP2Client
from tests.memory import Wire
from tests.secure_origin import SecureOrigin, context

AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)
HTTP1 = context(AUTHORITY, b"http/1.1")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: x\r\n\r\nhi"


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The system trusts the origins' authority."""
    file = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))


@pytest.fixture
def wire() -> Wire:
    return Wire(("intercept.mode", "all-but"), ("intercept.ports", "all"))


def origin(wire: Wire, number: int = 0) -> SecureOrigin:
    """The origin at the other end of the connection of that number, after the handshake."""
    made = SecureOrigin(wire, wire.origins[number], HTTP1)
    made.pump()
    return made


def test_get(wire: Wire) -> None:
    client = HTTP2Client(wire)
    stream = client.ask()
    there = origin(wire)
    assert there.plain == (b"GET /a?b HTTP/1.1\r\nHost: origin.test\r\nVia: 2.0 proxy.test\r\n\r\n")
    there.say(OK)
    client.turn()
    answer = client.answers[stream]
    assert (answer.status, answer.content, answer.ended, answer.reset) == (200, b"hi", True, None)
    assert answer.head == {b":status": b"200", b"date": b"x", b"content-length": b"2", b"via": b"1.1 proxy.test"}
    assert [(one.kind, one.status, one.reason) for one in wire.records.all] == [
        ("intercept", 200, ""),
        ("forward", 200, ""),
    ]
