"""docs/conformance.md names tests: they exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "conformance.md").read_text()


def named() -> list[tuple[str, str]]:
    """File and function of every test that the page names; one without a file stands in the file before it."""
    found: list[tuple[str, str]] = []
    for line in PAGE.splitlines():
        file = ""
        for path, function in re.findall(r"`(?:([\w/]+\.py)::)?(test_\w+)`", line):
            file = path or file
            found.append((file, function))
    return found


@pytest.mark.parametrize(("file", "function"), sorted(set(named())))
def test_named_tests_exist(file: str, function: str) -> None:
    assert re.search(rf"^(async )?def {function}\(", (TESTS / file).read_text(), re.MULTILINE)


def test_the_page_names_tests() -> None:
    assert len(named()) > 80
