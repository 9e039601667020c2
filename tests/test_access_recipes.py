"""The recipes of docs/access.md: whole files that load, say nothing unwise, and do what is said of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.access.test_question import Fields, question
from twistedproxy.access.rules import Rules
from twistedproxy.errors import ProxyError
from twistedproxy.settings.access import AccessRule
from twistedproxy.settings.access_rules import check_access_rule
from twistedproxy.settings.describe import warnings
from twistedproxy.settings.load import load
from twistedproxy.snapshot import Snapshot

PAGE = (Path(__file__).parents[1] / "docs" / "access.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"<!-- recipe: (\w+) -->\n```toml\n(.*?)```", PAGE, re.DOTALL))
FRIDAY_NOON = 1_795_780_800.0
NIGHT = FRIDAY_NOON + 9 * 3600
PUBLIC, INSIDE = "93.184.216.34", "10.20.3.4"


def snapshot_of(text: str) -> Snapshot:
    return Snapshot.of(
        load(text, "a.toml").settings, generation=1, pseudonym="p", own_ports=[], is_own_address=lambda _: False
    )


def test_there_are_some() -> None:
    assert sorted(RECIPES) == ["ci", "family", "office", "public"]


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_nothing_about_them_is_unwise(name: str) -> None:
    unwise = list(warnings(load(RECIPES[name], "a.toml").settings))
    assert unwise == []


def test_the_example_loads() -> None:
    (example,) = re.findall(r"## Rules\n\n```toml\n(.*?)```", PAGE, re.DOTALL)
    (rule,) = load(example, "a.toml").settings.access.rules
    assert (rule.name, rule.hours, rule.text) == ("games at work", ("08:00-17:00",), "After five.")


def test_every_key_is_explained() -> None:
    told = set(re.findall(r"`(\w+)`", PAGE))
    assert set(AccessRule.__struct_fields__) - told == set()
    for key in AccessRule.__struct_fields__:
        with pytest.raises(ValueError, match=r"."):
            check_access_rule({key: object()})


FAMILY: list[tuple[dict[str, Any], str, str]] = [
    ({"client": "192.168.1.70", "host": "games.example"}, PUBLIC, "allowed by access.default"),
    ({"client": "192.168.1.70", "host": "games.example", "when": NIGHT}, PUBLIC, "denied_by_rule by bedtime"),
    ({"client": "192.168.1.70", "host": "de.wikipedia.org", "when": NIGHT}, PUBLIC, "allowed by school always works"),
    ({"client": "192.168.1.20", "host": "games.example", "when": NIGHT}, PUBLIC, "allowed by access.default"),
    ({"client": "192.168.1.70", "host": "www.poker24.example"}, PUBLIC, "denied_by_rule by not for children"),
    (
        {"client": "192.168.1.70", "host": "search.example", "target": b"/search?q=a"},
        PUBLIC,
        "denied_by_rule by no searches without the filter",
    ),
    (
        {"client": "192.168.1.70", "host": "search.example", "target": b"/search?q=a&safe=strict"},
        PUBLIC,
        "allowed by access.default",
    ),
    ({"client": "192.168.1.20", "host": "nas.example"}, "192.168.1.5", "destination_denied by access.default"),
]
GUESTS = "tcp:8081:interface=10.0.0.1"
STAFF = "tcp:8080:interface=10.0.0.1"
TUNNEL = {"way": "tunnel", "method": b"CONNECT", "scheme": "", "port": 443, "target": b""}
OFFICE: list[tuple[dict[str, Any], str, str]] = [
    ({"client": "10.9.0.5", "host": "a.printers.example"}, PUBLIC, "allowed by printers"),
    ({"client": "10.9.0.5", "host": "b.example"}, PUBLIC, "denied_by_rule by printers, nothing else"),
    ({"client": "10.5.0.5", "listener": GUESTS}, PUBLIC, "allowed by guests"),
    ({"client": "10.5.0.5", "listener": GUESTS}, "10.1.0.1", "denied_by_rule by guests stay outside"),
    ({"client": "10.5.0.5", "listener": GUESTS, **TUNNEL}, "10.1.0.1", "denied_by_rule by guests stay outside"),
    ({"client": "10.1.0.5", "listener": STAFF}, "10.1.0.1", "allowed by staff"),
    (
        {"client": "10.1.0.5", "listener": STAFF, "target": b"/setup.exe?x"},
        PUBLIC,
        "denied_by_rule by no programs over plain HTTP",
    ),
    ({"client": "10.1.0.5", "listener": STAFF, "host": "v.video.example"}, PUBLIC, "allowed by staff"),
    (
        {"client": "10.1.0.5", "listener": STAFF, "host": "v.video.example", "when": FRIDAY_NOON - 3600},
        PUBLIC,
        "denied_by_rule by office hours for video",
    ),
    ({"client": "10.77.0.5", "listener": STAFF}, PUBLIC, "denied_by_rule by access.default"),
]
CI: list[tuple[dict[str, Any], str, str]] = [
    ({"client": "10.20.0.7", "host": "registry.example", **TUNNEL}, PUBLIC, "allowed by registries"),
    ({"client": "10.20.0.7", "host": "registry.example", **TUNNEL}, INSIDE, "denied_by_rule by inside"),
    ({"client": "10.20.0.7", "host": "mirror.ci.example"}, "10.20.1.9", "allowed by mirrors over plain HTTP"),
    (
        {"client": "10.20.0.7", "host": "a.debian.example", "method": b"PUT"},
        PUBLIC,
        "denied_by_rule by access.default",
    ),
    ({"client": "10.20.0.7", "host": "home.example", **TUNNEL}, PUBLIC, "denied_by_rule by access.default"),
    ({"client": "10.20.0.7", "host": "upload.example", **TUNNEL}, PUBLIC, "denied_by_rule by access.default"),
    ({"client": "10.20.0.10", "host": "upload.example", **TUNNEL}, PUBLIC, "allowed by release"),
    (
        {"client": "10.20.0.7", "host": "git.example", "fields": Fields({b"user-agent": (b"git/2.40",)}), **TUNNEL},
        PUBLIC,
        "allowed by code, by the tool that fetches it",
    ),
    ({"client": "10.20.0.7", "host": "git.example", **TUNNEL}, PUBLIC, "denied_by_rule by access.default"),
]
FILES = {"accounts": "# nobody yet\n", "groups": "staff: ann\n", "monitoring-password": "watch this\n"}
ROBOT = {"user": "monitoring", "groups": frozenset({"robots"}), **TUNNEL}
INTERNET: list[tuple[dict[str, Any], str, str]] = [
    ({"client": PUBLIC, "user": "ann", **TUNNEL}, PUBLIC, "allowed by access.default"),
    ({"client": PUBLIC, "user": "ann", **TUNNEL}, INSIDE, "destination_denied by access.default"),
    ({"client": PUBLIC, "host": "status.example.com", **ROBOT}, PUBLIC, "allowed by access.default"),
    ({"client": PUBLIC, "host": "elsewhere.example", **ROBOT}, PUBLIC, "denied_by_rule by robots do their work"),
]
CASES = [
    (name, *case)
    for name, cases in (("family", FAMILY), ("office", OFFICE), ("ci", CI), ("public", INTERNET))
    for case in cases
]


def outcome(rules: Rules, asked: dict[str, Any], address: str) -> str:
    made = question(**({"when": FRIDAY_NOON, "host": "any.example"} | asked))
    verdict = rules.judge(made)
    refusal: ProxyError | None = verdict.refusal(False)
    label = verdict.label
    if refusal is None:
        policy = verdict.destinations or rules.access
        label = verdict.destinations.verdict(address).label if verdict.destinations else label
        try:
            policy.check_destination(address, made.port)
        except ProxyError as error:
            refusal = error
    return f"{refusal.reason if refusal else 'allowed'} by {label}"


@pytest.mark.parametrize(("name", "asked", "address", "expected"), CASES)
def test_what_they_do(tmp_path: Path, name: str, asked: dict[str, Any], address: str, expected: str) -> None:
    for file, content in FILES.items():
        (tmp_path / file).write_text(content)
        (tmp_path / file).chmod(0o600)
    snapshot = snapshot_of(RECIPES[name].replace("/etc/twistedproxy", str(tmp_path)))
    assert snapshot.rules is not None
    snapshot.access.check_client(asked["client"])
    assert outcome(snapshot.rules, asked, address) == expected


def test_what_they_set() -> None:
    family, office = snapshot_of(RECIPES["family"]).rules, snapshot_of(RECIPES["office"]).rules
    assert family is not None
    assert office is not None
    assert family.judge(question(client="192.168.1.20")).profile.log is False
    assert family.judge(question(client="192.168.1.70")).profile.log is None
    assert office.judge(question(client="10.1.0.5", listener=STAFF, **TUNNEL)).profile.intercept is True
    assert office.judge(question(client="10.5.0.5", listener=GUESTS, **TUNNEL)).profile.intercept is None
