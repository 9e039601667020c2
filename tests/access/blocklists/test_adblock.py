"""Lines of lists for ad blockers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.access.blocklists.adblock import adblock_rule
from twistedproxy.access.blocklists.report import Bad, Skipped
from twistedproxy.access.blocklists.rules import ALL, NameRule, PathRule, RegexRule, Rule
from twistedproxy.access.blocklists.table import PASS_BELOW, PASS_SELF, SELF

PASSED = PASS_SELF | PASS_BELOW


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b"||Ads.Example^", NameRule(b"ads.example", ALL)),
        (b"||ads.example", NameRule(b"ads.example", ALL)),
        (b"||ads.example^|", NameRule(b"ads.example", ALL)),
        (b"||zip^", NameRule(b"zip", ALL)),
        (b"||192.0.2.1^", NameRule(b"192.0.2.1", SELF)),
        (b"||ads.example^$important,document", NameRule(b"ads.example", ALL)),
        (b"@@||ads.example^", NameRule(b"ads.example", PASSED)),
        (b"@@||ads.example^$all", NameRule(b"ads.example", PASSED)),
        (b"||a.example/Ads/*.js", PathRule("a.example", "/ads/*.js", "", False, False)),
        (b"||a.example/x^|", PathRule("a.example", "/x^|", "", False, False)),
        (b"@@||a.example/ok", PathRule("a.example", "/ok", "", False, True)),
        (b"|https://a.example/x", PathRule("a.example", "/x", "https", True, False)),
        (b"|http://a.example", PathRule("a.example", "/", "http", True, False)),
        (b"/ad[0-9]+/", RegexRule("ad[0-9]+")),
    ],
)
def test_rules(text: bytes, rule: Rule) -> None:
    assert adblock_rule(text) == rule


@pytest.mark.parametrize(
    "text",
    [
        b"||ads.example^$third-party",
        b"||ads.example^$domain=a.example|b.example",
        b"||ads.example^$script,important",
        b"a.example##.banner",
        b"a.example#@#.banner",
        b"a.example#?#div:has(.x)",
        b"a.example#$#body { color: red }",
        b"##.banner",
        b"/banner/*/img^",
        b"banner",
        b"||ads*.example^",
        b"||ads",
        b"||a.example:8080^",
        b"||a.example^path",
        b"||a.example*path",
        b"@@/regex/",
        b"||a.example/" + b"*" * 17,
        b"||a.example/" + b"x" * 1025,
        "||a.example/é".encode(),
    ],
)
def test_what_is_skipped(text: bytes) -> None:
    with pytest.raises(Skipped):
        adblock_rule(text)


@pytest.mark.parametrize("text", [b"||^", b"||a b^", b"|a.example", b"@@", b"$important", b"/\xff/"])
def test_what_is_bad(text: bytes) -> None:
    with pytest.raises(Bad):
        adblock_rule(text)


@given(st.one_of(st.binary(max_size=60), st.text("|@^*/$a.,=~#-1", max_size=30).map(str.encode)))
def test_any_line_has_an_answer(text: bytes) -> None:
    try:
        assert isinstance(adblock_rule(text), tuple)
    except (Bad, Skipped):
        pass
