"""Where things are kept, by the conventions of the XDG base directories and of systemd."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

SETTINGS_FILE = "pyproxy.toml"


def settings_file(environment: Mapping[str, str], is_root: bool) -> Path | None:
    """The settings file to read when none was named; None when there is none.

    systemd's ``CONFIGURATION_DIRECTORY`` goes first, then ``/etc/twistedproxy`` for root and the user's XDG
    configuration directory for everybody else.
    """
    if given := environment.get("CONFIGURATION_DIRECTORY"):
        directory = Path(given.partition(":")[0])
    elif is_root:
        directory = Path("/etc/twistedproxy")
    else:
        directory = _xdg(environment, "XDG_CONFIG_HOME", ".config")
    path = directory / SETTINGS_FILE
    return path if path.is_file() else None


def state_directory(environment: Mapping[str, str], is_root: bool) -> Path:
    """Where state and logs are kept: systemd's ``STATE_DIRECTORY``, else by convention."""
    if given := environment.get("STATE_DIRECTORY"):
        return Path(given.partition(":")[0])
    if is_root:
        return Path("/var/lib/twistedproxy")
    return _xdg(environment, "XDG_STATE_HOME", ".local/state")


def _xdg(environment: Mapping[str, str], variable: str, default: str) -> Path:
    given = environment.get(variable, "")
    # The specification: a path that is not absolute is to be ignored.
    base = Path(given) if os.path.isabs(given) else Path(environment.get("HOME") or "/") / default
    return base / "twistedproxy"
