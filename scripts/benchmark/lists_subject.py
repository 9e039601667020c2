"""One way to hold a list of domains, in a process of its own: what it costs, as JSON on standard output.

``lists_subject.py compact|mapped|set LIST DIRECTORY``
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

PRIME = 576460752303423433
LOOKUPS = 200_000


def resident() -> int:
    """Resident memory of this process, in KiB."""
    text = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:"))


def asked(path: Path) -> tuple[list[str], list[str]]:
    """Hosts below entries of the list, and hosts that are nowhere, each a new one."""
    chosen = random.Random(7)
    with path.open() as file:
        entries = [line.strip() for line in file if chosen.random() < LOOKUPS / 1_000_000]
    return [f"www.{entry}" for entry in entries], [f"www.n{number}.example.org" for number in range(LOOKUPS)]


def microseconds(look_up: Callable[[str], object], hosts: list[str]) -> float:
    """CPU time of a look-up."""
    begun = time.process_time()
    for host in hosts:
        look_up(host)
    return (time.process_time() - begun) / len(hosts) * 1e6


def main(kind: str, path: Path, directory: Path) -> None:
    """Load, look up, and tell."""
    from twistedproxy.access.blocklists.lists import Blocklists, OpenList
    from twistedproxy.access.hosts import HostSet
    from twistedproxy.blocklists.compiling import Job, compile_now
    from twistedproxy.blocklists.files import open_image

    image = directory / "list.image"
    before = resident()
    wall, begun = time.perf_counter(), time.process_time()
    if kind == "set":
        with path.open() as file:
            names = {line.strip().lower() for line in file}

        def look_up(host: str) -> object:
            while host:
                if host in names:
                    return host
                host = host.partition(".")[2]
            return None

        judge = look_up

    else:
        if kind == "compact":
            compile_now(Job(str(path), str(image), "auto", True, PRIME, "", 1 << 40))
        opened = OpenList("list", "", "block", False, True, HostSet(()), open_image(image, PRIME))
        judge = Blocklists((opened,), PRIME).judge
        table = opened.image.table

        def look_up(host: str) -> object:
            return table.look_up(host.encode("ascii"))[0] + 1

    seconds, wall = time.process_time() - begun, time.perf_counter() - wall
    grown = resident() - before
    hits, misses = asked(path)
    found = {
        "seconds": seconds,
        "wall": wall,
        "mebibytes": grown / 1024,
        "hit": microseconds(look_up, hits),
        "miss": microseconds(look_up, misses),
        "first": microseconds(judge, misses),
        "found": microseconds(judge, hits),
        "again": microseconds(judge, misses[:1000] * 100),
    }
    assert all(map(look_up, hits[:1000]))
    assert not any(map(look_up, misses[:1000]))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
