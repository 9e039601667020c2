"""Bytes in, tables or one clear problem out."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.settings.problems import SettingsError
from twistedproxy.settings.syntax import MAX_KEY_PARTS, MAX_SIZE, decode, parse


def refusal(content: bytes | str) -> str:
    with pytest.raises(SettingsError) as refused:
        parse(decode(content, "a.toml"), "a.toml")
    [problem] = refused.value.problems
    assert str(problem) == str(refused.value)
    return str(problem)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", ""),
        (b"a = 1\r\nb = 2\r\n", "a = 1\nb = 2\n"),
        (b"\xef\xbb\xbfa = 1\n", "a = 1\n"),
        ("é = 1", "é = 1"),
        (b"#" * MAX_SIZE, "#" * MAX_SIZE),
    ],
)
def test_the_text_of_a_file(content: bytes | str, text: str) -> None:
    assert decode(content, "a.toml") == text


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"a = 1\n\xff", "a.toml:2: not valid UTF-8"),
        (b"\xc3", "a.toml:1: not valid UTF-8"),
        ("a = 1\n\n'\udcff'", "a.toml:3: not valid UTF-8"),
        (b"#" * (MAX_SIZE + 1), "a.toml: larger than 1048576 bytes, the most that settings may have"),
        ("é" * (MAX_SIZE // 2 + 1), "a.toml: larger than 1048576 bytes, the most that settings may have"),
        (b"\xff" * (MAX_SIZE + 1), "a.toml: larger than 1048576 bytes, the most that settings may have"),
        ("a =", "a.toml:1:4: not valid TOML: Invalid value"),
        ("a = 1\nb = [1,\n", "a.toml:2: not valid TOML: Invalid value at the end of the file"),
        ("a = 1\nb\n", "a.toml:2:2: not valid TOML: Expected '=' after a key in a key/value pair"),
        ("[a\n", "a.toml:1:3: not valid TOML: Expected ']' at the end of a table declaration"),
        ("a = 1\na = 2", "a.toml:2:6: not valid TOML: Cannot overwrite a value"),
        ("a = '\n'", "a.toml:1:6: not valid TOML: Found invalid character '\\n'"),
        ("a = 1\rb = 2", "a.toml:1:6: not valid TOML: Expected newline or end of document after a statement"),
        ("a = 1\r", "a.toml:1:6: not valid TOML: Expected newline or end of document after a statement"),
        ("a = " + "[" * 100_000, "a.toml: arrays or tables are nested too deeply"),
        ("a = " + "{a=" * 100_000, "a.toml: arrays or tables are nested too deeply"),
        ("a = " + "9" * 5000, "a.toml: not valid TOML: a number has too many digits"),
        ("b = 1\n" + "a." * 32 + "a = 1", "a.toml:2: a key with more than 32 parts"),
        ("[" + "'a' . " * 32 + '"a"]', "a.toml:1: a key with more than 32 parts"),
    ],
)
def test_what_is_wrong_with_a_file(content: bytes | str, line: str) -> None:
    assert refusal(content) == line


def test_a_key_of_half_a_million_parts_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(text: str) -> dict[str, object]:
        raise AssertionError("parsing this takes hours")

    monkeypatch.setattr(tomllib, "loads", never)
    assert refusal("a." * (MAX_SIZE // 2 - 10) + "a=1") == "a.toml:1: a key with more than 32 parts"
    assert refusal("x={" + "a." * (MAX_SIZE // 2 - 10) + "a=1}") == "a.toml:1: a key with more than 32 parts"


@pytest.mark.parametrize(
    "text",
    [
        "# " + "." * 200,
        "a = 1 # " + "see.the.manual." * 50,
        'a = "' + "0." * 100 + 'ip6.arpa"',
        "a = '" + "0." * 100 + "ip6.arpa'",
        "a = ['" + "', '".join(["10.0.0.0"] * 50) + "']",
        "a = [" + ", ".join(["1.5"] * 100) + "]",
        "a." * (MAX_KEY_PARTS - 1) + "a = 1",
    ],
)
def test_dots_that_make_no_long_key_are_no_matter(text: str) -> None:
    assert parse(text, "a.toml") == tomllib.loads(text)


@given(st.binary(max_size=200))
def test_no_bytes_do_worse_than_to_be_refused(content: bytes) -> None:
    try:
        tables = parse(decode(content, "a.toml"), "a.toml")
    except SettingsError as error:
        refused = str(error)
    else:
        refused = "nothing"
        assert tables == tomllib.loads(content.decode().removeprefix("\ufeff"))
    assert refused.isprintable()
