"""Address sets as they stand in the file."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.settings.networks import (
    CLIENT_SETS,
    DESTINATION_SETS,
    check_network,
    check_own_address,
    only_loopback,
    reaches_everybody,
)
from twistedproxy.settings.problems import Unfit


@pytest.mark.parametrize(
    "text",
    ["loopback", "private", "all", "10.0.0.0/8", "192.168.1.5", "::1", "fe80::/10", "0.0.0.0/0", "10.0.0.0/255.0.0.0"],
)
def test_words_networks_and_addresses_are_accepted(text: str) -> None:
    check_network(text, CLIENT_SETS)


@pytest.mark.parametrize("text", sorted(DESTINATION_SETS))
def test_every_word_for_destinations_is_accepted(text: str) -> None:
    check_network(text, DESTINATION_SETS)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("privat", 'did you mean "private"?'),
        ("Loopback", 'did you mean "loopback"?'),
        ("everyone", ""),
        ("10.0.0.0/33", ""),
        ("10.0.0", ""),
        ("example.com", ""),
        ("", ""),
    ],
)
def test_other_texts_are_refused_with_what_could_stand_there(text: str, hint: str) -> None:
    with pytest.raises(Unfit) as refused:
        check_network(text, CLIENT_SETS)
    assert refused.value.expected == '"loopback", "private", "all", a network such as "10.0.0.0/8" or an address'
    assert refused.value.hint == hint


def test_a_network_with_bits_of_a_host_is_refused_with_both_readings() -> None:
    with pytest.raises(Unfit) as refused:
        check_network("10.1.2.3/8", CLIENT_SETS)
    assert refused.value.expected == "a network without bits beyond its prefix"
    assert refused.value.hint == '"10.0.0.0/8", or "10.1.2.3" for the one address'


def test_an_address_with_a_zone_is_refused() -> None:
    with pytest.raises(Unfit, match="an address without a zone"):
        check_network("fe80::1%eth0", CLIENT_SETS)


@given(st.text())
def test_no_text_does_worse_than_to_be_refused(text: str) -> None:
    with suppress(Unfit):
        check_network(text, CLIENT_SETS)


@pytest.mark.parametrize(
    ("clients", "everybody", "local"),
    [
        ((), False, True),
        (("loopback",), False, True),
        (("127.0.0.1", "::1", "127.0.0.0/8"), False, True),
        (("loopback", "10.0.0.0/8"), False, False),
        (("private",), False, False),
        (("all",), True, False),
        (("0.0.0.0/0",), True, False),
        (("::/0",), True, False),
        (("0.0.0.0/1", "128.0.0.0/1"), True, False),
        (("0.0.0.0/1", "8000::/1"), False, False),
    ],
)
def test_how_far_a_list_of_clients_reaches(clients: tuple[str, ...], everybody: bool, local: bool) -> None:
    assert reaches_everybody(clients) is everybody
    assert only_loopback(clients) is local


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "127.0.0.1", "::1"])
def test_own_address(address: str) -> None:
    check_own_address(address)


@pytest.mark.parametrize(
    "address", ["", "0.0.0.0", "::", "192.0.2.0/24", "192.0.2.1:80", "fe80::1%eth0", "ff02::1", "a.test", 1]
)
def test_no_own_address(address: object) -> None:
    with pytest.raises(Unfit):
        check_own_address(address)
