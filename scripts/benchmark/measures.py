"""What is measured: each measure is one kind of work, done by one proxy at a time, and its cost per unit.

The cost is CPU time of the proxy's own processes, or resident memory. The load generator and the origins
are other processes and are not counted.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmark.origins import Origins
from benchmark.processes import Process
from benchmark.proxies import Proxy, Route, Running, program, start

CONNECTIONS = 50
SETTLE_SECONDS = 0.3
LOAD_TIMEOUT_SECONDS = 180

# The request is made once and sent again and again: the script costs wrk nothing per request.
WRK_SCRIPT = """
wrk.path = "%(target)s"
wrk.headers["Host"] = "127.0.0.1:%(port)d"
wrk.headers["User-Agent"] = "wrk/4"
wrk.headers["Accept"] = "*/*"
%(more)s
function done(summary, latency, requests)
    local errors = summary.errors
    io.write(string.format(
        '\\n{"requests": %%d, "errors": %%d, "cut": %%d}\\n', summary.requests,
        errors.connect + errors.write + errors.status + errors.timeout, errors.read))
end
"""


class LoadFailed(Exception):
    """A request or a tunnel of the load did not go through, so that its cost means nothing."""


@dataclass(frozen=True, slots=True)
class Work:
    """How much work one round is."""

    requests: int = 10_000
    bulk_share: float = 1.0
    tunnels_share: float = 1.0
    idle_tunnels: int = 2000
    memory_first: int = 100_000
    memory_last: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measure needs: the origins, a directory for this run's files, and how much to do."""

    origins: Origins
    directory: Path
    work: Work


@dataclass(frozen=True, slots=True)
class Measure:
    """One kind of work. ``per_round`` does it once with a running proxy and returns its cost per unit.

    ``warm_up`` is done once before the rounds. With ``fresh`` each round gets a newly started proxy.
    """

    name: str
    title: str
    unit: str
    method: str
    per_round: Callable[[Bench, Running], float]
    warm_up: Callable[[Bench, Running], object]
    fresh: bool = False
    is_tunnel: bool = False


# ---------------------------------------------------------------- plain requests


def wrk(bench: Bench, running: Running, name: str, seconds: int, *, close: bool = False) -> int:
    """Fetch one small file over and over; returns the number of complete responses. Raises LoadFailed.

    With ``close`` each request has a connection of its own.
    """
    route = running.launch.plain
    port = bench.origins.http
    script = bench.directory / "wrk.lua"
    target = f"http://127.0.0.1:{port}/{name}" if route.asks else f"/{name}"
    fields = dict(running.launch.fields) | ({"Connection": "close"} if close else {})
    more = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in fields.items())
    script.write_text(WRK_SCRIPT % {"target": target, "port": port, "more": more})
    argv = [program("wrk") or "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "10s"]
    argv += ["-s", str(script), f"http://127.0.0.1:{route.port}/"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=seconds + LOAD_TIMEOUT_SECONDS)
    if done.returncode:
        raise LoadFailed(f"wrk through {running.proxy.name}: {done.stdout}{done.stderr}")
    summary = json.loads(done.stdout.splitlines()[-1])
    # A client that is not told of a close finds it when it has sent the next request, and connects again.
    cut = 0 if running.proxy.silent_close else summary["cut"]
    if summary["errors"] or cut or not summary["requests"]:
        raise LoadFailed(f"wrk through {running.proxy.name}: {summary}")
    requests: int = summary["requests"]
    return requests


def _get(name: str) -> Callable[[Bench, Running], float]:
    def microseconds_per_request(bench: Bench, running: Running) -> float:
        seconds = min(5, max(2, round(bench.work.requests / running.rates[name])))
        with cpu_spent(running) as cpu:
            requests = wrk(bench, running, name, seconds)
        return cpu.seconds * 1e6 / requests

    return microseconds_per_request


def _rate(name: str) -> Callable[[Bench, Running], None]:
    """A warm-up that finds how fast the proxy is, so that each gets as long as it needs and no longer."""

    def find_rate(bench: Bench, running: Running) -> None:
        running.rates[name] = wrk(bench, running, name, 2) / 2

    return find_rate


# ---------------------------------------------------------------- tunnels


@dataclass(slots=True)
class Cpu:
    seconds: float = 0.0


@contextmanager
def cpu_spent(running: Running) -> Iterator[Cpu]:
    """The CPU time that the proxy spends in the block, with what it does just after the load's end."""
    cpu = Cpu()
    before = running.process.cpu_seconds()
    yield cpu
    running.process.pause(SETTLE_SECONDS)
    cpu.seconds = running.process.cpu_seconds() - before


def _tunnel_argv(mode: str, route: Route, origin: int, count: int, concurrent: int) -> list[str]:
    argv = [sys.executable, str(Path(__file__).with_name("tunnel_load.py")), mode]
    argv += ["--proxy", str(route.port), "--origin", str(origin)]
    argv += ["--count", str(count), "--concurrent", str(concurrent)]
    return argv if route.asks else [*argv, "--no-connect"]


def _tunnels(running: Running, argv: list[str]) -> None:
    """Run the tunnel load to its end. Raises LoadFailed."""
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=LOAD_TIMEOUT_SECONDS,
    )
    if done.returncode:
        raise LoadFailed(f"tunnels through {running.proxy.name}: {done.stderr}")


def _bulk_argv(bench: Bench, running: Running, mib: int) -> list[str]:
    return _tunnel_argv("bulk", running.launch.tunnel_stream, bench.origins.stream, mib * 2**20, 4)


def _cpu_seconds_per_gib(bench: Bench, running: Running) -> float:
    mib = max(16, int(running.proxy.bulk_mib * bench.work.bulk_share))
    with cpu_spent(running) as cpu:
        _tunnels(running, _bulk_argv(bench, running, mib))
    return cpu.seconds / (mib / 1024)


def _setup_argv(bench: Bench, running: Running, count: int) -> list[str]:
    return _tunnel_argv("setup", running.launch.tunnel_http, bench.origins.http, count, 8)


def _microseconds_per_tunnel(bench: Bench, running: Running) -> float:
    tunnels = max(50, int(running.proxy.tunnels * bench.work.tunnels_share))
    with cpu_spent(running) as cpu:
        _tunnels(running, _setup_argv(bench, running, tunnels))
    return cpu.seconds * 1e6 / tunnels


def _idle_argv(bench: Bench, running: Running, count: int) -> list[str]:
    return _tunnel_argv("idle", running.launch.tunnel_stream, bench.origins.stream, count, 8)


@contextmanager
def idle_tunnels(bench: Bench, running: Running, count: int) -> Iterator[None]:
    """Open tunnels that have passed a few bytes both ways, and hold them in the block. Raises LoadFailed."""
    output = running.process.output.with_name("idle-load")
    argv = _idle_argv(bench, running, count)
    with Process(argv, output=output, cwd=bench.directory, stdin=True) as load:
        for _ in range(LOAD_TIMEOUT_SECONDS * 5):
            load.pause(0.2)
            if load.tail().startswith("{"):
                break
        else:
            raise LoadFailed(f"idle tunnels through {running.proxy.name}: {load.tail()}")
        running.process.pause(1)
        yield


def open_and_close_tunnels(bench: Bench, running: Running) -> None:
    """Let the proxy have had some tunnels, so that what it loads and keeps for the first of them is there."""
    _tunnels(running, _idle_argv(bench, running, 50))
    running.process.pause(1)


def _kib_per_idle_tunnel(bench: Bench, running: Running) -> float:
    open_and_close_tunnels(bench, running)
    before = running.process.rss_kib()
    with idle_tunnels(bench, running, bench.work.idle_tunnels):
        growth = running.process.rss_kib() - before
    return growth / bench.work.idle_tunnels


def nothing(_bench: Bench, _running: Running) -> None:
    """A warm-up for measures that need none."""


MEASURES: tuple[Measure, ...] = (
    Measure(
        "get-100",
        "Plain GET, 100 bytes",
        "us CPU a request",
        f"{CONNECTIONS} kept-alive client connections (wrk, one thread), absolute-form targets; "
        "the count of complete responses is wrk's.",
        _get("100"),
        _rate("100"),
    ),
    Measure(
        "get-10k",
        "Plain GET, 10 KiB",
        "us CPU a request",
        "The same with a body of 10,240 bytes.",
        _get("10k"),
        _rate("10k"),
    ),
    Measure(
        "bulk",
        "CONNECT, bytes",
        "CPU-s a GiB",
        "4 tunnels at a time bring bytes from the origin to the client as fast as they go: "
        "2 GiB a round (512 MiB for tinyproxy and proxy.py, 256 MiB for mitmproxy).",
        _cpu_seconds_per_gib,
        lambda bench, running: _tunnels(running, _bulk_argv(bench, running, 32)),
        is_tunnel=True,
    ),
    Measure(
        "setup",
        "CONNECT, tunnel set-up",
        "us CPU a tunnel",
        "Connect, CONNECT, GET of 100 bytes through the tunnel, close; 8 at a time, 2000 a round (300 for mitmproxy).",
        _microseconds_per_tunnel,
        lambda bench, running: _tunnels(running, _setup_argv(bench, running, 200)),
        is_tunnel=True,
    ),
    Measure(
        "idle",
        "CONNECT, idle tunnel",
        "KiB resident a tunnel",
        "Growth of resident memory from a new process that has served 50 tunnels to the same "
        "process with 2000 open ones, each of which has passed 5 bytes both ways. "
        "Kernel memory (socket buffers) is not in it.",
        _kib_per_idle_tunnel,
        nothing,
        fresh=True,
        is_tunnel=True,
    ),
)


def resident_memory(bench: Bench, proxy: Proxy, say: Callable[[str], None]) -> list[tuple[int, int]]:
    """(requests served, resident KiB) of one proxy from ``memory_first`` to ``memory_last`` requests.

    100-byte GETs; each sample follows a run of wrk, at rest, with no client connected.
    """
    running = start(proxy, bench.directory / f"memory-{proxy.name}", bench.origins)
    samples: list[tuple[int, int]] = []
    with running.process as process:
        served = wrk(bench, running, "100", 2)
        rate = max(1, served // 2)
        while served < bench.work.memory_last:
            aim = (served // bench.work.memory_first + 1) * bench.work.memory_first
            while served < aim:
                served += wrk(bench, running, "100", max(1, math.ceil((aim - served) / rate)))
            process.pause(1)
            samples.append((served, process.rss_kib()))
            say(f"memory {proxy.name}: {samples[-1][1]} KiB after {served} requests")
    return samples
