"""Where things are kept, by the conventions of the XDG base directories and of systemd."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

SETTINGS_FILE = "pyproxy.toml"
DIRECTORY = "twistedproxy"


def settings_file(environment: Mapping[str, str], is_root: bool) -> Path:
    """The settings file to read when none was named, whether there is one or not.

    systemd's ``CONFIGURATION_DIRECTORY`` goes first, then ``/etc/twistedproxy`` for root and the user's XDG
    configuration directory for everybody else.
    """
    if given := environment.get("CONFIGURATION_DIRECTORY"):
        directory = Path(given.partition(":")[0])
    elif is_root:
        directory = Path("/etc/twistedproxy")
    else:
        directory = _xdg(environment, "XDG_CONFIG_HOME", ".config")
    return directory / SETTINGS_FILE


def state_directory(environment: Mapping[str, str], is_root: bool) -> Path:
    """Where state and logs are kept: systemd's ``STATE_DIRECTORY``, else by convention."""
    if given := environment.get("STATE_DIRECTORY"):
        return Path(given.partition(":")[0])
    if is_root:
        return Path("/var/lib/twistedproxy")
    return _xdg(environment, "XDG_STATE_HOME", ".local/state")


def runtime_directory(environment: Mapping[str, str], is_root: bool) -> Path:
    """Where sockets are kept that are of use only while the proxy runs.

    systemd's ``RUNTIME_DIRECTORY`` goes first, then ``/run/twistedproxy`` for root and the user's XDG runtime directory
    for everybody else. That one exists only while the user is logged in: without it, it is the state directory.
    """
    if given := environment.get("RUNTIME_DIRECTORY"):
        return Path(given.partition(":")[0])
    if is_root:
        return Path("/run/twistedproxy")
    given = environment.get("XDG_RUNTIME_DIR", "")
    return Path(given) / DIRECTORY if os.path.isabs(given) else state_directory(environment, is_root)


def data_directory(environment: Mapping[str, str]) -> Path:
    """Where a user's own copies are kept of what the proxy gives out, for the programs of that user to read."""
    return _xdg(environment, "XDG_DATA_HOME", ".local/share")


def _xdg(environment: Mapping[str, str], variable: str, default: str) -> Path:
    given = environment.get(variable, "")
    # The specification: a path that is not absolute is to be ignored.
    base = Path(given) if os.path.isabs(given) else Path(environment.get("HOME") or "/") / default
    return base / DIRECTORY
