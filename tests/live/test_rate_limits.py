"""Rates and counts of a real proxy, as clients see them: by the clock, and with two workers."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.live.command import curl
from tests.live.crew import workers
from tests.live.daemon import ANY_PORT, Daemon
from tests.live.fetch import connected, fetch, request_for, tunnel
from tests.live.load import Load
from tests.live.origin import LINE, Authority, Origin

MakeDaemon = Callable[..., Daemon]

MIB = 1 << 20
SIZE = 4 * MIB
SECONDS = 3.75
"""How long so much takes at a MiB a second, of which a quarter may come at once."""


def limits(table: str) -> dict[str, str]:
    return {
        "limits.tables": f'[{{ name = "a", {table} }}]',
        "access.connect_ports": "all",
        "log.format": "json",
    }


def seconds_of(call: Callable[[], object]) -> float:
    begin = time.monotonic()
    call()
    return time.monotonic() - begin


@pytest.mark.parametrize(("scheme", "splice"), [("http", "true"), ("https", "true"), ("https", "false")])
def test_download(
    make_daemon: MakeDaemon, origin: Origin, authority: Authority, tmp_path: Path, scheme: str, splice: str
) -> None:
    """Forwarded, and through both kinds of relay."""
    proxy = make_daemon(settings=limits('per = "client", download = "1MiB"') | {"tunnel.splice": splice}).start()
    options = ("--proxy", proxy.url, "--cacert", authority.file, "--output", tmp_path / "got")
    seconds = seconds_of(lambda: curl(tmp_path, *options, origin.url(scheme, f"/bytes/{SIZE}")))
    assert (tmp_path / "got").stat().st_size == SIZE
    assert seconds == pytest.approx(SECONDS, rel=0.2)
    # What comes in the other direction is not slowed.
    sending = ("--proxy", proxy.url, "--cacert", authority.file, "--data-binary", "@-")
    assert seconds_of(lambda: curl(tmp_path, *sending, origin.url(scheme, "/digest"), said=bytes(SIZE))) < 2


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_upload(make_daemon: MakeDaemon, origin: Origin, authority: Authority, tmp_path: Path, scheme: str) -> None:
    proxy = make_daemon(settings=limits('per = "client", upload = "1MiB"')).start()
    options = ("--proxy", proxy.url, "--cacert", authority.file, "--data-binary", "@-", "--header", "Expect:")
    answered: list[bytes] = []
    url = origin.url(scheme, "/digest")
    seconds = seconds_of(lambda: answered.append(curl(tmp_path, *options, url, said=bytes(SIZE))))
    assert json.loads(answered[0])["length"] == SIZE
    assert seconds == pytest.approx(SECONDS, rel=0.2)


def test_inside_a_tunnel_that_is_looked_into(
    make_daemon: MakeDaemon, origin: Origin, authority: Authority, tmp_path: Path
) -> None:
    """HTTP/2 on both sides: two streams share the rate, and one of a rule of its own goes its own way."""
    settings = {
        "limits.tables": '[{ name = "slow", per = "rule", download = "1MiB" }]',
        "access.rules": '[{ name = "big", paths = ["/bytes/*"], action = "set", limits = ["slow"] }]',
        "access.connect_ports": "all",
        "intercept.mode": "all-but",
        "intercept.ports": "all",
        "log.format": "json",
    }
    proxy = make_daemon(settings=settings, environment={"SSL_CERT_FILE": str(authority.file)}).start()
    trust = tmp_path / "trust.pem"
    trust.write_text(proxy.control("ca", "export").stdout)
    half = origin.url("h2", f"/bytes/{SIZE // 2}")
    options = ("--proxy", proxy.url, "--cacert", trust, "--http2", "--parallel", "--parallel-immediate")
    wanted = [word for number in range(2) for word in ("--output", tmp_path / f"got-{number}", half)]
    quick = ("--output", "/dev/null", "--write-out", "%{http_code} %{time_total}\n", origin.url("h2"))
    said: list[bytes] = []
    seconds = seconds_of(lambda: said.append(curl(tmp_path, *options, *wanted, *quick)))
    assert seconds == pytest.approx(SECONDS, rel=0.2)
    times = sorted(float(line.split()[1]) for line in said[0].splitlines())
    assert times[0] < 1.5
    assert [(tmp_path / f"got-{number}").stat().st_size for number in range(2)] == [SIZE // 2] * 2


def test_websocket(make_daemon: MakeDaemon, origin: Origin) -> None:
    """What it says comes back, so that it is as fast as the slower way."""
    proxy = make_daemon(settings=limits('per = "client", download = "256KiB", tunnels = 1')).start()
    message = bytes(65536)
    with connect(origin.url("ws", "/echo"), proxy=proxy.url, max_size=None, compression=None) as socket:
        refused = fetch(proxy, origin.url("http"), fields={"Connection": "upgrade", "Upgrade": "chat"})
        assert refused.status == 429

        def talk() -> None:
            for _ in range(14):
                socket.send(message)
                assert socket.recv() == message

        # 896 KiB, of which 64 may come at once.
        assert seconds_of(talk) == pytest.approx(3.25, rel=0.25)


def test_too_many_requests_are_told_when_to_come_again(make_daemon: MakeDaemon, origin: Origin, tmp_path: Path) -> None:
    proxy = make_daemon(settings=limits('per = "client", requests_per_second = 0.5, burst = 1')).start()
    assert fetch(proxy, origin.url("http")).status == 200
    refused = fetch(proxy, origin.url("http"))
    assert (refused.status, refused.fields["Retry-After"]) == (429, "2")
    assert "error=http_request_denied" in refused.fields["Proxy-Status"]
    options = ("--proxy", proxy.url, "--retry", "3")
    said: list[bytes] = []
    seconds = seconds_of(lambda: said.append(curl(tmp_path, *options, origin.url("http"))))
    assert said == [LINE]
    assert 1.5 < seconds < 4
    reasons = [entry["reason"] for entry in proxy.access_entries(4)]
    assert reasons == [None, "requests_exceeded", "requests_exceeded", None]
    told = proxy.control("limits", "--json")
    assert json.loads(told.stdout)["limits"][0]["refusals"] == 2
    assert 'pyproxy_limit_refusals_total{limit="a"} 2.0' in proxy.control("metrics").stdout


def test_tunnels_at_the_same_time(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(settings=limits('per = "client", tunnels = 2, when_over = "slow"')).start()
    first, second = (tunnel(proxy, origin.port("http")) for _ in range(2))
    authority = f"127.0.0.1:{origin.port('http')}"
    third = connected(proxy, f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
    explained = proxy.control("explain", authority)
    assert "2 of 2 tunnels" in explained.stdout
    first.close()
    assert third.read_through(b"\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    second.close()
    third.close()


def test_two_workers_share_a_rate(make_daemon: MakeDaemon, origin: Origin) -> None:
    settings = limits('per = "client", download = "1MiB"') | {"service.workers": "2"}
    proxy = make_daemon(settings=settings).start()
    workers(proxy, 2)
    url = origin.url("http", f"/bytes/{2 * MIB}")
    lengths: list[int] = []
    threads = [threading.Thread(target=lambda: lengths.append(len(fetch(proxy, url).content))) for _ in range(5)]

    def all_of_them() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # Each by itself would need half the time. What comes within a second may be too much.
    assert 7 < seconds_of(all_of_them) < 12
    assert lengths == [2 * MIB] * 5


def test_two_workers_share_requests_and_connections(make_daemon: MakeDaemon, origin: Origin) -> None:
    settings = limits('per = "client", requests_per_second = 10, burst = 10, connections = 50') | {
        "service.workers": "2"
    }
    proxy = make_daemon(settings=settings).start()
    workers(proxy, 2)
    statuses: list[int] = []
    begin = time.monotonic()
    while (passed := time.monotonic() - begin) < 5:
        statuses.append(fetch(proxy, origin.url("http")).status)
    allowed = statuses.count(200)
    assert set(statuses) == {200, 429}
    # With one worker 10 and 50; the other's second, and its bucket, come on top.
    assert 45 <= allowed <= 10 + 10 * passed + 20


def test_a_reload_under_load(make_daemon: MakeDaemon, origin: Origin) -> None:
    def text(rate: int) -> str:
        return (
            f"[downstream]\nlisten = ['{ANY_PORT}']\n[log]\naccess = 'off'\n[[limits.tables]]\nname = 'a'\n"
            f"per = 'client'\nrequests_per_second = {rate}\nwhen_over = 'slow'\n"
            "[[limits.tables]]\nname = 'b'\nper = 'all'\ndownload = '1MiB'\n"
        )

    proxy = make_daemon(listen=(), file=text(2000)).start()
    running = connected(proxy, request_for(origin.url("http", f"/bytes/{2 * MIB}")))
    with Load(proxy.address, origin.url("http"), least=10) as load:
        for rate in (3000, 2500, 4000):
            proxy.reload(text(rate))
    load.assert_no_failure()
    assert len(running.read_response().content) == 2 * MIB
    running.close()
