"""The kinds of value: what each accepts, what it is called, and how it is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from twistedproxy.settings.kinds import (
    KINDS,
    choice,
    choices,
    count,
    duration,
    expectation,
    flag,
    kind_of,
    limits,
    nearest_choice,
    size,
    special,
)
from twistedproxy.settings.problems import Unfit


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        (count("", least=1, most=9), "an integer from 1 to 9"),
        (
            duration("", least=0.01, most=3600),
            'a duration such as 10 (seconds), "250ms" or "5m", from 10ms to 1h',
        ),
        (size("", least=8000, most=65536), 'a size such as 65536 (bytes) or "64KiB", from 8000B to 64KiB'),
        (flag(""), "true or false"),
        (choice("", ("squid", "json")), 'one of "squid", "json"'),
        (special("pseudonym", "", examples=()), "a string"),
        (special("ports", "", examples=()), 'a list of ports such as [443, "8000-8999"]'),
    ],
)
def test_what_is_expected_is_said_in_words(meta: Meta, expected: str) -> None:
    assert expectation(meta) == expected


def test_limits_are_said_in_the_units_of_the_kind() -> None:
    assert limits(duration("", least=0, most=86400)) == "from 0s to 1d"
    assert limits(flag("")) == ""


def test_the_nearest_choice() -> None:
    meta = choice("", ("debug", "info", "warn"))
    assert choices(meta) == ("debug", "info", "warn")
    assert nearest_choice(meta, "WARNING") == 'did you mean "warn"?'
    assert nearest_choice(meta, "loud") == ""
    assert nearest_choice(meta, 3) == ""
    assert nearest_choice(flag(""), "true") == ""


@pytest.mark.parametrize(
    "via",
    [
        "",
        "proxy-1",
        "proxy.example",
        "proxy.example:8080",
        "10.0.0.1:3128",
        "[::1]",
        "[2001:db8::1]:8080",
        "a!#$%&'*+.^_`|~",
    ],
)
def test_a_pseudonym_is_a_token_or_a_host(via: str) -> None:
    assert KINDS["pseudonym"].read(via) == via


@pytest.mark.parametrize(
    ("via", "expected"),
    [
        ("a b", 'a token of RFC 9110, host, or host:port, such as "proxy-1"'),
        ("a,b", 'a token of RFC 9110, host, or host:port, such as "proxy-1"'),
        ("a\r\nX: y", 'a token of RFC 9110, host, or host:port, such as "proxy-1"'),
        ("proxy\n", 'a token of RFC 9110, host, or host:port, such as "proxy-1"'),
        ("pröxy", 'a token of RFC 9110, host, or host:port, such as "proxy-1"'),
        ("(proxy)", 'a token of RFC 9110, host, or host:port, such as "proxy-1"'),
        ("a:", 'a token of RFC 9110, host, or host:port, such as "proxy-1"'),
        (":80", 'a token of RFC 9110, host, or host:port, such as "proxy-1"'),
        ("a:0", 'a token of RFC 9110, host, or host:port, such as "proxy-1"'),
        ("a:65536", 'a token of RFC 9110, host, or host:port, such as "proxy-1"'),
        ("a:80:80", 'a token of RFC 9110, host, or host:port, such as "proxy-1"'),
        ("a" * 256, 'a token of RFC 9110, host, or host:port, such as "proxy-1"'),
        ("[::g]", 'a token of RFC 9110, host, or host:port, such as "proxy-1"'),
        ("[1::2::3]", "an IPv6 address between the brackets"),
        (3, ""),
    ],
)
def test_other_pseudonyms_are_refused(via: object, expected: str) -> None:
    with pytest.raises(Unfit) as refused:
        KINDS["pseudonym"].read(via)
    assert refused.value.expected == expected


@pytest.mark.parametrize("path", ["", "-", "off", "access.log", "/var/log/my logs/accès.log"])
def test_a_path_for_the_log(path: str) -> None:
    assert KINDS["log path"].read(path) == path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a\0b", "a path of printable characters"),
        ("a\nb", "a path of printable characters"),
        ("\udcff", "a path of printable characters"),
        (" off", "a path that neither begins nor ends with a space"),
        ("off ", "a path that neither begins nor ends with a space"),
        (7, ""),
        (["off"], ""),
    ],
)
def test_other_paths_are_refused(path: object, expected: str) -> None:
    with pytest.raises(Unfit) as refused:
        KINDS["log path"].read(path)
    assert refused.value.expected == expected


@pytest.mark.parametrize("path", ["", "/etc/ca.pem", "/etc/my ca/é.pem"])
def test_a_path_for_a_file(path: str) -> None:
    assert KINDS["file path"].read(path) == path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("ca.pem", "an absolute path, or nothing"),
        ("~/ca.pem", "an absolute path, or nothing"),
        ("/etc/\n", "a path of printable characters that does not end with a space"),
        ("/etc/ca.pem ", "a path of printable characters that does not end with a space"),
        ("/etc/", "a path that does not end with a slash"),
        (["/etc/ca.pem"], ""),
    ],
)
def test_other_paths_for_a_file_are_refused(path: object, expected: str) -> None:
    with pytest.raises(Unfit) as refused:
        KINDS["file path"].read(path)
    assert refused.value.expected == expected


@pytest.mark.parametrize("path", ["", "off", "/run/proxy.sock", "/run/my proxy/é", "/" + "x" * 106])
def test_a_path_for_a_socket(path: str) -> None:
    assert KINDS["socket path"].read(path) == path


TOO_LONG = "a path of 107 bytes at most: a Unix socket cannot have a longer one"
UNPRINTABLE = "a path of printable characters that does not end with a space"


@pytest.mark.parametrize(
    ("path", "expected", "hint"),
    [
        ("control.sock", 'an absolute path, "off", or nothing', ""),
        ("./control.sock", 'an absolute path, "off", or nothing', ""),
        (" /run/x", 'an absolute path, "off", or nothing', ""),
        ("Off", 'an absolute path, "off", or nothing', 'did you mean "off"?'),
        ("/run/x ", UNPRINTABLE, ""),
        ("/run/\0", UNPRINTABLE, ""),
        ("/run/\udcff", UNPRINTABLE, ""),
        ("/run/", "a path that does not end with a slash", ""),
        ("/" + "x" * 107, TOO_LONG, ""),
        ("/" + "é" * 54, TOO_LONG, ""),
        (False, "", ""),
        (["off"], "", ""),
    ],
)
def test_other_paths_for_a_socket_are_refused(path: object, expected: str, hint: str) -> None:
    with pytest.raises(Unfit) as refused:
        KINDS["socket path"].read(path)
    assert (refused.value.expected, refused.value.hint) == (expected, hint)


@pytest.mark.parametrize("workers", [1, 2, 64, "auto"])
def test_a_number_of_workers(workers: int | str) -> None:
    assert KINDS["workers"].read(workers) == workers


@pytest.mark.parametrize(
    ("workers", "hint"),
    [
        (0, ""),
        (-1, ""),
        (65, ""),
        (True, ""),
        (2.0, ""),
        ("4", "a number is written without quotes"),
        ("AUTO", 'did you mean "auto"?'),
        ("all", ""),
        ("", ""),
        (["auto"], ""),
    ],
)
def test_other_numbers_of_workers_are_refused(workers: object, hint: str) -> None:
    with pytest.raises(Unfit) as refused:
        KINDS["workers"].read(workers)
    assert (refused.value.expected, refused.value.hint) == ("", hint)


@pytest.mark.parametrize("name", ["endpoints", "endpoints or none", "ports", "hosts", "clients", "destinations"])
def test_a_list_becomes_a_tuple_and_nothing_else_is_one(name: str) -> None:
    assert KINDS[name].read(["x", "y"]) == ("x", "y")
    for value in ("tcp:80", 443, {"a": 1}, None):
        with pytest.raises(Unfit) as refused:
            KINDS[name].read(value)
        assert refused.value.expected == ""


def test_only_the_list_of_endpoints_needs_an_entry() -> None:
    with pytest.raises(Unfit, match="at least one endpoint"):
        KINDS["endpoints"].read([])
    for name in ("endpoints or none", "ports", "hosts", "clients", "destinations"):
        assert KINDS[name].read([]) == ()


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("endpoints", 8080),
        ("endpoints", "8080"),
        ("endpoints or none", "9180"),
        ("ports", True),
        ("ports", 4.43),
        ("ports", "https"),
        ("clients", 10),
        ("clients", "metadata"),
        ("destinations", "all"),
        ("destinations", ["private"]),
    ],
)
def test_entries_of_the_wrong_kind_are_refused(name: str, entry: object) -> None:
    each = KINDS[name].each
    assert each is not None
    with pytest.raises(Unfit) as refused:
        each(entry)
    assert refused.value.expected


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("duration", 0.25, '"250ms"'),
        ("duration", 0.0, '"0s"'),
        ("duration", 1.5, "1.5"),
        ("duration", 1e-7, "1e-07"),
        ("size", 65536, '"64KiB"'),
        ("size", 1000, "1000"),
        ("size", 0, "0"),
        ("count", 3, "3"),
        ("flag", True, "true"),
        ("ports", (443, "8000-8999"), '[443, "8000-8999"]'),
    ],
)
def test_a_value_is_written_as_an_operator_would(name: str, value: object, text: str) -> None:
    assert KINDS[name].spell(value) == text


@given(st.floats(0, 1e12))
def test_a_written_duration_reads_back(seconds: float) -> None:
    text = KINDS["duration"].spell(seconds)
    assert KINDS["duration"].read(text.strip('"') if text.startswith('"') else float(text)) == seconds


def test_a_kind_is_found_by_its_name() -> None:
    assert kind_of(flag("")) is KINDS["flag"]
    assert all(kind.name == name for name, kind in KINDS.items())
