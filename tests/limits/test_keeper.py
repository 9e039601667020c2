"""What was used of quotas outlives the process: written now and then, off the reactor's thread, and at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from tests.limits.samples import WALL, limits, table
from twistedproxy.access.limits.limits import Limits
from twistedproxy.access.limits.spending import Spending, Tidings, Used
from twistedproxy.limits.clearing import Spender
from twistedproxy.limits.keeper import AFTER_FAILURE, INTERVAL, QuotaKeeper

asynchronous = pytest_twisted.ensureDeferred
X = Spender("a", "x")


class Threads(Clock):
    """A reactor whose time is the test's, and whose threads are real."""

    def __init__(self, real: Any) -> None:
        super().__init__()
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.fixture
def make(running_reactor: Any, tmp_path: Path) -> Callable[[], QuotaKeeper]:
    return lambda: QuotaKeeper(Threads(running_reactor), tmp_path, lambda: WALL)


def quota(**keys: Any) -> Limits:
    return limits(table(**({"daily": "1GiB"} | keys)))


def spend(keeper: QuotaKeeper, size: int, key: str = "x") -> None:
    keeper.clearing.report("worker", Tidings({"a": {key: Spending(1, size, 0)}}))


async def written(keeper: QuotaKeeper, seconds: float = INTERVAL) -> None:
    """The next write has come and gone."""
    clock: Any = keeper._reactor
    clock.advance(seconds)
    while keeper._one_at_a_time.locked:
        await deferLater(clock._real, 0.001)


@asynchronous
async def test_it_is_written_now_and_then(make: Callable[[], QuotaKeeper]) -> None:
    keeper = make()
    keeper.use(quota())
    spend(keeper, 100)
    spend(keeper, 50)
    assert not keeper.file.path.exists()
    await written(keeper)
    spend(keeper, 1)
    # A process that is killed loses what came since.
    other = make()
    other.use(quota(monthly="1GiB"))
    assert other.clearing.used(X) == Used(150, 150)
    assert other.clearing.news("worker").used == {"a": {"x": Used(150, 150)}}
    await written(keeper)
    assert keeper._reactor.getDelayedCalls() == []
    third = make()
    third.use(quota())
    assert third.clearing.used(X) == Used(151, 151)
    assert repr(keeper) == "<QuotaKeeper <Clearing members=0 unwritten=0>>"


@asynchronous
async def test_the_last_of_it_is_written_at_the_end(make: Callable[[], QuotaKeeper]) -> None:
    keeper = make()
    keeper.use(quota())
    await keeper.stop()
    assert not keeper.file.path.exists()
    keeper = make()
    keeper.use(quota())
    spend(keeper, 7)
    stopped: Deferred[None] = keeper.stop()
    spend(keeper, 1)
    await stopped
    assert keeper._reactor.getDelayedCalls() == []
    other = make()
    other.use(quota())
    assert other.clearing.used(X) == Used(7, 7)


@asynchronous
async def test_two_daemons_add_to_it(make: Callable[[], QuotaKeeper]) -> None:
    """An old one that drains, and its successor, which hears of that."""
    old, new = make(), make()
    old.use(quota())
    spend(old, 100)
    await written(old)
    new.use(quota())
    new.clearing.news("worker")
    spend(old, 20)
    await written(old)
    spend(new, 3)
    await written(new)
    assert new.clearing.used(X) == Used(123, 123)
    assert new.clearing.news("worker").used == {"a": {"x": Used(20, 20)}}
    spend(new, 1)
    await written(new)
    assert new.clearing.news("worker") == Tidings()


@asynchronous
async def test_a_damaged_file_is_set_aside_and_what_is_known_goes_on(
    make: Callable[[], QuotaKeeper], said: list[str], logged_errors: Any
) -> None:
    keeper = make()
    keeper.use(quota())
    spend(keeper, 100)
    spend(keeper, 5, "y")
    await written(keeper)
    path = keeper.file.path
    for beside in path.parent.iterdir():
        beside.write_bytes(b"nothing of the kind" * 999)
    spend(keeper, 1)
    await written(keeper)
    assert said == [f"error the file of quotas was damaged, and was moved to {path}.damaged"]
    await written(keeper)
    other = make()
    other.use(quota())
    assert dict(other.clearing.all_used()) == {X: Used(101, 101), Spender("a", "y"): Used(5, 5)}
    path.write_bytes(b"again" * 999)
    third = make()
    third.use(quota())
    assert list(third.clearing.all_used()) == []
    assert len(said) == 2
    logged_errors.flush_messages()


@asynchronous
async def test_what_cannot_be_written_is_tried_again(
    make: Callable[[], QuotaKeeper], tmp_path: Path, said: list[str], logged_errors: Any
) -> None:
    keeper = make()
    keeper.use(quota())
    (tmp_path / "limits").write_text("in the way")
    for _ in range(2):
        spend(keeper, 100)
        await written(keeper, AFTER_FAILURE)
    (complaint,) = said
    assert complaint.startswith("error what was used of quotas could not be read or written down: ")
    assert keeper.clearing.unwritten == {X: Used(200, 200)}
    assert repr(keeper).endswith(" failing>")
    (tmp_path / "limits").unlink()
    await written(keeper, AFTER_FAILURE)
    assert keeper.clearing.unwritten == {}
    other = make()
    other.use(quota())
    assert other.clearing.used(X) == Used(200, 200)
    logged_errors.flush_messages()


@asynchronous
async def test_quotas_can_be_given_back(make: Callable[[], QuotaKeeper]) -> None:
    keeper = make()
    keeper.use(quota())
    for key in "xy":
        spend(keeper, 100, key)
    await written(keeper)
    spend(keeper, 1)
    assert await keeper.refill("a", "x") == [X]
    assert await keeper.refill("gone", "") == []
    await written(keeper)
    other = make()
    other.use(quota())
    assert dict(other.clearing.all_used()) == {Spender("a", "y"): Used(100, 100)}


@asynchronous
async def test_without_quotas_there_is_no_file(make: Callable[[], QuotaKeeper], tmp_path: Path) -> None:
    keeper = make()
    keeper.use(limits(table(connections=1)))
    keeper.use(None)
    spend(keeper, 1)
    await keeper.stop()
    assert list(tmp_path.iterdir()) == []
