"""Sessions that are kept, and for how long."""

from __future__ import annotations

import pytest
from OpenSSL import SSL
from twisted.internet.task import Clock

from twistedproxy.tls.sessions import LONGEST, Sessions

FOREVER = float("inf")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def session() -> SSL.Session:
    return SSL.Session()


def test_one_for_many(clock: Clock) -> None:
    """As in TLS 1.2."""
    sessions = Sessions(2, clock.seconds)
    first, second = session(), session()
    sessions.keep("a", first, once=False, until=FOREVER)
    for _ in range(3):
        kept = sessions.take("a")
        assert kept is not None
        assert kept.session is first
    sessions.keep("a", second, once=False, until=FOREVER)
    kept = sessions.take("a")
    assert kept is not None
    assert kept.session is second
    assert sessions.take("b") is None


def test_one_for_one(clock: Clock) -> None:
    """As in TLS 1.3 (RFC 8446 appendix C.4): the newest first, four at most."""
    sessions = Sessions(2, clock.seconds)
    made = [session() for _ in range(6)]
    for one in made:
        sessions.keep("a", one, once=True, until=FOREVER)
    taken = [kept.session for _ in range(6) if (kept := sessions.take("a"))]
    assert taken == made[:1:-1]
    assert repr(sessions) == "<Sessions 0>"


def test_time(clock: Clock) -> None:
    sessions = Sessions(2, clock.seconds)
    sessions.keep("a", session(), once=False, until=clock.seconds() + 10)
    sessions.keep("b", session(), once=False, until=FOREVER)
    clock.advance(9)
    kept = sessions.take("a")
    assert kept is not None
    assert kept.until == 10
    clock.advance(1)
    assert sessions.take("a") is None
    clock.advance(LONGEST - 11)
    assert sessions.take("b") is not None
    clock.advance(1)
    assert sessions.take("b") is None
    sessions.keep("c", session(), once=True, until=clock.seconds())
    assert repr(sessions) == "<Sessions 0>"


def test_most(clock: Clock) -> None:
    """The origin that was not asked for longest goes."""
    sessions = Sessions(2, clock.seconds)
    for origin in ("a", "b"):
        sessions.keep(origin, session(), once=False, until=FOREVER)
    assert sessions.take("a") is not None
    sessions.keep("c", session(), once=False, until=FOREVER)
    assert [origin for origin in ("a", "b", "c") if sessions.take(origin)] == ["a", "c"]


def test_none(clock: Clock) -> None:
    sessions = Sessions(0, clock.seconds)
    sessions.keep("a", session(), once=False, until=FOREVER)
    assert sessions.take("a") is None
