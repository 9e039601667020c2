"""The API's HTTP on connections in memory: bytes in, bytes out, and a bound on whatever a client does."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from tests.memory import MemoryTransport
from twistedproxy.control.api import CONTENT_LIMIT, Api
from twistedproxy.control.serving import CLOSE_TIMEOUT, MOST_CONNECTIONS, REQUEST_TIMEOUT, ApiChannel, ApiFactory

HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEALTHY = (
    b"HTTP/1.1 200 OK\r\n"
    b"Date: -\r\n"
    b"Content-Type: application/json\r\n"
    b"Content-Length: 15\r\n"
    b"Cache-Control: no-store\r\n"
    b"\r\n"
    b'{"status":"ok"}'
)
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\n\r\n"
TOO_LARGE = (
    b"HTTP/1.1 413 Content Too Large\r\n"
    b"Date: -\r\n"
    b"Content-Type: application/problem+json\r\n"
    b"Content-Length: 96\r\n"
    b"Cache-Control: no-store\r\n"
    b"Connection: close\r\n"
    b"\r\n"
    b'{"title":"Content Too Large","status":413,"detail":"at most 1048576 bytes of content are taken"}'
)


class Transport(MemoryTransport):
    """Says that it is being closed, as a socket does."""

    def _close(self, how: str, reason: Exception) -> None:
        self.disconnecting = True
        super()._close(how, reason)


class StuckTransport(Transport):
    """The other side does not read, so that it cannot be closed in good order."""

    def loseConnection(self) -> None:
        self.disconnecting = True


class Door:
    """A factory and connections to it."""

    def __init__(self, steered: Any) -> None:
        self.clock = Clock()
        self.factory = ApiFactory(self.clock, Api(steered))

    def connect(self, kind: type[Transport] = Transport) -> Transport:
        channel = self.factory.buildProtocol(None)
        assert isinstance(channel, ApiChannel)
        transport = kind(self.clock)
        transport.protocol = channel
        channel.makeConnection(transport)
        return transport

    def turn(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)


@pytest.fixture
def door(steered: Any) -> Door:
    """An open door to the daemon of these tests."""
    return Door(steered)


def taken(transport: Transport) -> bytes:
    """What has been answered, its dates masked."""
    return re.sub(rb"Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n", b"Date: -\r\n", transport.take())


def post(path: str, content: bytes, *fields: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *fields]
    return "\r\n".join([*head, f"Content-Length: {len(content)}", "", ""]).encode() + content


# ---------------------------------------------------------------- requests and answers


def test_an_answer(door: Door) -> None:
    """Nothing says what serves it."""
    client = door.connect()
    client.receive(HEALTHZ)
    assert taken(client) == HEALTHY
    assert not client.closed


@pytest.mark.parametrize("host", [b"", b"Host: evil.test\r\n", b"Host: a\r\nHost: b\r\n"])
def test_host_says_nothing(door: Door, host: bytes) -> None:
    client = door.connect()
    client.receive(b"GET /healthz HTTP/1.1\r\n" + host + b"\r\n")
    assert taken(client) == HEALTHY


def test_head(door: Door) -> None:
    """RFC 9110 section 9.3.2."""
    client = door.connect()
    client.receive(HEALTHZ.replace(b"GET", b"HEAD") + HEALTHZ)
    assert taken(client) == HEALTHY.removesuffix(b'{"status":"ok"}') + HEALTHY


def test_another_method(door: Door) -> None:
    client = door.connect()
    client.receive(b"DELETE /healthz HTTP/1.1\r\n\r\n")
    assert taken(client) == (
        b"HTTP/1.1 405 Method Not Allowed\r\n"
        b"Date: -\r\n"
        b"Content-Type: application/problem+json\r\n"
        b"Content-Length: 83\r\n"
        b"Cache-Control: no-store\r\n"
        b"Allow: GET, HEAD\r\n"
        b"\r\n"
        b'{"title":"Method Not Allowed","status":405,"detail":"this path takes GET and HEAD"}'
    )


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_content(door: Door, steered: Any, step: int) -> None:
    message = post("/api/v1/drain", b'{"timeout": 2.5}')
    client = door.connect()
    for start in range(0, len(message), step):
        client.receive(message[start : start + step])
    assert taken(client).endswith(b'\r\n\r\n{"detail":"draining"}')
    assert steered.asked == [("drain", 2.5)]


def test_content_in_chunks(door: Door, steered: Any) -> None:
    client = door.connect()
    client.receive(
        b"POST /api/v1/drain HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        b'5\r\n{"tim\r\na\r\neout": 2.5\r\n1\r\n}\r\n0\r\n\r\n'
    )
    assert taken(client).endswith(b'\r\n\r\n{"detail":"draining"}')
    assert steered.asked == [("drain", 2.5)]


def test_forms_are_not_read(door: Door) -> None:
    """Twisted would."""
    client = door.connect()
    message = post("/api/v1/drain", b"timeout=1")
    client.receive(message.replace(b"application/json", b"multipart/form-data"))
    assert taken(client).startswith(b"HTTP/1.1 415 Unsupported Media Type\r\n")


def test_expectation(door: Door) -> None:
    client = door.connect()
    message = post("/api/v1/drain", b"{}", "Expect: 100-continue")
    client.receive(message.removesuffix(b"{}"))
    assert taken(client) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.receive(b"{}")
    assert taken(client).startswith(b"HTTP/1.1 200 OK\r\n")


def test_one_after_the_other(door: Door, steered: Any) -> None:
    """Pipelined requests (RFC 9112 section 9.3.2) are answered in their order."""
    client = door.connect()
    steered.waiting = Deferred()
    client.receive(post("/api/v1/reload", b"") + HEALTHZ + HEALTHZ)
    assert taken(client) == b""
    steered.waiting.callback(None)
    answers = taken(client)
    assert answers.endswith(b'{"detail":"the settings have been reloaded"}' + HEALTHY + HEALTHY)


def test_very_many_at_once(door: Door) -> None:
    client = door.connect()
    client.receive(HEALTHZ * 2000)
    assert taken(client) == HEALTHY * 2000


@pytest.mark.parametrize(
    "request_head", [b"GET /healthz HTTP/1.0\r\n\r\n", b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"]
)
def test_the_last_one(door: Door, request_head: bytes) -> None:
    client = door.connect()
    client.receive(request_head)
    assert taken(client).endswith(b'\r\n\r\n{"status":"ok"}')
    assert client.closed == "closed"


def test_the_client_leaves(door: Door, steered: Any) -> None:
    """What it asked for is done all the same."""
    client = door.connect()
    steered.waiting = Deferred()
    client.receive(post("/api/v1/reload", b""))
    client.peer_closes()
    steered.waiting.callback(None)
    assert client.take() == b""
    assert steered.asked == ["reload"]
    assert repr(door.factory).startswith("<ApiFactory connections=0 <Api ")
    assert door.clock.getDelayedCalls() == []


def test_an_answer_that_cannot_be_sent(door: Door, logged_errors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client = door.connect()
    monkeypatch.setattr(client, "writeSequence", lambda data: 1 / 0)
    client.receive(HEALTHZ)
    assert client.closed == "aborted"
    assert len(logged_errors.flush(ZeroDivisionError)) == 1
    door.turn()


# ---------------------------------------------------------------- bounds


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/2.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"G\x00T /healthz HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\na b: c\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\na: b\x00\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n",
        b"GET /healthz HTTP/1.1\r\n" + b"a: " + b"b" * 10_000 + b"\r\nc: " + b"d" * 10_000 + b"\r\n\r\n",
        b"POST /api/v1/drain HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /api/v1/drain HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
        b"POST /api/v1/drain HTTP/1.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        b"POST /api/v1/drain HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /api/v1/drain HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    ],
)
def test_garbage(door: Door, steered: Any, garbage: bytes) -> None:
    client = door.connect()
    client.receive(garbage)
    assert client.take() == BAD_REQUEST
    assert client.closed == "closed"
    assert steered.asked == []
    door.turn()
    assert door.clock.getDelayedCalls() == []


def test_a_line_without_an_end(door: Door) -> None:
    client = door.connect()
    client.receive(b"G" * 20_000)
    assert client.closed == "closed"
    assert client.take() == b""
    door.turn()


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([HEALTHZ, b"\r\n", b" ", b"HTTP/1.1\r\n", b":"]))))
def test_whatever_comes(pieces: list[bytes]) -> None:
    door = Door(None)
    client = door.connect()
    for piece in pieces:
        if not client.closed:
            client.receive(piece)
    for answer in client.take().split(b"HTTP/1.1 ")[1:]:
        assert answer[:3] in (b"200", b"400", b"404", b"405")
    if not client.closed:
        client.peer_closes()
    door.turn()
    assert door.clock.getDelayedCalls() == []


def test_as_much_content_as_may_be(door: Door) -> None:
    client = door.connect()
    client.receive(post("/api/v1/settings/validate", b'{"toml":"%s"}' % (b"#" * (CONTENT_LIMIT - 11))))
    assert taken(client).startswith(b"HTTP/1.1 200 OK\r\n")


def announced() -> bytes:
    return post("/api/v1/settings/validate", b"x" * (CONTENT_LIMIT + 1))


def chunked() -> bytes:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    return b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 17 + b"0\r\n\r\n"


@pytest.mark.parametrize("message", [announced, chunked])
@pytest.mark.parametrize("step", [1000, 100_000, 10_000_000])
def test_too_much_content(door: Door, steered: Any, message: Callable[[], bytes], step: int) -> None:
    """RFC 9110 section 15.5.14. What still comes is not kept."""
    client = door.connect()
    whole = message()
    for start in range(0, len(whole), step):
        client.protocol.dataReceived(whole[start : start + step])
    assert taken(client) == TOO_LARGE
    assert client.closed == "closed"
    assert steered.asked == []
    door.turn()
    assert door.clock.getDelayedCalls() == []


def test_idle_connection_is_closed(door: Door) -> None:
    client = door.connect()
    door.turn(REQUEST_TIMEOUT - 1)
    client.receive(HEALTHZ)
    door.turn(REQUEST_TIMEOUT - 1)
    assert not client.closed
    door.turn(1)
    assert client.closed == "closed"
    door.turn()


def test_trickling_request_is_cut_off(door: Door) -> None:
    """It has its time from its first byte on, after however long a pause."""
    client = door.connect()
    client.receive(HEALTHZ)
    door.turn(REQUEST_TIMEOUT - 1)
    for byte in b"POST / HTTP/1.1\r\na: bcdefghijklm"[:REQUEST_TIMEOUT]:
        assert not client.closed
        client.receive(bytes([byte]))
        door.turn(1)
    assert client.closed == "closed"
    door.turn()


def test_a_client_that_does_not_read_is_cut(door: Door) -> None:
    for head in (b"", b"GET /healthz HTTP/1.0\r\n\r\n"):
        client = door.connect(StuckTransport)
        client.receive(head)
        door.turn(0 if head else REQUEST_TIMEOUT)
        door.turn(CLOSE_TIMEOUT - 1)
        assert not client.closed
        door.turn(1)
        assert client.closed == "aborted"
        door.turn()
    assert door.clock.getDelayedCalls() == []


def test_an_answer_may_take_its_time(door: Door, steered: Any) -> None:
    client = door.connect()
    steered.waiting = Deferred()
    client.receive(post("/api/v1/upgrade", b""))
    door.turn(10 * REQUEST_TIMEOUT)
    steered.waiting.callback(7)
    assert taken(client).endswith(b'{"detail":"process 7 goes on"}')


def test_so_many_connections(door: Door, steered: Any) -> None:
    """The oldest that says nothing goes, and what is being answered stays."""
    steered.waiting = Deferred()
    asking = door.connect()
    asking.receive(post("/api/v1/upgrade", b""))
    silent = [door.connect() for _ in range(MOST_CONNECTIONS - 1)]
    for number in range(3):
        client = door.connect()
        client.receive(HEALTHZ)
        assert taken(client) == HEALTHY
        assert [one.closed for one in silent[: number + 2]] == ["aborted"] * (number + 1) + [""]
        door.turn()
    assert repr(door.factory).startswith(f"<ApiFactory connections={MOST_CONNECTIONS} ")
    steered.waiting.callback(7)
    assert taken(asking).endswith(b'{"detail":"process 7 goes on"}')


def test_so_many_that_are_being_answered(door: Door, steered: Any) -> None:
    steered.waiting = Deferred()
    clients = [door.connect() for _ in range(MOST_CONNECTIONS)]
    for client in clients:
        client.receive(post("/api/v1/upgrade", b""))
    assert door.factory.buildProtocol(None) is None
    clients[0].peer_closes()
    client = door.connect()
    client.receive(HEALTHZ)
    assert taken(client) == HEALTHY


def test_being_full_is_said_once(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(ApiFactory, "_log", SimpleNamespace(warn=lambda text, **values: said.append(values)))
    clients = [door.connect() for _ in range(MOST_CONNECTIONS + 5)]
    door.turn()
    assert said == [{"most": MOST_CONNECTIONS}]
    clients[-1].peer_closes()
    door.connect()
    door.connect()
    assert len(said) == 1
    for client in clients[10:]:
        if not client.closed:
            client.peer_closes()
    for _ in range(MOST_CONNECTIONS):
        door.connect()
    assert len(said) == 2


# ---------------------------------------------------------------- the end


def test_nothing_to_close(door: Door) -> None:
    assert door.factory.close().called


def test_close(door: Door, steered: Any) -> None:
    """Idle ones at once, and those that are being answered afterwards."""
    idle, begun, asking = door.connect(), door.connect(), door.connect()
    begun.receive(b"GET /hea")
    steered.waiting = Deferred()
    asking.receive(post("/api/v1/upgrade", b""))
    closed = door.factory.close()
    assert [client.closed for client in (idle, begun, asking)] == ["closed", "closed", ""]
    assert door.factory.buildProtocol(None) is None
    door.turn()
    assert not closed.called
    steered.waiting.callback(7)
    assert taken(asking).endswith(b'{"detail":"process 7 goes on"}')
    assert asking.closed == "closed"
    door.turn()
    assert closed.called
    assert door.clock.getDelayedCalls() == []


def test_close_does_not_wait_for_long(door: Door, steered: Any) -> None:
    steered.waiting = Deferred()
    stuck, asking = door.connect(StuckTransport), door.connect()
    asking.receive(post("/api/v1/upgrade", b""))
    assert [repr(client.protocol) for client in (stuck, asking)] == ["<ApiChannel waiting>", "<ApiChannel answering>"]
    closed = door.factory.close()
    assert repr(stuck.protocol) == "<ApiChannel closing>"
    door.turn(CLOSE_TIMEOUT)
    door.turn()
    assert [client.closed for client in (stuck, asking)] == ["aborted", "aborted"]
    assert closed.called
    steered.waiting.callback(7)
    assert door.clock.getDelayedCalls() == []
