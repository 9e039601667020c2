"""What may stand in a table of ``access.rules``, and how each mistake is told."""

from __future__ import annotations

from typing import Any

import pytest

from twistedproxy.settings.access_rules import check_access_rule
from twistedproxy.settings.load import load
from twistedproxy.settings.problems import SettingsError, Unfit

GOOD: list[dict[str, Any]] = [
    {"action": "deny"},
    {"action": "deny", "name": "games & more", "comment": "two\nlines", "status": 404, "text": "Not here."},
    {"action": "ask", "clients": ["private"], "not_clients": ["10.0.0.1", "2001:db8::/32"]},
    {"action": "allow", "users": ["*"], "groups": ["staff"], "not_users": ["eve"], "not_groups": ["guests"]},
    {"action": "deny", "days": ["mon-fri", "sun"], "hours": ["08:00-24:00", "22:00-06:00"], "zone": "Europe/Berlin"},
    {"action": "deny", "not_hours": ["08:00-09:00"], "zone": "UTC"},
    {"action": "deny", "ways": ["plain", "tunnel", "intercepted"], "listeners": ["tcp:8080"]},
    {"action": "deny", "methods": ["GET", "M-SEARCH"], "schemes": ["http", "https"]},
    {"action": "deny", "hosts": ["a", ".a.example", "*.b", "10.0.0.1", "::1", "~^x[0-9]"], "not_hosts": ["~."]},
    {"action": "deny", "ports": [80, "1-1023", "all"], "not_ports": [443]},
    {"action": "deny", "paths": ["/a*", "*.exe", "~^/x"], "urls": ["http://a/*", "*tracker*", "~x"]},
    {"action": "deny", "fields": {"User-Agent": ["curl*", "~x"]}, "not_fields": {"x": ["*"]}},
    {"action": "deny", "destinations": ["private", "all", "10.0.0.0/8"], "not_destinations": ["10.1.0.0/16"]},
    {"action": "set", "intercept": False, "log": False, "route": "a-1", "blocklists": ["ads.big"], "limits": ["slow"]},
    {"action": "allow", "intercept": True},
]


@pytest.mark.parametrize("rule", GOOD)
def test_what_may_stand_there(rule: dict[str, Any]) -> None:
    check_access_rule(rule)


WRONG: list[tuple[Any, str]] = [
    ("deny", 'a table such as { hosts = [".games.example"], action = "deny" }'),
    ({}, 'the key action, one of "allow", "deny", "ask", "set"'),
    ({"action": "refuse"}, 'action: one of "allow", "deny", "ask", "set"'),
    ({"action": "Deny"}, 'action: one of "allow", "deny", "ask", "set" (did you mean "deny"?)'),
    ({"action": "deny", "host": ["a"]}, 'host: unknown key (did you mean "hosts"?)'),
    ({"action": "deny", "zzzz": ["a"]}, "zzzz: unknown key"),
    ({"action": "deny", "hosts": []}, "hosts: a list with one entry at least"),
    ({"action": "deny", "hosts": ".a"}, "hosts: a list with one entry at least"),
    ({"action": "deny", "hosts": ["a", 1]}, 'hosts[1]: a string such as ".example.com"'),
    ({"action": "deny", "hosts": ["defaults"]}, 'hosts[0]: a string such as ".example.com"'),
    ({"action": "deny", "hosts": ["http://a"]}, "hosts[0]: a host without scheme, port and path"),
    ({"action": "deny", "hosts": ["~("]}, "hosts[0]: not a regular expression: missing ), "),
    ({"action": "deny", "hosts": ["~"]}, 'hosts[0]: a regular expression after the "~"'),
    ({"action": "deny", "paths": ["~" + "a" * 1000]}, "paths[0]: a pattern of 1 to 1000 printable characters"),
    ({"action": "deny", "paths": ["a"]}, 'paths[0]: a path that begins with "/", '),
    ({"action": "deny", "paths": ["~[z-a]"]}, "paths[0]: not a regular expression: bad character range z-a"),
    ({"action": "deny", "urls": ["a.example/x"]}, "urls[0]: a URL with its scheme, "),
    ({"action": "deny", "urls": ["~*"]}, "urls[0]: not a regular expression: nothing to repeat"),
    ({"action": "deny", "fields": ["a"]}, 'fields: a table such as { User-Agent = ["curl/*"] }'),
    ({"action": "deny", "fields": {}}, 'fields: a table such as { User-Agent = ["curl/*"] }'),
    ({"action": "deny", "fields": {"a b": ["x"]}}, "fields: the names of fields, such as User-Agent"),
    ({"action": "deny", "fields": {"a": "x"}}, "fields.a: a list with one entry at least"),
    ({"action": "deny", "fields": {"a": ["~("]}}, "fields.a[0]: not a regular expression: missing ), "),
    ({"action": "deny", "clients": ["10.0.0.1/8"]}, "clients[0]: a network without bits beyond its prefix"),
    ({"action": "deny", "clients": [7]}, 'clients[0]: a string such as "loopback" or "10.0.0.0/8"'),
    ({"action": "deny", "destinations": ["lan"]}, 'destinations[0]: "link-local", "metadata", '),
    ({"action": "deny", "users": [""]}, 'users[0]: a name, or "*", of 1 to 256 printable characters'),
    ({"action": "deny", "days": ["monday"]}, 'days[0]: a day or days such as "sat" or "mon-fri"'),
    ({"action": "deny", "hours": ["8-17"]}, 'hours[0]: hours such as "08:00-17:30"'),
    ({"action": "deny", "hours": ["08:00-08:00"]}, "hours[0]: hours that end at another time than they begin"),
    (
        {"action": "deny", "hours": ["08:00-09:00"], "zone": "Mars"},
        'zone: a time zone such as "Europe/Berlin" or "UTC"',
    ),
    ({"action": "deny", "days": ["sun"], "zone": "../x"}, 'zone: a time zone such as "Europe/Berlin" or "UTC"'),
    ({"action": "deny", "zone": "UTC"}, "zone: days or hours too, which the zone is for"),
    ({"action": "deny", "methods": ["get"]}, 'methods[0]: a method as it is sent, such as "GET" (did you mean "GET"?)'),
    ({"action": "deny", "methods": ["a b"]}, 'methods[0]: a method such as "GET"'),
    ({"action": "deny", "schemes": ["ftp"]}, 'schemes[0]: one of "http", "https"'),
    (
        {"action": "deny", "ways": ["tunel"]},
        'ways[0]: one of "plain", "tunnel", "intercepted" (did you mean "tunnel"?)',
    ),
    ({"action": "deny", "ways": ["tunnel"], "urls": ["*"]}, "urls: no urls in a rule for tunnels, which have none"),
    ({"action": "deny", "ports": [0]}, "ports[0]: a port from 1 to 65535"),
    ({"action": "deny", "ports": [True]}, "ports[0]: a port such as 443, "),
    ({"action": "deny", "listeners": [8080]}, 'listeners[0]: a string such as "tcp:8080"'),
    ({"action": "deny", "status": 407}, "status: one of 403, 404, 410, 429, 451, 503"),
    ({"action": "deny", "status": True}, "status: one of 403, 404, 410, 429, 451, 503"),
    ({"action": "allow", "status": 403}, "status: no status where the action is not deny"),
    ({"action": "ask", "text": "x"}, "text: no text where the action is not deny"),
    ({"action": "deny", "text": "a\nb"}, "text: a text of 1 to 2000 printable characters"),
    ({"action": "deny", "name": "access.default"}, 'name: a name that does not begin with "access."'),
    ({"action": "deny", "name": "a" * 65}, "name: a name of 1 to 64 printable characters"),
    ({"action": "deny", "comment": 1}, "comment: a text of up to 2000 characters"),
    ({"action": "deny", "log": False}, "log: no log where the action is neither set nor allow"),
    ({"action": "set"}, 'one of "intercept", "log", "route", "blocklists", "limits" where the action is set'),
    ({"action": "set", "intercept": "yes"}, "intercept: true or false"),
    ({"action": "set", "route": "a b"}, "route: a name of letters, digits, dots, dashes and underscores"),
    (
        {"action": "allow", "intercept": True, "destinations": ["private"]},
        "destinations: no destinations where something is set or asked for",
    ),
    (
        {"action": "ask", "not_destinations": ["private"]},
        "not_destinations: no not_destinations where something is set or asked for",
    ),
]


@pytest.mark.parametrize(("rule", "told"), WRONG)
def test_what_may_not(rule: Any, told: str) -> None:
    with pytest.raises(Unfit) as error:
        check_access_rule(rule)
    unfit = error.value
    hint = f" ({unfit.hint})" if unfit.hint else ""
    words = f"{unfit.within}: " * bool(unfit.within) + (unfit.message or unfit.expected) + hint
    assert words.startswith(told)


def test_mistakes_have_their_places() -> None:
    text = """\
[[access.rules]]
action = "deny"

[[access.rules]]
hosts = ["a",
  "~a**"]
action = "deny"

[[access.rules]]
acton = "deny"
"""
    with pytest.raises(SettingsError) as error:
        load(text, "a.toml")
    assert str(error.value).splitlines() == [
        "a.toml:5: access.rules[1].hosts[1]: not a regular expression: multiple repeat at position 2",
        'a.toml:10: access.rules[2].acton: unknown key (did you mean "action"?)',
    ]
