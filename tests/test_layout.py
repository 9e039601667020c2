"""The rules of the house that a machine can check."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST = 500
PACKAGE = sorted(ROOT.glob("twistedproxy/**/*.py"))
MODULES = [path for path in PACKAGE if path.name != "__init__.py"]
TESTS = sorted(ROOT.glob("tests/**/test_*.py"))

# Names that say nothing about what a thing is.
EMPTY_WORDS = {"handler", "manager", "processor", "helper", "helpers", "util", "utils"}

# Each in a spelling that does not match itself.
NOWHERE = {
    "a path of somebody's machine": r"(?<![\w.~-])/(?:(?:home|Users)/\w[\w.-]*/|(?:root|work)/[\w.])",
    "a package registry": r"\b(?:pypi|pythonhosted|npmjs|deb\.debian)\.(?:org|com|python)\b"
    r"|(?:index-url|trusted-host|find-links)[= ]\S",
    "a note for later": r"\b(?:TO[D]O|FIX[M]E|X{3})\b",
    "an ignored type error without its code": r"#\s*type:\s*ignore(?!\[)",
}
NOWHERE_IN_TESTS = {
    "a test that does not run": r"\bpytest\.(?:mark\.)?(?:skip|skipif|xfail|importorskip)\b",
    "a pause": r"\btime\.sleep\b",
}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def repository() -> list[Path]:
    """Every file that is or would be committed, whoever owns the clone."""
    command = ("git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard")
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted({ROOT / one for one in listed if (ROOT / one).is_file()})


def found(pattern: str, paths: list[Path]) -> list[str]:
    """Each line that matches, with its place."""
    return [
        f"{name(path)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if re.search(pattern, line)
    ]


def words(identifier: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)}


def defined_names(path: Path) -> Iterator[str]:
    """The module's own name, and those of its classes and functions."""
    yield path.stem
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def has_tests(module: Path) -> bool:
    """Tests in a file of its name: anywhere, or in its own room where two rooms have a module of that name."""
    files = [test for test in TESTS if test.name == f"test_{module.name}"]
    if [other.name for other in MODULES].count(module.name) > 1:
        room = ROOT / "tests" / module.parent.relative_to(ROOT / "twistedproxy")
        return any(test.parent == room for test in files)
    return bool(files)


def test_modules_say_what_they_are() -> None:
    assert [name(path) for path in PACKAGE if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_modules_are_short() -> None:
    lengths = {name(path): len(path.read_text().splitlines()) for path in PACKAGE}
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}


def test_modules_have_tests_of_their_own() -> None:
    assert [name(path) for path in MODULES if not has_tests(path)] == []


def test_names_say_something() -> None:
    empty = [(name(path), one) for path in MODULES for one in defined_names(path) if words(one) & EMPTY_WORDS]
    assert empty == []


def test_reactor_is_passed_in() -> None:
    """Importing the reactor installs it, so that no module may do it when it is imported itself."""
    assert found(r"^(?:from twisted\.internet import .*\breactor\b|import twisted\.internet\.reactor)", MODULES) == []


@pytest.mark.parametrize("what", NOWHERE)
def test_nowhere(what: str) -> None:
    assert found(NOWHERE[what], repository()) == []


@pytest.mark.parametrize("what", NOWHERE_IN_TESTS)
def test_nowhere_in_tests(what: str) -> None:
    assert found(NOWHERE_IN_TESTS[what], sorted(ROOT.glob("tests/**/*.py"))) == []


def test_tests_are_no_packages() -> None:
    assert sorted(ROOT.glob("tests/**/__init__.py")) == []


def test_rooms_are_packages() -> None:
    rooms = {path.parent for path in PACKAGE}
    assert [name(room) for room in rooms if not (room / "__init__.py").is_file()] == []


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a path of somebody's machine", "cd /" + "home/alice/proxy"),
        ("a path of somebody's machine", "'/" + "root/.cache'"),
        ("a package registry", "pip install --index-" + "url https://example.com"),
        ("a package registry", "https://" + "pypi." + "org/simple"),
        ("a note for later", "# TO" + "DO: more"),
        ("an ignored type error without its code", "x = 1  # type: " + "ignore"),
    ],
)
def test_patterns_match_what_they_name(what: str, line: str) -> None:
    assert re.search(NOWHERE[what], line)


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ("HTTPRequestHandler", {"http", "request", "handler"}),
        ("tunnel_relay", {"tunnel", "relay"}),
        ("dataReceived", {"data", "received"}),
    ],
)
def test_words_of_an_identifier(identifier: str, expected: set[str]) -> None:
    assert words(identifier) == expected
