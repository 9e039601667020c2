"""The TLS handshake with an origin."""

from __future__ import annotations

from twisted.internet.task import Clock

from tests.memory import MemoryTransport
from twistedproxy.deadlines import Deadlines
from twistedproxy.errors import TLSFailed, TLSTimeout
from twistedproxy.upstream.handshake import Handshake


class Under:
    """A handshake with nobody, and what came of it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.done: list[bytes | None] = []
        self.failed: list[TLSFailed] = []
        self.handshake = Handshake(Deadlines(self.clock), 10.0, self.done.append, self.failed.append)
        self.transport = MemoryTransport(self.clock)
        self.transport.protocol = self.handshake
        self.transport.negotiatedProtocol = b"h2"
        self.handshake.makeConnection(self.transport)

    def outcome(self) -> tuple[list[bytes | None], list[str]]:
        """What was agreed on, and what went wrong."""
        return self.done, [error.reason for error in self.failed]


def test_it_tells_what_was_agreed_on_and_then_nothing() -> None:
    under = Under()
    assert repr(under.handshake) == "<Handshake under way>"
    under.handshake.handshakeCompleted()
    under.transport.peer_resets()
    under.clock.advance(11)
    assert under.outcome() == ([b"h2"], [])
    assert not under.clock.getDelayedCalls()
    assert repr(under.handshake) == "<Handshake over>"


def test_it_has_its_time() -> None:
    under = Under()
    under.clock.advance(11)
    under.clock.advance(0)
    assert [(type(error), error.detail) for error in under.failed] == [(TLSTimeout, "it took longer than 10 s")]
    assert under.done == []
    assert under.transport.closed == "aborted"


def test_a_connection_that_is_lost_has_failed_once() -> None:
    under = Under()
    under.transport.peer_closes()
    under.handshake.handshakeCompleted()
    assert under.outcome() == ([], ["tls_failed"])


def test_who_gives_up_hears_nothing() -> None:
    under = Under()
    under.handshake.give_up()
    under.clock.advance(11)
    assert under.outcome() == ([], [])
    assert under.transport.closed == "aborted"
