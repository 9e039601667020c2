"""Clients that people use, through a real proxy: Python's, Node's, git and pip, each for http and in a tunnel."""

from __future__ import annotations

import asyncio
import hashlib
import json
import ssl
import sys
from pathlib import Path
from urllib.request import HTTPSHandler, ProxyHandler, build_opener
from zipfile import ZipFile

import aiohttp
import httpx
import pytest
import requests

from tests.live.command import run
from tests.live.daemon import Daemon
from tests.live.origin import LINE, Authority, Origin

CLIENTS = Path(__file__).with_name("clients")
CONTENT = bytes(range(256)) * 4096

for_both = pytest.mark.parametrize("scheme", ["http", "https"])


@pytest.fixture(scope="session")
def trust(authority: Authority) -> ssl.SSLContext:
    """What trusts the origins."""
    return ssl.create_default_context(cafile=str(authority.file))


def digest(content: bytes) -> dict[str, object]:
    """What the origin says of ``content`` when it gets it."""
    return {"length": len(content), "sha256": hashlib.sha256(content).hexdigest()}


# ---------------------------------------------------------------- Python


@for_both
def test_urllib(proxy: Daemon, origin: Origin, trust: ssl.SSLContext, scheme: str) -> None:
    opener = build_opener(ProxyHandler({scheme: proxy.url}), HTTPSHandler(context=trust))
    with opener.open(origin.url(scheme)) as answer:
        assert (answer.status, answer.read()) == (200, LINE)
    with opener.open(origin.url(scheme, "/digest"), CONTENT) as answer:
        assert json.load(answer) == digest(CONTENT)


@for_both
def test_requests(proxy: Daemon, origin: Origin, authority: Authority, scheme: str) -> None:
    with requests.Session() as session:
        session.trust_env = False
        session.proxies = {scheme: proxy.url}
        session.verify = str(authority.file)
        for _ in range(3):
            assert session.get(origin.url(scheme)).content == LINE
        # An iterator is sent chunked.
        answer = session.post(origin.url(scheme, "/digest"), data=iter([CONTENT, CONTENT]))
        assert answer.json() == digest(CONTENT * 2)
        assert session.get(origin.url(scheme, "/chunked/1000000")).content == (CONTENT)[:1_000_000]


@for_both
def test_httpx(proxy: Daemon, origin: Origin, trust: ssl.SSLContext, scheme: str) -> None:
    with httpx.Client(proxy=proxy.url, verify=trust, trust_env=False) as client:
        for _ in range(3):
            assert client.get(origin.url(scheme)).content == LINE
        assert client.post(origin.url(scheme, "/digest"), content=CONTENT).json() == digest(CONTENT)


@for_both
def test_aiohttp(proxy: Daemon, origin: Origin, trust: ssl.SSLContext, scheme: str) -> None:
    """Twenty requests at the same time."""

    async def fetch_all() -> list[bytes]:
        async with aiohttp.ClientSession() as session:

            async def fetch() -> bytes:
                async with session.get(origin.url(scheme), proxy=proxy.url, ssl=trust) as answer:
                    return await answer.read()

            return await asyncio.gather(*(fetch() for _ in range(20)))

    assert asyncio.run(fetch_all()) == [LINE] * 20


# ---------------------------------------------------------------- Node.js


@for_both
def test_node(tmp_path: Path, proxy: Daemon, origin: Origin, authority: Authority, scheme: str) -> None:
    environment = {"NODE_EXTRA_CA_CERTS": str(authority.file)}
    script = CLIENTS / "fetch.js"
    got = run(tmp_path, "node", script, proxy.url, origin.url(scheme), environment=environment)
    assert got.stdout == b"200\n" + LINE
    posted = run(tmp_path, "node", script, proxy.url, origin.url(scheme, "/digest"), "content", environment=environment)
    status, _, content = posted.stdout.partition(b"\n")
    assert (status, json.loads(content)) == (b"200", digest(b"content"))


def test_node_keeps_its_connection(tmp_path: Path, proxy: Daemon, origin: Origin) -> None:
    script = CLIENTS / "keep_alive.js"
    assert run(tmp_path, "node", script, proxy.url, origin.url("http"), "10").stdout == b"1\n"


# ---------------------------------------------------------------- git and pip


@for_both
def test_git(
    tmp_path: Path, proxy: Daemon, origin: Origin, authority: Authority, repository: Path, scheme: str
) -> None:
    """Cloned, changed and pushed."""
    git = ("git", "-c", f"http.proxy={proxy.url}", "-c", f"http.sslCAInfo={authority.file}")
    me = ("-c", "user.name=me", "-c", "user.email=me@example")
    run(tmp_path, *git, "clone", "--quiet", origin.url(scheme, f"/git/{repository.name}"), "clone")
    clone = tmp_path / "clone"
    assert (clone / "content").read_bytes() == (repository.parent / "project" / "content").read_bytes()
    (clone / scheme).write_bytes(CONTENT)
    run(clone, *git, "add", scheme)
    run(clone, *git, *me, "commit", "--quiet", "--message", f"Push with {scheme}")
    run(clone, *git, "push", "--quiet", "origin", f"HEAD:refs/heads/{scheme}")
    pushed = run(repository, "git", "rev-parse", f"refs/heads/{scheme}").stdout
    assert pushed == run(clone, "git", "rev-parse", "HEAD").stdout


@pytest.fixture(scope="session")
def index(origin: Origin) -> str:
    """The path of a package index with one package."""
    project = origin.directory / "simple" / "nothing-much"
    project.mkdir(parents=True)
    wheel = "nothing_much-1.0-py3-none-any.whl"
    with ZipFile(project / wheel, "w") as archive:
        archive.writestr("nothing_much.py", "")
        info = "nothing_much-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: nothing-much\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    (project / "index.html").write_text(f'<!doctype html><a href="{wheel}">{wheel}</a>')
    return "/files/simple/"


@for_both
def test_pip(tmp_path: Path, proxy: Daemon, origin: Origin, authority: Authority, index: str, scheme: str) -> None:
    run(
        tmp_path,
        *(sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--no-cache-dir"),
        *("download", "--quiet", "--no-deps", "--proxy", proxy.url, "--cert", authority.file),
        *("--index-url", origin.url(scheme, index), "nothing-much"),
        environment={"PIP_CONFIG_FILE": "/dev/null"},
    )
    wheel = "nothing_much-1.0-py3-none-any.whl"
    there = origin.directory / "simple" / "nothing-much" / wheel
    assert (tmp_path / wheel).read_bytes() == there.read_bytes()
