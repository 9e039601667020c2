"""Puts the peers and the load generator on this machine.

Debian's come with apt-get, as root; PyPI's go into virtual environments of their own under ``.cache/bench``, and so do
those of Debian's that cannot be installed beside another.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmark.proxies import ENVIRONMENTS, Proxy, program

# What every run needs, as program -> Debian package.
TOOLS = {"nginx": "nginx-light", "wrk": "wrk"}
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\n# Made by the benchmark while it installs packages: no service starts.\nexit 101\n"


def install(proxies: Sequence[Proxy]) -> None:
    """Install what is missing for these proxies. What cannot be installed is named on standard error."""
    packages = [package for name, package in TOOLS.items() if program(name) is None]
    packages += sorted({proxy.debian for proxy in proxies if proxy.debian and program(proxy.debian) is None})
    if packages:
        _install_debian(packages)
    for name in sorted({proxy.pypi for proxy in proxies if proxy.pypi and not proxy.available()}):
        _install_pypi(name)
    for name in sorted({proxy.unpacked for proxy in proxies if proxy.unpacked and not proxy.available()}):
        _unpack_debian(name)
    missing = [name for name in TOOLS if program(name) is None]
    if missing:
        raise SystemExit(f"bench: cannot measure without {' and '.join(missing)}")


def _install_debian(packages: Sequence[str]) -> None:
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"bench: please install {', '.join(packages)}; as root: {' '.join(command)}", file=sys.stderr)
        return
    print(f"bench: installing {', '.join(packages)}", file=sys.stderr)
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text(POLICY_TEXT)
        POLICY.chmod(0o755)
    try:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for argv in (["apt-get", "update"], command):
            done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"bench: {' '.join(argv)} failed:\n{done.stderr}", file=sys.stderr)
    finally:
        if ours:
            POLICY.unlink()


def _unpack_debian(name: str) -> None:
    print(f"bench: unpacking {name} under .cache/bench", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="bench-") as downloads:
        try:
            _run(["apt-get", "download", name], downloads)
            (package,) = Path(downloads).glob("*.deb")
            _run(["dpkg-deb", "--extract", str(package), str(ENVIRONMENTS / name)], downloads)
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            print(f"bench: cannot unpack {name}: {error}", file=sys.stderr)


def _run(argv: list[str], directory: str) -> None:
    subprocess.run(argv, capture_output=True, check=True, cwd=directory)


def _install_pypi(name: str) -> None:
    print(f"bench: installing {name} under .cache/bench", file=sys.stderr)
    environment = ENVIRONMENTS / name
    for argv in (
        [sys.executable, "-m", "venv", str(environment)],
        [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet", name],
    ):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"bench: cannot install {name}:\n{done.stdout}{done.stderr}", file=sys.stderr)
            shutil.rmtree(environment, ignore_errors=True)
            return
