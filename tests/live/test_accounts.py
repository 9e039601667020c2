"""Accounts with a real daemon and real clients."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests

from tests.live.command import run
from tests.live.daemon import PYPROXYCTL, Daemon, awaited
from tests.live.origin import LINE, Authority, Origin
from twistedproxy.accounts.hashes import make
from twistedproxy.http.digest import digest_of, hash_of_name

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "accounts.md").read_text(encoding="utf-8")
RECIPES = (DOCS / "access.md").read_text(encoding="utf-8")

CURL = ("curl", "--disable", "--silent", "--show-error", "--noproxy", "")


def account_files(directory: Path) -> dict[str, str]:
    """The settings of a proxy whose accounts are ann and bob, with the password secret."""
    accounts, digests = directory / "accounts", directory / "digests"
    accounts.write_bytes(b"ann:" + make(b"secret", "bcrypt", 10) + b"\nbob:" + make(b"secret", "scrypt", 14) + b"\n")
    digests.write_bytes(b"ann:proxy:" + digest_of(b"ann", b"proxy", b"secret") + b"\n")
    for path in (accounts, digests):
        path.chmod(0o600)
    return {
        "accounts.required": "true",
        "accounts.htpasswd_file": str(accounts),
        "accounts.digest_file": str(digests),
        "accounts.schemes": '["digest", "basic"]',
        "access.connect_ports": "all",
        "log.format": "json",
    }


@pytest.fixture(scope="module", params=[1, 2])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A proxy that needs accounts, with one worker and with two."""
    directory = tmp_path_factory.mktemp("guarded")
    settings = account_files(directory) | {"service.workers": str(request.param)}
    started = Daemon(directory, settings=settings).start()
    yield started
    started.stop()


def curl(guarded: Daemon, *words: str) -> bytes:
    """What curl puts out when it goes through the proxy."""
    return run(guarded.directory, *CURL, "--proxy", guarded.url, *words).stdout


STATUS = ("--output", "/dev/null", "--write-out", "%{http_code} %{http_connect}")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("how", ["--proxy-basic", "--proxy-digest", "--proxy-anyauth"])
def test_curl(guarded: Daemon, origin: Origin, authority: Authority, scheme: str, how: str) -> None:
    words = ("--proxy-user", "ann:secret", how, "--cacert", str(authority.file), origin.url(scheme))
    assert curl(guarded, *words) == LINE


@pytest.mark.parametrize("how", ["--proxy-basic", "--proxy-digest"])
def test_curl_with_a_wrong_password(guarded: Daemon, origin: Origin, how: str) -> None:
    assert curl(guarded, "--proxy-user", "eve:guess", how, *STATUS, origin.url("http")) == b"407 000"


def test_curl_without_one(guarded: Daemon, origin: Origin) -> None:
    assert curl(guarded, *STATUS, origin.url("http")) == b"407 000"


@pytest.mark.parametrize("credentials", ["bob:secret", "ann:secret"])
def test_the_connection_stays(guarded: Daemon, origin: Origin, credentials: str) -> None:
    """RFC 9112 section 9.3: 407 is an answer like any other."""
    proof = base64.b64encode(credentials.encode()).decode()
    with socket.create_connection(("127.0.0.1", guarded.port), 20) as client:
        for field, status in (("", "407"), (f"Proxy-Authorization: Basic {proof}\r\n", "200")) * 2:
            client.sendall(f"GET {origin.url('http')} HTTP/1.1\r\nHost: x\r\n{field}\r\n".encode())
            assert answered(client).startswith(f"HTTP/1.1 {status} ".encode())
        for field, status in (("", "407"), (f"Proxy-Authorization: Basic {proof}\r\n", "200")):
            target = f"127.0.0.1:{origin.port('http')}"
            client.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{field}\r\n".encode())
            assert answered(client).startswith(f"HTTP/1.1 {status} ".encode())
        client.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answered(client).endswith(LINE)


def answered(client: socket.socket) -> bytes:
    """One answer, with its content."""
    said = b""
    while b"\r\n\r\n" not in said:
        piece = client.recv(65536)
        assert piece
        said += piece
    head, _, content = said.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: ([0-9]+)", head)
    while length is not None and len(content) < int(length[1]):
        piece = client.recv(65536)
        assert piece
        content += piece
    return head + b"\r\n\r\n" + content


def proxy_url(daemon: Daemon, credentials: str = "ann:secret") -> str:
    """The proxy, as programs are told of it."""
    return f"http://{credentials}@{daemon.address}"


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_requests(guarded: Daemon, origin: Origin, authority: Authority, scheme: str) -> None:
    url = origin.url(scheme)
    with requests.Session() as session:
        session.trust_env = False
        session.verify = str(authority.file)
        session.proxies = {scheme: proxy_url(guarded)}
        assert [session.get(url, timeout=20).content for _ in range(3)] == [LINE] * 3
        session.proxies = {scheme: proxy_url(guarded, "ann:guess")}
        if scheme == "http":
            assert session.get(url, timeout=20).status_code == 407
        else:
            with pytest.raises(requests.exceptions.ProxyError, match="407"):
                session.get(url, timeout=20)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_httpx(guarded: Daemon, origin: Origin, authority: Authority, scheme: str) -> None:
    context = ssl.create_default_context(cafile=str(authority.file))
    with httpx.Client(proxy=proxy_url(guarded), verify=context, trust_env=False, timeout=20) as client:
        assert [client.get(origin.url(scheme)).content for _ in range(3)] == [LINE] * 3


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_aiohttp(guarded: Daemon, origin: Origin, authority: Authority, scheme: str) -> None:
    context = ssl.create_default_context(cafile=str(authority.file))

    async def fetch() -> list[bytes]:
        async with aiohttp.ClientSession() as session:

            async def get() -> bytes:
                async with session.get(origin.url(scheme), proxy=proxy_url(guarded), ssl=context) as answer:
                    return await answer.read()

            return await asyncio.gather(*(get() for _ in range(20)))

    assert asyncio.run(fetch()) == [LINE] * 20


def test_git(guarded: Daemon, origin: Origin, repository: Path, tmp_path: Path) -> None:
    url = origin.url("http", f"/git/{repository.name}")
    run(tmp_path, "git", "-c", f"http.proxy={proxy_url(guarded)}", "clone", "--quiet", url, "clone")
    assert (tmp_path / "clone" / "content").stat().st_size == 1024 * 1024


def test_names_are_in_the_log_and_passwords_are_not(guarded: Daemon, origin: Origin) -> None:
    """Whatever the name is made of."""
    odd = ("n" * 300, "a b\tc", "Jörg", 'x"y\\z')
    for name in odd:
        curl(guarded, "--proxy-user", f"{name}:opensesame", "--proxy-basic", *STATUS, origin.url("http", "/odd"))

    def lines() -> list[str]:
        return [line for line in guarded.access_log.read_text().splitlines() if "/odd" in line]

    # Each worker writes its own in its own time.
    awaited(lambda: len(lines()) == len(odd), "the lines")
    written = [json.loads(line)["user"] for line in lines()]
    # What has a control character is not taken for a name.
    assert sorted(map(str, written)) == sorted(["n" * 300, "None", "Jörg", 'x"y\\z'])
    assert "opensesame" not in guarded.access_log.read_text() + guarded.log
    assert "Proxy-Authorization" not in guarded.access_log.read_text()


def test_guesses_are_slow_and_others_do_not_wait(tmp_path: Path, origin: Origin) -> None:
    settings = account_files(tmp_path) | {"accounts.slow_down": "4"}
    daemon = Daemon(tmp_path, settings=settings).start()
    url = origin.url("http")
    try:
        assert curl(daemon, "--proxy-user", "bob:secret", "--proxy-basic", url) == LINE
        began = time.monotonic()
        for number in range(5):
            words = ("--proxy-user", f"ann:guess{number}", "--proxy-basic", *STATUS, url)
            assert curl(daemon, *words) == b"407 000"
        # Waits of 0.25, 0.5, 1 and 2 s lie between the five.
        guessing = time.monotonic() - began
        assert 3.75 <= guessing < 8
        began = time.monotonic()
        assert curl(daemon, "--proxy-user", "bob:secret", "--proxy-basic", url) == LINE
        assert curl(daemon, "--interface", "127.0.0.2", "--proxy-user", "ann:secret", "--proxy-basic", url) == LINE
        assert time.monotonic() - began < 2
    finally:
        daemon.stop()


def test_the_file_is_changed_while_the_proxy_runs(tmp_path: Path, origin: Origin) -> None:
    daemon = Daemon(tmp_path, settings=account_files(tmp_path) | {"accounts.slow_down": "0"}).start()
    url = origin.url("http")
    file = tmp_path / "accounts"
    try:
        assert curl(daemon, "--proxy-user", "eve:word", "--proxy-basic", *STATUS, url) == b"407 000"
        done = daemon.control("passwd", "--help")
        assert "--delete" in done.stdout
        run(tmp_path, PYPROXYCTL, "passwd", "--stdin", "--cost", "10", file, "eve", said=b"word\n")

        def status(credentials: str) -> bytes:
            return curl(daemon, "--proxy-user", credentials, "--proxy-basic", *STATUS, url)[:3]

        awaited(lambda: status("eve:word") == b"200", "the new account")
        run(tmp_path, PYPROXYCTL, "passwd", "--delete", file, "eve")
        awaited(lambda: status("eve:word") == b"407", "that it is gone")
        content = file.read_bytes()
        file.write_bytes(content + b"old:$apr1$x$y\n")
        awaited(lambda: status("ann:secret") == b"200" and "not read again" in daemon.log, "the mistake")
        assert f'{file}:3: the account "old": its hash is Apache\'s MD5 (apr1)' in daemon.log
        daemon.reload()
        assert "the settings were not reloaded: the old ones stay in force" in daemon.log
        file.write_bytes(content)
        daemon.reload()
        assert status("ann:secret") == b"200"
    finally:
        daemon.stop()


def test_a_file_with_a_mistake_is_no_beginning(tmp_path: Path) -> None:
    settings = account_files(tmp_path)
    (tmp_path / "accounts").write_text("ann:$apr1$x$y\nbob:opensesame\n")
    for arguments in ((), ("--check",)):
        status, said = Daemon(tmp_path, settings=settings).attempt(*arguments)
        assert status == 1
        assert '1: the account "ann": its hash is Apache\'s MD5 (apr1), which is found out too fast' in said
        assert '2: the account "bob": its hash is of no kind that this proxy knows, or a plain password' in said
        assert "opensesame" not in said


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_hashed_name(tmp_path: Path, origin: Origin, authority: Authority, scheme: str) -> None:
    """curl hashes it where that is offered; the log has it all the same."""
    daemon = Daemon(tmp_path, settings=account_files(tmp_path) | {"accounts.userhash": "true"}).start()
    words = ("--proxy-digest", "--verbose", "--cacert", str(authority.file), origin.url(scheme))
    try:
        done = run(tmp_path, *CURL, "--proxy", daemon.url, "--proxy-user", "ann:secret", *words)
        assert done.stdout == LINE
        said = done.stderr.decode()
        [sent] = re.findall(r'^> Proxy-Authorization: Digest (.*nonce="[^"]+".*)$', said, re.MULTILINE)
        assert "userhash=true" in sent
        assert f'username="{hash_of_name(b"ann", b"proxy").decode()}"' in sent
        awaited(lambda: "ann" in [json.loads(line)["user"] for line in daemon.lines_so_far()], "the name")
        assert curl(daemon, "--proxy-user", "ann:guess", "--proxy-digest", *STATUS, origin.url("http")) == b"407 000"
    finally:
        daemon.stop()


def test_a_checker_of_ones_own(tmp_path: Path, origin: Origin) -> None:
    """The one in docs/accounts.md."""
    [source] = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "example_site.py").write_text(source)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    settings = account_files(tmp_path) | {"accounts.checkers": "example_site.Checker"}
    daemon = Daemon(tmp_path, settings=settings, environment={"PYTHONPATH": path}).start()
    try:
        for credentials, expected in {"guest:welcome": b"200", "guest:guess": b"407", "ann:secret": b"200"}.items():
            words = ("--proxy-user", credentials, "--proxy-basic", *STATUS, origin.url("http"))
            assert curl(daemon, *words)[:3] == expected
    finally:
        daemon.stop()


def test_the_public_proxy_of_the_page(tmp_path: Path, origin: Origin, authority: Authority) -> None:
    """The settings file in docs/access.md, but for paths, ports and what is on loopback here."""
    [text] = re.findall(r"^<!-- recipe: public -->\n```toml\n(.*?)^```", RECIPES, re.MULTILINE | re.DOTALL)
    account_files(tmp_path)
    (tmp_path / "groups").write_text("staff: ann\n")
    (tmp_path / "monitoring-password").write_text("watch this\n")
    (tmp_path / "monitoring-password").chmod(0o600)
    for here, there in (
        ("/etc/twistedproxy/key.pem", str(authority.leaf)),
        ("/etc/twistedproxy/chain.pem", str(authority.leaf)),
        ("/etc/twistedproxy", str(tmp_path)),
        ("/var/log/twistedproxy", str(tmp_path)),
        ("8443", "0"),
        ("0.0.0.0", "127.0.0.1"),
        ("connect_ports = [443]", f"connect_ports = [{origin.port('https')}]"),
        (', "private", "loopback"]', "]"),
        ('"status.example.com"', '"127.0.0.1"'),
    ):
        assert here in text
        text = text.replace(here, there)
    daemon = Daemon(tmp_path, listen=(), file=text).start()
    url = origin.url("https")
    proxy = f"https://{daemon.address}"
    trust = ("--proxy-cacert", authority.file, "--cacert", authority.file)
    try:
        for credentials, expected in {
            "ann:secret": b"200 200",
            "monitoring:watch this": b"200 200",
            "ann:guess": b"000 407",
            "nobody:secret": b"000 407",
        }.items():
            words = [*CURL, *trust, "--proxy", proxy, "--proxy-user", credentials, *STATUS, url]
            done = subprocess.run(list(map(str, words)), capture_output=True, timeout=50, check=False)
            assert done.stdout == expected, done
        elsewhere = [*CURL, *trust, "--proxy", proxy, "--proxy-user", "monitoring:watch this", *STATUS]
        done = subprocess.run(
            [*map(str, elsewhere), f"https://elsewhere.example:{origin.port('https')}/"],
            capture_output=True,
            timeout=50,
            check=False,
        )
        assert done.stdout == b"000 403", done
        entries = daemon.access_entries(5)
        assert [entry["user"] for entry in entries] == ["ann", "monitoring", "ann", "nobody", "monitoring"]
        assert entries[-1]["rule"] == "robots do their work", entries[-1]
        limits = json.loads(daemon.control("limits", "--json").stdout)
        assert {share["key"] for share in limits["shares"]} == {"user ann", "user monitoring"}
    finally:
        daemon.stop()


def test_a_rule_asks_and_goes_by_groups(tmp_path: Path, origin: Origin) -> None:
    (tmp_path / "groups").write_text("staff: ann\n")
    settings = account_files(tmp_path) | {
        "accounts.required": "false",
        "accounts.group_file": str(tmp_path / "groups"),
        "access.rules": (
            '[{ name = "public", paths = ["/hello"], action = "allow" }, { action = "ask" }, '
            '{ name = "staff", groups = ["staff"], action = "allow" }, { name = "others", action = "deny" }]'
        ),
    }
    daemon = Daemon(tmp_path, settings=settings).start()
    try:
        for path, credentials, expected in (
            ("/hello", "", b"200"),
            ("/digest", "", b"407"),
            ("/digest", "ann:secret", b"200"),
            ("/digest", "bob:secret", b"403"),
        ):
            words = ("--proxy-user", credentials, "--proxy-basic") if credentials else ()
            assert curl(daemon, *words, *STATUS, origin.url("http", path))[:3] == expected, (path, credentials)
        assert [(entry["user"], entry["rule"]) for entry in daemon.access_entries(4)] == [
            (None, "public"),
            (None, "access.rules[1]"),
            ("ann", "staff"),
            ("bob", "others"),
        ]
    finally:
        daemon.stop()
