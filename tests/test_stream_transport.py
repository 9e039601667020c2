"""A stream as a transport: what comes, what is said, flow control, and every end; on both sides of a session."""

from __future__ import annotations

from typing import Any

import pytest
from h2.errors import ErrorCodes
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IHalfCloseableProtocol, IPushProducer, ITransport
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.http2.peers import OK, POST, Pair
from twistedproxy.stream_transport import StreamTransport


@implementer(IHalfCloseableProtocol)
class Listening(Protocol):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.received = b""
        self.ends: list[Any] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def readConnectionLost(self) -> None:
        self.ends.append("read")

    def writeConnectionLost(self) -> None:
        """Never."""

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's default
        self.ends.append(type(reason.value))


class Producing:
    """Writes down when it is to rest."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        """Never."""


class Side:
    """A transport on the side under test, and the library at the other end."""

    def __init__(self, client: bool, *, window: int = 65535) -> None:
        self.pair = pair = Pair(client)
        if client:
            stream: Any = pair.owner.open(POST)
            pair.run()
            pair.peer.send_headers(1, OK)
            pair.run()
        else:
            stream = pair.request(1, POST, end=False)
            stream.say_head(OK, False)
            pair.run()
        self.clock = Clock()
        self.transport = StreamTransport(stream, StringTransport(), self.flush, self.clock.callLater)
        self.protocol = self.transport.protocol = Listening()
        self.before = stream

    def flush(self) -> None:
        self.pair.session.pump()

    def run(self) -> list[Any]:
        """Let everything pass; the names of what the peer was told."""
        events = self.pair.run()
        self.clock.advance(0)
        return [type(event).__name__ for event in events]

    def heard(self) -> bytes:
        """The content that the peer has got so far."""
        return b"".join(getattr(event, "data", b"") for event in self.pair.events)


@pytest.fixture(params=[False, True], ids=["server", "client"])
def side(request: pytest.FixtureRequest) -> Side:
    return Side(request.param)


def test_what_it_is(side: Side) -> None:
    for interface in (ITransport, IConsumer, IPushProducer):
        assert verifyObject(interface, side.transport)
    assert side.transport.getPeer() is not None
    assert side.transport.getHost() is not None
    assert side.before.over
    assert side.pair.session.streams == {1: side.transport}


def test_both_ways(side: Side) -> None:
    side.pair.peer.send_data(1, b"there")
    side.transport.write(b"and ")
    side.transport.writeSequence([b"back", b" again"])
    side.run()
    assert side.protocol.received == b"there"
    assert side.heard() == b"and back again"
    # What the stream before has counted is not touched.
    assert side.before.received < side.transport.received + 200
    assert side.transport.sent == 14 + 3 * 9 - 9


def test_peer_ends_first(side: Side) -> None:
    side.pair.peer.send_data(1, b"last", end_stream=True)
    side.run()
    assert (side.protocol.received, side.protocol.ends) == (b"last", ["read"])
    side.transport.write(b"still")
    side.transport.loseConnection()
    assert "StreamEnded" in side.run()
    assert side.heard() == b"still"
    assert side.protocol.ends == ["read", ConnectionDone]
    assert side.pair.owner.over == [1]


def test_this_side_ends_first(side: Side) -> None:
    side.transport.write(b"last")
    side.transport.loseWriteConnection()
    events = side.run()
    assert "StreamEnded" in events
    assert "StreamReset" not in events
    side.pair.peer.send_data(1, b"still", end_stream=True)
    side.run()
    assert side.protocol.received == b"still"
    assert side.protocol.ends[-1] is ConnectionDone
    assert side.pair.owner.over == [1]


def test_closed_from_here(side: Side) -> None:
    """What was said arrives; what the peer still says does not matter."""
    side.transport.write(b"last")
    side.transport.loseConnection()
    assert side.protocol.ends == []
    events = side.run()
    assert events[-2:] == ["StreamEnded", "StreamReset"]
    assert side.heard() == b"last"
    assert side.protocol.ends == [ConnectionDone]
    side.transport.loseConnection()
    side.transport.abortConnection()
    side.transport.write(b"x")
    assert side.run() == []


def test_closed_after_half(side: Side) -> None:
    side.transport.loseWriteConnection()
    side.run()
    side.transport.loseConnection()
    assert side.run() == ["StreamReset"]
    assert side.protocol.ends == [ConnectionDone]


def test_aborted(side: Side) -> None:
    side.transport.write(b"x" * 100_000)
    side.transport.abortConnection()
    assert side.run()[-1] == "StreamReset"
    assert side.protocol.ends == [ConnectionAborted]


@pytest.mark.parametrize(
    ("code", "reason"), [(ErrorCodes.CANCEL, ConnectionLost), (ErrorCodes.NO_ERROR, ConnectionDone)]
)
def test_peer_resets(side: Side, code: ErrorCodes, reason: type[Exception]) -> None:
    side.pair.peer.reset_stream(1, code)
    side.run()
    assert side.protocol.ends == [reason]


def test_peer_had_ended_before(side: Side) -> None:
    """A client can end its side together with its request."""
    pair = Pair()
    stream = pair.request(1, POST, end=True)
    stream.say_head(OK, False)
    clock = Clock()
    transport = StreamTransport(stream, StringTransport(), pair.session.pump, clock.callLater)
    transport.protocol = protocol = Listening()
    clock.advance(0)
    assert protocol.ends == ["read"]


def test_who_knows_no_half(side: Side) -> None:
    """The end of one direction is that of both, as it is for a socket."""
    lost: list[Any] = []

    class Whole(Protocol):
        def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's default
            lost.append(type(reason.value))

    side.transport.protocol = Whole()
    side.pair.peer.end_stream(1)
    assert "StreamEnded" in side.run()
    assert lost == [ConnectionDone]


def test_producer_rests(side: Side) -> None:
    """While the peer's window is closed, or the connection takes no more."""
    producer = Producing()
    side.transport.registerProducer(producer, True)
    side.transport.write(b"a" * 65_535)
    assert producer.told == []
    side.transport.write(b"b" * 10)
    assert producer.told == ["pause"]
    side.transport.write(b"c")
    assert producer.told == ["pause"]
    side.run()
    side.pair.peer.increment_flow_control_window(65_535)
    side.pair.peer.increment_flow_control_window(65_535, 1)
    side.run()
    assert producer.told == ["pause", "resume"]
    side.pair.owner.blocked = True
    side.transport.write(b"d")
    side.pair.owner.blocked = False
    side.pair.session.drained()
    assert producer.told == ["pause", "resume", "pause", "resume"]
    side.transport.unregisterProducer()
    side.run()
    assert side.heard()[65_535:] == b"b" * 10 + b"cd"


def test_rests_as_a_producer(side: Side) -> None:
    """One window comes, and no more until it goes on."""
    side.transport.pauseProducing()
    sent = 0
    while (room := side.pair.peer.local_flow_control_window(1)) > 0:
        side.pair.peer.send_data(1, b"a" * min(room, 16384))
        sent += min(room, 16384)
        side.run()
        assert sent < 1_000_000
    side.transport.resumeProducing()
    side.run()
    assert side.pair.peer.local_flow_control_window(1) > 100_000
    side.transport.stopProducing()
    assert side.run()[-1] == "StreamReset"
