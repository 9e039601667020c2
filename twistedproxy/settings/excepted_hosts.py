"""Hosts for which privacy is off, or parts of it: a host, and the parts after a space."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

from twistedproxy.settings.hosts import DEFAULTS, check_host
from twistedproxy.settings.problems import Unfit

PARTS: Final = (
    "fields",
    "forwarded_for",
    "referer",
    "third_party_cookies",
    "third_party_validators",
    "tracking_parameters",
    "user_agent",
    "client_hints",
    "accept_language",
)
"""The parts that can be off for a host. ``fields`` are the lists of names."""


def check_excepted_host(value: object) -> None:
    """Accept one entry of ``privacy.except_hosts``; else `Unfit` says why not."""
    if not isinstance(value, str) or value == DEFAULTS:
        raise Unfit('a string such as "example.com"')
    host, space, _ = value.partition(" ")
    check_host(host)
    if space:
        for part in _words(value):
            if part not in PARTS:
                close = get_close_matches(part[:64], PARTS, 1, 0.5)
                hint = f'did you mean "{close[0]}"?' if close else ""
                raise Unfit(
                    f"a host, or a host, a space and parts of {', '.join(PARTS)}, with commas between them", hint
                )


def excepted_host(text: str) -> tuple[str, frozenset[str]]:
    """The host of what `check_excepted_host` has accepted, and the parts that are off for it."""
    host, space, _ = text.partition(" ")
    return host, frozenset(_words(text) if space else PARTS)


def _words(text: str) -> list[str]:
    return [word.strip(" ") for word in text.partition(" ")[2].split(",")]
