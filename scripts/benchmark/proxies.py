"""The proxies that are compared: what configuration each gets, and how it is started.

All have the same duties: a rule that admits loopback clients and no others, an access log in a file, one
worker, no cache, room for 2000 tunnels. Everything else is as the proxy has it by default.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from benchmark.origins import Origins
from benchmark.processes import Process, free_ports

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ROOT / ".cache" / "bench"


@dataclass(frozen=True, slots=True)
class Route:
    """A way to an origin: the proxy's port, and whether the load has to ask for the origin."""

    port: int
    asks: bool


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a proxy: its command line, and the routes that it will offer.

    ``authority`` is the certificate that the clients of one that looks into tunnels trust, ``fields`` what plain
    requests carry besides.
    """

    argv: list[str]
    plain: Route
    tunnel_http: Route
    tunnel_stream: Route
    authority: Path | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy of the table, ``launch`` writes its configuration to a directory.

    ``plain_note`` and ``tunnel_note`` are set where the proxy cannot forward and does its nearest equivalent.
    ``bulk_mib``, ``tunnels`` and ``requests_share`` are the work of one round: less for those that need long for it.
    ``unpacked`` is a Debian package that cannot be installed beside another, and is only unpacked.
    ``silent_close`` says that it closes after a response without a word of it in the response.
    """

    name: str
    title: str
    version: Callable[[], str]
    launch: Callable[[Path, Origins], Launch]
    debian: str = ""
    pypi: str = ""
    unpacked: str = ""
    bulk_mib: int = 2048
    tunnels: int = 2000
    requests_share: float = 1.0
    measures: frozenset[str] = field(default=frozenset({"get-100", "get-10k", "bulk", "setup", "idle"}))
    silent_close: bool = False
    plain_note: str = ""
    tunnel_note: str = ""

    def available(self) -> bool:
        """Is its program there?"""
        if self.pypi:
            return (ENVIRONMENTS / self.pypi / "bin").is_dir()
        if self.unpacked and not (ENVIRONMENTS / self.unpacked / "usr").is_dir():
            return False
        if self.debian:
            return program(self.debian) is not None
        return (ROOT / ".venv" / "bin" / "twistd").exists()


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy that has been started.

    ``rates`` holds the requests a second that it has shown, by file; ``names`` counts the addresses that it has seen.
    """

    proxy: Proxy
    process: Process
    launch: Launch
    rates: dict[str, float] = field(default_factory=dict)
    names: Iterator[int] = field(default_factory=count)


def start(proxy: Proxy, directory: Path, origins: Origins) -> Running:
    """Start a proxy in a new directory; the caller stops its process. Raises DidNotStart."""
    directory.mkdir(parents=True)
    directory.chmod(0o777)  # Squid is another user when root starts it
    launch = proxy.launch(directory, origins)
    process = Process(launch.argv, output=directory / "output", cwd=ROOT)
    try:
        process.await_port(launch.plain.port)
    except BaseException:
        process.stop()
        raise
    return Running(proxy, process, launch)


def program(name: str) -> str | None:
    """The path of an installed program, also where only root looks for one."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def printed_version(*argv: str) -> str:
    """The first version number that a command prints."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    found = re.search(r"\d+\.\d+[\w.+-]*", done.stdout + done.stderr)
    return found.group() if found else "?"


def forwarding(argv: list[str], port: int, authority: Path | None = None) -> Launch:
    """A forward proxy has one port for everything."""
    route = Route(port, asks=True)
    return Launch(argv, plain=route, tunnel_http=route, tunnel_stream=route, authority=authority)


# ---------------------------------------------------------------- ours

OURS = """
[downstream]
listen = ["tcp:%(port)d:interface=127.0.0.1"]
max_connections_per_client = 20000

[upstream]
max_connections = 20000
max_connections_per_origin = 20000

[access]
clients = ["loopback"]
connect_ports = ["all"]

[log]
access = "%(directory)s/access.log"
"""


def _launch_ours(directory: Path, _origins: Origins) -> Launch:
    (port,) = free_ports(1)
    settings = directory / "pyproxy.toml"
    settings.write_text(OURS % {"port": port, "directory": directory})
    twistd = str(ROOT / ".venv" / "bin" / "twistd")
    return forwarding([twistd, "-n", "--pidfile=", "pyproxy", "--config", str(settings)], port)


def our_version() -> str:
    code = "import twistedproxy, twisted; print(twistedproxy.__version__, 'on Twisted', twisted.__version__)"
    python = str(ROOT / ".venv" / "bin" / "python")
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=False).stdout.strip()


# ---------------------------------------------------------------- Squid

SQUID = """
http_port 127.0.0.1:%(port)d
acl connect_ports port 443 1024-65535
acl CONNECT method CONNECT
http_access deny CONNECT !connect_ports
http_access allow localhost
http_access deny all
cache deny all
access_log daemon:%(directory)s/access.log squid
cache_log %(directory)s/cache.log
cache_store_log none
pid_filename %(directory)s/squid.pid
coredump_dir %(directory)s
visible_hostname bench
pinger_enable off
max_filedescriptors 16384
shutdown_lifetime 1 seconds
"""


def squid_user() -> list[str]:
    """What makes a command Squid's user, where root would start it."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or not setpriv:
        return []
    # Squid does not stay root, and would lose the kernel's promise to end it when the benchmark is killed.
    return [setpriv, "--reuid", "proxy", "--regid", "proxy", "--clear-groups", "--pdeathsig", "KILL"]


def _launch_squid(directory: Path, _origins: Origins) -> Launch:
    (port,) = free_ports(1)
    settings = directory / "squid.conf"
    settings.write_text(SQUID % {"port": port, "directory": directory})
    argv = [*squid_user(), program("squid") or "squid", "-N", "-f", str(settings)]
    return forwarding(argv, port)


# ---------------------------------------------------------------- tinyproxy

TINYPROXY = """
Listen 127.0.0.1
Port %(port)d
Timeout 600
Allow 127.0.0.1
MaxClients 4000
LogFile "%(directory)s/access.log"
LogLevel Connect
"""


def _launch_tinyproxy(directory: Path, _origins: Origins) -> Launch:
    (port,) = free_ports(1)
    settings = directory / "tinyproxy.conf"
    settings.write_text(TINYPROXY % {"port": port, "directory": directory})
    return forwarding([program("tinyproxy") or "tinyproxy", "-d", "-c", str(settings)], port)


# ---------------------------------------------------------------- HAProxy

HAPROXY = """
global
    maxconn 3000
    nbthread 1
    log stdout format raw daemon

defaults
    log global
    timeout connect 10s
    timeout client 10m
    timeout server 10m
    timeout tunnel 1h

frontend plain
    mode http
    option httplog
    bind 127.0.0.1:%(plain)d
    http-request deny unless { src 127.0.0.0/8 }
    default_backend plain

backend plain
    mode http
    server origin 127.0.0.1:%(http)d

listen tunnel_http
    mode tcp
    option tcplog
    %(splice)s
    bind 127.0.0.1:%(tunnel_http)d
    tcp-request connection reject unless { src 127.0.0.0/8 }
    server origin 127.0.0.1:%(http)d

listen tunnel_stream
    mode tcp
    option tcplog
    %(splice)s
    bind 127.0.0.1:%(tunnel_stream)d
    tcp-request connection reject unless { src 127.0.0.0/8 }
    server origin 127.0.0.1:%(stream)d
"""


def _launch_haproxy(directory: Path, origins: Origins, *, splice: bool = False) -> Launch:
    plain, tunnel_http, tunnel_stream = free_ports(3)
    settings = directory / "haproxy.cfg"
    settings.write_text(
        HAPROXY
        % {
            "plain": plain,
            "tunnel_http": tunnel_http,
            "tunnel_stream": tunnel_stream,
            "http": origins.http,
            "stream": origins.stream,
            "splice": "option splice-auto" if splice else "",
        }
    )
    return Launch(
        [program("haproxy") or "haproxy", "-db", "-f", str(settings)],
        plain=Route(plain, asks=False),
        tunnel_http=Route(tunnel_http, asks=False),
        tunnel_stream=Route(tunnel_stream, asks=False),
    )


def _launch_haproxy_splice(directory: Path, origins: Origins) -> Launch:
    return _launch_haproxy(directory, origins, splice=True)


# ---------------------------------------------------------------- proxy.py


PROXY_PY = """
--hostname 127.0.0.1 --port %(port)d
--num-workers 1 --num-acceptors 1 --threadless --backlog 1024 --timeout 600
--plugins proxy.plugin.FilterByClientIpPlugin
--filtered-client-ips 127.0.0.1 --filtered-client-ips-mode whitelist
--log-level INFO --log-file %(directory)s/access.log --data-dir %(directory)s
"""


def _launch_proxy_py(directory: Path, _origins: Origins) -> Launch:
    (port,) = free_ports(1)
    command = str(ENVIRONMENTS / "proxy.py" / "bin" / "proxy")
    return forwarding([command, *(PROXY_PY % {"port": port, "directory": directory}).split()], port)


# ---------------------------------------------------------------- mitmproxy


MITMDUMP = """
--listen-host 127.0.0.1 --listen-port %(port)d
--set confdir=%(directory)s --set block_global=true --set block_private=false
--set termlog_verbosity=warn --set flow_detail=1
--ignore-hosts .*
"""


def _launch_mitmproxy(directory: Path, _origins: Origins) -> Launch:
    (port,) = free_ports(1)
    command = str(ENVIRONMENTS / "mitmproxy" / "bin" / "mitmdump")
    return forwarding([command, *(MITMDUMP % {"port": port, "directory": directory}).split()], port)


PROXIES: tuple[Proxy, ...] = (
    Proxy("ours", "twistedproxy", our_version, _launch_ours),
    Proxy(
        "squid",
        "Squid",
        lambda: printed_version(program("squid") or "squid", "-v"),
        _launch_squid,
        debian="squid",
    ),
    Proxy(
        "haproxy",
        "HAProxy",
        lambda: printed_version(program("haproxy") or "haproxy", "-v"),
        _launch_haproxy,
        debian="haproxy",
        plain_note="reverse proxy",
        tunnel_note="TCP relay",
    ),
    Proxy(
        "haproxy-splice",
        "HAProxy, splice-auto",
        lambda: printed_version(program("haproxy") or "haproxy", "-v"),
        _launch_haproxy_splice,
        debian="haproxy",
        measures=frozenset({"bulk"}),
        tunnel_note="TCP relay",
    ),
    Proxy(
        "tinyproxy",
        "tinyproxy",
        lambda: printed_version(program("tinyproxy") or "tinyproxy", "-v"),
        _launch_tinyproxy,
        debian="tinyproxy",
        bulk_mib=512,
        silent_close=True,
    ),
    Proxy(
        "proxy.py",
        "proxy.py",
        lambda: printed_version(str(ENVIRONMENTS / "proxy.py" / "bin" / "proxy"), "--version"),
        _launch_proxy_py,
        pypi="proxy.py",
        bulk_mib=512,
    ),
    Proxy(
        "mitmproxy",
        "mitmproxy",
        lambda: printed_version(str(ENVIRONMENTS / "mitmproxy" / "bin" / "mitmdump"), "--version"),
        _launch_mitmproxy,
        pypi="mitmproxy",
        bulk_mib=256,
        tunnels=300,
    ),
)
