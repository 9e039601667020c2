"""One question to several servers, each of which fails in its own way."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.names import dns

from tests.upstream.dns.scripted import ScriptedServer, a, aaaa, cname, referral, reply, replying, silence, soa
from twistedproxy.deadlines import Deadlines
from twistedproxy.settings.name_servers import NameServerAddress
from twistedproxy.upstream.dns.asking import Asking, Found
from twistedproxy.upstream.dns.messages import AAAA, A
from twistedproxy.upstream.dns.servers import NameServer, Servers
from twistedproxy.upstream.literals import ResolvedAddress

Ask = Callable[..., tuple[Asking, Deferred[Found]]]

ADDRESS = (ResolvedAddress("192.0.2.1", socket.AF_INET),)
GOOD = replying(a("www.example", "192.0.2.1"))


@pytest.fixture
def ask(running_reactor: Any, deadlines: Deadlines) -> Any:
    """Asks some servers for a name; they are closed at the end."""
    made: list[Servers] = []

    def begin(
        *servers: NameServerAddress, name: str = "www.example", type: int = A, attempts: int = 1, **domains: Any
    ) -> tuple[Asking, Deferred[Found]]:
        groups = [("", servers), *((domain.replace("_", "."), several) for domain, several in domains.items())]
        made.append(Servers(groups, lambda address: NameServer(running_reactor, address, deadlines)))
        over: Deferred[Found] = Deferred()
        asking = Asking(
            made[-1], name, type, attempts=attempts, attempt_timeout=2.0, deadlines=deadlines, done=over.callback
        )
        asking.start()
        return asking, over

    yield begin
    for servers in made:
        servers.close()


@pytest_twisted.ensureDeferred
async def test_the_first_server_knows(ask: Ask, make_server: Callable[..., ScriptedServer], clock: Clock) -> None:
    first, second = make_server(), make_server()
    first.on("www.example", A, GOOD)
    assert await ask(first.address, second.address)[1] == Found("found", ADDRESS, 300)
    assert second.asked == []
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    ("reaction", "said"),
    [
        (replying(code=dns.ESERVER), "SERVFAIL"),
        (replying(code=dns.EREFUSED), "REFUSED"),
        (replying(code=dns.ENOTIMP), "NOTIMP"),
        (replying(code=dns.EFORMAT), "FORMERR"),
        (replying(code=9), "RCODE 9"),
        (replying(authority=[referral("example")], recursive=False), "it only refers to others"),
        (lambda query: reply(query, a("www.example", "192.0.2.66"))[:-2] + b"", None),
        (
            lambda query: reply(query, cname("www.example", "www.example")),
            "a reply that is not valid (more than 16 aliases)",
        ),
    ],
    ids=["servfail", "refused", "notimp", "formerr", "unknown", "lame", "cut", "circle"],
)
@pytest_twisted.ensureDeferred
async def test_the_next_server_is_asked_when_one_is_of_no_use(
    ask: Ask, make_server: Callable[..., ScriptedServer], reaction: Any, said: str | None
) -> None:
    first, second = make_server(), make_server()
    first.on("www.example", A, reaction)
    second.on("www.example", A, GOOD)
    if said is not None:
        assert await ask(first.address, second.address, attempts=2)[1] == Found("found", ADDRESS, 300)
        assert (len(first.asked), len(second.asked)) == (1, 1)
        found = await ask(first.address, attempts=3)[1]
        assert found == Found("failed", detail=f"www.example: {first.address}: {said}")
        # Whoever has said that is not asked again.
        assert len(first.asked) == 2
    else:
        # What a cut reply still says is used: here nothing.
        assert (await ask(first.address, second.address)[1]).what == "no address"


@pytest_twisted.ensureDeferred
async def test_silence_lets_the_next_be_asked_and_then_the_same_again(
    ask: Ask, make_server: Callable[..., ScriptedServer], clock: Clock
) -> None:
    first, second = make_server(), make_server()
    first.otherwise = second.otherwise = silence
    _, over = ask(first.address, second.address, attempts=2)
    for count, (one, several) in enumerate([(first, 1), (second, 1), (first, 2), (second, 2)]):
        await one.awaited(several)
        assert len(first.asked) + len(second.asked) == count + 1
        clock.advance(2.25)
    silent = "no reply in 2 s"
    assert await over == Found("no reply", detail=f"www.example: {first.address}: {silent}; {second.address}: {silent}")
    assert clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_silence_and_then_a_reply(ask: Ask, server: ScriptedServer, clock: Clock) -> None:
    server.on("www.example", A, silence, GOOD)
    _, over = ask(server.address, attempts=2)
    await server.awaited(1)
    clock.advance(2.25)
    assert (await over).addresses == ADDRESS


@pytest_twisted.ensureDeferred
async def test_nobody_listens(ask: Ask, server: ScriptedServer, clock: Clock, said: list[str]) -> None:
    server.on("www.example", A, GOOD)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        gone = NameServerAddress(*taken.getsockname())
    assert (await ask(gone, server.address)[1]).addresses == ADDRESS
    found = await ask(gone, attempts=2)[1]
    assert found == Found("failed", detail=f"www.example: {gone}: Connection refused")
    assert said == []


@pytest_twisted.ensureDeferred
async def test_a_truncated_reply_is_asked_for_by_tcp(ask: Ask, server: ScriptedServer) -> None:
    """RFC 1035 section 4.2.1, RFC 7766."""
    many = [a("www.example", f"192.0.2.{number}") for number in range(1, 100)]
    server.on("www.example", A, replying(*many[:20], truncated=True))
    server.on("www.example", A, replying(*many), by="tcp")
    found = await ask(server.address)[1]
    assert len(found.addresses) == 8
    assert [by for _, _, by in server.asked] == ["udp", "tcp"]


@pytest_twisted.ensureDeferred
async def test_truncated_over_tcp_too(ask: Ask, server: ScriptedServer) -> None:
    for by in ("udp", "tcp"):
        server.on("www.example", A, replying(truncated=True), by=by)
    found = await ask(server.address, attempts=3)[1]
    assert found.what == "failed"
    assert found.detail.endswith("a reply that is truncated even over TCP")
    assert len(server.asked) == 2


@pytest_twisted.ensureDeferred
async def test_tcp_is_silent(ask: Ask, server: ScriptedServer, clock: Clock) -> None:
    server.on("www.example", A, replying(truncated=True))
    server.on("www.example", A, silence, by="tcp")
    _, over = ask(server.address)
    await server.awaited(2)
    clock.advance(2.25)
    assert (await over).what == "no reply"


@pytest_twisted.ensureDeferred
async def test_who_is_guessed_at_is_asked_by_tcp(ask: Ask, server: ScriptedServer) -> None:
    def guesses(query: bytes) -> list[bytes]:
        forged = reply(query, a("www.example", "192.0.2.66"))
        return [bytes((forged[0], forged[1] ^ number)) + forged[2:] for number in range(1, 40)]

    server.on("www.example", A, guesses)
    server.on("www.example", A, GOOD, by="tcp")
    assert (await ask(server.address)[1]).addresses == ADDRESS


@pytest_twisted.ensureDeferred
async def test_absence_and_how_long_it_holds(ask: Ask, server: ScriptedServer) -> None:
    server.on("www.example", A, replying(code=3, authority=[soa("example", 600, 60)]))
    found = await ask(server.address)[1]
    assert found == Found("no name", ttl=60, detail="www.example: there is no such name")
    server.on("www.example", A, replying(authority=[soa("example", 600, 60)]))
    assert await ask(server.address)[1] == Found("no address", ttl=60, detail="www.example: no address")
    server.on("www.example", A, replying())
    assert await ask(server.address)[1] == Found("no address", ttl=0, detail="www.example: no address")


@pytest_twisted.ensureDeferred
async def test_aliases_that_the_reply_does_not_follow_are_asked_for(
    ask: Ask, make_server: Callable[..., ScriptedServer]
) -> None:
    """As a server for one domain only does it; each name is asked for at its own servers."""
    inside, outside = make_server(), make_server()
    inside.on("www.corp.example", A, replying(cname("www.corp.example", "cdn.example", 30), recursive=False))
    outside.on("cdn.example", A, replying(a("cdn.example", "192.0.2.1", 60)))
    _, over = ask(outside.address, name="www.corp.example", corp_example=[inside.address])
    assert await over == Found("found", ADDRESS, 30)
    assert outside.asked == [("cdn.example", A, "udp")]


@pytest.mark.parametrize("length", [5, 16, 40])
@pytest_twisted.ensureDeferred
async def test_aliases_are_bounded_over_all_replies(ask: Ask, server: ScriptedServer, length: int) -> None:
    for number in range(length):
        name, next = (f"n{one}.example" if one else "www.example" for one in (number, number + 1))
        server.on(name, A, replying(cname(name, next)))
    last = f"n{length}.example"
    server.on(last, A, replying(a(last, "192.0.2.1")))
    found = await ask(server.address)[1]
    assert len(server.asked) == min(length, 16) + 1
    if length <= 16:
        assert found.addresses == ADDRESS
    else:
        assert (found.what, found.detail) == ("failed", "n16.example: its aliases lead nowhere")


@pytest_twisted.ensureDeferred
async def test_aliases_to_what_is_no_name(ask: Ask, server: ScriptedServer) -> None:
    def to_the_root(query: bytes) -> bytes:
        return reply(query, cname("www.example", ""))

    server.on("www.example", A, to_the_root)
    assert (await ask(server.address)[1]).detail == "www.example: its aliases lead nowhere"


@pytest_twisted.ensureDeferred
async def test_of_the_other_family(ask: Ask, server: ScriptedServer) -> None:
    server.on("www.example", AAAA, replying(aaaa("www.example", "2001:db8::1")))
    found = await ask(server.address, type=AAAA)[1]
    assert found.addresses == (ResolvedAddress("2001:db8::1", socket.AF_INET6),)


@pytest_twisted.ensureDeferred
async def test_cancelling(ask: Ask, server: ScriptedServer, clock: Clock) -> None:
    server.otherwise = silence
    asking, over = ask(server.address)
    await server.awaited(1)
    asking.cancel()
    asking.cancel()
    assert not over.called
    assert clock.getDelayedCalls() == []
    assert repr(asking).startswith("<Asking www.example type=1 server=<NameServer ")


def test_there_is_no_server(ask: Ask) -> None:
    found: list[Found] = []
    ask()[1].addCallback(found.append)
    assert found == [Found("no reply", detail="www.example: there is no name server for it")]


def test_no_descriptor_is_no_servers_fault(ask: Ask, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("socket.socket", none)
    found: list[Found] = []
    address = NameServerAddress("192.0.2.1", 53)
    ask(address, address, attempts=9)[1].addCallback(found.append)
    monkeypatch.undo()
    assert found == [Found("no descriptor", detail="www.example: Too many open files")]
    assert said == []
