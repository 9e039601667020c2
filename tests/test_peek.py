"""The first look into a tunnel."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.inner import Inner
from tests.memory import MemoryTransport, Wire
from twistedproxy.deadlines import Deadlines
from twistedproxy.peek import Peek, Seen, Spoken
from twistedproxy.tls.client_hello import ClientHello


class Looking:
    """A look, and what it told."""

    def __init__(self, received: bytes = b"") -> None:
        self.clock = Clock()
        self.transport = StringTransport()
        self.transport.protocol = None
        self.seen: list[Seen] = []
        self.left = 0
        self.peek = Peek(self.transport, received, self.seen.append, self._left, Deadlines(self.clock), 3.0)
        self.peek.start()

    def _left(self) -> None:
        self.left += 1


@pytest.fixture
def hello() -> bytes:
    wire = Wire()
    return Inner(wire, MemoryTransport(wire.reactor)).hello()


@pytest.mark.parametrize("early", [True, False])
def test_hello(hello: bytes, early: bool) -> None:
    looking = Looking(hello if early else b"")
    if not early:
        for index in range(len(hello)):
            assert looking.seen == []
            looking.peek.dataReceived(hello[index : index + 1])
    (seen,) = looking.seen
    assert isinstance(seen, ClientHello)
    assert seen.server_name == "origin.test"
    # What comes until somebody takes over is kept too.
    looking.peek.dataReceived(b"more")
    assert looking.peek.received == hello + b"more"
    assert len(looking.seen) == 1


@pytest.mark.parametrize(
    "said",
    [b"GET / HTTP/1.1\r\n", b"GET /", b"OPTIONS * ", b"PROPFIND /a", b"GET http://a/"],
)
def test_http(said: bytes) -> None:
    looking = Looking()
    looking.peek.dataReceived(said)
    assert looking.seen == [Spoken.HTTP]


@pytest.mark.parametrize(
    "said",
    [
        b"\x00",
        b"\r\n",
        b"get / ",
        b"SSH-2.0-x",
        b"EHLO a",
        b"GE /",
        b"GET  /",
        b"A" * 17,
        b"PRI * HTTP/2.0",
        b"\x16\x02",
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
        b"\x15\x03\x01\x00\x02\x02\x28",
    ],
)
def test_something_else(said: bytes) -> None:
    looking = Looking()
    for index in range(len(said)):
        looking.peek.dataReceived(said[index : index + 1])
    assert looking.seen == [Spoken.SOMETHING_ELSE]
    assert looking.peek.received == said


@pytest.mark.parametrize("said", [b"", b"G", b"GET", b"GET ", b"\x16", b"\x16\x03\x01\x02\x00\x01", b"PRI", b"A" * 16])
def test_not_known_yet(said: bytes) -> None:
    looking = Looking()
    looking.peek.dataReceived(said)
    assert looking.seen == []
    looking.clock.advance(2.9)
    assert looking.seen == []
    looking.clock.advance(1)
    assert looking.seen == [Spoken.SOMETHING_ELSE]
    assert looking.peek.received == said


def test_the_client_leaves() -> None:
    looking = Looking()
    assert repr(looking.peek) == "<Peek received=0 waiting>"
    looking.peek.connectionLost(Failure(ConnectionDone()))
    assert (looking.left, looking.seen) == (1, [])
    looking.clock.advance(5)
    assert looking.seen == []


def test_the_client_leaves_after_that() -> None:
    looking = Looking()
    looking.peek.dataReceived(b"\x00")
    assert repr(looking.peek) == "<Peek received=1 over>"
    looking.peek.connectionLost(Failure(ConnectionDone()))
    assert looking.left == 1


def test_it_is_stopped() -> None:
    looking = Looking()
    looking.peek.stop()
    looking.peek.dataReceived(b"GET / ")
    looking.peek.connectionLost(Failure(ConnectionDone()))
    looking.clock.advance(5)
    assert (looking.left, looking.seen) == (0, [])
    assert looking.clock.getDelayedCalls() == []
