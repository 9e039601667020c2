"""What is known of a client that has proven who it is: the avatar of `twisted.cred`."""

from __future__ import annotations

from typing import NamedTuple

from zope.interface import Attribute, Interface


class IAccount(Interface):
    """An account of the proxy: its client's policy."""

    name = Attribute("The name, in UTF-8.")
    groups = Attribute("The names of the groups that it is in: a frozenset of strings.")


class Account(NamedTuple):
    """An account. ``groups`` are the names of those that it is in; ``found`` are those of them that a directory has."""

    name: bytes
    groups: frozenset[str] = frozenset()
    found: frozenset[str] = frozenset()
