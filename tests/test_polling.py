"""Connections that are looked at in one go, over real sockets under the real reactor."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedproxy import polling
from twistedproxy.polling import Poll, polled

LINGER_NOT = struct.pack("ii", 1, 0)


class End(Protocol):
    """A connection's end that tells what happens to it."""

    def __init__(self) -> None:
        self.received = b""
        self.hears: Callable[[End], object] = lambda _: None
        self.heard: Deferred[End] = Deferred()
        self.lost: Deferred[Any] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        if not self.heard.called:
            self.heard.callback(self)
        self.hears(self)

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.callback(type(reason.value))
        self.gone.callback(None)


@implementer(IHalfCloseableProtocol)
class HalfCloseable(End):
    """One that goes on when its peer has said all."""

    def __init__(self) -> None:
        super().__init__()
        self.halves: list[str] = []

    def readConnectionLost(self) -> None:
        self.halves.append("read")
        if not self.heard.called:
            self.heard.callback(self)

    def writeConnectionLost(self) -> None:
        self.halves.append("write")


class Ends(Factory):
    """Makes them, and has them all."""

    noisy = False

    def __init__(self, kind: type[End] = End) -> None:
        self.kind = kind
        self.made: list[End] = []

    def buildProtocol(self, addr: object) -> End:
        self.made.append(self.kind())
        return self.made[-1]


def the_reactor() -> Any:
    from twisted.internet import reactor

    return reactor


async def turn() -> None:
    await deferLater(the_reactor(), 0, lambda: None)


async def receive(client: socket.socket, size: int) -> bytes:
    """So many bytes, while the reactor goes on."""
    received = bytearray()
    client.setblocking(False)
    while len(received) < size:
        try:
            received += client.recv(1 << 20)
        except BlockingIOError:
            await turn()
    return bytes(received)


@pytest.fixture
def poll() -> Iterator[Poll]:
    made = polled(the_reactor())
    assert isinstance(made, Poll)
    yield made
    assert repr(made) == "<Poll of 0 descriptors>"
    assert made not in the_reactor().getReaders()
    assert made.fileno() == -1


class Pairs:
    """Connections, each of an end under the poll and a plain socket."""

    def __init__(self, poll: Poll) -> None:
        self.poll = poll
        self.ends = Ends()
        self._stack = ExitStack()

    def make(self, kind: type[End] = End) -> tuple[Any, socket.socket]:
        self.ends.kind = kind
        with socket.create_server(("127.0.0.1", 0)) as listener:
            theirs = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
        theirs.settimeout(10)
        self._stack.enter_context(theirs)
        ours.setblocking(False)
        self.poll.adoptStreamConnection(ours.fileno(), socket.AF_INET, self.ends)
        ours.close()
        return self.ends.made[-1], theirs

    async def close(self) -> None:
        self._stack.close()
        for end in self.ends.made:
            transport: Any = end.transport
            if transport.connected:
                transport.abortConnection()
                await end.gone


@pytest_twisted.async_yield_fixture
async def pairs(poll: Poll) -> AsyncIterator[Pairs]:
    made = Pairs(poll)
    yield made
    await made.close()


@pytest_twisted.ensureDeferred
async def test_a_port_and_its_connections(poll: Poll) -> None:
    ends = Ends()
    port = poll.listenTCP(0, ends, interface="127.0.0.1")
    assert port.reactor is poll
    assert poll.getReaders() == [port]
    with socket.create_connection(("127.0.0.1", port.getHost().port)) as client:
        client.settimeout(10)
        client.sendall(b"question")
        while not ends.made:
            await turn()
        (end,) = ends.made
        await end.heard
        transport: Any = end.transport
        assert transport.reactor is poll
        transport.write(b"answer")
        assert await receive(client, 6) == b"answer"
    assert await end.lost is ConnectionDone
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_connection_rests_and_goes_on(pairs: Pairs) -> None:
    end, client = pairs.make()
    end.transport.pauseProducing()
    client.sendall(b"later")
    await turn()
    await turn()
    assert end.received == b""
    end.transport.resumeProducing()
    await end.heard
    assert end.received == b"later"


@pytest_twisted.ensureDeferred
async def test_what_does_not_fit_is_written_when_there_is_room(pairs: Pairs) -> None:
    size = 8 << 20
    end, client = pairs.make()
    end.transport.write(b"x" * size)
    await turn()
    assert pairs.poll.getWriters() == [end.transport]
    assert await receive(client, size) == b"x" * size
    await turn()
    assert pairs.poll.getWriters() == []
    assert pairs.poll.getReaders() == [end.transport]


@pytest_twisted.ensureDeferred
async def test_last_words_are_heard_before_a_reset(pairs: Pairs) -> None:
    """Though bytes wait to be written: an origin may answer early, and close with some of the request unread."""
    end, client = pairs.make()
    end.transport.write(b"x" * (8 << 20))
    await turn()
    client.sendall(b"413")
    client.close()
    assert await end.lost in (ConnectionDone, ConnectionLost)
    assert end.received == b"413"


@pytest_twisted.ensureDeferred
async def test_a_half_that_is_closed_is_told_of_once(pairs: Pairs) -> None:
    end, client = pairs.make(HalfCloseable)
    client.shutdown(socket.SHUT_WR)
    await end.heard
    end.transport.write(b"x" * (8 << 20))
    await turn()
    await turn()
    assert (end.halves, end.lost.called) == (["read"], False)
    assert pairs.poll.getReaders() == []


@pytest_twisted.ensureDeferred
async def test_a_fault_of_one_is_not_that_of_others(pairs: Pairs, logged_errors: Any) -> None:
    """Both have something in the same turn."""
    (one, first), (other, second) = pairs.make(), pairs.make()

    def fail(_: End) -> None:
        raise ZeroDivisionError

    one.hears = other.hears = fail
    first.sendall(b"1")
    second.sendall(b"2")
    assert await one.lost is ZeroDivisionError
    assert await other.lost is ZeroDivisionError
    assert len(logged_errors.flush(ZeroDivisionError)) == 2


@pytest_twisted.ensureDeferred
async def test_one_that_fails_at_its_end_does_not_end_the_others(pairs: Pairs, logged_errors: Any) -> None:
    (one, first), (other, second) = pairs.make(), pairs.make()
    lost = one.connectionLost

    def lost_badly(reason: object) -> None:
        lost(reason)
        raise ZeroDivisionError

    one.connectionLost = lost_badly  # type: ignore[method-assign]  # it is this one's end that is looked at
    first.close()
    second.sendall(b"2")
    await other.heard
    assert await one.lost is ConnectionDone
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    assert pairs.poll.getReaders() == [other.transport]


@pytest_twisted.ensureDeferred
async def test_one_that_was_closed_by_another_hears_nothing(pairs: Pairs) -> None:
    (one, first), (other, second) = pairs.make(), pairs.make()
    one.hears = lambda _: other.transport.connectionLost(closed())
    other.hears = lambda _: one.transport.connectionLost(closed())
    first.sendall(b"1")
    second.sendall(b"2")
    await turn()
    await turn()
    assert sorted((one.received, other.received)) in ([b"", b"1"], [b"", b"2"])


@pytest_twisted.ensureDeferred
async def test_one_that_comes_is_not_told_of_the_end_of_another_whose_number_it_has(pairs: Pairs) -> None:
    """Both in one look: first something closes a connection that is reset, then a new one has its descriptor."""
    (one, first), (other, second) = pairs.make(), pairs.make()
    other.transport.pauseProducing()
    other.transport.write(b"x" * (8 << 20))
    for _ in range(100):
        # As long as it is not full, it has a turn itself before the other.
        await turn()
    number = other.transport.fileno()
    came: list[tuple[Any, socket.socket]] = []

    def replace(_: End) -> None:
        if not other.lost.called:
            other.transport.connectionLost(closed())
        came.append(pairs.make())

    one.hears = replace
    first.sendall(b"1")
    second.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    second.close()
    while not came:
        await turn()
    ((newcomer, third),) = came
    assert (newcomer.lost.called, newcomer.transport.fileno()) == (False, number)
    third.sendall(b"3")
    await newcomer.heard
    assert newcomer.received == b"3"


@pytest_twisted.ensureDeferred
async def test_one_that_has_the_number_of_one_that_went_without_a_word_is_heard(pairs: Pairs) -> None:
    end, _client = pairs.make()
    number = end.transport.fileno()
    end.transport.getHandle().close()
    newcomer, client = pairs.make()
    assert newcomer.transport.fileno() == number
    end.transport.connectionLost(closed())
    client.sendall(b"2")
    await newcomer.heard
    assert newcomer.received == b"2"
    assert pairs.poll.getReaders() == [newcomer.transport]


@pytest_twisted.ensureDeferred
async def test_all_have_their_turn(pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "MOST_EVENTS", 1)
    made = [pairs.make() for _ in range(5)]
    for number, (_end, client) in enumerate(made):
        client.sendall(b"%d" % number)
    for number, (end, _client) in enumerate(made):
        await end.heard
        assert end.received == b"%d" % number


@pytest_twisted.ensureDeferred
async def test_a_reset(pairs: Pairs) -> None:
    end, client = pairs.make()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    client.close()
    assert await end.lost is ConnectionLost


@pytest_twisted.ensureDeferred
async def test_a_reset_of_one_that_rests_is_heard_too(pairs: Pairs) -> None:
    """As with the reactor, it hears of that while it waits to write."""
    end, client = pairs.make()
    end.transport.pauseProducing()
    end.transport.write(b"x" * (8 << 20))
    await turn()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    client.close()
    assert await end.lost is ConnectionLost


@pytest_twisted.ensureDeferred
async def test_when_the_reactor_stops_all_hear_of_it(pairs: Pairs) -> None:
    (one, _), (other, _) = pairs.make(), pairs.make()
    pairs.poll.connectionLost(closed())
    assert [await one.lost, await other.lost] == [ConnectionDone, ConnectionDone]


def test_a_reactor_without_sockets_stays_what_it_is() -> None:
    reactor = MemoryReactorClock()
    assert polled(reactor) is reactor


def closed() -> Failure:
    return Failure(ConnectionDone())
