"""One worker's place: processes that begin, fail, hang and end, with the test's time, and links over real sockets."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.workers.conftest import LOOPBACK, FakeProcess, MakeOrders, Processes
from twistedproxy import __version__
from twistedproxy.access.limits.spending import Tidings
from twistedproxy.control.link import CannotUse, Report, Startup, Stop
from twistedproxy.headcount import Headcount
from twistedproxy.record.statistics import Statistics
from twistedproxy.usage import Usage
from twistedproxy.workers.slot import BACK_OFF, LIVED, STARTING, Slot, with_our_modules

NOTHING = Usage()


class Place:
    """A slot, and what it is given."""

    def __init__(self, processes: Processes, startup: Startup, orders: Any) -> None:
        self.processes = processes
        self.orders = orders
        self.sockets: dict[str, int] = {}
        self.ready = 0
        self.died: list[Report | None] = []
        self.spent: list[Tidings] = []
        self.headcount = Headcount.new()
        self.slot = Slot(
            processes,
            startup,
            {"PATH": "/bin"},
            self.headcount,
            sockets=lambda: self.sockets,
            orders=lambda: self.orders,
            became_ready=self._became_ready,
            spent=self.spent.append,
            died=self.died.append,
            seconds=processes.seconds,
        )

    def _became_ready(self) -> None:
        self.ready += 1

    @property
    def process(self) -> FakeProcess:
        """The last one."""
        return self.processes.all[-1]

    async def serve(self) -> None:
        """Start one, and let it serve."""
        if not self.processes.all:
            self.slot.start()
        await self.processes.until(lambda: self.slot.state == "ready")

    def end(self) -> None:
        """Nothing is left when the test is over."""
        self.slot.drain(0)
        self.processes.advance(0)
        if self.slot._process is not None:
            self.process.die()
        self.headcount.close()


@pytest.fixture
def place(processes: Processes, startup: Startup, make_orders: MakeOrders) -> Iterator[Place]:
    """The place of worker 0."""
    made = Place(processes, startup, make_orders())
    yield made
    made.end()


# ---------------------------------------------------------------- the beginning


@pytest_twisted.ensureDeferred
async def test_starts(place: Place, startup: Startup, said: list[str]) -> None:
    assert repr(place.slot) == "<Slot 0 waiting pid=0 restarts=0>"
    place.slot.start()
    assert repr(place.slot) == "<Slot 0 starting pid=1000 restarts=0>"
    process = place.process
    assert process.command == (
        *(sys.executable, "-P", "-m", "twistedproxy.workers.process", "0"),
        type(place.processes).__module__,
    )
    assert process.environment == with_our_modules({"PATH": "/bin"})
    assert sorted(process.descriptors) == [0, 1, 2, 3, 4]
    assert [process.descriptors[number] for number in range(3)] == [0, 1, 2]
    await place.serve()
    assert process.far.heard == [("Begin", {"startup": startup}), ("Obey", {"orders": place.orders})]
    assert (place.ready, place.died) == (1, [])
    assert said == ["info worker 0 (process 1000) serves"]


def test_environment() -> None:
    """It finds the modules that this process has found, whatever the directory."""
    environment = with_our_modules({"PATH": "/bin", "PYTHONPATH": "/elsewhere"})
    assert environment.keys() == {"PATH", "PYTHONPATH"}
    assert environment["PYTHONPATH"].split(os.pathsep) == [path for path in sys.path if path]


@pytest_twisted.ensureDeferred
async def test_complaint(place: Place, said: list[str], logged_errors: Any) -> None:
    place.processes.answers["Obey"] = {"complaint": "the log stays"}
    await place.serve()
    assert said[1:] == ["error worker 0: the log stays"]
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_too_long_a_beginning(place: Place, said: list[str], logged_errors: Any) -> None:
    place.processes.answers["Begin"] = Deferred()
    place.slot.start()
    await place.processes.settle()
    place.processes.advance(STARTING - 0.1)
    assert place.process.signals == []
    place.processes.advance(0.1)
    assert place.process.signals == ["KILL"]
    place.process.die(signal=9)
    why = "it did not serve within 30 s"
    assert said == [f"error worker 0 (process 1000) was killed, because {why} after 30.0 s; another starts now"]
    logged_errors.flush_messages()


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (
            {"Begin": {"version": "0.0.1"}},
            f"it is of version 0.0.1, and this daemon of {__version__}: run pyproxyctl upgrade",
        ),
        ({"Begin": CannotUse("its log cannot be opened: no")}, "its log cannot be opened: no"),
        ({"Obey": CannotUse("cannot listen on tcp:1: no")}, "cannot listen on tcp:1: no"),
    ],
    ids=["another version", "no log", "orders it refuses"],
)
@pytest_twisted.ensureDeferred
async def test_beginning_that_comes_to_nothing(
    place: Place, logged_errors: Any, answers: dict[str, Any], why: str
) -> None:
    place.processes.answers |= answers
    place.slot.start()
    await place.processes.until(lambda: place.process.signals)
    assert (place.process.signals, place.ready) == (["KILL"], 0)
    place.process.die(signal=9)
    assert place.slot.status().last_end == f"was killed, because {why}"
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_answer_of_one_that_was_killed_counts_no_more(place: Place) -> None:
    obeyed: Deferred[Any] = Deferred()
    place.processes.answers["Obey"] = obeyed
    place.slot.start()
    await place.processes.until(lambda: place.process.far.heard_of("Obey"))
    place.slot.kill("of a whim")
    obeyed.callback({"complaint": ""})
    await place.processes.settle()
    assert (place.slot.state, place.ready) == ("starting", 0)


@pytest_twisted.ensureDeferred
async def test_orders_that_change_while_it_starts(place: Place, make_orders: MakeOrders, logged_errors: Any) -> None:
    """A reload tells only those that serve; who is about to hears of it before it counts as one of them."""
    first: Deferred[Any] = Deferred()
    place.processes.answers["Obey"] = [first, {"complaint": "second"}]
    place.slot.start()
    await place.processes.until(lambda: place.process.far.heard_of("Obey"))
    place.orders = make_orders(generation=2)
    first.callback({"complaint": "first"})
    await place.serve()
    assert [heard["orders"].generation for heard in place.process.far.heard_of("Obey")] == [1, 2]
    assert place.ready == 1
    assert logged_errors.flush_messages() == ["worker 0: second"]


# ---------------------------------------------------------------- what it is told


@pytest.fixture
def listeners() -> Iterator[list[socket.socket]]:
    made = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    yield made
    for one in made:
        one.close()


def inode(sock: socket.socket) -> int:
    return os.fstat(sock.fileno()).st_ino


@pytest_twisted.ensureDeferred
async def test_sockets_are_passed_on_once(place: Place, listeners: list[socket.socket]) -> None:
    place.sockets = {LOOPBACK: listeners[0].fileno()}
    await place.serve()
    await place.slot.obey()
    assert [command for command, _ in place.process.far.heard] == ["Begin", "Listen", "Obey", "Obey"]
    place.sockets["tcp:1"] = listeners[1].fileno()
    await place.slot.obey()
    assert place.process.far.heard_of("Listen") == [
        {"description": LOOPBACK, "descriptor": inode(listeners[0])},
        {"description": "tcp:1", "descriptor": inode(listeners[1])},
    ]


@pytest_twisted.ensureDeferred
async def test_another_socket_for_the_same_description(place: Place, listeners: list[socket.socket]) -> None:
    """Even one of the same number, which the system gives away again."""
    place.sockets = {LOOPBACK: os.dup(listeners[0].fileno())}
    await place.serve()
    os.dup2(listeners[1].fileno(), place.sockets[LOOPBACK])
    await place.slot.obey()
    told = [heard["descriptor"] for heard in place.process.far.heard_of("Listen")]
    assert told == [inode(listeners[0]), inode(listeners[1])]
    os.close(place.sockets[LOOPBACK])


@pytest_twisted.ensureDeferred
async def test_socket_that_is_closed_before_it_is_sent(place: Place, listeners: list[socket.socket]) -> None:
    """What is sent is what was meant, and not whatever has the number by then."""
    await place.serve()
    number = os.dup(listeners[0].fileno())
    place.sockets = {LOOPBACK: number}
    asked = place.slot.obey()
    os.dup2(listeners[1].fileno(), number)
    await asked
    assert place.process.far.heard_of("Listen") == [{"description": LOOPBACK, "descriptor": inode(listeners[0])}]
    os.close(number)


@pytest_twisted.ensureDeferred
async def test_each_process_gets_the_sockets(place: Place, listeners: list[socket.socket], logged_errors: Any) -> None:
    place.sockets = {LOOPBACK: listeners[0].fileno()}
    await place.serve()
    place.process.die(signal=11)
    place.processes.advance(0)
    await place.serve()
    assert [len(one.far.heard_of("Listen")) for one in place.processes.all] == [1, 1]
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_refusal_of_orders(place: Place) -> None:
    place.processes.answers["Obey"] = [{"complaint": ""}, CannotUse("no")]
    await place.serve()
    with pytest.raises(CannotUse, match=r"^no$"):
        await place.slot.obey()
    assert (place.slot.state, place.process.signals) == ("ready", [])


@pytest_twisted.ensureDeferred
async def test_there_is_nobody_to_ask(place: Place) -> None:
    assert place.slot.ask(Stop) is None
    assert place.slot.pulse(NOTHING, True) is None
    assert await place.slot.obey() == ""
    place.slot.reopen_logs()
    place.processes.answers["Begin"] = Deferred()
    place.slot.start()
    assert place.slot.ask(Stop) is None


@pytest_twisted.ensureDeferred
async def test_logs_are_reopened_by_one_that_starts(place: Place) -> None:
    obeyed: Deferred[Any] = Deferred()
    place.processes.answers["Obey"] = obeyed
    place.slot.start()
    place.slot.reopen_logs()
    await place.processes.until(lambda: place.process.far.heard_of("ReopenLogs"))
    obeyed.callback({"complaint": ""})
    await place.serve()


# ---------------------------------------------------------------- what it tells


@pytest_twisted.ensureDeferred
async def test_pulse(place: Place) -> None:
    await place.serve()
    place.process.far.report = Report(Statistics(connections=3), Usage({"192.0.2.1": 2}, {}, 1))
    place.processes.advance(2.0)
    asked = place.slot.pulse(Usage(upstream=5), True)
    place.processes.advance(0.25)
    assert place.slot.silent == 0.25
    assert asked is not None
    await asked
    assert place.slot.silent == 0.0
    place.processes.advance(0.5)
    assert place.process.far.heard_of("Pulse") == [{"elsewhere": Usage(upstream=5), "complete": True}]
    status = place.slot.status()
    assert (status.number, status.pid, status.state, status.restarts) == (0, 1000, "ready", 0)
    assert (status.uptime, status.answered, status.statistics.connections) == (2.75, 0.5, 3)


@pytest_twisted.ensureDeferred
async def test_bytes_never_become_fewer(place: Place) -> None:
    """A complete answer has those that are under way, and the next one has not: a counter must not go back."""
    await place.serve()
    for bytes, expected in (
        ({"to_client": 900, "from_client": 5}, {"to_client": 900, "from_client": 5}),
        ({"to_client": 100, "from_client": 7}, {"to_client": 900, "from_client": 7}),
    ):
        place.process.far.report = Report(Statistics(bytes=bytes), Usage())
        asked = place.slot.pulse(NOTHING, False)
        assert asked is not None
        await asked
        assert place.slot.report is not None
        assert place.slot.report.statistics.bytes == expected


@pytest_twisted.ensureDeferred
async def test_silence_counts_from_the_first_question(place: Place) -> None:
    await place.serve()
    place.process.far.answers["Pulse"] = [Deferred(), Deferred()]
    place.slot.pulse(NOTHING, False)
    place.processes.advance(3.0)
    place.slot.pulse(NOTHING, False)
    place.processes.advance(1.0)
    assert place.slot.silent == 4.0


@pytest_twisted.ensureDeferred
async def test_refusal_is_an_answer_too(place: Place) -> None:
    await place.serve()
    place.process.far.answers["Pulse"] = CannotUse("it is at fault")
    asked = place.slot.pulse(NOTHING, False)
    assert asked is not None
    await asked
    place.processes.advance(5.0)
    assert (place.slot.silent, place.slot.report) == (0.0, None)


@pytest_twisted.ensureDeferred
async def test_question_that_its_end_answers(place: Place, logged_errors: Any) -> None:
    await place.serve()
    place.process.far.answers["Pulse"] = Deferred()
    asked = place.slot.pulse(NOTHING, False)
    await place.processes.settle()
    place.process.die(status=3)
    assert asked is not None
    await asked
    assert place.slot.silent == 0.0
    logged_errors.flush_messages()


# ---------------------------------------------------------------- one process after another


@pytest.mark.parametrize(
    ("status", "signal", "how"),
    [(None, None, "ended"), (3, None, "ended with status 3"), (None, 11, "was ended by signal 11")],
)
@pytest_twisted.ensureDeferred
async def test_how_it_ended(
    place: Place, said: list[str], logged_errors: Any, status: int | None, signal: int | None, how: str
) -> None:
    await place.serve()
    place.slot.report = report = Report(Statistics(connections_accepted=3), Usage())
    place.processes.advance(1.5)
    place.process.die(status, signal)
    assert place.died == [report]
    told = place.slot.status()
    assert (told.state, told.pid, told.restarts, told.last_end) == ("waiting", 0, 1, how)
    assert (told.uptime, told.answered, told.statistics) == (0.0, 0.0, Statistics())
    assert said[1:] == [f"error worker 0 (process 1000) {how} after 1.5 s; another starts now"]
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_back_off(place: Place, logged_errors: Any) -> None:
    """Each that follows waits longer; the counting begins anew with one that lived."""
    place.slot.start()
    for number, delay in enumerate([*BACK_OFF, BACK_OFF[-1]], 1):
        place.process.die(status=1)
        place.processes.advance(max(0.0, delay - 0.01))
        assert len(place.processes.all) == number + (delay == 0)
        place.processes.advance(0.01)
        assert len(place.processes.all) == number + 1
    place.processes.answers = {}
    await place.processes.until(lambda: place.slot.state == "ready")
    place.processes.advance(LIVED)
    place.process.die(status=1)
    count = len(place.processes.all)
    place.processes.advance(0)
    assert len(place.processes.all) == count + 1
    assert len(logged_errors.flush_messages()) == len(BACK_OFF) + 2


@pytest.mark.parametrize("what", ["process", "sockets"])
def test_process_that_cannot_be_started(
    place: Place, said: list[str], logged_errors: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """No descriptors, or no memory: it tries again, as after any other failure."""
    with monkeypatch.context() as short:
        if what == "process":
            place.processes.failure = OSError(11, "Resource temporarily unavailable")
        else:

            def none(*_: object) -> None:
                raise OSError(24, "Too many open files")

            short.setattr(socket, "socketpair", none)
        place.slot.start()
    assert said[0].startswith("error worker 0 (process 0) could not be started: [Errno ")
    assert (place.slot.state, place.slot.restarts, place.died) == ("waiting", 1, [None])
    place.processes.failure = None
    place.processes.advance(0)
    assert (place.slot.state, place.slot.pid) == ("starting", 1000)
    logged_errors.flush_messages()


def test_process_that_cannot_be_linked(place: Place, logged_errors: Any) -> None:
    """It is there, and must not count as two ends."""
    place.processes.adoption = OSError(24, "Too many open files")
    place.slot.start()
    assert place.process.signals == ["KILL"]
    assert place.processes.getDelayedCalls() == []
    place.process.die(signal=9)
    assert (place.slot.restarts, place.died) == (1, [None])
    place.processes.adoption = None
    place.processes.advance(0)
    assert len(place.processes.all) == 2
    assert len(logged_errors.flush_messages()) == 1


@pytest_twisted.ensureDeferred
async def test_late_loss_is_not_taken_for_that_of_the_next_link(place: Place, logged_errors: Any) -> None:
    await place.serve()
    old = place.slot._link
    assert old is not None
    place.process.die(signal=9)
    place.processes.advance(0)
    await place.serve()
    old._on_loss()
    assert place.slot._link is not None
    assert place.slot.state == "ready"
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_link_that_breaks_alone(place: Place, logged_errors: Any) -> None:
    """The process takes it for the daemon's end, and drains: it is told of as such, and limited in time."""
    await place.serve()
    place.process.far.transport.loseConnection()
    await place.processes.until(lambda: place.slot.state == "draining")
    assert await place.slot.obey() == ""
    assert place.slot.ask(Stop) is None
    limit = place.orders.settings.service.drain_timeout + STARTING
    place.processes.advance(limit - 0.1)
    assert place.process.signals == []
    place.processes.advance(0.1)
    assert place.process.signals == ["KILL"]
    place.process.die(signal=9)
    assert place.slot.status().last_end == "was killed, because it did not end in time"
    place.processes.advance(0)
    assert place.slot.state == "starting"
    logged_errors.flush_messages()


# ---------------------------------------------------------------- the end


@pytest_twisted.ensureDeferred
async def test_drains(place: Place, said: list[str]) -> None:
    await place.serve()
    gone = place.slot.drain(5.0)
    assert place.slot.drain(1.0) is gone
    await place.processes.until(lambda: place.process.far.heard_of("Drain"))
    assert (place.process.far.heard_of("Drain"), place.slot.state) == ([{"timeout": 5.0}], "draining")
    asked = place.slot.pulse(NOTHING, False)
    assert asked is not None
    await asked
    place.process.die()
    await gone
    assert (place.slot.state, place.slot.restarts, place.died) == ("waiting", 0, [place.process.far.report])
    assert said[1:] == ["debug worker 0 (process 1000) ended"]


@pytest_twisted.ensureDeferred
async def test_drain_that_its_end_answers(place: Place) -> None:
    """It may have ended before its answer was written, and nobody has to hear of that."""
    await place.serve()
    place.process.far.answers["Drain"] = Deferred()
    gone = place.slot.drain(5.0)
    await place.processes.until(lambda: place.process.far.heard_of("Drain"))
    place.process.die()
    await gone
    await place.processes.settle()


@pytest_twisted.ensureDeferred
async def test_drain_that_takes_too_long(place: Place) -> None:
    await place.serve()
    gone = place.slot.drain(5.0)
    place.processes.advance(5.0 + STARTING)
    assert place.process.signals == ["KILL"]
    place.process.die(signal=9)
    await gone
    assert place.slot.status().last_end == "was killed, because it did not end in time"


@pytest_twisted.ensureDeferred
async def test_drain_before_it_serves(place: Place) -> None:
    place.processes.answers["Begin"] = Deferred()
    place.slot.start()
    gone = place.slot.drain(5.0)
    assert place.process.signals == ["KILL"]
    place.process.die(signal=9)
    await gone
    place.processes.advance(100)
    assert len(place.processes.all) == 1


@pytest_twisted.ensureDeferred
async def test_drain_before_it_has_told_that_it_serves(place: Place, said: list[str]) -> None:
    """It may have clients already, who are not to be cut."""
    obeyed: Deferred[Any] = Deferred()
    place.processes.answers["Obey"] = obeyed
    place.slot.start()
    await place.processes.until(lambda: place.process.far.heard_of("Obey"))
    gone = place.slot.drain(5.0)
    assert place.process.signals == []
    obeyed.callback({"complaint": ""})
    await place.processes.until(lambda: place.process.far.heard_of("Drain"))
    assert place.process.far.heard_of("Drain") == [{"timeout": 5.0}]
    await place.processes.settle()
    assert (place.slot.state, place.process.signals, place.ready) == ("draining", [], 0)
    place.processes.advance(5.0 + STARTING)
    assert place.process.signals == ["KILL"]
    place.process.die(signal=9)
    await gone


@pytest_twisted.ensureDeferred
async def test_drain_while_another_would_follow(place: Place, logged_errors: Any) -> None:
    place.slot.start()
    place.process.die(status=1)
    gone = place.slot.drain(5.0)
    assert not gone.called
    place.processes.advance(0)
    assert gone.called
    place.processes.advance(100)
    assert len(place.processes.all) == 1
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_drain_without_a_link(place: Place) -> None:
    """It drains already, and only its time is another."""
    await place.serve()
    place.process.far.transport.loseConnection()
    await place.processes.until(lambda: place.slot.state == "draining")
    place.slot.drain(2.0)
    assert place.process.signals == []
    place.processes.advance(2.0 + STARTING)
    assert place.process.signals == ["KILL"]


@pytest_twisted.ensureDeferred
async def test_stop(place: Place) -> None:
    await place.serve()
    place.slot.drain(100.0)
    place.slot.stop()
    await place.processes.until(lambda: place.process.far.heard_of("Stop"))
    assert place.process.signals == []
    place.process.far.transport.loseConnection()
    await place.processes.until(lambda: place.slot._link is None)
    place.slot.stop()
    assert place.process.signals == ["KILL"]


def test_kill_of_one_that_has_just_ended(place: Place) -> None:
    place.slot.start()
    place.process.ended = True
    place.slot.kill("it hangs")
    assert place.process.signals == []
    place.process.hang_up()
