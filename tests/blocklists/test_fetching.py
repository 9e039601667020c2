"""Fetching lists from a server, in whatever way that goes wrong."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.protocol import Factory, Protocol

from twistedproxy.blocklists.fetching import Fetched, Fetcher, Wish
from twistedproxy.blocklists.files import BlocklistError
from twistedproxy.settings.types import Settings

LIST = b"a.example\nb.example\n"
OK = b"HTTP/1.1 200 OK\r\n"


class Server(Factory):
    """Answers each request with the next of its answers; keeps the connection where that is to end in silence."""

    noisy = False

    def __init__(self) -> None:
        self.answers: list[bytes | None] = []
        self.requests: list[bytes] = []
        self.connections: list[Any] = []

    def buildProtocol(self, addr: object) -> Protocol:
        return _Connection(self)


class _Connection(Protocol):
    def __init__(self, server: Server) -> None:
        self._server = server

    def connectionMade(self) -> None:
        self._server.connections.append(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self._server.requests.append(data)
        transport: Any = self.transport
        answer = self._server.answers.pop(0)
        if answer is not None:
            transport.write(answer)
            transport.loseConnection()


@pytest.fixture
def server() -> Iterator[Server]:
    from twisted.internet import reactor

    server = Server()
    port: Any = reactor.listenTCP(0, server, interface="127.0.0.1")  # type: ignore[attr-defined]  # it can
    server.url = f"http://127.0.0.1:{port.getHost().port}/list"  # type: ignore[attr-defined]  # for the tests
    yield server
    for connection in server.connections:
        connection.abortConnection()
    pytest_twisted.blockon(port.stopListening())


@pytest.fixture
def fetch(server: Server, tmp_path: Path) -> Callable[..., Any]:
    from twisted.internet import reactor

    def fetch_list(**more: Any) -> Any:
        wish = Wish(
            more.get("url", server.url),  # type: ignore[attr-defined]  # as above
            more.get("timeout", 5.0),
            more.get("most", 1000),
            more.get("etag", ""),
            more.get("last_modified", ""),
        )
        return Fetcher(reactor)(wish, tmp_path / "list", Settings())

    return fetch_list


def answer(content: bytes, *lines: bytes) -> bytes:
    """A whole answer."""
    fields = b"".join(line + b"\r\n" for line in (*lines, b"Content-Length: %d" % len(content)))
    return OK + fields + b"\r\n" + content


@pytest_twisted.ensureDeferred
async def test_a_list_comes_with_what_it_is_known_by(server: Server, fetch: Any, tmp_path: Path) -> None:
    server.answers = [answer(LIST, b'ETag: "x"', b"Last-Modified: Fri, 27 Nov 2026 00:00:00 GMT")]
    assert await fetch() == Fetched(True, '"x"', "Fri, 27 Nov 2026 00:00:00 GMT")
    assert (tmp_path / "list").read_bytes() == LIST
    assert (tmp_path / "list").stat().st_mode & 0o777 == 0o600
    assert b"\r\nAccept-Encoding: gzip\r\n" in server.requests[0]
    assert b"If-" not in server.requests[0]


@pytest_twisted.ensureDeferred
async def test_nothing_new(server: Server, fetch: Any, tmp_path: Path) -> None:
    server.answers = [b"HTTP/1.1 304 Not Modified\r\n\r\n"]
    assert await fetch(etag='"x"', last_modified="then") == Fetched(False, '"x"', "then")
    assert b'If-None-Match: "x"\r\n' in server.requests[0]
    assert b"If-Modified-Since: then\r\n" in server.requests[0]
    assert not (tmp_path / "list").exists()


@pytest_twisted.ensureDeferred
async def test_what_is_packed_is_unpacked(server: Server, fetch: Any, tmp_path: Path) -> None:
    server.answers = [answer(gzip.compress(LIST), b"Content-Encoding: gzip")]
    assert (await fetch()).is_new
    assert (tmp_path / "list").read_bytes() == LIST


@pytest_twisted.ensureDeferred
async def test_chunks(server: Server, fetch: Any, tmp_path: Path) -> None:
    server.answers = [OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\na.exa\r\n5\r\nmple\n\r\n0\r\n\r\n"]
    assert (await fetch()).is_new
    assert (tmp_path / "list").read_bytes() == b"a.example\n"


def redirect(location: bytes) -> bytes:
    return b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % location


@pytest_twisted.ensureDeferred
async def test_redirects_are_followed(server: Server, fetch: Any) -> None:
    server.answers = [redirect(b"/other"), answer(LIST)]
    assert (await fetch()).is_new
    assert server.requests[1].startswith(b"GET /other HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([answer(b"x" * 1001)], "larger than 1000 bytes"),
        ([answer(gzip.compress(b"x" * 100_000), b"Content-Encoding: gzip")], "larger than 1000 bytes"),
        ([answer(gzip.compress(LIST)[:-4], b"Content-Encoding: gzip")], "its end is missing"),
        ([answer(b"no gzip", b"Content-Encoding: gzip")], "cannot be unpacked"),
        ([answer(LIST, b"Content-Encoding: br")], "packed it with 'br'"),
        ([OK + b"Content-Length: 100\r\n\r\na.example"], "broke off before its end"),
        ([OK + b"\r\na.example"], "broke off before its end"),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\na.exa\r\n"], "broke off before its end"),
        ([b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"], "status 404"),
        ([b"HTTP/1.1 304 Not Modified\r\n\r\n"], "status 304"),
        ([b"HTTP/1.1 206 Partial\r\nContent-Length: 1\r\n\r\nx"], "status 206"),
        ([b"nonsense\r\n\r\n"], "answer"),
        ([redirect(b"/again")] * 6, "redirected more than 5 times"),
        ([redirect(b"ftp://127.0.0.1/")], "redirected to nowhere"),
        ([redirect(b"")], "redirected to nowhere"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_goes_wrong(
    server: Server, fetch: Any, tmp_path: Path, answers: list[bytes | None], why: str
) -> None:
    server.answers = answers[:]
    with pytest.raises(BlocklistError, match=why):
        await fetch()
    assert not (tmp_path / "list").exists()


@pytest.mark.parametrize("said", [None, b""])
@pytest_twisted.ensureDeferred
async def test_silence_ends(server: Server, fetch: Any, tmp_path: Path, said: bytes | None) -> None:
    server.answers = [said]
    with pytest.raises(BlocklistError, match=r"took more than 0\.2 s|without an answer"):
        await fetch(timeout=0.2)
    assert not (tmp_path / "list").exists()


@pytest_twisted.ensureDeferred
async def test_nobody_listens(fetch: Any) -> None:
    with pytest.raises(BlocklistError, match="the server cannot be connected to"):
        await fetch(url="http://127.0.0.1:1/")


@pytest_twisted.ensureDeferred
async def test_a_server_without_tls(server: Server, fetch: Any) -> None:
    server.answers = [b"HTTP/1.1 400 Bad Request\r\n\r\n"]
    with pytest.raises(BlocklistError):
        await fetch(url=server.url.replace("http:", "https:"))  # type: ignore[attr-defined]  # as above
