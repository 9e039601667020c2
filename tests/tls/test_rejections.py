"""Which clients refused our certificates: counted, learned, and forgotten."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from twistedproxy.tls.rejections import MOST, Rejection, Rejections, network_of


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rejections(clock: Clock) -> Rejections:
    return Rejections(clock.seconds, 2, 100.0)


def test_learning(rejections: Rejections) -> None:
    assert not rejections.learned("192.0.2.1", "a.test")
    assert not rejections.rejected("192.0.2.1", "a.test")
    assert not rejections.learned("192.0.2.1", "a.test")
    # That is told once.
    assert rejections.rejected("192.0.2.1", "a.test")
    assert not rejections.rejected("192.0.2.1", "a.test")
    assert rejections.learned("192.0.2.1", "a.test")
    assert not rejections.learned("192.0.2.1", "b.test")
    assert not rejections.learned("192.0.2.2", "a.test")
    assert rejections.all() == [Rejection("192.0.2.1", "a.test", 3, 100.0)]
    assert repr(rejections) == "<Rejections 1>"


def test_accepted_once(rejections: Rejections) -> None:
    """Only rejections that follow one another count."""
    rejections.accepted("192.0.2.1", "a.test")
    rejections.rejected("192.0.2.1", "a.test")
    rejections.accepted("192.0.2.1", "b.test")
    rejections.accepted("192.0.2.1", "a.test")
    assert not rejections.rejected("192.0.2.1", "a.test")
    assert not rejections.learned("192.0.2.1", "a.test")


def test_expiry(rejections: Rejections, clock: Clock) -> None:
    rejections.rejected("192.0.2.1", "a.test")
    clock.advance(60)
    rejections.rejected("192.0.2.1", "a.test")
    clock.advance(99)
    assert rejections.learned("192.0.2.1", "a.test")
    clock.advance(1)
    assert not rejections.learned("192.0.2.1", "a.test")
    assert rejections.all() == []
    assert not rejections.rejected("192.0.2.1", "a.test")


def test_never(clock: Clock) -> None:
    rejections = Rejections(clock.seconds, 0, 100.0)
    assert not any(rejections.rejected("192.0.2.1", "a.test") for _ in range(5))
    assert not rejections.learned("192.0.2.1", "a.test")


def test_memory_is_bounded(rejections: Rejections) -> None:
    for number in range(MOST + 5):
        rejections.rejected("192.0.2.1", f"{number}.test")
    known = rejections.all()
    assert len(known) == MOST
    assert (known[0].host, known[-1].host) == ("5.test", f"{MOST + 4}.test")


def test_clearing(rejections: Rejections) -> None:
    for host in ("a.test", "b.test", "c.test"):
        rejections.rejected("192.0.2.1", host)
    rejections.rejected("192.0.2.2", "a.test")
    assert rejections.clear("a.test") == 2
    assert rejections.clear("a.test") == 0
    assert [one.host for one in rejections.all()] == ["b.test", "c.test"]
    assert rejections.clear() == 2
    assert rejections.all() == []


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("not:one", "not:one"),
    ],
)
def test_networks(client: str, network: str) -> None:
    assert network_of(client) == network
