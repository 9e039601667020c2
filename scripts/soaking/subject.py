"""The proxy that is tried: its settings, its control socket, its processes and its logs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from scripts.soaking.processes import children, command, descendants, is_gone, kinds_of, opened, resident

ROOT: Final = Path(__file__).resolve().parents[2]
TWISTD: Final = Path(sys.executable).with_name("twistd")
CONTROL: Final = Path(sys.executable).with_name("pyproxyctl")

DRAIN_SECONDS: Final = 30.0
"""How long the proxy lets what is under way finish: longer than anything an honest client does."""

START_SECONDS: Final = 60.0
CONTROL_SECONDS: Final = 10.0
STEP: Final = 0.05

SETTINGS: Final = """\
[service]
workers = {workers}
drain_timeout = "{drain:g}s"
lag_limit = "5s"

[downstream]
listen = ["tcp:0:interface=127.0.0.1"]
idle_timeout = "1500ms"
write_timeout = "2s"

[upstream]
idle_timeout = "1s"
first_byte_timeout = "2s"
body_timeout = "3s"

[tunnel]
idle_timeout = "10s"

[access]
connect_ports = ["all"]

[forwarding]
via = "{via}"

[control]
socket = "{socket}"

[log]
access = "{access_log}"
format = "{format}"
"""

_PROXY = re.compile(r"twistd|run\(\)|twistedproxy\.workers\.process")


class CannotGoOn(Exception):
    """The proxy does not do what the rest of the test rests on."""


class Conduct(NamedTuple):
    """What changes between two reloads."""

    workers: int
    format: str = "squid"
    via: str = "soak"


async def until(what: Callable[[], object], seconds: float, described: str) -> None:
    """Wait until something is so. Raises `CannotGoOn`."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise CannotGoOn(f"it does not happen in {seconds:g} s: {described}")
        await asyncio.sleep(STEP)


class Subject:
    """A ``twistd -n pyproxy`` whose files are in ``directory``, and whatever follows it by an upgrade."""

    def __init__(self, directory: Path, conduct: Conduct) -> None:
        self.conduct = conduct
        self.pid = 0
        self.port = 0
        self.access_log = directory / "access.log"
        self.socket = directory / "control.sock"
        self.output = directory / "output.txt"
        self.exits: dict[int, int] = {}
        """The exit statuses of the daemons that have ended, as the system tells them."""
        self._directory = directory
        self._settings = directory / "pyproxy.toml"
        self._process: subprocess.Popen[bytes] | None = None
        self._daemons: set[int] = set()

    def __repr__(self) -> str:
        return f"<Subject pid={self.pid} port={self.port} {self.conduct}>"

    def write_settings(self) -> None:
        """Write what the next reload finds."""
        text = SETTINGS.format(
            **self.conduct._asdict(), drain=DRAIN_SECONDS, socket=self.socket, access_log=self.access_log
        )
        self._settings.write_text(text)

    async def start(self) -> None:
        """Start it, and wait until it serves. Raises `CannotGoOn`."""
        self.write_settings()
        unwanted = re.compile(r"(?i).*_proxy|(?:PYPROXY|XDG|LISTEN|WATCHDOG|TWISTEDPROXY)_.*|NOTIFY_SOCKET")
        environment = {name: value for name, value in os.environ.items() if not unwanted.fullmatch(name)}
        environment |= dict.fromkeys(
            ("HOME", "CONFIGURATION_DIRECTORY", "STATE_DIRECTORY", "RUNTIME_DIRECTORY"), str(self._directory)
        )
        with self.output.open("ab") as output:
            self._process = process = subprocess.Popen(
                [str(TWISTD), "-n", "--pidfile=", "pyproxy", "--config", str(self._settings)],
                cwd=self._directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._daemons.add(process.pid)
        await until(lambda: self.socket.exists() or process.poll() is not None, START_SECONDS, "a control socket")
        if process.poll() is not None:
            raise CannotGoOn(f"the proxy did not start: {self.said()}")
        self.pid = process.pid
        await self.ready()

    async def ready(self) -> dict[str, Any]:
        """Its status, as soon as all of its workers serve. Raises `CannotGoOn`."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            status: dict[str, Any] = await self.ask("status")
            serving = [worker for worker in status["workers"] if worker["state"] == "ready"]
            if status["state"] == "ready" and len(serving) == self.conduct.workers:
                self.pid = status["pid"]
                self._daemons.add(self.pid)
                self.port = int(status["listeners"][0].rpartition(":")[2])
                return status
            await asyncio.sleep(STEP * 4)
        raise CannotGoOn(f"it is not ready: {status}")

    def said(self) -> str:
        """Its operational log, and whatever else it printed."""
        return self.output.read_text(errors="replace")

    # ------------------------------------------------------------ control

    async def ask(self, path: str, method: str = "GET") -> Any:
        """What its control API answers. Raises `CannotGoOn`."""
        return json.loads(await self._fetch(f"/api/v1/{path}", method))

    async def metrics(self) -> str:
        """Its numbers, in the text format. Raises `CannotGoOn`."""
        return (await self._fetch("/metrics", "GET")).decode()

    async def _fetch(self, path: str, method: str) -> bytes:
        try:
            async with asyncio.timeout(CONTROL_SECONDS):
                reader, writer = await asyncio.open_unix_connection(str(self.socket))
                try:
                    # HTTP/1.0, so that the answer ends with the connection.
                    writer.write(f"{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
                    answer = await reader.read(-1)
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise CannotGoOn(f"the control socket does not answer to {path}: {error!r}") from error
        head, _, content = answer.partition(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise CannotGoOn(f"the control socket answers to {path}: {answer[:500]!r}")
        return content

    async def upgrade(self) -> None:
        """Let ``pyproxyctl`` start its successor. Raises `CannotGoOn`."""
        old = self.pid
        upgrading = await asyncio.create_subprocess_exec(
            *(str(CONTROL), "--socket", str(self.socket), "upgrade"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        said, _ = await upgrading.communicate()
        if upgrading.returncode:
            raise CannotGoOn(f"pyproxyctl upgrade: status {upgrading.returncode}: {said.decode()}")
        await self.ready()
        if self.pid == old:
            raise CannotGoOn("after an upgrade the process is the same as before")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    # ------------------------------------------------------------ processes

    def processes(self) -> list[int]:
        """All of its processes that are alive: the daemon, its workers, and those that drain."""
        # One that is about to end has no command line any more.
        return [pid for pid in descendants(os.getpid()) if _PROXY.search(command(pid) or "twistd")]

    def is_staffed(self, workers: int) -> bool:
        """Whether there are just the processes that ``workers`` take."""
        expected = {self.pid, *(pid for pid in children(self.pid) if not is_gone(pid))}
        return set(self.processes()) == expected and len(expected) == (workers + 1 if workers > 1 else 1)

    def memory(self) -> dict[int, int]:
        """The resident memory of each of its processes, in bytes."""
        return {pid: resident(pid) for pid in self.processes()}

    def descriptors(self) -> Counter[str]:
        """How many descriptors its processes have open, by kind."""
        return sum((kinds_of(opened(pid)) for pid in self.processes()), Counter())

    def has_open(self, path: Path) -> bool:
        """Whether one of its processes has that file open."""
        return any(str(path) in opened(pid) for pid in self.processes())

    def reap(self) -> None:
        """Note how its daemons have ended, and let go of what it left to us."""
        process = self._process
        if process is not None and process.pid not in self.exits and process.poll() is not None:
            self.exits[process.pid] = process.returncode
        # Successors become our children when those that started them have ended.
        for pid in children(os.getpid()):
            if pid in self._daemons and pid not in self.exits and is_gone(pid):
                _, status = os.waitpid(pid, 0)
                self.exits[pid] = os.waitstatus_to_exitcode(status)

    async def stop(self) -> float:
        """Let it drain and end. The seconds it took; raises `CannotGoOn`."""
        began = time.monotonic()
        self.signal(signal.SIGTERM)
        await until(lambda: not self.processes(), DRAIN_SECONDS + CONTROL_SECONDS, "the end of the proxy")
        self.reap()
        return time.monotonic() - began
