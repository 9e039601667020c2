"""Globs: against the standard library's, and their cost."""

from __future__ import annotations

import re
import time
from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.access.globs import glob_expression


def fits(glob: str, text: str) -> bool:
    return re.compile(glob_expression(glob), re.DOTALL).fullmatch(text) is not None


@given(st.text("ab*?.", max_size=8), st.text("ab.\n", max_size=10))
def test_they_fit_what_others_think(glob: str, text: str) -> None:
    assert fits(glob, text) == fnmatchcase(text, glob)


def test_nothing_else_is_special() -> None:
    assert fits("a[b](c|d)+$\\", "a[b](c|d)+$\\")
    assert not fits("a[b]", "ab")


def test_many_stars_cost_no_more_than_a_pass_each() -> None:
    expression = re.compile(glob_expression("*a" * 20 + "*b"), re.DOTALL)
    started = time.perf_counter()
    assert expression.fullmatch("a" * 8000) is None
    # Tried in every way, it would not end.
    assert time.perf_counter() - started < 1
