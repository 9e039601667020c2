"""Durations and sizes as an operator writes them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.settings.quantities import duration_text, parse_duration, parse_size, size_text


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (0, 0.0),
        (10, 10.0),
        (2.5, 2.5),
        (-1, -1.0),
        ("250ms", 0.25),
        ("0.1s", 0.1),
        ("10s", 10.0),
        ("10 s", 10.0),
        ("1.5m", 90.0),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("7d", 604800.0),
        ("1e2s", 100.0),
    ],
)
def test_a_duration_is_read_in_seconds(written: object, seconds: float) -> None:
    parsed = parse_duration(written)
    assert parsed == seconds
    assert type(parsed) is float


@pytest.mark.parametrize(
    "written",
    [
        "",
        "10",
        "s",
        "10 minutes",
        "1h30m",
        "-1s",
        "+1s",
        ".5s",
        "5.s",
        " 5s",
        "5s\n",
        "5S",
        "٥s",
        "1e999s",
        "1" * 64 + "s",
        True,
        None,
        [10],
        math.inf,
        -math.inf,
        math.nan,
        10**400,
    ],
)
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(written)


def test_there_is_one_zero() -> None:
    assert math.copysign(1, parse_duration(-0.0)) == 1
    assert math.copysign(1, parse_duration("0s")) == 1


@pytest.mark.parametrize(
    ("written", "size"),
    [
        (0, 0),
        (65536, 65536),
        (-1, -1),
        ("512B", 512),
        ("64KiB", 65536),
        ("64 KiB", 65536),
        ("1MiB", 1048576),
        ("2GiB", 2147483648),
        ("1.5KiB", 1536),
        ("500kB", 500_000),
        ("500KB", 500_000),
        ("1MB", 1_000_000),
        ("1GB", 10**9),
    ],
)
def test_a_size_is_read_in_bytes(written: object, size: int) -> None:
    parsed = parse_size(written)
    assert parsed == size
    assert type(parsed) is int


@pytest.mark.parametrize(
    "written",
    [
        "",
        "64",
        "64K",
        "64kib",
        "64 bytes",
        "-1B",
        "0.5B",
        "1e999B",
        "9" * 30 + "B",
        "9" * 99 + "B",
        1.5,
        True,
        None,
        [],
    ],
)
def test_what_is_no_size_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(written)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.001, "1ms"),
        (0.25, "250ms"),
        (0.0005, "0.0005s"),
        (1.0, "1s"),
        (1.5, "1.5s"),
        (59.0, "59s"),
        (60.0, "1m"),
        (90.0, "90s"),
        (3600.0, "1h"),
        (86400.0, "1d"),
        (31536000.0, "365d"),
        (1e300, "1e+300s"),
        (1e-7, "1e-07s"),
    ],
)
def test_a_duration_is_written_in_the_largest_whole_unit(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (1000, "1000B"),
        (8000, "8000B"),
        (1024, "1KiB"),
        (65536, "64KiB"),
        (1 << 20, "1MiB"),
        (3 << 30, "3GiB"),
    ],
)
def test_a_size_is_written_in_the_largest_whole_unit(size: int, text: str) -> None:
    assert size_text(size) == text


@given(st.one_of(st.floats(0, allow_infinity=False), st.integers(0, 10**9).map(lambda n: n / 1000)))
def test_every_duration_reads_back(seconds: float) -> None:
    assert parse_duration(duration_text(seconds)) == seconds


@given(st.integers(0, 2**62))
def test_every_size_reads_back(size: int) -> None:
    assert parse_size(size_text(size)) == size


@given(st.text(st.sampled_from("0123456789.eE+- msdhkKMGiB"), max_size=80))
def test_no_text_does_worse_than_to_be_refused(text: str) -> None:
    for parse in (parse_duration, parse_size):
        try:
            parsed = parse(text)
        except ValueError:
            continue
        assert math.isfinite(parsed)
        assert parsed >= 0
