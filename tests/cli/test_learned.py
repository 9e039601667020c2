"""``pyproxyctl learned``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.cli.api import API, answer
from tests.cli.samples import LEARNED
from twistedproxy.control.types import Done, WhatWasLearned

PATH = "/api/v1/intercept/learned"
PLAIN = """\
client             host    refusals  left alone     for  worker
192.0.2.7          a.test         2  yes         1m 15s       0
2001:db8:1:2::/64  b.test         1  no              3s       1
"""


def test_list(api: API, run: Callable[..., Any]) -> None:
    api.answers["GET", PATH] = answer(LEARNED)
    ended = run("learned")
    assert ended.out == PLAIN
    assert (ended.code, ended.err) == (0, "")
    assert run("learned", "--json").out == msgspec.json.encode(LEARNED).decode() + "\n"


def test_one_host(api: API, run: Callable[..., Any]) -> None:
    api.answers["GET", f"{PATH}?host=c.test"] = answer(WhatWasLearned([]))
    assert run("learned", "--host", "c.test").out == "nothing was learned\n"


@pytest.mark.parametrize(("arguments", "query"), [((), ""), (("a.test",), "?host=a.test")])
def test_clear(arguments: tuple[str, ...], query: str, api: API, run: Callable[..., Any]) -> None:
    api.answers["DELETE", PATH + query] = answer(Done("2 forgotten"))
    ended = run("learned", "--clear", *arguments)
    assert (ended.code, ended.out) == (0, "2 forgotten\n")


@pytest.mark.parametrize("arguments", [("--host", "a.test", "--clear"), ("stray",), ("--host",)])
def test_wrong_usage(arguments: tuple[str, ...], api: API, run: Callable[..., Any]) -> None:
    assert run("learned", *arguments).code == 2
    assert api.requests == []
