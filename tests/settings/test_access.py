"""The settings of who may go where: the list of rules, wherever it was set."""

from __future__ import annotations

import pytest

from twistedproxy.settings.access import AccessRule
from twistedproxy.settings.annotate import annotated_toml
from twistedproxy.settings.describe import describe, warnings
from twistedproxy.settings.load import load
from twistedproxy.settings.problems import SettingsError

FILE = """\
[access]
default = "deny"

[[access.rules]]
name = "staff"
clients = ["10.0.0.0/8"]
not_hosts = [".games.example", "~^ads?[0-9]+"]
fields = { User-Agent = ["curl/*"] }
action = "allow"
intercept = false

[[access.rules]]
hosts = ["intranet.example"]
action = "deny"
status = 451
text = "Not from here."
"""


def test_the_rules_and_where_they_stand() -> None:
    loaded = load(FILE, "a.toml")
    access = loaded.settings.access
    assert access.default == "deny"
    assert access.rules == (
        AccessRule(
            name="staff",
            clients=("10.0.0.0/8",),
            not_hosts=(".games.example", "~^ads?[0-9]+"),
            fields={"User-Agent": ("curl/*",)},
            action="allow",
            intercept=False,
        ),
        AccessRule(hosts=("intranet.example",), action="deny", status=451, text="Not from here."),
    )
    assert loaded.sources["access.rules"] == "a.toml:4"
    assert loaded.entries == {"access.rules": ("a.toml:4", "a.toml:12")}
    again = load(annotated_toml(loaded.settings, loaded.sources), "b.toml")
    assert again.settings == loaded.settings


def test_on_the_command_line() -> None:
    loaded = load("", "a.toml", [("access.rules", '[{ hosts = ["a"], action = "deny" }, { action = "allow" }]')])
    assert [rule.action for rule in loaded.settings.access.rules] == ["deny", "allow"]
    assert loaded.entries == {"access.rules": ("--set", "--set")}


def test_a_listener_has_to_be_one() -> None:
    with pytest.raises(SettingsError) as error:
        load('[[access.rules]]\naction = "deny"\nlisteners = ["tcp:8080:interface=127.0.0.1", "tcp:1"]\n', "a.toml")
    assert str(error.value) == (
        'a.toml:3: access.rules[0].listeners[1]: expected one of downstream.listen, got "tcp:1"'
    )


def test_what_they_mean() -> None:
    sentences = describe(load(FILE, "a.toml").settings)
    assert "The 2 access rules are asked in order; a request on which none decides is denied." in sentences
    one = describe(load('[[access.rules]]\naction = "deny"\n', "a.toml").settings)
    assert "The one access rule is asked in order; a request on which none decides is allowed." in one
    assert "There is no access rule, and every request is denied." in describe(
        load("[access]\ndefault = 'deny'\n", "a.toml").settings
    )


def test_what_is_unwise() -> None:
    def told(text: str) -> list[str]:
        return [warning for warning in warnings(load(text, "a.toml").settings) if "access." in warning]

    assert told(FILE) == []
    assert told("[access]\ndefault = 'deny'\n") == [
        'access.default is "deny", and no rule allows anything: every request will be refused.'
    ]
    named = '[[access.rules]]\nusers = ["*"]\naction = "deny"\n[[access.rules]]\ngroups = ["a"]\naction = "allow"\n'
    assert told(named) == [
        "access.rules (0 and 1) name users or groups, but there is no account: nobody is one of them."
    ]
    assert told(f'{named}[[accounts.static]]\nname = "ann"\npassword_file = "/x"\n') == []
