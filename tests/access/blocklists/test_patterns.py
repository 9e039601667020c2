"""Rules for paths and URLs: what they match, and that nobody can make them slow."""

from __future__ import annotations

import builtins
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.access.blocklists.patterns import (
    LONGEST_REGEX,
    LONGEST_SUBJECT,
    MOST_PATHS,
    MOST_PATHS_OF_HOST,
    MOST_REGEXES,
    PathCount,
    Paths,
    Regexes,
    RegexesUnavailable,
    path_expression,
    regexes_available,
)
from twistedproxy.access.blocklists.report import Bad
from twistedproxy.access.blocklists.rules import PathRule


@pytest.mark.parametrize(
    ("rule", "path", "matches"),
    [
        ("/ads", "/ads/x", True),
        ("/ads", "/adsense", True),
        ("/ads^", "/adsense", False),
        ("/ads^", "/ads", True),
        ("/ads^", "/ads?x", True),
        ("/ads|", "/ads", True),
        ("/ads|", "/ads/", False),
        ("/*.js", "/a/b.js?x", True),
        ("/*.js|", "/a.js/b.js", True),
        ("/*.js|", "/a.js?x", False),
        ("/a*b*c|", "/a--b--b-c", True),
        ("/a*b*c|", "/a--c--b", False),
        ("/a*|", "/a/anything", True),
        ("/.+", "/.+x", True),
        ("/.+", "/aa", False),
    ],
)
def test_paths(rule: str, path: str, matches: bool) -> None:
    assert (path_expression(rule).match(path) is not None) is matches


@given(st.text("ab*", max_size=8), st.booleans(), st.text("ab", max_size=12))
def test_stars_find_what_backtracking_would(rule: str, ends: bool, path: str) -> None:
    naive = ".*".join(map(re.escape, rule.split("*"))) + (r"\Z" if ends else "")
    found = path_expression(rule + "|" * ends).match(path)
    assert (found is not None) is (re.match(naive, path) is not None)


def test_stars_take_linear_time() -> None:
    expression = path_expression("/" + "*a" * 16 + "b|")
    begun = time.process_time()
    assert expression.match("/" + "a" * LONGEST_SUBJECT) is None
    assert time.process_time() - begun < 0.5


def rule(host: str, path: str, **more: Any) -> PathRule:
    return PathRule(host, path, more.get("scheme", ""), more.get("exact", False), more.get("passes", False))


def test_paths_are_by_host() -> None:
    ads, ok, exact = rule("a.example", "/ads"), rule("a.example", "/ads/ok", passes=True), rule("b.c", "/", exact=True)
    paths = Paths([ads, ok, exact, rule("d.example", "/", scheme="https")])
    assert paths.look_up("x.a.example", "http", "/ADS/1") == (ads, None)
    assert paths.look_up("a.example", "http", "/ads/ok") == (ads, ok)
    assert paths.look_up("b.example", "http", "/ads") == (None, None)
    assert paths.look_up("b.c", "http", "/") == (exact, None)
    assert paths.look_up("x.b.c", "http", "/") == (None, None)
    assert [paths.look_up("d.example", scheme, "/")[0] is not None for scheme in ("http", "https")] == [False, True]
    assert bool(paths)
    assert not Paths([])
    assert repr(paths) == "<Paths of 3 hosts>"


def test_there_are_only_so_many_paths() -> None:
    count = PathCount()
    for number in range(MOST_PATHS_OF_HOST):
        count.add(rule("a.example", f"/{number}"))
    with pytest.raises(Bad, match="at one host"):
        count.add(rule("a.example", "/more"))
    for number in range(MOST_PATHS - MOST_PATHS_OF_HOST):
        count.add(rule(f"{number}.example", "/"))
    with pytest.raises(Bad, match="more than 20000"):
        count.add(rule("b.example", "/more"))


def test_regular_expressions_are_looked_for_together() -> None:
    regexes = Regexes(["^https?://ads[0-9]*\\.", "TRACK"])
    assert regexes.look_up("http://ads7.example/track") == "^https?://ads[0-9]*\\."
    assert regexes.look_up("http://a.example/track") == "TRACK"
    assert regexes.look_up("http://a.example/") == ""
    regexes.add("example")
    assert regexes.look_up("http://a.example/") == "example"
    assert regexes.look_up("x" * LONGEST_SUBJECT + "track") == ""
    assert Regexes().look_up("anything") == ""
    assert not Regexes()
    assert repr(regexes) == "<Regexes 3>"


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("(", "not a regular expression"),
        ("(?=a)", "not a regular expression"),
        ("(a)\\1", "not a regular expression"),
        ("a*", "found in every URL"),
        ("", "found in every URL"),
        ("a" * (LONGEST_REGEX + 1), "more than 1024 characters"),
        ("((a{1,100}){1,100}){1,100}", "not a regular expression"),
    ],
)
def test_what_is_no_regular_expression(expression: str, why: str) -> None:
    with pytest.raises(Bad, match=why):
        Regexes().add(expression)


def test_there_are_only_so_many_regular_expressions() -> None:
    regexes = Regexes([f"x{number}" for number in range(MOST_REGEXES)])
    with pytest.raises(Bad, match="more than 1000"):
        regexes.add("y")


def test_regular_expressions_take_linear_time() -> None:
    regexes = Regexes(["(a+)+b", "(x|xx)*y", "(.*)(.*)(.*)(.*)(.*)[0-9]z"])
    begun = time.process_time()
    assert regexes.look_up("a" * 2000 + "x" * 2000) == ""
    assert time.process_time() - begun < 0.5


def test_without_the_library_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert regexes_available()
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "re2":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert not regexes_available()
    with pytest.raises(RegexesUnavailable, match="google-re2"):
        Regexes(["a"])
    assert Regexes().look_up("a") == ""
