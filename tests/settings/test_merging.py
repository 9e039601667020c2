"""Several sources in: texts, variables and the command line; what is set later wins, and each error has its source."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.settings.keys import keys, variables
from twistedproxy.settings.load import Loaded, Merging
from twistedproxy.settings.problems import Problem, SettingsError
from twistedproxy.settings.types import Settings

ENVIRONMENTS = st.dictionaries(
    st.one_of(st.sampled_from([*variables()]), st.text().map("PYPROXY_".__add__)),
    st.one_of(st.sampled_from(["1", "[1]", '["tcp:80"]', "5s", "1\n[x]", "auto", "{a = 1}"]), st.text()),
    max_size=2,
)


def merged(
    *texts: tuple[str, str], variables: dict[str, str] | None = None, overrides: tuple[tuple[str, str], ...] = ()
) -> Loaded:
    """What these texts, each with its name first, and the rest come to."""
    merging = Merging()
    for name, text in texts:
        merging.take_text(text, name)
    merging.take_variables(variables or {})
    merging.take_overrides(overrides)
    return merging.loaded()


def refusal(*texts: tuple[str, str], **others: Any) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        merged(*texts, **others)
    return str(refused.value).split("\n")


def test_what_is_taken_later_wins() -> None:
    loaded = merged(
        ("a.toml", "[upstream]\nmax_idle = 1\nmax_fields = 1\n[log]\nlevel = 'debug'\nformat = 'json'"),
        ("a.d/1.toml", "[log]\nlevel = 'warn'\n[resolver]\nthreads = 2"),
        ("a.d/2.toml", "[resolver]\nthreads = 3\n[upstream]\nmax_fields = 3"),
        variables={"PYPROXY_UPSTREAM_MAX_FIELDS": "4", "PYPROXY_FORWARDING_VIA": "four", "PATH": "/bin"},
        overrides=(("forwarding.via", "five"),),
    )
    expected = {
        "upstream.max_idle": (1, "a.toml:2"),
        "upstream.max_fields": (4, "PYPROXY_UPSTREAM_MAX_FIELDS"),
        "log.level": ("warn", "a.d/1.toml:2"),
        "log.format": ("json", "a.toml:6"),
        "resolver.threads": (3, "a.d/2.toml:2"),
        "forwarding.via": ("five", "--set"),
    }
    for path, key in keys().items():
        value, source = expected.get(path, (key.default, "default"))
        assert getattr(getattr(loaded.settings, key.table), key.name) == value
        assert loaded.sources[path] == source
    assert loaded.files == ("a.toml", "a.d/1.toml", "a.d/2.toml")
    assert loaded.ignored == ()


def test_a_list_replaces_a_list() -> None:
    lists = (("a.toml", 'access.clients = ["loopback", "private"]'), ("b.toml", 'access.clients = ["10.0.0.0/8"]'))
    assert merged(*lists).settings.access.clients == ("10.0.0.0/8",)
    assert merged(*lists, variables={"PYPROXY_ACCESS_CLIENTS": "[]"}).settings.access.clients == ()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("PYPROXY_UPSTREAM_CONNECT_TIMEOUT", "5s", 5.0),
        ("PYPROXY_UPSTREAM_CONNECT_TIMEOUT", "'250ms'", 0.25),
        ("PYPROXY_SERVICE_WORKERS", "auto", "auto"),
        ("PYPROXY_SERVICE_WORKERS", "4", 4),
        ("PYPROXY_TUNNEL_SPLICE", "false", False),
        ("PYPROXY_LOG_ACCESS", "", ""),
        ("PYPROXY_ACCESS_CLIENTS", "private", ("private",)),
        ("PYPROXY_ACCESS_CLIENTS", '["private", "192.0.2.1"]', ("private", "192.0.2.1")),
        ("PYPROXY_ACCESS_CONNECT_PORTS", "8443", (8443,)),
        ("PYPROXY_DOWNSTREAM_LISTEN", "tcp:8080", ("tcp:8080",)),
        ("PYPROXY_CONTROL_METRICS", "[]", ()),
    ],
)
def test_a_variable_is_read_as_the_command_line_is(name: str, text: str, value: object) -> None:
    path = variables()[name].path
    table, _, key = path.partition(".")
    for loaded in (merged(variables={name: text}), merged(overrides=((path, text),))):
        assert getattr(getattr(loaded.settings, table), key) == value


def test_variables_that_are_no_keys_are_named() -> None:
    environment = {
        "PYPROXY_SERVICE_PORT": "8080",
        "PYPROXY_LOG_LEVEL": "warn",
        "PYPROXY_PORT": "tcp://10.0.0.1:8080",
        "pyproxy_log_format": "json",
        "MY_PYPROXY_X": "1",
    }
    loaded = merged(variables=environment)
    assert loaded.ignored == ("PYPROXY_PORT", "PYPROXY_SERVICE_PORT")
    assert loaded.settings.log.level == "warn"
    assert loaded.settings.log.format == "squid"


def test_the_problems_of_all_sources_are_reported_together() -> None:
    assert refusal(
        ("a.toml", "[log]\nlevel = 3\n\ncolour = 1"),
        ("a.d/1.toml", "[log"),
        ("a.d/2.toml", "\n[access]\nconnect_ports = [\n443,\n0]"),
        variables={"PYPROXY_UPSTREAM_MAX_IDLE": "many", "PYPROXY_ACCESS_CLIENTS": '["all", "nobody"]'},
        overrides=(("log.format", "xml"),),
    ) == [
        'a.toml:2: log.level: expected one of "debug", "info", "warn", "error", "critical", got 3',
        "a.toml:4: log.colour: unknown key",
        "a.d/1.toml:1:5: not valid TOML: Expected ']' at the end of a table declaration",
        "a.d/2.toml:5: access.connect_ports[1]: expected a port from 1 to 65535, got 0",
        (
            'PYPROXY_ACCESS_CLIENTS: access.clients[1]: expected "loopback", "private", "all", a network such as '
            '"10.0.0.0/8" or an address, got "nobody"'
        ),
        'PYPROXY_UPSTREAM_MAX_IDLE: upstream.max_idle: expected an integer from 0 to 1000000, got "many"',
        '--set: log.format: expected one of "squid", "combined", "json", got "xml"',
    ]


LARGE_TARGET = "[downstream]\n\nmax_target_size = '60KiB'"
SMALL_HEAD = "[downstream]\nmax_head_size = '32KiB'"


@pytest.mark.parametrize(
    ("texts", "environment", "overrides", "problem"),
    [
        (
            (LARGE_TARGET, SMALL_HEAD),
            {},
            (),
            "1.toml:2: downstream.max_head_size: 32KiB is less than downstream.max_target_size (60KiB, 0.toml:3)",
        ),
        (
            (SMALL_HEAD, LARGE_TARGET),
            {},
            (),
            "1.toml:3: downstream.max_target_size: 60KiB is more than downstream.max_head_size (32KiB, 0.toml:2)",
        ),
        (
            (LARGE_TARGET,),
            {"PYPROXY_DOWNSTREAM_MAX_HEAD_SIZE": "32KiB"},
            (),
            (
                "PYPROXY_DOWNSTREAM_MAX_HEAD_SIZE: downstream.max_head_size: 32KiB is less than "
                "downstream.max_target_size (60KiB, 0.toml:3)"
            ),
        ),
        (
            (),
            {"PYPROXY_DOWNSTREAM_MAX_HEAD_SIZE": "32KiB", "PYPROXY_DOWNSTREAM_MAX_TARGET_SIZE": "60KiB"},
            (),
            (
                "PYPROXY_DOWNSTREAM_MAX_TARGET_SIZE: downstream.max_target_size: 60KiB is more than "
                "downstream.max_head_size (32KiB, PYPROXY_DOWNSTREAM_MAX_HEAD_SIZE)"
            ),
        ),
        (
            (LARGE_TARGET,),
            {},
            (("downstream.max_head_size", "32KiB"),),
            "--set: downstream.max_head_size: 32KiB is less than downstream.max_target_size (60KiB, 0.toml:3)",
        ),
        (
            ("[downstream]\nmax_target_size = '65KiB'", ""),
            {},
            (),
            "0.toml:2: downstream.max_target_size: 65KiB is more than downstream.max_head_size (64KiB)",
        ),
    ],
)
def test_two_keys_that_do_not_fit_are_the_fault_of_what_was_set_last(
    texts: tuple[str, ...], environment: dict[str, str], overrides: tuple[tuple[str, str], ...], problem: str
) -> None:
    named = [(f"{number}.toml", text) for number, text in enumerate(texts)]
    assert refusal(*named, variables=environment, overrides=overrides) == [
        f"{problem}, but a request's target is a part of its head"
    ]


def test_two_keys_are_not_compared_when_a_source_is_missing() -> None:
    problem = "1.toml:1:2: not valid TOML: Expected '=' after a key in a key/value pair"
    assert refusal(("0.toml", "[downstream]\nmax_target_size = '1MiB'"), ("1.toml", "x")) == [problem]


def test_what_cannot_be_read_has_its_place_among_the_problems() -> None:
    merging = Merging()
    merging.take_text("x = 1", "0.toml")
    merging.take_nothing(SettingsError([Problem("1.toml", "cannot be read: Permission denied")]))
    merging.take_text("y = 1", "2.toml")
    with pytest.raises(SettingsError) as refused:
        merging.loaded()
    assert [problem.source for problem in refused.value.problems] == ["0.toml", "1.toml", "2.toml"]


def test_merging_can_be_looked_at() -> None:
    merging = Merging()
    merging.take_text("x = 1\nlog.level = 'info'", "0.toml")
    assert repr(merging) == "<Merging sources=1 values=1 problems=1>"


@given(st.data())
def test_settings_are_the_same_wherever_they_were_set(any_settings: st.SearchStrategy[Settings], data: Any) -> None:
    settings = data.draw(any_settings)
    values = {key.path: key.kind.spell(getattr(getattr(settings, key.table), key.name)) for key in keys().values()}
    places = data.draw(st.fixed_dictionaries({path: st.integers(0, 3) for path in values}))
    at = [{path: value for path, value in values.items() if places[path] == place} for place in range(4)]
    loaded = merged(
        ("0.toml", "\n".join(f"{path} = {value}" for path, value in at[0].items())),
        ("1.toml", "\n".join(f"{path} = {value}" for path, value in at[1].items())),
        variables={keys()[path].variable: value for path, value in at[2].items()},
        overrides=tuple(at[3].items()),
    )
    assert loaded.settings == settings


@given(ENVIRONMENTS)
def test_no_variable_does_worse_than_to_be_refused(environment: dict[str, str]) -> None:
    try:
        loaded = merged(variables=environment)
    except SettingsError as error:
        for line in str(error).split("\n"):
            assert line.isprintable()
            assert line.startswith(tuple(f"{name}: " for name in environment))
    else:
        assert set(loaded.ignored) == environment.keys() - variables().keys()
