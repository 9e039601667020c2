"""Accounts with a real daemon and real clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.command import run
from tests.live.daemon import Daemon
from tests.live.origin import LINE, Authority, Origin
from twistedproxy.accounts.hashes import make
from twistedproxy.http.digest import digest_of

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
