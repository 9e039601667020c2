"""Clients' certificates with a real daemon and real clients: who comes in, and as whom."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.live.command import run
from tests.live.daemon import Daemon, awaited
from tests.live.origin import LINE, Authority, Origin
from tests.live.test_accounts import CURL, PAGE, STATUS, account_files, answered

TODAY = datetime.now(UTC)


class Clients:
    """An authority for clients, and what it has signed, in files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = trustme.CA(organization_name="clients")
        self.file = directory / "clients.pem"
        self.trust(self.authority)

    def trust(self, *authorities: trustme.CA) -> None:
        self.file.write_bytes(b"".join(one.cert_pem.bytes() for one in authorities))

    def issue(self, name: str, authority: trustme.CA | None = None, *, days: int = 1) -> Path:
        """A file with a key and a certificate of that common name, which ends in so many ``days``."""
        path = self.directory / f"{name}-{len(os.listdir(self.directory))}.pem"
        issued = (authority or self.authority).issue_cert(
            f"{name}.example", common_name=name, not_before=TODAY - timedelta(days=9), not_after=TODAY + timedelta(days)
        )
        issued.private_key_and_cert_chain_pem.write_to_path(str(path))
        return path


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Clients:
    return Clients(tmp_path_factory.mktemp("clients"))


def asking(directory: Path, authority: Authority, clients: Clients, settings: dict[str, str], more: str = "") -> Daemon:
    """A proxy that asks for certificates."""
    listen = f"ssl:0:interface=127.0.0.1:privateKey={authority.leaf}:clientCA={clients.file}{more}"
    return Daemon(directory, listen=(listen,), settings=account_files(directory) | settings).start()


@pytest.fixture(scope="module", params=[1, 2])
def choosing(
    request: pytest.FixtureRequest, authority: Authority, clients: Clients, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    """A proxy that takes certificates or passwords, with one worker and with two."""
    settings = {"service.workers": str(request.param)}
    started = asking(tmp_path_factory.mktemp("choosing"), authority, clients, settings, ":clientCertificate=optional")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def strict(authority: Authority, clients: Clients, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A proxy that nobody reaches without a certificate."""
    settings = {"accounts.certificate_accounts": "all"}
    started = asking(tmp_path_factory.mktemp("strict"), authority, clients, settings)
    yield started
    started.stop()


def curl(proxy: Daemon, authority: Authority, *words: str, shown: Path | None = None, fine: bool = True) -> str:
    """What curl puts out when it goes through the proxy; what it complains of when that is not ``fine``."""
    trust = str(authority.file)
    way = ("--proxy", f"https://{proxy.address}", "--proxy-cacert", trust, "--cacert", trust)
    if shown is not None:
        way += ("--proxy-cert", str(shown), "--proxy-key", str(shown))
    command = [*CURL, *way, *words]
    if fine:
        return run(proxy.directory, *command).stdout.decode()
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode
    return done.stderr


def users(proxy: Daemon, mark: str) -> list[object]:
    """Whose the requests with ``mark`` were, as far as they are written down."""
    return [json.loads(line)["user"] for line in proxy.lines_so_far() if mark in line]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("name", ["ann", "bob"])
def test_curl(choosing: Daemon, origin: Origin, authority: Authority, clients: Clients, scheme: str, name: str) -> None:
    url = origin.url(scheme)
    assert curl(choosing, authority, url, shown=clients.issue(name)).encode() == LINE
    mark = url if scheme == "http" else str(origin.port("https"))
    awaited(lambda: name in users(choosing, mark), "its line in the log")


def test_with_and_without(choosing: Daemon, origin: Origin, authority: Authority, clients: Clients) -> None:
    url = origin.url("http")
    by_password = ("--proxy-user", "bob:secret", "--proxy-basic")
    ann, eve = clients.issue("ann"), clients.issue("eve")
    assert curl(choosing, authority, *STATUS, url) == "407 000"
    assert curl(choosing, authority, *by_password, url).encode() == LINE
    assert curl(choosing, authority, *STATUS, url, shown=eve) == "407 000"
    assert curl(choosing, authority, *by_password, url, shown=eve).encode() == LINE
    # What is said for the one request goes first.
    marked = origin.url("http", "/both")
    assert curl(choosing, authority, *by_password, *STATUS, marked, shown=ann).endswith("000")
    assert awaited(lambda: users(choosing, "/both"), "its line in the log") == ["bob"]
    wrong = ("--proxy-user", "bob:guess", "--proxy-basic")
    assert curl(choosing, authority, *wrong, *STATUS, url, shown=ann) == "407 000"


def test_those_that_are_not_taken(
    choosing: Daemon, strict: Daemon, origin: Origin, authority: Authority, clients: Clients
) -> None:
    """They get an alert that says why."""
    url = origin.url("http")
    for proxy in (choosing, strict):
        for shown, alert in (
            (clients.issue("ann", trustme.CA()), "unknown ca"),
            (clients.issue("ann", days=-1), "certificate expired"),
        ):
            assert alert in curl(proxy, authority, url, shown=shown, fine=False)
        proxy.await_log("warn .*a client's certificate was not taken at ssl:0:")


def test_nobody_comes_in_without_one(strict: Daemon, origin: Origin, authority: Authority, clients: Clients) -> None:
    url = origin.url("http", "/strict")
    assert "certificate required" in curl(strict, authority, url, fine=False)
    curl(strict, authority, *STATUS, url, shown=clients.issue("whoever"))
    assert awaited(lambda: users(strict, "/strict"), "its line in the log") == ["whoever"]


def secured(proxy: Daemon, authority: Authority, shown: Path) -> ssl.SSLSocket:
    """A connection of the standard library's."""
    context = ssl.create_default_context(cafile=str(authority.file))
    context.load_cert_chain(shown)
    plain = socket.create_connection(("127.0.0.1", proxy.port), 20)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_one_connection(choosing: Daemon, origin: Origin, authority: Authority, clients: Clients) -> None:
    """Requests, and then a tunnel."""
    with secured(choosing, authority, clients.issue("ann")) as client:
        for _ in range(3):
            client.sendall(f"GET {origin.url('http')} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert answered(client).endswith(LINE)
        target = f"127.0.0.1:{origin.port('http')}"
        client.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        assert answered(client).startswith(b"HTTP/1.1 200 ")
        client.sendall(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answered(client).endswith(LINE)


@pytest.mark.parametrize("count", [1, 2])
def test_reload(tmp_path: Path, origin: Origin, authority: Authority, count: int) -> None:
    """Accounts and authorities that go: the former also for who is connected, the latter for who comes."""
    clients = Clients(tmp_path)
    settings = {"service.workers": str(count)}
    proxy = asking(tmp_path, authority, clients, settings, ":clientCertificate=optional")
    url = origin.url("http")
    ask = f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    ann, bob = clients.issue("ann"), clients.issue("bob")
    try:
        with secured(proxy, authority, ann) as client:
            client.sendall(ask)
            assert answered(client).endswith(LINE)
            accounts = (tmp_path / "accounts").read_bytes()
            (tmp_path / "accounts").write_bytes(accounts.replace(b"ann:", b"eve:"))
            (tmp_path / "digests").write_bytes(b"")
            proxy.reload()
            client.sendall(ask)
            assert answered(client).startswith(b"HTTP/1.1 407 ")
        assert curl(proxy, authority, url, shown=bob).encode() == LINE
        with secured(proxy, authority, bob) as client:
            clients.trust(trustme.CA())
            proxy.reload()
            assert "unknown ca" in curl(proxy, authority, url, shown=bob, fine=False)
            client.sendall(ask)
            assert answered(client).endswith(LINE), "the connection was verified when it began"
        clients.file.write_bytes(b"")
        proxy.reload()
        assert f"{clients.file} has no certificate, or one that cannot be read" in proxy.log
        assert "the settings were not reloaded: the old ones stay in force" in proxy.log
        clients.trust(clients.authority)
        proxy.reload()
        assert curl(proxy, authority, url, shown=bob).encode() == LINE
    finally:
        proxy.stop()


def test_the_recipe(tmp_path: Path, origin: Origin, authority: Authority) -> None:
    """What docs/accounts.md says is done as it stands there, with openssl and curl."""
    section = PAGE[PAGE.index("## Certificates of clients") :]
    [toml] = re.findall(r"^```toml\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    make, fetch, revoke = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    account_files(tmp_path)
    run(tmp_path, "sh", "-euc", make)
    listing = revoke.replace("pyproxyctl reload", "")
    run(tmp_path, "sh", "-euc", "\n".join(line for line in listing.splitlines() if "-revoke" not in line))
    for here, there in (
        ("/etc/twistedproxy/key.pem", str(authority.leaf)),
        ("/etc/twistedproxy/chain.pem", str(authority.leaf)),
        ("/etc/twistedproxy", str(tmp_path)),
        ("ssl:8443", "ssl:0:interface=127.0.0.1"),
    ):
        toml = toml.replace(here, there)
    toml += f"\n[access]\nconnect_ports = [{origin.port('https')}]\n"
    toml += f'[log]\nformat = "json"\naccess = "{tmp_path}/access.log"\n'
    proxy = Daemon(tmp_path, listen=(), file=toml).start()
    trust = f"--cacert '{authority.file}' --proxy-cacert '{authority.file}' --noproxy '' --silent --show-error"
    words = fetch.replace("curl ", f"curl --disable {trust} ").replace("https://example.org/", origin.url("https"))
    words = words.replace("proxy.example.com:8443", proxy.address)
    try:
        assert run(tmp_path, "sh", "-euc", words).stdout == LINE
        assert awaited(lambda: users(proxy, "CONNECT"), "its line in the log") == ["build"]
        run(tmp_path, "sh", "-euc", "\n".join(line for line in listing.splitlines() if "printf" not in line))
        proxy.reload()
        done = subprocess.run(["sh", "-euc", words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert "certificate revoked" in done.stderr
    finally:
        proxy.stop()
