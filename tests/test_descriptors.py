"""File descriptors: the limit, and that what is shared out never comes to more."""

from __future__ import annotations

import resource
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.descriptors import DescriptorBudget, descriptor_budget, raise_limit

ENDLESS = resource.RLIM_INFINITY
MOST = 1 << 20


@pytest.mark.parametrize(
    ("descriptors", "expected"),
    [
        (64, DescriptorBudget(clients=18, idle=12)),
        (1024, DescriptorBudget(clients=336, idle=224)),
        (20_000, DescriptorBudget(clients=7452, idle=4968)),
        (MOST, DescriptorBudget(clients=393_168, idle=262_112)),
        (1, DescriptorBudget(clients=1, idle=1)),
    ],
)
def test_budget(descriptors: int, expected: DescriptorBudget) -> None:
    assert descriptor_budget(descriptors) == expected


@given(st.integers(16, MOST))
def test_two_for_each_client_and_the_idle_ones_leave_some(descriptors: int) -> None:
    clients, idle = descriptor_budget(descriptors)
    assert clients >= 1
    assert idle >= 1
    assert descriptors - 2 * clients - idle >= min(128, descriptors // 4)


Limits = Callable[..., list[tuple[int, int]]]


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Limits:
    """Makes the system's limits other ones; the limits that are set then."""

    def make(soft: int, hard: int, error: Exception | None = None) -> list[tuple[int, int]]:
        wanted: list[tuple[int, int]] = []

        def set_limit(kind: int, pair: tuple[int, int]) -> None:
            assert kind == resource.RLIMIT_NOFILE
            wanted.append(pair)
            if error is not None:
                raise error

        monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", set_limit)
        return wanted

    return make


def test_soft_limit_is_raised(limits: Limits) -> None:
    wanted = limits(1024, 20_000)
    assert raise_limit() == 20_000
    assert wanted == [(20_000, 20_000)]


@pytest.mark.parametrize(
    ("soft", "hard", "expected"), [(20_000, 20_000, 20_000), (ENDLESS, 4096, 4096), (ENDLESS, ENDLESS, MOST)]
)
def test_limit_that_is_high_enough_is_left(limits: Limits, soft: int, hard: int, expected: int) -> None:
    wanted = limits(soft, hard)
    assert raise_limit() == expected
    assert wanted == []


def test_hard_limit_stays_where_it_is(limits: Limits) -> None:
    """Lowering it cannot be undone, and no table of connections needs more than a million."""
    wanted = limits(1024, ENDLESS)
    assert raise_limit() == MOST
    assert wanted == [(MOST, ENDLESS)]


@pytest.mark.parametrize("error", [ValueError("not allowed"), PermissionError(1, "not permitted")])
def test_limit_that_cannot_be_raised(limits: Limits, error: Exception) -> None:
    limits(1024, 20_000, error)
    assert raise_limit() == 1024


def test_limit_of_this_process() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert raise_limit() == min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], MOST)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
