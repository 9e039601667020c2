"""Values as TOML, and as a short safe line."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.settings.spelling import dotted, printable, shortened, shown, toml_key, toml_value

VALUES = st.one_of(st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False), st.text())


@given(st.one_of(VALUES, st.lists(VALUES), st.lists(VALUES).map(tuple)))
def test_a_value_reads_back_from_one_line_of_toml(value: object) -> None:
    text = toml_value(value)
    assert "\n" not in text
    expected = list(value) if isinstance(value, tuple) else value
    read = tomllib.loads(f"value = {text}")["value"]
    assert read == expected
    assert type(read) is type(expected)


@pytest.mark.parametrize("value", [None, {"a": None}, date(2026, 1, 1)])
def test_what_no_setting_holds_has_no_spelling(value: object) -> None:
    with pytest.raises(TypeError, match="not a value of the settings"):
        toml_value(value)


@given(st.text(min_size=1))
def test_a_key_reads_back(name: str) -> None:
    assert tomllib.loads(f"{toml_key(name)} = 1") == {name: 1}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("upstream", "connect_timeout"), "upstream.connect_timeout"),
        (("a b", "c"), '"a b".c'),
        (("a\nb",), r'"a\nb"'),
        (("\udcff",), r'"\udcff"'),
        (("x" * 100,), "x" * 47 + "..." + "x" * 10),
    ],
)
def test_a_key_path_is_printed_safely(path: tuple[str, ...], text: str) -> None:
    assert dotted(path) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("many", '"many"'),
        ("a\nb\x1b", r'"a\nb\u001b"'),
        ("\U000e0001", r'"\U000e0001"'),
        (True, "true"),
        (3, "3"),
        (2**128 - 1, "340282366920938463463374607431768211455"),
        (1.5, "1.5"),
        (float("inf"), "inf"),
        ([[[]]], "a list"),
        ({"a": 1}, "a table"),
        (datetime(2026, 1, 1, tzinfo=UTC), "a date and time"),
        (date(2026, 1, 1), "a date"),
        (time(7, 30), "a time of day"),
        (None, "a NoneType"),
    ],
)
def test_what_was_found_is_shown_on_one_line(value: object, text: str) -> None:
    assert shown(value) == text


def test_an_integer_too_long_for_a_message_is_named() -> None:
    assert shown(2**128) == "an integer of more than 128 bits"
    assert shown(16**5000) == "an integer of more than 128 bits"
    assert shown(-(2**127)) == "-170141183460469231731687303715884105728"


def test_a_long_text_loses_its_middle() -> None:
    assert shortened("a" * 60) == "a" * 60
    assert shortened("a" * 60 + "b" * 60) == "a" * 47 + "..." + "b" * 10
    assert len(shown("x" * 10_000)) == 60


@given(st.text(st.characters(codec=None)))
def test_printable_text_is_one_line_that_can_be_written(text: str) -> None:
    safe = printable(text)
    assert safe.isprintable()
    assert safe.encode().decode() == safe
    assert safe == text or not text.isprintable()
