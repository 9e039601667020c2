"""``pyproxyctl limits``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.cli.api import API, answer, problem
from tests.control.conftest import LIMITED
from twistedproxy.cli.limits import limits_parts
from twistedproxy.cli.output import plain_text
from twistedproxy.control.types import Done, WhatIsLimited

PATH = "/api/v1/limits"
PLAIN = """\
limit   per            requests          connections  tunnels  down     up         a day  a month  refused  slowed
guests  client         20/s, 60 at once  30           10       2 MiB/s  -          5 GiB  -        7        9
night   rule, by rule  -                 -            -        -        512 KiB/s  -      9 TiB    0        0

limit   who        taken  requests  connections  tunnels  waiting  down  up   today                this month
guests  192.0.2.7  125%   50%       12/30        10/10    3        125%  -    1 GiB, 4 GiB left    -
night   rule late  25%    -         1            0        0        -     25%  -                    1 TiB, 8 TiB left
gone    all        -      -         -            -        -        -     -    -                    -

the day ends in 16h
the month ends in 16d 16h
"""


def test_the_list(api: API, run: Callable[..., Any]) -> None:
    api.answers["GET", f"{PATH}?limit=20&name="] = answer(WhatIsLimited([], [], 0.0, 0.0))
    assert run("limits").out == run("limits", "list").out == "there is no such limit, or none at all\n"
    api.answers["GET", f"{PATH}?limit=3&name=guests"] = answer(LIMITED)
    told = json.loads(run("limits", "list", "guests", "--limit", "3", "--json").out)
    assert told["shares"][0]["key"] == "192.0.2.7"
    assert run("limits", "list", "--limit", "0").code == 2


def test_the_list_for_a_person() -> None:
    text = plain_text(limits_parts(LIMITED, 1_800_000_000.0))
    assert [line.split() for line in text.splitlines()] == [line.split() for line in PLAIN.splitlines()]
    nobody = msgspec.structs.replace(LIMITED, limits=LIMITED.limits[:1], shares=[])
    assert plain_text(limits_parts(nobody, 1_800_000_000.0)).splitlines()[-1] == "the day ends in 16h"
    assert "nobody has taken up anything" in plain_text(limits_parts(nobody, 0.0))


@pytest.mark.parametrize(("arguments", "key"), [((), ""), (("user ann",), "user ann")])
def test_reset(arguments: tuple[str, ...], key: str, api: API, run: Callable[..., Any]) -> None:
    api.answers["POST", f"{PATH}/reset"] = answer(Done("it begins anew"))
    ended = run("limits", "reset", "guests", *arguments)
    assert (ended.code, ended.out) == (0, "it begins anew\n")
    assert json.loads(api.requests[0][2]) == {"name": "guests", "key": key}


def test_reset_of_a_limit_that_there_is_not(api: API, run: Callable[..., Any]) -> None:
    api.answers["POST", f"{PATH}/reset"] = problem("Conflict", 409, "there is no limit guests")
    ended = run("limits", "reset", "guests")
    assert (ended.code, ended.err) == (1, "pyproxyctl: Conflict: there is no limit guests\n")
