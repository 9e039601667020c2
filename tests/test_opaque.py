"""Which relay two connections become."""

from __future__ import annotations

import socket

import pytest

from tests.memory import MemoryTransport, Wire
from twistedproxy.opaque import relay_between
from twistedproxy.settings.types import TunnelSettings
from twistedproxy.tunnel.copying import CopyingRelay, Observer
from twistedproxy.tunnel.relay import Relay
from twistedproxy.tunnel.splice import SpliceRelay


class SocketTransport(MemoryTransport):
    """A transport that has a socket, and counts who asks it to let go."""

    def __init__(self, wire: Wire, sock: socket.socket) -> None:
        super().__init__(wire.reactor)
        self.sock = sock
        self.stopped: list[str] = []
        self.protocol = object()

    def getHandle(self) -> socket.socket:  # type: ignore[override]  # the base has none
        return self.sock

    def stopReading(self) -> None:
        self.stopped.append("reading")

    def stopWriting(self) -> None:
        self.stopped.append("writing")


@pytest.fixture
def wire() -> Wire:
    return Wire()


class Looking:
    """Sees what passes."""

    def passed_to_upstream(self, data: bytes) -> None:
        """Whatever it is."""

    passed_to_client = passed_to_upstream


def between(
    wire: Wire, client: object, upstream: object, splice: bool, observer: Observer | None = None
) -> tuple[Relay, list[Relay]]:
    ended: list[Relay] = []
    relay = relay_between(
        wire.plane,
        TunnelSettings(splice=splice),
        client,
        upstream,
        to_upstream=b"",
        to_client=b"",
        ended=ended.append,
        observer=observer,
    )
    return relay, ended


def test_two_sockets_are_spliced(wire: Wire) -> None:
    (ours, theirs), (near, far) = socket.socketpair(), socket.socketpair()
    transport = SocketTransport(wire, ours)
    relay, ended = between(wire, transport, near, True)
    assert isinstance(relay, SpliceRelay)
    assert transport.stopped == ["reading", "writing"]
    assert transport.protocol is None
    wire.reactor.removeReader = wire.reactor.removeWriter = lambda _: None  # type: ignore[attr-defined]  # a double
    relay.stop("stopped")
    assert ended == [relay]
    assert (ours.fileno(), near.fileno()) == (-1, -1)
    theirs.close()
    far.close()


@pytest.mark.parametrize(
    ("splice", "sockets", "observed"), [(True, False, False), (False, True, False), (True, True, True)]
)
def test_anything_else_is_copied(wire: Wire, splice: bool, sockets: bool, observed: bool) -> None:
    """What is more than a socket, what the settings do not allow to splice, and what somebody looks at."""
    near, far = socket.socketpair()
    client = SocketTransport(wire, far) if sockets else MemoryTransport(wire.reactor)
    relay, ended = between(wire, client, near, splice, Looking() if observed else None)
    assert isinstance(relay, CopyingRelay)
    assert near.fileno() == -1
    relay.start()
    relay.stop("stopped")
    assert ended == [relay]
    assert wire.origins[0].closed
    far.close()
