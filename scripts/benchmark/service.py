"""What the managed service promises: how soon it is ready, what a second worker brings, what idle tunnels take.

These measures are of this proxy alone. Each returns plain numbers; ``service_report`` makes tables of them.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmark.measures import (
    SETTLE_SECONDS,
    Bench,
    LoadFailed,
    idle_tunnels,
    open_and_close_tunnels,
    wrk,
)
from benchmark.processes import DidNotStart, Process, cpu_seconds_of, family, free_ports
from benchmark.proxies import OURS, PROXIES, ROOT, Launch, Proxy, Route, Running

READY_ROUNDS = 5
SCALING_ROUNDS = 5
SCALING_SECONDS = 4
READY_TIMEOUT = 20.0
POLL_SECONDS = 0.002
WORKER_COUNTS = (1, 2)
TUNNELS = 10_000

SERVICE = """
[service]
workers = %(workers)d

[control]
socket = "%(directory)s/control"
"""

LOADS = {"kept-alive": False, "new connection a request": True}
"""The kinds of load of the scaling measure: does each request have a connection of its own?"""


@dataclass(frozen=True, slots=True)
class Start:
    """One start: seconds until the first answer, and the CPU seconds that all its processes had used by then."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Round:
    """One run of the load. ``cpu`` and ``served`` are each worker's CPU seconds and requests."""

    requests: int
    seconds: float
    cpu: tuple[float, ...]
    served: tuple[int, ...]

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def cost(self) -> float:
        """CPU microseconds a request, of all the workers together."""
        return sum(self.cpu) * 1e6 / sum(self.served)

    def cost_of(self, worker: int) -> float:
        """CPU microseconds a request of one worker."""
        return self.cpu[worker] * 1e6 / self.served[worker]

    @property
    def share(self) -> float:
        """The part of the requests that the busiest worker has served."""
        return max(self.served) / sum(self.served)


@dataclass(frozen=True, slots=True)
class Memory:
    """What idle tunnels take, in KiB, all processes together: before them and with them."""

    tunnels: int
    rss_before: int
    rss: int
    pss_before: int
    pss: int

    def pss_at(self, tunnels: int) -> float:
        """What so many tunnels take, in KiB: as measured, or in proportion where fewer were possible."""
        return self.pss_before + (self.pss - self.pss_before) * tunnels / self.tunnels


@dataclass(slots=True)
class Service:
    """What a run has found, by the number of workers, and by kind of load where there are two."""

    starts: dict[int, list[Start]] = field(default_factory=dict)
    rounds: dict[tuple[str, int], list[Round]] = field(default_factory=dict)
    own_core: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    """CPU microseconds a request of a worker that has a core to itself."""
    memory: dict[int, Memory] = field(default_factory=dict)
    loads: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def gain(self, load: str) -> float:
        """How many times as much two workers do as one, if each has a core to itself.

        That is what one alone spends on a request, as against one of two, shared out as evenly as it was.
        """
        share = median(one.share for one in self.rounds[load, 2])
        alone, paired = self.own_core[load, 1], self.own_core[load, 2]
        return median(one / other for one, other in zip(alone, paired, strict=True)) / share


# ---------------------------------------------------------------- the daemon


def _launch(bench: Bench, workers: int, name: str) -> tuple[Launch, Path]:
    (port,) = free_ports(1)
    directory = bench.directory / name
    directory.mkdir()
    settings = directory / "pyproxy.toml"
    values = {"port": port, "directory": directory, "workers": workers}
    settings.write_text((OURS + SERVICE) % values)
    twistd = str(ROOT / ".venv" / "bin" / "twistd")
    argv = [
        "nice",
        "-n",
        os.environ.get("BXNICE", "0"),
        twistd,
        "-n",
        "--pidfile=",
        "pyproxy",
        "--config",
        str(settings),
    ]
    route = Route(port, asks=True)
    return Launch(argv, plain=route, tunnel_http=route, tunnel_stream=route), directory


def _ours() -> Proxy:
    return next(proxy for proxy in PROXIES if proxy.name == "ours")


@contextmanager
def _daemon(bench: Bench, workers: int, name: str) -> Iterator[tuple[Running, Path]]:
    launch, directory = _launch(bench, workers, name)
    with Process(launch.argv, output=directory / "output", cwd=ROOT) as process:
        process.await_port(launch.plain.port)
        _await(lambda: _all_serve(directory / "control", workers), f"{workers} workers")
        yield Running(_ours(), process, launch), directory / "control"


def _await(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + READY_TIMEOUT
    while not condition():
        if time.monotonic() > end:
            raise DidNotStart(f"waited in vain for {what}")
        time.sleep(0.02)


def status(control: Path) -> dict[str, Any]:
    """What the daemon tells of itself at its control socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(control))
        connection.sendall(b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while received := connection.recv(65536):
            answer += received
    told: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return told


def _all_serve(control: Path, workers: int) -> bool:
    try:
        told = status(control)
    except OSError:
        return False
    return [worker["state"] for worker in told["workers"]] == ["ready"] * workers


def _served(control: Path) -> dict[int, int]:
    """How many requests each worker has served, by the number of its process."""
    return {
        worker["pid"]: sum(outcome["count"] for outcome in worker["statistics"]["requests"])
        for worker in status(control)["workers"]
    }


# ---------------------------------------------------------------- ready


def real_time() -> list[str]:
    """What lets a command go before everything else on the machine; nothing where that is not allowed."""
    command = ["chrt", "-f", "1"]
    allowed = (
        shutil.which("chrt") and not subprocess.run([*command, "true"], capture_output=True, check=False).returncode
    )
    return command if allowed else []


def _start(bench: Bench, workers: int, name: str) -> Start:
    """Start the daemon, ask for a small file until it comes, and end it.

    It goes before what else the machine does, whose share of the seconds would be all that varies.
    """
    launch, directory = _launch(bench, workers, name)
    argv = [*real_time(), *launch.argv]
    port = bench.origins.http
    request = f"GET http://127.0.0.1:{port}/100 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    began = time.monotonic()
    with Process(argv, output=directory / "output", cwd=ROOT) as process:
        while not _answers(launch.plain.port, request):
            if time.monotonic() > began + READY_TIMEOUT:
                raise DidNotStart(f"no answer within {READY_TIMEOUT:g} s:\n{process.tail()}")
            time.sleep(POLL_SECONDS)
        return Start(time.monotonic() - began, process.cpu_seconds())


def _answers(port: int, request: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=READY_TIMEOUT) as connection:
            connection.sendall(request)
            return connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


def measure_ready(bench: Bench, found: Service, say: Callable[[str], None]) -> None:
    """Start it again and again, with one worker and with two in turns."""
    for number in range(READY_ROUNDS):
        for workers in WORKER_COUNTS:
            start = _start(bench, workers, f"ready-{workers}-{number}")
            found.starts.setdefault(workers, []).append(start)
            say(f"ready round {number + 1}, workers {workers}: {start.wall:.3f} s, {start.cpu:.2f} s CPU")


# ---------------------------------------------------------------- scaling


def _round(bench: Bench, running: Running, control: Path, close: bool) -> Round:
    """One run of wrk."""
    served_before = _served(control)
    cpu_before = {pid: cpu_seconds_of(pid) for pid in served_before}
    began = time.monotonic()
    requests = wrk(bench, running, "100", SCALING_SECONDS, close=close)
    seconds = time.monotonic() - began
    running.process.pause(SETTLE_SECONDS)
    served_after = _served(control)
    return Round(
        requests,
        seconds,
        tuple(cpu_seconds_of(pid) - cpu_before[pid] for pid in cpu_before),
        tuple(served_after[pid] - served_before[pid] for pid in served_before),
    )


@contextmanager
def _core_of_its_own(worker: int) -> Iterator[None]:
    """Let a process have the first core, and all the rest of the benchmark the others."""
    cores = os.sched_getaffinity(0)
    first = min(cores)
    everybody = family(os.getpid())
    try:
        for pid in everybody:
            os.sched_setaffinity(pid, {first} if pid == worker else cores - {first})
        yield
    finally:
        for pid in everybody:
            os.sched_setaffinity(pid, cores)


def measure_scaling(bench: Bench, found: Service, say: Callable[[str], None]) -> None:
    """Plain requests through one worker and through two, in turns."""
    if len(os.sched_getaffinity(0)) < 2:
        raise LoadFailed("it takes two cores")
    with ExitStack() as stack:
        daemons = {
            workers: stack.enter_context(_daemon(bench, workers, f"scaling-{workers}")) for workers in WORKER_COUNTS
        }
        for running, control in daemons.values():
            _round(bench, running, control, False)
        for number in range(SCALING_ROUNDS):
            for load, close in LOADS.items():
                for workers, (running, control) in daemons.items():
                    one = _round(bench, running, control, close)
                    found.rounds.setdefault((load, workers), []).append(one)
                    chosen = number % workers
                    with _core_of_its_own(list(_served(control))[chosen]):
                        cost = _round(bench, running, control, close).cost_of(chosen)
                    found.own_core.setdefault((load, workers), []).append(cost)
                    say(
                        f"scaling round {number + 1}, {load}, workers {workers}: {one.rate:.0f}/s, "
                        f"served {one.served}, {one.cost:.1f} us, with a core to itself {cost:.1f} us"
                    )


# ---------------------------------------------------------------- memory


def possible_tunnels(hard: int, workers: int) -> int:
    """How many tunnels there can be with so many descriptors a process, on both sides of the proxy.

    `descriptor_budget` of the product keeps some for logs and the like, and a quarter for idle connections; load and
    origin need one for each tunnel. Workers do not share the tunnels quite evenly.
    """
    clients = (hard - 128) * 3 // 8
    shared = clients if workers == 1 else int(clients * workers * 0.9)
    return min(TUNNELS, shared - 50, hard - 500)


def measure_memory(bench: Bench, found: Service, say: Callable[[str], None]) -> None:
    """Open as many idle tunnels as wanted, or as there can be, with one worker and with two."""
    for workers in WORKER_COUNTS:
        count = possible_tunnels(resource.getrlimit(resource.RLIMIT_NOFILE)[1], workers)
        with _daemon(bench, workers, f"tunnels-{workers}") as (running, control):
            open_and_close_tunnels(bench, running)
            process = running.process
            rss, pss = process.rss_kib(), process.pss_kib()
            with idle_tunnels(bench, running, count):
                found.memory[workers] = Memory(count, rss, process.rss_kib(), pss, process.pss_kib())
                held = [worker["statistics"]["connections"] for worker in status(control)["workers"]]
        say(f"memory, workers {workers}: {found.memory[workers]}, connections {held}")


def measure_service(bench: Bench, parts: Sequence[str], say: Callable[[str], None]) -> Service:
    """Everything that ``parts`` name."""
    found = Service()
    for part in parts:
        found.loads.append(os.getloadavg()[0])
        try:
            PARTS[part](bench, found, say)
        except (DidNotStart, LoadFailed) as error:
            say(f"{part}: {error}")
            found.problems.append(f"{part}: it failed.")
    return found


PARTS: Mapping[str, Callable[[Bench, Service, Callable[[str], None]], None]] = {
    "ready": measure_ready,
    "scaling": measure_scaling,
    "tunnels": measure_memory,
}
