"""One question, put to one server after another until one says something of use.

Theory of operation. Each server has some time to reply, then the next is asked, and when all were asked they are asked
again; one that has said that it cannot answer is not. A truncated reply, or too many that are not to the question, lets
the same server be asked over TCP. Where aliases lead to a name that the reply says nothing of, that name is asked for
next, at its own servers.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final, Literal, NamedTuple, TypeAlias

from twistedproxy.deadlines import Deadlines
from twistedproxy.upstream.dns.datagram import GUESSED
from twistedproxy.upstream.dns.messages import (
    CODES,
    MOST_ALIASES,
    NXDOMAIN,
    OK,
    SERVFAIL,
    UNTOLD,
    Malformed,
    Reply,
    question,
    read_reply,
)
from twistedproxy.upstream.dns.servers import Asked, NameServer, Servers
from twistedproxy.upstream.literals import ResolvedAddress

What: TypeAlias = Literal["found", "no address", "no name", "failed", "no reply", "no descriptor"]


_NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)


class Found(NamedTuple):
    """What came of it: addresses for ``ttl`` seconds; or none, and how long that holds. ``detail`` says why."""

    what: What
    addresses: tuple[ResolvedAddress, ...] = ()
    ttl: float = 0.0
    detail: str = ""


class Asking:
    """Asks for the addresses of one type that ``name`` has; ``done`` is called once.

    ``attempts`` is how often each server is asked at most, ``attempt_timeout`` how long each time, in seconds.
    ValueError when that can be no name.
    """

    def __init__(
        self,
        servers: Servers,
        name: str,
        type: int,
        *,
        attempts: int,
        attempt_timeout: float,
        deadlines: Deadlines,
        done: Callable[[Found], None],
    ) -> None:
        self.deadline = inf
        self.deadline_bucket = 0
        self._servers = servers
        self._name = name
        self._type = type
        self._attempts = attempts
        self._attempt_timeout = attempt_timeout
        self._deadlines = deadlines
        self._done = done
        self._question = question(name, type)
        self._aliases = 0
        self._ttl = inf
        self._plan: deque[NameServer] = deque()
        self._server: NameServer | None = None
        self._is_whole = False
        self._asked: Asked | None = None
        self._troubles: dict[NameServer, str] = {}
        self._somebody_spoke = False

    def __repr__(self) -> str:
        return f"<Asking {self._name} type={self._type} server={self._server!r}>"

    def start(self) -> None:
        """Ask the first server."""
        self._plan = deque(self._servers.of(self._name) * self._attempts)
        self._next()

    def cancel(self) -> None:
        """Want to know no more."""
        self._deadlines.forget(self)
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.cancel()

    def deadline_passed(self) -> None:
        """The server has not replied in time."""
        self.cancel()
        self._failed(f"no reply in {self._attempt_timeout:g} s")
        self._next()

    # ------------------------------------------------------------ one server after another

    def _next(self) -> None:
        while self._plan:
            self._server = self._plan.popleft()
            if self._ask(whole=False):
                return
        said = "; ".join(f"{server.address}: {why}" for server, why in self._troubles.items())
        what: What = "failed" if self._somebody_spoke else "no reply"
        self._done(Found(what, detail=f"{self._name}: {said or 'there is no name server for it'}"))

    def _ask(self, *, whole: bool) -> bool:
        """Ask the server; False when that is not possible."""
        assert self._server is not None
        self._is_whole = whole
        try:
            self._asked = self._server.ask(self._question, self._replied, whole=whole)
        except OSError as error:
            why = error.strerror or str(error)
            if error.errno in _NO_DESCRIPTOR:
                # That is no server's fault.
                self._plan.clear()
                self._done(Found("no descriptor", detail=f"{self._name}: {why}"))
                return True
            self._failed(why, spoke=True)
            return False
        self._deadlines.expire_in(self, self._attempt_timeout)
        return True

    def _failed(self, why: str, *, spoke: bool = False, for_good: bool = False) -> None:
        """Nothing of use comes from the server; ``for_good`` is when it will not be different next time."""
        server = self._server
        assert server is not None
        self._troubles[server] = why
        self._somebody_spoke = self._somebody_spoke or spoke
        server.has_failed(why)
        if for_good:
            self._drop(server)

    def _drop(self, server: NameServer) -> None:
        self._plan = deque(one for one in self._plan if one is not server)

    def _replied(self, data: bytes | None, why: str) -> None:
        self._deadlines.forget(self)
        self._asked = None
        if data is not None:
            try:
                reply = read_reply(data, self._name, self._type)
            except Malformed as error:
                self._failed(f"a reply that is not valid ({error})", spoke=True, for_good=True)
            else:
                self._read(reply)
                return
        elif why == GUESSED and not self._is_whole:
            # Nobody guesses his way into a connection.
            if self._ask(whole=True):
                return
        else:
            self._failed(why, spoke=True)
        self._next()

    # ------------------------------------------------------------ what a reply says

    def _read(self, reply: Reply) -> None:
        server = self._server
        assert server is not None
        if reply.truncated:
            if self._is_whole:
                self._failed("a reply that is truncated even over TCP", spoke=True, for_good=True)
            elif self._ask(whole=True):
                return
            self._next()
        elif reply.code == SERVFAIL:
            # That is most often the fault of the name's own servers.
            self._troubles[server] = CODES[SERVFAIL]
            self._somebody_spoke = True
            server.has_replied()
            self._drop(server)
            self._next()
        elif reply.code not in (OK, NXDOMAIN) or reply.is_referral:
            why = "it only refers to others" if reply.is_referral else CODES.get(reply.code, f"RCODE {reply.code}")
            self._failed(why, spoke=True, for_good=True)
            self._next()
        else:
            server.has_replied()
            self._use(reply)

    def _use(self, reply: Reply) -> None:
        self._aliases += reply.aliases
        ttl = 0.0 if reply.ttl == UNTOLD else min(self._ttl, reply.ttl)
        if reply.addresses:
            self._done(Found("found", reply.addresses, ttl))
        elif reply.code == NXDOMAIN:
            self._done(Found("no name", ttl=ttl, detail=f"{self._name}: there is no such name"))
        elif reply.aliases and reply.ttl == UNTOLD:
            self._ttl = min(self._ttl, reply.alias_ttl)
            self._follow(reply.name)
        else:
            self._done(Found("no address", ttl=ttl, detail=f"{self._name}: no address"))

    def _follow(self, name: str) -> None:
        """Ask for the name that aliases have led to."""
        try:
            wire = question(name, self._type) if self._aliases <= MOST_ALIASES else b""
        except ValueError:
            wire = b""
        if not wire:
            self._done(Found("failed", detail=f"{self._name}: its aliases lead nowhere"))
            return
        # Whoever has named it has to know, where the settings name nobody else.
        servers = self._servers.of(name) or self._servers.of(self._name)
        self._name, self._question = name, wire
        self._plan = deque(servers * self._attempts)
        self._troubles.clear()
        self._somebody_spoke = False
        self._next()
