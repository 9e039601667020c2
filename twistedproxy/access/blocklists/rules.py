"""What one line of a list comes to."""

from __future__ import annotations

from typing import Final, NamedTuple

from twistedproxy.access.blocklists.names import is_address, listed_name
from twistedproxy.access.blocklists.report import Bad
from twistedproxy.access.blocklists.table import BELOW, PASS_SELF, SELF

ALL: Final = SELF | BELOW
"""Flags of a name that stands for itself and all below it."""


class NameRule(NamedTuple):
    """A name, and what it is good for: the flags of `table`."""

    name: bytes
    flags: int


class PathRule(NamedTuple):
    """Paths at a host and all below it, as Adblock has them; ``passes`` for an exception.

    ``scheme`` is empty for any. In ``path``, which begins with ``/``, ``*`` stands for anything, ``^`` for a separator
    or the end, and a ``|`` at its end for the end. ``exact`` says that the host must be that one.
    """

    host: str
    path: str
    scheme: str
    exact: bool
    passes: bool


class RegexRule(NamedTuple):
    """URLs in which a regular expression is found."""

    expression: str


Rule = NameRule | PathRule | RegexRule


def name_rule(text: bytes, subdomains: bool) -> NameRule:
    """A name as plain lists have it: ``*.`` before it for all below it, a dot for itself too. Raises `Bad`."""
    flags = ALL if subdomains else SELF
    wild = text.startswith((b"*.", b"."))
    if wild:
        flags = BELOW if text.startswith(b"*") else ALL
        text = text.lstrip(b"*").removeprefix(b".")
    name = listed_name(text)
    if name is None:
        raise Bad("neither a host nor an address")
    if is_address(name):
        if wild:
            raise Bad("there is nothing below an address")
        return NameRule(name, SELF)
    if b"." not in name and not wild:
        # It would be all of a top-level domain, or a word of a page that is no list.
        raise Bad("a name without a dot: all of a top-level domain is written with one before it")
    return NameRule(name, flags)


def excepted(rule: NameRule) -> NameRule:
    """The rule that excepts what ``rule`` blocks."""
    return NameRule(rule.name, rule.flags * PASS_SELF)
