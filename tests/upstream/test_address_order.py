"""The order of a name's addresses (RFC 6724 section 6)."""

from __future__ import annotations

import socket

import pytest

from twistedproxy.upstream.address_order import in_order, own_address_towards
from twistedproxy.upstream.literals import ResolvedAddress


def address(text: str) -> ResolvedAddress:
    return ResolvedAddress(text, socket.AF_INET6 if ":" in text else socket.AF_INET)


NATIVE = {"2001:db8:9::1": "2001:db8::2", "192.0.2.1": "192.0.2.9", "192.0.2.2": "192.0.2.9"}


@pytest.mark.parametrize(
    ("own", "given", "expected"),
    [
        (NATIVE, ["192.0.2.1", "2001:db8:9::1", "192.0.2.2"], ["2001:db8:9::1", "192.0.2.1", "192.0.2.2"]),
        # Rule 1: what cannot be reached goes last.
        ({"192.0.2.1": "192.0.2.9"}, ["2001:db8:9::1", "192.0.2.1"], ["192.0.2.1", "2001:db8:9::1"]),
        ({"2001:db8:9::1": "2001:db8::2"}, ["192.0.2.1", "2001:db8:9::1"], ["2001:db8:9::1", "192.0.2.1"]),
        ({}, ["192.0.2.1", "2001:db8:9::1"], ["2001:db8:9::1", "192.0.2.1"]),
        # Rule 5: only a unique local address of our own towards the whole of the Internet.
        (
            {"2001:db8:9::1": "fd00::2", "192.0.2.1": "192.0.2.9"},
            ["2001:db8:9::1", "192.0.2.1"],
            ["192.0.2.1", "2001:db8:9::1"],
        ),
        # Rule 6: tunnels, and unique local addresses, behind IPv4.
        ({"2002::1": "2002::2", "192.0.2.1": "192.0.2.9"}, ["2002::1", "192.0.2.1"], ["192.0.2.1", "2002::1"]),
        ({"fd00::1": "fd00::2", "192.0.2.1": "192.0.2.9"}, ["fd00::1", "192.0.2.1"], ["192.0.2.1", "fd00::1"]),
        ({"::1": "::1", "127.0.0.1": "127.0.0.1"}, ["127.0.0.1", "::1"], ["::1", "127.0.0.1"]),
        # Within one family nothing is moved.
        ({"192.0.2.2": "192.0.2.9"}, ["192.0.2.1", "192.0.2.2"], ["192.0.2.1", "192.0.2.2"]),
        ({}, [], []),
    ],
)
def test_order(own: dict[str, str], given: list[str], expected: list[str]) -> None:
    ordered = in_order(map(address, given), lambda towards: own.get(towards.address, ""))
    assert [one.address for one in ordered] == expected


def test_the_system_is_asked_once_for_each_kind() -> None:
    asked: list[str] = []

    def own(towards: ResolvedAddress) -> str:
        asked.append(towards.address)
        return ""

    in_order([address(f"192.0.2.{number}") for number in range(8)] + [address("2001:db8::1")], own)
    assert asked == ["192.0.2.0", "2001:db8::1"]


def test_what_the_system_says() -> None:
    assert own_address_towards(address("127.0.0.9")) == "127.0.0.1"
    assert own_address_towards(address("255.255.255.255")) == ""
