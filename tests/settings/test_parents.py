"""Other proxies and routes: what may stand there, what it means, and where a mistake is said to be."""

from __future__ import annotations

from typing import Any

import pytest

from twistedproxy.settings.load import SettingsError, load
from twistedproxy.settings.parents import ParentAddress, check_route, is_exposed, read_parent
from twistedproxy.settings.problems import Unfit


@pytest.mark.parametrize(
    ("text", "parent", "spelled"),
    [
        ("http://proxy.example:3128", ParentAddress("http", "proxy.example", 3128), "http://proxy.example:3128"),
        ("HTTP://Proxy.Example.:80", ParentAddress("http", "proxy.example.", 80), "http://proxy.example.:80"),
        ("https://a-b_c:443", ParentAddress("https", "a-b_c", 443), "https://a-b_c:443"),
        ("socks5://192.0.2.1:1080", ParentAddress("socks5", "192.0.2.1", 1080), "socks5://192.0.2.1:1080"),
        (
            "socks5://[2001:DB8:0::1]:65535",
            ParentAddress("socks5", "2001:db8::1", 65535),
            "socks5://[2001:db8::1]:65535",
        ),
    ],
)
def test_parents(text: str, parent: ParentAddress, spelled: str) -> None:
    assert read_parent(text) == parent
    assert str(parent) == spelled
    assert read_parent(spelled) == parent


@pytest.mark.parametrize(
    "wrong",
    [
        3128,
        "",
        "proxy.example:3128",
        "http://proxy.example",
        "http://proxy.example:",
        "http://proxy.example:0",
        "http://proxy.example:65536",
        "http://proxy.example:3128/path",
        "http://proxy.example:3128?",
        "http://:3128",
        "http://[192.0.2.1]:3128",
        "http://2001:db8::1:3128",
        "http://[2001:db8::x]:3128",
        "http://1.2.3:3128",
        "http://2130706433:3128",
        "http://a..b:3128",
        "http://-a:3128",
        f"http://{'a' * 64}:3128",
        f"http://{'a.' * 127}aa:3128",
        "http://a b:3128",
        "http://straße.example:3128",
        "http://a:3128\n",
        "ftp://a:21",
        "socks4://a:1080",
    ],
)
def test_what_is_none(wrong: object) -> None:
    with pytest.raises(Unfit):
        read_parent(wrong)


@pytest.mark.parametrize(
    ("text", "exposed"),
    [
        ("http://proxy.example:80", True),
        ("socks5://192.0.2.1:1080", True),
        ("https://proxy.example:443", False),
        ("http://127.0.0.2:80", False),
        ("socks5://[::1]:1080", False),
        ("http://localhost:80", False),
        ("http://localhost.example:80", True),
    ],
)
def test_what_can_be_read_on_the_way(text: str, exposed: bool) -> None:
    assert is_exposed(read_parent(text)) is exposed


ROUTE: dict[str, Any] = {"name": "office", "parents": ["http://a:1"]}


@pytest.mark.parametrize(
    ("changes", "within", "expected"),
    [
        ({"nam": 1}, "nam", ""),
        ({"name": "direct"}, "name", 'another name than "direct", which stands for no parent at all'),
        ({"name": "a b"}, "name", "a name of letters, digits, dots, dashes and underscores"),
        ({"name": 1}, "name", "a name of letters, digits, dots, dashes and underscores"),
        ({"parents": []}, "parents", "a list of 1 to 16 other proxies"),
        ({"parents": "http://a:1"}, "parents", "a list of 1 to 16 other proxies"),
        ({"parents": [f"http://a:{port}" for port in range(1, 18)]}, "parents", "a list of 1 to 16 other proxies"),
        ({"parents": ["http://a:1", "HTTP://A:1"]}, "parents[1]", "each parent only once"),
        (
            {"parents": ["http://a:1", "https://a:1", "socks5://a:1"]},
            "parents[2]",
            "parents that either all speak HTTP or all speak SOCKS, or a route for each",
        ),
        (
            {"parents": ["socks5://a:1", "socks5://a:2", "http://a:1"]},
            "parents[2]",
            "parents that either all speak HTTP or all speak SOCKS, or a route for each",
        ),
        ({"user": "a"}, "", "the key password_file too, which belongs to user"),
        ({"password_file": "/a"}, "", "the key user too, which belongs to password_file"),
        ({"user": "a:b", "password_file": "/a"}, "user", "a name without a colon"),
        ({"user": "a\n", "password_file": "/a"}, "user", "a name of printable characters, of 255 bytes at most"),
        ({"user": "", "password_file": "/a"}, "user", "a name of printable characters, of 255 bytes at most"),
        ({"user": "ä" * 128, "password_file": "/a"}, "user", "a name of printable characters, of 255 bytes at most"),
        (
            {"user": "a", "password_file": "a"},
            "password_file",
            'an absolute path, or one that begins with "$CREDENTIALS_DIRECTORY/"',
        ),
    ],
)
def test_what_a_route_is_not(changes: dict[str, Any], within: str, expected: str) -> None:
    with pytest.raises(Unfit) as unfit:
        check_route({**ROUTE, **changes})
    assert (unfit.value.within, unfit.value.expected) == (within, expected)


@pytest.mark.parametrize("missing", ["name", "parents"])
def test_what_a_route_needs(missing: str) -> None:
    with pytest.raises(Unfit) as unfit:
        check_route({name: value for name, value in ROUTE.items() if name != missing})
    assert unfit.value.expected == f"the key {missing} too"


@pytest.mark.parametrize(
    "good",
    [
        ROUTE,
        {**ROUTE, "parents": ["http://a:1", "https://a:1", "http://b:1"]},
        {**ROUTE, "user": "ä" * 127, "password_file": "$CREDENTIALS_DIRECTORY/a"},
        {"name": "a.b-c_D", "parents": ["socks5://[::1]:1", "socks5://b:1"]},
    ],
)
def test_routes(good: dict[str, Any]) -> None:
    check_route(good)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            '[[routes.tables]]\nname = "a"\nparents = ["http://a:1",\n"http://b:1/"]\n',
            (
                "a.toml:3: routes.tables[0].parents[1]: expected another proxy such as "
                '"http://proxy.example:3128" or "socks5://192.0.2.1:1080", got "http://b:1/" (did you mean "http://b:1"?)'
            ),
        ),
        (
            '[[routes.tables]]\nname = "a"\nparents = ["socks5h://a:1"]\n',
            (
                "a.toml:3: routes.tables[0].parents[0]: expected one of http://, https://, socks5://, "
                'got "socks5h://a:1" (did you mean "socks5://a:1"?)'
            ),
        ),
        (
            # The password is not repeated.
            '[[routes.tables]]\nname = "a"\nparents = ["http://me:secret@a:1"]\n',
            (
                "a.toml:3: routes.tables[0].parents[0]: expected another proxy such as "
                '"http://proxy.example:3128" or "socks5://192.0.2.1:1080"; name and password go into user '
                "and password_file"
            ),
        ),
    ],
)
def test_what_is_said_of_a_mistake(text: str, problem: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(text, "a.toml")
    assert str(error.value) == problem
