"""Where things are kept: systemd's directories, root's, and the XDG base directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from twistedproxy.places import SETTINGS_FILE, settings_file, state_directory

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


def write(directory: Path) -> Path:
    directory.mkdir(parents=True)
    path = directory / SETTINGS_FILE
    path.write_text("")
    return path


def test_settings_of_a_user(tmp_path: Path) -> None:
    of_home = write(tmp_path / ".config" / "twistedproxy")
    assert settings_file({"HOME": str(tmp_path)}, False) == of_home
    environment = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert settings_file(environment, False) is None
    of_xdg = write(tmp_path / "xdg" / "twistedproxy")
    assert settings_file(environment, False) == of_xdg


def test_systemds_directory_goes_first(tmp_path: Path) -> None:
    write(tmp_path / ".config" / "twistedproxy")
    given = tmp_path / "etc"
    environment = {"HOME": str(tmp_path), "CONFIGURATION_DIRECTORY": f"{given}:{tmp_path}"}
    # It stands for what the service is to use, whether there is a file or not.
    assert settings_file(environment, False) is None
    path = write(given)
    assert settings_file(environment, False) == path
    assert settings_file(environment, True) == path


def test_root_has_no_settings_in_a_home(tmp_path: Path) -> None:
    write(tmp_path / ".config" / "twistedproxy")
    found = settings_file({"HOME": str(tmp_path)}, True)
    assert found in (None, Path("/etc/twistedproxy") / SETTINGS_FILE)


def test_directory_is_no_settings_file(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).mkdir()
    assert settings_file({"CONFIGURATION_DIRECTORY": str(tmp_path)}, False) is None
