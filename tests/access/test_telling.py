"""What a text must have in it for a pattern to fit."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.access import telling
from twistedproxy.access.globs import glob_expression
from twistedproxy.access.telling import any_of, of_expression, of_glob


@pytest.mark.parametrize(
    ("glob", "pieces"),
    [
        ("http://*/ads7/*", {"/ads7/"}),
        ("https://example.com/*", {"example.com/"}),
        ("*bot?*", {"bot"}),
        ("*", set()),
        ("http://*", set()),
    ],
)
def test_globs(glob: str, pieces: set[str]) -> None:
    assert of_glob(glob) == pieces


@pytest.mark.parametrize(
    ("expression", "pieces"),
    [
        ("/tracking7/", {"/tracking7/"}),
        (r"^https?://ads\.", {"://ads."}),
        (r"foo(?:bar)?bazaar$", {"bazaar"}),
        (r"(?:ads|banner)", {"ads", "banner"}),
        (r"/(?:ads|banner|(x+yz){2,})/end", {"/end"}),
        (r"(ads|banners)\d", {"ads", "banners"}),
        (r"x(?>bcd)e", {"bcd"}),
        (r"a++longer", {"longer"}),
        (r"\bfoo\b", {"foo"}),
        (r"a(foo)+", {"foo"}),
        # Nothing is sure.
        (r"(foo)*", set()),
        (r"foo|", set()),
        (r"(?i)foo", set()),
        (r"(?i:foo)", set()),
        (r"[ab]+", set()),
        (r"(?=foo).", set()),
        (r"(?!foo)", set()),
        (r"(a)?(?(1)b|c)", set()),
        ("", set()),
    ],
)
def test_expressions(expression: str, pieces: set[str]) -> None:
    assert of_expression(expression) == pieces


def test_an_expression_in_words_is_read_as_such() -> None:
    assert of_expression("(?x) foo # a comment\n bar") == {"foobar"}


@given(st.text("ab*?:/", max_size=8), st.text("ab:/", max_size=10))
def test_a_text_that_a_glob_fits_has_its_piece(glob: str, text: str) -> None:
    pieces = of_glob(glob)
    if pieces and re.compile(glob_expression(glob), re.DOTALL).fullmatch(text):
        assert any(piece in text for piece in pieces)


@given(st.text("ab()|*+?^$.[]{}2,\\iI:", max_size=10), st.text("abAB2,i", max_size=10))
def test_a_text_in_which_an_expression_finds_something_has_one_of_its_pieces(expression: str, text: str) -> None:
    try:
        compiled = re.compile(expression)
    except (re.error, OverflowError, FutureWarning):
        # The last is for what may mean something else one day, such as two brackets.
        return
    pieces = of_expression(expression)
    if pieces and compiled.search(text):
        assert any(piece in text for piece in pieces)


def test_without_a_parser_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_PARSE", None)
    assert of_expression("/tracking7/") == set()


@pytest.mark.parametrize(
    ("pieces", "expression"),
    [
        (["/ads/"], "/ads/"),
        (["/a1/", "/a2/"], "/a(?:1/|2/)"),
        (["ab", "abc", "x.y"], r"(?:ab|x\.y)"),
        (["x" * 30, "x" * 40], "x" * 24),
        (["", "a"], ""),
    ],
)
def test_any_of_several(pieces: list[str], expression: str) -> None:
    assert any_of(pieces) == expression


@given(st.lists(st.text("ab/.*(", min_size=1, max_size=5), min_size=1, max_size=8), st.text("ab/.*(", max_size=12))
def test_any_of_them_is_found(pieces: list[str], text: str) -> None:
    found = re.search(any_of(pieces), text) is not None
    assert found == any(piece in text for piece in pieces)


def test_thousands_have_one_expression() -> None:
    pieces = [f"/tracking{number}/" for number in range(5000)]
    search = re.compile(any_of(pieces)).search
    assert search("/tracking4999/") is not None
    assert search("/tracking5000/") is None
