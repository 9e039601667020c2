"""The package as a person gets it: a wheel, and an editable install, each in an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

import twistedproxy

ROOT = Path(__file__).parents[1]
# Whoever owns the clone: in continuous integration it is often somebody else.
LIST_FILES = ("git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard")
TWISTD = "import sys; from twisted.scripts.twistd import run; sys.exit(run())"
VERSION_AND_PLACE = """
import importlib.metadata, pathlib, twistedproxy
print(importlib.metadata.version("twistedproxy"), twistedproxy.__version__)
print(pathlib.Path(twistedproxy.__file__).parents[1])
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that must succeed, away from the project's directory; its standard output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Environment:
    """A virtual environment that has this project's dependencies and knows nothing of the project.

    The dependencies are links to those that the tests run with. Twisted's directory is a real one that is full of
    links, because a part of the project is installed there.
    """

    def __init__(self, path: Path) -> None:
        venv.create(path, with_pip=False, symlinks=True)
        self.path = path
        self.python = path / "bin" / "python"
        self.packages = Path(sysconfig.get_path("purelib", vars={"base": str(path)}))
        for kind in ("purelib", "platlib"):
            for package in Path(sysconfig.get_path(kind)).iterdir():
                self._link(package)

    def __repr__(self) -> str:
        return f"<Environment {self.path}>"

    def _link(self, package: Path) -> None:
        link = self.packages / package.name
        if link.exists() or "twistedproxy" in package.name or package.suffix == ".pth":
            return
        if package.name == "twisted":
            not_twisted = shutil.ignore_patterns("test", "twistedproxy*", "dropin.cache")
            shutil.copytree(package, link, copy_function=os.symlink, ignore=not_twisted)
        else:
            link.symlink_to(package)

    def install(self, *arguments: str | Path) -> None:
        pip = (sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check")
        run(*pip, "install", "--quiet", "--no-deps", "--no-build-isolation", *arguments, cwd=self.path)

    def code(self, code: str, *arguments: str) -> str:
        return run(self.python, "-c", code, *arguments, cwd=self.path)

    def place(self) -> Path:
        """Where the project is imported from, after a check of its version."""
        versions, place = self.code(VERSION_AND_PLACE).splitlines()
        assert versions.split() == [twistedproxy.__version__] * 2
        return Path(place)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a fresh clone would hold; building leaves files in it."""
    copy = tmp_path_factory.mktemp("source")
    for name in run(*LIST_FILES, cwd=ROOT).split("\0"):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="session")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    place = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place, source, cwd=place)
    (built,) = place.iterdir()
    return built


@pytest.fixture(scope="session")
def with_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment in which the wheel is installed."""
    environment = Environment(tmp_path_factory.mktemp("with_wheel"))
    environment.install(wheel)
    return environment


@pytest.fixture(scope="session")
def editable(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment in which the source tree is installed, to be worked on."""
    environment = Environment(tmp_path_factory.mktemp("editable"))
    environment.install("--editable", source)
    return environment


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def metadata(wheel: Path) -> Message:
    (name,) = (name for name in names(wheel) if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        return message_from_bytes(archive.read(name))


def test_wheel_holds_the_package_and_its_plugin_and_nothing_else(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names(wheel)}
    assert tops == {"twisted", "twistedproxy", f"twistedproxy-{twistedproxy.__version__}.dist-info"}
    assert [name for name in names(wheel) if name.startswith("twisted/")] == ["twisted/plugins/twistedproxy_plugin.py"]
    assert "twistedproxy/py.typed" in names(wheel)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names(wheel))


def test_wheel_holds_every_module(wheel: Path, source: Path) -> None:
    modules = {str(path.relative_to(source)) for path in source.glob("twistedproxy/**/*.py")}
    assert {name for name in names(wheel) if name.startswith("twistedproxy/") and name.endswith(".py")} == modules


def test_wheel_describes_itself(wheel: Path) -> None:
    described = metadata(wheel)
    assert described["Name"] == "twistedproxy"
    assert described["Version"] == twistedproxy.__version__
    assert described["Requires-Python"] == ">=3.11"
    assert described["Description-Content-Type"] == "text/markdown"
    assert "Framework :: Twisted" in described.get_all("Classifier", [])


def test_wheel_is_importable_from_where_it_is_installed(with_wheel: Environment) -> None:
    assert with_wheel.place() == with_wheel.packages


def test_editable_install_is_imported_from_the_source_tree(editable: Environment, source: Path) -> None:
    assert editable.place() == source


@pytest.mark.parametrize("how", ["with_wheel", "editable"])
def test_twistd_lists_the_plugin_once(how: str, request: pytest.FixtureRequest) -> None:
    lines = request.getfixturevalue(how).code(TWISTD, "--help").splitlines()
    assert [line.split()[0] for line in lines if "pyproxy" in line] == ["pyproxy"]


@pytest.mark.parametrize("how", ["with_wheel", "editable"])
def test_twistd_loads_the_plugin(how: str, request: pytest.FixtureRequest) -> None:
    assert "--listen" in request.getfixturevalue(how).code(TWISTD, "pyproxy", "--help")


def test_plugin_is_a_few_lines_and_twisted_stays_itself(source: Path) -> None:
    assert len((source / "twisted/plugins/twistedproxy_plugin.py").read_text().splitlines()) <= 10
    assert [str(path.relative_to(source)) for path in (source / "twisted").rglob("*.py")] == [
        "twisted/plugins/twistedproxy_plugin.py"
    ]
