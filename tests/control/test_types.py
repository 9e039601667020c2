"""What goes in and out at the API's door: there and back, and what is refused."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from twistedproxy.control.types import (
    CONNECTION_ID,
    ROUTES,
    Candidate,
    Done,
    Drain,
    Health,
    LogLevel,
    Problem,
    Setting,
)


def there_and_back(thing: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(thing), type=type(thing))


@pytest.mark.parametrize(
    "thing",
    [
        Problem("Conflict", 409, "it drains", problems=["it drains"]),
        Candidate('[log]\nlevel = "warn"\n', True),
        Done("the settings have been reloaded"),
        LogLevel("debug"),
        Drain(2.5),
        Drain(),
        Health("ok"),
        Setting("access.rules", [{"ports": [80, "1-9"], "fields": {"a": ["b"]}, "status": 451}], "pyproxy.toml:3"),
        Setting("upstream_tls.hosts", [{"names": ["a.example"], "verify": False, "key": "/a"}], "pyproxy.toml:3"),
    ],
    ids=repr,
)
def test_there_and_back(thing: Any) -> None:
    assert there_and_back(thing) == thing


@pytest.mark.parametrize("name", ["now", "open", "in_force", "verdict", "authority"])
def test_what_the_daemon_says_there_and_back(steered: Any, name: str) -> None:
    thing = getattr(steered, name)
    assert there_and_back(thing) == thing


def test_a_problem_says_only_what_there_is_to_say() -> None:
    """RFC 9457 section 3.1: absent is about:blank."""
    assert msgspec.json.encode(Problem("Not Found", 404)) == b'{"title":"Not Found","status":404}'


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Candidate, '{"tolm": ""}'),
        (Candidate, '{"persist": 1}'),
        (LogLevel, "{}"),
        (LogLevel, '{"level": "loud"}'),
        (LogLevel, '{"level": "info", "until": 5}'),
        (Drain, '{"timeout": -1}'),
        (Drain, '{"timeout": 86401}'),
        (Drain, '{"timeout": "1s"}'),
        (Drain, '{"time": 1}'),
    ],
)
def test_strict_about_what_comes_in(kind: Any, text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=kind)


def test_routes_are_apart() -> None:
    ends = [(method, path) for method, path, *_ in ROUTES]
    assert len(set(ends)) == len(ends)
    assert [path for _, path in ends if not re.fullmatch(r"/(api/v1/)?[a-z/{}-]+", path)] == []
    assert [purpose for *_, purpose in ROUTES if not purpose.endswith(".")] == []


@pytest.mark.parametrize(
    ("id", "fits"), [("0-17", True), ("12-0", True), ("0", False), ("a-1", False), ("0-17/", False)]
)
def test_ids(id: str, fits: bool) -> None:
    assert bool(re.fullmatch(CONNECTION_ID, id)) is fits
