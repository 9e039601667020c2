"""The access rules: an ordered list, of which the first that fits and decides is followed.

Theory of operation. The rules are compiled once (`twistedproxy.access.matching` tells how those that fit are found). A
rule that asks for the destination can only be judged when the name has been resolved. Where one is met, the rules
after it are looked at as well. When all that could come of it is a refusal, the request is refused, and nothing is
looked up for it. Else the verdict is left to the addresses, by `Destinations`: each address is held against the rules
that fit so far, in their order. Exchanges of which the same can come share one `Destinations`, and may share
connections.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, NamedTuple, Protocol

from twistedproxy.access.addresses import read_address
from twistedproxy.access.conditions import (
    ALLOW,
    ASK,
    DENY,
    SET,
    Condition,
    Looked,
    RuleSettings,
    conditions_of,
    destination_of,
    looked_up,
)
from twistedproxy.access.matching import (
    FieldPrefilter,
    Fits,
    HostTable,
    Prefilter,
    Table,
    TextPrefilter,
    joint_table,
    negated,
    table_of,
)
from twistedproxy.access.policy import AccessPolicy
from twistedproxy.access.profile import NO_PROFILE, GivenLimit, Profile
from twistedproxy.access.question import INTERCEPTED, Question
from twistedproxy.errors import CredentialsWanted, DeniedByRule, Refused

DEFAULT: Final = "access.default"
"""What is named as the rule where none has decided."""

_MEMO_SIZE: Final = 1024
_MOST_PEERS: Final = 256


class RulesSettings(Protocol):
    """The settings that rules are made of."""

    @property
    def default(self) -> str:
        """``allow`` or ``deny``: what becomes of a request that no rule decides on."""

    @property
    def rules(self) -> Sequence[RuleSettings]:
        """The rules in their order."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Rule:
    """One rule. ``label`` is its name, or where it stands; ``destination`` what it asks of the resolved address.

    ``decides`` is whether no rule counts after it, where it fits.
    """

    number: int
    label: str
    action: str
    status: int
    text: str
    profile: Profile
    conditions: tuple[Condition, ...]
    looked_up: tuple[Looked, ...]
    destination: Fits | None
    decides: bool

    @classmethod
    def of(cls, number: int, settings: RuleSettings) -> Rule:
        """Compile ``settings``; ValueError when one of its entries means nothing."""
        conditions = conditions_of(settings)
        label = settings.name or key_path(number)
        limits = tuple(GivenLimit(name, label) for name in dict.fromkeys(settings.limits))
        profile = Profile(settings.intercept, settings.log, settings.route, tuple(settings.blocklists), limits)
        if settings.action == ASK:
            # Who has said who they are need not be asked.
            conditions.append(Condition("users", "user", negated(bool)))
        destination = destination_of(settings)
        return cls(
            number=number,
            label=label,
            action=settings.action,
            status=settings.status,
            text=settings.text,
            profile=NO_PROFILE if profile == NO_PROFILE else profile,
            conditions=tuple(conditions),
            looked_up=tuple(looked_up(settings)),
            destination=destination,
            decides=destination is None and settings.action != SET,
        )

    def __repr__(self) -> str:
        return f"<Rule {self.number} {self.label!r} {self.action}>"

    def misfit(self, question: Question) -> str:
        """The first key that ``question`` does not fit, whatever its destination; empty when it fits them all."""
        misfits = [condition.key for condition in self.conditions if not condition.met(question)]
        if not misfits:
            misfits = [looked.key for looked in self.looked_up if not looked.met(question)]
        return misfits[0] if misfits else ""


def key_path(number: int) -> str:
    """What a rule is called where it has no name."""
    return f"access.rules[{number}]"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say. ``rule`` is None where the default has decided.

    With ``destinations`` it depends on the resolved address, and ``rule`` means nothing yet.
    """

    action: str
    rule: Rule | None
    profile: Profile = NO_PROFILE
    destinations: Destinations | None = None
    label: str = field(init=False)
    """The rule by its name."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.rule.label if self.rule is not None else DEFAULT)

    def refusal(self, inside: bool) -> Refused | None:
        """What the client is told, ``inside`` a tunnel or not; None when it is allowed, as far as that is known."""
        if self.action == ALLOW:
            return None
        rule = self.rule
        if rule is None:
            return DeniedByRule(f'no rule allows it, and {DEFAULT} is "{DENY}"', rule=DEFAULT)
        label = rule.label
        by = f"the rule {label}" if label == key_path(rule.number) else f'the rule "{label}"'
        if self.action == DENY:
            return DeniedByRule(by, rule=label, status=rule.status, text=rule.text)
        if inside:
            # It is the origin that would be sent them.
            return DeniedByRule(f"{by} asks who you are, which cannot be asked inside a tunnel", rule=label)
        return CredentialsWanted(by)


class Destinations:
    """What becomes of a request by the address that it leads to; past the ``access`` policy, which goes first.

    ``pending`` are the rules that fit if the address does, ``otherwise`` what decides when none does. ``inside`` is for
    requests inside a tunnel.
    """

    __slots__ = ("_access", "_inside", "_memo", "otherwise", "pending")

    def __init__(self, access: AccessPolicy, pending: Sequence[Rule], otherwise: Verdict, inside: bool) -> None:
        self._access = access
        self._inside = inside
        self._memo: dict[str, bool] = {}
        self.pending = tuple(pending)
        self.otherwise = otherwise

    def __repr__(self) -> str:
        return f"<Destinations {', '.join(rule.label for rule in self.pending)} or {self.otherwise.label}>"

    def verdict(self, address: str) -> Verdict:
        """What the rules say of an address."""
        for rule in self.pending:
            assert rule.destination is not None
            if rule.destination(address):
                return Verdict(rule.action, rule)
        return self.otherwise

    def check_destination(self, address: str, port: int) -> None:
        """Raise `Refused` unless the proxy may connect to this address and port."""
        self._access.check_destination(address, port)
        refusal = self.verdict(address).refusal(self._inside)
        if refusal is not None:
            raise refusal

    def allows(self, peer: str) -> bool:
        """Whether a connection to ``peer``, an address with its port, may carry such a request."""
        allowed = self._memo.get(peer)
        if allowed is None:
            allowed = self.verdict(_address_of(peer)).action == ALLOW
            if len(self._memo) >= _MOST_PEERS:
                self._memo.clear()
            self._memo[peer] = allowed
        return allowed

    def label(self, peer: str) -> str:
        """The rule that allows a connection to ``peer``, by its name."""
        return self.verdict(_address_of(peer)).label


def _address_of(peer: str) -> str:
    address = peer.rpartition(":")[0].removeprefix("[").removesuffix("]")
    return str(read_address(address) or address)


class Step(NamedTuple):
    """What one rule says of a question. ``misfit`` is the key that it does not fit; ``waits`` for the destination."""

    rule: Rule
    misfit: str
    waits: bool


class Rules:
    """All of the rules, compiled. Made with `of`; it never changes."""

    __slots__ = (
        "_destinations",
        "_inside",
        "_prefilters",
        "_table",
        "_values_of",
        "_verdicts",
        "access",
        "default",
        "rules",
    )

    def __init__(self, rules: Sequence[Rule], settings: RulesSettings, access: AccessPolicy) -> None:
        self.access = access
        self.rules = tuple(rules)
        self.default = Verdict(settings.default, None)
        everybody = (1 << len(self.rules)) - 1
        # One more bit than there are rules: for what comes from inside a tunnel.
        self._inside = everybody + 1
        self._values_of, self._table = joint_table(list(_tables(self.rules, settings.rules, everybody)), everybody)
        self._prefilters = tuple(
            (prefilter.rules, everybody & ~prefilter.rules, prefilter.passing)
            for prefilter in _prefilters(settings.rules)
        )
        self._verdicts: Table[int, Verdict] = Table(self._verdict)
        self._destinations: dict[tuple[int, ...], Destinations] = {}

    @classmethod
    def of(cls, settings: RulesSettings, access: AccessPolicy) -> Rules | None:
        """Compile ``settings``, for requests that ``access`` lets pass; None when everything is allowed anyway.

        ValueError when an entry means nothing.
        """
        if not settings.rules and settings.default == ALLOW:
            return None
        return cls([Rule.of(number, one) for number, one in enumerate(settings.rules)], settings, access)

    def __repr__(self) -> str:
        return f"<Rules {len(self.rules)} {self.default.action}>"

    @property
    def may_intercept(self) -> bool:
        """Whether a rule wishes that somebody's tunnels are looked into."""
        return any(rule.profile.intercept for rule in self.rules)

    def judge(self, question: Question) -> Verdict:
        """What becomes of a question. Raises `TargetTooLong` or `HeadTooLarge` when a text is too long for patterns."""
        fitting = self._table[self._values_of(question)]
        for rules, others, passing in self._prefilters:
            if fitting & rules:
                fitting &= passing(question) | others
        if not fitting:
            return self.default
        heeded = 0
        while fitting:
            lowest = fitting & -fitting
            fitting ^= lowest
            rule = self.rules[lowest.bit_length() - 1]
            if rule.looked_up and not all(looked.met(question) for looked in rule.looked_up):
                continue
            heeded |= lowest
            if rule.decides:
                break
        if not heeded:
            return self.default
        return self._verdicts[heeded | self._inside if question.way == INTERCEPTED else heeded]

    def _verdict(self, heeded: int) -> Verdict:
        """What those rules come to: the last of them may decide, and the others set something or ask where it leads."""
        verdict = self.default
        profile = NO_PROFILE
        pending: list[Rule] = []
        for rule in self.rules:
            if not heeded >> rule.number & 1:
                continue
            if rule.destination is not None:
                pending.append(rule)
                continue
            if rule.profile is not NO_PROFILE:
                profile = profile.with_more(rule.profile)
            if rule.decides:
                verdict = Verdict(rule.action, rule)
        refused = verdict.action != ALLOW
        if not pending or (refused and all(rule.action == DENY for rule in pending)):
            return Verdict(verdict.action, verdict.rule, profile)
        return Verdict(ALLOW, None, profile, self._left_to(pending, verdict, bool(heeded & self._inside)))

    def _left_to(self, pending: Sequence[Rule], otherwise: Verdict, inside: bool) -> Destinations:
        last = -1 if otherwise.rule is None else otherwise.rule.number
        which = (*(rule.number for rule in pending), last, inside)
        destinations = self._destinations.get(which)
        if destinations is None:
            if len(self._destinations) >= _MEMO_SIZE:
                self._destinations.clear()
            destinations = self._destinations[which] = Destinations(self.access, pending, otherwise, inside)
        return destinations

    def steps(self, question: Question) -> Iterator[Step]:
        """What each rule says, up to the one that decides; for a person, not for speed. Raises as `judge` does."""
        for rule in self.rules:
            misfit = rule.misfit(question)
            yield Step(rule, misfit, not misfit and rule.destination is not None)
            if not misfit and rule.decides:
                return


def _tables(
    rules: Sequence[Rule], settings: Sequence[RuleSettings], everybody: int
) -> Iterator[tuple[str, Table[Any, int]]]:
    """The tables that rules need, each with what its value is called in a question."""
    tests: dict[str, list[tuple[int, Fits]]] = {}
    for rule in rules:
        for condition in rule.conditions:
            tests.setdefault(condition.attribute, []).append((1 << rule.number, condition.fits))
    for attribute, those in tests.items():
        if attribute == "host":
            wanted = [(1 << number, one.hosts) for number, one in enumerate(settings) if one.hosts]
            unwanted = [(1 << number, one.not_hosts) for number, one in enumerate(settings) if one.not_hosts]
            yield attribute, HostTable(wanted, unwanted, everybody)
        else:
            yield attribute, table_of(those, everybody)


def _prefilters(settings: Sequence[RuleSettings]) -> Iterator[Prefilter]:
    def those(wanted: Callable[[RuleSettings], Sequence[str]]) -> list[tuple[int, Sequence[str]]]:
        return [(1 << number, wanted(one)) for number, one in enumerate(settings) if wanted(one)]

    prefilters: list[Prefilter] = [
        TextPrefilter("path", those(attrgetter("paths"))),
        TextPrefilter("url", those(attrgetter("urls"))),
    ]
    names = sorted({name for one in settings for name in one.fields})
    prefilters += [FieldPrefilter(name, those(_wanted_of(name))) for name in names]
    return (prefilter for prefilter in prefilters if prefilter.rules)


def _wanted_of(name: str) -> Callable[[RuleSettings], Sequence[str]]:
    return lambda settings: settings.fields.get(name, ())
