"""Where the parts of an installation lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from twistedproxy.places import settings_file, state_directory
from twistedproxy.systemd.layout import system_layout, under, user_layout

ENVIRONMENTS = [
    {"HOME": "/me"},
    {"HOME": "/me", "XDG_CONFIG_HOME": "/config", "XDG_STATE_HOME": "/state"},
    {"HOME": "/me", "XDG_CONFIG_HOME": "config", "XDG_STATE_HOME": ""},
    {},
]


def test_system() -> None:
    layout = system_layout()
    assert layout.settings == Path("/etc/twistedproxy/pyproxy.toml")
    assert layout.drop_ins == Path("/etc/twistedproxy/pyproxy.d")
    assert layout.systemctl == ("systemctl",)
    assert layout.links[0] == Path("/etc/systemd/system/multi-user.target.wants/pyproxy.service")
    # The service's account could write there, and root removes what the manifest names.
    assert not any(layout.manifest.is_relative_to(kept) for kept in layout.kept)
    assert state_directory({}, True) in layout.kept


def test_user() -> None:
    layout = user_layout({"HOME": "/me", "XDG_RUNTIME_DIR": "/run/user/7"})
    assert layout.units == Path("/me/.config/systemd/user")
    assert layout.manifest == Path("/me/.local/state/twistedproxy-install.json")
    assert layout.kept == (Path("/me/.local/state/twistedproxy"), Path("/run/user/7/twistedproxy"))
    assert layout.systemctl == ("systemctl", "--user")
    assert layout.links[0] == Path("/me/.config/systemd/user/default.target.wants/pyproxy.service")
    assert layout.logrotate is layout.account is None


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_same_places_as_the_proxys(environment: dict[str, str], tmp_path: Path) -> None:
    below = {name: str(tmp_path) + value if value.startswith("/") else value for name, value in environment.items()}
    layout = user_layout(below)
    assert state_directory(below, False) == layout.kept[0]
    if environment:
        layout.settings.parent.mkdir(parents=True)
        layout.settings.touch()
        assert settings_file(below, False) == layout.settings


def test_under() -> None:
    assert under(Path("/"), Path("/etc/x")) == Path("/etc/x")
    assert under(Path("/tmp/root"), Path("/etc/x")) == Path("/tmp/root/etc/x")
