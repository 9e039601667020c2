"""The routes in the settings: who may name them, what they mean in words, and what is unwise about them."""

from __future__ import annotations

import pytest

from twistedproxy.settings.describe import describe, warnings
from twistedproxy.settings.load import SettingsError, load

FILE = """\
[routes]
default = "office"
[[routes.tables]]
name = "office"
parents = ["http://proxy.example:3128", "https://proxy.example:443"]
[[routes.tables]]
name = "far"
parents = ["socks5://127.0.0.1:1080"]
user = "branch"
password_file = "/etc/twistedproxy/far"
[[access.rules]]
hosts = [".intern.example"]
action = "set"
route = "direct"
[[access.rules]]
hosts = [".far.example"]
action = "allow"
route = "far"
"""


def test_the_settings() -> None:
    routes = load(FILE, "a.toml").settings.routes
    assert routes.default == "office"
    assert [table.name for table in routes.tables] == ["office", "far"]
    assert routes.tables[0].parents == ("http://proxy.example:3128", "https://proxy.example:443")
    assert (routes.tables[1].user, routes.tables[1].password_file) == ("branch", "/etc/twistedproxy/far")
    assert (routes.timeout, routes.retry_after) == (30.0, 30.0)
    assert load("", "a.toml").settings.routes.default == "direct"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            'route = "far"',
            'route = "fat"',
            (
                'a.toml:18: access.rules[1].route: expected the name of one of routes.tables, got "fat" '
                '(did you mean "far"?)'
            ),
        ),
        (
            'route = "direct"',
            'route = "Direct"',
            (
                'a.toml:14: access.rules[0].route: expected the name of one of routes.tables, got "Direct" '
                '(did you mean "direct"?)'
            ),
        ),
        (
            'default = "office"',
            'default = "home"',
            'a.toml:2: routes.default: expected the name of one of routes.tables, got "home"',
        ),
        (
            'default = "office"',
            "default = 1",
            "a.toml:2: routes.default: expected a name of letters, digits, dots, dashes and underscores, got 1",
        ),
        ('name = "far"', 'name = "office"', "a.toml:3: routes.tables: expected a name of its own for each route, got"),
    ],
)
def test_names_have_to_be_those_of_routes(old: str, new: str, problem: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(FILE.replace(old, new), "a.toml")
    assert str(error.value).startswith(problem)


def test_where_the_routes_are_wrong_nothing_more_is_said_of_their_names() -> None:
    with pytest.raises(SettingsError) as error:
        load(FILE.replace("socks5://127.0.0.1:1080", "socks5://127.0.0.1"), "a.toml")
    assert len(error.value.problems) == 1


def test_the_command_line_can_choose_the_default() -> None:
    assert load(FILE, "a.toml", [("routes.default", "far")]).settings.routes.default == "far"
    with pytest.raises(SettingsError) as error:
        load(FILE, "a.toml", [("routes.default", "fare")])
    assert str(error.value) == (
        '--set: routes.default: expected the name of one of routes.tables, got "fare" (did you mean "far"?)'
    )


def test_what_they_mean() -> None:
    sentences = describe(load(FILE, "a.toml").settings)
    assert "Where no rule says otherwise, requests go on by the route office." in sentences
    assert "The route office leads by http://proxy.example:3128 or else https://proxy.example:443." in sentences
    assert "The route far leads by socks5://127.0.0.1:1080 as branch." in sentences
    direct = describe(load(FILE, "a.toml", [("routes.default", "direct")]).settings)
    assert "Where no rule says otherwise, requests go to the servers themselves." in direct
    assert not any("route" in sentence for sentence in describe(load("", "a.toml").settings))


def test_what_is_unwise() -> None:
    def told(text: str) -> list[str]:
        return [warning for warning in warnings(load(text, "a.toml").settings) if "route" in warning]

    assert told(FILE) == []
    assert told(FILE.replace("socks5://127.0.0.1:1080", "socks5://192.0.2.1:1080")) == [
        "the password of the route far can be read on the way to socks5://192.0.2.1:1080."
    ]
    assert told(FILE.replace('route = "far"', 'route = "office"')) == [
        "the route far is taken by nobody: it is not routes.default, and no access rule gives it."
    ]
    late = '[[access.rules]]\ndestinations = ["private"]\naction = "deny"\n'
    assert told(FILE + late) == [
        (
            "access.rules (2) ask for the destination, which is not known of names that a parent looks up: on such a "
            "route they fit no name."
        )
    ]
    unused = '[[routes.tables]]\nname = "a"\nparents = ["http://a:1"]\n'
    assert told(late + unused) == [
        "the route a is taken by nobody: it is not routes.default, and no access rule gives it."
    ]
