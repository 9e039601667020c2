"""The Debian package: built, installed below a directory, run from there by somebody without rights, and purged."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

import twistedproxy
from tests.live.daemon import ANY_PORT, PATIENCE
from tests.live.fetch import fetch
from tests.live.origin import LINE, Origin

ROOT = Path(__file__).parents[2]
SYSTEM_PYTHON: Final = "/usr/bin/python3"
NOBODY: Final = 65534
"""Whom the proxy runs as, where the tests have the right to choose."""

# Where a package may have files, other than directories.
PLACES: Final = (
    r"/usr/lib/twistedproxy/(?:pyvenv\.cfg|bin/(?:python3|twistd|pyproxyctl)|lib/python3\.\d+/site-packages/.+)",
    r"/usr/s?bin/(?:pyproxy|pyproxyctl)",
    r"/lib/systemd/system/pyproxy\.(?:service|socket)",
    r"/etc/(?:logrotate\.d/pyproxy|twistedproxy/pyproxy\.toml)",
    r"/usr/share/doc/twistedproxy/(?:copyright|changelog\.gz)",
)
SCRIPTS: Final = ("postinst", "prerm", "postrm")


class Entry(NamedTuple):
    """One line of what a package holds."""

    mode: str
    owner: str
    path: str
    target: str


def environment(**more: str) -> dict[str, str]:
    """This process's, without what Python reads, and with where root finds its commands."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DPKG"))}
    return inherited | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"} | more


def run(*command: str | Path, **more: str) -> str:
    done = subprocess.run(command, env=environment(**more), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that everybody can look into, which those of pytest's are not."""
    made = Path(tempfile.mkdtemp(prefix="package-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def package(place: Path) -> Path:
    """The package; it is built twice at once, and comes out the same."""
    builds = []
    for number in "12":
        # The weakest compression, which takes a fifth of the time.
        quick = environment(DPKG_DEB_COMPRESSOR_TYPE="gzip", DPKG_DEB_COMPRESSOR_LEVEL="1", PYTHONHASHSEED=number)
        command = [str(ROOT / "scripts/package"), str(place / number)]
        builds.append(subprocess.Popen(command, env=quick, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    said = [build.communicate() for build in builds]
    assert [build.returncode for build in builds] == [0, 0], said
    first, second = (Path(output.strip()) for output, _ in said)
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    return first


@pytest.fixture(scope="module")
def control(package: Path, place: Path) -> Path:
    """The directory of its control data."""
    run("dpkg-deb", "-e", package, place / "control")
    return place / "control"


@pytest.fixture(scope="module")
def entries(package: Path) -> list[Entry]:
    """What it holds."""
    found = []
    for line in run("dpkg-deb", "-c", package).splitlines():
        mode, owner, _, _, _, path = line.split(None, 5)
        path, _, target = path.removeprefix(".").partition(" -> ")
        found.append(Entry(mode, owner, path, target))
    return found


def dpkg(root: Path, *arguments: str | Path) -> str:
    """Run dpkg on the system below ``root``; the package's own scripts are run in this one, and told where it is."""
    forced = ("--force-not-root", "--force-script-chrootless", "--force-depends")
    return run("dpkg", f"--root={root}", *forced, *arguments)


def installed(package: Path, root: Path) -> Path:
    """``root``, below which it is now installed."""
    for name in ("info", "updates", "triggers"):
        (root / "var/lib/dpkg" / name).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    dpkg(root, "--install", package)
    return root


def all_files(root: Path) -> dict[str, tuple[int, int]]:
    """Every file below ``root``, with its size and when it was changed; but for dpkg's own."""
    found = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if not path.is_dir() and not name.startswith("var/lib/dpkg/"):
            found[name] = (path.lstat().st_size, path.lstat().st_mtime_ns)
    return found


@pytest.fixture(scope="module")
def system(package: Path, place: Path) -> Path:
    """The root of a system in which it is installed, and nothing else."""
    return installed(package, place / "root")


class Somebody:
    """Who has no rights in the system below ``root``, and a directory of their own."""

    def __init__(self, root: Path, home: Path) -> None:
        self.root = root
        self.home = home
        self._as = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
        home.mkdir()
        if self._as:
            os.chown(home, NOBODY, NOBODY)

    def __repr__(self) -> str:
        return f"<Somebody {self.home}>"

    def starts(self, program: str, *arguments: str) -> subprocess.Popen[str]:
        """A program of the package's, begun."""
        directories = ("CONFIGURATION", "STATE", "LOGS", "RUNTIME")
        return subprocess.Popen(
            [*self._as, str(self.root / program), *arguments],
            cwd=self.home,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.home)}
            | {f"{name}_DIRECTORY": str(self.home) for name in directories},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def runs(self, program: str, *arguments: str) -> tuple[int, str, str]:
        """Its exit status, and what it said on its standard output and standard error."""
        process = self.starts(program, *arguments)
        try:
            output, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
        return process.returncode, output, errors


@pytest.fixture(scope="module")
def somebody(system: Path, place: Path) -> Somebody:
    return Somebody(system, place / "home")


# ---------------------------------------------------------------- what it is


def test_describes_itself(package: Path, entries: list[Entry]) -> None:
    fields = dict(line.split(": ", 1) for line in run("dpkg-deb", "-f", package).splitlines() if line[0] != " ")
    architecture = run("dpkg", "--print-architecture").strip()
    assert package.name == f"twistedproxy_{twistedproxy.__version__}_{architecture}.deb"
    assert fields["Package"] == "twistedproxy"
    assert fields["Version"] == twistedproxy.__version__
    assert fields["Architecture"] == architecture
    # Compiled libraries go with one minor version of Python.
    minor = int(run(SYSTEM_PYTHON, "-c", "import sys; print(sys.version_info.minor)"))
    assert fields["Depends"].startswith(f"python3 (>= 3.{minor}), python3 (<< 3.{minor + 1}), libc6 (>= 2.")
    assert fields["Depends"].endswith(", adduser, procps")
    assert int(fields["Installed-Size"]) > len(entries)


def test_has_files_where_they_belong(entries: list[Entry]) -> None:
    stray = [
        entry.path for entry in entries if not (entry.mode[0] == "d" or re.fullmatch("|".join(PLACES), entry.path))
    ]
    assert stray == []
    expected = {"/usr/sbin/pyproxy", "/usr/bin/pyproxyctl", "/lib/systemd/system/pyproxy.service"}
    assert expected <= {entry.path for entry in entries}
    assert [entry for entry in entries if entry.target] == [
        Entry("lrwxrwxrwx", "root/root", "/usr/bin/pyproxyctl", "../lib/twistedproxy/bin/pyproxyctl"),
        Entry("lrwxrwxrwx", "root/root", "/usr/lib/twistedproxy/bin/python3", SYSTEM_PYTHON),
    ]


def test_belongs_to_root_and_is_written_by_nobody_else(entries: list[Entry]) -> None:
    assert {entry.owner for entry in entries} == {"root/root"}
    assert {entry.mode for entry in entries} == {"drwxr-xr-x", "-rw-r--r--", "-rwxr-xr-x", "lrwxrwxrwx"}
    commands = [entry.path for entry in entries if entry.mode == "-rwxr-xr-x" and "/site-packages/" not in entry.path]
    private = "/usr/lib/twistedproxy/bin"
    assert sorted(commands) == [f"{private}/pyproxyctl", f"{private}/twistd", "/usr/sbin/pyproxy"]


def test_holds_nothing_that_is_made_later_or_names_the_machine(
    package: Path, entries: list[Entry], place: Path
) -> None:
    made = re.compile(r"/(?:__pycache__|tests?|newsfragments)/|dropin\.cache$|\.dist-info/(?:direct_url\.json|RECORD)$")
    assert [entry.path for entry in entries if made.search(entry.path)] == []
    run("dpkg-deb", "-x", package, place / "tree")
    files = [path for path in (place / "tree").rglob("*") if path.is_file() and not path.is_symlink()]
    # Where it was built: the clone, which may have a name as short as others' words, and a temporary directory.
    places = [f"{ROOT}/{name}" for name in ("twistedproxy", "scripts", "build", ".venv")]
    here = re.compile(b"|".join(re.escape(path.encode()) for path in (*places, f"{tempfile.gettempdir()}/tmp")))
    assert [str(path) for path in files if here.search(path.read_bytes())] == []


def test_knows_what_is_the_operators(control: Path, entries: list[Entry]) -> None:
    configuration = (control / "conffiles").read_text().splitlines()
    assert configuration == ["/etc/logrotate.d/pyproxy", "/etc/twistedproxy/pyproxy.toml"]
    assert [entry.path for entry in entries if entry.path.startswith("/etc/") and entry.mode[0] == "-"] == configuration


@pytest.mark.parametrize("script", SCRIPTS)
def test_maintainer_scripts_are_scripts(control: Path, script: str) -> None:
    assert (control / script).stat().st_mode & 0o777 == 0o755
    assert (control / script).read_text().startswith("#!/bin/sh\n")
    assert run("sh", "-n", control / script) == ""


# ---------------------------------------------------------------- what it does


def test_installing_leaves_nothing_to_be_written(system: Path) -> None:
    (packages,) = (system / "usr/lib/twistedproxy/lib").glob("python3.*/site-packages")
    assert (packages / "twisted/plugins/dropin.cache").is_file()
    uncompiled = [
        path
        for path in packages.glob("twistedproxy/**/*.py")
        if not list((path.parent / "__pycache__").glob(f"{path.stem}.cpython-*.pyc"))
    ]
    assert uncompiled == []
    assert run("dpkg", f"--root={system}", "--verify", "twistedproxy") == ""


def test_serves_somebody_without_rights(system: Path, somebody: Somebody, origin: Origin) -> None:
    before = all_files(system)
    process = somebody.starts("usr/sbin/pyproxy", "--listen", ANY_PORT)
    try:
        assert process.stdout is not None
        said = ""
        while not (listening := re.search(r"listening on (\S+)", said)):
            line = process.stdout.readline()
            assert line, (said, process.communicate())
            said += line
        answer = fetch(listening[1], origin.url("http"))
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.communicate()
    assert (answer.status, answer.content) == (200, LINE)
    assert (process.returncode, errors) == (0, "")
    assert "TCP_MISS/200 " in output
    assert "cache" not in said + output
    assert all_files(system) == before


def test_checks_settings(system: Path, somebody: Somebody) -> None:
    before = all_files(system)
    settings = str(system / "etc/twistedproxy/pyproxy.toml")
    status, output, errors = somebody.runs("usr/sbin/pyproxy", "--config", settings, "--check")
    assert (status, errors) == (0, "")
    assert output.startswith(f"The settings are valid ({settings}).\nIt listens on port 8080 of 127.0.0.1;")
    assert all_files(system) == before


def test_control_command_is_there(somebody: Somebody) -> None:
    status, output, errors = somebody.runs("usr/bin/pyproxyctl", "--help")
    assert (status, errors) == (0, "")
    assert "pyproxyctl" in output


def test_sees_its_own_libraries_only(system: Path, somebody: Somebody) -> None:
    ask = "import sys, twisted, twistedproxy; print(*sys.path[3:], sep='\\n')"
    status, output, errors = somebody.runs("usr/lib/twistedproxy/bin/python3", "-I", "-c", ask)
    assert (status, errors) == (0, "")
    (only,) = output.splitlines()
    assert Path(only).parents[1] == system / "usr/lib/twistedproxy/lib"


def test_goes_without_a_trace(package: Path, place: Path) -> None:
    """What the operator wrote stays when it is removed; what it wrote itself goes with a purge."""
    root = installed(package, place / "purged")
    for log in ("var/lib/twistedproxy/state", "var/log/twistedproxy/access.log"):
        (root / log).parent.mkdir(parents=True)
        (root / log).touch()
    settings = root / "etc/twistedproxy/pyproxy.toml"
    settings.write_text("# mine\n")
    # Again, as in an upgrade.
    dpkg(root, "--install", package)
    assert settings.read_text() == "# mine\n"
    dpkg(root, "--remove", "twistedproxy")
    assert not (root / "usr").exists()
    assert settings.read_text() == "# mine\n"
    assert (root / "var/log/twistedproxy/access.log").is_file()
    dpkg(root, "--purge", "twistedproxy")
    assert sorted(all_files(root)) == []
