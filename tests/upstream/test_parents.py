"""The way by other proxies: who is tried, what counts, and who comes last."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from twistedproxy import errors
from twistedproxy.access.policy import AccessPolicy
from twistedproxy.deadlines import Deadlines
from twistedproxy.record.statistics import Statistics
from twistedproxy.routes.route import Route
from twistedproxy.settings.load import load
from twistedproxy.settings.parents import read_parent
from twistedproxy.snapshot import Snapshot
from twistedproxy.upstream.connector import Connected
from twistedproxy.upstream.parents import NotOurselves, Parents

OPEN = b"HTTP/1.1 200 OK\r\n\r\n"


def snapshot(*overrides: tuple[str, str]) -> Snapshot:
    return Snapshot.of(
        load("", "test", overrides).settings,
        generation=1,
        pseudonym="us",
        own_ports=[("127.0.0.1", 8080)],
        is_own_address=lambda _: False,
    )


def route(*parents: str, **how: Any) -> Route:
    return Route("office", tuple(map(read_parent, parents)), **how)


class Network:
    """Other proxies, each by its host, on the other end of sockets."""

    def __init__(self, reactor: Any) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.deadlines = Deadlines(self.clock)
        self.parents = Parents(reactor, self.deadlines, self.dial)
        self.snapshot = snapshot()
        self.dialed: list[tuple[str, int, float]] = []
        self.down: dict[str, errors.ProxyError] = {}
        self.slow: Deferred[Connected] | None = None
        self.sockets: list[socket.socket] = []
        self.dialed_again: Deferred[None] = Deferred()

    def dial(self, host: str, port: int, policy: NotOurselves, timeout: float, /) -> Deferred[Connected]:
        assert repr(policy).startswith("<NotOurselves <AccessPolicy ")
        self.dialed.append((host, port, timeout))
        if host in self.down:
            return fail(self.down[host])
        if self.slow is not None:
            return self.slow
        connected = self.connected(port)
        if len(self.dialed) == 2 and not self.dialed_again.called:
            self.dialed_again.callback(None)
        return succeed(connected)

    def connected(self, port: int = 1) -> Connected:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.settimeout(10)
        self.sockets += (ours, theirs)
        return Connected(ours, "192.0.2.1", port, 0.25)

    @property
    def there(self) -> socket.socket:
        """The parent's end of the last connection."""
        return self.sockets[-1]

    def connect(self, way: Route, host: str = "origin.test", port: int = 443) -> Deferred[Connected]:
        return self.parents.connect(way, host, port, self.snapshot)

    def statistics(self) -> tuple[dict[str, int], dict[str, int]]:
        statistics = Statistics()
        self.parents.read_into(statistics)
        return statistics.parent_failures, statistics.parents_failing


@pytest.fixture
def network(running_reactor: Any) -> Iterator[Network]:
    made = Network(running_reactor)
    yield made
    for sock in made.sockets:
        sock.close()
    assert repr(made.deadlines) == "<Deadlines watching=0 buckets=0>"


@pytest_twisted.ensureDeferred
async def test_an_http_proxy_is_asked_for_a_tunnel(network: Network) -> None:
    result = network.connect(route("http://a.test:3128", user=b"me", password=b"pw"))
    assert network.there.recv(1000) == (
        b"CONNECT origin.test:443 HTTP/1.1\r\n"
        b"Host: origin.test:443\r\n"
        b"Via: 1.1 us\r\n"
        b"Proxy-Authorization: Basic bWU6cHc=\r\n"
        b"\r\n"
    )
    network.clock.advance(0.5)
    network.there.sendall(OPEN + b"early")
    connected = await result
    assert network.dialed == [("a.test", 3128, 10.0)]
    assert (connected.address_text, connected.connect_seconds) == ("192.0.2.1:3128", 0.75)
    assert connected.socket.recv(100) == b"early"
    assert network.statistics() == ({}, {})
    assert repr(network.parents) == "<Parents failing=none>"


@pytest_twisted.ensureDeferred
async def test_an_address_of_ipv6_has_brackets(network: Network) -> None:
    result = network.connect(route("http://a.test:3128"), "2001:db8::1")
    assert network.there.recv(1000).startswith(b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n")
    network.there.sendall(OPEN)
    await result


@pytest_twisted.ensureDeferred
async def test_where_we_are_not_to_be_named_we_are_not(network: Network) -> None:
    network.snapshot = snapshot(("privacy.profile", "strict"))
    result = network.connect(route("http://a.test:3128"))
    assert network.there.recv(1000) == b"CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443\r\n\r\n"
    network.there.sendall(OPEN)
    await result


@pytest_twisted.ensureDeferred
async def test_a_socks_proxy(network: Network) -> None:
    result = network.connect(route("socks5://a.test:1080", user=b"me", password=b"pw"))
    assert network.there.recv(1000) == b"\5\2\0\2"
    network.there.sendall(b"\5\0\5\0\0\1" + bytes(6))
    assert (await result).address_text == "192.0.2.1:1080"
    assert network.there.recv(1000) == b"\5\1\0\3\x0borigin.test\x01\xbb"


@pytest_twisted.ensureDeferred
async def test_to_the_parent_itself_nothing_is_said(network: Network) -> None:
    connected = await network.connect(route("http://a.test:3128"), "", 0)
    connected.socket.send(b"GET")
    assert network.there.recv(1000) == b"GET"


# ---------------------------------------------------------------- one after the other


@pytest_twisted.ensureDeferred
async def test_the_next_one_is_tried_and_the_first_comes_last_for_a_while(network: Network) -> None:
    way = route("http://a.test:1", "http://b.test:2", retry_after=30.0)
    network.down["a.test"] = errors.ConnectionRefused("192.0.2.1:1: Connection refused")
    with capturedLogs() as logged:
        for _ in range(3):
            await network.connect(way, "", 0)
        assert [host for host, _, _ in network.dialed] == ["a.test", "b.test", "b.test", "b.test"]
        assert network.statistics() == ({"office http://a.test:1": 1}, {"office http://a.test:1": 1})
        assert repr(network.parents) == "<Parents failing=office http://a.test:1>"
        network.clock.advance(30)
        assert network.statistics() == ({"office http://a.test:1": 1}, {})
        await network.connect(way, "", 0)
        assert network.statistics()[0] == {"office http://a.test:1": 2}
        network.clock.advance(31)
        network.down.clear()
        network.dialed.clear()
        answering = await network.connect(way, "", 0)
        assert answering.judged is not None
        answering.judged(True)
        await network.connect(way, "", 0)
    assert [host for host, _, _ in network.dialed] == ["a.test", "a.test"]
    assert network.statistics() == ({"office http://a.test:1": 2}, {})
    assert list(map(formatEvent, logged)) == [
        "the parent http://a.test:1 of the route office fails: 192.0.2.1:1: Connection refused",
        "the parent http://a.test:1 of the route office answers again",
    ]


@pytest_twisted.ensureDeferred
async def test_when_all_fail_all_are_told_of_and_tried_again(network: Network) -> None:
    way = route("http://a.test:1", "http://b.test:2")
    network.down = {"a.test": errors.NameNotFound("a.test: no"), "b.test": errors.ConnectTimeout("late")}
    for _ in range(2):
        with pytest.raises(errors.ParentUnreachable) as raised:
            await network.connect(way)
        assert raised.value.detail == "http://a.test:1: a.test: no; http://b.test:2: late"
    assert len(network.dialed) == 4


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n"])
@pytest_twisted.ensureDeferred
async def test_one_that_is_no_proxy_is_as_good_as_none(network: Network, answer: bytes) -> None:
    result = network.connect(route("http://a.test:1", "http://b.test:2"))
    assert network.there.recv(1000)
    first = network.there
    first.sendall(answer)
    first.shutdown(socket.SHUT_WR)
    await network.dialed_again
    network.there.sendall(OPEN)
    assert (await result).port == 2
    assert network.sockets[0].fileno() == -1
    assert network.statistics()[0] == {"office http://a.test:1": 1}


@pytest.mark.parametrize(
    ("answer", "error", "status"),
    [
        (b"HTTP/1.1 403 No\r\n\r\n", errors.ParentRefused, 403),
        (b"HTTP/1.1 407 Who\r\n\r\n", errors.ParentUnauthorized, 502),
        (b"HTTP/1.1 503 Later\r\n\r\n", errors.ParentFailed, 503),
        (b"HTTP/1.1 502 Bad\r\n\r\n", errors.ParentFailed, 502),
    ],
)
@pytest_twisted.ensureDeferred
async def test_an_answer_is_an_answer(
    network: Network, answer: bytes, error: type[errors.ProxyError], status: int
) -> None:
    result = network.connect(route("http://a.test:1", "http://b.test:2"))
    network.there.sendall(answer)
    with pytest.raises(errors.ProxyError) as raised:
        await result
    assert (type(raised.value), raised.value.status) == (error, status)
    assert raised.value.detail == f"http://a.test:1: it answered {answer[9:12].decode()} to CONNECT"
    assert len(network.dialed) == 1
    assert network.statistics() == ({}, {})
    assert network.sockets[0].fileno() == -1


@pytest_twisted.ensureDeferred
async def test_what_a_socks_proxy_says_of_the_server(network: Network) -> None:
    result = network.connect(route("socks5://a.test:1", "socks5://b.test:2"))
    network.there.sendall(b"\5\0\5\5")
    with pytest.raises(errors.ConnectionRefused) as raised:
        await result
    assert raised.value.detail == "socks5://a.test:1: the parent says: connection refused"
    assert len(network.dialed) == 1


@pytest_twisted.ensureDeferred
async def test_a_parent_has_its_time(network: Network) -> None:
    result = network.connect(route("http://a.test:1", "http://b.test:2", timeout=4.0))
    for _ in range(9):
        network.clock.advance(0.5)
    with pytest.raises(errors.ParentTimeout) as raised:
        await result
    assert raised.value.detail == "http://a.test:1: no answer in 4 s"
    assert network.sockets[0].fileno() == -1


@pytest_twisted.ensureDeferred
async def test_our_own_want_of_descriptors_is_not_the_parents_fault(network: Network) -> None:
    network.down["a.test"] = errors.OutOfDescriptors("none")
    with pytest.raises(errors.OutOfDescriptors):
        await network.connect(route("http://a.test:1", "http://b.test:2"))
    assert network.statistics() == ({}, {})


@pytest_twisted.ensureDeferred
async def test_nobody_wants_it_any_more(network: Network) -> None:
    result = network.connect(route("http://a.test:1", "http://b.test:2"))
    result.cancel()
    with pytest.raises(CancelledError):
        await result
    assert network.sockets[0].fileno() == -1
    cancelled: list[object] = []
    network.slow = Deferred(cancelled.append)
    result = network.connect(route("http://a.test:1", "http://b.test:2"))
    result.cancel()
    with pytest.raises(CancelledError):
        await result
    assert cancelled == [network.slow]
    assert len(network.dialed) == 2
    assert network.statistics() == ({}, {})


def test_a_parent_is_anybody_but_ourselves() -> None:
    policy: AccessPolicy = snapshot().access
    not_ourselves = NotOurselves(policy)
    for address in ("169.254.169.254", "127.0.0.1", "10.0.0.1"):
        not_ourselves.check_destination(address, 3128)
    with pytest.raises(errors.DestinationRefused, match="is this proxy itself"):
        not_ourselves.check_destination("127.0.0.1", 8080)


@pytest_twisted.ensureDeferred
async def test_ourselves_is_no_parent(network: Network) -> None:
    network.down["a.test"] = errors.DestinationRefused("127.0.0.1 port 8080 is this proxy itself")
    with pytest.raises(errors.ParentUnreachable) as raised:
        await network.connect(route("http://a.test:8080"))
    assert raised.value.detail == "http://a.test:8080: 127.0.0.1 port 8080 is this proxy itself"


# ---------------------------------------------------------------- one that says nothing


async def waited_for_in_vain(network: Network, way: Route, host: str) -> None:
    result = network.connect(way, host)
    for _ in range(9):
        network.clock.advance(0.5)
    with pytest.raises(errors.ParentTimeout):
        await result


@pytest_twisted.ensureDeferred
async def test_one_that_is_waited_for_in_vain_comes_last_in_the_end(network: Network) -> None:
    way = route("http://a.test:1", "http://b.test:2", timeout=4.0)
    # One server that does not answer says nothing about the parent.
    for host in ("one.test", "one.test", "one.test", "two.test", "one.test"):
        await waited_for_in_vain(network, way, host)
    assert network.statistics() == ({}, {})
    await waited_for_in_vain(network, way, "three.test")
    assert network.statistics() == ({"office http://a.test:1": 1}, {"office http://a.test:1": 1})
    network.dialed.clear()
    result = network.connect(way)
    network.there.sendall(OPEN)
    await result
    assert [host for host, _, _ in network.dialed] == ["b.test"]


@pytest.mark.parametrize("answer", [OPEN, b"HTTP/1.1 403 No\r\n\r\n"])
@pytest_twisted.ensureDeferred
async def test_any_answer_shows_that_it_is_there(network: Network, answer: bytes) -> None:
    way = route("http://a.test:1", timeout=4.0)
    for host in ("one.test", "two.test"):
        await waited_for_in_vain(network, way, host)
    result = network.connect(way)
    network.there.sendall(answer)
    result.addErrback(lambda failure: failure.trap(errors.ParentRefused))
    await result
    for host in ("three.test", "four.test"):
        await waited_for_in_vain(network, way, host)
    assert network.statistics() == ({}, {})


@pytest_twisted.ensureDeferred
async def test_who_speaks_with_a_parent_tells_whether_it_answers(network: Network) -> None:
    way = route("http://a.test:1", "http://b.test:2")
    first = await network.connect(way, "", 0)
    assert first.judged is not None
    with capturedLogs() as logged:
        first.judged(False)
        second = await network.connect(way, "", 0)
        assert [host for host, _, _ in network.dialed] == ["a.test", "b.test"]
        assert second.judged is not None
        second.judged(True)
        assert network.statistics()[1] == {"office http://a.test:1": 1}
        # That it can be connected to is nothing new.
        network.down["b.test"] = errors.ConnectionRefused("no")
        third = await network.connect(way, "", 0)
        assert third.judged is not None
        assert network.statistics()[1] == {"office http://a.test:1": 1, "office http://b.test:2": 1}
        third.judged(True)
    assert network.statistics()[1] == {"office http://b.test:2": 1}
    assert list(map(formatEvent, logged)) == [
        "the parent http://a.test:1 of the route office fails: it broke off before it had answered",
        "the parent http://b.test:2 of the route office fails: no",
        "the parent http://a.test:1 of the route office answers again",
    ]


@pytest_twisted.ensureDeferred
async def test_the_parent_hears_by_whom_the_request_has_come(network: Network) -> None:
    result = network.parents.connect(
        route("http://a.test:1"), "origin.test", 443, network.snapshot, (b"1.1 a, 1.0 b", b"2.0 c")
    )
    assert network.there.recv(1000) == (
        b"CONNECT origin.test:443 HTTP/1.1\r\n"
        b"Host: origin.test:443\r\n"
        b"Via: 1.1 a, 1.0 b\r\n"
        b"Via: 2.0 c\r\n"
        b"Via: 1.1 us\r\n"
        b"\r\n"
    )
    network.there.sendall(OPEN)
    await result
