"""Hosts that are addresses, in all their spellings."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.upstream.literals import ResolvedAddress, canonical, read_literal


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.1.", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0X7F.0x1", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("10.258", "10.0.1.2"),
        ("0", "0.0.0.0"),
        ("255.255.255.255", "255.255.255.255"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::ffff:7f00:1", "127.0.0.1"),
        ("[::FFFF:7F00:0001]", "127.0.0.1"),
        ("64:ff9b::7f00:1", "64:ff9b::7f00:1"),
    ],
)
def test_every_spelling_leads_to_the_canonical_address(host: str, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    assert read_literal(host) == ResolvedAddress(address, family)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "localhost",
        "a.example",
        "1.2.3.4.5",
        "1.2.3.256",
        "4294967296",
        "0x",
        "08.0.0.1",
        "1.2.3.4 x",
        "1.2.3.4\n",
        "1.2.3.4\0",
        "1..2",
        "1.2.3.4..",
        "-1",
        "+1",
        "1e3",
        "deadbeef",
        "0xg",
        "1" * 100,
        "1::2::3",
        "::1%",
        "::1%nosuchinterface",
        "::1\0",
        "::g",
        ":" * 1000,
        "::١",
        "a:b",
    ],
)
def test_everything_else_is_a_name(host: str) -> None:
    assert read_literal(host) is None


def test_a_zone_becomes_the_scope() -> None:
    index, name = socket.if_nameindex()[0]
    assert read_literal(f"fe80::1%{name}") == ResolvedAddress("fe80::1", socket.AF_INET6, index)
    assert read_literal(f"[fe80::1%{index}]") == ResolvedAddress("fe80::1", socket.AF_INET6, index)


def test_what_the_socket_calls_take() -> None:
    assert ResolvedAddress("127.0.0.1", socket.AF_INET).at(80) == ("127.0.0.1", 80)
    assert ResolvedAddress("::1", socket.AF_INET6).at(80) == ("::1", 80)
    assert ResolvedAddress("fe80::1", socket.AF_INET6, 3).at(80) == ("fe80::1", 80, 0, 3)


@given(st.text(max_size=50))
def test_no_text_raises_and_what_is_read_is_canonical(text: str) -> None:
    literal = read_literal(text)
    if literal is not None:
        assert canonical(*literal) == literal


@given(st.ip_addresses())
def test_a_canonical_address_is_itself(address: object) -> None:
    literal = read_literal(str(address))
    assert literal is not None
    assert literal.address == str(address) or str(address).startswith("::")
