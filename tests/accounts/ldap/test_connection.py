"""A connection to a directory: requests, their answers, and what is none."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.accounts.ldap.test_messages import attribute, result
from twistedproxy.accounts.ldap.ber import element, integer, octets
from twistedproxy.accounts.ldap.connection import LARGEST, LDAPConnection, LDAPError
from twistedproxy.accounts.ldap.filters import ANY
from twistedproxy.accounts.ldap.messages import BASE, Entry, Result, bind_request, message


class Securing(StringTransport):  # type: ignore[misc]  # Twisted's class is not typed
    """Notes that TLS begins."""

    secured: Any = None

    def startTLS(self, creator: Any) -> None:
        self.secured = creator

    def getHandle(self) -> None:
        """There is no handshake."""


class Peer:
    """A connection, and the directory's side of it."""

    def __init__(self) -> None:
        self.connection = LDAPConnection()
        self.transport = Securing()
        self.connection.makeConnection(self.transport)
        self.told: list[Any] = []

    def ask(self, question: Coroutine[Any, Any, Any]) -> None:
        Deferred.fromCoroutine(question).addCallbacks(self.told.append, lambda failure: self.told.append(failure.value))

    def search(self) -> None:
        self.ask(self.connection.search("dc=x", BASE, ANY, ["uid"], most=1, seconds=1))

    def say(self, number: int, *operations: bytes) -> None:
        self.connection.dataReceived(b"".join(message(number, one) for one in operations))

    @property
    def why(self) -> str:
        [error] = self.told
        assert isinstance(error, LDAPError)
        return str(error)


@pytest.fixture
def peer() -> Peer:
    return Peer()


ENTRY = element(0x64, octets(b"uid=a"), element(0x30, attribute(b"uid", b"a")))
REFERENCE = element(0x73, octets(b"ldap://x"))


def test_one_after_the_other(peer: Peer) -> None:
    peer.ask(peer.connection.bind("cn=x", b"y"))
    assert peer.transport.value() == message(1, bind_request("cn=x", b"y"))
    assert repr(peer.connection) == "<LDAPConnection requests=1 waiting>"
    peer.say(1, result(0x61, 49, b"no"))
    peer.search()
    peer.say(2, ENTRY, REFERENCE, ENTRY, result(0x65, 4))
    found = Entry("uid=a", {"uid": [b"a"]})
    assert peer.told == [Result(0x61, 49, "no"), (Result(0x65, 4, ""), [found, found])]
    peer.transport.clear()
    peer.connection.close()
    assert peer.transport.value().hex() == "30050201034200"
    assert peer.transport.disconnecting
    assert repr(peer.connection) == "<LDAPConnection requests=3 idle>"


def test_in_pieces(peer: Peer) -> None:
    peer.search()
    for byte in message(1, ENTRY) + message(1, result(0x65, 0)):
        assert peer.told == []
        peer.connection.dataReceived(bytes((byte,)))
    assert len(peer.told) == 1


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "what it says is not LDAP: "),
        (octets(b"x"), "what it says is not LDAP: no message"),
        (message(2, result(0x65, 0)), "what it says is not LDAP: an answer that nobody has asked for"),
        (message(1, result(0x65, 0)) * 2, ""),
        (b"\x30\x84\x7f\xff\xff\xff", f"what it says is not LDAP: more than {LARGEST} bytes"),
        (element(0x30, integer(1)), "what it says is not LDAP: no number of a message"),
        (message(0, result(0x78, 52, b"bye\n")), "it ends the connection (result 52: bye\\n)"),
    ],
)
def test_what_is_no_answer(peer: Peer, said: bytes, why: str) -> None:
    peer.search()
    peer.connection.dataReceived(said)
    assert peer.transport.disconnected
    if why:
        assert peer.why.startswith(why)
    peer.told.clear()
    peer.search()
    assert isinstance(peer.told[0], LDAPError), "nothing can be asked any more"


def test_answers_are_bounded(peer: Peer) -> None:
    peer.search()
    entry = message(1, element(0x64, octets(b"x" * 100_000), element(0x30)))
    for _ in range(LARGEST // len(entry) + 1):
        peer.connection.dataReceived(entry)
    assert peer.why == f"what it says is not LDAP: more than {LARGEST} bytes"


def test_it_is_lost(peer: Peer) -> None:
    peer.search()
    peer.connection.connectionLost(Failure(ConnectionDone()))
    assert peer.why == "the connection was lost: Connection was closed cleanly."
    assert repr(peer.connection) == "<LDAPConnection requests=1 lost>"
    peer.connection.close()
    peer.connection.abort()
    assert not peer.transport.disconnecting


def test_tls_begins_when_the_directory_says_so(peer: Peer) -> None:
    peer.ask(peer.connection.start_tls("a creator"))  # type: ignore[arg-type]  # it is only passed on
    assert peer.transport.secured is None
    peer.say(1, result(0x78, 0))
    assert (peer.transport.secured, peer.told) == ("a creator", [None])


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (message(1, result(0x78, 52, b"none here")), "it does not start TLS (result 52: none here)"),
        (message(1, result(0x61, 0)), "it does not start TLS (result 0)"),
        # Whoever is on the way could put in answers before the handshake.
        (message(1, result(0x78, 0)) + message(2, result(0x61, 0)), "it goes on without TLS"),
    ],
)
def test_tls_that_does_not_begin(peer: Peer, said: bytes, why: str) -> None:
    peer.ask(peer.connection.start_tls("a creator"))  # type: ignore[arg-type]  # it is only passed on
    peer.connection.dataReceived(said)
    assert (peer.transport.secured, peer.why) == (None, why)
