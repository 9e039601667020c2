"""Questions over TCP and TLS: one connection for many, and its end at any moment."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.ports import free_port
from tests.upstream.dns.scripted import ScriptedServer, a, reply, replying, silence
from twistedproxy.deadlines import Deadlines
from twistedproxy.settings.name_servers import NameServerAddress
from twistedproxy.upstream.dns.datagram import GUESSED
from twistedproxy.upstream.dns.messages import A, question, read_reply
from twistedproxy.upstream.dns.stream import IDLE, Stream, StreamQuestion

Outcome = tuple["bytes | None", str]


class Asker:
    """A stream to the scripted server, and what came of each question."""

    def __init__(self, reactor: Any, address: NameServerAddress, clock: Clock) -> None:
        self.stream = Stream(reactor, address, Deadlines(clock))

    def ask(self, name: str) -> Deferred[Outcome]:
        return self.begin(name)[1]

    def begin(self, name: str) -> tuple[StreamQuestion, Deferred[Outcome]]:
        over: Deferred[Outcome] = Deferred()
        return self.stream.ask(question(name, A), lambda data, why: over.callback((data, why))), over

    async def address(self, name: str) -> str:
        data, why = await self.ask(name)
        assert data is not None, why
        return read_reply(data, name, A).addresses[0].address


@pytest.fixture
def asker(running_reactor: Any, server: ScriptedServer, clock: Clock) -> Iterator[Asker]:
    for number in range(3):
        server.on(f"{number}.example", A, replying(a(f"{number}.example", f"192.0.2.{number}")), by="tcp")
    made = Asker(running_reactor, server.address, clock)
    yield made
    made.stream.close()


@pytest_twisted.ensureDeferred
async def test_many_questions_on_one_connection(asker: Asker, server: ScriptedServer) -> None:
    asked = [asker.address(f"{number}.example") for number in range(3)]
    assert [await one for one in asked] == ["192.0.2.0", "192.0.2.1", "192.0.2.2"]
    assert await asker.address("0.example") == "192.0.2.0"
    assert len(server.connections) == 1
    assert repr(asker.stream) == f"<Stream {server.address} open waiting=0>"


@pytest_twisted.ensureDeferred
async def test_questions_at_once_have_ids_of_their_own(asker: Asker, server: ScriptedServer) -> None:
    server.otherwise = silence
    waiting = [asker.begin(f"x{number}.example") for number in range(50)]
    assert len({asked.id for asked, _ in waiting}) == 50
    await server.awaited(50)
    for asked, _ in waiting:
        asked.cancel()


@pytest_twisted.ensureDeferred
async def test_replies_come_in_any_order(asker: Asker, server: ScriptedServer) -> None:
    held: list[bytes] = []

    def hold(query: bytes) -> None:
        held.append(query)

    def both(query: bytes) -> list[bytes]:
        return [reply(query, a("1.example", "192.0.2.1")), reply(held[0], a("0.example", "192.0.2.0"))]

    server.on("0.example", A, hold, by="tcp")
    server.on("1.example", A, both, by="tcp")
    first, second = asker.ask("0.example"), asker.ask("1.example")
    data = (await first)[0]
    assert data is not None
    assert read_reply(data, "0.example", A).addresses[0].address == "192.0.2.0"
    assert (await second)[0] is not None


@pytest_twisted.ensureDeferred
async def test_an_idle_connection_is_closed_after_a_while(asker: Asker, server: ScriptedServer, clock: Clock) -> None:
    await asker.address("0.example")
    clock.advance(IDLE - 1)
    await asker.address("1.example")
    clock.advance(IDLE - 1)
    assert repr(asker.stream).endswith(" open waiting=0>")
    clock.advance(1.5)
    assert repr(asker.stream).endswith(" closed waiting=0>")
    assert clock.getDelayedCalls() == []
    assert await asker.address("2.example") == "192.0.2.2"


@pytest_twisted.ensureDeferred
async def test_a_connection_that_was_closed_meanwhile_is_made_again(asker: Asker, server: ScriptedServer) -> None:
    """RFC 7766 section 6.2.4."""
    await asker.address("0.example")

    def hang_up(query: bytes) -> None:
        server.connections[0].transport.loseConnection()

    server.on("1.example", A, hang_up, replying(a("1.example", "192.0.2.1")), by="tcp")
    assert await asker.address("1.example") == "192.0.2.1"
    assert [name for name, _, _ in server.asked] == ["0.example", "1.example", "1.example"]


@pytest_twisted.ensureDeferred
async def test_a_server_that_hangs_up_on_questions(asker: Asker, server: ScriptedServer) -> None:
    def hang_up(query: bytes) -> None:
        server.connections[0].transport.loseConnection()

    server.otherwise = hang_up
    data, why = await asker.ask("x.example")
    assert data is None
    assert "closed" in why
    assert len(server.asked) == 1
    assert repr(asker.stream).endswith(" closed waiting=0>")


@pytest_twisted.ensureDeferred
async def test_nobody_listens(running_reactor: Any, clock: Clock) -> None:
    asker = Asker(running_reactor, NameServerAddress("127.0.0.1", free_port()), clock)
    data, why = await asker.ask("x.example")
    assert data is None
    assert "refused" in why


@pytest_twisted.ensureDeferred
async def test_the_last_to_leave_ends_the_attempt(running_reactor: Any, clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as full:
        asker = Asker(running_reactor, NameServerAddress(*full.getsockname()), clock)
        first, second = asker.begin("a.example"), asker.begin("b.example")
        first[0].cancel()
        assert repr(asker.stream).endswith(" connecting waiting=1>")
        second[0].cancel()
        assert repr(asker.stream).endswith(" closed waiting=0>")
    assert not (first[1].called)
    assert not (second[1].called)


@pytest_twisted.ensureDeferred
async def test_what_is_no_reply_is_ignored_but_not_for_ever(asker: Asker, server: ScriptedServer) -> None:
    def lies(count: int) -> Callable[[bytes], list[bytes]]:
        def react(query: bytes) -> list[bytes]:
            good = reply(query, a("0.example", "192.0.2.0"))
            return [bytes((good[0] ^ 1,)) + good[1:]] * count + [good]

        return react

    server.on("0.example", A, lies(31), lies(2), by="tcp")
    assert await asker.address("0.example") == "192.0.2.0"
    assert await asker.ask("0.example") == (None, GUESSED)


@pytest_twisted.ensureDeferred
async def test_a_message_that_is_too_long_ends_the_connection(asker: Asker, server: ScriptedServer) -> None:
    server.otherwise = lambda query: reply(query) + bytes(5000)
    data, _ = await asker.ask("x.example")
    assert data is None


@pytest_twisted.ensureDeferred
async def test_closing_says_nothing(asker: Asker, server: ScriptedServer, clock: Clock) -> None:
    server.otherwise = silence
    asked = asker.ask("x.example")
    await server.awaited(1)
    asker.stream.close()
    assert not asked.called
    assert clock.getDelayedCalls() == []
