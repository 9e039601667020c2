"""The tables of limits: what may stand there, and where a mistake is said to be."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from twistedproxy.settings.limit_tables import PER, WHEN_OVER, check_limit
from twistedproxy.settings.limits import LimitTable, Per, WhenOver
from twistedproxy.settings.problems import Unfit

GOOD = {"name": "guests", "per": "client", "connections": 5}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"per": "account", "everybody": False, "when_over": "slow"},
        {"per": "rule", "everybody": False},
        {"requests_per_second": 0.2, "burst": 30},
        {"requests_per_second": 100, "tunnels": 7},
        {"download": "2MiB", "upload": "100kB", "daily": "5GiB", "monthly": "0.5GiB"},
    ],
)
def test_tables(more: dict[str, Any]) -> None:
    check_limit(GOOD | more)


@pytest.mark.parametrize(
    ("entry", "within"),
    [
        ("guests", ""),
        ({}, ""),
        ({"name": "guests", "connections": 5}, ""),
        ({"per": "client", "connections": 5}, ""),
        ({"name": "guests", "per": "client"}, ""),
        ({"name": "guests", "per": "client", "burst": 5, "connections": 1}, "burst"),
        (GOOD | {"conections": 5}, "conections"),
        (GOOD | {"name": "a b"}, "name"),
        (GOOD | {"name": ""}, "name"),
        (GOOD | {"per": "user"}, "per"),
        (GOOD | {"per": "rule", "everybody": True}, "everybody"),
        (GOOD | {"everybody": 1}, "everybody"),
        (GOOD | {"requests_per_second": 0}, "requests_per_second"),
        (GOOD | {"requests_per_second": float("nan")}, "requests_per_second"),
        (GOOD | {"requests_per_second": float("inf")}, "requests_per_second"),
        (GOOD | {"requests_per_second": True}, "requests_per_second"),
        (GOOD | {"requests_per_second": "5"}, "requests_per_second"),
        (GOOD | {"requests_per_second": 5, "burst": 1.5}, "burst"),
        (GOOD | {"connections": 0}, "connections"),
        (GOOD | {"tunnels": -1}, "tunnels"),
        (GOOD | {"download": 1000000}, "download"),
        (GOOD | {"download": "1B"}, "download"),
        (GOOD | {"download": "fast"}, "download"),
        (GOOD | {"upload": "1e99GiB"}, "upload"),
        (GOOD | {"daily": []}, "daily"),
        (GOOD | {"monthly": ""}, "monthly"),
        (GOOD | {"when_over": "wait"}, "when_over"),
    ],
)
def test_mistakes(entry: object, within: str) -> None:
    with pytest.raises(Unfit) as caught:
        check_limit(entry)
    assert caught.value.within == within
    assert caught.value.expected or caught.value.message


def test_what_was_meant_is_suggested() -> None:
    with pytest.raises(Unfit) as caught:
        check_limit(GOOD | {"per": "clients"})
    assert caught.value.hint == 'did you mean "client"?'
    with pytest.raises(Unfit) as caught:
        check_limit(GOOD | {"conections": 5})
    assert caught.value.message == 'unknown key (did you mean "connections"?)'


def test_words_are_those_of_the_type() -> None:
    assert get_args(Per) == PER
    assert get_args(WhenOver) == WHEN_OVER


def test_sizes_in_bytes() -> None:
    table = LimitTable(name="a", per="all", download="2MiB", daily="5GiB")
    assert (table.download_size, table.upload_size, table.daily_size, table.monthly_size) == (2 << 20, 0, 5 << 30, 0)
