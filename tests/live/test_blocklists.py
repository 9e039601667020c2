"""Lists of what is blocked, on a real daemon with one worker and with two, asked by curl."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.crew import workers as crew
from tests.live.daemon import ANY_PORT, Daemon, awaited
from tests.live.fetch import fetch
from tests.live.list_server import ListServer
from tests.live.load import Load
from tests.live.origin import Origin

MakeDaemon = Callable[..., Daemon]

WORKERS = pytest.mark.parametrize("workers", [1, 2])


def settings(workers: int, *tables: str, more: str = "") -> str:
    """The text of a settings file."""
    lists = "".join(f"[[blocklists.lists]]\n{table}\n" for table in tables)
    return (
        f"[service]\nworkers = {workers}\n[downstream]\nlisten = ['{ANY_PORT}']\n"
        f'[access]\nconnect_ports = ["all"]\n{more}\n{lists}'
    )


def curl(proxy: Daemon, url: str, *options: str) -> tuple[int, int]:
    """The status of the answer, or that to CONNECT where there was none in the tunnel."""
    command = [
        "curl",
        "--silent",
        "--max-time",
        "10",
        "--output",
        os.devnull,
        "--proxy",
        f"http://127.0.0.1:{proxy.port}",
    ]
    command += ["--insecure", "--noproxy", "", "--write-out", "%{http_code} %{http_connect}", *options, url]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    return int(found[0]), int(found[1])


def same_state(proxy: Daemon) -> dict[str, str]:
    """The variables of another daemon that finds what ``proxy`` has kept."""
    return {"STATE_DIRECTORY": str(proxy.directory)}


@pytest.fixture
def ads(tmp_path: Path) -> str:
    path = tmp_path / "ads.txt"
    path.write_text("ads.test\n||localhost/blocked\n")
    return f'name = "ads"\ncategory = "advertising"\nsource = "{path}"'


@WORKERS
def test_plain_and_tunnels(workers: int, ads: str, make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(listen=(), file=settings(workers, ads)).start()
    port = origin.port("http")
    secure = origin.port("https")
    for _ in range(4):
        assert curl(proxy, "http://x.ads.test/") == (403, 0)
        assert curl(proxy, "https://ads.test/") == (0, 403)
        assert curl(proxy, f"http://localhost:{port}/blocked/x") == (403, 0)
        assert curl(proxy, f"http://localhost:{port}/hello") == (200, 0)
        # The CONNECT is for an address, and the ClientHello names who is meant.
        to_address = ("--connect-to", f"ads.test:{secure}:127.0.0.1:{secure}")
        assert curl(proxy, f"https://ads.test:{secure}/", *to_address) == (0, 200)
        to_address = ("--connect-to", f"fine.test:{secure}:127.0.0.1:{secure}")
        assert curl(proxy, f"https://fine.test:{secure}/hello", *to_address) == (200, 200)


@WORKERS
def test_looked_into(workers: int, ads: str, make_daemon: MakeDaemon, origin: Origin) -> None:
    secure = origin.port("https")
    more = (
        '[intercept]\nmode = "all-but"\nports = ["all"]\n[[upstream_tls.hosts]]\nnames = ["localhost"]\nverify = false'
    )
    proxy = make_daemon(listen=(), file=settings(workers, ads, more=more)).start()
    assert curl(proxy, f"https://localhost:{secure}/hello") == (200, 200)
    assert curl(proxy, f"https://localhost:{secure}/blocked/x") == (403, 200)


@WORKERS
def test_own_entries_are_in_effect_everywhere_and_kept(
    workers: int, ads: str, make_daemon: MakeDaemon, origin: Origin
) -> None:
    proxy = make_daemon(listen=(), file=settings(workers, ads)).start()
    url = origin.url("http").replace("127.0.0.1", "localhost")
    assert proxy.control("block", "add", "localhost.").returncode == 1
    assert proxy.control("block", "add", "own.test").returncode == 0
    assert {curl(proxy, "http://own.test/") for _ in range(6)} == {(403, 0)}
    assert proxy.control("block", "add", "--allow", "ads.test").returncode == 0
    assert {curl(proxy, "http://ads.test/")[0] for _ in range(6)} == {502}
    told = json.loads(proxy.control("block", "test", "--json", "own.test").stdout)
    assert (told["blocked"], told["list"], told["rule"]) == (True, "local", "own.test")
    proxy.stop()
    proxy = make_daemon(listen=(), file=settings(workers, ads), environment=same_state(proxy)).start()
    assert curl(proxy, "http://own.test/") == (403, 0)
    assert proxy.control("block", "remove", "own.test").returncode == 0
    assert {curl(proxy, "http://own.test/")[0] for _ in range(6)} == {502}
    assert fetch(proxy, url).status == 200
    assert "ads" in proxy.control("block").stdout


@WORKERS
def test_a_list_from_a_server(workers: int, make_daemon: MakeDaemon, list_server: ListServer, origin: Origin) -> None:
    list_server.content = b"".join(b"n%d.test\n" % number for number in range(20_000))
    table = f'name = "ads"\nsource = "{list_server.url}"'
    proxy = make_daemon(listen=(), file=settings(workers, table)).start()
    awaited(lambda: curl(proxy, "http://n19999.test/") == (403, 0), "the list is in use")
    assert proxy.control("block", "refresh").stdout == "nothing changed\n"
    assert list_server.statuses == [200, 304]
    with Load(proxy.address, origin.url("http"), threads=4, least=20) as load:
        list_server.content += b"more.test\n"
        assert proxy.control("block", "refresh").stdout == "ads changed\n"
        assert {curl(proxy, "http://more.test/") for _ in range(6)} == {(403, 0)}
    load.assert_no_failure()
    list_server.content = b"one.test\n"
    refused = proxy.control("block", "refresh")
    assert (refused.returncode, "has shrunk from 20001 to 1 entries" in refused.stderr) == (1, True)
    assert curl(proxy, "http://more.test/") == (403, 0)
    proxy.stop()
    # Without its server it starts with the last good copy.
    list_server.fails = True
    proxy = make_daemon(listen=(), file=settings(workers, table), environment=same_state(proxy)).start()
    assert curl(proxy, "http://more.test/") == (403, 0)
    if workers > 1:
        before = crew(proxy, workers)
        os.kill(before[0], 9)
        awaited(lambda: before[0] not in crew(proxy, workers), "another worker")
        assert {curl(proxy, "http://more.test/") for _ in range(8)} == {(403, 0)}


def test_a_file_that_is_not_there_is_told_of_at_the_start(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    table = f'name = "ads"\nsource = "{tmp_path}/none.txt"'
    proxy = make_daemon(listen=(), file=settings(1, table))
    status, said = proxy.attempt()
    assert status == 1
    assert f"pyproxy: the list ads: {tmp_path}/none.txt: No such file or directory" in said
