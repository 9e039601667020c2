"""Which limits hold for whom, and by what they are counted."""

from __future__ import annotations

import pytest

from twistedproxy.access.limits.buckets import Rate
from twistedproxy.access.limits.limits import Limit, Limits, network_of
from twistedproxy.access.profile import GivenLimit
from twistedproxy.settings.limits import LimitsSettings, LimitTable


def table(name: str = "a", per: str = "client", **keys: object) -> LimitTable:
    return LimitTable(name=name, per=per, **({"connections": 1} | keys))  # type: ignore[arg-type]  # as they come


def test_what_a_table_comes_to() -> None:
    limit = Limit.of(table(requests_per_second=5, download="2MiB", daily="1GiB", when_over="slow", tunnels=3))
    assert limit == Limit(
        name="a",
        per="client",
        everybody=True,
        slows=True,
        requests=Rate(5.0, 5.0),
        download=Rate(2097152.0, 524288.0),
        connections=1,
        tunnels=3,
        daily=1 << 30,
    )
    assert limit.has_quota
    assert not Limit.of(table()).has_quota
    assert Limit.of(table(requests_per_second=0.1)).requests == Rate(0.1, 1.0)
    assert Limit.of(table(requests_per_second=10, burst=3)).requests == Rate(10.0, 3.0)


@pytest.mark.parametrize(
    ("per", "user", "groups", "keys"),
    [
        ("client", "ann", {"staff"}, ("10.0.0.1",)),
        ("account", "ann", {"staff"}, ("user ann",)),
        ("account", "", set(), ("10.0.0.1",)),
        ("group", "ann", {"staff", "admins"}, ("group admins", "group staff")),
        ("group", "ann", set(), ("user ann",)),
        ("group", "", set(), ("10.0.0.1",)),
        ("rule", "ann", set(), ("rule night",)),
        ("all", "ann", set(), ("all",)),
    ],
)
def test_keys(per: str, user: str, groups: set[str], keys: tuple[str, ...]) -> None:
    assert Limit.of(table(per=per)).keys("10.0.0.1", user, frozenset(groups), "night") == keys


@pytest.mark.parametrize(
    ("address", "prefix", "network"),
    [
        ("192.0.2.7", 64, "192.0.2.7"),
        ("::ffff:192.0.2.7", 64, "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", 64, "2001:db8:1:2::/64"),
        ("2001:db8:1:2:3:4:5:6", 48, "2001:db8:1::/48"),
        ("2001:db8::0:1", 128, "2001:db8::1"),
        ("socket", 64, "socket"),
    ],
)
def test_clients_are_networks(address: str, prefix: int, network: str) -> None:
    assert network_of(address, prefix) == network


def test_what_holds() -> None:
    assert Limits.of(LimitsSettings()) is None
    tables = (table("a"), table("b", everybody=False), table("c", "rule"))
    limits = Limits.of(LimitsSettings(tables=tables, ipv6_prefix=56))
    assert limits is not None
    a, b, c = (limits.all[name] for name in "abc")
    assert limits.holding(()) == ((a, ""),)
    given = (GivenLimit("c", "night"), GivenLimit("b", "day"), GivenLimit("gone", "day"))
    assert limits.holding(given) == ((a, ""), (c, "night"), (b, "day"))
    assert limits.holding(given) is limits.holding(given)
    # One that holds for everybody anyway holds once.
    assert limits.holding((GivenLimit("a", "night"),)) == ((a, "night"),)
    assert limits.network("2001:db8:1:2ff::1") == "2001:db8:1:200::/56"
    for number in range(3000):
        limits.holding((GivenLimit("b", str(number)),))
    assert len(limits._memo) <= 1024
