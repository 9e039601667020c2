"""Fields as the operator names them."""

from __future__ import annotations

import pytest

from twistedproxy.settings.field_names import (
    NEEDED,
    OUT_OF_REACH,
    check_field_line,
    check_field_name,
    field_line,
)
from twistedproxy.settings.problems import Unfit


@pytest.mark.parametrize("name", ["X-A", "*", "X-?-*", "accept", "a" * 128, "!#$%&'+.^_`|~"])
def test_name(name: str) -> None:
    check_field_name(name)


@pytest.mark.parametrize("name", ["", "X A", "X:", "X\r\n", "ä", "a" * 129, 1, None, "HOST", "Forwarded"])
def test_no_name(name: object) -> None:
    with pytest.raises(Unfit):
        check_field_name(name)


@pytest.mark.parametrize("name", sorted(OUT_OF_REACH))
def test_out_of_reach(name: str) -> None:
    for check, text in ((check_field_name, name.upper()), (check_field_line, f"{name.title()}: 1")):
        with pytest.raises(Unfit):
            check(text)


def test_what_websockets_need_is_out_of_reach() -> None:
    assert {"upgrade", "connection", "sec-websocket-key", "sec-websocket-accept"} <= NEEDED


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("User-Agent: browser", (b"user-agent", b"browser")),
        ("X:y", (b"x", b"y")),
        ("X:  a: b  ", (b"x", b"a: b")),
    ],
)
def test_line(text: str, line: tuple[bytes, bytes]) -> None:
    check_field_line(text)
    assert field_line(text) == line


@pytest.mark.parametrize("text", ["X", "X:", "X: ", ": a", "X : a", "X: a\r\nY: b", "X: \x7f", "X: ä", 1])
def test_no_line(text: object) -> None:
    with pytest.raises(Unfit):
        check_field_line(text)
