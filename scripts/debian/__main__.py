"""The Debian package: the project with all that it depends on in a private directory, and what an operator expects.

Theory of operation. The private directory is a virtual environment of the system's own Python, so that it sees nothing
of the system's libraries, and the system's programs nothing of it. Nothing in it names the place where it is: Python
finds the environment from where its link to the interpreter is, and the launchers find that link beside themselves.
What is compiled or cached is written when the package is installed, and is gone before it is removed.

Two builds of one commit with the same versions of the libraries are the same, byte by byte.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from debian.description import Build, documents, write_control_data
from debian.private_directory import CannotBuild, install
from debian.system_files import CONFIGURATION, system_files

ROOT = Path(__file__).resolve().parents[2]
# Whoever owns the clone.
GIT = ("git", "-c", "safe.directory=*")
LAUNCHER = """#!/bin/sh
# Runs the proxy in the foreground; the options are those of twistd pyproxy.
exec "$(dirname -- "$(realpath -- "$0")")/../lib/twistedproxy/bin/twistd" --nodaemon --pidfile= pyproxy "$@"
"""


def output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def write(path: Path, content: bytes, *, executable: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755 if executable else 0o644)


def settle(tree: Path, epoch: int) -> None:
    """Give everything the modes of a system's file and the time of the commit."""
    for path in sorted(tree.rglob("*"), reverse=True):
        if not path.is_symlink():
            executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if executable else 0o644)
        os.utime(path, (epoch, epoch), follow_symlinks=False)
    tree.chmod(0o755)


def fill(tree: Path, build: Build) -> None:
    """Put all that the package holds under ``tree``."""
    files = [name for name in output(*GIT, "ls-files", "-z", "-co", "--exclude-standard").split("\0") if name]
    install(tree / "usr/lib/twistedproxy", ROOT, files)
    write(tree / "usr/sbin/pyproxy", LAUNCHER.encode(), executable=True)
    (tree / "usr/bin").mkdir()
    (tree / "usr/bin/pyproxyctl").symlink_to("../lib/twistedproxy/bin/pyproxyctl")
    for name, text in system_files().items():
        write(tree / name.removeprefix("/"), text.encode())
    for name, content in documents(build, (ROOT / "LICENSE").read_text()).items():
        write(tree / "usr/share/doc/twistedproxy" / name, content)


def main(directory: Path) -> None:
    """Build the package in ``directory`` and print its path."""
    build = Build(
        architecture=output("dpkg", "--print-architecture"),
        epoch=int(os.environ.get("SOURCE_DATE_EPOCH") or output(*GIT, "log", "-1", "--format=%ct")),
        maintainer=output(*GIT, "log", "-1", "--format=%an <%ae>"),
    )
    with tempfile.TemporaryDirectory() as temporary:
        tree = Path(temporary) / "tree"
        fill(tree, build)
        write_control_data(tree, build, CONFIGURATION, Path(__file__).with_name("maintainer"))
        settle(tree, build.epoch)
        package = directory / f"twistedproxy_{build.version}_{build.architecture}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "--build", tree, package],
            env=os.environ | {"SOURCE_DATE_EPOCH": str(build.epoch)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
    print(package)


if __name__ == "__main__":
    os.umask(0o022)
    try:
        main(Path(sys.argv[1]))
    except CannotBuild as error:
        sys.exit(f"scripts/package: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"scripts/package: {error.cmd[0]} failed with status {error.returncode}")
