"""A real proxy that looks into tunnels to this machine."""

from __future__ import annotations

import json
import ssl
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any, Final

from tests.live.daemon import PATIENCE, Daemon, awaited
from tests.live.origin import Authority

SETTINGS: Final = {
    "access.connect_ports": "all",
    "log.format": "json",
    "intercept.mode": "listed",
    "intercept.hosts": '["127.0.0.1", "localhost"]',
    "intercept.ports": "all",
}


class Intercepting:
    """Such a proxy, and what its clients trust."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.url = daemon.url
        self.file = daemon.directory / "trusted.pem"
        exported = daemon.control("ca", "export")
        assert exported.returncode == 0, exported
        self.file.write_text(exported.stdout)

    @property
    def trust(self) -> ssl.SSLContext:
        """What trusts its authority: a new one each time, since some clients change what they are given."""
        return ssl.create_default_context(cafile=str(self.file))

    def entries(self) -> list[dict[str, Any]]:
        """What the access log says so far."""
        return [json.loads(line) for line in self.daemon.lines_so_far()]

    def await_entries(self, count: int, after: int = 0) -> list[dict[str, Any]]:
        """What the access log says after the first ``after`` lines, as soon as that is ``count`` lines."""
        return awaited(
            lambda: len(found := self.entries()[after:]) >= count and found, f"{count} lines of the access log"
        )

    def connection(self, port: int) -> HTTPSConnection:
        """A connection to an origin on this machine, through an opened tunnel."""
        host, _, proxy_port = self.daemon.address.rpartition(":")
        connection = HTTPSConnection(host, int(proxy_port), timeout=PATIENCE, context=self.trust)
        connection.set_tunnel("127.0.0.1", port)
        return connection


def started(directory: Path, authority: Authority, **settings: str) -> Daemon:
    """Such a proxy, which trusts the session's origins; ``settings`` with ``__`` for the dot."""
    wanted = SETTINGS | {name.replace("__", "."): value for name, value in settings.items()}
    return Daemon(directory, settings=wanted, environment={"SSL_CERT_FILE": str(authority.file)}).start()
