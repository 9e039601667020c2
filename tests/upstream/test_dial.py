"""The one door to the network: resolve, judge, connect to what was judged."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from twistedproxy import errors
from twistedproxy.access.policy import AccessPolicy
from twistedproxy.deadlines import Deadlines
from twistedproxy.upstream.connector import Connector
from twistedproxy.upstream.dial import Dialed, Dialer
from twistedproxy.upstream.hosts_file import HostsFile
from twistedproxy.upstream.resolver import Resolver
from twistedproxy.upstream.system_names import SystemNames


@dataclass(frozen=True)
class Settings:
    clients: tuple[str, ...] = ("loopback",)
    connect_ports: tuple[int | str, ...] = (443,)
    refuse_destinations: tuple[str, ...] = (
        "link-local",
        "metadata",
        "unspecified",
        "multicast",
        "reserved",
        "127.0.0.66",
    )


class Names:
    """A getaddrinfo whose answers for a name are given in turn, the last one again and again."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self, host: bytes, port: None, family: int, kind: int) -> list[tuple[Any, ...]]:
        name = host.decode("ascii")
        self.asked.append(name)
        assert self.may_answer.wait(10)
        if name not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        answers = self.answers[name]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            (socket.AF_INET6, kind, 6, "", (address, 0, 0, 0))
            if ":" in address
            else (socket.AF_INET, kind, 6, "", (address, 0))
            for address in addresses
        ]


class Door:
    """A dialer with all that it needs, and a listener on 127.0.0.1."""

    def __init__(self, reactor: Any, hosts_file: Path) -> None:
        self.clock = Clock()
        self.names = Names()
        deadlines = Deadlines(self.clock)
        source = SystemNames(
            reactor,
            ttl=60,
            negative_ttl=5,
            threads=4,
            getaddrinfo=self.names,
            hosts_file=HostsFile(str(hosts_file)),
        )
        self.resolver = Resolver(source, cache_size=100, timeout=10, deadlines=deadlines)
        connector = Connector(reactor, attempt_delay=0.25, clock=self.clock, deadlines=deadlines)
        self.dialer = Dialer(self.resolver, connector)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.policy = AccessPolicy.of(Settings(), own_ports={("0.0.0.0", 8080)}, is_own_address=lambda address: False)
        self.opened: list[socket.socket] = []

    def dial(self, host: str, port: int | None = None, client: str = "client") -> Deferred[Dialed]:
        result = self.dialer.dial(host, port or self.port, self.policy, 10, client)

        def keep(dialed: Dialed) -> Dialed:
            self.opened.append(dialed.socket)
            return dialed

        return result.addCallback(keep)

    def accepted(self) -> int:
        """How many connections have arrived since the last time."""
        self.listener.setblocking(False)
        count = 0
        while True:
            try:
                self.listener.accept()[0].close()
            except BlockingIOError:
                return count
            count += 1

    def close(self) -> None:
        self.names.may_answer.set()
        self.resolver.close()
        self.listener.close()
        for sock in self.opened:
            sock.close()


@pytest.fixture
def door(running_reactor: Any, tmp_path: Path) -> Iterator[Door]:
    made = Door(running_reactor, tmp_path / "hosts")
    yield made
    made.close()


def outcome_of(result: Deferred[Dialed]) -> Any:
    outcomes: list[Any] = []
    result.addCallbacks(outcomes.append, lambda failure: outcomes.append(failure.value))
    return outcomes[0] if outcomes else None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "::ffff:127.0.0.1", "0x7f.1."])
def test_a_literal_is_connected_to_at_once(door: Door, host: str) -> None:
    dialed = outcome_of(door.dial(host))
    assert (dialed.address, dialed.port) == ("127.0.0.1", door.port)
    assert (dialed.resolve_seconds, dialed.connect_seconds) == (0, 0)
    assert door.accepted() == 1
    assert door.names.asked == []


@pytest_twisted.ensureDeferred
async def test_a_name_is_resolved_judged_and_connected_to(door: Door) -> None:
    door.names.answers["a.example"] = [["127.0.0.2", "127.0.0.1"]]
    door.names.may_answer.clear()
    result = door.dial("a.example")
    door.clock.advance(1.5)
    door.names.may_answer.set()
    dialed = await result
    assert dialed.address_text == f"127.0.0.1:{door.port}"
    assert (dialed.resolve_seconds, dialed.connect_seconds) == (1.5, 0)
    again = outcome_of(door.dial("a.example"))
    assert (again.address, again.resolve_seconds) == ("127.0.0.1", 0)
    assert door.names.asked == ["a.example"]
    assert door.accepted() == 2


@pytest_twisted.ensureDeferred
async def test_refused_addresses_are_dropped_and_the_others_tried(door: Door) -> None:
    door.names.answers["mixed.example"] = [["169.254.169.254", "::ffff:127.0.0.66", "127.0.0.1"]]
    for _ in range(2):
        assert (await door.dial("mixed.example")).address == "127.0.0.1"
    assert door.accepted() == 2


@pytest.mark.parametrize(
    "addresses",
    [
        ["169.254.169.254"],
        ["::ffff:169.254.169.254"],
        ["64:ff9b::a9fe:a9fe"],
        ["0.0.0.0", "fe80::1"],
        ["::"],
        ["127.0.0.66"],
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_name_without_an_allowed_address_is_refused(door: Door, addresses: list[str]) -> None:
    door.names.answers["bad.example"] = [addresses]
    for _ in range(2):
        with pytest.raises(errors.DestinationRefused) as caught:
            await door.dial("bad.example")
        assert "access.refuse_destinations" in caught.value.detail
    assert door.accepted() == 0


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "0xa9.0xfe.43518", "::ffff:a9fe:a9fe", "0", "[::]"])
def test_a_literal_that_is_not_allowed_is_refused_at_once(door: Door, host: str) -> None:
    assert type(outcome_of(door.dial(host))) is errors.DestinationRefused


@pytest_twisted.ensureDeferred
async def test_the_proxys_own_port_is_refused_by_any_name(door: Door) -> None:
    door.names.answers["self.example"] = [["127.0.0.1"]]
    for host in ("self.example", "127.0.0.1", "0177.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"):
        with pytest.raises(errors.DestinationRefused, match="is this proxy itself"):
            await door.dial(host, 8080)


@pytest_twisted.ensureDeferred
async def test_an_answer_that_changes_after_it_was_judged_changes_nothing(door: Door) -> None:
    # The first answer passes; a second look-up would lead to an address that does not.
    door.names.answers["rebind.example"] = [["127.0.0.1"], ["127.0.0.66"]]
    assert (await door.dial("rebind.example")).address == "127.0.0.1"
    assert (await door.dial("rebind.example")).address == "127.0.0.1"
    assert door.names.asked == ["rebind.example"]
    door.clock.advance(61)
    with pytest.raises(errors.DestinationRefused):
        await door.dial("rebind.example")
    assert door.names.asked == ["rebind.example", "rebind.example"]


@pytest_twisted.ensureDeferred
async def test_a_cached_name_is_judged_by_the_policy_of_the_day(door: Door) -> None:
    door.names.answers["a.example"] = [["127.0.0.1"]]
    await door.dial("a.example")
    door.policy = AccessPolicy.of(
        Settings(refuse_destinations=("loopback",)), own_ports=(), is_own_address=lambda address: False
    )
    failure = outcome_of(door.dial("a.example"))
    assert type(failure) is errors.DestinationRefused
    assert failure.detail == "127.0.0.1 is among what access.refuse_destinations names: loopback"


@pytest_twisted.ensureDeferred
async def test_the_failures_of_the_others_pass_through(door: Door) -> None:
    with pytest.raises(errors.NameNotFound):
        await door.dial("no.example")
    door.listener.close()
    with pytest.raises(errors.ConnectionRefused):
        await door.dial("127.0.0.1")


def test_cancelling_while_the_name_is_looked_up(door: Door) -> None:
    door.names.may_answer.clear()
    result = door.dial("a.example")
    result.cancel()
    assert type(outcome_of(result)) is CancelledError
    assert door.clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_cancelling_while_connecting(running_reactor: Any, door: Door) -> None:
    door.names.answers["full.example"] = [["127.0.0.2"]]
    with socket.socket() as full, socket.socket() as filling:
        full.bind(("127.0.0.2", door.port))
        full.listen(0)
        filling.connect(full.getsockname())
        result = door.dial("full.example")
        while door.resolver.cached("full.example") is None:
            over: Deferred[None] = Deferred()
            running_reactor.callLater(0.001, over.callback, None)
            await over
        assert repr(door.dialer).endswith("<Connector racing=1>>")
        result.cancel()
        assert type(outcome_of(result)) is CancelledError
        assert repr(door.dialer).endswith("<Connector racing=0>>")
        assert door.clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_the_client_is_told_to_the_resolver(door: Door) -> None:
    door.names.may_answer.clear()
    hung = [door.dial(f"{number}.example", client="hostile") for number in range(3)]
    assert repr(door.dialer) == (
        "<Dialer <Resolver cached=0 under way=3 <SystemNames <LookupThreads resolver busy=1/4 waiting=2>>>"
        " <Connector racing=0>>"
    )
    for result in hung:
        result.cancel()
        with pytest.raises(CancelledError):
            await result


@pytest_twisted.ensureDeferred
async def test_a_host_that_is_only_where_nobody_may_go(door: Door) -> None:
    """Its other address has nothing on that port: then the refusal is what stands in the way."""
    door.names.answers["mixed.example"] = [["127.0.0.66", "127.0.0.2"]]
    with pytest.raises(errors.DestinationRefused):
        await door.dial("mixed.example")
    with pytest.raises(errors.DestinationRefused):
        await door.dial("localhost", 8080)
    assert door.accepted() == 0
