"""How long addresses wait after wrong passwords."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from twistedproxy.accounts.slowing import MOST, Slowing, place_of


def test_the_wait_doubles_up_to_the_longest() -> None:
    clock = Clock()
    slowing = Slowing(clock.seconds, 8.0)
    assert slowing.wait("a") == 0
    waits = []
    for _ in range(7):
        slowing.failed("a")
        waits.append(slowing.wait("a"))
    assert waits == [0.5, 1, 2, 4, 8, 8, 8]
    assert slowing.wait("b") == 0
    clock.advance(7.5)
    assert slowing.wait("a") == 0.5
    clock.advance(1)
    assert slowing.wait("a") == 0


def test_failures_are_forgotten_in_time() -> None:
    clock = Clock()
    slowing = Slowing(clock.seconds, 8.0)
    for _ in range(5):
        slowing.failed("a")
    clock.advance(63.5)
    slowing.failed("a")
    assert slowing.wait("a") == 8
    clock.advance(64)
    slowing.failed("a")
    assert slowing.wait("a") == 0.5


def test_many_failures_are_no_number_too_large() -> None:
    clock = Clock()
    slowing = Slowing(clock.seconds, 3600.0)
    for _ in range(5000):
        slowing.failed("a")
    assert slowing.wait("a") == 3600


def test_it_can_be_off() -> None:
    slowing = Slowing(Clock().seconds, 0.0)
    slowing.failed("a")
    assert slowing.wait("a") == 0
    assert repr(slowing) == "<Slowing addresses=0 longest=0>"


def test_the_table_is_bounded() -> None:
    slowing = Slowing(Clock().seconds, 8.0)
    for number in range(MOST + 1):
        slowing.failed(str(number))
    assert slowing.wait("0") == 0
    assert slowing.wait("1") == 0.5
    assert repr(slowing) == f"<Slowing addresses={MOST} longest=8>"


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::7", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("not:an address", "not:an address"),
        ("", ""),
    ],
)
def test_places(address: str, place: str) -> None:
    assert place_of(address) == place
