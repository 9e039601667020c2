"""HTTP/2 inside tunnels that a real proxy looks into: clients of their own kinds, much at once, and its end."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import ssl
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.live.command import curl, run
from tests.live.crew import workers
from tests.live.daemon import ANY_PORT, Daemon, awaited
from tests.live.intercepting import SETTINGS, Intercepting, started
from tests.live.origin import LINE, Authority, Origin

CLIENT = Path(__file__).with_name("clients") / "http2.js"
MEGABYTE = bytes(range(256)) * 4096
LARGE = 20 * len(MEGABYTE)
CONTENT = MEGABYTE * 20


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Intercepting]:
    daemon = started(tmp_path_factory.mktemp("http2"), authority)
    yield Intercepting(daemon)
    daemon.stop()


@pytest.fixture
def through(proxy: Intercepting, tmp_path: Path) -> Callable[..., bytes]:
    """curl through the proxy, with HTTP/2 or not at all."""

    def call(*arguments: str | Path, said: bytes = b"") -> bytes:
        options = ("--http2", "--proxy", proxy.url, "--cacert", proxy.file)
        return curl(tmp_path, *options, *arguments, said=said)

    return call


def digest(content: bytes) -> dict[str, Any]:
    return {"length": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def options_of(proxy: Intercepting) -> dict[str, Any]:
    """What a client of httpx is made with; it sets its protocols on the context that it gets."""
    context = ssl.create_default_context(cafile=str(proxy.file))
    return {"http2": True, "http1": False, "proxy": proxy.url, "verify": context, "trust_env": False, "timeout": 20}


def async_client_of(proxy: Intercepting) -> httpx.AsyncClient:
    return httpx.AsyncClient(**options_of(proxy))


# ---------------------------------------------------------------- clients


def test_curl(through: Callable[..., bytes], proxy: Intercepting, origin: Origin) -> None:
    before = len(proxy.entries())
    url = origin.url("https")
    said = through("--write-out", "%{http_version} %{http_code} %{num_connects}\n", url, url)
    assert said == LINE + b"2 200 1\n" + LINE + b"2 200 0\n"
    entries = awaited(lambda: len(found := proxy.entries()[before:]) >= 3 and found, "three lines")
    told = [(entry["kind"], entry["version"], entry["url"], entry["status"]) for entry in entries]
    assert told[0][:2] == ("intercept", "HTTP/1.1")
    assert told[1:] == [("forward", "HTTP/2.0", url, 200)] * 2
    for entry in entries[1:]:
        assert len(LINE) < entry["bytes_to_client"] < 500
        assert 0 < entry["bytes_from_client"] < 500


def test_large_download(through: Callable[..., bytes], origin: Origin) -> None:
    for path in ("bytes", "chunked"):
        assert hashlib.sha256(through(origin.url("https", f"/{path}/{LARGE}"))).digest() == (
            hashlib.sha256(CONTENT).digest()
        )


def test_large_upload(through: Callable[..., bytes], origin: Origin) -> None:
    url = origin.url("https", "/digest")
    assert json.loads(through("--data-binary", "@-", url, said=CONTENT)) == digest(CONTENT)
    assert json.loads(through("--upload-file", "-", url, said=CONTENT)) == digest(CONTENT)


def test_head_and_early_answers(through: Callable[..., bytes], origin: Origin) -> None:
    assert through("--head", "--suppress-connect-headers", origin.url("https")).startswith(b"HTTP/2 200 \r\n")
    # As much as leaves with the head: where more is left, some versions of curl take the reset for an error.
    assert through("--data-binary", "@-", origin.url("https", "/early"), said=CONTENT[:1000]) == LINE


def test_httpx(proxy: Intercepting, origin: Origin) -> None:
    with httpx.Client(**options_of(proxy)) as client:
        for _ in range(3):
            answer = client.get(origin.url("https"))
            assert (answer.http_version, answer.content) == ("HTTP/2", LINE)
        assert client.post(origin.url("https", "/digest"), content=iter([MEGABYTE, b"b"])).json() == digest(
            MEGABYTE + b"b"
        )
        # RFC 9113 section 9.1.1: another host has another connection.
        assert client.get(origin.url("https").replace("127.0.0.1", "localhost")).content == LINE
        missing = client.get(origin.url("https", "/files/nothing"))
        assert missing.status_code == 404


def test_node(proxy: Intercepting, origin: Origin, tmp_path: Path) -> None:
    """A hundred requests at once."""
    environment = {"NODE_EXTRA_CA_CERTS": str(proxy.file)}
    url = origin.url("https", "/bytes/10000")
    got = run(tmp_path, "node", CLIENT, proxy.url, url, "100", environment=environment)
    assert json.loads(got.stdout) == [[200, 10000]] * 100


def test_websocket(proxy: Intercepting, origin: Origin, tmp_path: Path) -> None:
    """RFC 8441."""
    before = len(proxy.entries())
    environment = {"NODE_EXTRA_CA_CERTS": str(proxy.file)}
    url = origin.url("wss", "/").replace("wss:", "https:")
    got = run(tmp_path, "node", CLIENT, proxy.url, url, "websocket", "hello", environment=environment)
    assert json.loads(got.stdout) == [[200, "hello"]]
    entries = awaited(lambda: len(found := proxy.entries()[before:]) >= 2 and found, "two lines")
    assert [(entry["kind"], entry["version"], entry["status"]) for entry in entries] == [
        ("intercept", "HTTP/1.1", 200),
        ("tunnel", "HTTP/2.0", 101),
    ]


# ---------------------------------------------------------------- much at once


async def stalled(proxy: Intercepting, origin: Origin) -> None:
    async with async_client_of(proxy) as client:
        assert (await client.get(origin.url("https"))).content == LINE
        waiting = asyncio.create_task(client.get(origin.url("https", "/gated/stream")))
        # The window that httpx gives to a stream is as large as that of the connection: 16 MiB.
        async with client.stream("GET", origin.url("https", "/bytes/10000000")) as unread:
            assert unread.status_code == 200
            for _ in range(20):
                assert (await client.get(origin.url("https"))).content == LINE
        assert not waiting.done()
        origin.open("stream")
        assert (await waiting).content == LINE


def test_streams_do_not_wait_for_each_other(proxy: Intercepting, origin: Origin) -> None:
    """An answer that waits, and one that nobody reads, hold up nobody."""
    asyncio.run(stalled(proxy, origin))


async def listed(proxy: Intercepting, origin: Origin) -> None:
    def told() -> Any:
        found = json.loads(proxy.daemon.control("connections", "--json").stdout)["connections"]
        return [one for one in found if one["exchanges"] == 2]

    async with async_client_of(proxy) as client:
        assert (await client.get(origin.url("https"))).content == LINE
        waiting = [asyncio.create_task(client.get(origin.url("https", "/gated/listed"))) for _ in range(2)]
        (one,) = await asyncio.to_thread(awaited, told, "a connection with two requests")
        assert (one["state"], one["target"]) == ("request", origin.url("https", "/gated/listed"))
        origin.open("listed")
        assert [(await answer).content for answer in waiting] == [LINE, LINE]


def test_listed(proxy: Intercepting, origin: Origin) -> None:
    asyncio.run(listed(proxy, origin))


# ---------------------------------------------------------------- the end, and where it is not spoken


@pytest.fixture
def alone(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., Daemon]]:
    """Starts a proxy of the test's own."""
    made: list[Daemon] = []

    def start(listen: Sequence[str] = (ANY_PORT,), **settings: str) -> Daemon:
        directory = tmp_path / f"proxy-{len(made)}"
        directory.mkdir()
        wanted = SETTINGS | {name.replace("__", "."): value for name, value in settings.items()}
        environment = {"SSL_CERT_FILE": str(authority.file)}
        made.append(Daemon(directory, listen=listen, settings=wanted, environment=environment).start())
        return made[-1]

    yield start
    for daemon in made:
        daemon.stop()


def test_several_workers(alone: Callable[..., Daemon], origin: Origin, tmp_path: Path) -> None:
    daemon = alone(service__workers="2")
    workers(daemon, 2)
    proxy = Intercepting(daemon)
    options = ("--http2", "--proxy", proxy.url, "--cacert", proxy.file)
    for _ in range(4):
        said = curl(tmp_path, *options, "--write-out", "%{http_version}", origin.url("https"))
        assert said == LINE + b"2"


def test_switched_off_for_a_host(alone: Callable[..., Daemon], origin: Origin, tmp_path: Path) -> None:
    proxy = Intercepting(alone(http2__except_hosts='["127.0.0.1"]'))
    options = ("--http2", "--proxy", proxy.url, "--cacert", proxy.file, "--write-out", "%{http_version}")
    assert curl(tmp_path, *options, origin.url("https")) == LINE + b"1.1"
    assert curl(tmp_path, *options, origin.url("https").replace("127.0.0.1", "localhost")) == LINE + b"2"


@pytest.mark.parametrize("count", ["1", "2"])
def test_switched_off_at_a_listener(alone: Callable[..., Daemon], origin: Origin, tmp_path: Path, count: str) -> None:
    """Each worker knows where a client came in."""
    listeners = ("tcp:0:interface=127.0.0.1", "tcp:0:interface=127.0.0.2")
    daemon = alone(listeners, http2__except_listeners=listeners[1], service__workers=count)
    proxy = Intercepting(daemon)
    for address in daemon.addresses:
        options = ("--http2", "--proxy", f"http://{address}", "--cacert", proxy.file, "-w", "%{http_version}")
        expected = b"1.1" if address.startswith("127.0.0.2:") else b"2"
        assert curl(tmp_path, *options, origin.url("https")) == LINE + expected


def test_stop_lets_answers_end(alone: Callable[..., Daemon], origin: Origin, tmp_path: Path) -> None:
    """GOAWAY; what is under way ends well."""
    daemon = alone()
    proxy = Intercepting(daemon)
    options = ("--http2", "--proxy", proxy.url, "--cacert", proxy.file)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(curl, tmp_path, *options, origin.url("https", "/gated/drain"))
        awaited(lambda: '"exchanges":1' in daemon.control("connections", "--json").stdout, "the request")
        daemon.signal(signal.SIGTERM)
        daemon.await_log("draining")
        origin.open("drain")
        assert waiting.result() == LINE
    daemon.await_end()
