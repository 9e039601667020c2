"""Clients that speak both versions of HTTP, through a proxy that looks into their tunnels, to origins of either."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import requests

from tests.live.command import curl, run
from tests.live.intercepting import Intercepting, started
from tests.live.origin import LINE, Authority, Origin

CLIENTS = Path(__file__).with_name("clients")
NODE_MODULES = "/usr/share/nodejs"
"""Where Debian has the packages for Node."""

MEGABYTE = b"x" * 1_000_000
DIGEST = {"length": len(MEGABYTE), "sha256": hashlib.sha256(MEGABYTE).hexdigest()}

ALLOWS_HTTP2 = (5, 23)
"""The first version of undici that has the option."""

to_both = pytest.mark.parametrize("scheme", ["https", "h2"])
in_both = pytest.mark.parametrize("version", ["h1", "h2"])


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Intercepting]:
    daemon = started(tmp_path_factory.mktemp("intercepting"), authority)
    yield Intercepting(daemon)
    daemon.stop()


class Seen:
    """What the access log says of one test."""

    def __init__(self, proxy: Intercepting) -> None:
        self._proxy = proxy
        self._before = len(proxy.entries())

    def versions(self, requests: int) -> set[str]:
        """Those of so many requests, which were all that was inside of tunnels, and answered with 200."""
        entries = self._proxy.await_entries(requests + 1, self._before)
        assert {entry["kind"] for entry in entries} == {"intercept", "forward"}
        inside = [entry for entry in entries if entry["kind"] == "forward"]
        assert len(inside) == requests
        assert {(entry["status"], entry["reason"]) for entry in inside} == {(200, None)}
        return {entry["version"] for entry in inside}


@pytest.fixture
def seen(proxy: Intercepting) -> Seen:
    return Seen(proxy)


def as_logged(version: str) -> str:
    return "HTTP/2.0" if version == "h2" else "HTTP/1.1"


# ---------------------------------------------------------------- curl and git


@to_both
@in_both
def test_curl(proxy: Intercepting, seen: Seen, origin: Origin, tmp_path: Path, version: str, scheme: str) -> None:
    options = ("--proxy", proxy.url, "--cacert", proxy.file, "--http2" if version == "h2" else "--http1.1")
    url = origin.url(scheme)
    assert curl(tmp_path, *options, "--write-out", "%{http_version}\n", url, url) == (LINE + b"%b\n") * 2 % (
        (b"2" if version == "h2" else b"1.1",) * 2
    )
    posted = curl(tmp_path, *options, "--data-binary", "@-", origin.url(scheme, "/digest"), said=MEGABYTE)
    assert json.loads(posted) == DIGEST
    pattern = bytes(range(256)) * 256
    assert curl(tmp_path, *options, origin.url(scheme, "/bytes/5000000")) == (pattern * 77)[:5_000_000]
    assert seen.versions(4) == {as_logged(version)}


@in_both
def test_git(proxy: Intercepting, seen: Seen, origin: Origin, repository: Path, tmp_path: Path, version: str) -> None:
    """Cloned, changed and pushed."""
    spoken = "HTTP/2" if version == "h2" else "HTTP/1.1"
    git = ("git", "-c", f"http.proxy={proxy.url}", "-c", f"http.sslCAInfo={proxy.file}", "-c", f"http.version={spoken}")
    me = ("-c", "user.name=me", "-c", "user.email=me@example")
    run(tmp_path, *git, "clone", "--quiet", origin.url("https", f"/git/{repository.name}"), "clone")
    clone = tmp_path / "clone"
    assert (clone / "content").read_bytes() == (repository.parent / "project" / "content").read_bytes()
    (clone / version).write_bytes(MEGABYTE)
    run(clone, *git, "add", version)
    run(clone, *git, *me, "commit", "--quiet", "--message", f"Push with {version}")
    run(clone, *git, "push", "--quiet", "origin", f"HEAD:refs/heads/opened-{version}")
    pushed = run(repository, "git", "rev-parse", f"refs/heads/opened-{version}").stdout
    assert pushed == run(clone, "git", "rev-parse", "HEAD").stdout
    # What there is, what is wanted of it; what there is, what is new.
    assert seen.versions(5) == {as_logged(version)}


# ---------------------------------------------------------------- Python


@to_both
@in_both
def test_httpx(proxy: Intercepting, seen: Seen, origin: Origin, version: str, scheme: str) -> None:
    """Fifty requests at the same time."""

    async def fetch_all() -> list[httpx.Response]:
        both = {"http1": version == "h1", "http2": version == "h2"}
        async with httpx.AsyncClient(proxy=proxy.url, verify=proxy.trust, trust_env=False, **both) as client:
            many = (client.get(origin.url(scheme)) for _ in range(50))
            return await asyncio.gather(*many, client.post(origin.url(scheme, "/digest"), content=MEGABYTE))

    *answers, posted = asyncio.run(fetch_all())
    assert [answer.content for answer in answers] == [LINE] * 50
    assert posted.json() == DIGEST
    assert {answer.http_version for answer in answers} == {"HTTP/2" if version == "h2" else "HTTP/1.1"}
    assert seen.versions(51) == {as_logged(version)}


@to_both
def test_requests(proxy: Intercepting, seen: Seen, origin: Origin, scheme: str) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {"https": proxy.url}
        session.verify = str(proxy.file)
        for _ in range(3):
            assert session.get(origin.url(scheme)).content == LINE
        # An iterator is sent chunked.
        answer = session.post(origin.url(scheme, "/digest"), data=iter([MEGABYTE[:1000], MEGABYTE[1000:]]))
        assert answer.json() == DIGEST
    assert seen.versions(4) == {"HTTP/1.1"}


@to_both
def test_aiohttp(proxy: Intercepting, seen: Seen, origin: Origin, scheme: str) -> None:
    """Twenty requests at the same time, and content that is made as it is sent."""

    async def pieces() -> Any:
        for start in range(0, len(MEGABYTE), 65536):
            yield MEGABYTE[start : start + 65536]

    async def talk() -> None:
        async with aiohttp.ClientSession() as session:

            async def fetch() -> bytes:
                async with session.get(origin.url(scheme), proxy=proxy.url, ssl=proxy.trust) as answer:
                    return await answer.read()

            assert await asyncio.gather(*(fetch() for _ in range(20))) == [LINE] * 20
            url = origin.url(scheme, "/digest")
            async with session.post(url, data=pieces(), proxy=proxy.url, ssl=proxy.trust) as answer:
                assert await answer.json() == DIGEST

    asyncio.run(talk())
    assert seen.versions(21) == {"HTTP/1.1"}


@to_both
def test_aiohttps_websocket(proxy: Intercepting, origin: Origin, tmp_path: Path, scheme: str) -> None:
    script = CLIENTS / "aiohttp_websocket.py"
    done = run(tmp_path, sys.executable, script, proxy.url, proxy.file, origin.url(scheme, "/socket"))
    assert json.loads(done.stdout) == [100_000, True, "bytes", 1000]


# ---------------------------------------------------------------- Node.js


@to_both
@in_both
@pytest.mark.parametrize("which", ["package", "node"])
def test_undici(
    proxy: Intercepting, seen: Seen, origin: Origin, tmp_path: Path, which: str, version: str, scheme: str
) -> None:
    """Debian's package and the one in Node; where one of them knows no HTTP/2 it goes on without."""
    environment = {"NODE_EXTRA_CA_CERTS": str(proxy.file), "NODE_PATH": NODE_MODULES}
    address = origin.url(scheme, "")
    done = run(tmp_path, "node", CLIENTS / "undici.js", which, version, proxy.url, address, environment=environment)
    told = json.loads(done.stdout)
    known = tuple(map(int, told["version"].split(".")[:2])) >= ALLOWS_HTTP2
    spoken = version if known else "h1"
    requests = 12 if which == "package" else 11
    assert told["answers"] == [LINE.decode()] * (requests - 1)
    assert told["digest"] == DIGEST
    assert ("h2" in told["protocols"]) == (spoken == "h2")
    assert seen.versions(requests) == {as_logged(spoken)}


@to_both
def test_node_http2(proxy: Intercepting, seen: Seen, origin: Origin, tmp_path: Path, scheme: str) -> None:
    """A hundred streams at once on one connection."""
    environment = {"NODE_EXTRA_CA_CERTS": str(proxy.file)}
    url = origin.url(scheme, "/bytes/10000")
    got = run(tmp_path, "node", CLIENTS / "http2.js", proxy.url, url, "100", environment=environment)
    assert json.loads(got.stdout) == [[200, 10_000]] * 100
    assert seen.versions(100) == {"HTTP/2.0"}
