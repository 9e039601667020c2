"""What the proxy fetches for itself, by a parent on a real socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from twistedproxy import errors
from twistedproxy.blocklists.fetching import Fetcher, Wish
from twistedproxy.blocklists.files import BlocklistError
from twistedproxy.settings.load import load
from twistedproxy.settings.types import Settings
from twistedproxy.tls.trust import Trust
from twistedproxy.upstream.errands import Errand, errand

NOBODY: Mapping[str, str] = {}
LIST = b"a.example\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: x\r\nConnection: close\r\n\r\n%b" % (len(LIST), LIST)


class Parent(Factory):
    """Answers each of the words that it hears, on whichever connection, with the next of its own."""

    noisy = False

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.words: list[bytes] = []
        self.port = 0

    def buildProtocol(self, addr: object) -> Protocol:
        parent = self

        class Speaking(Protocol):
            def dataReceived(self, data: bytes) -> None:
                parent.heard.append(data)
                self.transport.write(parent.words.pop(0))  # type: ignore[union-attr]  # it is connected

        return Speaking()


@pytest_twisted.async_yield_fixture
async def parent(running_reactor: Any) -> AsyncIterator[Parent]:
    made = Parent()
    port = running_reactor.listenTCP(0, made, interface="127.0.0.1")
    made.port = port.getHost().port
    yield made
    await port.stopListening()


def by(parent: Parent, scheme: str = "http", more: str = "", default: str = "office") -> Settings:
    text = f"""\
[routes]
default = "{default}"
[[routes.tables]]
name = "office"
parents = ["{scheme}://127.0.0.1:{parent.port}"]
{more}
"""
    return load(text, "a.toml").settings


@pytest.fixture
def password(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text("pw\n")
    path.chmod(0o600)
    return f'user = "us"\npassword_file = "{path}"'


async def fetched(reactor: Any, settings: Settings, into: Path, url: str = "http://lists.test/ads") -> bytes:
    await Fetcher(reactor, NOBODY, errand)(Wish(url, 10.0, 1000), into, settings)
    return into.read_bytes()


@pytest_twisted.ensureDeferred
async def test_an_http_parent_is_asked_for_the_whole_url(
    running_reactor: Any, parent: Parent, password: str, tmp_path: Path
) -> None:
    parent.words = [OK]
    assert await fetched(running_reactor, by(parent, more=password), tmp_path / "list") == LIST
    (request,) = parent.heard
    assert request.startswith(b"GET http://lists.test/ads HTTP/1.1\r\n")
    assert b"\r\nHost: lists.test\r\n" in request
    assert request.count(b"\r\nProxy-Authorization: Basic dXM6cHc=\r\n") == 1


@pytest_twisted.ensureDeferred
async def test_it_is_redirected(running_reactor: Any, parent: Parent, password: str, tmp_path: Path) -> None:
    """To https, by a tunnel: there the credentials are said to the parent alone."""
    there = b"https://other.test/ads"
    parent.words = [
        b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % there,
        b"HTTP/1.1 403 No\r\n\r\n",
    ]
    with pytest.raises(BlocklistError) as raised:
        await fetched(running_reactor, by(parent, more=password), tmp_path / "list")
    assert str(raised.value) == (
        f"{errors.ParentRefused.__doc__} http://127.0.0.1:{parent.port}: it answered 403 to CONNECT"
    )
    assert parent.heard[1] == (
        b"CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\nProxy-Authorization: Basic dXM6cHc=\r\n\r\n"
    )


@pytest_twisted.ensureDeferred
async def test_a_socks_parent_is_asked_for_a_connection(running_reactor: Any, parent: Parent, tmp_path: Path) -> None:
    parent.words = [b"\5\0", b"\5\0\0\1" + bytes(6), OK]
    assert await fetched(running_reactor, by(parent, "socks5"), tmp_path / "list") == LIST
    assert parent.heard[:2] == [b"\5\1\0", b"\5\1\0\3\x0alists.test\0\x50"]
    assert parent.heard[2].startswith(b"GET /ads HTTP/1.1\r\n")
    assert b"Proxy-Authorization" not in parent.heard[2]


@pytest_twisted.ensureDeferred
async def test_a_parent_that_is_not_there(running_reactor: Any, parent: Parent, tmp_path: Path) -> None:
    settings = load(
        '[routes]\ndefault = "a"\n[[routes.tables]]\nname = "a"\nparents = ["http://a.invalid:1"]\n', "a.toml"
    ).settings
    with pytest.raises(BlocklistError, match=r"^The proxy that this one goes on by cannot be reached\. http://a\.inv"):
        await fetched(running_reactor, settings, tmp_path / "list")


class Kept(Protocol):
    """Keeps what comes until the end."""

    def __init__(self) -> None:
        self.came = b""
        self.some: Deferred[None] = Deferred()
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.came += data
        self.some.callback(None)

    def connectionLost(self, reason: Failure = None) -> None:  # type: ignore[assignment]  # Twisted's default
        self.lost.callback(None)


@pytest_twisted.ensureDeferred
async def test_an_endpoint(running_reactor: Any, parent: Parent) -> None:
    settings = by(parent)
    way = errand(running_reactor, settings, Trust.of(settings.upstream_tls), NOBODY)
    assert isinstance(way, Errand)
    assert (repr(way), way.forwards, way.authorization) == ("<Errand by the route office>", True, b"")
    parent.words = [b"HTTP/1.1 200 OK\r\n\r\n", b"pong"]
    protocol: Any = await way.endpoint("origin.test", 7).connect(Factory.forProtocol(Kept))
    protocol.transport.write(b"ping")
    await protocol.some
    assert protocol.came == b"pong"
    assert parent.heard == [b"CONNECT origin.test:7 HTTP/1.1\r\nHost: origin.test:7\r\n\r\n", b"ping"]
    protocol.transport.loseConnection()
    await protocol.lost
    way.close()


def test_where_everybody_goes_to_servers_themselves_so_does_this(parent: Parent) -> None:
    settings = by(parent, default="direct")
    assert errand(None, settings, Trust.of(settings.upstream_tls), NOBODY) is None
    assert errand(None, Settings(), Trust.of(settings.upstream_tls), NOBODY) is None


def test_a_password_that_cannot_be_read(parent: Parent) -> None:
    settings = by(parent, more='user = "us"\npassword_file = "/nowhere/at/all"')
    with pytest.raises(BlocklistError, match="cannot be read: No such file or directory"):
        errand(None, settings, Trust.of(settings.upstream_tls), NOBODY)
