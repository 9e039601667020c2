"""Running a client that is a program."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.live.daemon import clean_environment

PATIENCE: Final = 50.0


def run(
    directory: Path, *command: str | Path, environment: Mapping[str, str] | None = None, said: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run ``command`` in ``directory``, without anybody's settings, to its good end. ``said`` is its standard input."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=directory,
        env=clean_environment(directory) | dict(environment or {}),
        input=said,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done
    return done


def curl(directory: Path, *arguments: str | Path, said: bytes = b"") -> bytes:
    """What curl puts out. It fails when the answer is an error."""
    quiet = ("curl", "--disable", "--silent", "--show-error", "--fail", "--noproxy", "")
    return run(directory, *quiet, *arguments, said=said).stdout
