"""The package's private directory: a virtual environment of the system's Python that can be moved."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SYSTEM_PYTHON = "/usr/bin/python3"
OLDEST = (3, 11)

# The programs beside the interpreter, each with the library that it belongs to.
PROGRAMS = {"twistd": "twisted", "pyproxyctl": "twistedproxy"}

# Shell and Python at once, for the interpreter of a first line cannot be relative.
PROGRAM = """#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")/python3" -I "$0" "$@"
' '''
import sys

from {module} import {function}

sys.exit({function}())
"""

FIND_PROGRAM = """
import sys
from importlib.metadata import distribution
(found,) = distribution(sys.argv[2]).entry_points.select(group="console_scripts", name=sys.argv[1])
print(found.module, found.attr)
"""

# How a library got here, with paths of this machine; and what only those need who work on it.
NEEDLESS = (
    "*.dist-info/RECORD",
    "*.dist-info/REQUESTED",
    "*.dist-info/INSTALLER",
    "*.dist-info/direct_url.json",
    "**/test",
    "**/tests",
    "**/newsfragments",
)


class CannotBuild(Exception):
    """The package cannot be built here. The text says why."""


def python_version() -> tuple[int, int]:
    """The version of the Python that the package will run on, which is the one of this system."""
    ask = "import sys; print(*sys.version_info[:2])"
    try:
        said = subprocess.run([SYSTEM_PYTHON, "-I", "-c", ask], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise CannotBuild(f"it is built for the Python of Debian, and {SYSTEM_PYTHON} cannot be run") from None
    major, minor = map(int, said.split())
    if (major, minor) < OLDEST:
        raise CannotBuild(f"{SYSTEM_PYTHON} is Python {major}.{minor}, and the project needs {OLDEST[0]}.{OLDEST[1]}")
    return major, minor


def install(place: Path, root: Path, files: Sequence[str]) -> None:
    """Make the directory at ``place``, from those of the project's ``files`` that are in the clone at ``root``."""
    site_packages = place / "lib/python{}.{}/site-packages".format(*python_version())
    site_packages.mkdir(parents=True)
    (place / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    python = place / "bin/python3"
    python.parent.mkdir()
    python.symlink_to(SYSTEM_PYTHON)

    # From a copy, because building leaves files behind, and takes up those that others have left.
    source = place / "source"
    for name in files:
        if (root / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, source / name)
    # The clone's own pip, run by the system's Python: so it takes the libraries that are right for that.
    _run(sys.executable, "-m", "pip", "--python", python, "install", "-qq", "--no-input", "--no-compile", source)
    shutil.rmtree(source)
    for pattern in NEEDLESS:
        for path in list(site_packages.glob(pattern)):
            _remove(path)
    # Manual pages and such, and programs whose first line names a directory that is gone when this is over.
    for path in [*place.iterdir(), *python.parent.iterdir()]:
        if path.name not in ("bin", "lib", "pyvenv.cfg", python.name):
            _remove(path)
    for name, library in PROGRAMS.items():
        module, function = _run(python, "-I", "-B", "-c", FIND_PROGRAM, name, library).split()
        (python.parent / name).write_text(PROGRAM.format(module=module, function=function))
        (python.parent / name).chmod(0o755)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _run(*command: str | Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    # Also what is only imported while it is built is to be compiled nowhere in the directory.
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
