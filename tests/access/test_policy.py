"""The access policy: clients, ports and destinations, and what a person is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import FrozenInstanceError, dataclass, replace

import pytest

from twistedproxy import errors
from twistedproxy.access.policy import AccessPolicy


@dataclass(frozen=True)
class Settings:
    clients: tuple[str, ...] = ("loopback",)
    connect_ports: tuple[int | str, ...] = (443,)
    refuse_destinations: tuple[str, ...] = (
        "link-local",
        "metadata",
        "unspecified",
        "multicast",
        "reserved",
    )


def never(address: str) -> bool:
    return False


def policy(
    settings: Settings | None = None,
    own_ports: Iterable[tuple[str, int]] = (),
    is_own_address: Callable[[str], bool] = never,
) -> AccessPolicy:
    return AccessPolicy.of(settings or Settings(), own_ports=own_ports, is_own_address=is_own_address)


def refused(made: AccessPolicy, address: str, port: int) -> bool:
    try:
        made.check_destination(address, port)
    except errors.DestinationRefused:
        return True
    return False


def test_clients() -> None:
    made = policy(Settings(clients=("loopback", "10.0.0.0/8", "2001:db8::1")))
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "10.9.8.7", "::ffff:10.9.8.7", "2001:db8::1"):
        assert made.client_allowed(address)
        made.check_client(address)
    for address in ("8.8.8.8", "2001:db8::2", "", "localhost", "2002:7f00:1::", "64:ff9b::7f00:1"):
        assert not made.client_allowed(address)
        with pytest.raises(errors.ClientRefused):
            made.check_client(address)


def test_the_refusal_of_a_client_names_the_key() -> None:
    with pytest.raises(errors.ClientRefused) as caught:
        policy().check_client("8.8.8.8")
    assert caught.value.detail == (
        "clients at 8.8.8.8 are not allowed: add the address, or its network, to access.clients"
    )


@pytest.mark.parametrize(
    ("ports", "allowed", "denied"),
    [
        ((443,), [443], [0, 1, 80, 442, 444, 8443, 65535]),
        ((443, 8443), [443, 8443], [444]),
        ((443, "8000-8999"), [443, 8000, 8500, 8999], [7999, 9000]),
        (("all",), [1, 443, 65535], [0, 65536]),
        ((), [], [443]),
    ],
)
def test_ports_of_tunnels(ports: tuple[int | str, ...], allowed: list[int], denied: list[int]) -> None:
    made = policy(Settings(connect_ports=ports))
    for port in allowed:
        assert made.connect_port_allowed(port)
        made.check_connect_port(port)
    for port in denied:
        assert not made.connect_port_allowed(port)
        with pytest.raises(errors.PortRefused):
            made.check_connect_port(port)


def test_the_refusal_of_a_port_names_the_key() -> None:
    with pytest.raises(errors.PortRefused) as caught:
        policy().check_connect_port(8443)
    assert caught.value.detail == "CONNECT to port 8443 is not allowed: add it to access.connect_ports"


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::",
        "::169.254.169.254",
        "fd00:ec2::254",
        "fe80::1%eth0",
        "0.0.0.0",
        "0.0.0.1",
        "::",
        "224.0.0.251",
        "255.255.255.255",
        "not an address",
        "",
        "127.1",
    ],
)
def test_refused_destinations(address: str) -> None:
    assert refused(policy(), address, 80)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1", "127.0.0.1", "::1", "10.0.0.1", "fd00::1"])
def test_allowed_destinations(address: str) -> None:
    policy().check_destination(address, 80)


def test_the_refusal_of_a_destination_names_the_address_the_sets_and_the_key() -> None:
    with pytest.raises(errors.DestinationRefused) as caught:
        policy().check_destination("169.254.169.254", 80)
    assert caught.value.detail == (
        "169.254.169.254 is among what access.refuse_destinations names: link-local, metadata"
    )
    with pytest.raises(errors.DestinationRefused) as caught:
        policy().check_destination("a" * 1000, 80)
    assert caught.value.detail == f"'{'a' * 64}' is not an IP address"


def test_a_listener_on_one_address_counts_for_that_and_for_the_unspecified_one() -> None:
    made = policy(Settings(refuse_destinations=()), {("127.0.0.1", 8080)}, lambda address: True)
    for address in ("127.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1", "64:ff9b::7f00:1", "0.0.0.0", "::"):
        assert refused(made, address, 8080)
        assert not refused(made, address, 8081)
    for address in ("127.0.0.2", "::1", "192.0.2.2", "8.8.8.8"):
        assert not refused(made, address, 8080)


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "::", "", "::ffff:0.0.0.0"])
def test_a_listener_on_every_address_counts_for_every_address_of_this_machine(everywhere: str) -> None:
    asked: list[str] = []

    def is_own_address(address: str) -> bool:
        asked.append(address)
        return address in ("10.1.1.1", "2606:4700::5")

    made = policy(Settings(refuse_destinations=()), {(everywhere, 8080)}, is_own_address)
    for address in ("127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::"):
        assert refused(made, address, 8080)
    assert asked == []
    for address in ("10.1.1.1", "::ffff:10.1.1.1", "2606:4700::5", "2606:4700::5%eth0", "64:ff9b::a01:101"):
        assert refused(made, address, 8080)
    assert not refused(made, "10.1.1.2", 8080)
    assert "10.1.1.2" in asked
    asked.clear()
    assert not refused(made, "10.1.1.1", 8081)
    assert asked == []


def test_several_listeners_on_one_port() -> None:
    made = policy(Settings(), {("127.0.0.1", 8080), ("10.1.1.1", 8080), ("::1", 8081)})
    assert refused(made, "127.0.0.1", 8080)
    assert refused(made, "10.1.1.1", 8080)
    assert refused(made, "::1", 8081)
    assert not refused(made, "::1", 8080)
    assert not refused(made, "127.0.0.1", 8081)


def test_only_the_own_ports_can_be_asked_for() -> None:
    made = policy(own_ports={("127.0.0.1", 8080)})
    made.check_not_own("169.254.169.254", 8080)
    made.check_not_own("127.0.0.1", 80)
    for address in ("127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1"):
        with pytest.raises(errors.DestinationRefused):
            made.check_not_own(address, 8080)


def test_the_refusal_of_an_own_port_says_what_is_there() -> None:
    with pytest.raises(errors.DestinationRefused) as caught:
        policy(own_ports={("127.0.0.1", 8080)}).check_destination("127.0.0.1", 8080)
    assert caught.value.detail == "127.0.0.1 port 8080 is this proxy itself"


@pytest.mark.parametrize(
    "settings",
    [
        Settings(clients=("lopback",)),
        Settings(refuse_destinations=("10.0.0.0/99",)),
        Settings(connect_ports=("https",)),
        Settings(connect_ports=("443",)),
        Settings(connect_ports=("9-1",)),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings: Settings) -> None:
    with pytest.raises(ValueError, match="is not a"):
        policy(settings)


def test_it_is_frozen_and_readable() -> None:
    made = policy(Settings(connect_ports=(443, "8000-8999")), {("::", 8080)})
    with pytest.raises(FrozenInstanceError):
        made.ports = frozenset()  # type: ignore[misc]  # that it cannot be done is what is tested
    assert replace(made) == made
    assert repr(made) == (
        "<AccessPolicy clients=<AddressSet loopback> connect_ports=443,8000-8999 "
        "refused=<AddressSet link-local, metadata, unspecified, multicast, reserved> own_ports=8080>"
    )
