"""SIGTERM and SIGINT: no more connections, an end in good order for what is under way, and then for the proxy."""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection

import pytest

from tests.live.daemon import PATIENCE, Daemon, awaited
from tests.live.fetch import connected, fetch, request_for, tunnel
from tests.live.origin import LINE, Origin
from tests.ports import free_port

MakeDaemon = Callable[..., Daemon]

SETTINGS = {"access.connect_ports": "all", "log.format": "json"}


# As twistd, but for a signal to itself at a moment that nobody else could choose.
SIGNALLED = """
import os, signal, sys
from twisted.internet import reactor
from twisted.scripts.twistd import run

class AtLast:
    def __del__(self, kill=os.kill, own=os.getpid(), number=signal.SIGTERM):
        kill(own, number)

def terminated(*_):
    os.kill(os.getpid(), signal.SIGTERM)

def opened(*arguments, **named):
    port = listen(*arguments, **named)
    terminated()
    return port

moment = sys.argv.pop(1)
if moment == "listening":
    listen = type(reactor).listenTCP
    type(reactor).listenTCP = opened
elif moment == "starting":
    reactor.addSystemEventTrigger("during", "startup", terminated)
else:
    last = AtLast()
run()
"""


def refuses_connections(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) != 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_proxy_stops_at_once(make_daemon: MakeDaemon, number: signal.Signals) -> None:
    proxy = make_daemon().start()
    proxy.signal(number)
    proxy.await_end()
    assert proxy.status == 0
    assert "draining" not in proxy.log


@pytest.mark.parametrize("moment", ["listening", "starting"])
def test_signal_that_comes_before_it_runs(make_daemon: MakeDaemon, moment: str) -> None:
    """As soon as it listens, and where the reactor has put signal handlers of its own, which end the process by it."""
    proxy = make_daemon(program=(sys.executable, "-c", SIGNALLED, moment)).start()
    proxy.await_end()
    assert proxy.status == 0
    assert proxy.log.count(" info  stopped\n") == 1


def test_signal_that_comes_after_the_end(make_daemon: MakeDaemon) -> None:
    """Where Python has taken the signal handlers away already."""
    proxy = make_daemon(program=(sys.executable, "-c", SIGNALLED, "ended")).start()
    proxy.signal(signal.SIGTERM)
    proxy.await_end()
    assert proxy.status == 0


def test_daemon_stops_and_takes_its_pid_file_along(make_daemon: MakeDaemon) -> None:
    proxy = make_daemon(daemonized=True).start()
    proxy.signal(signal.SIGTERM)
    proxy.await_end()
    assert proxy.log.splitlines()[-2].endswith(" info  stopped")
    assert not proxy.pid_file.exists()


@pytest.mark.parametrize("daemonized", [False, True], ids=["foreground", "daemonized"])
def test_what_is_under_way_finishes(make_daemon: MakeDaemon, origin: Origin, daemonized: bool) -> None:
    """A request whose answer is awaited, one whose answer has begun, an upload, a head and a tunnel."""
    proxy = make_daemon(settings=SETTINGS, daemonized=daemonized).start()
    gate = f"drain-{daemonized}"
    address = proxy.address
    waiting = connected(proxy, request_for(origin.url("http", f"/gated/{gate}")))
    begun = connected(proxy, request_for(origin.url("http", f"/events/{gate}")))
    begun.read_through(b"data: first\n\n")
    upload = connected(proxy, request_for(origin.url("http", "/digest"), "POST", "Content-Length: 6") + b"abc")
    head = request_for(origin.url("http"))
    half = connected(proxy, head[:40])
    through = tunnel(proxy, origin.port("http"))
    idle = connected(proxy, request_for(origin.url("http")))
    assert idle.read_response().content == LINE

    proxy.signal(signal.SIGTERM)
    proxy.await_log("draining 6 connections, for 30 s at most")
    assert refuses_connections(address)
    # One that waits for its next request is closed in order.
    assert idle.ended()
    half.send(head[40:])
    upload.send(b"def")
    assert b'"length": 6' in upload.read_response(b"POST").content
    answer = half.read_response()
    assert (answer.content, answer.values(b"connection")) == (LINE, [b"close"])
    origin.open(gate)
    answer = waiting.read_response()
    assert (answer.content, answer.values(b"connection")) == (LINE, [b"close"])
    assert begun.read_to_end() == b"\r\ne\r\ndata: second\n\n\r\n0\r\n\r\n"
    for client in (waiting, begun, upload, half, idle):
        assert client.ended()
        client.close()
    assert proxy.log.count("stopped") == 0
    through.send(b"GET /hello HTTP/1.1\r\nHost: origin\r\n\r\n")
    assert through.read_response().content == LINE
    through.close()
    proxy.await_end()
    assert proxy.status in (0, None)
    # The log is complete, and nothing in it went wrong.
    entries = proxy.access_entries(6)
    assert sorted(entry["kind"] for entry in entries) == ["forward"] * 5 + ["tunnel"]
    assert {entry["reason"] for entry in entries} == {None}


def test_deadline_ends_what_does_not_finish(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(settings=SETTINGS | {"service.drain_timeout": "0.5"}).start()
    waiting = connected(proxy, request_for(origin.url("http", "/gated/never")))
    through = tunnel(proxy, origin.port("http"))
    began = time.monotonic()
    proxy.signal(signal.SIGTERM)
    assert waiting.ended()
    assert through.ended()
    assert 0.5 <= time.monotonic() - began < 5
    proxy.await_end()
    assert proxy.status == 0
    assert "warn  2 connections did not end in time" in proxy.log
    assert [entry["reason"] for entry in proxy.access_entries(2)] == ["stopped", "stopped"]
    waiting.close()
    through.close()
    origin.open("never")


def test_second_signal_stops_now(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(settings=SETTINGS).start()
    begun = connected(proxy, request_for(origin.url("http", "/events/second")))
    begun.read_through(b"data: first\n\n")
    proxy.signal(signal.SIGTERM)
    proxy.await_log("draining 1 connections")
    proxy.signal(signal.SIGTERM)
    # Cut, so that it does not look complete.
    assert not begun.read_to_end().endswith(b"0\r\n\r\n")
    proxy.await_end()
    assert proxy.status == 0
    assert "warn  stopping now, as asked for a second time" in proxy.log
    assert proxy.access_entries(1)[0]["reason"] == "stopped"
    begun.close()
    origin.open("second")


def test_two_signals_at_once_are_no_fault(make_daemon: MakeDaemon, origin: Origin) -> None:
    proxy = make_daemon(settings=SETTINGS).start()
    through = tunnel(proxy, origin.port("http"))
    proxy.signal(signal.SIGTERM)
    proxy.signal(signal.SIGINT)
    proxy.await_log("draining|stopping now")
    through.close()
    proxy.await_end()
    assert proxy.status == 0


@pytest.mark.parametrize("count", ["1", "2"])
def test_load_balancers_learn_of_it_before_it_drains(make_daemon: MakeDaemon, origin: Origin, count: str) -> None:
    """With ``service.drain_delay`` it says first that it is not ready, and takes connections meanwhile."""
    port = free_port()
    settings = {
        "service.drain_delay": "1s",
        "service.workers": count,
        "control.metrics": f"tcp:{port}:interface=127.0.0.1",
    }
    proxy = make_daemon(settings=settings).start()
    proxy.await_log(" ready\n")
    address = proxy.address
    probes = f"127.0.0.1:{port}"
    assert ready(probes) == 200
    began = time.monotonic()
    proxy.signal(signal.SIGTERM)
    proxy.await_log("not ready any more; the drain begins in 1 s")
    assert ready(probes) == 503
    asked = connected(proxy, request_for(origin.url("http", f"/events/delay-{count}")))
    assert asked.read_through(b"data: first\n\n")
    assert fetch(address, origin.url("http")).content == LINE
    proxy.await_log("draining 1 connections, for 30 s at most")
    assert time.monotonic() - began >= 1
    awaited(lambda: refuses_connections(address), "no more connections")
    assert ready(probes) == 503
    origin.open(f"delay-{count}")
    assert asked.read_through(b"0\r\n\r\n")
    asked.close()
    proxy.await_end()
    assert proxy.status == 0


def ready(address: str) -> int:
    """The status that a probe gets which asks whether it is ready."""
    connection = HTTPConnection(address, timeout=PATIENCE)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status
    finally:
        connection.close()
