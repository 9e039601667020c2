"""What is printed: plain, drawn, and as JSON."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.cli.output import (
    Facts,
    Part,
    Table,
    json_text,
    plain_text,
    printable,
    show,
    show_each,
    show_error,
    show_json,
)
from twistedproxy.control.types import Done

TABLE = Table("things", ("name", "state", "count"), [("a", "ready", "1"), ("long name", "waiting", "1234")], {"count"})
FACTS = Facts([("state", "ready"), ("listeners", ["one", "two"])])


class Terminal(io.StringIO):
    """Takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


Drawn = Callable[[Callable[[], None]], str]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """What something prints on a terminal of 40 columns with colours."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "20")
    monkeypatch.setenv("TERM", "xterm")

    def run(prints: Callable[[], None]) -> str:
        with contextlib.redirect_stdout(Terminal()) as stream:
            prints()
        return stream.getvalue()

    return run


def without_styles(text: str) -> str:
    """``text`` without what rich may say: the styles in use here, and their end."""
    return re.sub(r"\x1b\[(?:0|1|31|32)m", "", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain é ☃", "plain é ☃"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\x7f\x9b", r"\x7f\x9b"),
        ("\u202eright to left", r"\u202eright to left"),
        ("\ud800", r"\ud800"),
    ],
)
def test_printable(text: str, expected: str) -> None:
    assert printable(text) == expected


@given(st.text())
def test_printable_is_printable(text: str) -> None:
    assert printable(text).isprintable()


def test_plain() -> None:
    assert plain_text(["one", "two", FACTS, TABLE, "end"]) == (
        "one\n"
        "two\n"
        "\n"
        "state      ready\n"
        "listeners  one\n"
        "           two\n"
        "\n"
        "things\n"
        "name       state    count\n"
        "a          ready        1\n"
        "long name  waiting   1234\n"
        "\n"
        "end\n"
    )


def test_plain_is_not_cut() -> None:
    assert plain_text([Table("", ("target",), [("x" * 5000,)])]) == f"target\n{'x' * 5000}\n"


def test_table_without_rows_is_left_out() -> None:
    empty = Table("things", ("name",), [])
    assert plain_text(["one", empty, "two"]) == "one\ntwo\n"
    assert plain_text([empty]) == ""


@pytest.mark.parametrize(
    "part",
    ["\x1b]0;x\x07", Facts([("\x1b[1m", "\x1b[2m")]), Table("\x1b[3m", ("\x1b[4m",), [("\x1b[5m\n",)])],
    ids=["text", "facts", "table"],
)
def test_nothing_steers_the_terminal(part: Part, drawn: Drawn) -> None:
    assert "\x1b" not in plain_text([part])
    text = without_styles(drawn(lambda: show([part])))
    assert "\x1b" not in text
    assert r"\x1b" in text


def test_drawn(drawn: Drawn) -> None:
    text = drawn(lambda: show(["[bold]no markup[/bold] 12 :smile:", FACTS, TABLE]))
    assert "\x1b[32mready" in text
    assert "\x1b[31mwaiting" in text
    assert [line.rstrip() for line in without_styles(text).splitlines()] == [
        "[bold]no markup[/bold] 12 :smile:",
        "",
        "state      ready",
        "listeners  one",
        "           two",
        "",
        "things",
        "name       state    count",
        "─────────────────────────",
        "a          ready        1",
        "long name  waiting   1234",
    ]


def test_drawn_to_fit(drawn: Drawn) -> None:
    target = "x" * 100
    text = without_styles(drawn(lambda: show([Table("", ("id", "target"), [("0-1", target)])])))
    assert max(map(len, text.splitlines())) <= 40
    assert text.count("x") == 100


def test_lines_of_text_are_not_broken(drawn: Drawn) -> None:
    assert drawn(lambda: show(["word " * 20])) == "word " * 20 + "\n"


def test_frames_on_a_terminal_replace_each_other(drawn: Drawn) -> None:
    text = drawn(lambda: show_each([["first"], ["second"]]))
    assert text.startswith("\x1b[?1049h")
    assert text.index("first") < text.index("second") < text.index("\x1b[?1049l")


def test_frames_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    show_each([["first"], ["second"]])
    assert capsys.readouterr().out == "first\n\nsecond\n"


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    show_json(Done("reloaded"))
    assert capsys.readouterr().out == '{"detail":"reloaded"}\n'


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_means_the_same_and_is_printable(text: str) -> None:
    spelled = json_text(Done(text))
    assert spelled.isprintable()
    assert json.loads(spelled) == {"detail": text}


def test_json_keeps_what_is_printable() -> None:
    assert json_text(Done("é☃\x9b\U0001f600\U000e0001\\")) == r'{"detail":"é☃\u009b😀\udb40\udc01\\"}'


def test_error(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(["no\x1b", "  more"])
    out, err = capsys.readouterr()
    assert (out, err) == ("", "pyproxyctl: no\\x1b\n  more\n")
