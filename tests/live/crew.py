"""The processes of a daemon with several workers, as the system shows them."""

from __future__ import annotations

import os
from pathlib import Path

from tests.live.daemon import Daemon, awaited


def children(pid: int) -> list[int]:
    """The processes that ``pid`` has started and that run still."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return sorted(child for child in found if state(child) not in ("Z", ""))


def state(pid: int) -> str:
    """The process's state, as the system abbreviates it; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def workers(proxy: Daemon, count: int) -> list[int]:
    """The daemon's worker processes, as soon as there are ``count`` of them and all serve."""

    def serving() -> list[int]:
        found = children(proxy.pid)
        ready = [pid for pid in found if f"(process {pid}) serves" in proxy.log]
        return ready if len(ready) == len(found) == count else []

    return awaited(serving, f"{count} workers in {proxy.log}")


def await_gone(pid: int) -> None:
    """Wait until a process has ended."""
    awaited(lambda: state(pid) in ("", "Z"), f"the end of process {pid}")


def descriptors(pid: int) -> set[str]:
    """What a process has open, but for what has no name of its own."""
    found = set()
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.add(os.readlink(f"/proc/{pid}/fd/{number}"))
        except FileNotFoundError:
            continue
    return {name for name in found if name.startswith("/") and not name.startswith("/dev/")}
