"""The settings of what is written down, as they are written."""

from __future__ import annotations

import pytest

from twistedproxy.settings.load import SettingsError, load
from twistedproxy.settings.log import LogSettings


def test_what_people_say_is_not_written_down_unless_it_is_asked_for() -> None:
    assert LogSettings().websocket == "off"


def test_read() -> None:
    text = """\
[log]
access = "-"
format = "json"
level = "warn"
websocket = "/var/log/ws.log"
websocket_hosts = [".example.org", "*.cdn.example", "192.0.2.1"]
websocket_max_content = "1MiB"
"""
    assert load(text, "a.toml").settings.log == LogSettings(
        access="-",
        format="json",
        level="warn",
        websocket="/var/log/ws.log",
        websocket_hosts=(".example.org", "*.cdn.example", "192.0.2.1"),
        websocket_max_content=1 << 20,
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "log.websocket_max_content = 1048577",
            'log.websocket_max_content: expected a size such as 65536 (bytes) or "64KiB", from 0B to 1MiB, got 1048577',
        ),
        (
            'log.websocket_hosts = ["example.com:443"]',
            'log.websocket_hosts[0]: expected a host without a port, got "example.com:443"',
        ),
        (
            'log.websocket = "a.log "',
            'log.websocket: expected a path that neither begins nor ends with a space, got "a.log "',
        ),
    ],
)
def test_what_is_refused(line: str, problem: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(line, "a.toml")
    assert str(refused.value) == f"a.toml:1: {problem}"
