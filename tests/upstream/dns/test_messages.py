"""Questions in bytes, and replies of every kind, those of liars and fools included."""

from __future__ import annotations

import socket
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.names import dns

from tests.upstream.dns.scripted import a, aaaa, cname, referral, reply, soa
from twistedproxy.upstream.answers import MOST_ADDRESSES
from twistedproxy.upstream.dns.messages import (
    AAAA,
    LARGEST_REPLY,
    MOST_ALIASES,
    NXDOMAIN,
    UNTOLD,
    A,
    Malformed,
    Reply,
    is_reply,
    query,
    question,
    read_reply,
)
from twistedproxy.upstream.literals import ResolvedAddress

ID = 0x1234
QUESTION = question("www.example", A)
QUERY = query(ID, QUESTION)


def four(address: str) -> ResolvedAddress:
    return ResolvedAddress(address, socket.AF_INET)


def read(*answers: dns.RRHeader, name: str = "www.example", type: int = A, **how: object) -> Reply:
    data = reply(query(ID, question(name, type)), *answers, **how)  # type: ignore[arg-type]  # as the test says
    assert is_reply(data, ID, question(name, type))
    return read_reply(data, name, type)


# ------------------------------------------------------------ questions


def test_a_question_in_bytes() -> None:
    assert question("a.Example", A) == b"\1a\7Example\0\0\1\0\1"
    assert question("a.example.", AAAA) == b"\1a\7example\0\0\x1c\0\1"
    assert query(0xABCD, question("a", A)) == b"\xab\xcd\1\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1"


@pytest.mark.parametrize("name", ["", ".", "a..b", ".a", "x" * 64, ".".join(["x" * 63] * 4) + ".x", "bücher.example"])
def test_what_can_be_no_name(name: str) -> None:
    with pytest.raises(ValueError, match=r"label|name|ascii"):
        question(name, A)


def test_the_longest_name() -> None:
    name = ".".join([*["x" * 63] * 3, "x" * 61])
    assert len(name) == 253
    assert len(question(name, A)) == 255 + 4


# ------------------------------------------------------------ whether it is a reply (RFC 5452)


def test_the_reply_to_a_question() -> None:
    data = reply(QUERY, a("www.example", "192.0.2.1"))
    assert is_reply(data, ID, QUESTION)
    assert is_reply(data.replace(b"\3www\7example\0\0\1", b"\3WWW\7eXample\0\0\1", 1), ID, QUESTION)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        QUERY,
        reply(QUERY)[:-1],
        reply(query(ID ^ 1, QUESTION)),
        reply(query(ID, question("www.example", AAAA))),
        reply(query(ID, question("www.exampld", A))),
        reply(query(ID, question("www.example.com", A))),
        reply(QUERY)[:4] + b"\0\0" + reply(QUERY)[6:],
        reply(QUERY)[:4] + b"\0\2" + reply(QUERY)[6:],
        reply(QUERY)[:2] + b"\xa1\x80" + reply(QUERY)[4:],
    ],
    ids=["empty", "query", "cut", "id", "type", "name", "longer", "no question", "two", "opcode"],
)
def test_what_is_no_reply_to_it(data: bytes) -> None:
    assert not is_reply(data, ID, QUESTION)


# ------------------------------------------------------------ what a reply says


def test_addresses() -> None:
    told = read(a("www.example", "192.0.2.1", 300), a("WWW.example", "192.0.2.2", 200), a("www.example", "192.0.2.1"))
    assert told == Reply(0, addresses=(four("192.0.2.1"), four("192.0.2.2")), ttl=200, name="www.example")


def test_of_ipv6_and_of_ipv4_in_ipv6() -> None:
    told = read(aaaa("www.example", "2001:DB8::1"), aaaa("www.example", "::ffff:127.0.0.1"), type=AAAA)
    assert told.addresses == (ResolvedAddress("2001:db8::1", socket.AF_INET6), four("127.0.0.1"))


def test_aliases_are_followed_in_any_order_and_the_least_time_counts() -> None:
    told = read(
        a("c.example", "192.0.2.1", 50), cname("b.example", "c.example", 40), cname("WWW.example", "B.example", 60)
    )
    assert told == Reply(0, False, (four("192.0.2.1"),), 40, "c.example", 2, 40)


def test_only_what_the_question_leads_to_counts() -> None:
    """No cache is poisoned by what a reply says of other names, wherever it stands."""
    told = read(
        a("bank.example", "192.0.2.66"),
        cname("www.example", "b.example"),
        a("www.bank.example", "192.0.2.66"),
        aaaa("b.example", "2001:db8::66"),
        a("b.example", "192.0.2.1"),
        authority=[a("b.example", "192.0.2.66")],
        additional=[a("b.example", "192.0.2.66"), a("www.example", "192.0.2.66")],
    )
    assert told.addresses == (four("192.0.2.1"),)
    chaos = a("www.example", "192.0.2.66")
    chaos.cls = dns.CH
    assert read(chaos).addresses == ()


def test_a_truncated_one_is_not_read() -> None:
    assert read(a("www.example", "192.0.2.1"), truncated=True) == Reply(0, truncated=True, name="www.example")


@pytest.mark.parametrize("code", [1, 2, 4, 5, 9])
def test_one_that_knows_nothing(code: int) -> None:
    assert read(a("www.example", "192.0.2.1"), code=code) == Reply(code, name="www.example")


@pytest.mark.parametrize(
    ("authority", "ttl"),
    [
        ([soa("example", 600, 60)], 60),
        ([soa("EXAMPLE", 30, 60)], 30),
        ([soa("", 600, 60)], 60),
        ([soa("www.example", 600, 60)], 60),
        ([soa("ple", 600, 60)], UNTOLD),
        ([soa("b.www.example", 600, 60)], UNTOLD),
        ([referral("example")], UNTOLD),
        ([], UNTOLD),
        ([soa("example", 0x80000000, 60)], 0),
    ],
)
@pytest.mark.parametrize("code", [0, NXDOMAIN])
def test_how_long_absence_holds(authority: list[dns.RRHeader], ttl: int, code: int) -> None:
    """RFC 2308 section 5."""
    told = read(code=code, authority=authority)
    assert (told.code, told.addresses, told.ttl, told.aliases) == (code, (), ttl, 0)


def test_absence_at_the_end_of_aliases() -> None:
    told = read(cname("www.example", "b.test", 20), code=NXDOMAIN, authority=[soa("test", 600, 60)])
    assert told == Reply(NXDOMAIN, False, (), 20, "b.test", 1, 20)
    told = read(cname("www.example", "b.test", 20))
    assert told == Reply(0, False, (), UNTOLD, "b.test", 1, 20)


def test_addresses_of_a_name_that_does_not_exist_are_not_used() -> None:
    assert read(a("www.example", "192.0.2.1"), code=NXDOMAIN).addresses == ()


def test_a_referral() -> None:
    assert read(authority=[referral("example")], recursive=False).is_referral
    assert not read(authority=[referral("example")]).is_referral
    assert not read(authority=[soa("example")], recursive=False).is_referral


def test_times_that_are_none() -> None:
    assert read(a("www.example", "192.0.2.1", 0x80000000)).ttl == 0
    assert read(a("www.example", "192.0.2.1", 0x7FFFFFFF)).ttl == 0x7FFFFFFF


def test_of_many_addresses_some_are_taken() -> None:
    told = read(*(a("www.example", f"192.0.2.{number}") for number in range(200)))
    assert told.addresses == tuple(four(f"192.0.2.{number}") for number in range(MOST_ADDRESSES // 2))


@pytest.mark.parametrize("links", [1, MOST_ALIASES, MOST_ALIASES + 1, 60])
def test_aliases_are_bounded(links: int) -> None:
    names = ["www.example", *(f"{number}.example" for number in range(links))]
    records = [cname(one, other) for one, other in pairwise(names)]
    data = reply(QUERY, *records, a(names[-1], "192.0.2.1"))
    if links <= MOST_ALIASES:
        assert read_reply(data, "www.example", A).aliases == links
    else:
        with pytest.raises(Malformed, match="more than 16 aliases"):
            read_reply(data, "www.example", A)


@pytest.mark.parametrize(
    "records",
    [
        [cname("www.example", "www.example")],
        [cname("www.example", "b.example"), cname("b.example", "WWW.example")],
    ],
)
def test_aliases_in_a_circle(records: list[dns.RRHeader]) -> None:
    with pytest.raises(Malformed, match="aliases"):
        read_reply(reply(QUERY, *records), "www.example", A)


def test_names_that_point_at_themselves() -> None:
    head = reply(QUERY, a("www.example", "192.0.2.1"))[: 12 + len(QUESTION)]
    at = 0xC000 | len(head)
    with pytest.raises(Malformed):
        read_reply(head + struct.pack("!HHHIH4s", at, 1, 1, 60, 4, b"\xc0\0\2\1"), "www.example", A)


def test_an_address_of_another_length() -> None:
    head = reply(QUERY, a("www.example", "192.0.2.1"))[: 12 + len(QUESTION)]
    with pytest.raises(Malformed, match="an address of 5 bytes"):
        read_reply(head + struct.pack("!HHHIH5s", 0xC00C, 1, 1, 60, 5, b"\xc0\0\2\1\0"), "www.example", A)


def test_a_long_one_is_not_decoded() -> None:
    with pytest.raises(Malformed, match="more than 4096 bytes"):
        read_reply(reply(QUERY) + bytes(LARGEST_REPLY), "www.example", A)


def pointing(labels: int) -> bytes:
    """As many aliases as there is room for, from and to one name of that many labels, which is there once."""
    name = b"\1a" * labels + b"\0"
    at = struct.pack("!H", 0xC000 | (12 + len(QUESTION)))
    records = [name + struct.pack("!HHIH", 5, 1, 60, 2) + at]
    count = (LARGEST_REPLY - 12 - len(QUESTION) - len(records[0])) // 14
    records += [at + struct.pack("!HHIH", 5, 1, 60, 2) + at] * count
    return struct.pack("!6H", ID, 0x8180, 1, len(records), 0, 0) + QUESTION + b"".join(records)


@pytest.mark.parametrize("labels", [126, 1000, 1900])
def test_names_are_not_read_over_and_over(labels: int) -> None:
    """That would take a tenth of a second."""
    with pytest.raises(Malformed, match="takes too long to read"):
        read_reply(pointing(labels), "www.example", A)


def test_as_many_names_as_there_is_room_for() -> None:
    assert read_reply(pointing(12), "www.example", A).name == "www.example"
    long = ".".join(["x"] * 127)
    names = [long, *(f"{number}{long[1:]}" for number in range(10, 12))]
    records = [cname(one, other) for one, other in pairwise(names)] + [a(names[-1], f"192.0.2.{n}") for n in range(16)]
    assert len(read(*records, name=long).addresses) == MOST_ADDRESSES // 2


@given(st.binary(max_size=200), st.integers(0, 0xFFFF), st.tuples(*[st.integers(0, 3)] * 3))
def test_any_bytes(rest: bytes, bits: int, counts: tuple[int, int, int]) -> None:
    """Whatever comes after the question, it is a reply or it is malformed."""
    data = struct.pack("!6H", ID, bits | 0x8000, 1, *counts) + QUESTION + rest
    try:
        told = read_reply(data, "www.example", A)
    except Malformed:
        return
    assert len(told.addresses) <= MOST_ADDRESSES // 2
    assert told.ttl >= UNTOLD


@given(st.data())
def test_any_damage(data: st.DataObject) -> None:
    whole = bytearray(
        reply(QUERY, cname("www.example", "b.example"), a("b.example", "192.0.2.1"), authority=[soa("b")])
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(12, len(whole)))])
    try:
        read_reply(cut, "www.example", A)
    except Malformed:
        pass
