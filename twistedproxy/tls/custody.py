"""The authority in use: which one that is, how it comes about, and a word in time before it ends.

Theory of operation. Nothing is kept in memory: whoever asks gets what the files say now, so that it does not matter
which process made or renewed it. Files are read and written in a thread, since a disk may be slow. At the start, on a
reload and once a day the authority that is there is looked at; none is made for that, and what is wrong with it is
only said, because traffic that needs no certificate goes on without.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from twistedproxy.settings.operation import TLSSettings
from twistedproxy.tls.authority import WARN_BEFORE, Authority, AuthorityError, utc
from twistedproxy.tls.authority_files import (
    DIRECTORY,
    existing_authority,
    files_of,
    operators_authority,
    own_authority,
    renew_authority,
)

DAY: Final = 86400.0
"""Seconds between two looks at it."""


class Custody:
    """The authority, by the settings in force; its own is in the ``state`` directory. ``seconds`` counts from 1970."""

    _log = Logger()

    def __init__(self, reactor: Any, state: Path, seconds: Callable[[], float] = time.time) -> None:
        self._reactor = reactor
        self._directory = state / DIRECTORY
        self._seconds = seconds
        self._operators = ""
        self._call: Any = None

    def __repr__(self) -> str:
        return f"<Custody of {self._operators or self._directory}>"

    def use(self, settings: TLSSettings) -> None:
        """Go by these settings, and look at what they name."""
        self._operators = settings.authority
        self.check()

    def start(self) -> None:
        """Look at it every day from now on."""
        self._call = self._reactor.callLater(DAY, self._day_passed)

    def stop(self) -> None:
        """Look no more."""
        if self._call is not None and self._call.active():
            self._call.cancel()

    def authority(self) -> Deferred[Authority]:
        """The authority, made now where there is none. Fails with `AuthorityError`."""
        if self._operators:
            return self._in_thread(partial(operators_authority, Path(self._operators)))
        return self._in_thread(partial(own_authority, self._directory, utc(self._seconds())))

    def renew(self) -> Deferred[Authority]:
        """A new one in the place of the proxy's own. Fails with `AuthorityError`, also where it is the operator's."""
        if self._operators:
            return self._in_thread(partial(_not_ours, self._operators))
        return self._in_thread(partial(renew_authority, self._directory, utc(self._seconds()))).addCallback(
            self._renewed
        )

    def _renewed(self, authority: Authority) -> Authority:
        self._log.info("there is a new certificate authority: {subject}", subject=authority.subject)
        return authority

    def files(self) -> list[str]:
        """The paths of its files."""
        return [self._operators] if self._operators else files_of(self._directory)

    def check(self) -> None:
        """Say in the log what is wrong with the authority that is there, or will be soon."""
        now = utc(self._seconds())
        try:
            if self._operators:
                authority: Authority | None = operators_authority(Path(self._operators))
            else:
                authority = existing_authority(self._directory)
            if authority is None:
                return
            authority.check_date(now)
        except AuthorityError as error:
            self._log.error("the certificate authority cannot be used: {error}", error=error)
            return
        if authority.ends - now <= WARN_BEFORE:
            advice = "replace the file that tls.authority names" if self._operators else "pyproxyctl ca renew"
            self._log.warn(
                "the certificate authority ends on {end}, in {days} days: {advice}",
                end=f"{authority.ends:%Y-%m-%d}",
                days=authority.days_left(now),
                advice=advice,
            )

    def _day_passed(self) -> None:
        self.start()
        self.check()

    def _in_thread(self, call: Callable[[], Authority]) -> Deferred[Authority]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), call)


def _not_ours(path: str) -> Authority:
    raise AuthorityError(f"the authority is the operator's, in {path}: it is not the proxy's to renew")
