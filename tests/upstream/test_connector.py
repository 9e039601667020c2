"""The connector, on real sockets of the loopback interface, with a clock of the test's own."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from twistedproxy import errors
from twistedproxy.upstream.connector import Connected, Connector, interleaved
from twistedproxy.upstream.literals import ResolvedAddress, read_literal


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


LOOPBACKS = ["127.0.0.1", "127.0.0.2", *(["::1"] if has_ipv6() else [])]


def address(text: str) -> ResolvedAddress:
    literal = read_literal(text)
    assert literal is not None
    return literal


class Listeners:
    """Listening sockets, all on one port, and what else the test has opened."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []
        self.port = 0

    def open(self, host: str = "127.0.0.1", *, full: bool = False) -> socket.socket:
        """A listener; a full one lets no connection in until it accepts one."""
        sock = self.keep(socket.socket(address(host).family))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, self.port))
        self.port = sock.getsockname()[1]
        sock.listen(0 if full else 100)
        if full:
            self.keep(socket.create_connection((host, self.port)))
        return sock

    def closed(self) -> None:
        """Reserve a port at which nothing listens."""
        sock = self.keep(socket.socket())
        sock.bind(("127.0.0.9", 0))
        self.port = sock.getsockname()[1]

    def keep(self, sock: socket.socket) -> socket.socket:
        self._sockets.append(sock)
        return sock

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    opened = Listeners()
    yield opened
    opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def connector(running_reactor: Any, clock: Clock) -> Connector:
    return Connector(running_reactor, attempt_delay=0.25, clock=clock)


def outcome_of(result: Deferred[Connected]) -> Any:
    """What ``result`` has come to already; None when it has not."""
    outcomes: list[Any] = []

    def failed(failure: Any) -> None:
        outcomes.append(failure.value)

    result.addCallbacks(outcomes.append, failed)
    return outcomes[0] if outcomes else None


def watched(reactor: Any) -> list[str]:
    return [repr(writer) for writer in reactor.getWriters() if "_Attempt" in repr(writer)]


@pytest.mark.parametrize("host", LOOPBACKS)
def test_a_peer_on_this_machine_is_connected_at_once(
    running_reactor: Any, connector: Connector, clock: Clock, listeners: Listeners, host: str
) -> None:
    listener = listeners.open(host)
    connected = outcome_of(connector.connect([address(host)], listeners.port, 10))
    sock = listeners.keep(connected.socket)
    assert (connected.address, connected.port) == (host, listeners.port)
    assert connected.address_text == (f"[{host}]" if ":" in host else host) + f":{listeners.port}"
    assert repr(connected) == f"<Connected {connected.address_text} fd={sock.fileno()}>"
    assert (connected.connect_seconds, connected.resolve_seconds) == (0, 0)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    assert not sock.get_inheritable()
    assert sock.gettimeout() == 0
    assert not os.get_blocking(sock.fileno())
    peer = listeners.keep(listener.accept()[0])
    sock.send(b"hello")
    assert peer.recv(5) == b"hello"
    assert clock.getDelayedCalls() == []
    assert watched(running_reactor) == []
    assert repr(connector) == "<Connector racing=0>"


def test_a_refusal_is_known_at_once(connector: Connector, clock: Clock, listeners: Listeners) -> None:
    listeners.closed()
    failure = outcome_of(connector.connect([address("127.0.0.1")], listeners.port, 10))
    assert type(failure) is errors.ConnectionRefused
    assert failure.detail == f"127.0.0.1:{listeners.port}: Connection refused"
    assert clock.getDelayedCalls() == []


def test_a_refused_address_moves_on_at_once(connector: Connector, clock: Clock, listeners: Listeners) -> None:
    listeners.open("127.0.0.1")
    addresses = [address(host) for host in ("127.0.0.2", "::1", "224.0.0.1", "127.0.0.1")]
    connected = outcome_of(connector.connect(addresses, listeners.port, 10))
    listeners.keep(connected.socket)
    assert connected.address == "127.0.0.1"
    assert clock.getDelayedCalls() == []


def test_when_all_refuse_each_is_named(connector: Connector, listeners: Listeners) -> None:
    listeners.closed()
    addresses = [address("127.0.0.1"), address("224.0.0.1"), address("127.0.0.2")]
    failure = outcome_of(connector.connect(addresses, listeners.port, 10))
    assert type(failure) is errors.ConnectionRefused
    assert failure.detail == (
        f"127.0.0.1:{listeners.port}: Connection refused; "
        f"224.0.0.1:{listeners.port}: Network is unreachable; "
        f"127.0.0.2:{listeners.port}: Connection refused"
    )


def test_without_a_way_there_it_is_unreachable(connector: Connector) -> None:
    failure = outcome_of(connector.connect([address("255.255.255.255"), address("224.0.0.1")], 80, 10))
    assert type(failure) is errors.Unreachable
    assert failure.detail == ("255.255.255.255:80: Network is unreachable; 224.0.0.1:80: Network is unreachable")
    assert type(outcome_of(connector.connect([], 80, 10))) is errors.Unreachable


def test_a_timeout_ends_it(running_reactor: Any, connector: Connector, clock: Clock, listeners: Listeners) -> None:
    listeners.open(full=True)
    result = connector.connect([address("127.0.0.1")], listeners.port, 10)
    assert not result.called
    assert len(watched(running_reactor)) == 1
    assert repr(connector) == "<Connector racing=1>"
    assert len(clock.getDelayedCalls()) == 1
    clock.advance(9.99)
    assert not result.called
    clock.advance(0.26)
    failure = outcome_of(result)
    assert type(failure) is errors.ConnectTimeout
    assert failure.detail == f"127.0.0.1:{listeners.port}: no answer in 10 s"
    assert watched(running_reactor) == []
    assert repr(connector) == "<Connector racing=0>"
    assert clock.getDelayedCalls() == []


def test_the_timeout_names_what_failed_what_hung_and_what_was_not_tried(
    running_reactor: Any, clock: Clock, listeners: Listeners
) -> None:
    connector = Connector(running_reactor, attempt_delay=5, clock=clock)
    listeners.open("127.0.0.1", full=True)
    addresses = [address(f"127.0.0.{number}") for number in (3, 1, 2)]
    result = connector.connect(addresses, listeners.port, 2)
    clock.advance(2.25)
    failure = outcome_of(result)
    assert type(failure) is errors.ConnectTimeout
    assert failure.detail == (
        f"127.0.0.3:{listeners.port}: Connection refused; "
        f"127.0.0.1:{listeners.port}: no answer in 2 s; "
        f"127.0.0.2:{listeners.port}: not tried in time"
    )


def test_a_silent_address_is_joined_by_the_next_after_the_delay(
    running_reactor: Any, connector: Connector, clock: Clock, listeners: Listeners
) -> None:
    listeners.open("127.0.0.1", full=True)
    listeners.open("127.0.0.2")
    result = connector.connect([address("127.0.0.1"), address("127.0.0.2")], listeners.port, 10)
    clock.advance(0.24)
    assert not result.called
    assert len(watched(running_reactor)) == 1
    clock.advance(0.01)
    connected = outcome_of(result)
    listeners.keep(connected.socket)
    assert connected.address == "127.0.0.2"
    assert connected.connect_seconds == 0.25
    assert watched(running_reactor) == []
    assert clock.getDelayedCalls() == []


def test_attempts_go_on_side_by_side(
    running_reactor: Any, connector: Connector, clock: Clock, listeners: Listeners
) -> None:
    hosts = [f"127.0.0.{number}" for number in range(1, 5)]
    for host in hosts[:3]:
        listeners.open(host, full=True)
    result = connector.connect([address(host) for host in hosts], listeners.port, 10)
    for under_way in (1, 2, 3):
        assert len(watched(running_reactor)) == under_way
        assert not result.called
        clock.advance(0.25)
    # The fourth has refused; the others may still answer.
    assert len(watched(running_reactor)) == 3
    assert not result.called
    clock.advance(10)
    failure = outcome_of(result)
    assert type(failure) is errors.ConnectTimeout
    assert failure.detail == "; ".join(
        [
            f"127.0.0.4:{listeners.port}: Connection refused",
            *(f"{host}:{listeners.port}: no answer in 10 s" for host in hosts[:3]),
        ]
    )


def test_cancelling_closes_everything(
    running_reactor: Any, connector: Connector, clock: Clock, listeners: Listeners
) -> None:
    hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    for host in hosts:
        listeners.open(host, full=True)
    before = set(os.listdir("/proc/self/fd"))
    result = connector.connect([address(host) for host in hosts], listeners.port, 10)
    clock.advance(0.25)
    assert len(watched(running_reactor)) == 2
    result.cancel()
    assert type(outcome_of(result)) is CancelledError
    assert watched(running_reactor) == []
    assert clock.getDelayedCalls() == []
    assert set(os.listdir("/proc/self/fd")) == before
    assert repr(connector) == "<Connector racing=0>"


@pytest_twisted.ensureDeferred
async def test_a_late_answer_arrives_by_the_reactor(
    running_reactor: Any, connector: Connector, clock: Clock, listeners: Listeners
) -> None:
    listener = listeners.open(full=True)
    result = connector.connect([address("127.0.0.1")], listeners.port, 10)
    clock.advance(0.5)
    # An event that was meant for somebody else changes nothing.
    [attempt] = [writer for writer in running_reactor.getWriters() if "_Attempt" in repr(writer)]
    attempt.doWrite()
    running_reactor.removeWriter(attempt)
    attempt.connectionLost(None)
    assert not result.called
    assert running_reactor.getWriters().count(attempt) == 1
    # The system knocks again after a second.
    listeners.keep(listener.accept()[0])
    connected = await result
    sock = listeners.keep(connected.socket)
    assert connected.connect_seconds == 0.5
    assert sock.getpeername() == ("127.0.0.1", listeners.port)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    assert watched(running_reactor) == []
    assert clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_a_late_refusal_arrives_by_the_reactor_and_moves_on(
    running_reactor: Any, connector: Connector, clock: Clock, listeners: Listeners
) -> None:
    listener = listeners.open("127.0.0.1", full=True)
    listeners.open("127.0.0.2")
    result = connector.connect([address("127.0.0.1"), address("127.0.0.2")], listeners.port, 10)
    listener.close()
    connected = await result
    listeners.keep(connected.socket)
    assert connected.address == "127.0.0.2"
    assert watched(running_reactor) == []
    assert clock.getDelayedCalls() == []


def use_up_descriptors(spare: list[int]) -> None:
    while True:
        spare.append(os.dup(0))


def test_out_of_descriptors(connector: Connector, listeners: Listeners) -> None:
    listeners.open()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))), hard))
    spare: list[int] = []
    try:
        with pytest.raises(OSError, match="Too many open files"):
            use_up_descriptors(spare)
        failure = outcome_of(connector.connect([address("127.0.0.1")], listeners.port, 10))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in spare:
            os.close(descriptor)
    assert type(failure) is errors.OutOfDescriptors
    assert failure.detail == f"127.0.0.1:{listeners.port}: Too many open files"


@pytest.mark.parametrize(
    ("hosts", "order"),
    [
        (["1.0.0.1"], ["1.0.0.1"]),
        (["::1", "1.0.0.1"], ["::1", "1.0.0.1"]),
        (["::1", "::2", "1.0.0.1", "1.0.0.2"], ["::1", "1.0.0.1", "::2", "1.0.0.2"]),
        (["1.0.0.1", "1.0.0.2", "1.0.0.3", "::1"], ["1.0.0.1", "::1", "1.0.0.2", "1.0.0.3"]),
        (["1.0.0.2", "1.0.0.1"], ["1.0.0.2", "1.0.0.1"]),
    ],
)
def test_the_families_alternate_from_the_first_on(hosts: list[str], order: list[str]) -> None:
    assert [each.address for each in interleaved([address(host) for host in hosts])] == order


def test_the_reactor_tells_the_time_when_nobody_else_does(running_reactor: Any, listeners: Listeners) -> None:
    listeners.open(full=True)
    connector = Connector(running_reactor, attempt_delay=0.25)
    before = running_reactor.getDelayedCalls()
    result = connector.connect([address("127.0.0.1")], listeners.port, 10)
    assert len(running_reactor.getDelayedCalls()) == len(before) + 1
    result.cancel()
    assert type(outcome_of(result)) is CancelledError
    assert len(running_reactor.getDelayedCalls()) == len(before)


def test_where_connections_come_from(connector: Connector, listeners: Listeners) -> None:
    listener = listeners.open("127.0.0.1")
    connector.sources = ("127.0.0.7", "::1")
    listeners.keep(outcome_of(connector.connect([address("127.0.0.1")], listeners.port, 10)).socket)
    peer, (source, _) = listener.accept()
    listeners.keep(peer)
    assert source == "127.0.0.7"
    connector.sources = ()
    listeners.keep(outcome_of(connector.connect([address("127.0.0.1")], listeners.port, 10)).socket)
    peer, (source, _) = listener.accept()
    listeners.keep(peer)
    assert source == "127.0.0.1"


@pytest.mark.parametrize("source", ["::1", "192.0.2.77"])
def test_no_other_address_is_shown(connector: Connector, listeners: Listeners, source: str) -> None:
    """Neither where the family has none, nor where it is not this machine's."""
    listeners.open("127.0.0.1")
    connector.sources = (source,)
    failure = outcome_of(connector.connect([address("127.0.0.1"), address("127.0.0.2")], listeners.port, 10))
    assert type(failure) is errors.Unreachable
    assert failure.detail == (
        f"127.0.0.1:{listeners.port}: Cannot assign requested address; "
        f"127.0.0.2:{listeners.port}: Cannot assign requested address"
    )
