"""Tables that answer for all rules at once, and the patterns in them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.access.test_question import Fields, question
from twistedproxy.access import matching
from twistedproxy.access.matching import (
    LONGEST_SUBJECT,
    FieldPrefilter,
    Fits,
    HostTable,
    Table,
    TextPrefilter,
    joint_table,
    pattern,
    patterns,
    table_of,
)
from twistedproxy.errors import HeadTooLarge


def test_a_table_remembers_and_forgets() -> None:
    asked: list[str] = []

    def find(value: str) -> int:
        asked.append(value)
        return len(value)

    table: Table[str, int] = Table(find)
    assert [table["a"], table["bb"], table["a"]] == [1, 2, 1]
    assert asked == ["a", "bb"]
    for number in range(5000):
        assert table[str(number)] == len(str(number))
    assert len(table) <= 4096
    assert repr(Table(find)) == "<Table of 0>"


def test_a_table_of_tests() -> None:
    table = table_of([(1, str.isdigit), (4, str.isalpha)], 0b1111)
    assert table["12"] == 0b1011
    assert table["ab"] == 0b1110
    assert table["-"] == 0b1010


HOSTS = ["a.example", ".b.example", "*.c.example", "~^d[0-9]", "192.0.2.1", "0x7f.1", "?.e"]
ASKED = [
    "a.example",
    "x.a.example",
    "b.example",
    "x.b.example",
    "x.c.example",
    "D1.example",
    "ad1",
    "192.0.2.1",
    "127.1",
]


@given(
    st.lists(st.tuples(st.lists(st.sampled_from(HOSTS), max_size=3), st.lists(st.sampled_from(HOSTS), max_size=2))),
    st.sampled_from(ASKED),
)
def test_hosts_in_one_table_are_as_in_each_rule(rules: list[tuple[list[str], list[str]]], host: str) -> None:
    table = HostTable(
        [(1 << number, wanted) for number, (wanted, _) in enumerate(rules) if wanted],
        [(1 << number, unwanted) for number, (_, unwanted) in enumerate(rules) if unwanted],
        (1 << len(rules)) - 1,
    )
    expected = sum(
        1 << number
        for number, (wanted, unwanted) in enumerate(rules)
        if (not wanted or matching.hosts(wanted)(host)) and not (unwanted and matching.hosts(unwanted)(host))
    )
    assert table[host] == expected


@pytest.mark.parametrize(
    ("text", "fitting", "others"),
    [
        ("/a/*", ["/a/", "/a/b/c", "/a/\n"], ["/a", "x/a/b", "/A/b"]),
        ("~^/a/[0-9]+$", ["/a/1"], ["/a/x", "/b/a/1"]),
        ("~b.d", ["abcd", "b-d"], ["bd", "B-D"]),
    ],
)
def test_patterns(text: str, fitting: list[str], others: list[str]) -> None:
    fits = pattern(text)
    assert [one for one in fitting if not fits(one)] == []
    assert [one for one in others if fits(one)] == []
    several = patterns([text, "never"])
    assert [one for one in fitting if not several(one)] == []
    assert [one for one in others if several(one)] == []


def test_who() -> None:
    assert matching.names(["ann"])("ann")
    assert not matching.names(["ann"])("")
    assert matching.names(["*"])("bob")
    assert not matching.names(["*"])("")
    assert matching.any_name(["a", "b"])(frozenset({"b", "c"}))
    assert not matching.any_name(["a"])(frozenset({"b"}))
    assert matching.any_name(["*"])(frozenset({"b"}))
    assert not matching.any_name(["*"])(frozenset())
    assert matching.negated(matching.names(["ann"]))("bob")


@given(st.lists(st.text("ab*?:/~", min_size=1, max_size=6), min_size=1, max_size=4), st.text("ab:/", max_size=8))
def test_a_prefilter_lets_pass_what_fits(entries: list[str], text: str) -> None:
    try:
        fitting = sum(1 << number for number, entry in enumerate(entries) if pattern(entry)(text))
    except re.error:
        return
    made = [(1 << number, [entry]) for number, entry in enumerate(entries)]
    prefilter = FieldPrefilter("X", made)
    asked = question(fields=Fields({b"x": (text.encode(),)}))
    assert fitting & prefilter.rules & ~prefilter.passing(asked) == 0
    of_text = TextPrefilter("host", made)
    assert of_text.passing(question(host=text)) == prefilter.passing(asked)


def test_a_prefilter_knows_of_what_patterns_cannot_do_without() -> None:
    made = [(1, ["curl*"]), (2, ["a", "~[bc]"]), (4, ["*bot*"]), (8, ["~spider|crawler"])]
    prefilter = FieldPrefilter("X", made)
    assert prefilter.rules == 1 | 4 | 8
    for values, passing in (
        ((b"curl/8",), 1),
        ((b"no", b"a bot"), 4),
        ((b"a crawling bot",), 4),
        ((b"a crawler bot",), 4 | 8),
        ((b"b",), 0),
        ((b"b" * 2000 + b"spider",), 8),
        ((b"\xff bot",), 4),
        ((), 0),
    ):
        fields = Fields({b"x": values})
        assert [prefilter.passing(question(fields=fields)) for _ in "12"] == [passing, passing]
    assert repr(prefilter) == "<FieldPrefilter 3 rules>"


def test_fields_that_are_too_long_are_for_no_pattern() -> None:
    prefilter = FieldPrefilter("X", [(1, ["a*"])])
    with pytest.raises(HeadTooLarge):
        prefilter.passing(question(fields=Fields({b"x": (b"a" * (LONGEST_SUBJECT + 1),)})))


@pytest.mark.parametrize(
    ("tests", "fitting"),
    [
        ({}, [7, 7, 7]),
        ({"host": [(2, "a".__eq__)]}, [7, 7, 5]),
        ({"host": [(2, "a".__eq__)], "port": [(1, (80).__eq__)]}, [7, 6, 5]),
    ],
)
def test_tables_together(tests: dict[str, list[tuple[int, Fits]]], fitting: list[int]) -> None:
    values_of, table = joint_table([(name, table_of(those, 7)) for name, those in tests.items()], 7)
    asked = [question(host="a", port=80), question(host="a", port=81), question(host="b", port=80)]
    assert [table[values_of(one)] for one in asked] == fitting
