"""The doors of the control plane: a Unix socket for its owner, and endpoints for the numbers and the state of health.

What comes in at the socket may steer the daemon, so that the file's mode is the lock. The endpoints are for scrapers
and probes on other machines: they answer at `OPEN_PATHS` and nowhere else, to anybody, by whatever name.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedproxy.control.api import OPEN_PATHS, Api
from twistedproxy.control.serving import ApiFactory
from twistedproxy.control.socket_file import CannotOpen, SocketFile
from twistedproxy.control.steering import Steered
from twistedproxy.listeners import CannotListen, Listeners
from twistedproxy.systemd.activation import InheritedSockets

__all__ = ["CannotOpen", "ControlDoor"]


class ControlDoor:
    """The doors to ``steered``. All are closed at first; ``inherited`` sockets are used where they fit.

    `use` may be called again when the settings change, and so may `open` and `open_metrics`, of which it is made. For
    them, what is not wanted any more goes on until `close_gone`, so that a reload which then fails for another reason
    can have it back by asking for it.
    """

    _log = Logger()

    def __init__(self, reactor: Any, steered: Steered, inherited: InheritedSockets | None = None) -> None:
        self._reactor = reactor
        self._factory = ApiFactory(reactor, Api(steered))
        self._metrics_factory = ApiFactory(reactor, Api(steered, OPEN_PATHS))
        self._metrics = Listeners(reactor, inherited)
        self._socket: SocketFile | None = None
        self._gone: list[SocketFile] = []

    def __repr__(self) -> str:
        return f"<ControlDoor {self.path or 'closed'} {self._metrics!r}>"

    @property
    def path(self) -> str:
        """Where the Unix socket is; empty when there is none."""
        return self._socket.path if self._socket else ""

    def metrics_addresses(self) -> list[Any]:
        """The addresses of the other doors, one `IAddress` each."""
        return self._metrics.addresses()

    def handed_on(self) -> dict[str, tuple[int, bool]]:
        """The sockets of the other doors, as `Listeners.handed_on` has them: a successor opens its own Unix socket."""
        return self._metrics.handed_on()

    def leave_metrics(self) -> None:
        """Close this process's share of the other doors: a successor goes on."""
        self._metrics.leave()

    def use(self, path: str, descriptions: Sequence[str], *, replace: bool = False) -> list[str]:
        """Be at ``path`` and at ``descriptions``, as `open` and `open_metrics` say, and nowhere else.

        What could not be opened, in words; the rest is open then.
        """
        complaints: list[str] = []
        try:
            self.open(path, replace=replace)
        except CannotOpen as error:
            complaints.append(f"{error}: there is no control socket")
        try:
            self.open_metrics(descriptions)
        except CannotOpen as error:
            complaints.append(str(error))
        self.close_gone()
        return complaints

    def open(self, path: str, *, replace: bool = False) -> None:
        """Open the Unix socket at ``path``, or none when that is empty; with ``replace``, also where somebody listens.

        That is for a new version of the daemon, which takes the old one's place. Raises `CannotOpen`, and nothing has
        changed then.
        """
        if path:
            # A daemon changes its directory.
            path = os.path.abspath(path)
        if path == self.path:
            return
        before = self._socket
        gone = {one.path: one for one in self._gone}
        self._socket = gone.pop(path, None) or (
            SocketFile(self._reactor, path, self._factory, replace=replace) if path else None
        )
        self._gone = [*gone.values(), *([before] if before else [])]

    def open_metrics(self, descriptions: Sequence[str]) -> None:
        """Open the endpoints ``descriptions`` for scrapers and probes, all or none. Raises `CannotOpen`."""
        try:
            self._metrics.open(descriptions, lambda _: self._metrics_factory)
        except CannotListen as error:
            raise CannotOpen(str(error)) from error

    def own(self) -> None:
        """Make what was opened this process's. Called after a daemon has forked."""
        if self._socket:
            self._socket.own()
        self._metrics.own_locks()

    def close_gone(self) -> None:
        """Close what is not wanted any more. Connections that came in there go on."""
        gone, self._gone = self._gone, []
        for one in gone:
            self._closed(one)
        self._metrics.close_gone()

    def close(self) -> Deferred[Any]:
        """Close all of them, and every connection once its request has been answered. Fires when that has happened."""
        if self._socket:
            self._gone.append(self._socket)
            self._socket = None
        sockets = [self._closed(one) for one in self._gone]
        self._gone = []
        factories = (self._factory, self._metrics_factory)
        return gatherResults([*sockets, self._metrics.close(), *(factory.close() for factory in factories)])

    def _closed(self, one: SocketFile) -> Deferred[Any]:
        return one.close().addErrback(self._not_closed, one.path)

    def _not_closed(self, failure: Failure, path: str) -> None:
        self._log.failure("the control socket {path} could not be closed", failure, path=path)
