"""A table that stands in a list of the settings, such as one of ``access.rules``: its keys, and what they may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from twistedproxy.settings.problems import Unfit
from twistedproxy.settings.spelling import toml_string

_LONGEST = 64
"""Characters of a key that are compared with those that there are."""


def check_keys(entry: object, known: Iterable[str], noun: str) -> Mapping[str, Any]:
    """Accept a table that has no other keys than ``known``; else `Unfit` asks for ``noun``, or for the key meant."""
    if not isinstance(entry, Mapping):
        raise Unfit(noun)
    keys = tuple(known)
    for name in map(str, entry):
        if name not in keys:
            close = get_close_matches(name[:_LONGEST], keys, 1, 0.6)
            hint = f" (did you mean {toml_string(close[0])}?)" if close else ""
            raise Unfit(message=f"unknown key{hint}", within=name)
    return entry


def check_within(check: Callable[[object], object], name: str, value: object) -> None:
    """Hold ``value``, which stands at ``name`` in a table, against ``check``; else `Unfit` says what, and where."""
    try:
        check(value)
    except Unfit as unfit:
        place = f"{name}{unfit.within}"
        said = unfit.value if unfit.within else value
        raise Unfit(unfit.expected, unfit.hint, within=place, value=said, message=unfit.message) from None
