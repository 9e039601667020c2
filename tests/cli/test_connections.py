"""``pyproxyctl connections``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest

from tests.cli.api import API, answer, problem
from tests.cli.samples import CONNECTIONS
from twistedproxy.cli.connections import STATES
from twistedproxy.control.types import Connection, Connections, Done

PLAIN = """\
id    client           state      age  requests  method   target      server         received     sent
0-17  192.0.2.7:50000  tunnel  1m 15s         1  CONNECT  a.test:443  192.0.2.9:443     2 KiB    4 KiB
1-2   192.0.2.8:50001  idle        3s         4  -        -           -                 100 B  1.5 KiB

the oldest 2 of 3; more with --limit
"""


def test_states_are_the_apis() -> None:
    (state,) = (field.type for field in msgspec.structs.fields(Connection) if field.name == "state")
    assert get_args(state) == STATES


@pytest.mark.parametrize("arguments", [("connections",), ("connections", "list")])
def test_list(arguments: tuple[str, ...], api: API, run: Callable[..., Any]) -> None:
    api.answers["GET", "/api/v1/connections"] = answer(CONNECTIONS)
    ended = run(*arguments)
    assert ended.out == PLAIN
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize("arguments", [("connections", "--json"), ("connections", "list", "--json")])
def test_list_as_json(arguments: tuple[str, ...], api: API, run: Callable[..., Any]) -> None:
    api.answers["GET", "/api/v1/connections"] = answer(CONNECTIONS)
    assert run(*arguments).out == msgspec.json.encode(CONNECTIONS).decode() + "\n"


def test_filters_go_to_the_daemon(api: API, run: Callable[..., Any]) -> None:
    api.answers["GET", "/api/v1/connections?client=192.0.2.7&state=tunnel&limit=2"] = answer(Connections(0, []))
    ended = run("connections", "--client", "192.0.2.7", "--state", "tunnel", "--limit", "2")
    assert (ended.code, ended.out) == (0, "no connections\n")


@pytest.mark.parametrize("arguments", [("--state", "asleep"), ("--limit", "0"), ("--limit", "x"), ("stray",)])
def test_wrong_usage(arguments: tuple[str, ...], api: API, run: Callable[..., Any]) -> None:
    assert run("connections", *arguments).code == 2
    assert api.requests == []


def test_what_clients_say_is_escaped(api: API, run: Callable[..., Any]) -> None:
    evil = Connection("0-1", "192.0.2.7:1", "request", 1.0, 1, "G\x1b[2JET", "a.test/\x9b31m\u202e\n", "", 0, 0)
    api.answers["GET", "/api/v1/connections"] = answer(Connections(1, [evil]))
    plain = run("connections").out
    assert r"G\x1b[2JET  a.test/\x9b31m\u202e\n" in plain
    assert plain.replace("\n", "").isprintable()
    spelled = run("connections", "--json").out
    assert spelled.rstrip("\n").isprintable()
    assert json.loads(spelled)["connections"][0]["target"] == evil.target


def test_several_requests_on_one(api: API, run: Callable[..., Any]) -> None:
    """Over HTTP/2 there can be many."""
    one = Connection("0-1", "192.0.2.7:1", "request", 1.0, 9, "GET", "https://a.test/", "", 0, 0, exchanges=3)
    api.answers["GET", "/api/v1/connections"] = answer(Connections(1, [one]))
    assert "  GET     https://a.test/ and 2 more  " in run("connections").out


def test_close(api: API, run: Callable[..., Any]) -> None:
    api.answers["DELETE", "/api/v1/connections/0-17"] = answer(Done("connection 0-17 is closed"))
    ended = run("connections", "close", "0-17")
    assert (ended.code, ended.out) == (0, "connection 0-17 is closed\n")
    assert run("connections", "--json", "close", "0-17").out == '{"detail":"connection 0-17 is closed"}\n'


def test_close_what_is_not_there(api: API, run: Callable[..., Any]) -> None:
    api.answers["DELETE", "/api/v1/connections/0-18"] = problem("Not Found", 404, "no connection 0-18")
    ended = run("connections", "close", "0-18")
    assert (ended.code, ended.out, ended.err) == (1, "", "pyproxyctl: Not Found: no connection 0-18\n")
    assert run("connections", "close").code == 2
