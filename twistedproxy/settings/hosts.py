"""Sets of hosts as the operator writes them: a name, all below a name, a glob, or an address."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from twistedproxy.settings.problems import Unfit

DEFAULTS: Final = "defaults"
"""What stands for the list that comes with the proxy, of hosts that are better left alone."""

_LABELS = re.compile(r"\.?[a-z0-9_*?-]{1,63}(?:\.[a-z0-9_*?-]{1,63})*", re.IGNORECASE)
_LONGEST = 253


def check_host(text: str) -> None:
    """Accept one entry of a list of hosts; else `Unfit` says why not."""
    if text == DEFAULTS:
        return
    if not text.isascii():
        raise Unfit("a host as DNS has it, in ASCII", _in_ascii(text))
    if "://" in text or "/" in text:
        raise Unfit("a host without scheme, port and path")
    try:
        ipaddress.ip_address(text)
        return
    except ValueError:
        pass
    if ":" in text:
        raise Unfit("a host without a port")
    if len(text) > _LONGEST or not _LABELS.fullmatch(text):
        raise Unfit('a name such as "example.com", ".example.com" for all below it too, a glob or an address')


def _in_ascii(text: str) -> str:
    import idna

    try:
        return f'"{idna.encode(text.lower()).decode("ascii")}"'
    except (idna.IDNAError, UnicodeError):
        return ""
