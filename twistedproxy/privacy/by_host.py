"""Which privacy is for which host: the one for all, or less of it where the settings make an exception."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from twistedproxy.access.hosts import HostSet
from twistedproxy.privacy.policy import Privacy
from twistedproxy.settings.excepted_hosts import excepted_host
from twistedproxy.settings.privacy import PrivacySettings
from twistedproxy.settings.privacy_profiles import PROFILES, Choices, choices

_MEMO: Final = 2048

# What the part that is called ``fields`` is made of.
_LISTS: Final = ("remove_request_fields", "remove_response_fields")


class PrivacyByHost:
    """See the head of the module. It never changes, but for what it remembers."""

    __slots__ = ("_base", "_chosen", "_exceptions", "_memo", "_settings", "_variants")

    def __init__(self, settings: PrivacySettings) -> None:
        self._settings = settings
        self._chosen = choices(settings)
        self._base = Privacy.of(self._chosen, settings)
        self._exceptions = _grouped(settings.except_hosts)
        # By the parts that are off, and by host. There are as many of the former as the settings name together.
        self._variants: dict[frozenset[str], Privacy | None] = {frozenset(): self._base}
        self._memo: dict[str, Privacy | None] = {}

    @classmethod
    def of(cls, settings: PrivacySettings) -> PrivacyByHost | None:
        """Compile ``settings``; None where all messages stay as they are."""
        compiled = cls(settings)
        return compiled if compiled._base is not None else None

    def __repr__(self) -> str:
        return f"<PrivacyByHost {self._base!r} exceptions={len(self._exceptions)}>"

    def towards(self, host: str) -> Privacy | None:
        """What is done to messages to and from ``host``; None for nothing."""
        if not self._exceptions:
            return self._base
        memo = self._memo
        try:
            return memo[host]
        except KeyError:
            pass
        off: frozenset[str] = frozenset().union(*(parts for hosts, parts in self._exceptions if host in hosts))
        if off not in self._variants:
            self._variants[off] = Privacy.of(_without(self._chosen, off), self._settings, "fields" not in off)
        if len(memo) >= _MEMO:
            # The hosts are in the hands of strangers.
            memo.clear()
        found = memo[host] = self._variants[off]
        return found


def _grouped(entries: Iterable[str]) -> tuple[tuple[HostSet, frozenset[str]], ...]:
    groups: dict[frozenset[str], list[str]] = {}
    for host, parts in map(excepted_host, entries):
        groups.setdefault(parts, []).append(host)
    return tuple((HostSet(hosts), parts) for parts, hosts in groups.items())


def _without(chosen: Choices, off: frozenset[str]) -> Choices:
    names = [*(off - {"fields"}), *(_LISTS if "fields" in off else ())]
    return replace(chosen, **{name: getattr(PROFILES["off"], name) for name in names})
