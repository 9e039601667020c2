"""Squid on loopback, as another proxy that ours goes on by; started by root, it runs as its own user."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

import bcrypt

from tests.live.daemon import awaited
from tests.ports import free_port

SQUID: Final = "/usr/sbin/squid"
USER: Final = "proxy"
PATIENCE: Final = 20.0

REFUSED: Final = "127.0.0.77"
"""Where it lets nobody go."""

_MARK: Final = f"http://{REFUSED}/mark"

_SETTINGS: Final = """\
http_port 127.0.0.1:{plain} name=plain
http_port 127.0.0.1:{known} name=known
https_port 127.0.0.1:{secured} name=secured tls-cert={place}/leaf.pem
hosts_file {place}/hosts
dns_nameservers 127.0.0.1
auth_param basic program /usr/lib/squid/basic_ncsa_auth {place}/accounts
auth_param basic children 1 startup=1
acl for_accounts myportname known secured
acl accounts proxy_auth REQUIRED
acl refused dst {refused}
http_access deny refused
http_access deny for_accounts !accounts
http_access allow localhost
http_access deny all
cache deny all
cache_mem 0
memory_pools off
logformat heard %>p %rm %ru %un %>Hs %{{Proxy-Authorization}}>h %{{Via}}>h
access_log stdio:{place}/access.log heard
cache_log {place}/cache.log
cache_store_log none
pid_filename none
coredump_dir {place}
visible_hostname squid.test
pinger_enable off
icp_port 0
max_filedescriptors 512
shutdown_lifetime 0 seconds
"""


class Heard(NamedTuple):
    """A request as Squid has logged it; a tunnel when it is over. What was not there is empty."""

    client_port: int
    """From where its connection came: the same for all requests on one."""
    method: str
    target: str
    account: str
    status: int
    credentials: str
    """What Proxy-Authorization said by Basic, as name:password."""
    via: str


class Squid:
    """A running Squid, stopped by `stop`, which knows the ``names`` by their addresses.

    Three ports: ``plain`` for everybody, ``known`` for ``accounts`` only, and ``secured``, which is for these too,
    with TLS and the key and certificate in the file ``leaf``.
    """

    def __init__(self, leaf: Path, names: Mapping[str, str], accounts: Mapping[str, str]) -> None:
        self.plain, self.known, self.secured = free_port(), free_port(), free_port()
        self._place = Path(tempfile.mkdtemp(prefix="squid-"))
        self._log = self._place / "access.log"
        self._log.touch()
        shutil.copy(leaf, self._place / "leaf.pem")
        (self._place / "hosts").write_text("".join(f"{address} {name}\n" for name, address in names.items()))
        (self._place / "accounts").write_text(
            "".join(
                f"{name}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"
                for name, password in accounts.items()
            )
        )
        (self._place / "squid.conf").write_text(
            _SETTINGS.format(
                plain=self.plain, known=self.known, secured=self.secured, place=self._place, refused=REFUSED
            )
        )
        if os.getuid() == 0:
            user = pwd.getpwnam(USER)
            for path in (self._place, *self._place.iterdir()):
                os.chown(path, user.pw_uid, user.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def __repr__(self) -> str:
        return f"<Squid {self.plain} {self.known} {self.secured}>"

    def start(self) -> None:
        """Start it, again with the ports and the log that it had."""
        command = [SQUID, "-N", "-f", str(self._place / "squid.conf")]
        output = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdin=output, stdout=output, stderr=output, cwd=self._place)
        until = time.monotonic() + PATIENCE
        for port in (self.plain, self.known, self.secured):
            while not accepts(port):
                assert self._process.poll() is None, (self._place / "cache.log").read_text()
                assert time.monotonic() < until, "Squid does not listen"

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def end(self) -> None:
        """End it as a fault would: it takes two seconds over a goodbye."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE)

    def stop(self) -> None:
        """End it for good."""
        self.end()
        shutil.rmtree(self._place)

    def heard(self) -> list[Heard]:
        """What it has logged so far."""
        lines = self._log.read_text().splitlines(keepends=True)
        # Whoever connects and says nothing has a line too.
        return [_heard(line) for line in lines if line.endswith("\n") and " error:" not in line]

    def settled(self) -> int:
        """How many lines it has logged when all that has ended before is there."""
        before = len(self.heard())
        with socket.create_connection(("127.0.0.1", self.plain), PATIENCE) as client:
            client.sendall(f"GET {_MARK} HTTP/1.1\r\nHost: {REFUSED}\r\nConnection: close\r\n\r\n".encode())
            while client.recv(1 << 16):
                pass

        def count() -> int:
            marked = [number for number, one in enumerate(self.heard()) if one.target == _MARK]
            return marked[-1] + 1 if marked and marked[-1] >= before else 0

        return awaited(count, "the mark in Squid's log")

    def await_heard(self, count: int, after: int = 0) -> list[Heard]:
        """What it has logged after the first ``after`` lines, as soon as that is ``count`` lines."""
        return awaited(lambda: len(found := self.heard()[after:]) >= count and found, f"{count} lines of Squid's log")


def accepts(port: int) -> bool:
    """Whether somebody listens at a port of this machine."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _heard(line: str) -> Heard:
    columns = ["" if column == "-" else unquote(column) for column in line.split()]
    port, method, target, account, status, credentials, *via = columns
    said = b64decode(credentials.removeprefix("Basic ")).decode()
    return Heard(int(port), method, target, account, int(status), said, " ".join(via))
