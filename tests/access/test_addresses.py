"""Address sets: what is in them, in every spelling of an address."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.access.addresses import NAMED_SETS, AddressSet, addresses_within, read_address, with_port

NAMES = ["loopback", "private", "link-local", "metadata", "unspecified", "multicast", "reserved"]


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("127.0.0.1", ["loopback"]),
        ("127.255.255.255", ["loopback"]),
        ("126.255.255.255", []),
        ("128.0.0.0", []),
        ("::1", ["loopback"]),
        ("10.0.0.0", ["private"]),
        ("172.15.255.255", []),
        ("172.16.0.1", ["private"]),
        ("172.31.255.255", ["private"]),
        ("172.32.0.0", []),
        ("192.168.1.1", ["private"]),
        ("100.64.0.1", ["private"]),
        ("100.128.0.0", []),
        ("fd12:3456::1", ["private"]),
        ("fec0::1", ["private"]),
        ("169.254.0.1", ["link-local"]),
        ("fe80::1", ["link-local"]),
        ("febf:ffff::1", ["link-local"]),
        ("169.254.169.254", ["link-local", "metadata"]),
        ("169.254.170.2", ["link-local", "metadata"]),
        ("fd00:ec2::254", ["private", "metadata"]),
        ("fd20:ce::254", ["private", "metadata"]),
        ("100.100.100.200", ["private", "metadata"]),
        ("168.63.129.16", ["metadata"]),
        ("168.63.129.17", []),
        ("192.0.0.192", ["metadata", "reserved"]),
        ("0.0.0.0", ["unspecified"]),
        ("0.255.255.255", ["unspecified"]),
        ("::", ["unspecified"]),
        ("224.0.0.1", ["multicast"]),
        ("239.255.255.255", ["multicast"]),
        ("ff02::1", ["multicast"]),
        ("240.0.0.0", ["reserved"]),
        ("255.255.255.255", ["reserved"]),
        ("192.0.2.1", ["reserved"]),
        ("198.51.100.1", ["reserved"]),
        ("203.0.113.1", ["reserved"]),
        ("198.19.255.255", ["reserved"]),
        ("198.20.0.0", []),
        ("2001:db8::1", ["reserved"]),
        ("3fff:fff:ffff::1", ["reserved"]),
        ("100::1", ["reserved"]),
        ("1.1.1.1", []),
        ("2606:4700:4700::1111", []),
    ],
)
def test_the_named_sets(address: str, names: list[str]) -> None:
    assert AddressSet.of(NAMES).entries_with(address) == tuple(names)
    assert [name for name in NAMES if address in AddressSet.of([name])] == names
    assert address in AddressSet.of(["all"])


@pytest.mark.parametrize(
    "spelling",
    [
        "::ffff:169.254.169.254",
        "::ffff:a9fe:a9fe",
        "0:0:0:0:0:FFFF:A9FE:A9FE",
        "::ffff:169.254.169.254%eth0",
        "::169.254.169.254",
        "::ffff:0:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a9fe:a9fe",
        "64:ff9b:1:a9fe:a9:fe00::",
        "2002:a9fe:a9fe::",
        "2002:a9fe:a9fe:1::1",
        "2001:0:a9fe:a9fe::",
        "2001:0:808:808:0:0:5601:5601",
        "fe80::5efe:a9fe:a9fe",
        "2606:4700::200:5efe:a9fe:a9fe",
    ],
)
def test_an_address_inside_another_is_found(spelling: str) -> None:
    assert spelling in AddressSet.of(["169.254.169.254"])
    assert IPv4Address("169.254.169.254") in addresses_within(spelling)


@pytest.mark.parametrize("spelling", ["64:ff9b::8.8.8.8", "64:ff9b:1:808:8:800::", "2002:808:808::1", "::ffff:8.8.8.8"])
def test_a_public_address_inside_another_is_let_through(spelling: str) -> None:
    assert AddressSet.of(NAMES).entries_with(spelling) == ()


def test_who_admits_by_address_is_not_taken_in_by_an_address_inside_another() -> None:
    loopback = AddressSet.of(["loopback"], look_inside=False)
    assert "::ffff:127.0.0.1" in loopback
    assert "127.0.0.1" in loopback
    for disguise in ("2002:7f00:1::", "64:ff9b::7f00:1", "::127.0.0.1", "2001:0:7f00:1::"):
        assert disguise in AddressSet.of(["loopback"])
        assert disguise not in loopback


def test_the_outer_address_counts_as_well() -> None:
    assert AddressSet.of(["2002::/16"]).entries_with("2002:808:808::1") == ("2002::/16",)


def test_zones_are_not_part_of_an_address() -> None:
    assert "fe80::1%eth0" in AddressSet.of(["fe80::1"])
    assert "fe80::1" in AddressSet.of(["fe80::1%eth0"])
    assert read_address("fe80::1%25") == IPv6Address("fe80::1")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "localhost",
        "127.1",
        "127.0.0.1 ",
        "0177.0.0.1",
        "256.0.0.1",
        "[::1]",
        "::1::",
        "fe80::1%",
        "1" * 100_000,
        ":" * 100_000,
        "127.0.0.1\0",
        "١٢٧.0.0.1",
        "\ud800",
        "unix:/run/socket",
    ],
)
def test_what_is_not_an_address_is_in_no_set(text: str) -> None:
    everything = AddressSet.of(["all"])
    assert text not in everything
    assert everything.entries_with(text) is None
    assert read_address(text) is None
    assert addresses_within(text) == ()


@given(st.text())
def test_no_text_raises(text: str) -> None:
    assert (text in AddressSet.of(["all"])) == (read_address(text) is not None)


def test_entries_are_named_as_they_were_given_in_their_order() -> None:
    entries = AddressSet.of(["10.0.0.0/8", "private", "10.1.2.3", "10.1.2.3"])
    assert entries.entries_with("10.1.2.3") == ("10.0.0.0/8", "private", "10.1.2.3")
    assert entries.entries_with("10.0.0.1") == ("10.0.0.0/8", "private")
    assert repr(entries) == "<AddressSet 10.0.0.0/8, private, 10.1.2.3, 10.1.2.3>"


def test_all_of_one_family_is_nothing_of_the_other() -> None:
    assert "10.0.0.1" not in AddressSet.of(["::/0"])
    assert "::ffff:10.0.0.1" not in AddressSet.of(["::/0"], look_inside=False)
    assert "2606:4700::1" not in AddressSet.of(["0.0.0.0/0"])


def test_a_mapped_network_is_the_ipv4_network() -> None:
    entries = AddressSet.of(["::ffff:10.0.0.0/104"])
    assert "10.255.0.1" in entries
    assert "11.0.0.1" not in entries


@pytest.mark.parametrize("entry", ["", "loopbak", "10.0.0.0/33", "10.0.0.1/8", "::1%", "a.example"])
def test_an_entry_that_means_nothing_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="is not an address, not a network, and none of loopback, private"):
        AddressSet.of(["10.0.0.0/8", entry])


def test_an_empty_set_has_nothing_in_it() -> None:
    empty = AddressSet.of([])
    assert not empty
    assert "127.0.0.1" not in empty
    assert empty.entries_with("127.0.0.1") == ()
    assert AddressSet.of(["all"])
    assert repr(empty) == "<AddressSet empty>"


def test_the_memo_is_bounded_and_forgets_nothing_that_matters() -> None:
    loopback = AddressSet.of(["loopback"])
    for number in range(20_000):
        assert str(IPv4Address(0x7F00_0000 + number)) in loopback
        assert str(IPv4Address(0x0A00_0000 + number)) not in loopback
    assert len(loopback._memo) <= 4096
    assert "127.0.0.1" in loopback


networks = st.one_of(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(
        lambda drawn: ip_network((drawn[0], drawn[1]), strict=False)
    ),
    st.tuples(st.integers(0, 2**128 - 1), st.integers(4, 128)).map(
        lambda drawn: ip_network((drawn[0] | 1 << 127, drawn[1]), strict=False)
    ),
)


@given(st.lists(networks, max_size=8), st.data())
def test_it_agrees_with_ipaddress(members: list[object], data: st.DataObject) -> None:
    texts = [str(member) for member in members]
    entries = AddressSet.of(texts, look_inside=False)
    edges = [
        ip_address(int(address) + step)
        for network in map(ip_network, texts)
        for address in (network.network_address, network.broadcast_address)
        for step in (-1, 0, 1)
        if 0 <= int(address) + step < 2**network.max_prefixlen
    ]
    addresses = data.draw(st.lists(st.sampled_from(edges) if edges else st.ip_addresses(v=4), min_size=1, max_size=8))
    for address in addresses:
        names = [text for text in dict.fromkeys(texts) if address in ip_network(text)]
        assert entries.entries_with(str(address)) == tuple(names)


def test_every_named_set_is_made_of_networks() -> None:
    assert [*NAMED_SETS] == [*NAMES, "all"]
    for networks_of_set in NAMED_SETS.values():
        for network in networks_of_set:
            assert str(ip_network(network)) == network


@pytest.mark.parametrize(
    ("address", "text"),
    [("192.0.2.1", "192.0.2.1:80"), ("2001:db8::1", "[2001:db8::1]:80"), ("fe80::1%2", "[fe80::1%2]:80")],
)
def test_address_with_a_port(address: str, text: str) -> None:
    assert with_port(address, 80) == text


def test_holds_is_the_same_and_remembers_nothing() -> None:
    addresses = AddressSet.of(("10.0.0.0/8", "loopback"))
    for address in ("10.1.2.3", "::1", "::ffff:10.1.2.3", "64:ff9b::a01:203", "192.0.2.1", "", "x"):
        assert addresses.holds(address) is (address in AddressSet.of(("10.0.0.0/8", "loopback")))
    assert addresses._memo == {}
