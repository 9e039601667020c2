"""Which tunnels are opened."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twistedproxy.access.interception import ALL_BUT, DEFAULTS, LISTED, OFF, Interception
from twistedproxy.access.left_alone import LEFT_ALONE
from twistedproxy.settings import hosts
from twistedproxy.settings.interception import InterceptMode, InterceptSettings


def opens(host: str = "a.test", port: int = 443, client: str = "127.0.0.1", **settings: object) -> bool:
    return Interception.of(InterceptSettings(**settings)).opens(host, port, client)  # type: ignore[arg-type]  # a table


def test_off_is_the_default() -> None:
    assert not opens()
    assert not opens(hosts=("a.test",))


@pytest.mark.parametrize(
    ("settings", "opened"),
    [
        ({"mode": "listed"}, False),
        ({"mode": "listed", "hosts": ("b.test",)}, False),
        ({"mode": "listed", "hosts": ("A.test",)}, True),
        ({"mode": "listed", "hosts": (".test",)}, True),
        ({"mode": "listed", "hosts": ("a.test",), "leave_alone": (".test",)}, False),
        ({"mode": "all-but"}, True),
        ({"mode": "all-but", "hosts": ("b.test",)}, True),
        ({"mode": "all-but", "leave_alone": ("a.*",)}, False),
        ({"mode": "all-but", "ports": (8443,)}, False),
        ({"mode": "all-but", "ports": ("400-500",)}, True),
        ({"mode": "all-but", "ports": ()}, False),
        ({"mode": "all-but", "clients": ("192.0.2.0/24",)}, False),
        ({"mode": "all-but", "clients": ("loopback",)}, True),
        ({"mode": "off", "hosts": ("a.test",)}, False),
    ],
)
def test_decision(settings: dict[str, object], opened: bool) -> None:
    assert opens(**settings) == opened


def test_the_list_that_comes_along() -> None:
    for leave_alone in (("defaults",), ("x.test", "defaults")):
        assert not opens("www.paypal.com", mode="all-but", leave_alone=leave_alone)
    assert opens("www.paypal.com", mode="all-but", leave_alone=("x.test",))
    assert not opens("www.paypal.com", mode="listed", hosts=("www.paypal.com",))


@pytest.mark.parametrize("mode", ["off", "listed", "all-but"])
def test_a_rule_stands_in_the_place_of_mode_hosts_and_clients(mode: InterceptMode) -> None:
    made = Interception.of(
        InterceptSettings(mode=mode, clients=("10.0.0.0/8",), leave_alone=("alone.test",)), by_rule=True
    )
    assert made.opens("a.test", 443, "127.0.0.1", True)
    assert not made.opens("a.test", 443, "10.0.0.1", False)
    assert not made.opens("alone.test", 443, "127.0.0.1", True)
    assert not made.opens("a.test", 8443, "127.0.0.1", True)
    assert made.opens_any
    assert made.shown_mode == ("listed" if mode == "off" else mode)
    assert Interception.of(InterceptSettings()).shown_mode == "off"
    assert Interception.of(InterceptSettings(mode="listed")).shown_mode == "off"


def test_repr() -> None:
    made = Interception.of(InterceptSettings(mode="listed", hosts=("a", "b"), leave_alone=()))
    assert repr(made) == "<Interception listed hosts=<HostSet 2> leave_alone=<HostSet 0> ports=<PortSet 443>>"


@pytest.mark.parametrize(
    ("mode", "named", "expected"),
    [("off", ("a.test",), False), ("listed", (), False), ("listed", ("a.test",), True), ("all-but", (), True)],
)
def test_whether_there_is_anything_to_open(mode: InterceptMode, named: tuple[str, ...], expected: bool) -> None:
    assert Interception.of(InterceptSettings(mode=mode, hosts=named)).opens_any is expected


HOSTS = st.sampled_from(["a.test", "b.test", "c.test"])
SOME = st.lists(HOSTS, max_size=2).map(tuple)


@given(
    st.sampled_from(["off", "listed", "all-but"]),
    SOME,
    SOME,
    st.sampled_from([(443,), ("all",), ()]),
    HOSTS,
    st.sampled_from([443, 80]),
)
def test_against_the_words(
    mode: InterceptMode,
    named: tuple[str, ...],
    leave_alone: tuple[str, ...],
    ports: tuple[int | str, ...],
    host: str,
    port: int,
) -> None:
    """What is left alone is never opened, whatever else is said; nothing is in the mode off."""
    opened = opens(host, port, mode=mode, hosts=named, leave_alone=leave_alone, ports=ports)
    if mode == "off" or host in leave_alone or (port not in ports and "all" not in ports):
        assert not opened
    else:
        assert opened == (mode == "all-but" or host in named)


def test_words_of_the_settings() -> None:
    assert {OFF, LISTED, ALL_BUT} == set(get_args(InterceptMode))
    assert DEFAULTS == hosts.DEFAULTS
    assert len(LEFT_ALONE) > 40
