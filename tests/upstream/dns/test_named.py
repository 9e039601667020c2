"""Where a name is looked up, whose turn it is, and that it can be given up: with real name servers on loopback."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.upstream.dns.scripted import ScriptedServer, a, aaaa, cname, replying, silence, soa
from twistedproxy import errors
from twistedproxy.deadlines import Deadlines
from twistedproxy.settings.name_servers import NameServerAddress
from twistedproxy.upstream.answers import Answer, Done, UnderWay
from twistedproxy.upstream.dns.lookup import Holding
from twistedproxy.upstream.dns.messages import AAAA, A
from twistedproxy.upstream.dns.named import NamedServers
from twistedproxy.upstream.dns.servers import NameServer, Servers
from twistedproxy.upstream.hosts_file import HostsFile
from twistedproxy.upstream.literals import ResolvedAddress

FOUR = ResolvedAddress("192.0.2.1", socket.AF_INET)
SIX = ResolvedAddress("2001:db8::1", socket.AF_INET6)


class System:
    """Stands for the system's resolver."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.closed = False

    def begin(self, name: str, client: str, done: Done) -> UnderWay:
        self.asked.append((name, client))
        done(Answer((FOUR,), 1.0), True)
        return None  # type: ignore[return-value]  # nobody looks at it here

    def close(self) -> None:
        self.closed = True


Make = Callable[..., NamedServers]


@pytest.fixture
def make(running_reactor: Any, deadlines: Deadlines, tmp_path: Path) -> Iterator[Make]:
    made: list[NamedServers] = []
    (tmp_path / "hosts").write_text("10.0.0.1 prompt\n10.0.0.2 prompt\nfd00::1 six\n")

    def make_named(groups: dict[str, list[NameServerAddress]], **options: Any) -> NamedServers:
        servers = Servers(groups.items(), lambda address: NameServer(running_reactor, address, deadlines))
        options = {
            "deadlines": deadlines,
            "attempts": 1,
            "attempt_timeout": 2.0,
            "limit": 8,
            "ttl": 60.0,
            "holding": Holding(0, 3600, 5),
            "hosts_file": HostsFile(str(tmp_path / "hosts")),
            "own_address": lambda address: address.address,
            **options,
        }
        made.append(NamedServers(running_reactor, servers, **options))
        return made[-1]

    yield make_named
    for named in made:
        named.close()


@pytest.fixture
def named(make: Make, server: ScriptedServer) -> NamedServers:
    server.on("www.example", A, replying(a("www.example", "192.0.2.1", 30)))
    server.on("www.example", AAAA, replying(aaaa("www.example", "2001:db8::1", 20)))
    return make({"": [server.address]})


def look_up(named: NamedServers, name: str, client: str = "") -> tuple[Any, Deferred[Answer]]:
    """The look-up, and its answer when that is all."""
    over: Deferred[Answer] = Deferred()

    def done(answer: Answer, is_all: bool) -> None:
        if is_all:
            over.callback(answer)

    return named.begin(name, client, done), over


def at_once(named: NamedServers, name: str) -> Answer:
    found: list[Answer] = []
    under_way, over = look_up(named, name)
    over.addCallback(found.append)
    if under_way is not None:
        under_way.join("another")
        assert not under_way.give_up()
    return found[0]


@pytest_twisted.ensureDeferred
async def test_a_name_and_its_addresses(named: NamedServers, server: ScriptedServer) -> None:
    answer = await look_up(named, "www.example")[1]
    assert (answer.addresses, answer.ttl) == ((SIX, FOUR), 20)
    assert sorted(server.asked) == [("www.example", A, "udp"), ("www.example", AAAA, "udp")]
    assert repr(named) == "<NamedServers <Servers 1 domains=1> busy=0/8 waiting=0>"


@pytest_twisted.ensureDeferred
async def test_names_are_whole_ones(named: NamedServers, server: ScriptedServer) -> None:
    """There are no search domains; a single label is asked for as it is, and a last dot says nothing."""
    assert (await look_up(named, "single")[1]).error is errors.NameNotFound
    assert (await look_up(named, "www.example.")[1]).addresses == (SIX, FOUR)
    assert {name for name, _, _ in server.asked} == {"single", "www.example"}


def test_the_hosts_file_goes_first(named: NamedServers, server: ScriptedServer) -> None:
    answer = at_once(named, "prompt")
    assert answer.addresses == tuple(ResolvedAddress(f"10.0.0.{number}", socket.AF_INET) for number in (1, 2))
    assert answer.ttl == 60
    assert at_once(named, "six.").addresses == (ResolvedAddress("fd00::1", socket.AF_INET6),)
    assert server.asked == []


@pytest_twisted.ensureDeferred
async def test_the_hosts_file_is_not_read_unless_it_is_wanted(make: Make, server: ScriptedServer) -> None:
    named = make({"": [server.address]}, hosts_file=None)
    assert (await look_up(named, "prompt")[1]).error is errors.NameNotFound
    assert len(server.asked) == 2


@pytest_twisted.ensureDeferred
async def test_domains_have_servers_of_their_own(make: Make, make_server: Callable[..., ScriptedServer]) -> None:
    inside, outside = make_server(), make_server()
    inside.on("a.corp.example", A, replying(a("a.corp.example", "10.0.0.9")))
    named = make({"": [outside.address], "corp.example": [inside.address]})
    answer = await look_up(named, "a.corp.example")[1]
    assert answer.addresses[0].address == "10.0.0.9"
    assert outside.asked == []
    # What the servers of a domain do not know, nobody else is asked for.
    assert (await look_up(named, "b.corp.example")[1]).error is errors.NameNotFound
    assert outside.asked == []


def test_the_system_is_asked_for_what_is_nobodys(make: Make, server: ScriptedServer) -> None:
    system = System()
    named = make({"corp.example": [server.address]}, system=system)
    assert at_once(named, "www.example").addresses == (FOUR,)
    # It knows better what that is.
    assert at_once(named, "printer.local").addresses == (FOUR,)
    assert system.asked == [("www.example", ""), ("printer.local", "")]
    named.close()
    assert system.closed


@pytest_twisted.ensureDeferred
async def test_names_of_the_local_link_are_not_asked_for(make: Make, server: ScriptedServer) -> None:
    """RFC 6762 section 22.1; unless the operator says who knows them."""
    answer = at_once(make({"": [server.address]}), "printer.local.")
    assert (answer.error, answer.ttl) == (errors.NameNotFound, 0)
    assert answer.detail == "printer.local.: names in .local are not asked for (RFC 6762)"
    assert server.asked == []
    await look_up(make({"": [server.address], "local": [server.address]}), "printer.local")[1]
    assert len(server.asked) == 2


@pytest.mark.parametrize("name", ["a..example", "x" * 64 + ".example", "." * 9])
def test_what_can_be_no_name(named: NamedServers, server: ScriptedServer, name: str) -> None:
    answer = at_once(named, name)
    assert answer.detail == f"{name[:64]!r} is not a name"
    assert server.asked == []


@pytest_twisted.ensureDeferred
async def test_look_ups_take_turns(named: NamedServers, server: ScriptedServer, clock: Clock) -> None:
    """A client whose names hang has a quarter of the turns."""
    server.otherwise = silence
    hostile = [look_up(named, f"slow{number}.example", "hostile") for number in range(100)]
    await server.awaited(4)
    assert repr(named).endswith(" busy=2/8 waiting=98>")
    assert (await look_up(named, "www.example", "good")[1]).addresses == (SIX, FOUR)
    # Also when another waits in the same queue.
    under_way, _ = hostile[99]
    under_way.join("good")
    await server.awaited(8)
    assert repr(named).endswith(" busy=3/8 waiting=97>")
    clock.advance(2.25)
    assert (await hostile[0][1]).error is errors.NameTimeout
    assert repr(named).endswith(" busy=2/8 waiting=95>")
    for under_way, over in hostile:
        assert under_way.give_up() is not over.called
    assert repr(named).endswith(" busy=0/8 waiting=0>")
    assert clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_giving_up_closes_the_sockets(
    running_reactor: Any, named: NamedServers, server: ScriptedServer, clock: Clock
) -> None:
    server.otherwise = silence
    readers = set(running_reactor.getReaders())
    under_way, over = look_up(named, "slow.example")
    assert len(set(running_reactor.getReaders()) - readers) == 2
    assert under_way.give_up()
    assert not under_way.give_up()
    assert set(running_reactor.getReaders()) == readers
    assert not over.called
    assert clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_closing(running_reactor: Any, named: NamedServers, server: ScriptedServer, clock: Clock) -> None:
    server.otherwise = silence
    readers = set(running_reactor.getReaders())
    waiting = [look_up(named, f"slow{number}.example") for number in range(20)]
    named.close()
    assert set(running_reactor.getReaders()) == readers
    assert not any(under_way.give_up() or over.called for under_way, over in waiting)
    assert clock.getDelayedCalls() == []


def test_a_thousand_that_cannot_be_sent(make: Make) -> None:
    """Each is over as soon as it begins."""
    named = make({"": [NameServerAddress("255.255.255.255", 53)]}, limit=1)
    first = [look_up(named, f"a{number}.example", f"{number % 7}")[1] for number in range(2000)]
    assert all(over.called for over in first)
    assert repr(named).endswith(" busy=0/1 waiting=0>")


@pytest_twisted.ensureDeferred
async def test_absence(named: NamedServers, server: ScriptedServer) -> None:
    gone = replying(code=3, authority=[soa("example", 600, 3)])
    for type in (A, AAAA):
        server.on("no.example", type, gone)
    answer = await look_up(named, "no.example")[1]
    assert (answer.error, answer.ttl, answer.detail) == (errors.NameNotFound, 3, "no.example: there is no such name")


@pytest_twisted.ensureDeferred
async def test_an_alias(named: NamedServers, server: ScriptedServer) -> None:
    server.on("alias.example", A, replying(cname("alias.example", "b.example", 10), a("b.example", "127.0.0.66", 50)))
    answer = await look_up(named, "alias.example")[1]
    assert ([one.address for one in answer.addresses], answer.ttl) == (["127.0.0.66"], 10)
