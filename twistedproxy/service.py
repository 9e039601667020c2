"""The service: one `Settings` in, one running proxy out; its reloads, its drain and its end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, Logger
from twisted.python.failure import Failure

from twistedproxy.data_plane import DataPlane
from twistedproxy.deadlines import Deadlines
from twistedproxy.descriptors import descriptor_budget
from twistedproxy.downstream.factory import DownstreamFactory
from twistedproxy.listeners import CannotListen, Listeners, address_text
from twistedproxy.record.access_log import AccessLog, NoAccessLog
from twistedproxy.record.formats import access_format
from twistedproxy.record.log_file import STANDARD_OUTPUT, LogFile
from twistedproxy.record.operational_log import OperationalLog
from twistedproxy.settings.describe import warnings
from twistedproxy.settings.load import Loaded
from twistedproxy.settings.problems import SettingsError
from twistedproxy.settings.types import Settings
from twistedproxy.snapshot import Snapshot, random_pseudonym
from twistedproxy.tunnel.pipes import PipePool
from twistedproxy.tunnel.relay import STOPPED
from twistedproxy.upstream.connector import Connector
from twistedproxy.upstream.dial import Dialer
from twistedproxy.upstream.own_addresses import OwnAddresses
from twistedproxy.upstream.pool import Pool
from twistedproxy.upstream.resolver import Resolver

NO_LOG = "off"


class CannotLog(Exception):
    """The access log cannot be opened. The text says which file, and why."""


class ProxyService(Service):
    """A proxy that listens, and everything it is made of.

    ``operational_log`` is None when twistd was told to log elsewhere. ``load`` reads the settings again, for a
    reload; it raises `SettingsError`. ``standard_output`` is None for a daemon, which has none. ``access_log_path`` is
    where the access log goes when the settings do not say.
    """

    name = "pyproxy"
    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        loaded: Loaded,
        *,
        load: Callable[[], Loaded],
        operational_log: OperationalLog | None,
        standard_output: LogFile | None,
        access_log_path: str | Path,
        descriptors: int,
    ) -> None:
        self._reactor = reactor
        self._load = load
        self._operational_log = operational_log
        self._standard_output = standard_output
        self._default_access_log = str(access_log_path)
        self._pseudonym = random_pseudonym()
        self._generation = 0
        self._listeners = Listeners(reactor)
        self._told_to_stop = False
        self._stopping = False
        self._terminal = _controlling_terminal()
        settings = loaded.settings
        budget = descriptor_budget(descriptors)
        deadlines = Deadlines(reactor, seconds=time.monotonic)
        self._own_addresses = OwnAddresses(deadlines.seconds)
        self._resolver = _resolver(reactor, settings, deadlines)
        self._connector = Connector(reactor, attempt_delay=settings.upstream.attempt_delay, deadlines=deadlines)
        dialer = Dialer(self._resolver, self._connector)
        snapshot = self._compile(settings)
        self._access_log_path = ""
        self.plane = DataPlane(
            reactor=reactor,
            wall=time.time,
            deadlines=deadlines,
            dialer=dialer,
            pool=Pool(reactor, dialer, deadlines, snapshot, budget.idle),
            pipes=PipePool(),
            access_log=NoAccessLog(),
            snapshot=snapshot,
        )
        self.factory = DownstreamFactory(self.plane, budget.clients)

    def __repr__(self) -> str:
        return f"<ProxyService {self._listeners!r} {self.factory!r} {self.plane!r}>"

    def setServiceParent(self, parent: Any) -> None:
        if self._operational_log is not None:
            # Before twistd makes an observer of its own; see the head of operational_log.
            parent.setComponent(ILogObserver, self._operational_log)
        super().setServiceParent(parent)

    # ------------------------------------------------------------ listening

    def listen(self) -> None:
        """Take the addresses of the settings; `CannotListen` when one cannot be had.

        Called before a daemon forks, so that the one who started it sees what is wrong.
        """
        self._listeners.open(self.plane.snapshot.settings.downstream.listen, self.factory)
        self._use(self.plane.snapshot.settings)

    def addresses(self) -> list[Any]:
        """The addresses that it listens on, one `IAddress` a listener."""
        return self._listeners.addresses()

    # ------------------------------------------------------------ settings

    def _compile(self, settings: Settings) -> Snapshot:
        own_ports = [
            (address.host, address.port)
            for address in self.addresses()
            if isinstance(address, IPv4Address | IPv6Address)
        ]
        return Snapshot.of(
            settings,
            generation=self._generation,
            pseudonym=self._pseudonym,
            own_ports=own_ports,
            is_own_address=self._own_addresses,
        )

    def _use(self, settings: Settings) -> None:
        """Let everything go by ``settings`` from the next exchange on."""
        self._generation += 1
        self.plane.use(self._compile(settings))
        if self._operational_log is not None:
            self._operational_log.level = settings.log.level
        self._connector.attempt_delay = settings.upstream.attempt_delay
        self.factory.accept_on(self._listeners.ports)

    def reload(self) -> bool:
        """Read the settings again and go by them; True when that was possible. Otherwise nothing has changed."""
        try:
            settings = self._load().settings
        except SettingsError as error:
            for line in str(error).splitlines():
                self._log.error("{line}", line=line)
            self._log.error("the settings were not reloaded: the old ones stay in force")
            return False
        old = self.plane.snapshot.settings
        try:
            self._listeners.open(settings.downstream.listen, self.factory)
        except CannotListen as error:
            self.factory.accept_on(self._listeners.ports)
            self._log.error("{error}", error=error)
            self._log.error("the settings were not reloaded: the old ones stay in force")
            return False
        if settings.resolver != old.resolver:
            replaced = self._resolver
            self._resolver = _resolver(self._reactor, settings, self.plane.deadlines)
            self.plane.dialer.resolver = self._resolver
            replaced.close()
        self._use(settings)
        try:
            self.open_access_log()
        except CannotLog as error:
            self._log.error("{error}: the old one stays in use", error=error)
        self._listeners.close_gone()
        self._log.info("the settings have been reloaded")
        self._tell(settings)
        return True

    def _tell(self, settings: Settings) -> None:
        """Say where it listens, and what is unwise."""
        for address in self.addresses():
            self._log.info("listening on {address}", address=address_text(address))
        for warning in warnings(settings):
            self._log.warn("{warning}", warning=warning)

    # ------------------------------------------------------------ logs

    def open_access_log(self) -> None:
        """Open the access log that the settings in force name, or go on with it in their format.

        Raises `CannotLog`. Called before a daemon forks, as `listen` is. When it fails, the old log stays in use.
        """
        settings = self.plane.snapshot.settings.log
        path = settings.access or self._default_access_log
        old = self.plane.access_log
        if path == self._access_log_path:
            if isinstance(old, AccessLog):
                old.format = access_format(settings.format)
            return
        if path == NO_LOG:
            new: AccessLog | NoAccessLog = NoAccessLog()
        else:
            file = self._standard_output if path == STANDARD_OUTPUT else LogFile(path, self._reactor)
            if file is None:
                raise CannotLog('a daemon has no standard output: let log.access name a file, or "off"')
            try:
                file.open()
            except OSError as error:
                raise CannotLog(f"the access log {path} cannot be opened: {error.strerror}") from error
            new = AccessLog(access_format(settings.format), file)
        self.plane.access_log = new
        if self._access_log_path != STANDARD_OUTPUT:
            old.close()
        self._access_log_path = path

    def reopen_logs(self) -> None:
        """Go on in new log files, since the old ones have been moved away."""
        self.plane.access_log.reopen()
        if self._operational_log is not None:
            self._operational_log.reopen()
        self._log.info("the logs have been reopened")

    # ------------------------------------------------------------ beginning and end

    def startService(self) -> None:
        super().startService()
        self._listeners.own_locks()
        self._tell(self.plane.snapshot.settings)
        ends: dict[int, Callable[[], object]] = {signal.SIGTERM: self._terminate, signal.SIGINT: self._terminate}
        self._on_signals({signal.SIGHUP: self._hang_up, signal.SIGUSR1: self.reopen_logs, **ends})
        # When it starts, the reactor installs some of its own.
        self._reactor.addSystemEventTrigger("after", "startup", self._on_signals, ends)

    def _on_signals(self, calls: Mapping[int, Callable[[], object]]) -> None:
        def received(number: int, _frame: object) -> None:
            self._reactor.callFromThread(calls[number])

        for number in calls:
            signal.signal(number, received)

    def _hang_up(self) -> None:
        if self._terminal and not _controlling_terminal():
            # Not somebody's wish for a reload: the terminal in which it ran in the foreground was closed.
            self._terminate()
        else:
            self.reload()

    def _terminate(self) -> None:
        """Drain, then stop; when it drains already, stop now."""
        if self._stopping:
            self._log.warn("stopping now, as asked for a second time")
            self.factory.stop(STOPPED)
        elif not self._told_to_stop:
            # The reactor takes a turn to get to `stopService`, and cannot be told twice.
            self._told_to_stop = True
            self._reactor.stop()

    def stopService(self) -> Deferred[object]:
        """Stop accepting, let what is under way finish up to the deadline, then stop."""
        super().stopService()
        self._stopping = True
        closed = self._listeners.close()
        timeout = self.plane.snapshot.settings.service.drain_timeout
        drained = self.factory.drain()
        if not drained.called:
            self._log.info(
                "draining {count} connections, for {timeout:g} s at most",
                count=self.factory.connections,
                timeout=timeout,
            )
            deadline = self._reactor.callLater(timeout, self._drained_too_long)
            drained.addBoth(_cancel, deadline)
        over = gatherResults([drained, closed], consumeErrors=True)
        # The last connection tells that it is gone before its exchange has been recorded.
        return over.addBoth(lambda result: deferLater(self._reactor, 0, self._close, result))

    def _drained_too_long(self) -> None:
        self._log.warn("{count} connections did not end in time", count=self.factory.connections)
        self.factory.stop(STOPPED)

    def _close(self, result: object) -> object:
        if isinstance(result, Failure):
            self._log.failure("the proxy did not stop in good order", result)
        self.plane.pool.close_idle()
        self.plane.pipes.close()
        self._resolver.close()
        self._log.info("stopped")
        self.plane.access_log.close()
        return None


def _resolver(reactor: Any, settings: Settings, deadlines: Deadlines) -> Resolver:
    wanted = settings.resolver
    return Resolver(
        reactor,
        cache_size=wanted.cache_size,
        ttl=wanted.ttl,
        negative_ttl=wanted.negative_ttl,
        timeout=wanted.timeout,
        threads=wanted.threads,
        deadlines=deadlines,
    )


def _cancel(result: object, call: Any) -> object:
    if call.active():
        call.cancel()
    return result


def _controlling_terminal() -> bool:
    """Whether this process belongs to a terminal that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
