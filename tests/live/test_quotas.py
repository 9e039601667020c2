"""Quotas of a real proxy: they outlive its end, whichever that is."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.live.crew import await_gone, workers
from tests.live.daemon import Daemon, awaited
from tests.live.fetch import connected, fetch, request_for, tunnel
from tests.live.origin import Origin
from tests.live.wire.raw import Connection, Cut

MakeDaemon = Callable[..., Daemon]

KEY = "127.0.0.1"
MIB = 1 << 20


def settings(count: int, quota: str = "100MiB") -> dict[str, str]:
    return {
        "limits.tables": f'[{{ name = "a", per = "client", daily = "{quota}", monthly = "1GiB" }}]',
        "access.connect_ports": "all",
        "service.workers": str(count),
        "log.format": "json",
    }


def started(make_daemon: MakeDaemon, count: int, **more: Any) -> Daemon:
    proxy = make_daemon(settings=settings(count, **more)).start()
    if count > 1:
        workers(proxy, count)
    return proxy


def restarted(proxy: Daemon, count: int) -> None:
    """Stop it, where it runs, and start it again."""
    proxy.stop()
    # It is looked through for where it listens.
    proxy.output.unlink()
    proxy.start()
    if count > 1:
        workers(proxy, count)


def used(proxy: Daemon) -> int:
    """The bytes of today, as everybody knows them."""
    told = json.loads(proxy.control("limits", "--json").stdout)
    return max((share["today"] for share in told["shares"]), default=0)


def cut(connection: Connection, request: bytes = b"") -> bool:
    """Whether the response to a request on it does not come to its end."""
    try:
        connection.send(request)
        return connection.read_response().cut
    except (Cut, OSError):
        return True


both = pytest.mark.parametrize("count", [1, 2])


@both
def test_a_stop_forgets_nothing(make_daemon: MakeDaemon, origin: Origin, count: int) -> None:
    proxy = started(make_daemon, count)
    fetch(proxy, origin.url("http", f"/bytes/{MIB}"))
    (entry,) = proxy.access_entries(1)
    total = entry["bytes_from_client"] + entry["bytes_to_client"]
    assert total > MIB
    restarted(proxy, count)
    file = proxy.directory / "limits" / "quotas.sqlite"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    awaited(lambda: used(proxy) == total, "what was used before")
    fetch(proxy, origin.url("http", f"/bytes/{MIB}"))
    awaited(lambda: used(proxy) > 2 * MIB, "more of it")


@both
def test_a_kill_forgets_seconds(make_daemon: MakeDaemon, origin: Origin, count: int) -> None:
    proxy = started(make_daemon, count)
    fetch(proxy, origin.url("http", f"/bytes/{MIB}"))
    begin = time.monotonic()
    file = proxy.directory / "limits" / "quotas.sqlite"
    awaited(file.exists, "the file")
    assert time.monotonic() - begin < 5
    awaited(lambda: used(proxy) > MIB, "what was used")
    crew = workers(proxy, count) if count > 1 else []
    os.kill(proxy.pid, signal.SIGKILL)
    proxy.await_end()
    for pid in crew:
        await_gone(pid)
    restarted(proxy, count)
    awaited(lambda: used(proxy) > MIB, "what was used before")


@both
def test_what_is_used_up_is_refused_and_cut(make_daemon: MakeDaemon, origin: Origin, count: int) -> None:
    proxy = started(make_daemon, count, quota="3MiB")
    through = tunnel(proxy, origin.port("http"))
    running = connected(proxy, request_for(origin.url("http", f"/bytes/{16 * MIB}")))
    assert cut(running)

    def refused() -> bool:
        answer = fetch(proxy, origin.url("http"))
        return answer.status == 429 and 0 < int(answer.fields["Retry-After"]) <= 86400

    awaited(refused, "a refusal by every worker")
    # The worker that has the tunnel may hear of it a moment later.
    request = f"GET /bytes/{MIB} HTTP/1.1\r\nHost: origin\r\n\r\n".encode()
    awaited(lambda: cut(through, request), "the end of the tunnel")
    running.close()
    through.close()
    # It is the same after a restart, and until somebody gives it back.
    restarted(proxy, count)
    awaited(refused, "a refusal")
    shown = proxy.control("limits")
    assert "0 B left" in shown.stdout
    assert "the day ends in" in shown.stdout
    assert proxy.control("limits", "reset", "a", KEY).stdout == f"{KEY} begins anew under the limit a\n"
    assert fetch(proxy, origin.url("http")).status == 200
    assert proxy.control("limits", "reset", "b").returncode == 1
    reasons = {json.loads(line)["reason"] for line in proxy.lines_so_far()}
    assert "quota_exceeded" in reasons


@both
def test_an_upgrade_goes_on_with_both(make_daemon: MakeDaemon, origin: Origin, count: int) -> None:
    """What the old daemon still moves counts for its successor."""
    proxy = started(make_daemon, count)
    fetch(proxy, origin.url("http", f"/bytes/{MIB}"))
    awaited(lambda: used(proxy) > MIB, "what was used")
    through = tunnel(proxy, origin.port("http"))
    old = proxy.upgrade()
    # What the old one had not written yet is found when the same client comes to its successor.
    fetch(proxy, origin.url("http"))
    awaited(lambda: used(proxy) > MIB, "what was used before")
    through.send(f"GET /bytes/{2 * MIB} HTTP/1.1\r\nHost: origin\r\n\r\n".encode())
    assert len(through.read_response().content) == 2 * MIB
    through.close()
    await_gone(old)
    fetch(proxy, origin.url("http"))
    awaited(lambda: used(proxy) > 3 * MIB, "what the old one has moved since")


def test_a_worker_that_dies_takes_nothing_with_it(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = started(make_daemon, 2, quota="2MiB")
    for _ in range(2):
        # Half of it each, and heads.
        connection = connected(proxy, request_for(origin.url("http", f"/bytes/{MIB}")))
        connection.read_response()
        connection.close()
    awaited(lambda: used(proxy) >= 2 * MIB, "what was used")
    for pid in workers(proxy, 2):
        os.kill(pid, signal.SIGKILL)
        await_gone(pid)
    workers(proxy, 2)
    awaited(lambda: fetch(proxy, origin.url("http")).status == 429, "a refusal")
    statuses = [fetch(proxy, origin.url("http")).status for _ in range(20)]
    assert statuses == [429] * 20


def test_a_damaged_file_is_set_aside(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = started(make_daemon, 1)
    fetch(proxy, origin.url("http"))
    proxy.stop()
    file = proxy.directory / "limits" / "quotas.sqlite"
    file.write_bytes(b"no table" * 999)
    restarted(proxy, 1)
    assert fetch(proxy, origin.url("http")).status == 200
    proxy.await_log(r"error the file of quotas was damaged, and was moved to \S+quotas.sqlite.damaged")
    proxy.stop()
    assert file.read_bytes().startswith(b"SQLite format 3")
