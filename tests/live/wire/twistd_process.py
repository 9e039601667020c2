"""One real ``twistd -n pyproxy`` for the tests to talk to."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from tests.live.daemon import clean_environment
from tests.live.wire.raw import PATIENCE, Connection

NAME: Final = "wire"
"""What the proxy calls itself in Via."""

_STEP = 0.01


def pause(seconds: float = _STEP) -> None:
    """Let the proxy go on for a moment, while something outside is polled."""
    select.select([], [], [], seconds)


class TwistdProcess:
    """A proxy on a port of 127.0.0.1 that the system has chosen.

    ``descriptors`` limits how many file descriptors it may have, ``trusted`` is a file of certificates of the
    authorities that it trusts, and ``a__b`` among ``settings`` stands for ``a.b``.
    """

    def __init__(self, directory: Path, *, descriptors: int = 0, trusted: Path | None = None, **settings: str) -> None:
        self._access_log = directory / "access.log"
        self._log = directory / "twistd.log"
        self._read = 0
        self._lines: dict[int, list[dict[str, Any]]] = {}
        assignments = {
            "access.connect_ports": "all",
            "forwarding.via": NAME,
            "log.access": str(self._access_log),
            "log.format": "json",
        }
        assignments.update((key.replace("__", "."), value) for key, value in settings.items())
        command = [str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", "pyproxy"]
        command += ["--listen", "tcp:0:interface=127.0.0.1"]
        for key, value in assignments.items():
            command += ["--set", f"{key}={value}"]
        if descriptors:
            command = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *command]
        environment = clean_environment(directory)
        if trusted is not None:
            environment["SSL_CERT_FILE"] = str(trusted)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory, env=environment
            )
        self.port = self._wait_for_port()

    def _wait_for_port(self) -> int:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            found = re.search(r"listening on 127\.0\.0\.1:([0-9]+)", self.log)
            if found is not None:
                return int(found[1])
            assert self.process.poll() is None, self.log
            pause()
        raise AssertionError(f"the proxy does not start: {self.log}")

    @property
    def authority(self) -> bytes:
        """Where it listens, as host:port."""
        return b"127.0.0.1:%d" % self.port

    @property
    def log(self) -> str:
        """What it has said about itself so far."""
        return self._log.read_text(errors="replace")

    def connect(self) -> Connection:
        """A new client's connection."""
        return Connection(socket.create_connection(("127.0.0.1", self.port), PATIENCE))

    def access_lines(self, client: Connection, count: int = 1) -> list[dict[str, Any]]:
        """The lines of the access log about a client, as soon as there are ``count``."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            # The log is written when it is reopened, and else once a second.
            self.process.send_signal(signal.SIGUSR1)
            self._read_access_log()
            # Ports are used again, by clients of other tests.
            lines = [line for line in self._lines.get(client.port, []) if line["finished"] >= client.began]
            if len(lines) >= count:
                return lines
            pause()
        raise AssertionError(f"{len(lines)} lines of {count}: {lines}")

    def _read_access_log(self) -> None:
        with self._access_log.open("rb") as file:
            file.seek(self._read)
            written = file.read()
        whole = written[: written.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in map(json.loads, whole.splitlines()):
            self._lines.setdefault(line["client_port"], []).append(line)

    def access_log(self) -> str:
        """All of the access log that has been written."""
        return self._access_log.read_text()

    def memory(self) -> int:
        """Its resident memory, in bytes."""
        found = re.search(r"VmRSS:\s*([0-9]+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def cpu_seconds(self) -> float:
        """The processor time that it has used."""
        columns = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(columns[11]) + int(columns[12])) / os.sysconf("SC_CLK_TCK")

    def sockets(self) -> int:
        """How many sockets it has open."""
        count = 0
        for descriptor in Path(f"/proc/{self.process.pid}/fd").iterdir():
            try:
                count += str(descriptor.readlink()).startswith("socket:")
            except FileNotFoundError:
                # Closed between the listing and the look.
                continue
        return count

    def stop(self) -> None:
        """End it, and see that it met no fault of its own all the while."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        assert self.process.returncode == 0, self.log
        assert "Traceback" not in self.log, self.log
