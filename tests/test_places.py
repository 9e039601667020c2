"""Where things are kept: systemd's directories, root's, and the XDG base directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from twistedproxy.places import data_directory, runtime_directory, settings_file, state_directory

HOME = {"HOME": "/somewhere/me"}


@pytest.mark.parametrize(
    ("environment", "is_root", "expected"),
    [
        (HOME, False, "/somewhere/me/.local/state/twistedproxy"),
        ({**HOME, "XDG_STATE_HOME": "/state"}, False, "/state/twistedproxy"),
        ({**HOME, "XDG_STATE_HOME": ""}, False, "/somewhere/me/.local/state/twistedproxy"),
        # The specification: a relative path is to be ignored.
        ({**HOME, "XDG_STATE_HOME": "state"}, False, "/somewhere/me/.local/state/twistedproxy"),
        ({}, False, "/.local/state/twistedproxy"),
        ({"HOME": ""}, False, "/.local/state/twistedproxy"),
        ({**HOME, "XDG_STATE_HOME": "/state"}, True, "/var/lib/twistedproxy"),
        ({**HOME, "STATE_DIRECTORY": "/var/lib/pyproxy"}, False, "/var/lib/pyproxy"),
        ({**HOME, "STATE_DIRECTORY": "/var/lib/pyproxy"}, True, "/var/lib/pyproxy"),
        # systemd separates several by colons.
        ({**HOME, "STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, True, "/var/lib/a"),
        ({**HOME, "STATE_DIRECTORY": ""}, True, "/var/lib/twistedproxy"),
    ],
)
def test_state_directory(environment: dict[str, str], is_root: bool, expected: str) -> None:
    assert state_directory(environment, is_root) == Path(expected)


@pytest.mark.parametrize(
    ("environment", "is_root", "expected"),
    [
        ({**HOME, "XDG_RUNTIME_DIR": "/run/user/7"}, False, "/run/user/7/twistedproxy"),
        # Only a session has one.
        (HOME, False, "/somewhere/me/.local/state/twistedproxy"),
        ({**HOME, "XDG_RUNTIME_DIR": ""}, False, "/somewhere/me/.local/state/twistedproxy"),
        ({**HOME, "XDG_RUNTIME_DIR": "run"}, False, "/somewhere/me/.local/state/twistedproxy"),
        ({"STATE_DIRECTORY": "/var/lib/pyproxy"}, False, "/var/lib/pyproxy"),
        ({"XDG_RUNTIME_DIR": "/run/user/0", "STATE_DIRECTORY": "/var/lib/pyproxy"}, True, "/run/twistedproxy"),
        ({"RUNTIME_DIRECTORY": "/run/pyproxy", "XDG_RUNTIME_DIR": "/run/user/7"}, False, "/run/pyproxy"),
        ({"RUNTIME_DIRECTORY": "/run/a:/run/b"}, True, "/run/a"),
        ({"RUNTIME_DIRECTORY": ""}, True, "/run/twistedproxy"),
    ],
)
def test_runtime_directory(environment: dict[str, str], is_root: bool, expected: str) -> None:
    assert runtime_directory(environment, is_root) == Path(expected)


@pytest.mark.parametrize(
    ("environment", "is_root", "expected"),
    [
        (HOME, False, "/somewhere/me/.config/twistedproxy"),
        ({**HOME, "XDG_CONFIG_HOME": "/xdg"}, False, "/xdg/twistedproxy"),
        ({**HOME, "XDG_CONFIG_HOME": "xdg"}, False, "/somewhere/me/.config/twistedproxy"),
        ({**HOME, "XDG_CONFIG_HOME": "/xdg"}, True, "/etc/twistedproxy"),
        # It stands for what the service is to use.
        ({**HOME, "CONFIGURATION_DIRECTORY": "/etc/a:/etc/b"}, False, "/etc/a"),
        ({**HOME, "CONFIGURATION_DIRECTORY": "/etc/a"}, True, "/etc/a"),
    ],
)
def test_settings_file(environment: dict[str, str], is_root: bool, expected: str) -> None:
    assert settings_file(environment, is_root) == Path(expected) / "pyproxy.toml"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HOME": "/somewhere/me"}, "/somewhere/me/.local/share/twistedproxy"),
        ({"HOME": "/somewhere/me", "XDG_DATA_HOME": "/data"}, "/data/twistedproxy"),
        ({"HOME": "/somewhere/me", "XDG_DATA_HOME": "data"}, "/somewhere/me/.local/share/twistedproxy"),
        ({}, "/.local/share/twistedproxy"),
    ],
)
def test_data_directory(environment: dict[str, str], expected: str) -> None:
    assert data_directory(environment) == Path(expected)
