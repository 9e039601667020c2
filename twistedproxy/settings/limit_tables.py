"""What may stand in one table of ``limits.tables``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from math import isfinite
from types import MappingProxyType
from typing import Final

from twistedproxy.settings.entries import check_keys, check_within
from twistedproxy.settings.problems import Unfit
from twistedproxy.settings.quantities import parse_size, size_text
from twistedproxy.settings.spelling import toml_string

PER: Final = ("client", "account", "group", "rule", "all")
WHEN_OVER: Final = ("refuse", "slow")
LIMITING: Final = (
    "requests_per_second",
    "connections",
    "tunnels",
    "download",
    "upload",
    "daily",
    "monthly",
)
"""The keys of which a limit has one at least."""

MOST_REQUESTS: Final = 1_000_000
LEAST_REQUESTS: Final = 0.001
LEAST_RATE: Final = 1024
MOST_BYTES: Final = 1 << 62

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_limit(entry: object) -> None:
    """Accept one such table; else `Unfit` says what is wrong, and in which of its keys."""
    entry = check_keys(entry, _CHECKS, 'a table such as { name = "guests", per = "client", download = "2MiB" }')
    for name, value in entry.items():
        check_within(_CHECKS[name], name, value)
    for name in ("name", "per"):
        if name not in entry:
            raise Unfit(f"the key {name} too")
    if not any(name in entry for name in LIMITING):
        raise Unfit(f"one of {', '.join(map(toml_string, LIMITING))}")
    if "burst" in entry and "requests_per_second" not in entry:
        raise Unfit("requests_per_second too, whose burst it is", within="burst", value=entry["burst"])
    if entry["per"] == "rule" and entry.get("everybody") is True:
        # Nobody but a rule can give it.
        raise Unfit("false where the limit is per rule", within="everybody", value=True)


def _name(value: object) -> None:
    if not isinstance(value, str) or _NAME.fullmatch(value) is None:
        raise Unfit("a name of letters, digits, dots, dashes and underscores")


def _word_of(words: tuple[str, ...]) -> Callable[[object], None]:
    def check(value: object) -> None:
        if value not in words:
            close = get_close_matches(value.lower(), words, 1, 0.5) if isinstance(value, str) else []
            hint = f"did you mean {toml_string(close[0])}?" if close else ""
            raise Unfit(f"one of {', '.join(map(toml_string, words))}", hint)

    return check


def _flag(value: object) -> None:
    if not isinstance(value, bool):
        raise Unfit("true or false")


def _requests(value: object) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not isfinite(value)
        or not LEAST_REQUESTS <= value <= MOST_REQUESTS
    ):
        raise Unfit(f"a number from {LEAST_REQUESTS} to {MOST_REQUESTS}")


def _count(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_REQUESTS:
        raise Unfit(f"an integer from 1 to {MOST_REQUESTS}")


def _bytes(value: object) -> None:
    try:
        size = parse_size(value) if isinstance(value, str) else None
    except ValueError:
        size = None
    if size is None or not LEAST_RATE <= size <= MOST_BYTES:
        raise Unfit(f'a size with a unit, such as "2MiB", of {size_text(LEAST_RATE)} at least')


_CHECKS: Final[Mapping[str, Callable[[object], None]]] = MappingProxyType(
    {
        "name": _name,
        "per": _word_of(PER),
        "everybody": _flag,
        "requests_per_second": _requests,
        "burst": _count,
        "connections": _count,
        "tunnels": _count,
        "download": _bytes,
        "upload": _bytes,
        "daily": _bytes,
        "monthly": _bytes,
        "when_over": _word_of(WHEN_OVER),
    }
)
