"""The settings of interception, as they are written."""

from __future__ import annotations

import pytest

from twistedproxy.settings.interception import InterceptSettings
from twistedproxy.settings.load import SettingsError, load


def test_nothing_is_opened_unless_it_is_asked_for() -> None:
    assert InterceptSettings().mode == "off"
    assert InterceptSettings().leave_alone == ("defaults",)


def test_read() -> None:
    text = """\
[intercept]
mode = "listed"
hosts = ["api.example.com", ".example.org", "*.cdn.example", "192.0.2.1"]
leave_alone = []
ports = [443, "8000-8999"]
clients = ["private"]
peek_timeout = "500ms"
unreadable = "refuse"
learn_after = 0
learn_for = "7d"
"""
    assert load(text, "a.toml").settings.intercept == InterceptSettings(
        mode="listed",
        hosts=("api.example.com", ".example.org", "*.cdn.example", "192.0.2.1"),
        leave_alone=(),
        ports=(443, "8000-8999"),
        clients=("private",),
        peek_timeout=0.5,
        unreadable="refuse",
        learn_after=0,
        learn_for=7 * 86400.0,
    )


@pytest.mark.parametrize(
    "line",
    [
        'mode = "all"',
        'hosts = ["https://example.com"]',
        'hosts = ["example.com:443"]',
        "hosts = [1]",
        'hosts = "example.com"',
        'leave_alone = ["a b"]',
        "ports = [0]",
        'clients = ["everybody"]',
        "peek_timeout = 0",
        'unreadable = "open"',
        "learn_after = 101",
        "learn_for = 0",
    ],
)
def test_wrong(line: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(f"[intercept]\n{line}\n", "a.toml")
    assert line.partition(" ")[0] in str(raised.value)
