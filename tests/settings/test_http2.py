"""The settings of HTTP/2, as they are written."""

from __future__ import annotations

import pytest

from twistedproxy.settings.http2 import HTTP2Settings
from twistedproxy.settings.load import SettingsError, load

LISTENERS = '[downstream]\nlisten = ["tcp:8080", "tcp:8081"]\n'


def test_read() -> None:
    text = """\
[downstream]
listen = ["tcp:8080", "tcp:8081"]
[http2]
with_clients = false
with_servers = "never"
except_hosts = ["old.example.com", ".legacy.example", "192.0.2.1"]
except_listeners = ["tcp:8081"]
max_streams = 7
stream_window = "1MiB"
"""
    assert load(text, "a.toml").settings.http2 == HTTP2Settings(
        with_clients=False,
        with_servers="never",
        except_hosts=("old.example.com", ".legacy.example", "192.0.2.1"),
        except_listeners=("tcp:8081",),
        max_streams=7,
        stream_window=1024 * 1024,
    )


@pytest.mark.parametrize(
    "line",
    [
        'with_clients = "yes"',
        "with_servers = 1",
        'except_hosts = ["https://example.com"]',
        "except_hosts = [1]",
        'except_listeners = ["tcp"]',
        'except_listeners = ["tcp:8080", "tcp:8080"]',
        "max_streams = 0",
        "max_streams = 1001",
        'stream_window = "63KiB"',
        'stream_window = "5MiB"',
    ],
)
def test_wrong(line: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load(f"{LISTENERS}[http2]\n{line}\n", "a.toml")
    assert line.partition(" ")[0] in str(raised.value)


def test_listener_that_there_is_not() -> None:
    text = f'{LISTENERS}[http2]\nexcept_listeners = [\n  "tcp:8081",\n  "tcp:8082",\n]\n'
    with pytest.raises(SettingsError) as raised:
        load(text, "a.toml")
    assert str(raised.value) == 'a.toml:6: http2.except_listeners[1]: expected one of downstream.listen, got "tcp:8082"'


def test_listener_of_another_source() -> None:
    """What the command line says of the listeners counts for what the file says of them."""
    text = f'{LISTENERS}[http2]\nexcept_listeners = ["tcp:8081"]\n'
    assert load(text, "a.toml").settings.http2.except_listeners == ("tcp:8081",)
    with pytest.raises(SettingsError):
        load(text, "a.toml", [("downstream.listen", "tcp:8080")])
    assert load(text, "a.toml", [("downstream.listen", '["tcp:9", "tcp:8081"]')]).settings.http2.except_listeners


def test_listeners_that_cannot_be_read() -> None:
    """One complaint is enough."""
    with pytest.raises(SettingsError) as raised:
        load('[downstream]\nlisten = ["tcp"]\n[http2]\nexcept_listeners = ["tcp:8081"]\n', "a.toml")
    assert "http2" not in str(raised.value)
