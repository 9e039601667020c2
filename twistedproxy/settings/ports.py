"""Ports that tunnels may reach: a number, a range such as ``"8000-8999"``, or ``"all"``."""

from __future__ import annotations

import re

from twistedproxy.settings.problems import Unfit

_RANGE = re.compile(r"([0-9]{1,5})-([0-9]{1,5})")

ALL_PORTS = "all"


def check_port(entry: int | str) -> None:
    """Accept one entry of a list of ports; else `Unfit` says why not."""
    if isinstance(entry, int):
        if not 1 <= entry <= 65535:
            raise Unfit("a port from 1 to 65535")
        return
    if entry == ALL_PORTS:
        return
    match = _RANGE.fullmatch(entry)
    if match is None:
        hint = "a single port is written without quotes" if entry.isascii() and entry.isdigit() else ""
        raise Unfit('a port such as 443, a range such as "8000-8999" or "all"', hint)
    low, high = int(match[1]), int(match[2])
    if not 1 <= low <= 65535 or not 1 <= high <= 65535:
        raise Unfit("a range of ports from 1 to 65535")
    if low > high:
        raise Unfit("a range of ports that begins with the lower one")
