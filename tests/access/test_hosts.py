"""Sets of hosts: in tables, and against a reader that is slow and obvious."""

from __future__ import annotations

import ipaddress
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.access.hosts import HostSet, canonical_host


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [
        (
            "example.com",
            ["example.com", "EXAMPLE.com", "example.com."],
            ["a.example.com", "example.co", "xexample.com"],
        ),
        (
            ".example.com",
            ["example.com", "a.example.com", "a.b.example.com."],
            ["aexample.com", "example.com.net", "com"],
        ),
        ("*.example.com", ["a.example.com", "a.b.example.com"], ["example.com", "a.example.comx"]),
        ("*bank*", ["bank", "mybank.test", "a.bank.b"], ["ban.k"]),
        ("a?.test", ["ab.test", "a-.TEST"], ["a.test", "abc.test", "axtest"]),
        ("*", ["anything", "192.0.2.1", "2001:db8::1"], []),
        ("192.0.2.1", ["192.0.2.1"], ["192.0.2.10", "2.192.0.2.1"]),
        ("2001:DB8:0::1", ["2001:db8::1", "2001:db8:0:0::1"], ["2001:db8::2"]),
        (".com", ["com", "a.com"], ["a.com.net"]),
        ("exämple.com", ["exämple.com"], ["example.com"]),
    ],
)
def test_entries(entry: str, inside: list[str], outside: list[str]) -> None:
    hosts = HostSet([entry])
    assert [host for host in inside if host not in hosts] == []
    assert [host for host in outside if host in hosts] == []


def test_nothing() -> None:
    assert not HostSet([])
    assert "a" not in HostSet([])
    assert "" not in HostSet([".a"])


def test_repr() -> None:
    assert repr(HostSet(["a", ".b", "c*", "d?", "A"])) == "<HostSet 4>"
    assert repr(HostSet(["a", "*"])) == "<HostSet all>"
    assert all(map(bool, (HostSet(["a"]), HostSet([".a"]), HostSet(["*a"]), HostSet(["*"]))))


@pytest.mark.parametrize(
    ("host", "canonical"),
    [("A.b.", "a.b"), ("", ""), ("2001:DB8:0:0::1", "2001:db8::1"), ("not:one", "not:one"), ("192.0.2.1", "192.0.2.1")],
)
def test_canonical(host: str, canonical: str) -> None:
    assert canonical_host(host) == canonical
    assert canonical_host(canonical) == canonical


LABELS = st.sampled_from(["a", "b", "ab", "c"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
ENTRIES = st.one_of(
    NAMES,
    NAMES.map(".{}".format),
    st.text("ab.*?", min_size=1, max_size=6).filter(lambda text: set(text) & set("*?")),
    st.ip_addresses(v=6).map(str),
)


def is_in(host: str, entry: str) -> bool:
    """The same, said as simply as it can be."""
    if "*" in entry or "?" in entry:
        return fnmatchcase(host, entry.removesuffix("."))
    if entry.startswith("."):
        return ("." + host).endswith(entry)
    return host == entry


@given(st.lists(ENTRIES, max_size=5), st.one_of(NAMES, st.ip_addresses(v=6).map(str)))
def test_against_a_simple_reader(entries: list[str], host: str) -> None:
    assert (host in HostSet(entries)) == any(is_in(host, entry) for entry in entries)


@given(st.ip_addresses(v=6))
def test_every_spelling_of_an_address(address: ipaddress.IPv6Address) -> None:
    assert address.exploded in HostSet([str(address)])
    assert str(address) in HostSet([address.exploded.upper()])
