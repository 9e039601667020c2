"""An exchange and all that limits it, in every order of what can happen."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.limits.samples import Asking, Limited, table
from twistedproxy.access.limits.spending import Spending
from twistedproxy.access.profile import GivenLimit


def test_a_refusal_takes_nothing() -> None:
    limited = Limited(table("a", requests_per_second=1, burst=5), table("b", "all", connections=1))
    first, second = limited.ask(), limited.ask()
    assert (first.said, second.said) == (["in"], ["connections_exceeded"])
    (one, _) = first.hold.shares
    assert one.requests.full_at == 1001.0
    first.hold.leave(0, 0)
    assert limited.ask().said == ["in"]


def test_leaving_frees_for_whoever_waits_longest() -> None:
    limited = Limited(table(connections=1, when_over="slow"))
    exchanges = [limited.ask() for _ in range(4)]
    assert [one.said for one in exchanges] == [["in"], [], [], []]
    assert exchanges[1].hold.resting
    exchanges[1].hold.leave(0, 0)
    exchanges[0].hold.leave(0, 0)
    limited.clock.advance(0)
    assert [one.said for one in exchanges] == [["in"], [], ["in"], []]
    exchanges[2].hold.leave(0, 0)
    limited.clock.advance(0)
    assert exchanges[3].said == ["in"]
    exchanges[3].hold.leave(0, 0)
    assert list(limited.restraint.states()) == []
    assert repr(limited.restraint.deadlines).startswith("<Deadlines watching=0 ")


def test_waiting_has_an_end() -> None:
    limited = Limited(table(tunnels=1, when_over="slow"), max_wait=2.0)
    first, second = limited.ask(tunnel=True), limited.ask(tunnel=True)
    limited.pass_time(1.5)
    third = limited.ask(tunnel=True)
    limited.pass_time(0.6)
    assert (first.said, second.said, third.said) == (["in"], ["tunnels_exceeded"], [])
    first.hold.leave(0, 0)
    limited.pass_time(0.1)
    assert third.said == ["in"]


def test_one_that_waits_for_another_limit_then_still_has_an_end() -> None:
    limited = Limited(
        table("a", connections=1, when_over="slow"), table("b", "all", connections=1, when_over="slow"), max_wait=2.0
    )
    first = limited.ask()
    other = limited.ask()
    limited.pass_time(1)
    first.hold.leave(0, 0)
    elsewhere = limited.ask("192.0.2.2")
    assert elsewhere.said == ["in"]
    limited.pass_time(1.1)
    assert other.said == ["connections_exceeded"]


def test_a_turn_comes_after_the_room() -> None:
    limited = Limited(table(requests_per_second=2, burst=1, connections=1, when_over="slow"))
    first, second = limited.ask(), limited.ask()
    limited.pass_time(0.1)
    first.hold.leave(0, 0)
    limited.pass_time(0.3)
    assert second.said == []
    limited.pass_time(0.2)
    assert second.said == ["in"]
    assert not second.hold.waiting


def test_bytes_that_are_owed_are_paid_for_first() -> None:
    limited = Limited(table(download="1KiB", upload="1KiB"))
    first = limited.ask()
    first.hold.leave(0, 2304)
    second = limited.ask()
    limited.pass_time(1.9)
    assert second.said == []
    limited.pass_time(0.2)
    assert second.said == ["in"]
    second.hold.leave(1280, 0)
    third = limited.ask()
    limited.pass_time(0.9)
    assert third.said == []
    limited.pass_time(0.2)
    assert third.said == ["in"]


def test_pieces_and_totals_are_the_same_bytes() -> None:
    limited = Limited(table(daily="1GiB"))
    asking = limited.ask()
    hold = asking.hold
    hold.measure(100, 50)
    hold.measure(100, 50)
    assert hold.up.passed(10)
    assert hold.down.passed(7)
    hold.measure(115, 60)
    hold.leave(116, 61)
    (state,) = limited.restraint.states()
    assert state.today == 177


def test_a_quota_cuts_once_and_at_the_turns_end() -> None:
    limited = Limited(table(daily="1KiB"), table("b", "all", monthly="1KiB"))
    asking = limited.ask()
    asking.hold.count(0, 1023)
    asking.hold.count(1, 0)
    asking.hold.count(0, 5000)
    assert asking.said == ["in"]
    limited.clock.advance(0)
    assert asking.said == ["in", "cut quota_exceeded"]
    assert limited.ask().said == ["quota_exceeded"]
    assert limited.restraint.refusals == {"a": 2}


def test_keys_of_all_kinds() -> None:
    limited = Limited(
        table("account", "account", connections=1),
        table("group", "group", connections=3),
        table("rule", "rule", connections=2),
    )
    staff = frozenset({"staff", "vpn"})
    asking = limited.ask(user=b"ann", groups=staff, given=(GivenLimit("rule", "night"),))
    assert [share.key for share in asking.hold.shares] == ["user ann", "group staff", "group vpn", "rule night"]
    assert limited.ask("192.0.2.2", user=b"ann", groups=staff).said == ["connections_exceeded"]
    assert limited.ask(user=b"bob", groups=staff, given=(GivenLimit("rule", "night"),)).said == ["in"]
    assert limited.ask(user=b"cid", given=(GivenLimit("rule", "night"),)).said == ["connections_exceeded"]
    # Who is nobody is counted by the address.
    assert [limited.ask("192.0.2.9").said for _ in range(2)] == [["in"], ["connections_exceeded"]]
    assert limited.ask(user="é".encode()).hold.shares[0].key == "user é"


def test_others_are_told_of_everything() -> None:
    limited = Limited(table(connections=5, download="1MiB"), workers=2)
    asking = limited.ask()
    asking.hold.count(3, 50)
    told = limited.restraint.told()
    assert told.spent == {"a": {"192.0.2.1": Spending(0, 50, 3)}}
    assert {key: (one.connections, one.tunnels) for key, one in told.under_way["a"].items()} == {"192.0.2.1": (1, 0)}
    assert limited.restraint.told().spent == {}


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ask", "tunnel", "leave", "wait", "bytes"]), st.integers(0, 5), st.sampled_from("xyz")
        ),
        max_size=60,
    ),
    st.booleans(),
)
def test_nothing_is_left_in_the_end(steps: list[tuple[str, int, str]], slow: bool) -> None:
    """Whatever happens, no more is under way than may be, and in the end nothing is, and nobody is forgotten."""
    when_over = "slow" if slow else "refuse"
    limited = Limited(
        table("a", connections=2, tunnels=1, requests_per_second=8, when_over=when_over),
        table("b", "all", connections=3, download="4KiB", when_over=when_over),
        max_wait=1.0,
        max_waiting=3,
    )
    exchanges: list[Asking] = []
    ended: set[int] = set()

    def check() -> None:
        ins = [one for one in exchanges if one.said == ["in"] and id(one) not in ended]
        assert len(ins) <= 3
        for client in "xyz":
            assert sum(one.client_address == client for one in ins) <= 2

    for what, number, client in steps:
        match what:
            case "ask" | "tunnel":
                exchanges.append(limited.ask(client, tunnel=what == "tunnel"))
            case "wait":
                limited.pass_time(number / 10)
            case _ if number < len(exchanges) and exchanges[number].said[-1:] == ["in"]:
                flow = exchanges[number].hold.down
                if what == "bytes" and flow is not None:
                    flow.passed(500)
                elif id(exchanges[number]) not in ended:
                    ended.add(id(exchanges[number]))
                    exchanges[number].hold.leave(0, 0)
        check()
    for _ in range(200):
        limited.pass_time(0.5)
        for one in exchanges:
            if one.said == ["in"] and id(one) not in ended:
                ended.add(id(one))
                one.hold.leave(0, 0)
        if all(one.said for one in exchanges):
            break
    assert all(len(one.said) == 1 for one in exchanges)
    limited.pass_time(30)
    assert list(limited.restraint.states()) == []
    assert repr(limited.restraint.deadlines).startswith("<Deadlines watching=0 ")


@pytest.mark.parametrize("keys", [{"connections": 1}, {"download": "1KiB"}])
def test_it_shows_what_it_is(keys: dict[str, object]) -> None:
    asking = Limited(table(**keys)).ask()
    assert repr(asking.hold) == "<Hold <Share a 192.0.2.1 connections=1 tunnels=0>>"
