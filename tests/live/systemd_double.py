"""What a daemon sees of systemd: a socket for its notifications, a watchdog's variables, and sockets handed in."""

from __future__ import annotations

import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from tests.live.daemon import PATIENCE

_CREDENTIALS: Final = struct.Struct("3i")
_LARGEST: Final = 65536

# Between fork and exec, as systemd does it: the variables name the process that becomes the daemon, and the sockets
# have the descriptors from 3 on. A shell cannot do it, since some know only descriptors of one digit.
_LAUNCHER: Final = """
import fcntl, os, sys
handed, command = [int(word) for word in sys.argv[1].split(",") if word], sys.argv[2:]
high = [fcntl.fcntl(number, fcntl.F_DUPFD, 100) for number in handed]
for place, number in enumerate(high):
    os.dup2(number, 3 + place)
os.closerange(3 + len(high), 200)
for name in ("LISTEN_PID", "WATCHDOG_PID"):
    if name in os.environ:
        os.environ[name] = str(os.getpid())
os.execvp(command[0], command)
"""


@dataclass(frozen=True)
class Notification:
    """One message: the process that sent it, as the kernel says, and its assignments."""

    pid: int
    assignments: Mapping[str, str]


class SystemdDouble:
    """Stands for systemd towards the commands that `start` starts, with its socket in ``directory``.

    ``watchdog`` is WatchdogSec in seconds; 0 for none. It is a context manager, which closes what it has opened.
    """

    def __init__(self, directory: Path, *, watchdog: float = 0.0) -> None:
        self.received: list[Notification] = []
        """What has come in so far, oldest first."""
        self._watchdog = watchdog
        self._handed: list[tuple[str, socket.socket]] = []
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.address = str(directory / "notify")
        self._notify.bind(self.address)

    def __repr__(self) -> str:
        return f"<SystemdDouble {self.address} received={len(self.received)} sockets={len(self._handed)}>"

    def __enter__(self) -> SystemdDouble:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its sockets, those handed over too."""
        self._notify.close()
        for _, one in self._handed:
            one.close()

    # ------------------------------------------------------------ activation

    def listen(self, address: tuple[str, int] | Path, name: str = "pyproxy") -> socket.socket:
        """Open a socket that what is started next gets, under ``name``: at a host and port, or at a path."""
        if isinstance(address, Path):
            one = socket.socket(socket.AF_UNIX)
            one.bind(str(address))
        else:
            one = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(address)
        one.listen(1024)
        self._handed.append((name, one))
        return one

    @property
    def environment(self) -> dict[str, str]:
        """The variables for what is started, in which the launcher puts in the number of its process."""
        variables = {"NOTIFY_SOCKET": self.address}
        if self._watchdog:
            variables |= {"WATCHDOG_USEC": str(int(self._watchdog * 1_000_000)), "WATCHDOG_PID": ""}
        if self._handed:
            names = ":".join(name for name, _ in self._handed)
            variables |= {"LISTEN_PID": "", "LISTEN_FDS": str(len(self._handed)), "LISTEN_FDNAMES": names}
        return variables

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What a process must inherit for `command` to hand it on: ``pass_fds`` of `subprocess.Popen`."""
        return tuple(one.fileno() for _, one in self._handed)

    def command(self, *words: str) -> list[str]:
        """A command that becomes ``words``, whose process has the sockets and is the one that the variables name."""
        return [sys.executable, "-I", "-S", "-c", _LAUNCHER, ",".join(map(str, self.descriptors)), *words]

    def start(self, *words: str, environment: Mapping[str, str], **popen: Any) -> subprocess.Popen[bytes]:
        """Start ``words`` as a service. What is not named goes to `subprocess.Popen`."""
        return subprocess.Popen(
            self.command(*words), env={**environment, **self.environment}, pass_fds=self.descriptors, **popen
        )

    # ------------------------------------------------------------ notifications

    def receive(self, seconds: float = 0.0) -> bool:
        """Take in what has come, or comes first within ``seconds``; whether there was anything."""
        ready, _, _ = select.select([self._notify], [], [], seconds)
        before = len(self.received)
        while ready:
            try:
                content, ancillary, _, _ = self._notify.recvmsg(_LARGEST, socket.CMSG_SPACE(_CREDENTIALS.size))
            except BlockingIOError:
                break
            (pid,) = (_CREDENTIALS.unpack(data)[0] for _, kind, data in ancillary if kind == socket.SCM_CREDENTIALS)
            pairs = (line.partition("=") for line in content.decode().splitlines())
            self.received.append(Notification(pid, {name: value for name, _, value in pairs}))
        return len(self.received) > before

    def awaited(self, name: str, value: str | None = None, *, after: int = 0) -> Notification:
        """The first message with this assignment, whatever its value where None, among those ``after`` so many."""
        until = time.monotonic() + PATIENCE
        while True:
            for one in self.received[after:]:
                found = one.assignments.get(name)
                if found is not None and value in (None, found):
                    return one
            left = until - time.monotonic()
            assert left > 0, f"{name}={value} does not come; there are {self.received}"
            self.receive(left)


def environment_of_nobody() -> dict[str, str]:
    """This process's environment without what another systemd has said to it."""
    theirs = ("NOTIFY_SOCKET", "WATCHDOG_", "LISTEN_")
    return {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
