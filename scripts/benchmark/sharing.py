"""Two ways in which processes can share a port: a listening socket that all inherit, and SO_REUSEPORT.

Measured with a plain Twisted server of a few lines, not with the proxy: how evenly connections that come at once are
shared, and what is lost when one of the processes is killed.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, pstdev

from benchmark.measures import CONNECTIONS
from benchmark.report import table

WAYS = ("inherited", "reuseport")
TITLES = {"inherited": "inherited socket", "reuseport": "SO_REUSEPORT"}
BALANCE_PROCESSES = (2, 4)
BALANCE_ROUNDS = 100
KILL_ROUNDS = 20
BUSY_MILLISECONDS = (0, 20)
"""How long a turn of a server takes: nothing, or as with many clients."""
PAUSE_SECONDS = 0.002
LOAD_SECONDS = 0.4
BACKLOG = 1024
PATIENCE_SECONDS = 5.0


@dataclass(slots=True)
class Sharing:
    """What was found: the largest share of each round, by way and processes; losses of each kill, by way and turn."""

    busiest: dict[tuple[str, int], list[int]]
    lost: dict[tuple[str, int], list[int]]
    tried: dict[tuple[str, int], int]


@contextmanager
def _servers(way: str, count: int, milliseconds: int) -> Iterator[tuple[int, list[subprocess.Popen[str]]]]:
    """Several processes at one port, all of which serve."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        if way == "inherited":
            listening.listen(BACKLOG)
        number = listening.fileno() if way == "inherited" else port
        program = str(Path(__file__).with_name("sharing_server.py"))
        processes = [
            subprocess.Popen(
                [sys.executable, program, way, str(number), str(milliseconds)],
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=[number] if way == "inherited" else [],
            )
            for _ in range(count)
        ]
    try:
        for process in processes:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise SystemExit("bench: a server that shares its port did not start")
        yield port, processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _largest_share(port: int) -> int:
    """Open connections all at once; how many of them the process has that has most."""
    connections = [socket.socket() for _ in range(CONNECTIONS)]
    served: dict[bytes, int] = {}
    try:
        for connection in connections:
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.1", port))
        for connection in connections:
            connection.settimeout(PATIENCE_SECONDS)
            name = connection.recv(16)
            served[name] = served.get(name, 0) + 1
    finally:
        for connection in connections:
            connection.close()
    return max(served.values())


async def _is_greeted(port: int) -> bool:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            greeting = await reader.readline()
            writer.close()
    except OSError:  # a timeout is one too
        return False
    return greeting.endswith(b"\n")


async def _load(port: int, victim: subprocess.Popen[str]) -> tuple[int, int]:
    """Connect every few milliseconds, and kill one in the middle of it. How many there were, and how many were lost."""
    tasks: list[asyncio.Task[bool]] = []
    rounds = round(LOAD_SECONDS / PAUSE_SECONDS)
    for number in range(rounds):
        tasks.append(asyncio.create_task(_is_greeted(port)))
        await asyncio.sleep(PAUSE_SECONDS)
        if number == rounds // 2:
            victim.send_signal(signal.SIGKILL)
    greeted = await asyncio.gather(*tasks)
    return len(greeted), greeted.count(False)


def measure_sharing(say: Callable[[str], None]) -> Sharing:
    """Both ways, in turns."""
    found = Sharing({}, {}, {})
    for count in BALANCE_PROCESSES:
        for way in WAYS:
            with _servers(way, count, 0) as (port, _processes):
                found.busiest[way, count] = [_largest_share(port) for _ in range(BALANCE_ROUNDS)]
            say(f"sharing, {way}, {count} processes: {mean(found.busiest[way, count]):.1f} on average")
    for milliseconds in BUSY_MILLISECONDS:
        for _ in range(KILL_ROUNDS):
            for way in WAYS:
                with _servers(way, 2, milliseconds) as (port, processes):
                    tried, lost = asyncio.run(_load(port, processes[0]))
                found.lost.setdefault((way, milliseconds), []).append(lost)
                found.tried[way, milliseconds] = found.tried.get((way, milliseconds), 0) + tried
        for way in WAYS:
            say(f"sharing, {way}, turns of {milliseconds} ms: lost {found.lost[way, milliseconds]}")
    return found


def sharing_text(found: Sharing) -> str:
    """Two tables: how even it is, and what is lost."""
    even = [["way", "processes", "even would be", "the busiest has, on average", "standard deviation", "at most"]]
    for (way, count), shares in found.busiest.items():
        fair = f"{CONNECTIONS / count:.1f}"
        even.append([TITLES[way], f"{count}", fair, f"{mean(shares):.1f}", f"{pstdev(shares):.1f}", f"{max(shares)}"])
    lost = [["way", "a server's turn, ms", "kills", "connections", "lost", "at most a kill"]]
    for (way, milliseconds), losses in found.lost.items():
        tried = f"{found.tried[way, milliseconds]:,}"
        lost.append(
            [TITLES[way], f"{milliseconds}", f"{len(losses)}", tried, f"{sum(losses)}", f"{max(losses, default=0)}"]
        )
    return (
        f"{CONNECTIONS} connections at once, {BALANCE_ROUNDS} rounds:\n\n{table(even)}\n\n"
        f"One of two processes is killed while a client connects every {PAUSE_SECONDS * 1000:.0f} ms:\n\n{table(lost)}"
    )
