"""The checks that are under way or wait: one at a time for each client's address, and a few in all.

Theory of operation. To check a password takes a good part of a second, on purpose, and strangers can ask for it. So the
checks of one address are a queue of their own, with a bound, in which each waits for as long as the failures before it
call for (`slowing`); it takes up nothing while it waits. The addresses whose turn it is share the few threads in the
order in which they came. Whoever brings the same credentials while they are being checked waits for the same check.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedproxy.accounts.account import Account, IAccount
from twistedproxy.accounts.directory import DirectoryUnavailable
from twistedproxy.accounts.slowing import Slowing
from twistedproxy.errors import AccountsUnavailable, CredentialsRefused, ProxyError

MOST_WAITING: Final = 64
"""Checks of one address that may wait."""

LONGEST_CHECK: Final = 30.0
"""Seconds until a check is given up; only one of the operator's own checkers takes that long."""


class Asker(Protocol):
    """Who wants to know whose credentials they are."""

    def identified(self, account: Account) -> None:
        """They are those of ``account``."""

    def not_identified(self, error: ProxyError) -> None:
        """They are nobody's, or that cannot be found out."""


class Check:
    """Credentials that are being checked, of the client at ``place``, for all that have brought them.

    ``key`` is that of the credentials among results; nothing where they are never the same again. ``quick`` ones take
    no thread. ``certified`` ones are certificates, which nobody can guess. When it is ``over`` there is either an
    ``account`` or an ``error``.
    """

    __slots__ = (
        "_checks",
        "account",
        "askers",
        "certified",
        "credentials",
        "error",
        "key",
        "name",
        "over",
        "place",
        "quick",
        "running",
    )

    def __init__(
        self,
        checks: Checks,
        credentials: Any,
        *,
        name: bytes,
        place: str,
        key: bytes = b"",
        quick: bool = False,
        certified: bool = False,
    ) -> None:
        self.credentials = credentials
        self.name = name
        self.place = place
        self.key = key
        self.quick = quick
        self.certified = certified
        self.askers: list[Asker] = []
        self.running = self.over = False
        self.account: Account | None = None
        self.error: ProxyError | None = None
        self._checks = checks

    def __repr__(self) -> str:
        state = "over" if self.over else "running" if self.running else "waiting"
        return f"<Check {self.name!r} from {self.place} {state}>"

    def leave(self, asker: Asker) -> None:
        """``asker`` does not want to know any more. What has not begun does not begin for nobody."""
        if asker in self.askers:
            self.askers.remove(asker)
            if not (self.askers or self.running or self.over):
                self._checks.withdraw(self)


class _Queue:
    """The checks of one address. ``call`` is pending while the first of them has to wait."""

    __slots__ = ("call", "checks", "in_line", "running")

    def __init__(self) -> None:
        self.checks: deque[Check] = deque()
        self.running = False
        self.in_line = False
        self.call: Any = None


class Checks:
    """All the checks of a process, ``threads`` at a time; ``settled`` is told of each that is over."""

    _log = Logger()

    def __init__(self, clock: Any, slowing: Slowing, threads: int, settled: Callable[[Check], object]) -> None:
        self.threads = threads
        self.portal: Portal
        self.slowing = slowing
        self._clock = clock
        self._settled = settled
        self._busy = 0
        self._queues: dict[str, _Queue] = {}
        self._line: deque[str] = deque()
        self._by_key: dict[bytes, Check] = {}

    def __repr__(self) -> str:
        waiting = sum(len(queue.checks) for queue in self._queues.values())
        return f"<Checks busy={self._busy}/{self.threads} waiting={waiting}>"

    def under_way(self, key: bytes) -> Check | None:
        """The check of the same credentials."""
        return self._by_key.get(key)

    def add(self, check: Check) -> None:
        """Take up ``check``, which may be over at once. Raises `AccountsUnavailable`."""
        queue = self._queues.get(check.place)
        if queue is None:
            queue = self._queues[check.place] = _Queue()
        elif len(queue.checks) >= MOST_WAITING:
            raise AccountsUnavailable(f"{MOST_WAITING} names and passwords of your address wait to be checked")
        queue.checks.append(check)
        if check.key:
            self._by_key[check.key] = check
        self._advance(check.place)

    def withdraw(self, check: Check) -> None:
        """Take back a check that has not begun."""
        queue = self._queues[check.place]
        queue.checks.remove(check)
        self._forget(check)
        if not (queue.checks or queue.running):
            if queue.call is not None:
                queue.call.cancel()
                queue.call = None
            if not queue.in_line:
                del self._queues[check.place]

    def _forget(self, check: Check) -> None:
        if check.key and self._by_key.get(check.key) is check:
            del self._by_key[check.key]

    def _advance(self, place: str) -> None:
        """Begin the next check of an address, or see to it that it begins in time."""
        queue = self._queues[place]
        while queue.checks and not (queue.running or queue.in_line or queue.call):
            wait = self.slowing.wait(place)
            if wait > 0:
                queue.call = self._clock.callLater(wait, self._waited, place)
            elif self._busy >= self.threads and not queue.checks[0].quick:
                queue.in_line = True
                self._line.append(place)
            else:
                self._begin(queue)
        if not (queue.checks or queue.running or queue.in_line) and self._queues.get(place) is queue:
            del self._queues[place]

    def _waited(self, place: str) -> None:
        self._queues[place].call = None
        self._advance(place)

    def _begin(self, queue: _Queue) -> None:
        check = queue.checks.popleft()
        queue.running = check.running = True
        self._busy += not check.quick
        checked: Deferred[Any] = maybeDeferred(self.portal.login, check.credentials, None, IAccount)
        if not check.quick:
            checked.addTimeout(LONGEST_CHECK, self._clock)
        checked.addCallbacks(self._passed, self._not_passed, callbackArgs=(check,), errbackArgs=(check,))
        checked.addBoth(self._ended, check, queue)
        checked.addErrback(lambda failure: self._log.failure("a check of credentials could not be ended", failure))

    def _passed(self, login: tuple[Any, Account, Any], check: Check) -> None:
        check.account = login[1]

    def _not_passed(self, failure: Failure, check: Check) -> None:
        if failure.check(UnauthorizedLogin):
            check.error = CredentialsRefused()
            if not check.certified:
                self.slowing.failed(check.place)
        elif failure.check(DirectoryUnavailable):
            self._log.error("a directory could not be asked: {error}", error=failure.value)
            check.error = AccountsUnavailable()
        else:
            self._log.failure("the accounts could not be asked", failure)
            check.error = AccountsUnavailable()

    def _ended(self, _: object, check: Check, queue: _Queue) -> None:
        queue.running = False
        self._busy -= not check.quick
        check.over = True
        self._forget(check)
        self._settled(check)
        askers, check.askers = check.askers, []
        for asker in askers:
            if check.account is not None:
                asker.identified(check.account)
            else:
                asker.not_identified(check.error or AccountsUnavailable())
        while self._line and self._busy < self.threads:
            place = self._line.popleft()
            self._queues[place].in_line = False
            self._advance(place)
        # Behind those that were in line already.
        if self._queues.get(check.place) is queue:
            self._advance(check.place)
