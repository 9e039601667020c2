"""The service: settings in, one running proxy out; its reloads, its drain and its end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, fail, gatherResults, maybeDeferred, succeed
from twisted.logger import ILogObserver, Logger
from twisted.python.failure import Failure

from twistedproxy import __version__
from twistedproxy.blocklists.files import BlocklistError
from twistedproxy.blocklists.keeper import Keeper, Prepared
from twistedproxy.control.link import CannotUse, Orders, Startup
from twistedproxy.control.steering import CannotBeDone
from twistedproxy.control.types import Level, State
from twistedproxy.listeners import CannotListen, Listeners, address_text
from twistedproxy.polling import polled
from twistedproxy.reading import Unusable
from twistedproxy.settings.describe import warnings
from twistedproxy.settings.load import Loaded
from twistedproxy.settings.problems import SettingsError
from twistedproxy.settings.types import Settings
from twistedproxy.signals import Signals
from twistedproxy.snapshot import random_pseudonym
from twistedproxy.steering import Steering
from twistedproxy.surroundings import Surroundings, controlling_terminal
from twistedproxy.tls.custody import Custody
from twistedproxy.tls.key_log import warn_of_key_log
from twistedproxy.upgrade import start_successor
from twistedproxy.upstream.errands import errand
from twistedproxy.workers.slot import with_our_modules
from twistedproxy.workers.workforce import Workforce, workers_of

Load = Callable[[str | None], Loaded]
_KNOWN: Final = (BlocklistError, CannotBeDone, CannotListen, CannotUse, SettingsError, Unusable)
STATUS_INTERVAL: Final = 5.0
"""Seconds between two lines that tell the service manager how it goes."""


class ProxyService(Service):
    """A proxy that listens, and everything it is made of.

    ``load`` reads the settings again, for a reload, or with a text in the place of the settings file's; it raises
    `SettingsError`.
    """

    name = "pyproxy"
    _log = Logger()

    def __init__(self, reactor: Any, loaded: Loaded, load: Load, surroundings: Surroundings) -> None:
        self.loaded = loaded
        self.load = load
        self.generation = 1
        self.reloads = self.reloads_failed = 0
        self.started = time.time()
        self.started_monotonic = time.monotonic()
        self.level: Level = loaded.settings.log.level
        self.reactor = self._reactor = reactor
        self.surroundings = surroundings
        self._notifier = surroundings.notifier
        handover = surroundings.handover
        self._pseudonym = handover.pseudonym if handover else random_pseudonym()
        connections = polled(reactor)
        self._listeners = Listeners(connections, surroundings.inherited)
        startup = Startup(
            version=__version__,
            number=0,
            pseudonym=self._pseudonym,
            in_foreground=surroundings.in_foreground,
            access_log_path=str(surroundings.access_log_path),
            state_directory=str(surroundings.state_directory),
            log_options=surroundings.log_options(),
        )
        self.workforce = Workforce(
            reactor,
            connections,
            startup,
            surroundings.environment,
            descriptors=surroundings.descriptors,
            standard_output=surroundings.standard_output,
        )
        self.custody = Custody(reactor, Path(surroundings.state_directory))
        environment = with_our_modules(surroundings.environment)
        self.lists = Keeper.of(reactor, surroundings.state_directory, environment, errand)
        self._door: Any = None
        self._changing = DeferredLock()
        self._status_call: Any = None
        self._serving = self._reloading = False
        self._told_to_stop = self._reactor_told = self._stopping = False
        self._handed_over = False
        self._upgrading: Deferred[int] | None = None
        self._drain_timeout: float | None = None
        self._delay: Any = None
        self._terminal = surroundings.in_foreground and controlling_terminal()
        self._signals = Signals(
            reactor,
            {
                signal.SIGHUP: self._hang_up,
                signal.SIGUSR1: self.reopen_logs,
                signal.SIGTERM: self._terminate,
                signal.SIGINT: self._terminate,
            },
        )

    def __repr__(self) -> str:
        return f"<ProxyService {self.state} {self._listeners!r} {self.workforce!r}>"

    @property
    def state(self) -> State:
        """What it is doing."""
        if self._told_to_stop:
            return "draining"
        if not self._serving:
            return "starting"
        return "reloading" if self._reloading else "ready"

    def setServiceParent(self, parent: Any) -> None:
        if self.surroundings.operational_log is not None:
            # Before twistd makes an observer of its own; see the head of operational_log.
            parent.setComponent(ILogObserver, self.surroundings.operational_log)
        super().setServiceParent(parent)

    def _orders(self, settings: Settings, generation: int, level: str, prepared: Prepared | None = None) -> Orders:
        lists = self.lists.orders(prepared)
        return Orders(settings, generation, workers_of(settings), tuple(settings.downstream.listen), level, lists)

    # ------------------------------------------------------------ listening

    def heed_signals(self) -> None:
        """Heed signals from now on. Called before `listen`: who finds it listening may send one at once."""
        self._signals.heed()

    def listen(self) -> None:
        """Take the addresses of the settings, and open the logs; `CannotListen`, `CannotLog` or `BlocklistError`.

        Called before a daemon forks, so that the one who started it sees what is wrong.
        """
        settings = self.loaded.settings
        self.lists.check(settings)
        self._listeners.open(settings.downstream.listen, self.workforce.entrance.at)
        self.workforce.prepare(self._orders(settings, self.generation, self.level), self._listeners)

    def addresses(self) -> list[Any]:
        """The addresses that it listens on, one `IAddress` a listener."""
        return self._listeners.addresses()

    # ------------------------------------------------------------ settings

    def reload(self) -> Deferred[None]:
        """Read the settings again and go by them. Fails with `CannotBeDone`; nothing has changed then."""
        return self.change(lambda: self.load(None))

    def change(self, load: Callable[[], Loaded], undo: Callable[[], object] = lambda: None) -> Deferred[None]:
        """Go by what ``load`` brings, which is called when it is its turn. Fails as `reload` does.

        ``undo`` is called when it came to nothing, before the next change has its turn.
        """
        changed: Deferred[None] = self._changing.run(self._change_now, load, undo)
        return changed

    def _change_now(self, load: Callable[[], Loaded], undo: Callable[[], object]) -> Deferred[None]:
        if self._told_to_stop:
            raise CannotBeDone("the daemon is stopping")
        self._reloading = True
        if self._serving:
            self._notifier.reloading()

        def undone(failure: Failure) -> Failure:
            try:
                undo()
            except OSError as error:
                self._log.error("what was changed for it could not be undone: {error}", error=error)
            return failure

        return maybeDeferred(self._go_by, load).addErrback(undone).addCallbacks(self._changed, self._not_changed)

    def _go_by(self, load: Callable[[], Loaded]) -> Deferred[list[str]]:
        """Go by what ``load`` brings. Fires with what could not be done as wished."""
        loaded = load()
        return self.lists.prepare(loaded.settings).addCallback(self._go_by_loaded, loaded)

    def _go_by_loaded(self, prepared: Prepared, loaded: Loaded) -> Deferred[list[str]]:
        settings, before = loaded.settings, self._listeners.ports
        try:
            self._listeners.open(settings.downstream.listen, self.workforce.entrance.at)
        except CannotListen:
            if self._listeners.ports == before:
                raise
            # Some had to make room, and have other sockets now, which the workers do not know.
            return self._go_back(Failure())
        orders = self._orders(settings, self.generation + 1, settings.log.level, prepared)
        used = maybeDeferred(self.workforce.use, orders, self._listeners)
        return used.addCallbacks(self._gone_by, self._go_back, callbackArgs=(loaded, prepared))

    def _go_back(self, failure: Failure) -> Deferred[Any]:
        """Go by the settings in force again, since others came to nothing. Fires with ``failure``."""
        if self._stopping:
            return fail(failure)
        settings = self.loaded.settings
        try:
            self._listeners.open(settings.downstream.listen, self.workforce.entrance.at)
        except CannotListen as error:
            self._log.error("not all listeners are as they were: {error}", error=error)
        self._listeners.close_gone()
        orders = self._orders(settings, self.generation, self.level)
        used: Deferred[Any] = maybeDeferred(self.workforce.use, orders, self._listeners)
        used.addErrback(lambda other: self._log.failure("the old settings could not be gone back to", other))
        return used.addCallback(lambda _: failure)

    def _gone_by(self, complaints: list[str], loaded: Loaded, prepared: Prepared) -> list[str]:
        old, self.loaded = self.loaded, loaded
        self.lists.use(prepared)
        self.generation += 1
        self._set_level(loaded.settings.log.level)
        self.custody.use(loaded.settings.tls)
        self._listeners.close_gone()
        if not self._stopping and loaded.settings.control != old.settings.control:
            complaints = [*complaints, *self._reopen_door()]
        return complaints

    def lists_told(self) -> Deferred[None]:
        """Tell the workers of the lists, when nothing else is being changed. Fires when they go by them."""
        told: Deferred[None] = self._changing.run(lambda: self.workforce.use_lists(self.lists.orders()))
        return told.addErrback(lambda failure: self._log.failure("the workers could not be told of the lists", failure))

    def _changed(self, complaints: list[str]) -> None:
        self._reloading = False
        self.reloads += 1
        for complaint in complaints:
            self._log.error("{complaint}", complaint=complaint)
        self._log.info("the settings have been reloaded")
        self._tell()
        if self.state == "ready":
            self._notifier.ready(self._summary())

    def _not_changed(self, failure: Failure) -> None:
        self._reloading = False
        self.reloads_failed += 1
        if self.state == "ready":
            self._notifier.ready("the last reload failed: the old settings stay in force")
        why = failure.value
        if not isinstance(why, _KNOWN):
            self._log.failure("the settings could not be reloaded", failure)
            why = CannotBeDone("the proxy is at fault; its log says how")
        for line in str(why).splitlines():
            self._log.error("{line}", line=line)
        self._log.error("the settings were not reloaded: the old ones stay in force")
        raise CannotBeDone(str(why)) from failure.value

    def set_level(self, level: Level) -> None:
        """Write the operational log from ``level`` on, until the next reload."""
        self._set_level(level)
        self.workforce.set_level(level)
        # A Logger has a level of its own.
        self._log.info("the operational log is written from the level {least} on", least=level)

    def _set_level(self, level: Level) -> None:
        self.level = level
        if self.surroundings.operational_log is not None:
            self.surroundings.operational_log.level = level

    def _tell(self) -> None:
        """Say where it listens, and what is unwise."""
        for address in self.addresses():
            self._log.info("listening on {address}", address=address_text(address))
        for warning in warnings(self.loaded.settings, self.loaded.ignored):
            self._log.warn("{warning}", warning=warning)

    def reopen_logs(self) -> None:
        """Go on in new log files, since the old ones have been moved away."""
        self.workforce.reopen_logs()
        if self.surroundings.operational_log is not None:
            self.surroundings.operational_log.reopen()
        self._log.info("the logs have been reopened")

    # ------------------------------------------------------------ the beginning

    def privilegedStartService(self) -> None:
        """What only the user who started the daemon may do; afterwards it may become another (``twistd --uid``)."""
        super().privilegedStartService()
        if self.surroundings.handover is None:
            self._listeners.own_locks()
        log = self.loaded.settings.log
        self.surroundings.give_to_account([log.access or str(self.surroundings.access_log_path), log.websocket])

    def startService(self) -> None:
        super().startService()
        warn_of_key_log(self.surroundings.environment)
        self.custody.use(self.loaded.settings.tls)
        self.custody.start()
        self.lists.begin(self.loaded.settings, self.lists_told)
        if self.surroundings.handover is None:
            self._open_door()
        orders = self._orders(self.loaded.settings, self.generation, self.level)
        serving = self.workforce.start(orders, self._listeners)
        # Twistd runs the reactor only after this, and who reads that it is ready takes its word for it.
        self._reactor.callWhenRunning(self._running, serving)

    def _running(self, serving: Deferred[None]) -> None:
        self._tell()
        serving.addCallback(self._ready)

    def _ready(self, _: object) -> None:
        """All the workers take connections."""
        if self._told_to_stop:
            return
        self._serving = True
        handover = self.surroundings.handover
        if handover is not None:
            # What belongs to one process is the old one's up to now, since this one might not have come so far.
            self._listeners.own_locks()
            self._open_door()
            self._door.own()
            self._listeners.close_unused()
            handover.take_over_pid_file(self.surroundings.twistd)
            try:
                handover.tell_ready()
            except OSError as error:
                self._log.warn("the daemon before this one did not wait for it: {error}", error=error)
        for unused in self._listeners.inherited.unused():
            self._log.warn("no listener names the socket {socket} that was handed in", socket=str(unused))
        if not self._reloading:
            # The reload's end says so otherwise.
            self._notifier.ready(self._summary())
        self._log.info("ready")
        self._tell_systemd()

    def _tell_systemd(self) -> None:
        """Tell the service manager that it is alive, and how it goes."""
        if not self._notifier.enabled:
            return
        interval = min(self._notifier.watchdog_interval or STATUS_INTERVAL, STATUS_INTERVAL)
        self._status_call = self._reactor.callLater(interval, self._tell_systemd)
        if self._notifier.watchdog_interval is not None:
            self._notifier.watchdog()
        if self.state == "ready":
            self._notifier.status(self._summary())

    def _summary(self) -> str:
        where = ", ".join(map(address_text, self.addresses()))
        count = workers_of(self.loaded.settings)
        return f"{count} worker{'s' if count > 1 else ''}, listening on {where}"

    # ------------------------------------------------------------ the control door

    def _open_door(self) -> None:
        # twisted.web is imported only here.
        from twistedproxy.control.door import ControlDoor

        self._door = ControlDoor(self._reactor, Steering(self), self.surroundings.inherited)
        for complaint in self._reopen_door():
            self._log.error("{complaint}", complaint=complaint)

    def _reopen_door(self) -> list[str]:
        """Let the door be where the settings say. What could not be opened."""
        if self._door is None:
            return []
        settings = self.loaded.settings.control
        socket = settings.socket or str(self.surroundings.control_socket)
        replace = self.surroundings.handover is not None
        complaints: list[str] = self._door.use("" if socket == "off" else socket, settings.metrics, replace=replace)
        return complaints

    # ------------------------------------------------------------ signals

    def _hang_up(self) -> None:
        if self._terminal and not controlling_terminal():
            # Not somebody's wish for a reload: the terminal in which it ran in the foreground was closed.
            self._terminate()
        else:
            # What went wrong has been logged.
            self.reload().addErrback(lambda failure: failure.trap(CannotBeDone))

    def _terminate(self) -> None:
        """Drain, then stop; when it drains already, stop now."""
        if self._stopping:
            self._log.warn("stopping now, as asked for a second time")
            self.workforce.stop()
        elif not self._told_to_stop:
            self.begin_to_stop(None)
        else:
            # It still waits for load balancers to look elsewhere.
            self._stop_reactor()

    # ------------------------------------------------------------ the end

    def begin_to_stop(self, timeout: float | None) -> None:
        """Drain, for ``timeout`` seconds or as long as the settings say, then stop.

        From now on it says that it is not ready; new connections are taken for `service.drain_delay` still.
        """
        if self._told_to_stop:
            return
        self._told_to_stop = True
        self._drain_timeout = timeout
        if not self._handed_over:
            self._notifier.stopping("draining")
        delay = 0.0 if self._handed_over else self.loaded.settings.service.drain_delay
        if delay:
            self._log.info("not ready any more; the drain begins in {delay:g} s", delay=delay)
            self._delay = self._reactor.callLater(delay, self._stop_reactor)
        else:
            self._stop_reactor()

    def _stop_reactor(self) -> None:
        # The reactor takes a turn to get to `stopService`, and cannot be told twice.
        if self._delay is not None and self._delay.active():
            self._delay.cancel()
        if not self._stopping and not self._reactor_told:
            self._reactor_told = True
            self._reactor.stop()

    def stopService(self) -> Deferred[object]:
        """Stop accepting, let what is under way finish up to the deadline, then stop."""
        super().stopService()
        self._stopping = self._told_to_stop = True
        if self._delay is not None and self._delay.active():
            self._delay.cancel()
        timeout = self._drain_timeout
        if timeout is None:
            timeout = self.loaded.settings.service.drain_timeout
        if self._upgrading is not None:
            # It would go on with listeners that are shut down.
            self._upgrading.cancel()
        drained = self.workforce.drain(timeout)
        if self._handed_over:
            self._listeners.leave()
            if self._door is not None:
                self._door.leave_metrics()
            closed: Deferred[Any] = succeed(None)
        else:
            closed = self._listeners.close()
        return gatherResults([drained, closed]).addCallback(lambda results: self._close(results[0]))

    def _close(self, results: list[tuple[bool, object]]) -> Deferred[object]:
        for succeeded, result in results:
            if not succeeded and isinstance(result, Failure):
                self._log.failure("the proxy did not stop in good order", result)
        if self._status_call is not None and self._status_call.active():
            self._status_call.cancel()
        self.custody.stop()
        self.lists.stop()
        self._log.info("stopped")
        return self._door.close() if self._door is not None else succeed(None)

    # ------------------------------------------------------------ an upgrade

    def upgrade(self) -> Deferred[int]:
        """Start a successor on the same sockets, then drain. Its process number; fails with `CannotBeDone`."""
        upgraded: Deferred[int] = self._changing.run(self._upgrade_now)
        return upgraded

    def _upgrade_now(self) -> Deferred[int]:
        if self.state != "ready":
            raise CannotBeDone(f"the daemon is {self.state}")
        surroundings = self.surroundings
        self._log.info("an upgrade begins: a successor starts on the same sockets")
        started = self._upgrading = start_successor(
            self._reactor,
            surroundings.successor_arguments(),
            {**surroundings.environment, **surroundings.notifications},
            self._listeners.handed_on() | (self._door.handed_on() if self._door else {}),
            pseudonym=self._pseudonym,
            in_foreground=surroundings.in_foreground,
            pid_file=surroundings.twistd.get("pidfile") or "",
        )
        return started.addCallbacks(self._give_way, self._stay)

    def _give_way(self, pid: int) -> int:
        self._upgrading = None
        self._log.info("process {pid} serves now; this one drains", pid=pid)
        self._handed_over = True
        self.surroundings.twistd["pidfile"] = ""
        self._notifier.main_pid(pid)
        self._notifier = type(self._notifier)({}, pid=0, monotonic=time.monotonic)
        # Whoever asked for it gets an answer before the door closes.
        self._reactor.callLater(0, self.begin_to_stop, None)
        return pid

    def _stay(self, failure: Failure) -> Failure:
        self._upgrading = None
        self._log.error("the upgrade failed: {error}", error=failure.value)
        return failure
