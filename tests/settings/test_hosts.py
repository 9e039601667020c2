"""Hosts as the operator writes them."""

from __future__ import annotations

import pytest

from twistedproxy.settings.hosts import check_host
from twistedproxy.settings.problems import Unfit

NAME = 'a name such as "example.com", ".example.com" for all below it too, a glob or an address'


@pytest.mark.parametrize(
    "text",
    [
        "example.com",
        ".example.com",
        "*.example.com",
        "*",
        "a?b",
        "192.0.2.1",
        "2001:db8::1",
        "defaults",
        "xn--a-0ha.test",
    ],
)
def test_good(text: str) -> None:
    check_host(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", NAME),
        ("a..b", NAME),
        ("a b", NAME),
        ("a" * 64, NAME),
        (".".join(["a" * 60] * 5), NAME),
        ("https://example.com", "a host without scheme, port and path"),
        ("example.com/a", "a host without scheme, port and path"),
        ("example.com:443", "a host without a port"),
        ("[2001:db8::1]", "a host without a port"),
        ("bücher.example", "a host as DNS has it, in ASCII"),
        ("\ud800", "a host as DNS has it, in ASCII"),
    ],
)
def test_bad(text: str, why: str) -> None:
    with pytest.raises(Unfit) as raised:
        check_host(text)
    assert raised.value.expected == why


def test_what_an_international_name_is_in_ascii() -> None:
    with pytest.raises(Unfit) as raised:
        check_host("Bücher.example")
    assert raised.value.hint == '"xn--bcher-kva.example"'
