"""What a limit would say, and how much of it is taken up."""

from __future__ import annotations

from typing import Any

import pytest

from tests.limits.samples import table
from twistedproxy.access.limits.limits import Limit
from twistedproxy.limits.explained import in_words, refusal
from twistedproxy.limits.state import ShareState

EVERYTHING = {
    "requests_per_second": 10,
    "connections": 3,
    "tunnels": 2,
    "download": "1MiB",
    "upload": "1KiB",
    "daily": "1KiB",
    "monthly": "2KiB",
}


@pytest.mark.parametrize(
    ("taken", "tunnel", "reason"),
    [
        ({}, True, ""),
        ({"requests": 0.9}, False, ""),
        ({"requests": 0.95}, False, "requests_exceeded"),
        ({"connections": 2, "tunnels": 1, "download": 9.0, "upload": 9.0}, True, ""),
        ({"connections": 3}, False, "connections_exceeded"),
        ({"tunnels": 2}, False, ""),
        ({"tunnels": 2}, True, "tunnels_exceeded"),
        ({"today": 1024, "connections": 3}, False, "quota_exceeded"),
        ({"in_month": 2048}, False, "quota_exceeded"),
    ],
)
def test_refusals(taken: dict[str, Any], tunnel: bool, reason: str) -> None:
    state = ShareState("a", "x", **taken)
    refused = refusal(Limit.of(table(**EVERYTHING)), state, tunnel)
    assert (refused.reason if refused is not None else "") == reason
    slows = refusal(Limit.of(table(**EVERYTHING, when_over="slow")), state, tunnel)
    assert (slows.reason if slows is not None else "") == (reason if reason == "quota_exceeded" else "")


def test_words() -> None:
    state = ShareState("a", "x", 0.5, 1.25, 0.0, 1, 1, 0, 100, 200)
    assert in_words(Limit.of(table(**EVERYTHING)), state) == (
        "50% of its requests at once, 125% of its download, 0% of its upload, 1 of 3 connections, 1 of 2 tunnels, "
        "100 of 1024 bytes today, 200 of 2048 bytes this month"
    )
    assert in_words(Limit.of(table(tunnels=5)), state) == "1 of 5 tunnels"
