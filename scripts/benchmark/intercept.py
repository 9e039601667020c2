"""What it costs to look into tunnels: each measure is work inside intercepted ones."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from benchmark.measures import CONNECTIONS, LOAD_TIMEOUT_SECONDS, Bench, LoadFailed, Measure, cpu_spent, nothing
from benchmark.origins import SIZES
from benchmark.proxies import Running
from benchmark.tls_origin import DOWNLOAD_MIB

WARM_UP = 50
CONCURRENT = 8
DOWNLOADS = 4
STREAMS = 5


def _cpu_of_load(
    bench: Bench, running: Running, mode: str, units: int, *more: str, http2_origin: bool = False
) -> float:
    """The CPU seconds that the proxy spends on one load of ``units``. Raises LoadFailed."""
    origin = bench.origins.tls
    assert origin is not None
    argv = [sys.executable, "-m", "benchmark.tls_load", mode, "--proxy", str(running.launch.plain.port)]
    argv += [
        "--origin",
        str(origin.http2 if http2_origin else origin.http1),
        "--authority",
        str(running.launch.authority),
        "--count",
        str(units),
        *more,
    ]
    errors = running.process.output.with_name("load-errors")
    with (
        errors.open("w") as log,
        subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            cwd=Path(__file__).parents[1],
        ) as load,
    ):
        patience = threading.Timer(LOAD_TIMEOUT_SECONDS, load.kill)
        patience.start()
        try:
            assert load.stdin is not None
            assert load.stdout is not None
            if load.stdout.readline() != "ready\n":
                raise LoadFailed(_failure(running, errors))
            running.process.pause(0.1)
            with cpu_spent(running) as cpu:
                load.stdin.write("\n")
                load.stdin.flush()
                said = load.stdout.readline()
            if not said or json.loads(said)["done"] != units:
                raise LoadFailed(_failure(running, errors))
            load.stdin.close()
        finally:
            patience.cancel()
            if load.poll() is None and load.stdin is not None and not load.stdin.closed:
                load.kill()
    return cpu.seconds


def _failure(running: Running, errors: Path) -> str:
    last = errors.read_text(errors="replace").splitlines()[-1:]
    return f"inside tunnels through {running.proxy.name}: {''.join(last) or 'it took too long'}"


def _get(
    name: str, protocol: str, http2_origin: bool
) -> tuple[Callable[[Bench, Running], float], Callable[[Bench, Running], object]]:
    """A round of requests on kept-alive connections, and its warm-up."""
    streams = STREAMS if protocol == "h2" else 1
    more = ("--protocol", protocol, "--size", str(SIZES[name]), "--streams", str(streams))
    more += ("--concurrent", str(CONNECTIONS // streams))

    def per_round(bench: Bench, running: Running) -> float:
        requests = max(CONNECTIONS, int(bench.work.requests * running.proxy.requests_share))
        return _cpu_of_load(bench, running, "get", requests, *more, http2_origin=http2_origin) * 1e6 / requests

    def warm_up(bench: Bench, running: Running) -> None:
        _cpu_of_load(bench, running, "get", 10 * CONNECTIONS, *more, http2_origin=http2_origin)

    return per_round, warm_up


def _connections(bench: Bench, running: Running) -> int:
    return max(50, int(running.proxy.tunnels * bench.work.tunnels_share))


def _known_leaf(bench: Bench, running: Running) -> float:
    units = _connections(bench, running)
    return _cpu_of_load(bench, running, "connections", units, "--concurrent", str(CONCURRENT)) * 1e6 / units


def _warm_known_leaf(bench: Bench, running: Running) -> None:
    _cpu_of_load(bench, running, "connections", WARM_UP, "--concurrent", str(CONCURRENT))


def _of_new_leaves(bench: Bench, running: Running, units: int) -> float:
    numbers = [next(running.names) for _ in range(units)]
    more = ("--first", str(numbers[0]), "--concurrent", str(CONCURRENT))
    return _cpu_of_load(bench, running, "connections", units, *more)


def _new_leaf(bench: Bench, running: Running) -> float:
    units = _connections(bench, running)
    return _of_new_leaves(bench, running, units) * 1e6 / units


def _warm_new_leaf(bench: Bench, running: Running) -> None:
    _of_new_leaves(bench, running, WARM_UP)


def addresses_needed(rounds: int, connections: int) -> int:
    """To how many addresses a run connects at most, each with a new leaf."""
    return WARM_UP + rounds * connections


def _download(bench: Bench, running: Running) -> float:
    mib = max(DOWNLOADS * DOWNLOAD_MIB, int(running.proxy.bulk_mib * bench.work.bulk_share))
    times = mib // DOWNLOAD_MIB
    cpu = _cpu_of_load(bench, running, "download", times, "--concurrent", str(DOWNLOADS))
    return cpu / (times * DOWNLOAD_MIB / 1024)


_UNIT = "us CPU a request"

INTERCEPTED: tuple[Measure, ...] = (
    Measure(
        "tls-get-100",
        "Intercepted GET, HTTP/1.1, 100 bytes",
        _UNIT,
        f"{CONNECTIONS} kept-alive connections inside tunnels to one name, one request at a time on each; "
        "their set-up is not counted. The origin speaks HTTP/1.1 only.",
        *_get("100", "http/1.1", False),
        is_tunnel=True,
    ),
    Measure(
        "tls-get-10k",
        "Intercepted GET, HTTP/1.1, 10 KiB",
        _UNIT,
        "The same with a body of 10,240 bytes.",
        *_get("10k", "http/1.1", False),
        is_tunnel=True,
    ),
    Measure(
        "tls-get-h2",
        "Intercepted GET, HTTP/1.1 for an HTTP/2 origin",
        _UNIT,
        "The same with a body of 100 bytes, but the origin speaks HTTP/2 too: a proxy that prefers it translates.",
        *_get("100", "http/1.1", True),
        is_tunnel=True,
    ),
    Measure(
        "h2-get-100",
        "Intercepted GET, HTTP/2, 100 bytes",
        _UNIT,
        f"{CONNECTIONS // STREAMS} kept-alive connections inside tunnels, whose client speaks HTTP/2 only, "
        f"{STREAMS} streams at a time on each. The origin speaks both versions; which one is the proxy's choice.",
        *_get("100", "h2", True),
        is_tunnel=True,
    ),
    Measure(
        "h2-get-10k",
        "Intercepted GET, HTTP/2, 10 KiB",
        _UNIT,
        "The same with a body of 10,240 bytes.",
        *_get("10k", "h2", True),
        is_tunnel=True,
    ),
    Measure(
        "tls-known",
        "Intercepted connection, known leaf",
        "us CPU a connection",
        f"Connect, CONNECT, a full TLS handshake, GET of 100 bytes, close; {CONCURRENT} at a time, always to one "
        "address. A million divided by it is how many a second a core can do.",
        _known_leaf,
        _warm_known_leaf,
        is_tunnel=True,
    ),
    Measure(
        "tls-new",
        "Intercepted connection, new leaf",
        "us CPU a connection",
        "The same, but each to another address, with a certificate of its own: the proxy needs a new leaf for each, "
        "and a new connection to the origin.",
        _new_leaf,
        _warm_new_leaf,
        is_tunnel=True,
    ),
    Measure(
        "tls-download",
        "Intercepted download",
        "CPU-s a GiB",
        f"A file of {DOWNLOAD_MIB} MiB, again and again on {DOWNLOADS} connections at a time: 1 GiB a round "
        "(256 MiB for mitmproxy).",
        _download,
        nothing,
        is_tunnel=True,
    ),
)
