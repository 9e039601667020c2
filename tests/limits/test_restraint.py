"""All the limits of a worker: reloads, and what workers tell each other."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from tests.limits.samples import WALL, Limited, table
from twistedproxy.access.limits.ledger import OTHERS
from twistedproxy.access.limits.spending import Spending, Tidings, UnderWay, Used


def test_what_is_known_outlives_a_reload() -> None:
    limited = Limited(table("a", requests_per_second=1, burst=2), table("b", "all", connections=2))
    running = limited.ask()
    limited.ask()
    limited.use(table("b", "all", connections=3), table("a", requests_per_second=1, burst=2))
    assert limited.ask().said == ["requests_exceeded"]
    limited.pass_time(1)
    assert limited.ask().said == ["in"]
    assert limited.ask("192.0.2.2").said == ["connections_exceeded"]
    running.hold.leave(0, 0)
    assert limited.ask("192.0.2.2").said == ["in"]
    assert repr(limited.restraint) == "<Restraint <Ledger b 1/10000> <Ledger a 2/10000>>"


@pytest.mark.parametrize("changed", ["per", "network"])
def test_others_who_are_counted_begin_anew(changed: str) -> None:
    limited = Limited(table(requests_per_second=1))
    limited.ask("2001:db8::1")
    if changed == "per":
        limited.use(table(per="account", requests_per_second=1))
    else:
        limited.use(table(requests_per_second=1), ipv6_prefix=56)
    assert limited.ask("2001:db8::1").said == ["in"]
    assert limited.ask("2001:db8::1").said == ["requests_exceeded"]


def test_a_quota_goes_on_in_another_zone() -> None:
    limited = Limited(table(daily="1KiB"))
    limited.ask().hold.leave(0, 1024)
    limited.use(table(daily="1KiB"), zone="Europe/Berlin")
    assert limited.ask().said == ["quota_exceeded"]
    limited.wall = WALL + 15 * 3600
    assert limited.ask().said == ["in"]


def test_without_limits_nothing_holds() -> None:
    limited = Limited(table(requests_per_second=1))
    limited.restraint.use(None)
    assert limited.restraint.told() == Tidings()
    assert limited.restraint.hold(limited_asking(limited), limited.limits, False) is None


def limited_asking(limited: Limited) -> object:
    return Limited(table(connections=1)).ask()


def test_an_exchange_of_older_settings_is_held_to_what_there_still_is() -> None:
    limited = Limited(table("a", connections=1), table("b", connections=5))
    old = limited.limits
    limited.use(table("b", connections=5))
    limited.limits = old
    asking = limited.ask()
    assert [share.limit.name for share in asking.hold.shares] == ["b"]


def two(*tables: object, **settings: object) -> tuple[Limited, Limited]:
    clock = Clock()
    clock.advance(1000)
    first, second = (Limited(*tables, workers=2, clock=clock, **settings) for _ in range(2))  # type: ignore[arg-type]  # any
    return first, second


def test_what_was_spent_elsewhere_is_missing_here() -> None:
    first, second = two(table(requests_per_second=2, burst=3, download="100KiB", connections=2))
    for _ in range(2):
        first.ask().hold.leave(0, 0)
    asking = first.ask()
    asking.hold.count(0, 76800)
    second.restraint.learn(first.restraint.told())
    assert second.ask().said == ["requests_exceeded"]
    second.pass_time(0.5)
    assert second.ask().said == ["in"]
    # Half a second of the debt is paid.
    (state,) = second.restraint.states()
    assert state.download == pytest.approx(1.0, abs=0.01)
    assert second.ask("192.0.2.2").said == ["in"]


def test_concurrency_counts_everywhere() -> None:
    first, second = two(table(connections=2, when_over="slow"))
    there = [first.ask() for _ in range(2)]
    second.restraint.learn(first.restraint.told())
    here = second.ask()
    assert here.said == []
    there[0].hold.leave(0, 0)
    second.restraint.learn(first.restraint.told())
    second.clock.advance(0)
    assert here.said == ["in"]
    first.restraint.learn(second.restraint.told())
    assert first.ask().said == []


def test_used_quotas_are_learned() -> None:
    limited = Limited(table(monthly="1KiB"), max_keys=16)
    limited.restraint.learn(Tidings(used={"a": {"192.0.2.1": Used(0, 1000)}, "gone": {"x": Used(5, 5)}}))
    asking = limited.ask()
    assert asking.said == ["in"]
    asking.hold.leave(0, 24)
    assert limited.ask().said == ["quota_exceeded"]
    # There is no room for all of them, and nobody is charged for others.
    limited.restraint.learn(Tidings(used={"a": {str(number): Used(1, 1) for number in range(50)}}))
    assert {state.in_month for state in limited.restraint.states()} == {1024, 1}
    limited.restraint.learn(Tidings(used={"a": {OTHERS: Used(7, 7)}}))
    assert sum(state.in_month for state in limited.restraint.states() if state.key == OTHERS) == 7


def test_what_others_spend_elsewhere_is_theirs() -> None:
    limited = Limited(table(requests_per_second=1), workers=2, max_keys=16)
    limited.restraint.learn(
        Tidings({"a": {OTHERS: Spending(3, 0, 0), "x": Spending(2, 0, 0)}}, {"a": {OTHERS: UnderWay(1, 1)}})
    )
    states = {state.key: state.requests for state in limited.restraint.states()}
    assert states == {OTHERS: 3.0, "x": 2.0}


def test_a_share_can_be_filled_again() -> None:
    limited = Limited(table(requests_per_second=1, daily="1KiB"), table("b", connections=1))
    asking = limited.ask()
    asking.hold.count(0, 5000)
    limited.clock.advance(0)
    assert limited.ask().said == ["quota_exceeded"]
    limited.restraint.refill("a", "192.0.2.2")
    limited.restraint.refill("b", "")
    limited.restraint.refill("gone", "")
    assert limited.ask().said == ["quota_exceeded"]
    limited.restraint.refill("a", "192.0.2.1")
    assert limited.restraint.told().spent == {"a": {"192.0.2.1": Spending()}}
    # What is under way still is.
    assert limited.ask().said == ["connections_exceeded"]
    asking.hold.leave(0, 5000)
    assert limited.ask().said == ["in"]
    assert limited.ask().said == ["requests_exceeded"]
