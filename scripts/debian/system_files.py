"""What the package puts into the system's own places: the texts that `twistedproxy.systemd` makes a service of."""

from __future__ import annotations

import re

from twistedproxy.settings.types import Settings
from twistedproxy.systemd import units

SETTINGS = f"/etc/{units.DIRECTORY}/pyproxy.toml"
LOGROTATE = f"/etc/logrotate.d/{units.UNIT}"

CONFIGURATION = (LOGROTATE, SETTINGS)
"""The files among them that are the operator's to change."""

TWISTD = "/usr/lib/twistedproxy/bin/twistd"


def system_files() -> dict[str, str]:
    """The text of each of them, by its absolute path. The socket unit is for the listeners that are the default."""
    service = units.Service(twistd=TWISTD, config=SETTINGS, listen=tuple(Settings().downstream.listen))
    texts = {
        f"/lib/systemd/system/{units.UNIT}.service": units.service_unit(service),
        f"/lib/systemd/system/{units.UNIT}.socket": units.socket_unit(service),
        LOGROTATE: units.logrotate_file(),
        SETTINGS: units.settings_template(units.ACCESS_LOG),
    }
    # What it says of its origin is true where a command of ours has made it a service.
    origin = r"(?im)\bwritten by install-service, and removed by uninstall-service\b"
    return {path: re.sub(origin, "of the package twistedproxy", text) for path, text in texts.items()}
