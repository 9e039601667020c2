"""Which addresses are this machine's."""

from __future__ import annotations

import errno
import socket
from typing import Any

import pytest
from twisted.internet.task import Clock

from twistedproxy.upstream import own_addresses
from twistedproxy.upstream.own_addresses import OwnAddresses, is_own_address


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "0.0.0.0", "::ffff:127.0.0.1"])
def test_this_machine(address: str) -> None:
    assert is_own_address(address)


@pytest.mark.parametrize("address", ["203.0.113.7", "8.8.8.8", "2001:db8::7", "fe80::dead:beef", "localhost", ""])
def test_others(address: str) -> None:
    assert not is_own_address(address)


def test_every_address_that_a_route_begins_at_is_this_machines() -> None:
    for family, stranger in ((socket.AF_INET, "203.0.113.7"), (socket.AF_INET6, "2001:db8::7")):
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            if sock.connect_ex((stranger, 9)) == 0:
                assert is_own_address(sock.getsockname()[0])


class System:
    """Sockets of a system that answers as the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = 0
        self.closed = 0
        self.error: int | None = None
        self.binds_everything = False
        self.own = "192.0.2.2"
        monkeypatch.setattr(own_addresses.socket, "socket", self.socket)

    def socket(self, family: int, kind: int) -> Any:
        system = self
        if system.error is not None:
            raise OSError(system.error, "as the test says")
        system.made += 1

        class Socket:
            def __enter__(self) -> Socket:
                return self

            def __exit__(self, *_: object) -> None:
                system.closed += 1

            def bind(self, address: tuple[str, int]) -> None:
                if not system.binds_everything and address[0] != system.own:
                    raise OSError(errno.EADDRNOTAVAIL, "no such address here")

            def connect(self, address: tuple[str, int]) -> None:
                assert kind == socket.SOCK_DGRAM

            def getsockname(self) -> tuple[str, int]:
                return (system.own, 1)

        return Socket()


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    return System(monkeypatch)


def test_a_system_that_binds_to_everything_is_asked_for_the_route(system: System) -> None:
    system.binds_everything = True
    assert is_own_address("192.0.2.2")
    assert not is_own_address("192.0.2.3")
    assert system.made == system.closed


def test_what_cannot_be_found_out_counts_as_own(system: System) -> None:
    for number in (errno.EMFILE, errno.ENFILE):
        system.error = number
        assert is_own_address("192.0.2.3")
    system.error = errno.EAFNOSUPPORT
    assert not is_own_address("2001:db8::7")


def test_an_answer_holds_for_a_while(system: System) -> None:
    clock = Clock()
    own = OwnAddresses(clock.seconds, ttl=5)
    assert own("192.0.2.2")
    assert not own("192.0.2.3")
    asked = system.made
    system.own = "192.0.2.3"
    clock.advance(4.9)
    assert own("192.0.2.2")
    assert not own("192.0.2.3")
    assert system.made == asked
    clock.advance(0.1)
    assert not own("192.0.2.2")
    assert own("192.0.2.3")
    assert repr(own) == "<OwnAddresses known=2>"


def test_the_memo_is_bounded(system: System) -> None:
    own = OwnAddresses(Clock().seconds)
    for number in range(3000):
        assert not own(f"10.0.{number >> 8}.{number & 255}")
    assert len(own._memo) <= 1024
