"""Processes that the benchmark starts: their CPU time, their memory and their end.

A proxy may be several processes (Squid's log writer, proxy.py's acceptors). A process and everything that
descends from it is counted as one: its CPU time is user and system time of the living ones plus that of the
children they have reaped.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
START_SECONDS = 20.0
STOP_SECONDS = 5.0


class DidNotStart(Exception):
    """A process of the benchmark ended, or did not listen, when it should have been ready."""


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third (the state) on; None when the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def cpu_seconds_of(pid: int) -> float:
    """User and system time of one process, with the children that it has reaped; 0 when it is gone."""
    fields = _stat_fields(pid)
    return sum(int(field) for field in fields[11:15]) / TICKS_PER_SECOND if fields is not None else 0.0


def family(ancestor: int) -> list[int]:
    """A process and its descendants that are alive, by parent or by session."""
    rows: dict[int, tuple[int, int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat_fields(int(entry))
            if fields is not None and fields[0] != "Z":
                rows[int(entry)] = (int(fields[1]), int(fields[3]))
    found = {ancestor} & rows.keys()
    grew = True
    while grew:
        more = {
            pid
            for pid, (parent, session) in rows.items()
            if pid not in found and (parent in found or session == ancestor)
        }
        found |= more
        grew = bool(more)
    return sorted(found)


class Process:
    """One started program with all its descendants; a context manager that ends them all."""

    def __init__(self, argv: Sequence[str], *, output: Path, cwd: Path, stdin: bool = False) -> None:
        # The kernel ends the program if the benchmark itself is killed and cannot.
        setpriv = shutil.which("setpriv")
        wrapper = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
        self.name = Path(argv[0]).name
        self.output = output
        with output.open("ab") as log:
            self._popen = subprocess.Popen(
                [*wrapper, *argv],
                cwd=cwd,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._popen.pid

    def __repr__(self) -> str:
        return f"<Process {self.name} pid {self.pid}>"

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def pids(self) -> list[int]:
        """This process and its descendants that are alive, by parent or by session."""
        return family(self.pid)

    def cpu_seconds(self) -> float:
        """User and system time of all the processes so far, with reaped children; exact to a clock tick."""
        return sum(map(cpu_seconds_of, self.pids()))

    def rss_kib(self) -> int:
        """Resident memory of all the processes, in KiB."""
        return self._memory("status", "VmRSS:")

    def pss_kib(self) -> int:
        """The same with each page that several processes share counted once, in KiB."""
        return self._memory("smaps_rollup", "Pss:")

    def _memory(self, file: str, field: str) -> int:
        total = 0
        for pid in self.pids():
            try:
                text = Path(f"/proc/{pid}/{file}").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(field))
        return total

    def pause(self, seconds: float) -> None:
        """Let the program run for a while; raises DidNotStart if it ends."""
        try:
            self._popen.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return
        raise DidNotStart(f"{self.name} ended with status {self._popen.returncode}:\n{self.tail()}")

    def await_port(self, port: int) -> None:
        """Return when something accepts on the loopback port; raises DidNotStart."""
        waited = 0.0
        while waited < START_SECONDS:
            self.pause(0.1)
            waited += 0.1
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                continue
            return
        raise DidNotStart(f"{self.name} does not listen on port {port}:\n{self.tail()}")

    def tail(self) -> str:
        """The last lines that the program printed."""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-12:])

    def close_stdin(self) -> None:
        """Tell a program that waits for the end of its input to go on."""
        if self._popen.stdin is not None:
            self._popen.stdin.close()

    def stop(self) -> None:
        """End the program and all that it started: by TERM, and by KILL what is left after that."""
        pids = self.pids()
        if self._popen.poll() is None:
            self._popen.terminate()
            try:
                self._popen.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                pass
        for pid in {*pids, *self.pids()}:
            fields = _stat_fields(pid)
            if fields is not None and int(fields[3]) == self.pid:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self._popen.wait()
        self.close_stdin()


def free_ports(count: int) -> list[int]:
    """Loopback ports that nothing listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
