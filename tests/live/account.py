"""The account that a proxy changes to: another one where that is possible, else the one that runs the tests."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.live.daemon import TWISTD

NOBODY: Final = "nobody"

_ROOT: Final = Path(__file__).parents[2]
_OF_THE_SYSTEM: Final = "/usr/bin/python3"
_START: Final = "from twisted.scripts.twistd import run; run()"
_REACHES: Final = """
import os, sys
assert sys.version_info[:2] == tuple(map(int, sys.argv[2].split(".")))
os.listdir(sys.argv[1])
import twisted.web.server, twistedproxy.service
"""


@dataclass(frozen=True)
class Account:
    """An account by its numbers, and the program that runs twistd for it; ``path`` is its PYTHONPATH."""

    uid: int
    gid: int
    program: tuple[str, ...]
    path: str

    def owns(self, path: Path) -> bool:
        """Whether a file is this account's and group's."""
        status = path.stat()
        return (status.st_uid, status.st_gid) == (self.uid, self.gid)

    def runs(self, pid: int) -> bool:
        """Whether a process is this account's and group's, with no way back."""
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        told = {line.split()[0]: line.split()[1:] for line in lines if line.startswith(("Uid:", "Gid:"))}
        return told == {"Uid:": [str(self.uid)] * 4, "Gid:": [str(self.gid)] * 4}


def account_for(directory: Path) -> Account:
    """Nobody's, for root, when that can reach ``directory`` and the project; else that of this process.

    A virtual environment often leads to an interpreter in somebody's home; the system's, of the same version, has to do
    then.
    """
    own = Account(os.getuid(), os.getgid(), (TWISTD,), "")
    if os.getuid() != 0:
        return own
    return next(_of_nobody(directory), own)


def _of_nobody(directory: Path) -> Iterator[Account]:
    nobody = pwd.getpwnam(NOBODY)
    path = os.pathsep.join((str(_ROOT), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for interpreter in (sys.executable, _OF_THE_SYSTEM):
        if not os.path.exists(interpreter):
            continue
        try:
            tried = subprocess.run(
                [interpreter, "-P", "-c", _REACHES, str(directory), version],
                env={"PYTHONPATH": path, "PATH": os.environ["PATH"]},
                cwd="/",
                user=nobody.pw_uid,
                group=nobody.pw_gid,
                extra_groups=[],
                stderr=subprocess.DEVNULL,
            )
        except PermissionError:
            continue
        if tried.returncode == 0:
            yield Account(nobody.pw_uid, nobody.pw_gid, (interpreter, "-P", "-c", _START), path)
