"""``pyproxyctl block``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.api import API, answer, problem
from tests.control.conftest import LIST
from twistedproxy.cli.block import lists_parts
from twistedproxy.cli.output import plain_text
from twistedproxy.control.types import Done, Finding, WhatIsBlocked

PATH = "/api/v1/blocklists"
PLAIN = """\
list  category     does   names  rules  skipped  bad  memory  looked at    next
ads   advertising  block   1000      7        3    1  20 KiB  5m ago       in 23h 55m

ads  could not be refreshed: status 404
     line 12: more than one word: no list
"""


def test_stats(api: API, run: Callable[..., Any]) -> None:
    api.answers["GET", PATH] = answer(WhatIsBlocked([]))
    assert run("block").out == run("block", "stats").out == "there are no lists\n"
    assert json.loads(run("block", "stats", "--json").out) == {"lists": []}


def test_stats_for_a_person() -> None:
    import msgspec

    one = msgspec.structs.replace(LIST, error="status 404")
    text = plain_text(lists_parts(WhatIsBlocked([one]), LIST.checked + 300))
    assert [line.split() for line in text.splitlines()] == [line.split() for line in PLAIN.splitlines()]
    never = msgspec.structs.replace(LIST, checked=0.0, next=0.0, allow=True, category="", faults=[])
    assert plain_text(lists_parts(WhatIsBlocked([never]), 0)).splitlines()[1].split() == [
        *("ads", "-", "allow", "1000", "7", "3", "1", "20", "KiB", "never", "-")
    ]


@pytest.mark.parametrize(("options", "allow"), [((), False), (("--allow",), True)])
def test_entries(options: tuple[str, ...], allow: bool, api: API, run: Callable[..., Any]) -> None:
    api.answers["POST", f"{PATH}/entries"] = answer(Done("a.test is blocked from now on"))
    ended = run("block", "add", "a.test", *options)
    assert (ended.code, ended.out) == (0, "a.test is blocked from now on\n")
    assert json.loads(api.requests[0][2]) == {"host": "a.test", "allow": allow}
    api.answers["DELETE", f"{PATH}/entries?host=a.test&allow={str(allow).lower()}"] = answer(Done("gone"))
    assert run("block", "remove", "a.test", *options).out == "gone\n"


def test_what_cannot_be_removed(api: API, run: Callable[..., Any]) -> None:
    api.answers["DELETE", f"{PATH}/entries?host=b&allow=false"] = problem("Not Found", 404, "it is not on that list")
    ended = run("block", "remove", "b")
    assert (ended.code, ended.err) == (1, "pyproxyctl: Not Found: it is not on that list\n")


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        (Finding("a.test", False), "it is not blocked\n"),
        (
            Finding("a.test", True, "ads", "advertising", "a.test"),
            "it is blocked\n\nlist      ads\ncategory  advertising\nrule      a.test\n",
        ),
        (
            Finding("a.test", False, "seen", "", "test"),
            "it is not blocked, and a match is logged\n\nlist  seen\nrule  test\n",
        ),
    ],
)
def test_tests(finding: Finding, text: str, api: API, run: Callable[..., Any]) -> None:
    api.answers["GET", f"{PATH}/test?target=http%3A%2F%2Fa.test%2F"] = answer(finding)
    assert run("block", "test", "http://a.test/").out == text


def test_refresh(api: API, run: Callable[..., Any]) -> None:
    api.answers["POST", f"{PATH}/refresh"] = answer(Done("ads changed"))
    assert run("block", "refresh", "ads", "--force").out == "ads changed\n"
    assert run("block", "refresh").out == "ads changed\n"
    assert [json.loads(content) for _, _, content in api.requests] == [
        {"name": "ads", "force": True},
        {"name": "", "force": False},
    ]


@pytest.mark.parametrize("arguments", [("add",), ("remove",), ("test",), ("add", "a", "b")])
def test_wrong_usage(arguments: tuple[str, ...], api: API, run: Callable[..., Any]) -> None:
    assert run("block", *arguments).code == 2
    assert api.requests == []
