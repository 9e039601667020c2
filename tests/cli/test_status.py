"""``pyproxyctl status``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.cli.api import API, answer
from tests.cli.samples import STATISTICS, STATUS
from twistedproxy.cli import status as status_module
from twistedproxy.cli.output import plain_text
from twistedproxy.cli.status import status_parts
from twistedproxy.control.types import Status
from twistedproxy.record.statistics import PHASES, Histogram, Statistics

PLAIN = """\
state        ready
version      0.1.0
pid          4711
uptime       1d 1h, since 2026-11-23 08:12:03 UTC
listeners    127.0.0.1:8080
             [::1]:8080
settings     /etc/twistedproxy/pyproxy.toml
generation   3; 2 reloads, 1 failed
log level    info
connections  5 open; 90 accepted, 2 refused so far
tunnels      2 open
to servers   3 in use, 4 idle, 0 waited for
look-ups     0 under way; 0 so far; 0 names cached
resolver     the system's
descriptors  40 of 65536

workers
worker   pid  state    uptime  restarts  clients  tunnels  requests    CPU  memory    lag
     0  4712  ready     1d 1h         0        5        2      1237  12.3s  50 MiB  2.1ms
     1     -  waiting       -         3        0        0         0   0.0s     0 B    0ms

worker 1 has not answered for 12s
worker 1 ended before: killed by signal 9

requests
kind     status  reason       count
forward  2xx     -             1200
tunnel   2xx     -               30
answer   4xx     port_denied      7
all                            1237

bytes
direction      bytes
from clients  1000 B
to clients     5 MiB
to servers     900 B
from servers   5 MiB

durations
phase                 count  average  50% within  90% within  99% within
until connected           4     25ms        20ms        40ms        49ms
until the first byte      0        -           -           -           -
"""


@pytest.fixture
def answered(api: API) -> API:
    api.answers["GET", "/api/v1/status"] = answer(STATUS)
    return api


def test_plain(answered: API, run: Callable[..., Any]) -> None:
    ended = run("status")
    assert ended.out == PLAIN
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize("arguments", [("status", "--json"), ("--json", "status")])
def test_json(arguments: tuple[str, ...], answered: API, run: Callable[..., Any]) -> None:
    ended = run(*arguments)
    assert ended.code == 0
    assert ended.out == msgspec.json.encode(STATUS).decode() + "\n"
    assert msgspec.json.decode(ended.out, type=Status) == STATUS


def test_daemon_that_has_done_nothing() -> None:
    fresh = msgspec.structs.replace(STATUS, statistics=Statistics(), workers=[], settings_file="", listeners=[])
    lines = plain_text(status_parts(fresh)).splitlines()
    assert lines[4:6] == ["listeners    none", "settings     no file, only defaults"]
    assert lines[-1] == "descriptors  0 of 0"


def test_what_is_seldom() -> None:
    numbers = msgspec.structs.replace(
        STATISTICS,
        log_lines_lost=9,
        requests=STATISTICS.requests[:1],
        lookups=2,
        lookups_made=40,
        lookups_failed={"dns_timeout": 1, "dns_error": 3},
        names_kept=30,
    )
    servers = ["192.0.2.53", "192.0.2.54"]
    lines = plain_text(
        status_parts(msgspec.structs.replace(STATUS, statistics=numbers, name_servers=servers))
    ).splitlines()
    assert "look-ups        2 under way; 40 so far (3 dns_error, 1 dns_timeout); 30 names cached" in lines
    assert lines[lines.index("resolver        192.0.2.53") + 1] == "                192.0.2.54"
    assert "log lines lost  9" in lines
    # One row is its own sum.
    assert not any(line.startswith("all") for line in lines)


def test_every_phase_has_a_name() -> None:
    numbers = Statistics(phases={phase: Histogram() for phase in (*PHASES, "of_a_later_version")})
    text = plain_text([status_module.durations_table(numbers)])
    assert [line.split("  ")[0] for line in text.splitlines()[2:]] == [
        "until connected",
        "until the first byte",
        "whole request",
        "whole tunnel",
        "of_a_later_version",
    ]


def some_answers(api: API, count: int) -> None:
    """Answer ``count`` times, and then with nothing."""
    left = [answer(STATUS)] * count
    api.answers["GET", "/api/v1/status"] = lambda: left.pop() if left else b""


def test_watch(api: API, run: Callable[..., Any]) -> None:
    some_answers(api, 3)
    ended = run("status", "--watch", "10ms")
    assert ended.out == f"{PLAIN}\n{PLAIN}\n{PLAIN}"
    assert ended.code == 3


def test_watch_as_json(api: API, run: Callable[..., Any]) -> None:
    some_answers(api, 2)
    ended = run("status", "--watch", "0.01", "--json")
    assert [json.loads(line)["pid"] for line in ended.out.splitlines()] == [4711, 4711]
    assert ended.code == 3


def test_watch_ends_well_by_control_c(answered: API, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(seconds: float) -> None:
        assert seconds == 2.0
        raise KeyboardInterrupt

    monkeypatch.setattr("twistedproxy.cli.status.sleep", interrupted)
    ended = run("status", "--watch", "2")
    assert (ended.code, ended.err) == (0, "")
