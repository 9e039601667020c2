"""A real ``twistd pyproxy`` of a test's own: in the foreground or as a daemon, with its signals and its logs."""

from __future__ import annotations

import json
import os
import re
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from tests.live.systemd_double import SystemdDouble

PATIENCE: Final = 20.0
"""How long anything may take, in seconds, before the test fails."""

ANY_PORT: Final = "tcp:0:interface=127.0.0.1"
"""An endpoint on loopback whose port the system chooses."""

T = TypeVar("T")

_STEP = 0.01
_LISTENING = re.compile(r"listening on (\S+)")
TWISTD = str(Path(sys.executable).with_name("twistd"))
PYPROXYCTL = str(Path(sys.executable).with_name("pyproxyctl"))


def awaited(what: Callable[[], T], described: str, patience: float = PATIENCE) -> T:
    """The first true result of ``what``, which is asked again and again for ``patience`` seconds at most."""
    until = time.monotonic() + patience
    while not (result := what()):
        assert time.monotonic() < until, f"it does not happen: {described}"
        select.select([], [], [], _STEP)
    return result


_SETTINGS_OF_OTHERS = re.compile(
    r"(?i)(?:.*_proxy|(?:PYPROXY|XDG|PIP|GIT|NODE|SSL_CERT|CURL|REQUESTS)_.*"
    # What systemd tells the service that this process may be a part of.
    r"|(?:LISTEN|WATCHDOG)_.*|NOTIFY_SOCKET|(?:RUNTIME|CREDENTIALS)_DIRECTORY)"
)


def clean_environment(directory: Path) -> dict[str, str]:
    """This process's environment with ``directory`` for a home, and with nobody's proxy, trust or settings in it."""
    inherited = {name: value for name, value in os.environ.items() if not _SETTINGS_OF_OTHERS.fullmatch(name)}
    return inherited | {
        "HOME": str(directory),
        "CONFIGURATION_DIRECTORY": str(directory / "etc"),
        "STATE_DIRECTORY": str(directory),
        "RUNTIME_DIRECTORY": str(directory),
    }


class Daemon:
    """A proxy whose settings, state and logs are in ``directory``.

    ``listen`` are ``--listen``'s endpoints, ``settings`` what ``--set`` sets, ``file`` the text of a settings file;
    ``descriptors`` is the limit of open files, and ``twistd`` are options of twistd's own. With ``systemd`` it is
    started as a service. ``program`` is what runs twistd.
    """

    def __init__(
        self,
        directory: Path,
        *,
        listen: Sequence[str] = (ANY_PORT,),
        settings: Mapping[str, str] | None = None,
        file: str | None = None,
        daemonized: bool = False,
        environment: Mapping[str, str] | None = None,
        descriptors: int = 0,
        twistd: Sequence[str] = (),
        systemd: SystemdDouble | None = None,
        program: Sequence[str] = (TWISTD,),
    ) -> None:
        self.directory = directory
        self.access_log = directory / "access.log"
        self.settings_file = directory / "pyproxy.toml"
        self.pid_file = directory / "twistd.pid"
        self.output = directory / "output.txt"
        self.operational_log = directory / "twistd.log" if daemonized else self.output
        self.pid = 0
        self.status: int | None = None
        self._daemonized = daemonized
        self._is_child = not daemonized
        self._systemd = systemd
        self._program = program
        self._descriptors = descriptors
        self._twistd = twistd
        self._environment = clean_environment(directory) | dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._options = [word for endpoint in listen for word in ("--listen", endpoint)]
        if file is None:
            # For a daemon that is where it would be anyway.
            settings = {"log.access": str(self.access_log)} | dict(settings or {})
        else:
            self.settings_file.write_text(file)
            self._options += ["--config", str(self.settings_file)]
        for name, value in (settings or {}).items():
            self._options += ["--set", f"{name}={value}"]

    def __repr__(self) -> str:
        return f"<Daemon {self.directory.name} pid={self.pid} status={self.status}>"

    # ------------------------------------------------------------ beginning

    def _command(self) -> list[str]:
        mode = [f"--pidfile={self.pid_file}"] if self._daemonized else ["-n", "--pidfile="]
        return [*self._program, *mode, *self._twistd, "pyproxy", *self._options]

    def _limit_descriptors(self) -> None:
        if self._descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self._descriptors, self._descriptors))

    def _spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [*self._command(), *arguments]
        with self.output.open("ab") as output:
            how: dict[str, Any] = {
                "cwd": self.directory,
                "stdin": subprocess.DEVNULL,
                "stdout": output,
                "stderr": output,
                "preexec_fn": self._limit_descriptors,
            }
            if self._systemd is not None:
                return self._systemd.start(*command, environment=self._environment, **how)
            return subprocess.Popen(command, env=self._environment, **how)

    def attempt(self, *arguments: str) -> tuple[int, str]:
        """Start it where that comes to nothing, with more ``arguments``: the exit status, and all that was said."""
        process = self._spawn(*arguments)
        try:
            status = process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
        return status, self.said

    def start(self) -> Daemon:
        """Start it, and wait until it is ready, or at least listens when it does not get that far."""
        self._process = self._spawn()
        if self._daemonized:
            assert self._process.wait(PATIENCE) == 0, self.said
            self.pid = int(self.pid_file.read_text())
        else:
            self.pid = self._process.pid
        awaited(lambda: self.addresses or self._process_ended(), f"listening: {self.said}")
        assert self.addresses, self.said
        # What it opens after that, such as the control socket, is open then.
        awaited(lambda: re.search(r"\bready\n", self.log) or self._process_ended(), f"ready: {self.said}")
        return self

    def _process_ended(self) -> bool:
        assert self._process is not None
        return self._is_child and self._process.poll() is not None

    # ------------------------------------------------------------ what it says

    @property
    def said(self) -> str:
        """What came on its standard output and standard error."""
        return self.output.read_text() if self.output.is_file() else ""

    @property
    def log(self) -> str:
        """Its operational log, and in the foreground whatever else it said."""
        return self.operational_log.read_text() if self.operational_log.is_file() else ""

    def await_log(self, pattern: str, count: int = 1) -> re.Match[str]:
        """The ``count``-th match of ``pattern`` in the log, as soon as there is one."""
        found = awaited(lambda: list(re.finditer(pattern, self.log))[count - 1 :], f"{pattern!r} in {self.log}")
        return found[0]

    @property
    def addresses(self) -> list[str]:
        """Where it listens, from what it said last."""
        since_reload = self.log.rpartition("the settings have been reloaded")[2]
        return _LISTENING.findall(since_reload)

    @property
    def address(self) -> str:
        """Where it listens first, as host:port."""
        return self.addresses[0]

    @property
    def port(self) -> int:
        """The port of the first listener."""
        return int(self.address.rpartition(":")[2])

    @property
    def url(self) -> str:
        """The first listener, as clients are told of it."""
        return f"http://{self.address}"

    def access_lines(self, count: int) -> list[str]:
        """The lines of the access log, as soon as there are ``count`` of them."""

        def written() -> list[str]:
            text = self.access_log.read_text() if self.access_log.is_file() else ""
            lines = text.splitlines()
            return lines if len(lines) >= count and text.endswith("\n") else []

        return awaited(written, f"{count} lines in {self.access_log}")

    def lines_so_far(self) -> list[str]:
        """The lines of the access log, up to this moment."""
        reopened = "the logs have been reopened"
        before = self.log.count(reopened)
        self.signal(signal.SIGUSR1)
        self.await_log(reopened, before + 1)
        return self.access_log.read_text().splitlines()

    def access_entries(self, count: int) -> list[dict[str, Any]]:
        """The same lines of a log in the JSON format, as objects."""
        return [json.loads(line) for line in self.access_lines(count)]

    # ------------------------------------------------------------ what it is told, and its end

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def reload(self, file: str | None = None) -> None:
        """Let it read its settings again, after writing ``file`` there, and wait until it has."""
        if file is not None:
            self.settings_file.write_text(file)
        reloads = self.log.count("reloaded")
        self.signal(signal.SIGHUP)
        if self.await_log("reloaded|not reloaded", reloads + 1)[0] == "reloaded":
            # It tells next where it listens now.
            awaited(lambda: self.addresses, f"listening after a reload: {self.log}")

    def control(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What ``pyproxyctl`` does when it is told ``words``, about this proxy."""
        return subprocess.run(
            [PYPROXYCTL, "--socket", f"{self._environment['RUNTIME_DIRECTORY']}/control.sock", *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def upgrade(self) -> int:
        """Let a successor take its place, and go on with that. The process that was replaced, which drains still."""
        self.await_log(r" ready\n")
        upgrades = self.log.count("serves now; this one drains")
        done = self.control("upgrade")
        assert (done.returncode, done.stderr) == (0, ""), self.log
        replaced, self.pid = self.pid, int(self.await_log(r"process ([0-9]+) serves now", upgrades + 1)[1])
        assert str(self.pid) in done.stdout
        # A successor is no child of this process.
        self._is_child = False
        return replaced

    def await_end(self) -> None:
        """Wait until it has ended. ``status`` is then its exit status, where it is this process's child."""
        if self._is_child:
            assert self._process is not None
            self.status = self._process.wait(PATIENCE)
        elif (watched := _watched(self.pid)) >= 0:
            try:
                ready, _, _ = select.select([watched], [], [], PATIENCE)
            finally:
                os.close(watched)
            assert ready, f"{self} does not end"
        self.pid = 0

    def stop(self) -> None:
        """End it now, whoever is being served, if it still runs, and see that it met no fault of its own."""
        if self.pid and not self._process_ended():
            try:
                before = len(self.log)
                self.signal(signal.SIGTERM)
                awaited(lambda: re.search("draining|stopped", self.log[before:]), f"a stop in {self.log}")
                if "stopped" not in self.log[before:]:
                    # What is under way is cut.
                    with suppress(ProcessLookupError):
                        self.signal(signal.SIGTERM)
                self.await_end()
            finally:
                if self.pid:
                    with suppress(ProcessLookupError):
                        self.signal(signal.SIGKILL)
                    self.await_end()
            assert self.status in (0, None), self.log
        if self._process is not None:
            # What was replaced has ended before.
            self._process.wait(PATIENCE)
        assert "Traceback" not in self.log + self.said, self.log + self.said

    def descriptors(self) -> int:
        """How many file descriptors it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident(self) -> int:
        """Its resident memory, in bytes."""
        return self._memory("VmRSS")

    def forget_peak(self) -> None:
        """Let `peak` count from now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak(self) -> int:
        """The most that its resident memory has been since `forget_peak`, in bytes."""
        return self._memory("VmHWM")

    def _memory(self, what: str) -> int:
        found = re.search(rf"^{what}:\s*([0-9]+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024


def _watched(pid: int) -> int:
    """A descriptor that becomes readable when the process ``pid`` has ended; -1 when it has already."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return -1
