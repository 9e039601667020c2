"""microsocks on loopback: a SOCKS 5 server, as another proxy that ours goes on by."""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import Final

from tests.live.daemon import awaited
from tests.live.squid import accepts
from tests.ports import free_port

MICROSOCKS: Final = "microsocks"
PATIENCE: Final = 20.0

_CONNECTED: Final = re.compile(r"client\[[0-9]+\] 127\.0\.0\.1: connected to (\S+)\n")


class Microsocks:
    """A running server, stopped by `stop`; with a ``user``, for nobody else. It looks names up as the system does."""

    def __init__(self, user: str = "", password: str = "") -> None:
        self.port = free_port()
        self._said = os.memfd_create("microsocks")
        account = ("-u", user, "-P", password) if user else ()
        self._process = subprocess.Popen(
            [MICROSOCKS, "-i", "127.0.0.1", "-p", str(self.port), *account],
            stdin=subprocess.DEVNULL,
            # A name that is nowhere is not to take long.
            env=os.environ | {"RES_OPTIONS": "timeout:1 attempts:1"},
            stderr=self._said,
        )
        until = time.monotonic() + PATIENCE
        while not accepts(self.port):
            assert self._process.poll() is None, "microsocks has ended"
            assert time.monotonic() < until, "microsocks does not listen"

    def __repr__(self) -> str:
        return f"<Microsocks {self.port}>"

    def connected(self) -> list[str]:
        """Where it has connected to so far: each host as it was asked for, and the port."""
        # By its own place in the file, since the server writes at the other.
        return _CONNECTED.findall(os.pread(self._said, 1 << 20, 0).decode("ascii"))

    def await_connected(self, count: int, after: int = 0) -> list[str]:
        """Where it has connected to after the first ``after`` times, as soon as that is ``count`` times."""
        return awaited(lambda: len(found := self.connected()[after:]) >= count and found, f"{count} times")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(PATIENCE)
        os.close(self._said)
