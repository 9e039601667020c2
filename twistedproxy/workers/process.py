"""What a worker's process runs: ``python -m twistedproxy.workers.process NUMBER REACTOR``, started by its parent.

It hears of everything else over the link. When the link breaks, the parent is gone: nobody would steer it any more
or restart it, so it stops listening at once, which lets the daemon's next start have the port, and ends when what is
under way has.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger, globalLogBeginner

from twistedproxy import __version__
from twistedproxy.access.limits.spending import Tidings
from twistedproxy.blocklists.files import ListOrders
from twistedproxy.control.link import (
    Begin,
    CannotUse,
    CloseConnection,
    Drain,
    LinkEnd,
    ListConnections,
    Listen,
    Listing,
    Obey,
    Orders,
    Part,
    Pulse,
    Refill,
    ReopenLogs,
    Report,
    SetLevel,
    Startup,
    Stop,
    TellLearned,
    TellLimits,
    UseLists,
    connect_end,
)
from twistedproxy.descriptors import raise_limit
from twistedproxy.headcount import Headcount
from twistedproxy.listeners import CannotListen, Listeners
from twistedproxy.logs import CannotLog
from twistedproxy.polling import polled
from twistedproxy.reading import Unusable
from twistedproxy.record.log_file import STANDARD_OUTPUT, LogFile
from twistedproxy.record.operational_log import OperationalLog, operational_log
from twistedproxy.systemd.activation import ActivationError, InheritedSocket
from twistedproxy.usage import Usage
from twistedproxy.worker import Worker

LINK_DESCRIPTOR: Final = 3
"""The descriptor at which the worker finds its end of the link."""

HEADCOUNT_DESCRIPTOR: Final = 4
"""The one of the memory in which the workers tell how many connections they have."""


PARTING: Final = 2.0
"""Seconds that its last words may take to be heard."""


class WorkerEnd(LinkEnd):
    """The worker's end of the link, and the process that it steers."""

    _log = Logger()

    def __init__(self, reactor: Any, headcount: Headcount) -> None:
        super().__init__(self._parent_gone)
        self._reactor = reactor
        self._headcount = headcount
        self._startup: Startup
        self._orders: Orders | None = None
        self._worker: Worker | None = None
        self._log_observer: OperationalLog | None = None
        self._standard_output = LogFile(STANDARD_OUTPUT, reactor)
        self._connections = polled(reactor)
        self._listeners = Listeners(self._connections)
        self._draining: Deferred[None] | None = None

    # ------------------------------------------------------------ what the parent says

    @Begin.responder
    def begin(self, startup: Startup) -> dict[str, Any]:
        """Learn who it is, and log from now on."""
        self._startup = startup
        speaker = f"worker {startup.number}"
        try:
            observer = operational_log(
                startup.log_options, "info", self._reactor, self._reactor, self._standard_output, speaker
            )
        except (OSError, ValueError) as error:
            raise CannotUse(f"its log cannot be opened: {error}") from error
        self._log_observer = observer
        globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False, discardBuffer=True)
        return {"version": __version__}

    @Listen.responder
    def listen(self, description: str, descriptor: int) -> dict[str, Any]:
        """Keep a socket for the orders that name it."""
        try:
            inherited = InheritedSocket.of(descriptor, description=description)
        except ActivationError as error:
            os.close(descriptor)
            raise CannotUse(str(error)) from error
        self._listeners.inherited.add(inherited)
        return {}

    @Obey.responder
    def obey(self, orders: Orders) -> dict[str, Any]:
        """Go by ``orders``. One that ends already does not: its listeners are the next one's."""
        if self._draining is not None:
            return {"complaint": ""}
        worker = self._worker
        try:
            if worker is None:
                worker = self._worker = self._new_worker(orders)
            self._orders = orders
            self._listeners.open(orders.listen, worker.factory.at)
            worker.workers = orders.workers
            worker.use(orders.settings, orders.generation, self._listeners, orders.lists)
        except (CannotListen, Unusable) as error:
            raise CannotUse(str(error)) from error
        self._set_level(orders.level)
        complaint = ""
        try:
            worker.logs.open()
        except CannotLog as error:
            complaint = f"{error}: the old one stays in use"
        self._listeners.close_gone()
        return {"complaint": complaint}

    def _new_worker(self, orders: Orders) -> Worker:
        startup = self._startup
        worker = Worker(
            self._connections,
            orders.settings,
            number=startup.number,
            workers=orders.workers,
            pseudonym=startup.pseudonym,
            descriptors=raise_limit(),
            standard_output=self._standard_output if startup.in_foreground else None,
            access_log_path=startup.access_log_path,
            state_directory=startup.state_directory,
            headcount=self._headcount,
        )
        worker.start()
        return worker

    @Pulse.responder
    def pulse(self, elsewhere: Usage, complete: bool) -> dict[str, Any]:
        """Tell how it goes."""
        worker = self._working()
        worker.learn(elsewhere)
        return {"report": Report(worker.statistics(complete=complete), worker.usage())}

    @ListConnections.responder
    def list_connections(self, limit: int, client: str, state: str) -> dict[str, Any]:
        """Tell of its connections."""
        return {"listing": Listing(*self._working().connections(limit, client, state))}

    @CloseConnection.responder
    def close_connection(self, number: int) -> dict[str, Any]:
        """Close one of them."""
        return {"closed": self._working().close_connection(number)}

    @TellLearned.responder
    def tell_learned(self, host: str, forget: bool) -> dict[str, Any]:
        """Tell who does not take its certificates."""
        return {"learned": self._working().learned(host, forget)}

    @TellLimits.responder
    def tell_limits(self, name: str, most: int) -> dict[str, Any]:
        """Tell what has been taken up of limits."""
        return {"states": self._working().plane.restraint.states(name, most)}

    @Refill.responder
    def refill(self, limit: str, key: str) -> dict[str, Any]:
        """Forget some of that."""
        self._working().plane.restraint.refill(limit, key)
        return {}

    @ReopenLogs.responder
    def reopen_logs(self) -> dict[str, Any]:
        """Go on in new log files."""
        if self._worker is not None:
            self._worker.logs.reopen()
        if self._log_observer is not None:
            self._log_observer.reopen()
        return {}

    @UseLists.responder
    def use_lists(self, lists: ListOrders) -> dict[str, Any]:
        """Go by other lists of what is blocked."""
        if self._worker is not None:
            self._worker.use_lists(lists)
        return {}

    @SetLevel.responder
    def set_level(self, level: str) -> dict[str, Any]:
        """Write the operational log from ``level`` on."""
        self._set_level(level)
        return {}

    def _set_level(self, level: str) -> None:
        if self._log_observer is not None:
            self._log_observer.level = level

    @Drain.responder
    def drain(self, timeout: float) -> dict[str, Any]:
        """Begin to end."""
        self._end(timeout)
        return {}

    @Stop.responder
    def stop(self) -> dict[str, Any]:
        """End without waiting for anybody."""
        self._end(0)
        self._working().stop()
        return {}

    def _working(self) -> Worker:
        if self._worker is None:
            raise CannotUse("the worker has no orders yet")
        return self._worker

    # ------------------------------------------------------------ the end

    def terminate(self) -> None:
        """End in good order, as somebody's signal asks for; the parent starts another."""
        self._end(self._orders.settings.service.drain_timeout if self._orders else 0)

    def _parent_gone(self) -> None:
        if self._draining is None:
            self._log.error("the daemon that this worker belongs to is gone: it stops")
            self.terminate()

    def _end(self, timeout: float) -> None:
        if self._draining is not None:
            return
        # Before its connections drain: the port must be free for whoever comes next.
        worker = self._worker
        if worker is None:
            self._listeners.leave()
            self._draining = Deferred()
            self._over(None)
        else:
            # That takes several turns, so that the listeners are left before it is over.
            self._draining = worker.drain(timeout).addBoth(self._over)
            self._listeners.leave()

    def _over(self, _result: object) -> None:
        worker = self._worker
        tidings = worker.plane.restraint.told() if worker is not None else Tidings()
        if tidings.spent:
            parted = self.ask(Part, tidings=tidings).addTimeout(PARTING, self._reactor)
            # Where nobody hears it, nobody is there any more.
            parted.addErrback(lambda _: None).addCallback(self._stop)
        else:
            self._stop(None)

    def _stop(self, _: object) -> None:
        if self._log_observer is not None:
            self._log_observer.close()
        self._reactor.callLater(0, self._reactor.stop)


def main(arguments: list[str]) -> None:
    """Serve until the parent says that it is enough."""
    importlib.import_module(arguments[1]).install()
    from twisted.internet import reactor as installed  # not before it is chosen

    reactor: Any = installed
    end = WorkerEnd(reactor, Headcount(HEADCOUNT_DESCRIPTOR))
    # A terminal's interrupt, and its end, are for the parent to act on; so is the wish for new log files.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _calls(reactor, end.terminate))
    connect_end(reactor, LINK_DESCRIPTOR, end)
    reactor.run(installSignalHandlers=False)


def _calls(reactor: Any, function: Callable[[], None]) -> Callable[[int, object], None]:
    return lambda _number, _frame: reactor.callFromThread(function)


if __name__ == "__main__":
    main(sys.argv[1:])
