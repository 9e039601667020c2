"""The log of messages of a real proxy, with one worker and with two: what is said in WebSockets, where it is wanted."""

from __future__ import annotations

import base64
import json
import signal
import ssl
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.frames import BINARY, CLOSE, MASK, PING, RSV1, TEXT, Deflating, frame, message
from tests.live.crew import workers
from tests.live.daemon import Daemon, awaited
from tests.live.fetch import connected, request_for
from tests.live.origin import Authority, Origin
from tests.live.wire.raw import Connection

SETTINGS = {
    "access.connect_ports": "all",
    "log.format": "json",
    "intercept.mode": "listed",
    "intercept.hosts": '["127.0.0.1"]',
    "intercept.ports": "all",
}
MOST = 16 * 1024
MEGABYTE = 1_000_000


class Logging:
    """A proxy that writes down the messages of WebSockets, and what its clients trust."""

    def __init__(self, directory: Path, authority: Authority, **settings: str) -> None:
        self.path = directory / "websocket.log"
        wanted = SETTINGS | {"log.websocket": str(self.path)}
        wanted |= {name.replace("__", "."): value for name, value in settings.items()}
        self.daemon = Daemon(directory, settings=wanted, environment={"SSL_CERT_FILE": str(authority.file)}).start()
        exported = directory / "trusted.pem"
        exported.write_text(self.daemon.control("ca", "export").stdout)
        self.trust = ssl.create_default_context(cafile=str(exported))

    def connect(self, url: str, **how: Any) -> ClientConnection:
        """A WebSocket through the proxy, in a tunnel that it looks into."""
        trust = self.trust if url.startswith("wss:") else None
        return connect(url, proxy=self.daemon.url, ssl=trust, max_size=None, **how)

    def lines(self, path: str, closes: int = 2) -> list[dict[str, Any]]:
        """What is written of the WebSocket at ``path``, once it is closed by both, or by fewer."""

        def told() -> list[dict[str, Any]]:
            text = self.path.read_text(encoding="ascii")
            lines = [json.loads(line) for line in text.splitlines()] if text.endswith("\n") else []
            found = [line for line in lines if line["url"].endswith(path)]
            closed = [line for line in found if line["kind"] == "close"]
            return found if len(closed) == closes else []

        return awaited(told, f"the messages of {path} in {self.path}")


@pytest.fixture(scope="module", params=["1", "2"])
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[Logging]:
    made = Logging(tmp_path_factory.mktemp("logging"), authority, service__workers=request.param)
    if request.param == "2":
        workers(made.daemon, 2)
    yield made
    made.daemon.stop()


@pytest.fixture
def alone(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., Logging]]:
    """Starts a proxy of the test's own."""
    made: list[Logging] = []

    def start(**settings: str) -> Logging:
        directory = tmp_path / f"proxy-{len(made)}"
        directory.mkdir()
        made.append(Logging(directory, authority, **settings))
        return made[-1]

    yield start
    for one in made:
        one.daemon.stop()


def said(lines: list[dict[str, Any]], direction: str, *names: str) -> list[tuple[Any, ...]]:
    """What is told of each message of one direction."""
    return [tuple(line[name] for name in names) for line in lines if line["direction"] == direction]


@pytest.mark.parametrize("compression", ["deflate", None], ids=["compressed", "plain"])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_messages_of_all_kinds(proxy: Logging, origin: Origin, scheme: str, compression: Any) -> None:
    """Text, binary, in fragments, large, ping, and the end; both directions, each with its line, in order."""
    path = f"/{scheme}-{compression}"
    url = origin.url(scheme, path)
    large = bytes(range(256)) * 4096
    with proxy.connect(url, compression=compression) as socket:
        for sent in ("Grüße", b"\x00\xff", large):
            socket.send(sent)
            assert socket.recv() == sent
        socket.send(["one ", "two ", "three"])
        assert socket.recv() == "one two three"
        assert socket.ping(b"there?").wait(20)
    lines = proxy.lines(path)
    beginning = base64.b64encode(large[:MOST]).decode()
    contents = [
        ("text", "Grüße", None, False, 7),
        ("binary", "AP8=", "base64", False, 2),
        ("binary", beginning, "base64", True, len(large)),
        ("text", "one two three", None, False, 13),
    ]
    end = ("close", "", None, False, 2)
    names = ("kind", "content", "encoding", "truncated", "length")
    ping = ("ping", base64.b64encode(b"there?").decode(), "base64", False, 6)
    assert said(lines, "from_client", *names) == [*contents, ping, end]
    assert said(lines, "from_upstream", *names) == [*contents, ("pong", *ping[1:]), end]
    assert {line["url"] for line in lines} == {url.replace("ws", "http", 1)}
    assert {line["compressed"] for line in lines if line["kind"] in ("text", "binary")} == {compression is not None}
    assert [frames for kind, frames in said(lines, "from_client", "kind", "frames") if kind == "text"] == [1, 4]
    assert {line["code"] for line in lines if line["kind"] == "close"} == {1000}
    assert len({line["connection"] for line in lines}) == 1
    assert {line["client_address"] for line in lines} == {"127.0.0.1"}


def test_a_million_bytes_in_a_thousand(proxy: Logging, origin: Origin) -> None:
    """What unpacks to a thousand times its size is counted, and its beginning written down."""
    with proxy.connect(origin.url("wss", "/bomb")) as socket:
        socket.send(bytes(MEGABYTE))
        assert socket.recv() == bytes(MEGABYTE)
    lines = proxy.lines("/bomb")
    for direction in ("from_client", "from_upstream"):
        (length, payload_length, content), _ = said(lines, direction, "length", "payload_length", "content")
        assert (length, payload_length < 2000, base64.b64decode(content)) == (MEGABYTE, True, bytes(MOST))


def test_questions_and_answers_in_turn(proxy: Logging, origin: Origin) -> None:
    """Nobody waits for the log: each answer comes before the next question, and all are written in their order."""
    with proxy.connect(origin.url("ws", "/turns")) as socket:
        for number in range(300):
            socket.send(str(number))
            assert socket.recv(20) == str(number)
    lines = [line for line in proxy.lines("/turns") if line["kind"] == "text"]
    assert [line["content"] for line in lines] == [str(number) for number in range(300) for _ in range(2)]
    assert [line["direction"] for line in lines] == ["from_client", "from_upstream"] * 300


def upgraded(client: Connection, url: str, *fields: str) -> None:
    """Ask for a WebSocket on ``client``, without a tunnel."""
    wanted = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    client.send(request_for(url, "GET", *wanted, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *fields))
    assert client.read_through(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")


def test_without_a_tunnel(proxy: Logging, origin: Origin) -> None:
    """By a request for http, whose relay would be the kernel's if nobody looked."""
    client = connected(proxy.daemon)
    url = origin.url("ws", "/upgraded").replace("ws:", "http:")
    upgraded(client, url, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    deflating = Deflating()
    client.send(frame(TEXT, deflating(b"hello"), reserved=RSV1, mask=MASK))
    assert client.read(2)[0] == 0xC1
    client.send(message(BINARY, b"0123456789", cuts=[3, 6], mask=MASK, between=frame(PING, b"?", mask=MASK)))
    client.send(frame(CLOSE, b"\x03\xe9going", mask=MASK))
    client.read_to_end()
    client.close()
    names = ("kind", "content", "frames", "compressed", "code")
    assert said(proxy.lines("/upgraded"), "from_client", *names) == [
        ("text", "hello", 1, True, None),
        ("ping", "Pw==", 1, False, None),
        ("ping", "Pw==", 1, False, None),
        ("binary", "MDEyMzQ1Njc4OQ==", 3, False, None),
        ("close", "going", 1, False, 1001),
    ]


def test_what_is_no_websocket_goes_on(proxy: Logging, origin: Origin) -> None:
    """The origin gets it, and closes; what is written is that it could not be read."""
    client = connected(proxy.daemon)
    upgraded(client, origin.url("ws", "/broken").replace("ws:", "http:"))
    client.send(frame(3, b"?", mask=MASK))
    answer = client.read_to_end()
    assert answer[:1] == b"\x88"
    assert answer[2:4] == (1002).to_bytes(2)
    client.close()
    question, answered = proxy.lines("/broken", closes=1)
    told = (question["direction"], question["kind"], question["reason"])
    assert told == ("from_client", "unreadable", "Invalid opcode 0x3")
    assert (answered["direction"], answered["kind"], answered["code"]) == ("from_upstream", "close", 1002)


def test_file_is_for_the_proxy_only(proxy: Logging) -> None:
    assert stat.S_IMODE(proxy.path.stat().st_mode) == 0o600


# ---------------------------------------------------------------- only what was asked for
@pytest.mark.parametrize("wanted", [{"log__websocket": "off"}, {"log__websocket_hosts": '["other.example"]'}])
def test_nothing_is_written_unless_it_is_asked_for(
    alone: Callable[..., Logging], origin: Origin, wanted: dict[str, str]
) -> None:
    """Not in the log of messages, when that is off or for other hosts; and in no other log in any case."""
    secret = "the password is hunter2"
    proxy = alone(**wanted)
    for scheme in ("ws", "wss"):
        with proxy.connect(origin.url(scheme, "/secret"), compression=None) as socket:
            socket.send(secret)
            assert socket.recv() == secret
    proxy.daemon.access_lines(4)
    proxy.daemon.stop()
    assert secret not in proxy.daemon.access_log.read_text() + proxy.daemon.log + proxy.daemon.said
    assert not proxy.path.exists() or not proxy.path.read_text()


def test_tunnels_that_are_not_opened_are_not_looked_at(alone: Callable[..., Logging], origin: Origin) -> None:
    proxy = alone(intercept__mode="off")
    with proxy.connect(origin.url("ws", "/closed")) as socket:
        socket.send("unseen")
        assert socket.recv() == "unseen"
    proxy.daemon.access_lines(1)
    proxy.daemon.stop()
    assert proxy.path.read_text() == ""


@pytest.mark.parametrize("count", [1, 2])
def test_rotation_and_reload(make_daemon: Callable[..., Daemon], origin: Origin, count: int) -> None:
    """USR1 begins a new file, and a reload can move it or end it, for a WebSocket under way too."""

    def settings(path: str) -> str:
        return (
            f'[downstream]\nlisten = ["tcp:0:interface=127.0.0.1"]\n[service]\nworkers = {count}\n'
            f'[log]\naccess = "off"\nwebsocket = "{path}"\n'
        )

    def ask(text: str, path: Path | None) -> None:
        """Say ``text``, hear it again, and see it written down twice."""
        client.send(frame(TEXT, text.encode(), mask=MASK))
        assert client.read(2 + len(text)) == frame(TEXT, text.encode())
        if path is not None:
            awaited(lambda: path.exists() and path.read_text().count(text) == 2, f"{text} in {path}")

    proxy = make_daemon(file="")
    first, other = proxy.directory / "first.log", proxy.directory / "other.log"
    proxy.settings_file.write_text(settings(str(first)))
    proxy.start()
    if count > 1:
        workers(proxy, count)
    client = connected(proxy)
    upgraded(client, origin.url("ws", "/long").replace("ws:", "http:"))
    ask("one", first)
    moved = first.rename(first.with_suffix(".1"))
    proxy.signal(signal.SIGUSR1)
    awaited(first.exists, "a new file")
    ask("two", first)
    proxy.reload(settings(str(other)))
    ask("three", other)
    proxy.reload(settings("off"))
    ask("four", None)
    client.close()
    proxy.stop()
    told = {
        path.name: [json.loads(line)["content"] for line in path.read_text().splitlines()] for path in (moved, first)
    }
    assert told == {"first.1": ["one"] * 2, "first.log": ["two"] * 2}
    assert "four" not in other.read_text()
