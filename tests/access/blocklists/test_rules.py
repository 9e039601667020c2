"""What a name in a plain list stands for."""

from __future__ import annotations

import pytest

from twistedproxy.access.blocklists.report import Bad
from twistedproxy.access.blocklists.rules import ALL, NameRule, excepted, name_rule
from twistedproxy.access.blocklists.table import BELOW, PASS_BELOW, PASS_SELF, SELF


@pytest.mark.parametrize(
    ("text", "subdomains", "rule"),
    [
        (b"A.Example", True, NameRule(b"a.example", ALL)),
        (b"a.example", False, NameRule(b"a.example", SELF)),
        (b"*.a.example", False, NameRule(b"a.example", BELOW)),
        (b".a.example", False, NameRule(b"a.example", ALL)),
        (b".zip", True, NameRule(b"zip", ALL)),
        (b"192.0.2.1", True, NameRule(b"192.0.2.1", SELF)),
    ],
)
def test_names(text: bytes, subdomains: bool, rule: NameRule) -> None:
    assert name_rule(text, subdomains) == rule


@pytest.mark.parametrize(
    ("text", "why"),
    [(b"com", "without a dot"), (b"*.192.0.2.1", "below an address"), (b"a/b", "neither a host"), (b"*", "neither")],
)
def test_what_is_none(text: bytes, why: str) -> None:
    with pytest.raises(Bad, match=why):
        name_rule(text, True)


def test_exceptions() -> None:
    assert excepted(NameRule(b"a", ALL)) == NameRule(b"a", PASS_SELF | PASS_BELOW)
    assert excepted(NameRule(b"a", BELOW)) == NameRule(b"a", PASS_BELOW)
