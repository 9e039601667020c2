"""What one rule asks of a question, key by key."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from twistedproxy.access import matching
from twistedproxy.access.addresses import AddressSet
from twistedproxy.access.hours import Hours
from twistedproxy.access.matching import Fits
from twistedproxy.access.ports import PortSet
from twistedproxy.access.question import TUNNEL, Question

ALLOW: Final = "allow"
DENY: Final = "deny"
ASK: Final = "ask"
SET: Final = "set"
"""What a rule can do."""

NOT: Final = "not_"
"""What the name of a key begins with that a question must not fit."""


class RuleSettings(Protocol):
    """The settings that a rule is made of. What is empty asks nothing."""

    @property
    def name(self) -> str: ...
    @property
    def action(self) -> str:
        """``allow``, ``deny``, ``ask`` or ``set``."""

    @property
    def clients(self) -> Sequence[str]: ...
    @property
    def not_clients(self) -> Sequence[str]: ...
    @property
    def users(self) -> Sequence[str]: ...
    @property
    def not_users(self) -> Sequence[str]: ...
    @property
    def groups(self) -> Sequence[str]: ...
    @property
    def not_groups(self) -> Sequence[str]: ...
    @property
    def days(self) -> Sequence[str]: ...
    @property
    def hours(self) -> Sequence[str]: ...
    @property
    def not_hours(self) -> Sequence[str]: ...
    @property
    def zone(self) -> str: ...
    @property
    def methods(self) -> Sequence[str]: ...
    @property
    def not_methods(self) -> Sequence[str]: ...
    @property
    def schemes(self) -> Sequence[str]: ...
    @property
    def hosts(self) -> Sequence[str]: ...
    @property
    def not_hosts(self) -> Sequence[str]: ...
    @property
    def ports(self) -> Sequence[int | str]: ...
    @property
    def not_ports(self) -> Sequence[int | str]: ...
    @property
    def paths(self) -> Sequence[str]: ...
    @property
    def not_paths(self) -> Sequence[str]: ...
    @property
    def urls(self) -> Sequence[str]: ...
    @property
    def not_urls(self) -> Sequence[str]: ...
    @property
    def destinations(self) -> Sequence[str]: ...
    @property
    def not_destinations(self) -> Sequence[str]: ...
    @property
    def listeners(self) -> Sequence[str]: ...
    @property
    def not_listeners(self) -> Sequence[str]: ...
    @property
    def fields(self) -> Mapping[str, Sequence[str]]: ...
    @property
    def not_fields(self) -> Mapping[str, Sequence[str]]: ...
    @property
    def ways(self) -> Sequence[str]: ...
    @property
    def status(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def intercept(self) -> bool | None: ...
    @property
    def log(self) -> bool | None: ...
    @property
    def route(self) -> str: ...
    @property
    def blocklists(self) -> Sequence[str]: ...
    @property
    def limits(self) -> Sequence[str]: ...


class Condition(NamedTuple):
    """What one key asks: that ``fits`` is true of what the question has as its ``attribute``."""

    key: str
    attribute: str
    fits: Fits

    def met(self, question: Question) -> bool:
        """Whether ``question`` is what it asks for."""
        return self.fits(getattr(question, self.attribute))


def _clients(entries: Sequence[str]) -> Fits:
    # A client in ::ffff:0:0/96 is the IPv4 one; what an address only leads to is another's.
    # The table remembers; a memo for each rule would be a hundred of them.
    return AddressSet.of(entries, look_inside=False).holds


def _methods(entries: Sequence[str]) -> Fits:
    return frozenset(entry.encode("ascii") for entry in entries).__contains__


def _ports(entries: Sequence[int | str]) -> Fits:
    return PortSet.of(entries).__contains__


def _one_of(entries: Sequence[str]) -> Fits:
    return frozenset(entries).__contains__


_KINDS: Final[tuple[tuple[str, str, Callable[..., Fits]], ...]] = (
    # The keys whose values are remembered: key, attribute of the question, and what makes a test of the entries.
    ("clients", "client", _clients),
    ("listeners", "listener", _one_of),
    ("ways", "way", _one_of),
    ("methods", "method", _methods),
    ("schemes", "scheme", _one_of),
    ("users", "user", matching.names),
    ("groups", "groups", matching.any_name),
    ("ports", "port", _ports),
    ("hosts", "host", matching.hosts),
)


def conditions_of(settings: RuleSettings) -> list[Condition]:
    """What a rule asks that can be remembered by value: all but the destination, path, URL and fields."""
    found: list[Condition] = []
    for key, attribute, test in _KINDS:
        if entries := getattr(settings, key):
            found.append(Condition(key, attribute, test(entries)))
        if entries := getattr(settings, NOT + key, ()):
            found.append(Condition(NOT + key, attribute, matching.negated(test(entries))))
    if settings.days or settings.hours:
        key = "hours" if settings.hours else "days"
        found.append(Condition(key, "minute", Hours(settings.days, settings.hours, settings.zone).__contains__))
    if settings.not_hours:
        fits = Hours((), settings.not_hours, settings.zone).__contains__
        found.append(Condition("not_hours", "minute", matching.negated(fits)))
    return found


class Looked(NamedTuple):
    """What one key asks that has to be looked up in the question itself."""

    key: str
    met: Callable[[Question], bool]


def looked_up(settings: RuleSettings) -> list[Looked]:
    """What a rule asks of path, URL and fields. A tunnel has no path and no URL, and fits no rule that asks for one."""
    found: list[Looked] = []
    for key, attribute in (("paths", "path"), ("urls", "url")):
        if entries := getattr(settings, key):
            found.append(Looked(key, _of_url(attribute, matching.patterns(entries))))
        if entries := getattr(settings, NOT + key):
            found.append(Looked(NOT + key, _of_url(attribute, matching.negated(matching.patterns(entries)))))
    for name, entries in settings.fields.items():
        found.append(Looked(f"fields.{name}", _of_field(name, entries, wanted=True)))
    for name, entries in settings.not_fields.items():
        found.append(Looked(f"not_fields.{name}", _of_field(name, entries, wanted=False)))
    return found


def _of_url(attribute: str, fits: Fits) -> Callable[[Question], bool]:
    return lambda question: question.way != TUNNEL and fits(getattr(question, attribute))


def _of_field(name: str, entries: Sequence[str], *, wanted: bool) -> Callable[[Question], bool]:
    fits = matching.patterns(entries)
    line = name.lower().encode("ascii")
    return lambda question: any(map(fits, question.field(line))) is wanted


def destination_of(settings: RuleSettings) -> Fits | None:
    """What a rule asks of the resolved address, as text; None where it asks nothing of it.

    A rule that refuses looks for IPv4 addresses inside of IPv6 ones too, and one that allows does not: see the head of
    `twistedproxy.access.addresses`.
    """
    refuses = settings.action != ALLOW
    wanted = AddressSet.of(settings.destinations, look_inside=refuses) if settings.destinations else None
    unwanted = AddressSet.of(settings.not_destinations, look_inside=not refuses) if settings.not_destinations else None
    if wanted is None and unwanted is None:
        return None
    return lambda address: (wanted is None or address in wanted) and (unwanted is None or address not in unwanted)
