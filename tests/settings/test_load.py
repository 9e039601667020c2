"""A file and the command line in, settings or everything that is wrong with them out."""

from __future__ import annotations

import tomllib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.settings.keys import keys, tables
from twistedproxy.settings.load import Loaded, load
from twistedproxy.settings.problems import SettingsError
from twistedproxy.settings.types import DownstreamSettings, Settings, UpstreamSettings

FILE = """\
[downstream]
listen = ["tcp:8080", "unix:/run/proxy.sock"]
max_head_size = "128KiB"
head_timeout = 5

[upstream]
connect_timeout = "250ms"

[access]
clients = ["loopback", "10.0.0.0/8"]
connect_ports = [443, "8000-8999"]
"""


def problems(content: str | bytes, *overrides: tuple[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load(content, "pyproxy.toml", overrides)
    lines = str(refused.value).split("\n")
    assert lines == list(map(str, refused.value.problems))
    return lines


def test_without_a_file_there_are_the_defaults() -> None:
    loaded = load("", "defaults")
    assert loaded.settings == Settings()
    assert dict(loaded.sources) == dict.fromkeys(keys(), "default")


def test_a_file_is_read_and_every_value_has_its_source() -> None:
    settings, sources = (loaded := load(FILE, "pyproxy.toml")).settings, loaded.sources
    assert settings == Settings(
        downstream=DownstreamSettings(
            listen=("tcp:8080", "unix:/run/proxy.sock"), max_head_size=131072, head_timeout=5.0
        ),
        upstream=UpstreamSettings(connect_timeout=0.25),
        access=msgspec.structs.replace(
            Settings().access, clients=("loopback", "10.0.0.0/8"), connect_ports=(443, "8000-8999")
        ),
    )
    assert type(settings.downstream.head_timeout) is float
    assert {path: source for path, source in sources.items() if source != "default"} == {
        "downstream.listen": "pyproxy.toml:2",
        "downstream.max_head_size": "pyproxy.toml:3",
        "downstream.head_timeout": "pyproxy.toml:4",
        "upstream.connect_timeout": "pyproxy.toml:7",
        "access.clients": "pyproxy.toml:10",
        "access.connect_ports": "pyproxy.toml:11",
    }


def test_bytes_are_read_like_text() -> None:
    assert load(FILE.encode(), "pyproxy.toml").settings == load(FILE, "pyproxy.toml").settings
    windows = b"\xef\xbb\xbf" + FILE.replace("\n", "\r\n").encode()
    assert load(windows, "pyproxy.toml") == load(FILE, "pyproxy.toml")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[upstream]\nconect_timeout = 3", '2: upstream.conect_timeout: unknown key (did you mean "connect_timeout"?)'),
        (
            "[downstream]\nconnect_timeout = 3",
            '2: downstream.connect_timeout: unknown key (did you mean "upstream.connect_timeout"?)',
        ),
        ("[upsteam]\nmax_idle = 3", '1: upsteam: unknown table (did you mean "upstream"?)'),
        ("max_idle = 3", '1: max_idle: unknown key (did you mean "upstream.max_idle"?)'),
        ('[upstream]\n"a\\nb" = 3', r'2: upstream."a\nb": unknown key'),
        ("downstream = 3", "1: downstream: expected a table, [downstream], got 3"),
        ("[[log]]", "1: log: expected a table, [log], got a list"),
        (
            '[downstream]\nmax_fields = "many"',
            '2: downstream.max_fields: expected an integer from 1 to 65536, got "many"',
        ),
        ("[downstream]\nmax_fields = 0", "2: downstream.max_fields: expected an integer from 1 to 65536, got 0"),
        ("[downstream]\nmax_fields = 1.0", "2: downstream.max_fields: expected an integer from 1 to 65536, got 1.0"),
        ("[downstream]\nmax_fields = true", "2: downstream.max_fields: expected an integer from 1 to 65536, got true"),
        (
            "[downstream.max_fields]\na = 1",
            "1: downstream.max_fields: expected an integer from 1 to 65536, got a table",
        ),
        (
            "[upstream]\ntls_timeout = 0",
            (
                '2: upstream.tls_timeout: expected a duration such as 10 (seconds), "250ms" or "5m", from 1ms '
                "to 365d, got 0"
            ),
        ),
        (
            "[resolver]\nttl = -0.5",
            '2: resolver.ttl: expected a duration such as 10 (seconds), "250ms" or "5m", from 0s to 365d, got -0.5',
        ),
        (
            '[resolver]\nttl = "366d"',
            '2: resolver.ttl: expected a duration such as 10 (seconds), "250ms" or "5m", from 0s to 365d, got "366d"',
        ),
        (
            "[resolver]\nttl = 2026-01-01",
            '2: resolver.ttl: expected a duration such as 10 (seconds), "250ms" or "5m", from 0s to 365d, got a date',
        ),
        (
            "[downstream]\nmax_head_size = 8191",
            (
                '2: downstream.max_head_size: expected a size such as 65536 (bytes) or "64KiB", from 8KiB to '
                "16MiB, got 8191"
            ),
        ),
        (
            "[downstream]\nmax_target_size = 7999",
            (
                '2: downstream.max_target_size: expected a size such as 65536 (bytes) or "64KiB", '
                "from 8000B to 16MiB, got 7999"
            ),
        ),
        (
            '[downstream]\nmax_target_size = "65KiB"',
            (
                "2: downstream.max_target_size: 65KiB is more than downstream.max_head_size (64KiB), "
                "but a request's target is a part of its head"
            ),
        ),
        (
            '[downstream]\nmax_head_size = "8KiB"',
            (
                "2: downstream.max_head_size: 8KiB is less than downstream.max_target_size (16KiB), "
                "but a request's target is a part of its head"
            ),
        ),
        ("[tunnel]\nsplice = 1", "2: tunnel.splice: expected true or false, got 1"),
        (
            '[log]\nformat = "jsn"',
            '2: log.format: expected one of "squid", "combined", "json", got "jsn" (did you mean "json"?)',
        ),
        (
            '[log]\nlevel = "warning"',
            (
                '2: log.level: expected one of "debug", "info", "warn", "error", "critical", got "warning" '
                '(did you mean "warn"?)'
            ),
        ),
        ("[log]\naccess = 3", "2: log.access: expected a string, got 3"),
        (
            '[forwarding]\nvia = "a b"',
            '2: forwarding.via: expected a token of RFC 9110, host, or host:port, such as "proxy-1", got "a b"',
        ),
        (
            '[access]\nclients = "all"',
            '2: access.clients: expected a list such as ["loopback", "10.0.0.0/8"], got "all"',
        ),
        (
            '[access]\nclients = [\n"all",\n"10.0.0.0/40",\n]',
            (
                '4: access.clients[1]: expected "loopback", "private", "all", a network such as "10.0.0.0/8" '
                'or an address, got "10.0.0.0/40"'
            ),
        ),
        ("[access]\nconnect_ports = [443, 0]", "2: access.connect_ports[1]: expected a port from 1 to 65535, got 0"),
        (
            '[access]\nrefuse_destinations = ["all"]',
            (
                '2: access.refuse_destinations[0]: expected "link-local", "metadata", "unspecified", '
                '"multicast", "reserved", "private", "loopback", a network such as "10.0.0.0/8" or an '
                'address, got "all"'
            ),
        ),
        ("[downstream]\nlisten = []", "2: downstream.listen: expected at least one endpoint, got a list"),
        (
            '[downstream]\nlisten = ["tcp:80", "tcp:80"]',
            '2: downstream.listen[1]: expected each endpoint only once, got "tcp:80"',
        ),
        (
            '[downstream]\nlisten = ["8080"]',
            (
                '2: downstream.listen[0]: expected an endpoint such as "tcp:8080" or "unix:/run/proxy.sock", '
                'got "8080" (did you mean "tcp:8080"?)'
            ),
        ),
        ("[downstream", "1:12: not valid TOML: Expected ']' at the end of a table declaration"),
    ],
)
def test_each_problem_is_one_line_with_its_place(line: str, problem: str) -> None:
    assert problems(line) == ["pyproxy.toml:" + problem]


def test_all_problems_are_reported_together_in_the_order_of_the_file() -> None:
    text = """\
[upstream]
colour = 1
[access]
connect_ports = [0,
  443, "x"]
[downstream]
max_fields = 0
[upsteam]
"""
    assert problems(text, ("log.level", "loud"), ("downstream.max_target_size", "1MiB")) == [
        "pyproxy.toml:2: upstream.colour: unknown key",
        "pyproxy.toml:4: access.connect_ports[0]: expected a port from 1 to 65535, got 0",
        (
            'pyproxy.toml:5: access.connect_ports[2]: expected a port such as 443, a range such as "8000-8999" '
            'or "all", got "x"'
        ),
        "pyproxy.toml:7: downstream.max_fields: expected an integer from 1 to 65536, got 0",
        'pyproxy.toml:8: upsteam: unknown table (did you mean "upstream"?)',
        '--set: log.level: expected one of "debug", "info", "warn", "error", "critical", got "loud"',
        (
            "--set: downstream.max_target_size: 1MiB is more than downstream.max_head_size (64KiB), "
            "but a request's target is a part of its head"
        ),
    ]


def test_two_keys_are_not_compared_when_one_of_them_is_wrong_itself() -> None:
    text = '[downstream]\nmax_head_size = "1TiB"\nmax_target_size = "1MiB"'
    assert problems(text) == [
        (
            'pyproxy.toml:2: downstream.max_head_size: expected a size such as 65536 (bytes) or "64KiB", '
            'from 8KiB to 16MiB, got "1TiB"'
        )
    ]


def test_a_file_of_nothing_but_unknown_keys_is_answered_whole() -> None:
    lines = problems("[log]\n" + "".join(f"levl{n} = 1\n" for n in range(5000)))
    assert len(lines) == 5000
    assert lines[0] == 'pyproxy.toml:2: log.levl0: unknown key (did you mean "level"?)'
    assert lines[99] == 'pyproxy.toml:101: log.levl99: unknown key (did you mean "level"?)'
    assert lines[100] == "pyproxy.toml:102: log.levl100: unknown key"


@pytest.mark.parametrize(
    ("override", "value"),
    [
        (("downstream.max_fields", "64"), 64),
        (("downstream.max_fields", " 0x40 # hexadecimal"), 64),
        ((" downstream.max_fields ", "64"), 64),
        (("upstream.connect_timeout", "3"), 3.0),
        (("upstream.connect_timeout", "3s"), 3.0),
        (("upstream.connect_timeout", '"3s"'), 3.0),
        (("upstream.max_head_size", "1MiB"), 1048576),
        (("tunnel.splice", "false"), False),
        (("log.level", "debug"), "debug"),
        (("log.access", ""), ""),
        (("log.access", "-"), "-"),
        (("log.access", "'off'"), "off"),
        (("log.access", "/var/log/a b.log"), "/var/log/a b.log"),
        (("log.access", "2026-01-01"), "2026-01-01"),
        (("forwarding.via", "1234"), "1234"),
        (("access.clients", "all"), ("all",)),
        (("access.clients", "10.0.0.0/8"), ("10.0.0.0/8",)),
        (("access.clients", '["loopback", "10.0.0.0/8"]'), ("loopback", "10.0.0.0/8")),
        (("access.clients", "[]"), ()),
        (("access.connect_ports", "8443"), (8443,)),
        (("access.connect_ports", "8000-8999"), ("8000-8999",)),
        (("access.connect_ports", "[443, '8000-8999']"), (443, "8000-8999")),
        (("downstream.listen", "tcp:8080"), ("tcp:8080",)),
    ],
)
def test_the_command_line_wins_over_the_file(override: tuple[str, str], value: object) -> None:
    path = override[0].strip()
    table, _, name = path.partition(".")
    key = keys()[path]
    loaded = load(f"[{table}]\n{name} = {key.kind.spell(key.default)}\n", "pyproxy.toml", [override])
    read = getattr(getattr(loaded.settings, table), name)
    assert read == value
    assert type(read) is type(value)
    assert loaded.sources[path] == "--set"


def test_the_last_of_several_wins() -> None:
    loaded = load("", "defaults", [("log.level", "debug"), ("log.format", "json"), ("log.level", "error")])
    assert (loaded.settings.log.level, loaded.settings.log.format) == ("error", "json")


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        (("downstream.max_feilds", "3"), 'downstream.max_feilds: unknown key (did you mean "max_fields"?)'),
        (("max_idle", "3"), 'max_idle: unknown key (did you mean "upstream.max_idle"?)'),
        (("upstream", "3"), 'upstream: a table: name one of its keys, such as "upstream.max_connections"'),
        (("upstream.", "3"), 'upstream: a table: name one of its keys, such as "upstream.max_connections"'),
        (("upstream.max_idle.x", "3"), 'upstream."max_idle.x": unknown key (did you mean "max_idle"?)'),
        (("", "3"), '"": unknown key'),
        (("log.\udcff", "3"), r'log."\udcff": unknown key'),
        (
            ("downstream.max_fields", "many"),
            'downstream.max_fields: expected an integer from 1 to 65536, got "many"',
        ),
        (
            ("downstream.max_fields", "1\nx = 2"),
            r'downstream.max_fields: expected an integer from 1 to 65536, got "1\nx = 2"',
        ),
        (("tunnel.splice", "yes"), 'tunnel.splice: expected true or false, got "yes"'),
        (("log.access", "\udcff"), r'log.access: expected a path of printable characters, got "\udcff"'),
        (("access.connect_ports", "[443, 0]"), "access.connect_ports[1]: expected a port from 1 to 65535, got 0"),
        (("downstream.listen", "[]"), "downstream.listen: expected at least one endpoint, got a list"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_said_to_be_there(override: tuple[str, str], problem: str) -> None:
    assert problems("", override) == ["--set: " + problem]


def test_a_good_override_does_not_hide_a_bad_file() -> None:
    lines = problems("[log]\nlevel = 3", ("log.level", "info"))
    assert lines == ['pyproxy.toml:2: log.level: expected one of "debug", "info", "warn", "error", "critical", got 3']


def test_an_override_can_make_two_keys_fit() -> None:
    loaded = load('[downstream]\nmax_target_size = "1MiB"', "a.toml", [("downstream.max_head_size", "2MiB")])
    assert (loaded.settings.downstream.max_target_size, loaded.settings.downstream.max_head_size) == (1 << 20, 2 << 20)


NAMES = st.one_of(
    st.sampled_from([name for path in keys() for name in path.split(".")]), st.text("a.\"'[] é\n", max_size=3)
)
SCALARS = st.one_of(
    st.integers().map(str),
    st.floats().map(repr),
    st.sampled_from(["true", "1979-05-27", "07:32:00", "0x" + "f" * 4000, "9" * 5000, "1e999", "-inf", "nan"]),
    st.text(st.characters(codec="utf-8"), max_size=8).map(lambda text: f'"{text}"'),
    st.sampled_from(['"10s"', '"64KiB"', '"loopback"', '"tcp:80"', '"8-9"', '"10.0.0.1/8"', "'''a\nb'''"]),
)
TOML_VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda all: "[" + ",\n".join(all) + "]"),
        st.tuples(NAMES, inner).map(lambda pair: f"{{{pair[0]} = {pair[1]}}}"),
    ),
    max_leaves=6,
)
FILES = st.lists(
    st.one_of(
        st.sampled_from([f"[{table}]" for table in tables()]),
        NAMES.map("[{}]".format),
        NAMES.map("[[{}]]".format),
        st.tuples(st.one_of(NAMES, st.sampled_from([*keys()])), TOML_VALUES).map(" = ".join),
    ),
    max_size=8,
).map("\n".join)
OVERRIDES = st.lists(
    st.tuples(st.one_of(st.sampled_from([*keys()]), st.text()), st.one_of(TOML_VALUES, st.text())), max_size=2
)


def outcome(content: str | bytes, overrides: list[tuple[str, str]]) -> Loaded | None:
    """What was loaded; None for a SettingsError that can be printed. Any other exception fails the test."""
    try:
        return load(content, "pyproxy.toml", overrides)
    except SettingsError as error:
        lines = str(error).split("\n")
    for line in lines:
        assert line.isprintable()
        assert line.startswith(("pyproxy.toml", "--set: "))
    return None


@given(st.one_of(FILES, FILES.map(str.encode), st.text(), st.binary()), OVERRIDES)
def test_nothing_does_worse_than_to_be_refused(content: str | bytes, overrides: list[tuple[str, str]]) -> None:
    loaded = outcome(content, overrides)
    if loaded is not None:
        assert msgspec.convert(msgspec.to_builtins(loaded.settings), Settings) == loaded.settings


@given(st.integers(0, len(FILE)), st.integers(0, 20), st.text(max_size=5), OVERRIDES)
def test_no_edit_of_a_file_does_worse_than_to_be_refused(
    start: int, length: int, insert: str, overrides: list[tuple[str, str]]
) -> None:
    outcome(FILE[:start] + insert + FILE[start + length :], overrides)


@pytest.mark.parametrize("opening", ["[", "{a=", "[{a=[", '[1,"x",'])
@pytest.mark.parametrize("depth", [10, 100, 300, 330, 490, 1000, 100_000])
def test_no_depth_does_worse_than_to_be_refused(opening: str, depth: int) -> None:
    closing = "".join({"[": "]", "{": "}"}.get(c, "") for c in reversed(opening))
    for key in ("log.level", "access.clients", "x"):
        value = opening * depth + "1" + closing * depth
        assert outcome(f"{key} = {value}", [(key, value)]) is None


def test_a_key_that_toml_repeats_is_refused() -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads("[log]\nlevel='info'\n[log]\n")
    assert problems("[log]\nlevel='info'\n[log]\n") == [
        "pyproxy.toml:3:5: not valid TOML: Cannot declare ('log',) twice"
    ]
