"""What workers tell, and hear of each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.limits.samples import WALL, limits, table
from twistedproxy.access.limits.ledger import OTHERS
from twistedproxy.access.limits.spending import Spending, Tidings, UnderWay, Used
from twistedproxy.limits.clearing import Clearing, Spender

X = Spender("a", "x")


def clearing(**keys: object) -> Clearing:
    made = Clearing(lambda: WALL)
    made.use(limits(table(**({"daily": "1GiB"} | keys)), table("b", connections=1), max_keys=16))
    return made


def spent(limit: str, key: str, *of: int) -> Tidings:
    return Tidings({limit: {key: Spending(*of)}})


def test_everybody_hears_of_it_once() -> None:
    made = clearing()
    for who in ("first", "second", "third"):
        assert made.news(who) == Tidings(used={"a": {}})
    made.report("first", spent("a", "x", 1, 200, 10))
    made.report("first", spent("b", "y", 1, 0, 0))
    made.report("second", spent("a", "x", 2, 30, 1))
    assert made.news("first") == spent("a", "x", 2, 30, 1)
    assert made.news("second").spent == {"a": {"x": Spending(1, 200, 10)}, "b": {"y": Spending(1, 0, 0)}}
    assert made.news("third").spent == {"a": {"x": Spending(3, 230, 11)}, "b": {"y": Spending(1, 0, 0)}}
    assert made.news("third") == Tidings()
    assert made.used(X) == Used(241, 241)
    assert made.unwritten == {X: Used(241, 241)}
    assert repr(made) == "<Clearing members=3 unwritten=1>"


def test_what_is_under_way_is_that_of_the_others() -> None:
    made = clearing()
    for who, count in (("first", 1), ("second", 2), ("third", 4)):
        made.join(who)
        made.report(who, Tidings(under_way={"b": {"x": UnderWay(count, count)}}))
    assert made.news("first").under_way == {"b": {"x": UnderWay(6, 6)}}
    assert made.news("second").under_way == {"b": {"x": UnderWay(5, 5)}}
    made.leave("third")
    made.report("second", Tidings())
    assert made.news("first").under_way == {}
    made.leave("nobody")


def test_whoever_begins_hears_of_what_was_used() -> None:
    made = clearing()
    made.join("first")
    made.report("first", spent("a", "x", 1, 200, 10))
    made.leave("first")
    assert made.news("first").used == {"a": {"x": Used(210, 210)}}
    made.learned(X, Used(5, 7))
    made.learned(X, Used(0, 1))
    made.learned(Spender("gone", "x"), Used(5, 5))
    assert made.news("first").used == {"a": {"x": Used(5, 8)}}
    assert made.used(X) == Used(215, 218)
    assert made.unwritten == {X: Used(210, 210)}


def test_days_end_here_too() -> None:
    wall = WALL
    made = Clearing(lambda: wall)
    made.use(limits(table(daily="1GiB")))
    made.report("first", spent("a", "x", 0, 10, 0))
    wall = made.calendar.day_ends
    made.report("first", spent("a", "x", 0, 5, 0))
    assert list(made.all_used()) == [(X, Used(5, 15))]


def test_others_share_a_total() -> None:
    made = clearing()
    for number in range(100):
        made.report("first", spent("a", str(number), 0, 1, 0))
    assert len(list(made.all_used())) == 17
    assert made.used(Spender("a", OTHERS)) == Used(84, 84)
    assert sum(used.today for used in made.unwritten.values()) == 100


def test_reloads() -> None:
    made = Clearing(lambda: WALL)
    quota = table(daily="1GiB")
    assert made.use(limits(quota)) == ["a"]
    made.report("first", spent("a", "x", 0, 10, 0))
    assert made.use(limits(table(daily="2GiB", monthly="3GiB"), table("b", monthly="1GiB"))) == ["b"]
    assert made.used(X) == Used(10, 10)
    assert made.use(limits(table(per="account", daily="2GiB"))) == ["a"]
    assert made.used(X) == Used()
    assert made.use(limits(table(per="account", daily="2GiB"), ipv6_prefix=56)) == ["a"]
    assert made.use(limits(table(tunnels=1))) == []
    assert made.use(limits(quota)) == ["a"]
    assert made.use(None) == []
    made.report("first", spent("a", "x", 0, 10, 0))
    assert made.used(X) == Used()


def test_what_is_forgotten_is_not_told_of() -> None:
    made = clearing()
    made.join("first")
    for key in "xy":
        made.report("second", spent("a", key, 1, 10, 0))
        made.learned(Spender("a", key), Used(1, 1))
    assert made.refill("a", "x") == [X]
    news = made.news("first")
    assert (list(news.spent["a"]), list(news.used["a"]), list(made.unwritten)) == (["y"], ["y"], [Spender("a", "y")])
    assert made.refill("a", "x") == []
    assert made.refill("a", "") == [Spender("a", "y")]
    assert made.refill("gone", "") == []


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(1, 9)), max_size=40))
def test_nothing_is_lost_and_nothing_told_twice(steps: list[tuple[int, bool, int]]) -> None:
    made = clearing()
    own, heard = [0] * 3, [0] * 3
    for who in range(3):
        made.news(who)
    for who, tells, size in steps:
        if tells:
            own[who] += size
            made.report(who, spent("a", "x", 0, size, 0))
        else:
            heard[who] += sum(one.download for one in made.news(who).spent.get("a", {}).values())
    for who in range(3):
        heard[who] += sum(one.download for one in made.news(who).spent.get("a", {}).values())
        assert own[who] + heard[who] == sum(own)
    assert made.used(X) == Used(sum(own), sum(own))
