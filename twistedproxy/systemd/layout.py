"""Where the parts of an installation lie: root's for the whole system, or one user's own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from twistedproxy.systemd.units import DIRECTORY, LOGS, RUNTIME, STATE, UNIT

MANIFEST_NAME = "twistedproxy-install.json"
SETTINGS_NAME = "pyproxy.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Absolute paths, as the running service sees them.

    ``kept`` are the directories that systemd makes for the service: state, logs and what lives as long as it runs.
    ``logrotate`` and ``account`` are None for a user. The manifest is in none of the service's own directories, since
    whoever removes the installation believes what it says.
    """

    system: bool
    units: Path
    settings: Path
    manifest: Path
    kept: tuple[Path, ...]
    logrotate: Path | None = None
    account: Path | None = None

    @property
    def drop_ins(self) -> Path:
        """The directory of the settings that are read after the file."""
        return self.settings.with_suffix(".d")

    @property
    def target(self) -> str:
        """The target that wants the service."""
        return "multi-user.target" if self.system else "default.target"

    @property
    def links(self) -> tuple[Path, ...]:
        """What ``systemctl enable`` makes."""
        return (
            self.units / f"{self.target}.wants" / f"{UNIT}.service",
            self.units / "sockets.target.wants" / f"{UNIT}.socket",
        )

    @property
    def systemctl(self) -> tuple[str, ...]:
        """How systemd is spoken to."""
        return ("systemctl",) if self.system else ("systemctl", "--user")


def system_layout() -> Layout:
    """The system's, which only root can install."""
    return Layout(
        system=True,
        units=Path("/etc/systemd/system"),
        settings=Path("/etc") / DIRECTORY / SETTINGS_NAME,
        manifest=Path("/var/lib") / MANIFEST_NAME,
        kept=(Path(STATE), Path(LOGS), Path(RUNTIME)),
        logrotate=Path("/etc/logrotate.d") / UNIT,
        account=Path("/etc/sysusers.d") / f"{UNIT}.conf",
    )


def user_layout(environment: Mapping[str, str]) -> Layout:
    """That of the user whose ``environment`` it is, by the XDG base directories."""
    configuration = _base(environment, "XDG_CONFIG_HOME", ".config")
    state = _base(environment, "XDG_STATE_HOME", ".local/state")
    kept = [state / DIRECTORY]
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        kept.append(Path(runtime) / DIRECTORY)
    return Layout(
        system=False,
        units=configuration / "systemd" / "user",
        settings=configuration / DIRECTORY / SETTINGS_NAME,
        manifest=state / MANIFEST_NAME,
        kept=tuple(kept),
    )


def under(root: Path, path: Path) -> Path:
    """Where ``path`` is found in a system whose file system begins at ``root``."""
    return root / path.relative_to("/")


def _base(environment: Mapping[str, str], variable: str, default: str) -> Path:
    given = environment.get(variable, "")
    # The specification: a path that is not absolute is to be ignored.
    return Path(given) if os.path.isabs(given) else Path(environment.get("HOME") or "/") / default
