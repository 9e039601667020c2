"""The process of the live tests' origins, and what a test needs to know of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final
from urllib.request import ProxyHandler, build_opener

import trustme

SERVER: Final = Path(__file__).with_name("origin_server.py")

LINE: Final = b"hello from the origin\n"
"""What most paths answer."""


class Authority:
    """A certificate authority for loopback that nobody trusts who is not told to."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        self.file = directory / "authority.pem"
        """What a client is told to trust."""
        authority.cert_pem.write_to_path(str(self.file))
        self.leaf = directory / "leaf.pem"
        """The key and certificate of 127.0.0.1."""
        authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(str(self.leaf))
        self.other_leaf = directory / "other.pem"
        """The key and certificate of a server that is not here."""
        authority.issue_cert("other.example").private_key_and_cert_chain_pem.write_to_path(str(self.other_leaf))


class Origin:
    """A running `origin_server`, which serves the files in ``directory``."""

    def __init__(self, directory: Path, certificate: Path) -> None:
        self.directory = directory
        self._process = subprocess.Popen(
            [sys.executable, str(SERVER), str(directory), str(certificate)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self._ports: dict[str, int] = json.loads(self._process.stdout.readline())

    def __repr__(self) -> str:
        return f"<Origin {self._ports}>"

    def port(self, scheme: str) -> int:
        """The port for ``http``, ``https``, ``ws`` or ``wss``, or for ``h2``: https over nothing but HTTP/2."""
        return self._ports[scheme]

    def url(self, scheme: str, path: str = "/hello") -> str:
        """The URL of ``path``."""
        return f"{'https' if scheme == 'h2' else scheme}://127.0.0.1:{self._ports[scheme]}{path}"

    def open(self, gate: str) -> None:
        """Open a gate that answers wait at."""
        with build_opener(ProxyHandler({})).open(self.url("http", f"/open/{gate}")) as answer:
            assert answer.read() == LINE

    def stop(self) -> None:
        """End the process."""
        self._process.communicate()
        assert self._process.returncode == 0
