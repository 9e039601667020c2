"""One line for each thing that is wrong."""

from __future__ import annotations

import pytest

from twistedproxy.settings.problems import Problem, SettingsError


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem("--set", "unknown key"), "--set: unknown key"),
        (Problem("a.toml", "not TOML", line=3), "a.toml:3: not TOML"),
        (Problem("a.toml", "not TOML", line=3, column=7), "a.toml:3:7: not TOML"),
        (Problem("a.toml", "wrong", ("log", "level")), "a.toml: log.level: wrong"),
        (Problem("a.toml", "wrong", ("log", "level"), line=4), "a.toml:4: log.level: wrong"),
        (Problem("a.toml", "wrong", ("access", "clients"), 2, 4), "a.toml:4: access.clients[2]: wrong"),
        (Problem("a\nb", "wrong", ("c\nd",)), 'a\\nb: "c\\nd": wrong'),
    ],
)
def test_a_problem_is_one_line_with_its_place(problem: Problem, line: str) -> None:
    assert str(problem) == line


def test_the_error_has_a_line_for_each_problem() -> None:
    problems = [Problem("a.toml", "first", line=1), Problem("--set", "second")]
    error = SettingsError(problems)
    assert str(error) == "a.toml:1: first\n--set: second"
    assert error.problems == tuple(problems)
