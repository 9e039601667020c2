"""Figures as a person reads them."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.cli.figures import age_text, average_text, duration_text, quantile, quantile_text, size_text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-1.0, "0s"),
        (0.0, "0s"),
        (0.9, "0s"),
        (59.9, "59s"),
        (60.0, "1m"),
        (312.0, "5m 12s"),
        (3600.0, "1h"),
        (3605.0, "1h"),
        (86400.0 * 3 + 3600 * 4 + 59, "3d 4h"),
        (86400.0 * 400, "400d"),
    ],
)
def test_age(seconds: float, expected: str) -> None:
    assert age_text(seconds) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-0.001, "0ms"),
        (0.0, "0ms"),
        (0.00085, "0.85ms"),
        (0.0421, "42.1ms"),
        (0.9994, "999ms"),
        (0.9996, "1s"),
        (1.3, "1.3s"),
        (59.0, "59s"),
        (61.0, "1m 1s"),
    ],
)
def test_duration(seconds: float, expected: str) -> None:
    assert duration_text(seconds) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (12 * 2**20 + 2**19, "12.5 MiB"),
        (2**20 - 1, "1 MiB"),
        (1010 * 2**20, "1010 MiB"),
        (5 * 2**40, "5 TiB"),
        (5000 * 2**50, "5000 PiB"),
    ],
)
def test_size(size: int, expected: str) -> None:
    assert size_text(size) == expected


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ([0, 0, 0], 0.5, None),
        ([1, 1], 0.5, None),  # of a version with other buckets
        ([4, 0, 0], 0.5, 0.5),
        ([4, 0, 0], 1.0, 1.0),
        ([0, 4, 0], 0.5, 2.0),
        ([2, 2, 0], 0.75, 2.0),
        ([1, 0, 1], 0.5, 1.0),
        ([1, 0, 1], 0.99, inf),
    ],
)
def test_quantile(counts: list[int], share: float, expected: float | None) -> None:
    assert quantile(counts, (1.0, 3.0), share) == expected


@given(st.lists(st.integers(0, 1000), min_size=4, max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_quantiles_are_in_order(counts: list[int], one: float, other: float) -> None:
    low, high = sorted((one, other))
    least, most = quantile(counts, (1.0, 3.0, 10.0), low), quantile(counts, (1.0, 3.0, 10.0), high)
    if least is None or most is None:
        assert sum(counts) == 0
    else:
        assert 0 <= least <= most


def test_quantile_as_text() -> None:
    assert quantile_text([0, 4, 0], (1.0, 3.0), 0.5) == "2s"
    assert quantile_text([0, 0, 4], (1.0, 3600.0), 0.5) == ">1h"
    assert quantile_text([0, 0, 0], (1.0, 3600.0), 0.5) == "-"


def test_average() -> None:
    assert average_text([1, 3], 10.0) == "2.5s"
    assert average_text([0, 0], 0.0) == "-"
