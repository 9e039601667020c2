"""A conversation with a parent, on a real socket, with a clock of the test's own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from twistedproxy import errors
from twistedproxy.deadlines import Deadlines
from twistedproxy.http.head import HeadLimits
from twistedproxy.routes.http_connect import HTTPConnect
from twistedproxy.routes.socks5 import SOCKS5
from twistedproxy.upstream.negotiating import Negotiating, Negotiation


class Conversation:
    """Both ends of a connection, and what is said on ours."""

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.clock = Clock()
        self.deadlines = Deadlines(self.clock)
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs.settimeout(10)
        self.negotiating: Negotiating

    def start(self, negotiation: Negotiation) -> Deferred[None]:
        self.negotiating = Negotiating(self.reactor, self.deadlines, self.ours, negotiation, 5.0)
        return self.negotiating.start()

    def is_watched(self) -> bool:
        return self.negotiating in (*self.reactor.getReaders(), *self.reactor.getWriters())

    def close(self) -> None:
        assert not self.is_watched()
        assert repr(self.deadlines) == "<Deadlines watching=0 buckets=0>"
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def conversation(running_reactor: Any) -> Iterator[Conversation]:
    made = Conversation(running_reactor)
    yield made
    made.close()


def connect() -> HTTPConnect:
    return HTTPConnect(b"a.test:443", b"", b"", HeadLimits(8192, 100))


@pytest_twisted.ensureDeferred
async def test_what_comes_after_the_last_word_stays_in_the_socket(conversation: Conversation) -> None:
    result = conversation.start(connect())
    assert conversation.theirs.recv(1000) == b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"
    conversation.theirs.sendall(b"HTTP/1.1 200 OK\r\n\r\n220 mail.test")
    await result
    assert conversation.ours.recv(1000) == b"220 mail.test"


@pytest_twisted.ensureDeferred
async def test_a_long_conversation(conversation: Conversation) -> None:
    result = conversation.start(SOCKS5("a", 80, b"me", b"pw"))
    assert conversation.theirs.recv(1000) == b"\5\2\0\2"
    for words in (b"\5", b"\2"):
        conversation.theirs.sendall(words)
    assert await heard(conversation, b"\1\2me\2pw") == b"\1\2me\2pw"
    conversation.theirs.sendall(b"\1\0")
    assert await heard(conversation, b"\5\1\0\3\1a\0\x50") == b"\5\1\0\3\1a\0\x50"
    assert repr(conversation.negotiating) == f"<Negotiating <SOCKS5 a:80 REPLY> fd={conversation.ours.fileno()}>"
    conversation.theirs.sendall(b"\5\0\0\1" + bytes(6) + b"x")
    await result
    assert conversation.ours.recv(1000) == b"x"


async def heard(conversation: Conversation, words: bytes) -> bytes:
    """What the parent hears, once the reactor has had the turns that takes."""
    conversation.theirs.setblocking(False)
    came = b""
    for _ in range(1000):
        turn: Deferred[None] = Deferred()
        conversation.reactor.callLater(0, turn.callback, None)
        await turn
        try:
            came += conversation.theirs.recv(1000)
        except BlockingIOError:
            continue
        if len(came) >= len(words):
            break
    return came


class Talkative:
    """Says more than a socket takes."""

    done = False

    def begin(self) -> bytes:
        return b"x" * 10_000_000

    def take(self, data: bytes) -> tuple[int, bytes]:
        self.done = True
        return len(data), b""


@pytest_twisted.ensureDeferred
async def test_words_that_do_not_fit_at_once(conversation: Conversation) -> None:
    result = conversation.start(Talkative())
    count = 0
    conversation.theirs.setblocking(False)
    while count < 10_000_000:
        count += len(await heard(conversation, b"x"))
    conversation.theirs.sendall(b"!")
    await result
    assert count == 10_000_000


@pytest.mark.parametrize(
    ("answer", "error", "detail"),
    [
        (b"", errors.ParentBroken, "it closed the connection without an answer"),
        (b"HTTP/1.1 200", errors.ParentBroken, "it closed the connection without an answer"),
        (b"HTTP/1.1 403 No\r\n\r\n", errors.ParentRefused, "it answered 403 to CONNECT"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_bad_end(
    conversation: Conversation, answer: bytes, error: type[errors.ProxyError], detail: str
) -> None:
    result = conversation.start(connect())
    assert conversation.theirs.recv(1000)
    conversation.theirs.sendall(answer)
    conversation.theirs.close()
    with pytest.raises(errors.ProxyError) as raised:
        await result
    assert (type(raised.value), raised.value.detail) == (error, detail)


@pytest_twisted.ensureDeferred
async def test_a_reset(conversation: Conversation) -> None:
    result = conversation.start(connect())
    # What was not read makes a reset of the close.
    conversation.theirs.close()
    with pytest.raises(errors.ParentBroken) as raised:
        await result
    assert raised.value.detail.startswith("it broke off before it had answered")


@pytest_twisted.ensureDeferred
async def test_it_takes_too_long(conversation: Conversation) -> None:
    result = conversation.start(connect())
    for _ in range(11):
        conversation.clock.advance(0.5)
    with pytest.raises(errors.ParentTimeout) as raised:
        await result
    assert raised.value.detail == "no answer in 5 s"


@pytest_twisted.ensureDeferred
async def test_nobody_wants_it_any_more(conversation: Conversation) -> None:
    result = conversation.start(connect())
    assert conversation.is_watched()
    result.cancel()
    with pytest.raises(CancelledError):
        await result
    # The socket is somebody else's.
    assert conversation.ours.fileno() > 0
    # An event that was already under way.
    conversation.negotiating.doRead()


class Faulty(Talkative):
    """Breaks."""

    def begin(self) -> bytes:
        return b"?"

    def take(self, data: bytes) -> tuple[int, bytes]:
        raise ZeroDivisionError


@pytest_twisted.ensureDeferred
async def test_a_fault_of_our_own(conversation: Conversation, logged_errors: Any) -> None:
    result = conversation.start(Faulty())
    conversation.theirs.sendall(b"x")
    with pytest.raises(errors.ProxyError) as raised:
        await result
    assert type(raised.value) is errors.ProxyError
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
