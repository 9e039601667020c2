"""The logs of a real proxy: their formats, that they are written soon, and that rotation loses nothing."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections.abc import Callable

import pytest

from tests.live.daemon import Daemon
from tests.live.fetch import connected, fetch, request_for, tunnel
from tests.live.origin import LINE, Origin

MakeDaemon = Callable[..., Daemon]

ROTATIONS = 5

SQUID = re.compile(
    r"\d{10}\.\d{3} +\d+ 127\.0\.0\.1 [A-Z_]+/\d{3} \d+ (?:[A-Z]+|-) \S+ - "
    r"HIER_(?:DIRECT/127\.0\.0\.1|NONE/-) \S+(?: [a-z_]+)?"
)
COMBINED = re.compile(
    r'127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "[^"]*" \d{3} \d+ "[^"]*" "[^"]*"'
)


def some_traffic(proxy: Daemon, origin: Origin) -> None:
    """A request, a reused connection, a tunnel, a refusal, an error, and something that is no request."""
    client = connected(proxy)
    for _ in range(2):
        client.send(request_for(origin.url("http"), "GET", "Referer: http://me:secret@example/", "User-Agent: me/1"))
        assert client.read_response().content == LINE
    client.close()
    through = tunnel(proxy, origin.port("http"))
    through.send(b"GET /hello HTTP/1.1\r\nHost: origin\r\nConnection: close\r\n\r\n")
    answer = through.read_to_end()
    assert answer.endswith(LINE)
    through.close()
    assert fetch(proxy, "http://169.254.169.254/latest/meta-data/").status == 403
    assert fetch(proxy, "http://127.0.0.1:1/?secret").status == 502
    broken = connected(proxy, b"no request at all\r\n\r\n")
    assert broken.read_response().status == 400
    broken.close()


def settings(format_name: str) -> dict[str, str]:
    return {"log.format": format_name, "access.connect_ports": "all"}


def test_squid(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(settings=settings("squid")).start()
    some_traffic(proxy, origin)
    lines = proxy.access_lines(6)
    assert [line for line in lines if not SQUID.fullmatch(line)] == []
    # From the result on, without the sizes.
    url, port = origin.url("http"), origin.port("http")
    assert [re.sub(r"/(\d{3}) \d+", r"/\1", line.split(maxsplit=3)[3]) for line in lines] == [
        f"TCP_MISS/200 GET {url} - HIER_DIRECT/127.0.0.1 text/plain",
        f"TCP_MISS/200 GET {url} - HIER_DIRECT/127.0.0.1 text/plain",
        f"TCP_TUNNEL/200 CONNECT 127.0.0.1:{port} - HIER_DIRECT/127.0.0.1 -",
        "TCP_DENIED/403 GET http://169.254.169.254/latest/meta-data/ - HIER_NONE/- - destination_denied",
        "TCP_MISS/502 GET http://127.0.0.1:1/?secret - HIER_NONE/- - connection_refused",
        "NONE/400 - error:malformed_request - HIER_NONE/- - malformed_request",
    ]


def test_combined(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(settings=settings("combined")).start()
    some_traffic(proxy, origin)
    lines = proxy.access_lines(6)
    assert [line for line in lines if not COMBINED.fullmatch(line)] == []
    requests = [re.sub(r'.*?"(.*?)" (\d+) \d+ (.*)', r"\1 \2 \3", line) for line in lines]
    assert requests == [
        f'GET {origin.url("http")} HTTP/1.1 200 "http://example/" "me/1"',
        f'GET {origin.url("http")} HTTP/1.1 200 "http://example/" "me/1"',
        f'CONNECT 127.0.0.1:{origin.port("http")} HTTP/1.1 200 "-" "-"',
        'GET http://169.254.169.254/latest/meta-data/ HTTP/1.1 403 "-" "-"',
        'GET http://127.0.0.1:1/?secret HTTP/1.1 502 "-" "-"',
        '- 400 "-" "-"',
    ]


def test_json(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(settings=settings("json")).start()
    some_traffic(proxy, origin)
    first, second, through, denied, failed, malformed = proxy.access_entries(6)
    assert [first["reused"], second["reused"]] == [False, True]
    for entry in (first, second):
        assert (entry["kind"], entry["method"], entry["url"]) == ("forward", "GET", origin.url("http"))
        assert (entry["status"], entry["upstream_address"]) == (200, f"127.0.0.1:{origin.port('http')}")
        assert (entry["referer"], entry["user_agent"], entry["reason"]) == ("http://example/", "me/1", None)
        assert entry["bytes_to_client"] > len(LINE)
        assert entry["bytes_to_upstream"] > entry["bytes_from_client"] - len("me:secret@") - 100
        assert 0 <= entry["first_byte_seconds"] <= entry["seconds"]
    assert 0 <= first["connect_seconds"] <= first["first_byte_seconds"]
    assert second["connect_seconds"] is None
    assert (through["kind"], through["method"], through["status"]) == ("tunnel", "CONNECT", 200)
    request = b"GET /hello HTTP/1.1\r\nHost: origin\r\nConnection: close\r\n\r\n"
    assert through["bytes_to_upstream"] == len(request)
    assert through["bytes_to_client"] == through["bytes_from_upstream"] + len(
        b"HTTP/1.1 200 Connection established\r\n\r\n"
    )
    assert [entry["reason"] for entry in (through, denied, failed, malformed)] == [
        None,
        "destination_denied",
        "connection_refused",
        "malformed_request",
    ]
    assert "refuse_destinations" in denied["detail"]
    assert (malformed["method"], malformed["url"], malformed["kind"]) == (None, None, "answer")


def test_line_is_written_within_a_second(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon().start()
    assert fetch(proxy, origin.url("http")).status == 200
    answered = time.monotonic()
    proxy.access_lines(1)
    # A second, and what a busy machine takes.
    assert time.monotonic() - answered < 2.0


@pytest.mark.parametrize("daemonized", [False, True], ids=["foreground", "daemonized"])
def test_rotation_loses_nothing(make_daemon: MakeDaemon, origin: Origin, daemonized: bool) -> None:
    proxy = make_daemon(settings={"log.format": "json"}, daemonized=daemonized).start()
    enough = threading.Event()
    address = proxy.address
    fetched = 0

    def go_on() -> None:
        nonlocal fetched
        while not enough.is_set():
            assert fetch(address, origin.url("http", f"/hello?{fetched}")).status == 200
            fetched += 1

    client = threading.Thread(target=go_on)
    client.start()
    try:
        for number in range(ROTATIONS):
            proxy.access_lines(1)
            proxy.access_log.rename(proxy.directory / f"access.log.{number}")
            if daemonized:
                proxy.operational_log.rename(proxy.directory / f"twistd.log.{number}")
                proxy.signal(signal.SIGUSR1)
                # The first line of the new file.
                proxy.await_log("the logs have been reopened")
            else:
                proxy.signal(signal.SIGUSR1)
                proxy.await_log("the logs have been reopened", number + 1)
    finally:
        enough.set()
        client.join()
    proxy.stop()
    names = [f"access.log.{number}" for number in range(ROTATIONS)] + ["access.log"]
    text = "".join((proxy.directory / name).read_text() for name in names)
    assert [json.loads(line)["url"] for line in text.splitlines()] == [
        origin.url("http", f"/hello?{number}") for number in range(fetched)
    ]
    if daemonized:
        assert "listening on" in (proxy.directory / "twistd.log.0").read_text()
        assert proxy.log.splitlines()[-1].endswith("info  Server Shut Down.")


def test_logger_of_another(make_daemon: MakeDaemon, origin: Origin) -> None:
    """With twistd's ``--logger`` the operational log is theirs, and SIGUSR1 still reopens the access log."""
    proxy = make_daemon(twistd=("--logger", "theirs.observer"), environment={"PYTHONPATH": "."})
    theirs = "import sys, twisted.logger\ndef observer():\n    return twisted.logger.textFileLogObserver(sys.stdout)\n"
    (proxy.directory / "theirs.py").write_text(theirs)
    proxy.start()
    assert "[twistedproxy.service.ProxyService#info] listening on 127.0.0.1:" in proxy.log
    assert fetch(proxy, origin.url("http")).status == 200
    proxy.access_lines(1)
    proxy.access_log.rename(proxy.directory / "access.log.0")
    proxy.signal(signal.SIGUSR1)
    proxy.await_log("the logs have been reopened")
    assert fetch(proxy, origin.url("http")).status == 200
    assert len(proxy.access_lines(1)) == 1
