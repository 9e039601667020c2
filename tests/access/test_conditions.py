"""What each key of a rule asks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.access.test_question import Fields, question
from twistedproxy.access.conditions import conditions_of, destination_of, looked_up
from twistedproxy.access.rules import Rule
from twistedproxy.settings.access import AccessRule

FRIDAY_NOON = 1_795_780_800.0
"""2026-11-27 12:00 UTC."""

CASES: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    # clients
    ({"clients": ("192.0.2.0/24",)}, {"client": "192.0.2.7"}, True),
    ({"clients": ("192.0.2.0/24",)}, {"client": "::ffff:192.0.2.7"}, True),
    ({"clients": ("192.0.2.0/24",)}, {"client": "192.0.3.7"}, False),
    ({"clients": ("loopback",)}, {"client": "2002:7f00:1::"}, False),
    ({"clients": ("private", "loopback")}, {"client": "10.1.2.3"}, True),
    ({"not_clients": ("192.0.2.7",)}, {"client": "192.0.2.7"}, False),
    ({"not_clients": ("192.0.2.7",)}, {"client": "192.0.2.8"}, True),
    ({"clients": ("192.0.2.0/24",), "not_clients": ("192.0.2.7",)}, {"client": "192.0.2.7"}, False),
    # accounts
    ({"users": ("ann", "bob")}, {"user": "bob"}, True),
    ({"users": ("ann",)}, {"user": "Ann"}, False),
    ({"users": ("ann",)}, {}, False),
    ({"users": ("*",)}, {"user": "cyd"}, True),
    ({"users": ("*",)}, {}, False),
    ({"not_users": ("*",)}, {}, True),
    ({"groups": ("staff",)}, {"user": "ann", "groups": frozenset({"staff", "it"})}, True),
    ({"groups": ("staff",)}, {"user": "ann", "groups": frozenset({"it"})}, False),
    ({"not_groups": ("staff",)}, {}, True),
    # time
    ({"days": ("fri",), "hours": ("11:00-13:00",), "zone": "UTC"}, {"when": FRIDAY_NOON}, True),
    ({"days": ("sat",), "zone": "UTC"}, {"when": FRIDAY_NOON}, False),
    ({"hours": ("12:01-13:00",), "zone": "UTC"}, {"when": FRIDAY_NOON}, False),
    ({"hours": ("12:00-13:00",), "zone": "Europe/Berlin"}, {"when": FRIDAY_NOON}, False),
    ({"not_hours": ("11:00-13:00",), "zone": "UTC"}, {"when": FRIDAY_NOON}, False),
    ({"not_hours": ("13:00-14:00",), "zone": "UTC"}, {"when": FRIDAY_NOON}, True),
    # the way, the listener
    ({"ways": ("plain", "intercepted")}, {"way": "plain"}, True),
    ({"ways": ("tunnel",)}, {"way": "plain"}, False),
    ({"listeners": ("tcp:8080",)}, {"listener": "tcp:8080"}, True),
    ({"listeners": ("tcp:8080",)}, {"listener": "tcp:8081"}, False),
    ({"not_listeners": ("tcp:8080",)}, {"listener": "tcp:8080"}, False),
    # the request
    ({"methods": ("GET", "HEAD")}, {"method": b"HEAD"}, True),
    ({"methods": ("GET",)}, {"method": b"get"}, False),
    ({"not_methods": ("GET",)}, {"method": b"POST"}, True),
    ({"schemes": ("https",)}, {"scheme": "https"}, True),
    ({"schemes": ("http", "https")}, {"way": "tunnel", "scheme": ""}, False),
    ({"hosts": (".example.com",)}, {"host": "A.Example.com."}, True),
    ({"hosts": ("*.example.com",)}, {"host": "example.com"}, False),
    ({"hosts": ("~^ads?[0-9]+\\.",)}, {"host": "AD12.example"}, True),
    ({"hosts": ("~^ads?[0-9]+\\.",)}, {"host": "bad1.example"}, False),
    ({"hosts": ("127.0.0.1",)}, {"host": "0x7f.1"}, True),
    ({"hosts": ("0177.1",)}, {"host": "::ffff:127.0.0.1"}, True),
    ({"not_hosts": (".example.com",)}, {"host": "x.example.com"}, False),
    ({"ports": (80, "8000-8999")}, {"port": 8443}, True),
    ({"ports": (80,)}, {"port": 81}, False),
    ({"not_ports": ("all",)}, {"port": 81}, False),
    ({"paths": ("/admin*",)}, {"target": b"/x/..//%61dmin"}, True),
    ({"paths": ("/admin*",)}, {"target": b"/x/../%61dmin/a?b"}, True),
    ({"paths": ("~/v[12]/",)}, {"target": b"/api/v2/x"}, True),
    ({"paths": ("*",)}, {"way": "tunnel", "target": b""}, False),
    ({"not_paths": ("/admin*",)}, {"target": b"/other"}, True),
    ({"not_paths": ("/admin*",)}, {"way": "tunnel", "target": b""}, False),
    ({"urls": ("http://origin.example/a?b=*",)}, {"target": b"/a?b=c"}, True),
    ({"urls": ("http://origin.example/a?b=*",)}, {"target": b"/a?c=c"}, False),
    ({"urls": ("~^https?://[^/]*/a$",)}, {"target": b"/a"}, True),
    ({"not_urls": ("http://origin.example/*",)}, {}, False),
    ({"not_urls": ("http://origin.example/*",)}, {"way": "tunnel", "target": b""}, False),
    ({"fields": {"User-Agent": ("curl/*",)}}, {"fields": Fields({b"user-agent": (b"curl/8.1",)})}, True),
    ({"fields": {"User-Agent": ("curl/*",)}}, {"fields": Fields({b"user-agent": (b"Mozilla",)})}, False),
    ({"fields": {"User-Agent": ("*",)}}, {}, False),
    ({"fields": {"x": ("~[0-9]",)}}, {"fields": Fields({b"x": (b"a", b"a1")})}, True),
    ({"fields": {"x": ("1",), "y": ("2",)}}, {"fields": Fields({b"x": (b"1",)})}, False),
    ({"fields": {"x": ("1",), "y": ("2",)}}, {"fields": Fields({b"x": (b"1",), b"y": (b"2",)})}, True),
    ({"not_fields": {"User-Agent": ("*",)}}, {}, True),
    ({"not_fields": {"x": ("1",)}}, {"fields": Fields({b"x": (b"0", b"1")})}, False),
    # all the keys that are there
    ({"hosts": ("origin.example",), "methods": ("POST",)}, {}, False),
    ({}, {}, True),
]


@pytest.mark.parametrize(("rule", "asked", "fits"), CASES)
def test_keys(rule: dict[str, Any], asked: dict[str, Any], fits: bool) -> None:
    settings = AccessRule(action="deny", **rule)
    made = question(**asked)
    conditions = [condition.met(made) for condition in conditions_of(settings)]
    looked = [one.met(made) for one in looked_up(settings)]
    assert all(conditions + looked) is fits
    assert (Rule.of(0, settings).misfit(made) == "") is fits
    assert len(conditions) + len(looked) == 0 if not rule else conditions + looked != []


def test_the_key_that_does_not_fit_is_told() -> None:
    settings = AccessRule(
        action="deny", not_clients=("loopback",), fields={"x": ("1",)}, hours=("00:00-00:01",), zone="UTC"
    )
    rule = Rule.of(0, settings)
    assert rule.misfit(question(client="::1")) == "not_clients"
    assert rule.misfit(question(when=FRIDAY_NOON)) == "hours"
    assert rule.misfit(question(when=0)) == "fields.x"


@pytest.mark.parametrize(
    ("rule", "address", "fits"),
    [
        ({"destinations": ("private",)}, "10.0.0.1", True),
        ({"destinations": ("private",)}, "93.184.216.34", False),
        ({"not_destinations": ("private",)}, "93.184.216.34", True),
        ({"destinations": ("10.0.0.0/8",), "not_destinations": ("10.1.0.0/16",)}, "10.1.2.3", False),
        # Whoever refuses looks inside; whoever allows does not.
        ({"destinations": ("10.0.0.0/8",)}, "64:ff9b::a00:1", True),
        ({"destinations": ("10.0.0.0/8",), "action": "allow"}, "64:ff9b::a00:1", False),
        ({"not_destinations": ("10.0.0.0/8",)}, "64:ff9b::a00:1", True),
        ({"not_destinations": ("10.0.0.0/8",), "action": "allow"}, "64:ff9b::a00:1", False),
    ],
)
def test_destinations(rule: dict[str, Any], address: str, fits: bool) -> None:
    test = destination_of(AccessRule(**({"action": "deny"} | rule)))
    assert test is not None
    assert test(address) is fits


def test_most_rules_ask_for_no_destination() -> None:
    assert destination_of(AccessRule(action="deny", hosts=("a",))) is None
