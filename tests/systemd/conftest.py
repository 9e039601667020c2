"""Machines to install on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.systemd.recorded import RecordedMachine
from twistedproxy.systemd.layout import system_layout, user_layout


@pytest.fixture
def system(tmp_path: Path) -> RecordedMachine:
    """A machine on which root installs for the system; it has the directories that every machine has."""
    machine = RecordedMachine(tmp_path, system_layout())
    for directory in ("etc/systemd/system", "var/lib", "var/log", "run"):
        (tmp_path / directory).mkdir(parents=True)
    return machine


@pytest.fixture
def user(tmp_path: Path) -> RecordedMachine:
    """A machine on which somebody installs for himself, and has nothing in his home so far."""
    (tmp_path / "me").mkdir()
    return RecordedMachine(tmp_path, user_layout({"HOME": "/me", "XDG_RUNTIME_DIR": "/run/me"}))
