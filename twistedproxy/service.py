"""The service: one `Settings` in, one running proxy out; its reloads, its drain and its end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.logger import ILogObserver, Logger
from twisted.python.failure import Failure

from twistedproxy.data_plane import DataPlane
from twistedproxy.deadlines import Deadlines
from twistedproxy.descriptors import descriptor_budget
from twistedproxy.downstream.factory import DownstreamFactory
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


class CannotListen(Exception):
    """An address to listen on cannot be had. The text says which, and why."""


class ProxyService(Service):
    """A proxy that listens, and everything it is made of.

    ``operational_log`` is None when twistd was told to log elsewhere. ``load`` reads the settings again, for a reload; it raises `SettingsError`. ``access_log_path`` is where the
    access log goes when the settings do not say.
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
        standard_output: LogFile,
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
        self._ports: dict[str, Any] = {}
        self._stopping = False
        self._terminal = _controlling_terminal()
        settings = loaded.settings
        budget = descriptor_budget(descriptors)
        deadlines = Deadlines(reactor)
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
        return f"<ProxyService listening={list(self._ports)} {self.factory!r} {self.plane!r}>"

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
        self._ports = self._open(self.plane.snapshot.settings.downstream.listen, {})
        self._use(self.plane.snapshot.settings)

    def _open(self, descriptions: Iterable[str], standing: dict[str, Any]) -> dict[str, Any]:
        """The ports of ``descriptions``: those ``standing`` that they name, and new ones for the others."""
        ports: dict[str, Any] = {}
        try:
            for description in descriptions:
                if description in ports:
                    continue
                port = standing.get(description)
                ports[description] = port if port is not None else self._listen_on(description)
        except CannotListen:
            for description, port in ports.items():
                if description not in standing:
                    port.stopListening()
            raise
        return ports

    def _listen_on(self, description: str) -> Any:
        opened: list[Any] = []
        try:
            serverFromString(self._reactor, description).listen(self.factory).addBoth(opened.append)
        except Exception as fault:
            raise CannotListen(f"cannot listen on {description}: {fault}") from fault
        if not opened:
            raise CannotListen(f"cannot listen on {description}: endpoints that take time to open are not supported")
        port = opened[0]
        if isinstance(port, Failure):
            error = port.value
            cause = error.socketError if isinstance(error, CannotListenError) else error
            reason = getattr(cause, "strerror", None) or cause
            raise CannotListen(f"cannot listen on {description}: {reason}")
        return port

    def addresses(self) -> list[Any]:
        """The addresses that it listens on, one `IAddress` a listener."""
        return [port.getHost() for port in self._ports.values()]

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
        self.factory.accept_on(list(self._ports.values()))

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
            ports = self._open(settings.downstream.listen, self._ports)
        except CannotListen as error:
            self._log.error("{error}", error=error)
            self._log.error("the settings were not reloaded: the old ones stay in force")
            return False
        gone = [port for description, port in self._ports.items() if description not in ports]
        self._ports = ports
        if settings.resolver != old.resolver:
            replaced = self._resolver
            self._resolver = _resolver(self._reactor, settings, self.plane.deadlines)
            self.plane.dialer.resolver = self._resolver
            replaced.close()
        self._use(settings)
        self._open_access_log(settings)
        for port in gone:
            maybeDeferred(port.stopListening).addErrback(self._port_not_closed)
        self._log.info("the settings have been reloaded")
        self._tell(settings)
        return True

    def _port_not_closed(self, failure: Failure) -> None:
        self._log.failure("a listener could not be closed", failure)

    def _tell(self, settings: Settings) -> None:
        """Say where it listens, and what is unwise."""
        for address in self.addresses():
            self._log.info("listening on {address}", address=_address_text(address))
        for warning in warnings(settings):
            self._log.warn("{warning}", warning=warning)

    # ------------------------------------------------------------ logs

    def _open_access_log(self, settings: Settings) -> None:
        path = settings.log.access or self._default_access_log
        old = self.plane.access_log
        if path != self._access_log_path:
            if path == NO_LOG:
                new: AccessLog | NoAccessLog = NoAccessLog()
            else:
                file = self._standard_output if path == STANDARD_OUTPUT else LogFile(path, self._reactor)
                try:
                    file.open()
                except OSError as error:
                    self._log.error("the access log {path} cannot be opened: {error}", path=path, error=error)
                    return
                new = AccessLog(access_format(settings.log.format), file)
            self.plane.access_log = new
            if self._access_log_path != STANDARD_OUTPUT:
                old.close()
            self._access_log_path = path
        elif isinstance(old, AccessLog):
            old.format = access_format(settings.log.format)

    def reopen_logs(self) -> None:
        """Go on in new log files, since the old ones have been moved away."""
        self.plane.access_log.reopen()
        if self._operational_log is not None:
            self._operational_log.reopen()
        self._log.info("the logs have been reopened")

    # ------------------------------------------------------------ beginning and end

    def startService(self) -> None:
        super().startService()
        settings = self.plane.snapshot.settings
        self._open_access_log(settings)
        self._tell(settings)
        self._on_signals({signal.SIGHUP: self._hang_up, signal.SIGUSR1: self.reopen_logs})
        # After the reactor has installed its own.
        ends = {signal.SIGTERM: self._terminate, signal.SIGINT: self._terminate}
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
        else:
            self._reactor.stop()

    def stopService(self) -> Deferred[object]:
        """Stop accepting, let what is under way finish up to the deadline, then stop."""
        super().stopService()
        self._stopping = True
        ports = [maybeDeferred(port.stopListening) for port in self._ports.values()]
        self._ports = {}
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
        return gatherResults([drained, *ports], consumeErrors=True).addBoth(self._close)

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


def _address_text(address: Any) -> str:
    if isinstance(address, IPv6Address):
        return f"[{address.host}]:{address.port}"
    if isinstance(address, IPv4Address):
        return f"{address.host}:{address.port}"
    name = getattr(address, "name", None)
    return os.fsdecode(name) if name else str(address)


def _controlling_terminal() -> bool:
    """Whether this process belongs to a terminal that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
