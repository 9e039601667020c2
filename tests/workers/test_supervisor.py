"""Several workers: started, told, watched, replaced and ended, with processes that do what the test says."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.workers.conftest import FakeProcess, MakeOrders, Processes
from twistedproxy.access.limits.limits import Limits
from twistedproxy.access.limits.spending import Spending, Tidings, UnderWay, Used
from twistedproxy.control.link import CannotUse, Listing, Part, Report, Startup
from twistedproxy.limits.clearing import Clearing, Spender
from twistedproxy.limits.state import ShareState
from twistedproxy.listeners import Listeners
from twistedproxy.record.connections import Connection
from twistedproxy.record.learned import Learned
from twistedproxy.record.statistics import Statistics
from twistedproxy.settings.load import load
from twistedproxy.usage import Usage
from twistedproxy.workers.entrance import Entrance
from twistedproxy.workers.supervisor import PATIENCE, PULSE, Supervisor


class Fleet:
    """A supervisor, and its processes."""

    def __init__(self, processes: Processes, startup: Startup, make_orders: MakeOrders) -> None:
        self.processes = processes
        self.make_orders = make_orders
        self.listeners = Listeners(processes)
        self.clearing = Clearing(lambda: 1.8e9)
        self.supervisor = Supervisor(processes, startup, {}, seconds=processes.seconds, clearing=self.clearing)

    def start(self, **orders: Any) -> Deferred[None]:
        return self.supervisor.start(self.make_orders(**orders), self.listeners)

    async def serve(self, **orders: Any) -> None:
        await self.start(**orders)

    async def use(self, **orders: Any) -> list[str]:
        return await self.supervisor.use(self.make_orders(**orders), self.listeners)

    @property
    def states(self) -> list[str]:
        return [slot.state for slot in self.supervisor._slots]

    @property
    def running(self) -> list[FakeProcess]:
        return [one for one in self.processes.all if not one.ended]

    async def end(self) -> None:
        drained = self.supervisor.drain(0)
        for one in self.running:
            one.die()
        self.processes.advance(0)
        await drained


@pytest_twisted.async_yield_fixture
async def fleet(processes: Processes, startup: Startup, make_orders: MakeOrders) -> Any:
    """A supervisor that nobody has started yet."""
    made = Fleet(processes, startup, make_orders)
    yield made
    await made.end()


def limits_of(tables: str) -> Limits | None:
    return Limits.of(load("", "test", [("limits.tables", tables)]).settings.limits)


def obeyed(process: FakeProcess) -> list[int]:
    """The generations of the orders that it was told."""
    return [heard["orders"].generation for heard in process.far.heard_of("Obey")]


# ---------------------------------------------------------------- the beginning


@pytest_twisted.ensureDeferred
async def test_serves_when_all_do(fleet: Fleet) -> None:
    last: Deferred[Any] = Deferred()
    started = fleet.start(workers=3)
    fleet.processes.all[2].far.answers["Obey"] = last
    await fleet.processes.until(lambda: fleet.states == ["ready", "ready", "starting"])
    assert not started.called
    last.callback({"complaint": ""})
    await started
    startups = [one.far.heard_of("Begin")[0]["startup"] for one in fleet.processes.all]
    assert [one.number for one in startups] == [0, 1, 2]
    assert repr(fleet.supervisor).startswith("<Supervisor [<Slot 0 ready pid=1000 restarts=0>, <Slot 1 ready ")


@pytest_twisted.ensureDeferred
async def test_one_that_dies_at_the_beginning_is_waited_for(fleet: Fleet, logged_errors: Any) -> None:
    started = fleet.start()
    fleet.processes.all[1].die(status=1)
    await fleet.processes.until(lambda: fleet.states == ["ready", "waiting"])
    assert not started.called
    fleet.processes.advance(0)
    await started
    # Whatever comes and goes later is no beginning.
    fleet.processes.all[0].die(status=1)
    fleet.processes.advance(0)
    await fleet.processes.until(lambda: fleet.states == ["ready", "ready"])
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_end_before_all_serve(fleet: Fleet) -> None:
    started = fleet.start()
    drained = fleet.supervisor.drain(5.0)
    with pytest.raises(CannotUse, match=r"^the workers end before all of them served$"):
        await started
    assert [one.signals for one in fleet.processes.all] == [["KILL"], ["KILL"]]
    for one in fleet.processes.all:
        one.die(signal=9)
    await drained


@pytest_twisted.ensureDeferred
async def test_one_fewer_may_be_the_one_that_was_waited_for(fleet: Fleet) -> None:
    started = fleet.start(workers=3)
    fleet.processes.all[2].far.answers["Obey"] = Deferred()
    await fleet.processes.until(lambda: fleet.states == ["ready", "ready", "starting"])
    await fleet.use(generation=2, workers=2)
    await started
    fleet.processes.all[2].die(signal=9)


# ---------------------------------------------------------------- other orders


@pytest_twisted.ensureDeferred
async def test_other_orders(fleet: Fleet) -> None:
    await fleet.serve()
    fleet.processes.all[1].far.answers["Obey"] = {"complaint": "the log stays"}
    assert await fleet.use(generation=2) == ["the log stays"]
    assert [obeyed(one) for one in fleet.processes.all] == [[1, 2], [1, 2]]


@pytest_twisted.ensureDeferred
async def test_same_complaint_is_made_once(fleet: Fleet) -> None:
    await fleet.serve(workers=3)
    for one, complaint in zip(fleet.processes.all, ("b", "a", "b"), strict=True):
        one.far.answers["Obey"] = {"complaint": complaint}
    assert await fleet.use(generation=2, workers=3) == ["a", "b"]


@pytest_twisted.ensureDeferred
async def test_refused_orders(fleet: Fleet, logged_errors: Any) -> None:
    """Nobody starts with what the others refuse, and no worker is added or taken away for it."""
    await fleet.serve()
    fleet.processes.all[0].far.answers["Obey"] = CannotUse("no")
    fleet.processes.all[1].far.answers["Obey"] = CannotUse("never")
    with pytest.raises(CannotUse, match=r"^never\nno$"):
        await fleet.use(generation=2, workers=3)
    assert len(fleet.processes.all) == 2
    fleet.processes.all[0].die(status=1)
    fleet.processes.advance(0)
    await fleet.processes.until(lambda: fleet.states == ["ready", "ready"])
    assert obeyed(fleet.processes.all[2]) == [1]
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_one_dies_over_other_orders(fleet: Fleet, logged_errors: Any) -> None:
    """The next one goes by them from the beginning."""
    await fleet.serve()
    fleet.processes.all[1].far.answers["Obey"] = Deferred()
    used = fleet.supervisor.use(fleet.make_orders(generation=2), fleet.listeners)
    await fleet.processes.until(lambda: obeyed(fleet.processes.all[1]) == [1, 2])
    assert not used.called
    fleet.processes.all[1].die(signal=11)
    assert await used == []
    fleet.processes.advance(0)
    await fleet.processes.until(lambda: fleet.states == ["ready", "ready"])
    assert obeyed(fleet.processes.all[2]) == [2]
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_listeners_are_the_workers(fleet: Fleet, running_reactor: Any) -> None:
    """The parent opens what is new, and accepts nothing there."""
    await fleet.serve()
    listeners = Listeners(running_reactor)
    listeners.open(["tcp:0:interface=127.0.0.1"], Entrance().at)
    orders = fleet.make_orders(generation=2)
    assert await fleet.supervisor.use(orders, listeners) == []
    assert not set(listeners.ports) & set(running_reactor.getReaders())
    assert [len(one.far.heard_of("Listen")) for one in fleet.processes.all] == [1, 1]
    await listeners.close()


@pytest_twisted.ensureDeferred
async def test_more_and_fewer_workers(fleet: Fleet) -> None:
    await fleet.serve()
    await fleet.use(generation=2, workers=3)
    await fleet.processes.until(lambda: fleet.states == ["ready"] * 3)
    await fleet.use(generation=3, workers=2, service__drain_timeout="7")
    leaving = fleet.processes.all[2]
    await fleet.processes.until(lambda: leaving.far.heard_of("Drain"))
    assert leaving.far.heard_of("Drain") == [{"timeout": 7.0}]
    # A number means one of them, also while the earlier one still drains.
    await fleet.use(generation=4, workers=3)
    await fleet.processes.until(lambda: fleet.states == ["ready"] * 3)
    workers = await fleet.supervisor.numbers()
    assert [(one.number, one.state) for one in workers] == [
        *((0, "ready"), (1, "ready"), (3, "ready"), (2, "draining")),
    ]
    leaving.far.report = Report(Statistics(connections_accepted=5), Usage())
    await fleet.supervisor.numbers()
    leaving.die()
    assert [one.number for one in await fleet.supervisor.numbers()] == [0, 1, 3]
    assert fleet.supervisor.departed.connections_accepted == 5


@pytest_twisted.ensureDeferred
async def test_level_is_that_of_later_ones_too(fleet: Fleet, logged_errors: Any) -> None:
    await fleet.serve(level="info")
    fleet.supervisor.set_level("debug")
    await fleet.processes.until(lambda: all(one.far.heard_of("SetLevel") for one in fleet.processes.all))
    assert fleet.processes.all[0].far.heard_of("SetLevel") == [{"level": "debug"}]
    fleet.processes.all[0].die(status=1)
    fleet.processes.advance(0)
    await fleet.processes.until(lambda: fleet.states == ["ready", "ready"])
    assert fleet.processes.all[2].far.heard_of("Obey")[0]["orders"].level == "debug"
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_logs_are_reopened(fleet: Fleet) -> None:
    await fleet.serve()
    fleet.supervisor.reopen_logs()
    await fleet.processes.until(lambda: all(one.far.heard_of("ReopenLogs") for one in fleet.processes.all))


# ---------------------------------------------------------------- watching


@pytest_twisted.ensureDeferred
async def test_each_learns_what_the_others_have(fleet: Fleet) -> None:
    await fleet.serve(workers=3)
    for number, one in enumerate(fleet.processes.all, 1):
        one.far.report = Report(
            Statistics(), Usage({"192.0.2.1": number}, {("http", "a.test", 80, ""): 10}, number * 100)
        )
    for _ in range(2):
        fleet.processes.advance(PULSE)
        await fleet.processes.settle()
    heard = [one.far.heard_of("Pulse") for one in fleet.processes.all]
    assert [told[0] for told in heard] == [{"elsewhere": Usage(), "complete": False}] * 3
    elsewhere = [told[1]["elsewhere"] for told in heard]
    assert [(one.clients["192.0.2.1"], one.upstream) for one in elsewhere] == [(5, 500), (4, 400), (3, 300)]
    assert [one.origins for one in elsewhere] == [{("http", "a.test", 80, ""): 20}] * 3


LIMITS = '[{ name = "a", per = "client", connections = 5, daily = "1GiB" }]'


@pytest_twisted.ensureDeferred
async def test_each_learns_what_the_others_spend(fleet: Fleet, logged_errors: Any) -> None:
    await fleet.serve(limits__tables=LIMITS)
    first, second = (one.far for one in fleet.processes.all)
    await fleet.processes.settle()
    # What was used before has not to wait for a second.
    assert len(first.heard_of("Pulse")) == len(second.heard_of("Pulse")) == 1
    spent = {"a": {"192.0.2.1": Spending(3, 200, 100)}}
    first.report = Report(Statistics(), Usage(limits=Tidings(spent, {"a": {"192.0.2.1": UnderWay(2, 1)}})))
    fleet.processes.advance(PULSE)
    await fleet.processes.settle()
    first.report = Report(Statistics(), Usage())
    fleet.processes.advance(PULSE)
    await fleet.processes.settle()
    (told,) = [one["elsewhere"].limits for one in second.heard_of("Pulse")][2:]
    assert told == Tidings(spent, {"a": {"192.0.2.1": UnderWay(2, 1)}})
    assert all(one["elsewhere"].limits == Tidings() for one in first.heard_of("Pulse"))
    # The one that takes its place is told of all that was used.
    fleet.processes.all[1].die()
    fleet.processes.advance(0)
    await fleet.processes.until(lambda: fleet.states == ["ready", "ready"])
    await fleet.processes.settle()
    (told,) = [one["elsewhere"].limits for one in fleet.processes.all[2].far.heard_of("Pulse")]
    assert told == Tidings()
    fleet.clearing.use(limits_of(LIMITS))
    fleet.clearing.learned(Spender("a", "192.0.2.1"), Used(5, 7))
    fleet.processes.advance(PULSE)
    await fleet.processes.settle()
    assert [one.far.heard_of("Pulse")[-1]["elsewhere"].limits.used for one in fleet.running] == [
        {"a": {"192.0.2.1": Used(5, 7)}}
    ] * 2
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_last_words_are_heard(fleet: Fleet) -> None:
    await fleet.serve(limits__tables=LIMITS)
    await fleet.processes.settle()
    fleet.clearing.use(limits_of(LIMITS))
    for one in fleet.processes.all:
        await one.far.ask(Part, tidings=Tidings({"a": {"x": Spending(1, 20, 1)}}))
    assert fleet.clearing.used(Spender("a", "x")) == Used(42, 42)


@pytest_twisted.ensureDeferred
async def test_limits_are_told_of_and_filled_again(fleet: Fleet) -> None:
    await fleet.serve()
    states = [ShareState("a", "x", today=5)]
    for one in fleet.processes.all:
        one.far.answers["TellLimits"] = {"states": states}
    assert await fleet.supervisor.limit_states("a", 7) == states * 2
    assert all(one.far.heard_of("TellLimits") == [{"name": "a", "most": 7}] for one in fleet.processes.all)
    await fleet.supervisor.refill("a", "x")
    assert all(one.far.heard_of("Refill") == [{"limit": "a", "key": "x"}] for one in fleet.processes.all)


@pytest_twisted.ensureDeferred
async def test_one_that_hangs_is_replaced(fleet: Fleet, said: list[str], logged_errors: Any) -> None:
    await fleet.serve(service__lag_limit="3")
    hangs = fleet.processes.all[1]
    hangs.far.answers["Pulse"] = Deferred()
    for _ in range(4):
        fleet.processes.advance(PULSE)
        await fleet.processes.settle()
    assert hangs.signals == []
    fleet.processes.advance(PULSE)
    assert (hangs.signals, fleet.processes.all[0].signals) == (["KILL"], [])
    # It was asked once, and not every second of its silence.
    assert len(hangs.far.heard_of("Pulse")) == 1
    hangs.die(signal=9)
    assert said[-1].endswith("was killed, because its reactor did not answer for 4.0 s after 5.0 s; another starts now")
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_parent_that_stood_still_itself_judges_nobody(fleet: Fleet) -> None:
    """A machine that was suspended: the answers are there, and only not read yet."""
    await fleet.serve(service__lag_limit="3")
    fleet.processes.advance(PULSE)
    fleet.processes.advance(60.0)
    assert [one.signals for one in fleet.processes.all] == [[], []]
    await fleet.processes.settle()
    fleet.processes.advance(PULSE)
    assert [one.signals for one in fleet.processes.all] == [[], []]


@pytest_twisted.ensureDeferred
async def test_one_that_drains_is_watched_too(fleet: Fleet) -> None:
    await fleet.serve(service__lag_limit="3")
    await fleet.use(generation=2, workers=1, service__lag_limit="3")
    leaving = fleet.processes.all[1]
    leaving.far.answers["Pulse"] = Deferred()
    for _ in range(5):
        fleet.processes.advance(PULSE)
        await fleet.processes.settle()
    assert leaving.signals == ["KILL"]


@pytest_twisted.ensureDeferred
async def test_numbers(fleet: Fleet) -> None:
    await fleet.serve()
    for number, one in enumerate(fleet.processes.all, 1):
        one.far.report = Report(Statistics(connections=number), Usage())
    workers = await fleet.supervisor.numbers()
    assert [one.statistics.connections for one in workers] == [1, 2]
    assert [one.far.heard_of("Pulse")[0]["complete"] for one in fleet.processes.all] == [True, True]


@pytest.mark.parametrize("answers", [True, False])
@pytest_twisted.ensureDeferred
async def test_numbers_of_one_that_does_not_answer_in_time(fleet: Fleet, answers: bool) -> None:
    """They are those of the last time; and an answer that comes later is nobody's concern."""
    await fleet.serve()
    late: Deferred[Any] = Deferred()
    fleet.processes.all[1].far.answers["Pulse"] = late
    asked = fleet.supervisor.numbers()
    await fleet.processes.settle()
    assert not asked.called
    fleet.processes.advance(PATIENCE)
    workers = await asked
    assert [one.state for one in workers] == ["ready", "ready"]
    assert workers[1].statistics == Statistics()
    if answers:
        late.callback({"report": Report(Statistics(connections=7), Usage())})
        await fleet.processes.until(lambda: fleet.supervisor._slots[1].report)
        assert fleet.supervisor._slots[1].status().statistics.connections == 7


@pytest_twisted.ensureDeferred
async def test_numbers_without_anybody(fleet: Fleet) -> None:
    assert await fleet.supervisor.numbers() == []


# ---------------------------------------------------------------- connections


def connection(worker: int, number: int, age: float) -> Connection:
    return Connection(f"{worker}-{number}", "192.0.2.1:1", "idle", age, 0, "", "", "", 0, 0)


@pytest_twisted.ensureDeferred
async def test_connections(fleet: Fleet, logged_errors: Any) -> None:
    await fleet.serve(workers=3)
    for number, one in enumerate(fleet.processes.all):
        one.far.answers["ListConnections"] = {"listing": Listing(9, [connection(number, 1, 5.0 + number)])}
    fleet.processes.all[2].far.answers["ListConnections"] = Deferred()
    asked = fleet.supervisor.connections(2, "192.0.2.1", "idle")
    await fleet.processes.settle()
    # It ends instead of an answer, which must not spoil those of the others.
    fleet.processes.all[2].die(signal=9)
    listing = await asked
    assert (listing.total, [one.id for one in listing.connections]) == (18, ["1-1", "0-1"])
    assert fleet.processes.all[0].far.heard_of("ListConnections") == [
        {"limit": 2, "client": "192.0.2.1", "state": "idle"}
    ]
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_learned(fleet: Fleet, logged_errors: Any) -> None:
    await fleet.serve(workers=3)
    for number, one in enumerate(fleet.processes.all):
        one.far.answers["TellLearned"] = {"learned": [Learned(number, "192.0.2.1", "a.test", 2, True, 5.0)]}
    fleet.processes.all[2].far.answers["TellLearned"] = Deferred()
    asked = fleet.supervisor.learned("a.test", True)
    await fleet.processes.settle()
    fleet.processes.all[2].die(signal=9)
    assert [one.worker for one in await asked] == [0, 1]
    assert fleet.processes.all[0].far.heard_of("TellLearned") == [{"host": "a.test", "forget": True}]
    logged_errors.flush_messages()


@pytest_twisted.ensureDeferred
async def test_closing_a_connection(fleet: Fleet) -> None:
    await fleet.serve()
    fleet.processes.all[1].far.answers["CloseConnection"] = {"closed": True}
    assert await fleet.supervisor.close_connection(1, 17)
    assert not await fleet.supervisor.close_connection(0, 17)
    assert not await fleet.supervisor.close_connection(2, 17)
    assert [one.far.heard_of("CloseConnection") for one in fleet.processes.all] == [[{"number": 17}]] * 2
    fleet.processes.all[1].far.answers["CloseConnection"] = CannotUse("it is at fault")
    assert not await fleet.supervisor.close_connection(1, 17)


# ---------------------------------------------------------------- the end


@pytest_twisted.ensureDeferred
async def test_drains(fleet: Fleet) -> None:
    await fleet.serve()
    drained = fleet.supervisor.drain(3.0)
    again = fleet.supervisor.drain(1.0)
    await fleet.processes.until(lambda: all(one.far.heard_of("Drain") for one in fleet.processes.all))
    assert [one.far.heard_of("Drain") for one in fleet.processes.all] == [[{"timeout": 3.0}]] * 2
    # Orders that come now are not for them.
    assert await fleet.use(generation=2, workers=4) == []
    assert len(fleet.processes.all) == 2
    fleet.processes.all[0].die()
    assert not drained.called
    fleet.processes.all[1].die()
    await drained
    await again
    assert fleet.processes.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_stop_cuts_what_drains(fleet: Fleet) -> None:
    await fleet.serve()
    fleet.supervisor.drain(3600.0)
    fleet.processes.all[1].far.transport.loseConnection()
    await fleet.processes.until(lambda: fleet.supervisor._slots[1]._link is None)
    fleet.supervisor.stop()
    await fleet.processes.until(lambda: fleet.processes.all[0].far.heard_of("Stop"))
    assert [one.signals for one in fleet.processes.all] == [[], ["KILL"]]
