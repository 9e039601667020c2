"""What lies between the cache and where answers come from."""

from __future__ import annotations

import socket

from twistedproxy import errors
from twistedproxy.upstream.answers import MOST_ADDRESSES, Answer, distinct
from twistedproxy.upstream.literals import ResolvedAddress


def test_addresses_are_canonical_distinct_and_bounded() -> None:
    four, six = socket.AF_INET, socket.AF_INET6
    assert distinct([("::ffff:10.0.0.9", six, 0), ("10.0.0.9", four, 0), ("FE80::1", six, 3)]) == (
        ResolvedAddress("10.0.0.9", four),
        ResolvedAddress("fe80::1", six, 3),
    )
    assert distinct([("/run/x", socket.AF_UNIX, 0)]) == ()
    assert len(distinct((f"10.0.1.{number}", four, 0) for number in range(200))) == MOST_ADDRESSES


def test_what_an_answer_says_of_itself() -> None:
    assert repr(Answer((ResolvedAddress("192.0.2.1", socket.AF_INET),), 60)) == "<Answer 192.0.2.1 ttl=60>"
    assert repr(Answer((), 0.5, errors.NameNotFound, "a: no")) == "<Answer NameNotFound 'a: no' ttl=0.5>"
