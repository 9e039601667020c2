"""Several workers at one queue: whoever has more than the others lets them go first, and waits for nobody for long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.downstream.test_factory import Port
from tests.memory import MemoryTransport, Wire
from twistedproxy.downstream.fair_share import LOOK, LOOKS, PART, SLACK
from twistedproxy.headcount import ABSENT, Headcount


@pytest.fixture
def headcount() -> Iterator[Headcount]:
    headcount = Headcount.new()
    yield headcount
    headcount.close()


class Pair:
    """Worker 0, whose port has clients in its queue, and worker 1, of which there is only its number."""

    def __init__(self, headcount: Headcount, waiting: int, other: int = 0, max_connections: int = 1000) -> None:
        self.headcount = headcount
        self.wire = Wire(max_connections=max_connections)
        self.port = Port(self.wire, waiting)
        self.wire.factory.share(headcount, 0, 2)
        headcount.tell(1, other)
        self.wire.factory.accept_on([self.port])

    @property
    def told(self) -> int:
        """What the others see."""
        return self.headcount.all(1)[0]

    def look(self, times: int = 1) -> None:
        """It has looked so often."""
        for _ in range(times):
            self.wire.reactor.advance(LOOK)

    def take(self) -> int:
        """How many connections it takes until it rests or nobody waits."""
        before = self.wire.factory.connections
        while self.port.reading and self.port.waiting:
            self.port.turn()
        return self.wire.factory.connections - before


@pytest.fixture
def pair(headcount: Headcount) -> Pair:
    return Pair(headcount, waiting=50)


def test_takes_only_what_brings_it_a_little_ahead(pair: Pair) -> None:
    assert pair.take() == SLACK
    assert (pair.told, pair.port.reading) == (SLACK, False)
    assert repr(pair.wire.factory.fair_share) == "<FairShare 0 of 2 resting>"
    pair.look()
    assert not pair.port.reading


def test_goes_on_when_the_other_has_caught_up(pair: Pair) -> None:
    pair.take()
    pair.headcount.tell(1, 6)
    pair.look()
    assert pair.port.reading
    assert repr(pair.wire.factory.fair_share) == "<FairShare 0 of 2>"
    assert pair.take() == 6
    # Ten of one against six of the other: it rests again.
    assert not pair.port.reading
    pair.wire.factory.drain()


def test_one_that_is_behind_catches_up_at_once(headcount: Headcount) -> None:
    pair = Pair(headcount, waiting=50, other=30)
    pair.port.turn()
    assert pair.wire.factory.connections == 30 // PART + 30 + SLACK


def test_many_connections_need_not_be_as_even(headcount: Headcount) -> None:
    pair = Pair(headcount, waiting=300, other=10 * PART)
    assert pair.take() == 10 * PART + 10 + SLACK


def test_one_that_sleeps_is_waited_for_once(pair: Pair) -> None:
    pair.take()
    pair.look(LOOKS - 1)
    assert not pair.port.reading
    pair.look()
    assert pair.port.reading
    assert pair.take() == 50 - SLACK
    pair.port.waiting = 30
    assert pair.take() == 30


def test_one_that_wakes_up_counts_again(pair: Pair) -> None:
    pair.take()
    pair.look(LOOKS)
    pair.take()
    pair.headcount.tell(1, 1)
    pair.port.waiting = 30
    assert pair.take() == 0
    assert not pair.port.reading


def test_one_that_moves_is_not_asleep(pair: Pair) -> None:
    """It takes connections, slowly; each rest ends all the same, and the next connection finds it resting again."""
    pair.take()
    pair.headcount.tell(1, 0)
    pair.look(LOOKS // 2)
    # One has come, and another has gone again.
    pair.headcount.tell(1, 1)
    pair.wire.client()
    pair.wire.client()
    pair.look(LOOKS)
    assert pair.port.reading
    assert pair.take() == 0
    assert not pair.port.reading


def test_nobody_waits_for_one_that_is_absent(headcount: Headcount) -> None:
    pair = Pair(headcount, waiting=50, other=ABSENT)
    assert pair.take() == 50


def test_one_that_is_killed_meanwhile_ends_the_rest(pair: Pair) -> None:
    pair.take()
    pair.headcount.tell(1, ABSENT)
    pair.look()
    assert pair.take() == 50 - SLACK


def test_workers_that_were_let_go_do_not_count(headcount: Headcount) -> None:
    pair = Pair(headcount, waiting=50)
    assert pair.wire.factory.fair_share is not None
    pair.wire.factory.fair_share.workers = 1
    assert pair.take() == 50


def test_place_was_taken_away(headcount: Headcount) -> None:
    """The parent noticed the end of the one that was there before."""
    pair = Pair(headcount, waiting=50, other=20)
    headcount.tell(0, ABSENT)
    pair.port.turn()
    assert pair.wire.factory.connections == 20 // PART + 20 + SLACK
    assert pair.told == pair.wire.factory.connections


def test_ports_rest_together(headcount: Headcount) -> None:
    """Both were ready in one turn of the reactor; the second finds that it rests already."""
    pair = Pair(headcount, waiting=50)
    second = Port(pair.wire, waiting=50)
    pair.wire.factory.accept_on([pair.port, second])
    pair.port.doRead()
    pair.port.doRead()
    timers = len(pair.wire.reactor.getDelayedCalls())
    second.doRead()
    assert len(pair.wire.reactor.getDelayedCalls()) == timers
    assert [pair.port.reading, second.reading] == [False, False]
    assert (pair.wire.factory.connections, second.waiting) == (SLACK, 50)
    # A reload in the middle of it does not end the rest.
    pair.wire.factory.accept_on([pair.port, second])
    assert not second.reading
    pair.look(LOOKS)
    assert [pair.port.reading, second.reading] == [True, True]


def test_tells_of_what_it_has(headcount: Headcount) -> None:
    pair = Pair(headcount, waiting=3)
    assert pair.told == 0
    pair.take()
    assert pair.told == 3
    clients: list[MemoryTransport] = pair.port.accepted
    clients[0].peer_closes()
    assert pair.told == 2


def test_one_that_is_full_is_not_waited_for(headcount: Headcount) -> None:
    pair = Pair(headcount, waiting=3, max_connections=3)
    pair.take()
    assert pair.told == ABSENT
    pair.port.accepted[0].peer_closes()
    assert pair.told == 2


def test_one_that_drains_is_not_waited_for(pair: Pair) -> None:
    pair.take()
    client = pair.port.accepted[0]
    client.receive(b"GET http://origin.test/ HTTP/1.1\r\n")
    pair.wire.factory.drain()
    assert pair.told == ABSENT
    # Its place may be another's by now.
    pair.headcount.tell(0, 7)
    client.peer_closes()
    assert pair.told == 7
    assert not pair.port.reading
