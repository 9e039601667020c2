"""What the daemon was given when it started, other than settings."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twistedproxy.places import DIRECTORY
from twistedproxy.record.log_file import LogFile
from twistedproxy.record.operational_log import OperationalLog
from twistedproxy.systemd.activation import InheritedSockets
from twistedproxy.systemd.notify import Notifier
from twistedproxy.upgrade import Handover


@dataclass
class Surroundings:
    """The process and its place.

    ``operational_log`` is None when twistd was told to log elsewhere, ``standard_output`` for a daemon, which has none.
    ``access_log_path`` and ``control_socket`` are where these are when the settings do not say, and ``state_directory``
    is where state is kept. ``descriptors`` is how many there may be. ``twistd`` are twistd's own options, and
    ``arguments`` what comes after ``pyproxy``. ``settings_file`` is where settings are kept.
    ``environment`` is for the processes that the daemon starts; ``notifications`` are further variables, by which a
    successor tells the service manager how it goes.
    """

    operational_log: OperationalLog | None
    standard_output: LogFile | None
    access_log_path: str | Path
    control_socket: str | Path
    state_directory: str | Path
    descriptors: int
    settings_file: str = ""
    in_foreground: bool = True
    twistd: MutableMapping[str, Any] = field(default_factory=dict)
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    notifications: Mapping[str, str] = field(default_factory=dict)
    notifier: Notifier = field(default_factory=lambda: Notifier({}, pid=0, monotonic=lambda: 0.0))
    inherited: InheritedSockets | None = None
    handover: Handover | None = None

    def give_to_account(self, files: Sequence[str]) -> None:
        """Give ``files``, the operational log and our own directories to the account that twistd will change to.

        It could not open them again otherwise, nor make sockets there.
        """
        account: int | None = self.twistd.get("uid")
        group: int | None = self.twistd.get("gid")
        if os.geteuid() != 0 or (account is None and group is None):
            return
        if group is None and account is not None:
            group = pwd.getpwuid(account).pw_gid
        own = [Path(self.control_socket).parent, Path(self.access_log_path).parent, Path(self.state_directory)]
        directories = list(dict.fromkeys(str(path) for path in own if path.name == DIRECTORY))
        for directory in directories:
            os.makedirs(directory, mode=0o750, exist_ok=True)
        log = self.operational_log
        operational = [log.path] if log is not None and log.path else []
        for path in [*directories, *files, *operational]:
            if os.path.isabs(path) and os.path.exists(path):
                os.chown(path, -1 if account is None else account, -1 if group is None else group)

    def log_options(self) -> dict[str, str | int | None]:
        """Those of twistd's options that say where the operational log goes, for other processes to go by."""
        log = self.operational_log
        path = log.path if log is not None else None
        return {
            "nodaemon": int(self.in_foreground),
            "logfile": path,
            "syslog": int(bool(self.twistd.get("syslog"))),
            "prefix": self.twistd.get("prefix"),
        }

    def successor_arguments(self) -> list[str]:
        """What twistd is told to start a successor: what this one was told, but what it has done already."""
        arguments = ["--nodaemon", "--pidfile="]
        if self.twistd.get("logger"):
            arguments.append(f"--logger={self.twistd['logger'].__module__}.{self.twistd['logger'].__qualname__}")
        elif self.twistd.get("syslog"):
            arguments += ["--syslog", f"--prefix={self.twistd.get('prefix')}"]
        elif self.operational_log is not None and self.operational_log.path is not None:
            arguments.append(f"--logfile={self.operational_log.path}")
        if self.twistd.get("reactor"):
            arguments.append(f"--reactor={self.twistd['reactor']}")
        return [*arguments, "pyproxy", *self.arguments]


def controlling_terminal() -> bool:
    """Whether this process belongs to a terminal that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
