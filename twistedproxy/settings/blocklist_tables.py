"""What may stand in one table of ``blocklists.lists``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from twistedproxy.settings.entries import check_keys
from twistedproxy.settings.hosts import DEFAULTS, check_host
from twistedproxy.settings.problems import Unfit
from twistedproxy.settings.quantities import parse_duration
from twistedproxy.settings.spelling import toml_string

OWN: Final = ("local", "local-allow")
"""The names of the operator's own lists, which `pyproxyctl block` edits."""

FORMATS: Final = ("auto", "domains", "hosts", "dnsmasq", "rpz", "adblock", "regexes")
ACTIONS: Final = ("block", "log")

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_LEAST_REFRESH: Final = 60.0
_MOST_REFRESH: Final = 365 * 86400.0


def check_blocklist(entry: object) -> None:
    """Accept one such table; else `Unfit` says what is wrong, and in which of its keys."""
    entry = check_keys(entry, _CHECKS, 'a table such as { name = "ads", source = "/etc/twistedproxy/ads.txt" }')
    for name, value in entry.items():
        try:
            _CHECKS[name](value)
        except Unfit as unfit:
            raise Unfit(unfit.expected, unfit.hint, within=unfit.within or name, value=value) from None
    for name in ("name", "source"):
        if name not in entry:
            raise Unfit(f"the key {name} too")


def is_url(source: str) -> bool:
    """Whether a list is fetched, and no file."""
    return source.startswith(("http://", "https://"))


def _name(value: object) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise Unfit("a name of small letters, digits, hyphens and underscores, 32 at most")
    if value in OWN:
        raise Unfit(f"another name than those of the operator's own lists, {' and '.join(OWN)}")


def _source(value: object) -> None:
    if not isinstance(value, str) or not value.isprintable() or value != value.strip():
        raise Unfit("an absolute path, or a URL that begins with http:// or https://")
    if is_url(value):
        try:
            parts = urlsplit(value)
            usable = bool(parts.hostname) and parts.username is None and (parts.port is None or parts.port > 0)
        except ValueError:
            usable = False
        if not usable or not value.isascii() or " " in value:
            raise Unfit("a URL with a host, and without a user")
    elif not value.startswith("/") or value.endswith("/"):
        raise Unfit("an absolute path, or a URL that begins with http:// or https://")


def _word_of(words: tuple[str, ...]) -> Callable[[object], None]:
    def check(value: object) -> None:
        if value not in words:
            raise Unfit(f"one of {', '.join(map(toml_string, words))}")

    return check


def _category(value: object) -> None:
    if not isinstance(value, str) or len(value) > 64 or not value.isprintable():
        raise Unfit("a word or some, 64 characters at most")


def _flag(value: object) -> None:
    if not isinstance(value, bool):
        raise Unfit("true or false")


def _hosts(value: object) -> None:
    if not isinstance(value, (list, tuple)):
        raise Unfit('a list such as ["example.com"]')
    for number, host in enumerate(value):
        within = f"exceptions[{number}]"
        if not isinstance(host, str) or host == DEFAULTS:
            raise Unfit('a string such as "example.com"', within=within)
        try:
            check_host(host)
        except Unfit as unfit:
            raise Unfit(unfit.expected, unfit.hint, within=within) from None


def _refresh(value: object) -> None:
    if not isinstance(value, str):
        raise Unfit('a duration with a unit, such as "6h"')
    try:
        seconds = parse_duration(value)
    except ValueError:
        seconds = None
    if not isinstance(seconds, float | int) or not _LEAST_REFRESH <= seconds <= _MOST_REFRESH:
        raise Unfit('a duration with a unit, such as "6h", from "1m" to "365d"')


_CHECKS: Final[Mapping[str, Callable[[object], None]]] = MappingProxyType(
    {
        "name": _name,
        "source": _source,
        "format": _word_of(FORMATS),
        "category": _category,
        "action": _word_of(ACTIONS),
        "allow": _flag,
        "everybody": _flag,
        "subdomains": _flag,
        "exceptions": _hosts,
        "refresh": _refresh,
    }
)
