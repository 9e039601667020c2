"""``pyproxyctl explain``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import pytest

from tests.cli.api import API, answer
from tests.cli.samples import EXPLANATION
from twistedproxy.control.types import Explanation, Inquiry

PATH = "/api/v1/explain"
PLAIN = """\
CONNECT a.test:443
stage        decision  by               where     why
client       allowed   access.clients   default   127.0.0.1 is in loopback
rule         open      access.rules[0]  a.toml:3  it depends on the address
destination  allowed   192.0.2.1

allowed, by access.default

GET https://a.test/x
stage  decision  by                       where     why
rule   denied    games (access.rules[1])  a.toml:7

refused: 451 denied_by_rule, by games
"""


def asked(api: API) -> Inquiry:
    (request,) = api.requests
    assert request[:2] == ("POST", PATH)
    return msgspec.json.decode(request[2], type=Inquiry)


def test_refused(api: API, run: Callable[..., Any]) -> None:
    api.answers["POST", PATH] = answer(EXPLANATION)
    ended = run("explain", "https://a.test/x")
    assert [line.rstrip() for line in ended.out.splitlines()] == PLAIN.splitlines()
    assert (ended.code, ended.err) == (1, "")
    assert asked(api) == Inquiry("https://a.test/x")


def test_allowed(api: API, run: Callable[..., Any]) -> None:
    answered = Explanation(True, EXPLANATION.requests[:1])
    api.answers["POST", PATH] = answer(answered)
    ended = run(
        *("explain", "a.test:443", "--client", "10.0.0.1", "--user", "ann", "--group", "a", "--group", "b", "--json"),
        *("--method", "POST", "--at", "2026-11-27T18:00+01:00", "--listener", "tcp:1", "--field", "User-Agent: curl:8"),
    )
    assert (ended.code, ended.out) == (0, msgspec.json.encode(answered).decode() + "\n")
    assert asked(api) == Inquiry(
        "a.test:443",
        "10.0.0.1",
        "ann",
        ["a", "b"],
        "POST",
        datetime.fromisoformat("2026-11-27T18:00+01:00").timestamp(),
        "tcp:1",
        {"User-Agent": "curl:8"},
    )


@pytest.mark.parametrize(
    "arguments",
    [(), ("a", "b"), ("a", "--at", "noon"), ("a", "--field", "x"), ("a", "--field", ": y")],
)
def test_wrong_usage(arguments: tuple[str, ...], api: API, run: Callable[..., Any]) -> None:
    assert run("explain", *arguments).code == 2
    assert api.requests == []
