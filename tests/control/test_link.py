"""The link: what is said at one end of a socket pair is heard at the other."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed
from twisted.protocols.amp import Command

from twistedproxy.control.link import (
    PIECE,
    Begin,
    CannotUse,
    CloseConnection,
    Drain,
    LinkEnd,
    ListConnections,
    Listen,
    Listing,
    Obey,
    Orders,
    Packed,
    Pulse,
    Report,
    SetLevel,
    Startup,
    connect_end,
)
from twistedproxy.record.connections import Connection
from twistedproxy.record.statistics import Requests, Statistics
from twistedproxy.settings.load import load
from twistedproxy.usage import Usage

OPTIONS: dict[str, str | int | None] = {"syslog": 0, "logfile": None, "prefix": "p"}
STARTUP = Startup("1.2.3", 4, "pyproxy-1", True, "/var/log/access.log", "/var/lib/proxy", OPTIONS)


def connection(number: int, age: float) -> Connection:
    return Connection(f"0-{number}", "192.0.2.1:5", "idle", age, 1, "GET", "http://a.test/", "192.0.2.2:80", 3, 4)


class Far(LinkEnd):
    """The other end: it notes what it is asked, and answers with ``answers`` or fails with them."""

    def __init__(self, lost: Callable[[], object]) -> None:
        super().__init__(lost)
        self.heard: list[dict[str, Any]] = []
        self.answers: list[Any] = []

    def locateResponder(self, name: bytes) -> Any:
        command = {one.commandName: one for one in (Begin, Listen, Obey, Pulse, ListConnections, SetLevel)}[name]

        def respond(**arguments: Any) -> Any:
            self.heard.append(arguments)
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return self._wrapWithSerialization(respond, command)


class Pair:
    """Both ends, on the real reactor."""

    def __init__(self, reactor: Any) -> None:
        self.lost: list[str] = []
        self.gone: list[Deferred[None]] = [Deferred(), Deferred()]
        self.near = LinkEnd(lambda: self._lost("near", 0))
        self.far = Far(lambda: self._lost("far", 1))
        for one, end in zip(socket.socketpair(), (self.near, self.far), strict=True):
            connect_end(reactor, one.fileno(), end)
            one.close()

    def _lost(self, which: str, at: int) -> None:
        self.lost.append(which)
        self.gone[at].callback(None)


@pytest_twisted.async_yield_fixture
async def pair(running_reactor: Any) -> Any:
    """Both ends of a link."""
    made = Pair(running_reactor)
    yield made
    if made.near.transport is not None:
        made.near.transport.abortConnection()
    await made.gone[0]
    await made.gone[1]


@pytest_twisted.ensureDeferred
async def test_first_words(pair: Pair) -> None:
    pair.far.answers = [{"version": "1.2.3"}]
    assert await pair.near.ask(Begin, startup=STARTUP) == {"version": "1.2.3"}
    assert pair.far.heard == [{"startup": STARTUP}]


@pytest_twisted.ensureDeferred
async def test_orders(pair: Pair) -> None:
    """Every setting arrives as it was; here with more clients than one AMP value has room for."""
    clients = [f"10.{number >> 8}.{number & 255}.0/24" for number in range(10_000)]
    text = f"[access]\nclients = {clients}\n".replace("'", '"')
    orders = Orders(load(text, "pyproxy.toml").settings, 7, 3, ("tcp:8080", "unix:/run/p"), "debug")
    assert len(msgspec.msgpack.encode(orders)) > 2 * PIECE
    pair.far.answers = [{"complaint": "the log"}]
    assert await pair.near.ask(Obey, orders=orders) == {"complaint": "the log"}
    assert pair.far.heard == [{"orders": orders}]


@pytest_twisted.ensureDeferred
async def test_numbers(pair: Pair) -> None:
    usage = Usage({"192.0.2.1": 3}, {("https", "a.test", 443, ""): 2}, 5)
    report = Report(Statistics(requests=[Requests("forward", "2xx", "", 1)], lag=0.5), usage)
    pair.far.answers = [{"report": report}]
    assert await pair.near.ask(Pulse, elsewhere=usage, complete=True) == {"report": report}
    assert pair.far.heard == [{"elsewhere": usage, "complete": True}]


@pytest_twisted.ensureDeferred
async def test_answers_may_be_long_too(pair: Pair) -> None:
    listing = Listing(10_000, [connection(number, 1.0) for number in range(5000)])
    pair.far.answers = [{"listing": listing}]
    assert await pair.near.ask(ListConnections, limit=5000, client="", state="idle") == {"listing": listing}


@pytest.mark.parametrize("size", [0, 1, PIECE - 5, PIECE - 3, PIECE, 2 * PIECE, 3 * PIECE + 1])
def test_pieces(size: int) -> None:
    """At and around the most that one value of AMP's holds."""
    packed = Packed(bytes)
    strings: dict[bytes, bytes] = {}
    packed.toBox(b"it", strings, {"it": b"x" * size}, None)
    assert max(map(len, strings.values())) <= PIECE
    assert len(strings) == -(-len(msgspec.msgpack.encode(b"x" * size)) // PIECE)
    objects: dict[str, Any] = {}
    packed.fromBox(b"it", strings, objects, None)
    assert (objects, strings) == ({"it": b"x" * size}, {})


@pytest_twisted.ensureDeferred
async def test_sockets_go_along(pair: Pair) -> None:
    pair.far.answers = [{}, {}]
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        for listener in (one, other):
            await pair.near.ask(Listen, description="tcp:1", descriptor=listener.fileno())
        received = [socket.socket(fileno=heard["descriptor"]) for heard in pair.far.heard]
        assert [sock.getsockname() for sock in received] == [one.getsockname(), other.getsockname()]
        assert not {sock.fileno() for sock in received} & {one.fileno(), other.fileno()}
        for sock in received:
            sock.close()


@pytest_twisted.ensureDeferred
async def test_refusal(pair: Pair) -> None:
    pair.far.answers = [CannotUse("cannot listen on tcp:1: no"), {}]
    with pytest.raises(CannotUse, match=r"^cannot listen on tcp:1: no$"):
        await pair.near.ask(SetLevel, level="info")
    assert await pair.near.ask(SetLevel, level="warn") == {}
    assert pair.lost == []


@pytest_twisted.ensureDeferred
async def test_fault_does_not_break_the_link(pair: Pair, logged_errors: Any) -> None:
    """AMP would close it, and the worker would take that for its parent's end."""
    pair.far.answers = [ZeroDivisionError("by zero"), {}]
    with pytest.raises(CannotUse, match=r"^it is at fault, and its log says how: by zero$"):
        await pair.near.ask(SetLevel, level="info")
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    assert await pair.near.ask(SetLevel, level="warn") == {}


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_sent_is_a_failure(pair: Pair) -> None:
    with pytest.raises(UnicodeEncodeError):
        await pair.near.ask(SetLevel, level="\udcff")


@pytest.mark.parametrize("which", ["near", "far"])
@pytest_twisted.ensureDeferred
async def test_loss_is_noticed_at_both_ends(pair: Pair, which: str) -> None:
    getattr(pair, which).transport.abortConnection()
    await pair.gone[0]
    await pair.gone[1]
    assert sorted(pair.lost) == ["far", "near"]
    with pytest.raises(ConnectionClosed):
        await pair.near.ask(Drain, timeout=1.0)


@pytest_twisted.ensureDeferred
async def test_loss_answers_what_is_open(pair: Pair) -> None:
    pair.far.answers = [Deferred()]
    asked = pair.near.ask(SetLevel, level="info")
    pair.far.transport.loseConnection()
    with pytest.raises(ConnectionClosed):
        await asked


def test_end_has_a_descriptor_of_its_own(running_reactor: Any) -> None:
    one, other = socket.socketpair()
    end = LinkEnd(lambda: None)
    connect_end(running_reactor, one.fileno(), end)
    one.close()
    assert os.fstat(end.transport.fileno())
    end.transport.abortConnection()
    other.close()


@pytest.mark.parametrize("command", [Begin, Listen, Obey, Pulse, ListConnections, CloseConnection, Drain])
def test_any_command_may_be_refused(command: type[Command]) -> None:
    assert command.allErrors == {CannotUse: b"CANNOT_USE"}


def test_listings_are_joined() -> None:
    """The oldest go first, whichever worker they are of, and all are counted."""
    one = Listing(5, [connection(1, 9.0), connection(2, 1.0)])
    other = Listing(2, [connection(3, 4.0)])
    joined = Listing.joined([one, other], 2)
    assert (joined.total, [found.id for found in joined.connections]) == (7, ["0-1", "0-3"])
    assert Listing.joined([], 2) == Listing(0, [])
