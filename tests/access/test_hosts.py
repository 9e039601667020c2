"""Sets of hosts: in tables, and against a reader that is slow and obvious."""

from __future__ import annotations

import ipaddress
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.access.hosts import HostSet, canonical_host, numeric_address
from twistedproxy.upstream.literals import read_literal


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


@pytest.mark.parametrize(
    ("spelled", "host"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.1.", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("0x7F.1", "127.0.0.1"),
        ("0X7f000001", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::FFFF:7f00:1", "127.0.0.1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("0", "0.0.0.0"),
        ("256.0.0.1", "256.0.0.1"),
        ("127.0.0.1.1", "127.0.0.1.1"),
        ("08.0.0.1", "08.0.0.1"),
        ("4294967296", "4294967296"),
        ("0x.1", "0x.1"),
        ("1.2.3*", "1.2.3*"),
        ("LOCALHOST.", "localhost"),
        ("0x7f.example", "0x7f.example"),
        ("a.0x7g", "a.0x7g"),
        ("1" * 100, "1" * 100),
        ("١.1", "١.1"),
        ("", ""),
        (":", ":"),
    ],
)
def test_a_host_has_one_spelling(spelled: str, host: str) -> None:
    assert canonical_host(spelled) == host
    assert canonical_host(host) == host


@given(st.lists(st.from_regex(r"\A(0x[0-9a-f]{0,3}|0[0-9]{0,4}|[0-9]{1,10})\Z"), min_size=1, max_size=5).map(".".join))
def test_numeric_spellings_are_those_of_the_system(text: str) -> None:
    literal = read_literal(text)
    assert numeric_address(text) == (literal.address if literal else "")
