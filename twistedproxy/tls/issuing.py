"""The leaves of the authority in use, made when a tunnel is first opened, and anew when the authority is another one.

Theory of operation. Reading the authority, or making it, takes files, and happens in a thread; whoever needs leaves
meanwhile waits for the same thread. Once a second at most the file with the key is looked at: when it is another one
(`pyproxyctl ca renew`, or the operator has put another in its place), so are the leaves from the next tunnel on.
Without a usable authority nobody gets any; it is tried again after `RETRY`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from OpenSSL import SSL
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedproxy.settings.operation import TLSSettings
from twistedproxy.tls.authority import AuthorityError, utc
from twistedproxy.tls.authority_files import DIRECTORY, KEY_FILE, operators_authority, own_authority
from twistedproxy.tls.key_log import KeyLog
from twistedproxy.tls.leaf_files import LeafFiles
from twistedproxy.tls.leaves import Leaves
from twistedproxy.tls.serving import serve_http

LOOK: Final = 1.0
"""Seconds between two looks at the authority's file."""

RETRY: Final = 5.0
"""Seconds after a failure until the next attempt."""

Stamp: TypeAlias = tuple[int, int, int] | None


class _Made(NamedTuple):
    leaves: Leaves
    settings: TLSSettings
    stamp: Stamp


class Issuer:
    """Has the `Leaves` of the authority that ``settings`` name, or of the proxy's own, which is in ``state``.

    ``seconds`` counts from 1970. ``key_log`` gets the secrets of connections with clients.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        state: Path,
        settings: TLSSettings,
        seconds: Callable[[], float] = time.time,
        key_log: KeyLog | None = None,
    ) -> None:
        self._reactor = reactor
        self._directory = state / DIRECTORY
        self._settings = settings
        self._seconds = seconds
        self._key_log = key_log
        self._made: _Made | None = None
        self._looked = 0.0
        self._making = False
        self._waiting: list[Deferred[Leaves]] = []
        self._failed = -RETRY
        self._error = AuthorityError("")

    def __repr__(self) -> str:
        return f"<Issuer {self._made.leaves if self._made else 'idle'!r}>"

    def use(self, settings: TLSSettings) -> None:
        """Go by other settings, from the next tunnel on."""
        if settings != self._settings:
            self._settings = settings
            self._made = None
        # Whatever was wrong may have been put right.
        self._failed = -RETRY

    def leaves(self) -> Deferred[Leaves]:
        """The leaves of the authority as it is now; at once, where that is known. Fails with `AuthorityError`."""
        now = self._seconds()
        made = self._made
        if made is not None and not self._is_other(made, now):
            try:
                made.leaves.authority.check_date(utc(now))
            except AuthorityError:
                self._made = None
            else:
                return succeed(made.leaves)
        if not self._making and 0 <= now - self._failed < RETRY:
            return fail(AuthorityError(str(self._error)))
        waiting: Deferred[Leaves] = Deferred()
        self._waiting.append(waiting)
        if not self._making:
            self._make()
        return waiting

    def _is_other(self, made: _Made, now: float) -> bool:
        """Whether the authority's file is another one; one that is gone for the moment is not."""
        if 0 <= now - self._looked < LOOK:
            return False
        self._looked = now
        stamp = _stamp(self._path(made.settings))
        return stamp is not None and stamp != made.stamp

    def _path(self, settings: TLSSettings) -> Path:
        return Path(settings.authority) if settings.authority else self._directory / KEY_FILE

    def _make(self) -> None:
        self._making = True
        making = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._read, self._settings)
        making.addCallbacks(self._read_well, self._read_badly)

    def _read(self, settings: TLSSettings) -> _Made:
        """In a thread: the authority, and what there is of its leaves."""
        path = self._path(settings)
        # Before it is read, so that a change meanwhile is seen later.
        stamp = _stamp(path)
        now = utc(self._seconds())
        authority = operators_authority(path) if settings.authority else own_authority(self._directory, now)
        authority.check_date(now)
        leaves = Leaves(
            authority,
            self._seconds,
            lifetime=timedelta(seconds=settings.leaf_lifetime),
            most=settings.leaf_cache,
            shelf=LeafFiles(self._directory, authority, settings.leaf_cache),
            in_background=self._reactor.callInThread,
            prepare=self._prepare,
        )
        return _Made(leaves, settings, stamp or _stamp(path))

    def _prepare(self, context: SSL.Context) -> None:
        serve_http(context)
        if self._key_log is not None:
            self._key_log.prepare(context)

    def _read_well(self, made: _Made) -> None:
        self._making = False
        if made.settings != self._settings:
            # A reload has come in between.
            self._make()
            return
        self._made = made
        self._looked = self._seconds()
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(made.leaves)

    def _read_badly(self, failure: Failure) -> None:
        self._making = False
        self._made = None
        self._failed = self._seconds()
        error = failure.value
        if isinstance(error, AuthorityError):
            self._error = error
            self._log.error("no tunnel can be opened: {error}", error=error)
        else:
            self._error = AuthorityError("a fault of the proxy's own")
            self._log.failure("the leaves could not be made ready", failure)
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.errback(AuthorityError(str(self._error)))


def _stamp(path: Path) -> Stamp:
    """What tells one file from the next of its name; None when there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
