"""What every connection in an opened tunnel does with its requests, and what its end says; see also `test_opening`."""

from __future__ import annotations

from tests.memory import Wire
from twistedproxy.downstream.opened_tunnel import OpenedTunnel
from twistedproxy.http.inner import Inside

INSIDE = Inside.of(b"https", "origin.test", 443)


def opened(wire: Wire, *, secured: bool = True) -> OpenedTunnel:
    return OpenedTunnel(wire.plane, "192.0.2.1", INSIDE, secured)


def rejections(wire: Wire) -> int:
    return sum(one.times for one in wire.plane.rejections.all())


def test_end_in_the_middle_of_a_handshake() -> None:
    wire = Wire()
    opened(wire).connection_lost(by_us=False)
    assert rejections(wire) == 1
    opened(wire).connection_lost(by_us=True)
    opened(wire, secured=False).connection_lost(by_us=False)
    assert rejections(wire) == 1


def test_end_after_it() -> None:
    wire = Wire()
    tunnel = opened(wire)
    tunnel.proven = True
    tunnel.connection_lost(by_us=False)
    assert rejections(wire) == 0
    tunnel.alert = 48
    tunnel.connection_lost(by_us=False)
    assert rejections(wire) == 1


def test_repr() -> None:
    assert repr(opened(Wire())) == "<OpenedTunnel 192.0.2.1 to origin.test>"
