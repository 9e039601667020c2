"""Both families of one name: what one of them waits for, and what comes of their replies together."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock

from twistedproxy import errors
from twistedproxy.upstream.answers import Answer
from twistedproxy.upstream.dns.asking import Found
from twistedproxy.upstream.dns.lookup import RESOLUTION_DELAY, Holding, NameLookup
from twistedproxy.upstream.dns.messages import AAAA, A
from twistedproxy.upstream.literals import ResolvedAddress

FOUR = ResolvedAddress("192.0.2.1", socket.AF_INET)
SIX = ResolvedAddress("2001:db8::1", socket.AF_INET6)

HAS = {A: Found("found", (FOUR,), 300), AAAA: Found("found", (SIX,), 200)}
NO_ADDRESS = Found("no address", ttl=60, detail="a.example: no address")
NO_NAME = Found("no name", ttl=40, detail="a.example: there is no such name")
FAILED = Found("failed", detail="a.example: 192.0.2.53: SERVFAIL")
NO_REPLY = Found("no reply", detail="a.example: 192.0.2.53: no reply in 2 s")
NO_DESCRIPTOR = Found("no descriptor", detail="a.example: Too many open files")


class Asked:
    """One family's question, which a test answers."""

    def __init__(self, done: Callable[[Found], None], at_once: Found | None) -> None:
        self.done = done
        self.at_once = at_once
        self.started = False
        self.cancelled = 0

    def start(self) -> None:
        self.started = True
        if self.at_once is not None:
            self.done(self.at_once)

    def cancel(self) -> None:
        self.cancelled += 1


class Case:
    """A look-up, and what it says."""

    def __init__(
        self,
        clock: Clock,
        holding: Holding | None = None,
        at_once: dict[int, Found] | None = None,
        own: str = "2001:db8::2",
    ) -> None:
        self.asked: dict[int, Asked] = {}
        self.said: list[tuple[Answer, bool]] = []
        self.over = 0

        def ask(name: str, type: int, done: Callable[[Found], None]) -> Any:
            assert name == "a.example"
            self.asked[type] = Asked(done, (at_once or {}).get(type))
            return self.asked[type]

        def over(lookup: NameLookup) -> None:
            assert lookup.name == "a.example"
            self.over += 1

        self.lookup = NameLookup(
            clock,
            "a.example",
            ask,
            holding or Holding(0, 3600, 5),
            lambda answer, is_all: self.said.append((answer, is_all)),
            over,
            lambda address: own if address.family == socket.AF_INET6 else "192.0.2.9",
        )
        self.lookup.start()

    def bring(self, type: int, found: Found) -> None:
        self.asked[type].done(found)

    @property
    def answer(self) -> Answer:
        """The one that is all."""
        assert self.said[-1][1]
        assert (self.over, self.lookup.is_over) == (1, True)
        return self.said[-1][0]


def test_both_are_asked_at_once(clock: Clock) -> None:
    case = Case(clock)
    assert all(asked.started for asked in case.asked.values())
    assert set(case.asked) == {A, AAAA}
    assert repr(case.lookup) == "<NameLookup a.example found=[]>"


@pytest.mark.parametrize("first", [A, AAAA])
def test_both_in_time(clock: Clock, first: int) -> None:
    case = Case(clock)
    case.bring(first, HAS[first])
    clock.advance(RESOLUTION_DELAY - 0.001)
    assert case.said == []
    case.bring(A + AAAA - first, HAS[A + AAAA - first])
    assert case.answer.addresses == (SIX, FOUR)
    # The least counts.
    assert case.answer.ttl == 200
    assert len(case.said) == 1
    assert clock.getDelayedCalls() == []


def test_without_ipv6_of_our_own_ipv4_goes_first(clock: Clock) -> None:
    case = Case(clock, own="")
    for type in (A, AAAA):
        case.bring(type, HAS[type])
    assert case.answer.addresses == (FOUR, SIX)


@pytest.mark.parametrize(("first", "address"), [(A, FOUR), (AAAA, SIX)])
def test_one_in_time_and_the_other_late(clock: Clock, first: int, address: ResolvedAddress) -> None:
    """RFC 8305 section 3."""
    case = Case(clock)
    case.bring(first, HAS[first])
    clock.advance(RESOLUTION_DELAY)
    assert [(answer.addresses, is_all) for answer, is_all in case.said] == [((address,), False)]
    assert not case.lookup.is_over
    case.bring(A + AAAA - first, HAS[A + AAAA - first])
    assert case.answer.addresses == (SIX, FOUR)


@pytest.mark.parametrize("other", [NO_ADDRESS, NO_NAME, FAILED, NO_REPLY, NO_DESCRIPTOR])
@pytest.mark.parametrize("first", [A, AAAA])
def test_a_family_alone_does_not_fail_the_name(clock: Clock, first: int, other: Found) -> None:
    case = Case(clock)
    case.bring(A + AAAA - first, other)
    assert case.said == []
    assert clock.getDelayedCalls() == []
    case.bring(first, HAS[first])
    assert case.answer.addresses == HAS[first].addresses
    assert case.answer.ttl == HAS[first].ttl


@pytest.mark.parametrize(
    ("one", "other", "error", "ttl", "detail"),
    [
        (NO_NAME, NO_NAME, errors.NameNotFound, 5, NO_NAME.detail),
        (NO_NAME, NO_ADDRESS, errors.NameNotFound, 5, NO_NAME.detail),
        (NO_NAME, FAILED, errors.NameNotFound, 5, NO_NAME.detail),
        (NO_NAME._replace(ttl=2), NO_REPLY, errors.NameNotFound, 2, NO_NAME.detail),
        (NO_ADDRESS, NO_ADDRESS._replace(ttl=3), errors.NameNotFound, 3, NO_ADDRESS.detail),
        (NO_ADDRESS, NO_ADDRESS._replace(ttl=0), errors.NameNotFound, 0, NO_ADDRESS.detail),
        (NO_ADDRESS, FAILED, errors.NameServersFailed, 1, FAILED.detail),
        (FAILED, FAILED, errors.NameServersFailed, 1, FAILED.detail),
        (FAILED, NO_REPLY, errors.NameServersFailed, 1, FAILED.detail),
        (NO_REPLY, NO_REPLY, errors.NameTimeout, 1, NO_REPLY.detail),
        (NO_REPLY, NO_ADDRESS, errors.NameTimeout, 1, NO_REPLY.detail),
        (NO_DESCRIPTOR, FAILED, errors.OutOfDescriptors, 0, NO_DESCRIPTOR.detail),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_no_address_at_all(
    clock: Clock, one: Found, other: Found, error: type[errors.UpstreamError], ttl: float, detail: str, swapped: bool
) -> None:
    """RFC 2308 and RFC 9520: what is remembered, and for how long."""
    case = Case(clock)
    case.bring(AAAA, other if swapped else one)
    case.bring(A, one if swapped else other)
    answer = case.answer
    assert (answer.addresses, answer.error, answer.ttl, answer.detail) == ((), error, ttl, detail)


@pytest.mark.parametrize(
    ("least", "most", "told", "kept"),
    [(0, 3600, 300, 300), (0, 3600, 0, 0), (5, 3600, 0, 5), (0, 60, 300, 60), (0, 0, 300, 0), (30, 10, 300, 30)],
)
def test_how_long_addresses_hold(clock: Clock, least: float, most: float, told: int, kept: float) -> None:
    case = Case(clock, Holding(least, most, 5))
    case.bring(A, Found("found", (FOUR,), told))
    case.bring(AAAA, NO_ADDRESS)
    assert case.answer.ttl == kept


def test_nothing_is_remembered_where_that_is_wanted(clock: Clock) -> None:
    case = Case(clock, Holding(0, 3600, 0))
    case.bring(A, NO_NAME)
    case.bring(AAAA, FAILED)
    assert case.answer.ttl == 0


def test_both_families_in_ipv4(clock: Clock) -> None:
    """An IPv4 address in an AAAA record is one, and counts once."""
    case = Case(clock)
    case.bring(AAAA, Found("found", (FOUR,), 200))
    case.bring(A, HAS[A])
    assert case.answer.addresses == (FOUR,)


@pytest.mark.parametrize("brought", [[], [A]])
def test_cancelling(clock: Clock, brought: list[int]) -> None:
    case = Case(clock)
    for type in brought:
        case.bring(type, HAS[type])
    case.lookup.cancel()
    assert [asked.cancelled for asked in case.asked.values()] == [1, 1]
    assert clock.getDelayedCalls() == []
    case.bring(AAAA, HAS[AAAA])
    assert (case.said, case.over, case.lookup.is_over) == ([], 0, True)


def test_what_is_known_at_once(clock: Clock) -> None:
    """A question that cannot even be sent fails while it is asked."""
    case = Case(clock, at_once={AAAA: FAILED, A: HAS[A]})
    assert case.answer.addresses == (FOUR,)
