"""What the rules are asked: one spelling of a URL, and texts of a length that patterns can be held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.access.question import LONGEST_SUBJECT, Question, normal_path
from twistedproxy.errors import HeadTooLarge, TargetError, TargetTooLong
from twistedproxy.http import message


class Fields(message.Fields):
    """The fields of a request, by their names."""

    def __init__(self, values: Mapping[bytes, tuple[bytes, ...]] | None = None) -> None:
        super().__init__((name, value) for name, several in (values or {}).items() for value in several)


def question(**changes: Any) -> Question:
    values: dict[str, Any] = {
        "client": "192.0.2.7",
        "listener": "tcp:8080",
        "method": b"GET",
        "scheme": "http",
        "host": "origin.example",
        "port": 80,
        "target": b"/",
        "way": "plain",
        "fields": Fields(),
        "when": 1_800_000_000.0,
    }
    return Question(**(values | changes))


@pytest.mark.parametrize(
    ("sent", "judged"),
    [
        ("/admin", "/admin"),
        ("/%61dmin", "/admin"),
        ("/%61%64%6D%69%6e", "/admin"),
        ("/x/../admin", "/admin"),
        ("/x/%2e%2E/admin", "/admin"),
        ("/./admin/.", "/admin/"),
        ("/admin/x/..", "/admin/"),
        ("/../../admin", "/admin"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%252e", "/a%252e"),
        ("/a%zz%4", "/a%zz%4"),
        ("/.well-known/...", "/.well-known/..."),
        ("//admin", "/admin"),
        ("/a//b///", "/a/b/"),
        ("/a//./b", "/a/b"),
        ("/a/..", "/"),
        ("/a/..b%2fc", "/a/..b%2Fc"),
        ("*", "*"),
    ],
)
def test_a_path_has_one_spelling(sent: str, judged: str) -> None:
    assert normal_path(sent) == judged
    assert question(target=sent.encode() + b"?q=%61").path == judged


@pytest.mark.parametrize(
    "path",
    [
        # To some servers /secret, to others /public/secret.
        "/public//../secret",
        "/public/x//../../secret",
        "/public/..%2fsecret",
        "/public/%2e%2e%2Fsecret",
        "/public/..%5csecret",
        "/public/x\\..\\..\\secret",
        "/public%2f../secret",
    ],
)
def test_a_path_of_two_meanings_is_not_judged(path: str) -> None:
    with pytest.raises(TargetError, match="its path leads elsewhere"):
        normal_path(path)


@given(st.text("/.%2eEab", max_size=20).map(lambda text: "/" + text))
def test_a_spelling_stays_where_it_is(path: str) -> None:
    try:
        once = normal_path(path)
    except TargetError:
        return
    assert not {".", ".."} & set(once.split("/"))
    if "%" not in once:
        assert normal_path(once) == once


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        ({}, "http://origin.example/"),
        ({"scheme": "https", "port": 443}, "https://origin.example/"),
        ({"port": 8080, "target": b"/%61?b=%61/../c"}, "http://origin.example:8080/a?b=%61/../c"),
        ({"host": "0x7f.1"}, "http://127.0.0.1/"),
        ({"host": "2001:db8:0:0::1"}, "http://[2001:db8::1]/"),
        ({"host": "origin.example.", "target": b"/?"}, "http://origin.example/?"),
        ({"way": "tunnel", "scheme": "", "target": b""}, ""),
    ],
)
def test_the_url(changes: dict[str, Any], url: str) -> None:
    assert question(**changes).url == url


def test_what_is_too_long_is_not_judged() -> None:
    long = b"/" + b"a" * LONGEST_SUBJECT
    with pytest.raises(TargetTooLong, match="paths of up to 8192 characters"):
        _ = question(target=long).path
    with pytest.raises(TargetTooLong, match="URLs of up to 8192 characters"):
        _ = question(target=b"/?" + long).url
    assert question(target=b"/?" + long).path == "/"
    asked = question(fields=Fields({b"x": (b"short", long)}))
    with pytest.raises(HeadTooLarge, match="fields of up to 8192 characters"):
        asked.field(b"x")


def test_fields_are_text() -> None:
    asked = question(fields=Fields({b"x": (b"a", "ä".encode(), b"\xff")}))
    assert asked.field(b"x") == ["a", "ä", "\ufffd"]
    assert asked.field(b"y") == []
    assert repr(asked) == "<Question 192.0.2.7 plain b'GET' origin.example:80>"
