"""The processes of a soak test, as the system shows them: what they hold, what they carry, and their end."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import time
from collections import Counter
from pathlib import Path
from typing import Final

_SUBREAPER: Final = 36
_SOCKET = re.compile(r"socket:\[([0-9]+)\]")
_ENDING_SECONDS: Final = 5.0
_LISTINGS: Final = 5


def adopt_orphans() -> None:
    """Let whatever descends from this process become its child when its parent ends, so that none gets away.

    Raises `OSError`.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot adopt orphans")


def state(pid: int) -> str:
    """The state of a process, as the system abbreviates it; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_gone(pid: int) -> bool:
    """Whether a process has ended."""
    return state(pid) in ("", "Z")


def children(pid: int) -> list[int]:
    """The children of a process, the ended ones too."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def descendants(pid: int) -> list[int]:
    """Everything alive that comes from a process, itself not included."""
    found: list[int] = []
    for child in children(pid):
        if not is_gone(child):
            found += [child, *descendants(child)]
    return found


def command(pid: int) -> str:
    """The command line of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def resident(pid: int) -> int:
    """The resident memory of a process, in bytes; 0 when there is none."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0


def opened(pid: int) -> list[str]:
    """What a process has open, a name for each descriptor."""
    names: list[str] = []
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except (FileNotFoundError, ProcessLookupError):
        return names
    for number in numbers:
        try:
            names.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except FileNotFoundError:
            continue
    return names


def kinds_of(names: list[str]) -> Counter[str]:
    """How many descriptors there are of each kind: ``file``, or what the system calls it."""
    return Counter("file" if name.startswith("/") else name.partition(":")[0] for name in names)


def carried(pid: int, port: int) -> frozenset[int]:
    """The ports of the clients that a process has connections with, at its own ``port`` of loopback."""
    sockets = {found[1] for name in opened(pid) if (found := _SOCKET.fullmatch(name))}
    address = f"{int.from_bytes(socket.inet_aton('127.0.0.1'), 'little'):08X}:{port:04X}"
    ports: set[int] = set()
    # The system lists piece by piece, and leaves some out when others go meanwhile.
    for _ in range(_LISTINGS):
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[1] == address and columns[9] in sockets:
                ports.add(int(columns[2].partition(":")[2], 16))
    return frozenset(ports)


def end_all() -> list[int]:
    """End whatever descends from this process, at once. Returns what there was."""
    ended: list[int] = []
    until = time.monotonic() + _ENDING_SECONDS
    while (alive := descendants(os.getpid())) and time.monotonic() < until:
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            if pid not in ended:
                ended.append(pid)
        for pid in children(os.getpid()):
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
    return ended
