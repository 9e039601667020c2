"""The access rules: who decides, what is set, and what is left to the address; against an evaluator that is obvious."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from ipaddress import ip_address, ip_network
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.access.test_question import Fields, question
from twistedproxy.access.policy import AccessPolicy
from twistedproxy.access.profile import NO_PROFILE, GivenLimit, Profile
from twistedproxy.access.question import Question
from twistedproxy.access.rules import Rules
from twistedproxy.errors import CredentialsWanted, DeniedByRule, DestinationRefused, ProxyError, TargetTooLong
from twistedproxy.settings.access import AccessRule, AccessSettings


def rules(*made: AccessRule, default: Any = "allow", **more: Any) -> Rules:
    wanted = AccessSettings(rules=made, default=default, **more)
    compiled = Rules.of(wanted, AccessPolicy.of(wanted, own_ports=(), is_own_address=lambda _: False))
    assert compiled is not None
    return compiled


def rule(action: Any = "deny", **keys: Any) -> AccessRule:
    return AccessRule(action=action, **keys)


def outcome(compiled: Rules, asked: Question, address: str = "93.184.216.34") -> str:
    """What becomes of a question that leads to an address: allowed, or the reason; and the rule that decided."""
    verdict = compiled.judge(asked)
    refusal: ProxyError | None = verdict.refusal(asked.way == "intercepted")
    label = verdict.label
    if refusal is None and verdict.destinations is not None:
        label = verdict.destinations.verdict(address).label
        try:
            verdict.destinations.check_destination(address, asked.port)
        except ProxyError as error:
            refusal = error
    return f"{refusal.reason if refusal else 'allowed'} by {label}"


# ---------------------------------------------------------------- who decides


def test_without_rules_there_is_nothing_to_ask() -> None:
    wanted = AccessSettings()
    assert Rules.of(wanted, AccessPolicy.of(wanted, own_ports=(), is_own_address=lambda _: False)) is None


def test_the_first_that_decides_is_followed() -> None:
    compiled = rules(
        rule("set", log=False),
        rule("allow", hosts=("a.example",), name="a"),
        rule("deny", hosts=(".example",)),
        rule("allow", hosts=("b.example",)),
    )
    assert outcome(compiled, question(host="a.example")) == "allowed by a"
    assert outcome(compiled, question(host="b.example")) == "denied_by_rule by access.rules[2]"
    assert outcome(compiled, question(host="c.test")) == "allowed by access.default"
    assert repr(compiled) == "<Rules 4 allow>"


def test_the_default_denies_what_no_rule_allows() -> None:
    compiled = rules(rule("allow", hosts=("a.example",)), default="deny")
    assert outcome(compiled, question(host="a.example")) == "allowed by access.rules[0]"
    refusal = compiled.judge(question(host="b.example")).refusal(False)
    assert isinstance(refusal, DeniedByRule)
    assert (refusal.status, refusal.rule) == (403, "access.default")
    assert refusal.detail == 'no rule allows it, and access.default is "deny"'
    assert outcome(rules(default="deny"), question()) == "denied_by_rule by access.default"


def test_a_denial_has_the_status_and_text_of_its_rule() -> None:
    compiled = rules(rule(name="games", status=451, text="Not here."), rule())
    refusal = compiled.judge(question()).refusal(False)
    assert isinstance(refusal, DeniedByRule)
    assert (refusal.status, refusal.sentence, refusal.detail) == (451, "Not here.", 'the rule "games"')
    assert refusal.proxy_status == "http_request_denied"
    other = rules(rule()).judge(question()).refusal(False)
    assert other is not None
    assert (other.status, other.detail) == (403, "the rule access.rules[0]")
    assert other.sentence == "The rules of this proxy do not allow this request."


def test_who_has_not_said_who_they_are_is_asked() -> None:
    compiled = rules(rule("ask", name="login"), rule("allow", users=("ann",)), rule())
    refusal = compiled.judge(question()).refusal(False)
    assert isinstance(refusal, CredentialsWanted)
    assert (refusal.status, refusal.detail) == (407, 'the rule "login"')
    assert outcome(compiled, question(user="ann")) == "allowed by access.rules[1]"
    assert outcome(compiled, question(user="bob")) == "denied_by_rule by access.rules[2]"
    # Inside a tunnel the origin would be sent them.
    inside = compiled.judge(question(way="intercepted", scheme="https")).refusal(True)
    assert isinstance(inside, DeniedByRule)
    assert inside.detail == 'the rule "login" asks who you are, which cannot be asked inside a tunnel'


def test_what_is_set_adds_up_until_somebody_decides() -> None:
    compiled = rules(
        rule("set", intercept=True, blocklists=("ads",)),
        rule("set", clients=("10.0.0.0/8",), intercept=False, route="office"),
        rule("allow", hosts=("a.example",), limits=("slow",), blocklists=("games",)),
        rule("set", log=False),
    )
    assert compiled.may_intercept
    profile = compiled.judge(question(host="a.example", client="10.0.0.1")).profile
    assert profile == Profile(False, None, "office", ("ads", "games"), (GivenLimit("slow", "access.rules[2]"),))
    assert compiled.judge(question(host="a.example", client="10.0.0.1")).profile is profile
    assert compiled.judge(question(host="b.example")).profile == Profile(True, False, "", ("ads",))
    assert not rules(rule()).may_intercept
    assert rules(rule()).judge(question()).profile is NO_PROFILE


def test_what_is_too_long_for_patterns_is_refused() -> None:
    compiled = rules(rule(urls=("http://origin.example/a*",), methods=("GET",)))
    long = b"/" + b"b" * 9000
    with pytest.raises(TargetTooLong):
        compiled.judge(question(target=long))
    # Where no pattern is asked, its length does not matter.
    assert outcome(compiled, question(target=long, method=b"POST")) == "allowed by access.default"


def test_the_memos_have_their_bounds() -> None:
    made = [rule("set", hosts=(f"~{number}",), limits=(f"r{number}",)) for number in range(13)]
    made += [rule(hosts=(f"~{'abcdefghijklm'[number]}",), destinations=("private",)) for number in range(13)]
    compiled = rules(*made)
    for number in range(9000):
        asked = question(host=bin(number)[2:].translate({48: "a", 49: "b"}) + f"{number}.x{number % 13}")
        compiled.judge(asked)
    assert len(compiled._verdicts) <= 4096
    assert len(compiled._destinations) <= 1024
    destinations = rules(rule(destinations=("private",))).judge(question()).destinations
    assert destinations is not None
    assert all(destinations.allows(f"192.0.{number >> 8}.{number & 255}:80") for number in range(1000))
    assert len(destinations._memo) <= 256


# ---------------------------------------------------------------- the destination


def test_what_depends_on_the_address_is_left_to_it() -> None:
    compiled = rules(
        rule("allow", destinations=("10.1.0.0/16",), name="ours"),
        rule("deny", destinations=("private",), name="inside"),
    )
    for address, expected in (
        ("10.1.2.3", "allowed by ours"),
        ("10.2.2.3", "denied_by_rule by inside"),
        ("93.184.216.34", "allowed by access.default"),
        ("::ffff:10.2.2.3", "denied_by_rule by inside"),
        ("64:ff9b::a02:203", "denied_by_rule by inside"),
    ):
        assert outcome(compiled, question(), address) == expected


def test_the_policy_goes_first() -> None:
    compiled = rules(rule("allow", destinations=("link-local",)))
    destinations = compiled.judge(question()).destinations
    assert destinations is not None
    with pytest.raises(DestinationRefused):
        destinations.check_destination("169.254.169.254", 80)


def test_what_is_denied_in_any_case_is_not_looked_up() -> None:
    compiled = rules(rule(destinations=("private",)), rule(hosts=("a.example",), name="a"))
    verdict = compiled.judge(question(host="a.example"))
    assert verdict.destinations is None
    assert verdict.label == "a"
    assert compiled.judge(question(host="b.example")).destinations is not None
    # An allowance that may come of the address has to wait for it.
    compiled = rules(rule("allow", destinations=("private",)), rule(hosts=("a.example",)))
    assert compiled.judge(question(host="a.example")).destinations is not None


def test_nobody_has_names_looked_up_before_they_have_said_who_they_are() -> None:
    compiled = rules(rule(destinations=("private",)), rule("ask"))
    verdict = compiled.judge(question())
    assert verdict.destinations is None
    assert isinstance(verdict.refusal(False), CredentialsWanted)
    # It may be that nobody need be asked.
    compiled = rules(rule("allow", destinations=("private",)), rule("ask"))
    assert outcome(compiled, question(), "10.0.0.1") == "allowed by access.rules[0]"
    assert outcome(compiled, question()) == "credentials_wanted by access.rules[1]"


def test_a_rule_that_decides_before_needs_no_address() -> None:
    compiled = rules(rule("allow", hosts=("a.example",)), rule(destinations=("all",)))
    assert compiled.judge(question(host="a.example")).destinations is None


def test_exchanges_of_which_the_same_can_come_share_what_is_said() -> None:
    compiled = rules(rule(clients=("10.0.0.0/8",), destinations=("private",)), rule(destinations=("loopback",)))
    one = compiled.judge(question(client="10.0.0.1")).destinations
    assert one is not None
    assert compiled.judge(question(client="10.0.0.2", host="other.example")).destinations is one
    other = compiled.judge(question(client="11.0.0.2")).destinations
    assert other is not one
    assert repr(one) == "<Destinations access.rules[0], access.rules[1] or access.default>"


def test_a_connection_that_stands_is_judged_by_its_peer() -> None:
    destinations = rules(rule(destinations=("private", "fd00::/8"))).judge(question()).destinations
    assert destinations is not None
    for peer, allowed in (("10.0.0.1:80", False), ("[fd00::1]:443", False), ("93.184.216.34:80", True)):
        assert destinations.allows(peer) is allowed
        assert destinations.allows(peer) is allowed
    assert destinations.label("93.184.216.34:80") == "access.default"


# ---------------------------------------------------------------- how it is told


def test_the_steps_go_up_to_the_decider() -> None:
    compiled = rules(
        rule("allow", clients=("loopback",)),
        rule("set", log=False),
        rule(destinations=("private",)),
        rule("ask", users=("ann",)),
        rule("allow", ports=(80,)),
        rule(),
    )
    assert [(step.rule.number, step.misfit, step.waits) for step in compiled.steps(question())] == [
        (0, "clients", False),
        (1, "", False),
        (2, "", True),
        (3, "users", False),
        (4, "", False),
    ]
    assert repr(compiled.rules[1]) == "<Rule 1 'access.rules[1]' set>"


# ---------------------------------------------------------------- against an evaluator that is obvious

HOSTS = ["a.example", "b.a.example", "c.test", "10.0.0.1"]
HOST_ENTRIES = ["a.example", ".a.example", "*.example", "~^[ab]", "10.0.0.1"]
CLIENTS = ["10.0.0.1", "10.1.0.1", "192.0.2.7", "2001:db8::1"]
NETWORKS = ["10.0.0.0/8", "10.0.0.1", "192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0"]
PATHS = ["/", "/a", "/a/b", "/b"]
PATH_ENTRIES = ["/a*", "*b", "~^/a$", "/"]
ADDRESSES = ["10.0.0.1", "10.1.0.1", "93.184.216.34", "2001:db8::1"]


def some(chance: Random, values: list[Any]) -> tuple[Any, ...]:
    return tuple(chance.sample(values, chance.randint(0, min(2, len(values)))))


def any_rule(chance: Random) -> AccessRule:
    action = chance.choice(["allow", "deny", "deny", "ask", "set"])
    keys: dict[str, Any] = {}
    for name, values in (
        ("clients", NETWORKS),
        ("hosts", HOST_ENTRIES),
        ("users", ["ann", "*"]),
        ("groups", ["staff"]),
        ("methods", ["GET"]),
        ("ports", [80, "81-90"]),
        ("paths", PATH_ENTRIES),
        ("listeners", ["tcp:1"]),
    ):
        # A rule with all the keys would hardly ever fit.
        if chance.random() < 0.25:
            keys[name] = some(chance, values)
        if chance.random() < 0.12:
            keys[f"not_{name}"] = some(chance, values)
    if chance.random() < 0.2:
        keys["ways"] = some(chance, ["plain", "tunnel", "intercepted"])
    if chance.random() < 0.2:
        keys |= {"days": some(chance, ["fri", "sat-sun"]), "hours": some(chance, ["12:00-13:00", "22:00-11:00"])}
    if chance.random() < 0.2:
        keys["fields"] = {"x": some(chance, ["1*", "~2"]) or ("1",)}
    if action in ("allow", "deny") and chance.random() < 0.3:
        keys[chance.choice(["destinations", "not_destinations"])] = some(chance, NETWORKS)
    elif action in ("set", "allow"):
        keys |= {"intercept": chance.choice([None, True, False]), "limits": some(chance, ["slow", "fast"])}
    return AccessRule(action=action, zone="UTC", **keys)


ANY_QUESTION: dict[str, list[Any]] = {
    "client": CLIENTS,
    "host": HOSTS,
    "user": ["", "ann", "bob"],
    "groups": [frozenset(), frozenset({"staff"}), frozenset({"other", "staff"})],
    "method": [b"GET", b"POST"],
    "port": [80, 85, 443],
    "path": PATHS,
    "listener": ["tcp:1", "tcp:2"],
    "way": ["plain", "tunnel", "intercepted"],
    "x": [None, "1", "12", "3"],
    "when": [1_795_780_800, 1_795_780_800 - 3600, 1_795_867_200, 1_795_867_200 - 7200],
    "address": ADDRESSES,
}


def asked_for(values: dict[str, Any]) -> Question:
    tunnel = values["way"] == "tunnel"
    return question(
        **{name: values[name] for name in ("client", "host", "user", "groups", "method", "port", "listener", "way")},
        when=values["when"],
        scheme="" if tunnel else "http",
        target=b"" if tunnel else values["path"].encode(),
        fields=Fields({} if values["x"] is None else {b"x": (values["x"].encode(),)}),
    )


def matches(entry: str, text: str) -> bool:
    if entry.startswith("~"):
        return re.search(entry[1:], text) is not None
    return fnmatchcase(text, entry)


def within(address: str, networks: tuple[str, ...]) -> bool:
    return any(ip_address(address) in ip_network(network, strict=False) for network in networks)


def host_is(entry: str, host: str) -> bool:
    if entry.startswith("."):
        return host == entry[1:] or host.endswith(entry)
    return matches(entry, host)


def now_is(one: AccessRule, when: int) -> bool:
    moment = datetime.fromtimestamp(when, UTC)
    names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    days = {"fri": {"fri"}, "sat-sun": {"sat", "sun"}}
    wanted = set().union(*(days[day] for day in one.days)) if one.days else set(names)
    today, yesterday = names[moment.weekday()], names[moment.weekday() - 1]
    clock = f"{moment:%H:%M}"
    for span in one.hours or ("00:00-24:00",):
        start, end = span.split("-")
        if start < end and start <= clock < end and today in wanted:
            return True
        if start > end and ((clock >= start and today in wanted) or (clock < end and yesterday in wanted)):
            return True
    return False


def fits(one: AccessRule, values: dict[str, Any]) -> bool:
    """Whether everything but the destination fits, read off the description of the keys."""

    def key(name: str, test: Any) -> bool:
        wanted, unwanted = getattr(one, name), getattr(one, f"not_{name}", ())
        return (not wanted or any(map(test, wanted))) and not any(map(test, unwanted))

    tunnel = values["way"] == "tunnel"
    return (
        key("clients", lambda entry: within(values["client"], (entry,)))
        and key("hosts", lambda entry: host_is(entry, values["host"]))
        and key("users", lambda entry: bool(values["user"]) and entry in ("*", values["user"]))
        and key("groups", lambda entry: entry in values["groups"])
        and key("methods", lambda entry: entry.encode() == values["method"])
        and key("ports", lambda entry: entry == values["port"] or (entry == "81-90" and values["port"] == 85))
        and key("listeners", lambda entry: entry == values["listener"])
        and key("ways", lambda entry: entry == values["way"])
        and not (tunnel and (one.paths or one.not_paths))
        and key("paths", lambda entry: matches(entry, values["path"]))
        and all(
            values["x"] is not None and any(matches(entry, values["x"]) for entry in entries)
            for entries in one.fields.values()
        )
        and (not (one.days or one.hours) or now_is(one, values["when"]))
        and not (one.action == "ask" and values["user"])
    )


def destination_fits(one: AccessRule, address: str) -> bool:
    return (not one.destinations or within(address, one.destinations)) and not within(address, one.not_destinations)


def expected(made: list[AccessRule], default: str, values: dict[str, Any]) -> tuple[str, int]:
    """The action, and the number of the rule; -1 for the default."""
    for number, one in enumerate(made):
        if one.action != "set" and fits(one, values) and destination_fits(one, values["address"]):
            return one.action, number
    return default, -1


def expected_profile(made: list[AccessRule], values: dict[str, Any]) -> Profile:
    """What was set, in sets of rules in which nothing depends on the address."""
    profile = NO_PROFILE
    for number, one in enumerate(made):
        if fits(one, values):
            limits = tuple(GivenLimit(name, f"access.rules[{number}]") for name in one.limits)
            profile = profile.with_more(Profile(one.intercept, one.log, one.route, one.blocklists, limits))
            if one.action != "set":
                break
    return profile


@settings(max_examples=1000)
@given(st.integers(0, 2**40), st.integers(0, 9))
def test_any_rules_agree_with_the_obvious(seed: int, count: int) -> None:
    # Drawn one by one, so many choices would take hypothesis minutes.
    chance = Random(seed)
    made = [any_rule(chance) for _ in range(count)]
    default = chance.choice(["allow", "deny"])
    asked = [{name: chance.choice(values) for name, values in ANY_QUESTION.items()} for _ in range(8)]
    wanted = AccessSettings(rules=tuple(made), default=default, refuse_destinations=())  # type: ignore[arg-type]  # one of two
    compiled = Rules.of(wanted, AccessPolicy.of(wanted, own_ports=(), is_own_address=lambda _: False))
    if compiled is None:
        assert (made, default) == ([], "allow")
        return
    for values in asked:
        action, number = expected(made, default, values)
        verdict = compiled.judge(asked_for(values))
        final = verdict if verdict.destinations is None else verdict.destinations.verdict(values["address"])
        found = -1 if final.rule is None else final.rule.number
        if found != number:
            # What is refused in any case is refused before the address is known, be it by a later rule.
            assert verdict.destinations is None
            assert action == "deny"
            assert made[number].destinations or made[number].not_destinations
            assert final.action in ("deny", "ask")
        else:
            assert final.action == action
        if not any(one.destinations or one.not_destinations for one in made):
            assert verdict.profile == expected_profile(made, values)
            decider = [
                step for step in compiled.steps(asked_for(values)) if not step.misfit and step.rule.action != "set"
            ]
            assert [step.rule.number for step in decider] == ([number] if number >= 0 else [])
