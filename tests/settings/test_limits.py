"""The limits in the settings."""

from __future__ import annotations

import pytest

from twistedproxy.settings.describe import describe, warnings
from twistedproxy.settings.limits import LimitsSettings, LimitTable
from twistedproxy.settings.load import SettingsError, load

TEXT = """\
[limits]
zone = "Europe/Berlin"
max_wait = "5s"

[[limits.tables]]
name = "guests"
per = "client"
requests_per_second = 2.5
daily = "5GiB"
"""
RULE = '\n[[access.rules]]\naction = "set"\nlimits = ["guests"{}]\n'


def test_limits_are_tables() -> None:
    table = LimitTable(name="guests", per="client", requests_per_second=2.5, daily="5GiB")
    expected = LimitsSettings(tables=(table,), zone="Europe/Berlin", max_wait=5.0)
    assert load(TEXT, "a.toml").settings.limits == expected
    loaded = load(TEXT + RULE.format(""), "a.toml")
    assert loaded.settings.access.rules[0].limits == ("guests",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            TEXT + RULE.format(', "gests"'),
            (
                "a.toml:13: access.rules[0].limits[1]: expected the name of one of limits.tables, "
                'got "gests" (did you mean "guests"?)'
            ),
        ),
        (
            '[[access.rules]]\naction = "allow"\nlimits = ["slow"]\n',
            'a.toml:3: access.rules[0].limits[0]: expected the name of one of limits.tables, got "slow"',
        ),
        (
            TEXT.replace("client", "clint"),
            (
                'a.toml:7: limits.tables[0].per: expected one of "client", "account", "group", "rule", "all", '
                'got "clint" (did you mean "client"?)'
            ),
        ),
        (
            TEXT + '[[limits.tables]]\nname = "guests"\nper = "all"\ntunnels = 5\n',
            "a.toml:5: limits.tables: expected a name of its own for each limit, got a list",
        ),
        (
            TEXT.replace("Berlin", "Berlyn"),
            'a.toml:2: limits.zone: expected a time zone such as "Europe/Berlin" or "UTC", got "Europe/Berlyn"',
        ),
    ],
)
def test_mistakes_are_told_with_their_place(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(text, "a.toml")
    assert str(caught.value) == message


def test_what_they_mean_is_told() -> None:
    text = (
        TEXT + '[[limits.tables]]\nname = "line"\nper = "all"\ndownload = "1MiB"\nupload = "1MiB"\nconnections = 5\n'
        'tunnels = 3\nmonthly = "1GiB"\n[[limits.tables]]\nname = "night"\nper = "rule"\ntunnels = 1\n'
    )
    told = describe(load(text, "a.toml").settings)
    assert "The limit guests allows each client 2.5 requests a second and 5GiB a day." in told
    line = "5 connections, 3 tunnels, 1MiB a second down, 1MiB a second up and 1GiB a month"
    assert f"The limit line allows all together {line}." in told
    assert "The limit night allows all to whom the same rule gives it 1 tunnel, where a rule gives it." in told
    assert "warning: the limit night holds for nobody: no rule in access.rules gives it." in told
    given = text + '[[access.rules]]\naction = "set"\nlimits = ["night"]\n'
    assert not any("holds for nobody" in one for one in describe(load(given, "a.toml").settings))


@pytest.mark.parametrize("per", ["account", "group"])
def test_limits_for_accounts_without_any_are_unwise(per: str) -> None:
    text = TEXT.replace("client", per)
    warning = f"the limit guests is per {per}, but there is no account: everybody is counted by their address."
    assert warning in list(warnings(load(text, "a.toml").settings))
    accounts = text + '[[accounts.static]]\nname = "ann"\npassword_file = "/x"\n'
    assert warning not in list(warnings(load(accounts, "a.toml").settings))


def test_a_rule_is_not_blamed_for_a_limit_that_cannot_be_read() -> None:
    with pytest.raises(SettingsError) as caught:
        load(TEXT.replace("2.5", "-1") + RULE.format(""), "a.toml")
    assert "access.rules" not in str(caught.value)
