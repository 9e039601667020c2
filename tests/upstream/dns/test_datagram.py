"""One question over UDP: its id and port, who may reply, and what else may come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.ports import free_port
from tests.upstream.dns.scripted import ScriptedServer, a, reply, replying, silence
from twistedproxy.settings.name_servers import NameServerAddress
from twistedproxy.upstream.dns.datagram import GUESSED, Datagram
from twistedproxy.upstream.dns.messages import A, question, read_reply

QUESTION = question("www.example", A)

Outcome = tuple["bytes | None", str]


def ask(reactor: Any, server: NameServerAddress) -> tuple[Datagram, Deferred[Outcome]]:
    over: Deferred[Outcome] = Deferred()
    return Datagram(reactor, server, QUESTION, lambda data, why: over.callback((data, why))), over


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("interface", ["127.0.0.1", "::1"])
async def test_a_question_and_its_reply(
    running_reactor: Any, make_server: Callable[..., ScriptedServer], interface: str
) -> None:
    server = make_server(interface=interface)
    server.on("www.example", A, replying(a("www.example", "192.0.2.1")))
    datagram, over = ask(running_reactor, server.address)
    data, why = await over
    assert data is not None
    assert read_reply(data, "www.example", A).addresses[0].address == "192.0.2.1"
    assert (why, datagram.fileno()) == ("", -1)
    assert repr(datagram) == "<Datagram fd=-1>"
    assert server.asked == [("www.example", A, "udp")]


@pytest_twisted.ensureDeferred
async def test_ids_and_ports_cannot_be_guessed(running_reactor: Any, server: ScriptedServer) -> None:
    """RFC 5452 section 9.2: both are another's for each question."""
    for _ in range(64):
        await ask(running_reactor, server.address)[1]
    ids = {query[:2] for query in server.queries}
    ports = {port for _, port in server.sources}
    assert len(ids) > 60
    assert len(ports) > 50
    assert not any(port + 1 in ports and port + 2 in ports and port + 3 in ports for port in ports)


@pytest_twisted.ensureDeferred
async def test_what_is_no_reply_is_ignored(running_reactor: Any, server: ScriptedServer) -> None:
    def lies(query: bytes) -> list[bytes]:
        good = reply(query, a("www.example", "192.0.2.1"))
        other = reply(query[:2] + query[2:].replace(b"www", b"xxx"), a("xxx.example", "192.0.2.66"))
        wrong_id = bytes((good[0] ^ 1,)) + good[1:]
        return [b"", b"x", wrong_id, other, query, good[:20], good]

    server.on("www.example", A, lies)
    data, _ = await ask(running_reactor, server.address)[1]
    assert data is not None
    assert read_reply(data, "www.example", A).addresses[0].address == "192.0.2.1"


@pytest_twisted.ensureDeferred
async def test_who_guesses_for_long_is_noticed(running_reactor: Any, server: ScriptedServer) -> None:
    def guesses(query: bytes) -> list[bytes]:
        good = reply(query, a("www.example", "192.0.2.66"))
        return [bytes((good[0], good[1] ^ number)) + good[2:] for number in range(1, 33)]

    server.on("www.example", A, guesses)
    datagram, over = ask(running_reactor, server.address)
    assert await over == (None, GUESSED)
    assert datagram.fileno() == -1


@pytest_twisted.ensureDeferred
async def test_replies_from_elsewhere_do_not_arrive(
    running_reactor: Any, make_server: Callable[..., ScriptedServer]
) -> None:
    """RFC 5452 section 9.1: the right id and question, but another address or port."""
    server, stranger = make_server(), make_server()

    def relay(query: bytes) -> bytes:
        forged = reply(query, a("www.example", "192.0.2.66"))
        assert stranger.transport is not None
        stranger.transport.write(forged, server.sources[-1])
        return reply(query, a("www.example", "192.0.2.1"))

    server.on("www.example", A, relay)
    data, _ = await ask(running_reactor, server.address)[1]
    assert data is not None
    assert read_reply(data, "www.example", A).addresses[0].address == "192.0.2.1"


@pytest_twisted.ensureDeferred
async def test_nobody_listens(running_reactor: Any) -> None:
    assert await ask(running_reactor, NameServerAddress("127.0.0.1", free_port()))[1] == (None, "Connection refused")


def test_what_cannot_be_sent(running_reactor: Any) -> None:
    with pytest.raises(OSError, match=r"denied|unreachable|Cannot assign|Invalid"):
        ask(running_reactor, NameServerAddress("255.255.255.255", 53))


@pytest_twisted.ensureDeferred
async def test_cancelling(running_reactor: Any, server: ScriptedServer) -> None:
    server.otherwise = silence
    datagram, over = ask(running_reactor, server.address)
    await server.awaited(1)
    datagram.cancel()
    datagram.cancel()
    assert not over.called
    assert datagram.fileno() == -1
