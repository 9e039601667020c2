"""Token buckets against a model that counts tokens second by second."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.access.limits.buckets import Bucket, Rate

RATES = st.builds(Rate, st.integers(1, 64).map(float), st.integers(1, 64).map(float))
STEPS = st.lists(st.tuples(st.integers(0, 64).map(lambda sixteenths: sixteenths / 16), st.integers(1, 8)), max_size=60)
"""Seconds that pass, and what is wanted then."""


class Tokens:
    """The naive model: exact, and with a number of tokens that may be negative."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.tokens = Fraction(rate.burst)

    def pass_time(self, seconds: float) -> None:
        gained = Fraction(seconds) * Fraction(self.rate.per_second)
        self.tokens = min(Fraction(self.rate.burst), self.tokens + gained)


@given(RATES, STEPS)
def test_what_is_taken_is_what_the_model_has(rate: Rate, steps: list[tuple[float, int]]) -> None:
    bucket, model, now = Bucket(), Tokens(rate), 1000.0
    for seconds, amount in steps:
        now += seconds
        model.pass_time(seconds)
        wait = bucket.turn_of(amount, rate, now) - now
        missing = (amount - model.tokens) / Fraction(rate.per_second)
        assert abs(wait - float(missing)) < 1e-6
        if wait <= 1e-6:
            bucket.charge(amount, rate, now)
            model.tokens -= amount
        assert abs(bucket.used(rate, now) - float(1 - model.tokens / Fraction(rate.burst))) < 1e-6


@given(RATES, STEPS)
def test_no_more_than_burst_and_rate_in_any_window(rate: Rate, steps: list[tuple[float, int]]) -> None:
    bucket, now = Bucket(), 1000.0
    passed: list[tuple[float, int]] = []
    for seconds, amount in steps:
        now += seconds
        if bucket.turn_of(amount, rate, now) <= now + 1e-6:
            bucket.charge(amount, rate, now)
            passed.append((now, amount))
    for number, (begin, _) in enumerate(passed):
        total = 0
        for end, amount in passed[number:]:
            total += amount
            assert total <= rate.burst + rate.per_second * (end - begin) + 1e-3


@given(RATES, STEPS)
def test_debts_are_paid_at_the_rate(rate: Rate, steps: list[tuple[float, int]]) -> None:
    """Whoever comes only when the bucket is not in debt gets burst and rate, and the last piece on top."""
    bucket, now, begin = Bucket(), 1000.0, 1000.0
    total = largest = 0
    for seconds, amount in steps:
        now = max(now + seconds, bucket.ready_at(rate))
        bucket.charge(amount, rate, now)
        total, largest = total + amount, max(largest, amount)
        assert total <= rate.burst + rate.per_second * (now - begin) + largest + 1e-3


def test_whoever_rests_as_long_as_told_loses_nothing() -> None:
    rate, bucket, now = Rate(1000.0, 250.0), Bucket(), 50.0
    for _ in range(1000):
        now = max(now, bucket.ready_at(rate))
        bucket.charge(64, rate, now)
    assert abs(now - (50 + (64 * 999 - 250) / 1000)) < 1e-6


def test_a_full_bucket_has_no_debt() -> None:
    rate, bucket = Rate(10.0, 20.0), Bucket()
    assert bucket.used(rate, 5.0) == 0
    assert bucket.ready_at(rate) < 5.0
    bucket.charge(30, rate, 5.0)
    assert bucket.used(rate, 5.0) == 1.5
    assert bucket.ready_at(rate) == 6.0
    assert repr(bucket) == "<Bucket full at 8.000>"
