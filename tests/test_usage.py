"""What the workers tell each other of the limits that they share."""

from __future__ import annotations

import msgspec
import pytest

from twistedproxy.usage import MOST_TOLD, Usage, together, told

A, B = ("http", "a.test", 80, ""), ("https", "b.test", 443, "")


@pytest.mark.parametrize(
    ("limit", "least"), [(1, 1), (64, 1), (127, 1), (128, 2), (640, 10)], ids=lambda value: str(value)
)
def test_who_has_little_is_left_out(limit: int, least: int) -> None:
    counts = {f"192.0.2.{number}": number for number in range(1, 20)}
    origins = {("http", f"{number}.test", 80): number for number in range(1, 20)}
    usage = told(counts, limit, origins, limit, 190)
    assert sorted(usage.clients.values()) == list(range(least, 20))
    assert sorted(usage.origins.values()) == list(range(least, 20))
    assert usage.upstream == 190


def test_only_those_with_the_most_are_told_of() -> None:
    counts = {str(number): number for number in range(1, MOST_TOLD + 101)}
    usage = told(counts, 64, {}, 64, 0)
    assert len(usage.clients) == MOST_TOLD
    assert min(usage.clients.values()) == 101


def test_just_as_many_as_may_be_told() -> None:
    counts = {str(number): 1 for number in range(MOST_TOLD)}
    assert told(counts, 64, {}, 64, 0).clients == counts


def test_together() -> None:
    one = Usage({"x": 1, "y": 2}, {A: 3}, 7)
    other = Usage({"y": 5}, {A: 1, B: 4}, 10)
    assert together([one, other]) == Usage({"x": 1, "y": 7}, {A: 4, B: 4}, 17)
    assert (one, other) == (Usage({"x": 1, "y": 2}, {A: 3}, 7), Usage({"y": 5}, {A: 1, B: 4}, 10))
    assert together([]) == Usage({}, {}, 0)


def test_nobody_shares_what_nobody_gave() -> None:
    """The defaults are each one's own."""
    together([]).clients["x"] = 1
    assert Usage() == Usage({}, {}, 0)


def test_survives_the_link() -> None:
    usage = Usage({"2001:db8::1": 3}, {B: 2}, 5)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(usage), type=Usage) == usage
