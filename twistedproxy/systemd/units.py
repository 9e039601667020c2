"""The texts that make the proxy a service: its units, log rotation, account and first settings. All are pure functions.

A `Service` says what they depend on. The service unit's comments are for the operator who reads it; why its sandbox is
as it is, and no tighter, stands there too.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from twistedproxy.settings.annotate import annotated_toml
from twistedproxy.settings.spelling import toml_value
from twistedproxy.settings.types import Settings
from twistedproxy.systemd.listening import streams

UNIT: Final = "pyproxy"
"""The name of the units, without their suffix."""

ACCOUNT: Final = "pyproxy"
DIRECTORY: Final = "twistedproxy"
"""What the directories of settings, state, logs and runtime files are called, each in its place."""

STATE: Final = f"/var/lib/{DIRECTORY}"
LOGS: Final = f"/var/log/{DIRECTORY}"
RUNTIME: Final = f"/run/{DIRECTORY}"
ACCESS_LOG: Final = f"{LOGS}/access.log"

WATCHDOG: Final = 30
"""Seconds without a sign of life after which systemd starts the proxy again."""

STOP_MARGIN: Final = 15
"""Seconds that a stop may take beyond the drain, before systemd kills what is left."""

_PRIVILEGED: Final = 1024
_HOMES: Final = ("/home", "/root", "/run/user")
_TEMPORARY: Final = ("/tmp", "/var/tmp")
_UNPRINTABLE: Final = "a path or name in a unit cannot have control characters: {0!r}"
_UNSAFE: Final = frozenset("\"'$\\")
_TABLE: Final = re.compile(r"\[[a-z_]+\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the units depend on.

    ``twistd`` and ``config`` are absolute paths. ``code`` is where the program lies: directories that the sandbox must
    not hide. ``writable`` are directories outside of the service's own that it writes to, such as that of a log.
    ``credentials`` are pairs of a name and the path of a file. ``drain`` is how long a stop may take, in seconds.
    """

    twistd: str
    config: str
    system: bool = True
    socket_activation: bool = False
    listen: tuple[str, ...] = ()
    drain: float = 30.0
    credentials: tuple[tuple[str, str], ...] = ()
    code: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()

    @property
    def privileged_ports(self) -> tuple[int, ...]:
        """The ports that it has to open itself and needs a capability for."""
        left = [stream for stream in streams(self.listen) if not (self.socket_activation and stream.listen)]
        return tuple(sorted({stream.port for stream in left if 0 < stream.port < _PRIVILEGED}))


def quoted(word: str) -> str:
    """``word`` as one word of a command line in a unit (systemd.service(5)); ValueError for control characters."""
    escaped = specified(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return escaped if re.fullmatch(r"[\w@%+=:,./-]+", escaped) else f'"{escaped}"'


def specified(text: str) -> str:
    """``text`` with nothing in it that systemd would take for a specifier; ValueError for control characters."""
    if not text.isprintable():
        raise ValueError(_UNPRINTABLE.format(text))
    return text.replace("%", "%%")


def service_unit(service: Service) -> str:
    """``pyproxy.service``. ValueError when a path cannot stand in a unit."""
    return "\n".join([*_head(service), *_running(service), *_places(service), *_sandbox(service), *_install(service)])


def _head(service: Service) -> Iterator[str]:
    yield f"# {UNIT}.service: written by install-service, and removed by uninstall-service."
    yield f"# Your own changes belong into a drop-in: systemctl {_user(service)}edit {UNIT}.service"
    yield ""
    yield "[Unit]"
    yield "Description=twistedproxy, a forward proxy for HTTP and HTTPS"
    if service.system:
        yield "After=network-online.target nss-lookup.target"
        yield "Wants=network-online.target"
    if service.socket_activation:
        yield "# The socket unit holds the addresses, so that clients wait while the proxy starts anew."
        yield f"Requires={UNIT}.socket"
        yield f"After={UNIT}.socket"
    yield "# After five failures in a minute it stays down, for somebody to look at it."
    yield "StartLimitIntervalSec=60"
    yield "StartLimitBurst=5"
    yield ""


def _running(service: Service) -> Iterator[str]:
    yield "[Service]"
    yield "# The proxy says itself when it serves, reloads and stops. Not only its main process may: in an upgrade the"
    yield "# old process and the new one agree on which of them that is."
    yield "Type=notify"
    yield "NotifyAccess=all"
    if set(service.twistd) & _UNSAFE:
        raise ValueError(f"systemd runs no program with quotes, $ or \\ in its path: {service.twistd}")
    command = (service.twistd, "--nodaemon", "--pidfile=", "pyproxy", "--config", service.config)
    yield f"ExecStart={' '.join(map(quoted, command))}"
    yield "# The settings are read again; when they are wrong, the old ones stay in force and the journal says why."
    yield "ExecReload=/bin/kill -HUP $MAINPID"
    yield ""
    yield "# A proxy that fails, or gives no sign of life for this long, is started anew."
    yield "Restart=on-failure"
    yield "RestartSec=1"
    yield f"WatchdogSec={WATCHDOG}"
    yield ""
    yield "# A stop lets running exchanges finish: service.drain_timeout, with drain_delay before it where that is set."
    yield "# This is longer. Raise it when you raise those, or install the service again."
    yield f"TimeoutStopSec={math.ceil(service.drain) + STOP_MARGIN}"
    yield "# Only the main process is told to stop, and tells its workers; what is left in the end is killed."
    yield "KillMode=mixed"
    yield ""
    yield (
        "# The operational log goes to the journal: journalctl " + ("" if service.system else "--user ") + f"-u {UNIT}"
    )
    yield "StandardOutput=journal"
    yield "StandardError=journal"
    yield "# Each client takes two descriptors. This allows for about 24500 of them."
    yield "LimitNOFILE=65536"
    yield ""


def _places(service: Service) -> Iterator[str]:
    if service.system:
        yield "# It runs as an account of its own, which owns these directories in /var/lib, /var/log and /run. The"
        yield "# settings in /etc stay root's, and secrets do not belong there: they come as credentials."
        yield f"User={ACCOUNT}"
        yield f"Group={ACCOUNT}"
    else:
        yield "# Its own directories. The access log goes to the journal too, unless log.access says otherwise."
    yield f"ConfigurationDirectory={DIRECTORY}"
    yield f"ConfigurationDirectoryMode={'0755' if service.system else '0700'}"
    yield f"StateDirectory={DIRECTORY}"
    yield f"StateDirectoryMode={'0750' if service.system else '0700'}"
    if service.system:
        yield f"LogsDirectory={DIRECTORY}"
        yield "LogsDirectoryMode=0750"
    yield f"RuntimeDirectory={DIRECTORY}"
    yield f"RuntimeDirectoryMode={'0755' if service.system else '0700'}"
    if service.socket_activation:
        yield "# A Unix socket in there is the socket unit's, and stays when the proxy stops."
        yield "RuntimeDirectoryPreserve=yes"
    yield "UMask=0027"
    if service.credentials:
        yield "# Secrets: root's files, which the proxy finds in $CREDENTIALS_DIRECTORY under these names."
        for name, path in service.credentials:
            yield f"LoadCredential={specified(name)}:{specified(path)}"
    yield ""


def _sandbox(service: Service) -> Iterator[str]:
    yield "# The sandbox. The proxy is left with the network, its own directories, and the system's files to read."
    yield "NoNewPrivileges=yes"
    if service.system:
        yield from _system_sandbox(service)
    else:
        yield "# Only what a user's systemd can do everywhere; the next one it leaves out itself where it cannot."
        yield "ProtectSystem=full"
    yield "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK"
    yield "RestrictNamespaces=yes"
    yield "RestrictRealtime=yes"
    yield "RestrictSUIDSGID=yes"
    yield "LockPersonality=yes"
    yield "KeyringMode=private"
    yield "# No MemoryDenyWriteExecute: pyOpenSSL makes its callbacks at run time, and there is no TLS without them."
    yield "MemoryDenyWriteExecute=no"
    yield "# All that services usually call, with splice and pipe, and nothing that only root has a use for."
    yield "SystemCallArchitectures=native"
    yield "SystemCallFilter=@system-service"
    yield "SystemCallFilter=~@privileged"
    yield "SystemCallErrorNumber=EPERM"
    yield ""


def _system_sandbox(service: Service) -> Iterator[str]:
    ports = service.privileged_ports
    if ports:
        yield f"# For port {' and '.join(map(str, ports))}. With --socket-activation it needs no capability at all."
        yield "CapabilityBoundingSet=CAP_NET_BIND_SERVICE"
        yield "AmbientCapabilities=CAP_NET_BIND_SERVICE"
    else:
        yield "# It opens no port below 1024, so that it needs no capability. Install again when a listener gets one."
        yield "CapabilityBoundingSet="
        yield "AmbientCapabilities="
        yield "PrivateUsers=yes"
    yield "ProtectSystem=strict"
    if service.writable:
        yield "# The settings have a log or a socket there."
        yield f"ReadWritePaths={' '.join('-' + quoted(path) for path in service.writable)}"
    hidden = tuple(_within(service.code, _HOMES))
    shown = (*hidden, *_within(service.code, _TEMPORARY))
    yield f"ProtectHome={'tmpfs' if hidden else 'yes'}"
    yield "PrivateTmp=yes"
    if shown:
        yield "# The program and its settings lie where the two lines above hide everything else."
        yield f"BindReadOnlyPaths={' '.join(quoted(path) for path in shown)}"
    yield "PrivateDevices=yes"
    yield "DevicePolicy=closed"
    yield "PrivateMounts=yes"
    yield "PrivateIPC=yes"
    yield "ProtectHostname=yes"
    yield "ProtectClock=yes"
    yield "ProtectKernelTunables=yes"
    yield "ProtectKernelModules=yes"
    yield "ProtectKernelLogs=yes"
    yield "ProtectControlGroups=yes"
    yield "ProtectProc=invisible"
    yield "ProcSubset=pid"
    yield "RemoveIPC=yes"


def _install(service: Service) -> Iterator[str]:
    yield "[Install]"
    yield f"WantedBy={'multi-user.target' if service.system else 'default.target'}"
    if service.socket_activation:
        yield f"Also={UNIT}.socket"
    yield ""


def socket_unit(service: Service) -> str:
    """``pyproxy.socket``, with the addresses of ``listen``. ValueError when it would have none, or for a bad path."""
    held = [stream for stream in streams(service.listen) if stream.listen]
    opened = [stream.description for stream in streams(service.listen) if not stream.listen]
    if not held:
        raise ValueError("none of the endpoints in downstream.listen is one that a socket unit can hold")
    lines = [
        f"# {UNIT}.socket: written by install-service from downstream.listen, and removed by uninstall-service.",
        "# The proxy finds each of these sockets by its address. Install again when downstream.listen changes.",
        *(f"# The proxy opens this one itself: {specified(one)}" for one in opened),
        "",
        "[Unit]",
        "Description=The addresses of twistedproxy",
        "",
        "[Socket]",
        *(f"ListenStream={specified(stream.listen)}" for stream in held),
        f"FileDescriptorName={UNIT}",
        f"Backlog={max(stream.backlog for stream in held)}",
    ]
    modes = [stream.mode for stream in held if stream.mode is not None]
    if modes:
        if service.system:
            lines += [f"SocketUser={ACCOUNT}", f"SocketGroup={ACCOUNT}"]
        # A unit has one mode for all of its sockets.
        tightest = 0o777
        for mode in modes:
            tightest &= mode
        lines += [f"SocketMode={tightest:04o}", "RemoveOnStop=yes"]
    return "\n".join([*lines, "", "[Install]", "WantedBy=sockets.target", ""])


def logrotate_file() -> str:
    """What logrotate is told of the access log."""
    return f"""\
# Written by install-service, and removed by uninstall-service.
{LOGS}/*.log {{
    daily
    rotate 14
    missingok
    notifempty
    compress
    delaycompress
    sharedscripts
    su {ACCOUNT} {ACCOUNT}
    postrotate
        # The proxy goes on in new files; one that does not run has none open.
        if systemctl is-active --quiet {UNIT}.service; then
            systemctl kill --kill-whom=main --signal=USR1 {UNIT}.service
        fi
    endscript
}}
"""


def account_file() -> str:
    """The account, as sysusers.d(5) has it: no password, no shell, and nothing in its home but the proxy's state."""
    return f"""\
# Written by install-service, and removed by uninstall-service.
u {ACCOUNT} - "twistedproxy" {STATE}
"""


def settings_template(access_log: str | None = None) -> str:
    """A first settings file: every key with its meaning and its default, all of them commented out.

    Only ``log.access`` is set, where ``access_log`` is given.
    """
    lines = [
        "# The settings of twistedproxy. Every key is here with its default: take the # away from those that you",
        "# change, and reload. `twistd pyproxy --config FILE --check` says what they mean and what is wrong with them.",
        "",
    ]
    for line in annotated_toml(Settings()).splitlines():
        if access_log is not None and line.startswith("access ="):
            lines.append(f"access = {toml_value(access_log)}")
        elif not line or line.startswith("#") or _TABLE.fullmatch(line):
            lines.append(line)
        else:
            lines.append("#" + line)
    return "\n".join([*lines, ""])


def access_log_settings(access_log: str) -> str:
    """A drop-in that says where the access log goes, for settings that do not say."""
    return f"""\
# Written by install-service, since the settings did not say where the access log goes; under systemd that would have
# been the journal. Another place is said by log.access in a file of this directory that comes later in the alphabet.
[log]
access = {toml_value(access_log)}
"""


def _user(service: Service) -> str:
    return "" if service.system else "--user "


def _within(paths: Iterable[str], places: Sequence[str]) -> Iterator[str]:
    for path in paths:
        if any(os.path.commonpath((path, place)) == place for place in places):
            yield path
