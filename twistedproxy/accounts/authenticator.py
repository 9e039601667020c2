"""Whose requests are: what each exchange asks, and what stands behind the answer.

Theory of operation. Nearly every request brings credentials that were right a moment ago, and learning that takes a MAC
and a look into a table. Others go through the portal of `twisted.cred`, when their turn comes (`checks`). Digests
differ from request to request; each is checked, which takes microseconds.

The files with the accounts are looked at once a second at most, when somebody asks. Another file is read in a thread,
and takes the place of the one before when all of it can be used. Who is still in it as before stays known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from twisted.cred.credentials import UsernamePassword
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from twistedproxy.accounts.account import Account
from twistedproxy.accounts.certificates import IVerifiedCertificate, VerifiedCertificate
from twistedproxy.accounts.checkers import DigestCredentials, InThread, portal_to
from twistedproxy.accounts.checks import Asker, Check, Checks
from twistedproxy.accounts.files import AccountsError
from twistedproxy.accounts.nonces import Nonces
from twistedproxy.accounts.remembered import CERTIFIED, Results
from twistedproxy.accounts.roster import Roster
from twistedproxy.accounts.slowing import Slowing, place_of
from twistedproxy.errors import CredentialsRefused
from twistedproxy.http.credentials import basic_challenge, digest_challenge, parse_credentials
from twistedproxy.http.digest import DigestResponse
from twistedproxy.reading import stamp
from twistedproxy.settings.accounts import AccountsSettings

LOOK: Final = 1.0
"""Seconds between two looks at the files."""

T = TypeVar("T")


class Request(Asker, Protocol):
    """A request with credentials. ``user`` is the name that they claim, from the moment at which it can be read."""

    user: bytes
    client_address: str

    @property
    def method(self) -> bytes:
        """Its method."""

    @property
    def url(self) -> bytes:
        """Its target."""


class Authenticator:
    """Knows the accounts of ``roster``, where there is one. ``seconds`` tells the time."""

    _log = Logger()

    def __init__(self, reactor: Any, seconds: Callable[[], float], roster: Roster | None) -> None:
        self.in_thread: InThread = self._in_thread
        self._reactor = reactor
        self._seconds = seconds
        settings = roster.settings if roster is not None else AccountsSettings()
        self._results = Results(seconds, settings.cache_ttl, settings.cache_size)
        self._slowing = Slowing(seconds, settings.slow_down)
        self._checks = Checks(reactor, self._slowing, settings.threads, self._settled)
        self._nonces = Nonces(seconds)
        self._settings = settings
        self._roster: Roster | None = None
        self._asks_of_certificates = False
        self._look_at = 0.0
        self._stamps: dict[str, object] = {}
        self._go_by(roster)

    def __repr__(self) -> str:
        return f"<Authenticator {self._roster!r} {self._results!r} {self._checks!r}>"

    # ------------------------------------------------------------ the accounts

    def use(self, roster: Roster | None) -> None:
        """Go by another roster, from the next request on."""
        if roster is not self._roster:
            self._go_by(roster)

    def _go_by(self, roster: Roster | None) -> None:
        before, self._roster = self._roster, roster
        if roster is None:
            self._results.clear()
            return
        settings = self._settings = roster.settings
        self._results.ttl = settings.cache_ttl
        self._results.size = settings.cache_size
        self._slowing.longest = settings.slow_down
        self._checks.threads = settings.threads
        self._checks.portal = portal_to(roster, self._call, self._reactor)
        self._asks_of_certificates = bool(roster.checkers_of(IVerifiedCertificate))
        if before is not None:
            now, then = settings, before.settings
            same = (now.checkers, now.ldap) == (then.checkers, then.ldap)
            self._results.go_by(roster, same_checkers=same)
        self._stamps = dict(roster.files)
        self._look_at = self._seconds() + LOOK

    def _look(self, now: float, roster: Roster) -> None:
        """Read the files again when they are others."""
        self._look_at = now + LOOK
        stamps: dict[str, object] = {path: stamp(path) for path in roster.files}
        if stamps == self._stamps:
            return
        # What cannot be read is told of once, not each second.
        self._stamps = stamps
        reading: Deferred[Any] = self.in_thread(roster.again)
        reading.addCallbacks(self._read, self._not_read, callbackArgs=(roster,))
        reading.addErrback(lambda failure: self._log.failure("the accounts could not be read again", failure))

    def _read(self, roster: Roster, before: Roster) -> None:
        if self._roster is before:
            self._go_by(roster)
            self._log.info("the accounts have been read again: there are {count}", count=roster.count)

    def _not_read(self, failure: Failure) -> None:
        failure.trap(AccountsError)
        for line in str(failure.value).splitlines():
            self._log.error("{line}", line=line)
        self._log.error("the accounts were not read again: those before stay in force")

    # ------------------------------------------------------------ requests

    def key_of(self, value: bytes) -> bytes:
        """What the ``value`` of a Proxy-Authorization field is remembered by, as long as this is there."""
        return self._results.key_of(value)

    def identify(self, value: bytes, key: bytes, request: Request) -> Account | Check:
        """Whose request it is, by the ``value`` of its Proxy-Authorization field, and the ``key`` of that.

        When that is not known yet a `Check` comes back, which tells ``request`` later unless it leaves. Raises
        `CredentialsRefused` and its like.
        """
        now = self._seconds()
        roster = self._roster
        if now >= self._look_at and roster is not None:
            self._look(now, roster)
        found = self._results.get(key, now)
        if found is None:
            return self._ask(value, key, request)
        request.user = found.name
        if found.account is None:
            raise CredentialsRefused()
        return found.account

    def identify_certificate(self, shown: VerifiedCertificate, request: Request) -> Account | Check:
        """Whose request it is, by the certificate that its client has ``shown``; otherwise as `identify`."""
        now = self._seconds()
        roster = self._roster
        if now >= self._look_at and roster is not None:
            self._look(now, roster)
        results = self._results
        # No value of a field begins so.
        key = results.key_of(b"\0" + shown.sha256)
        found = results.get(key, now)
        if found is not None:
            if found.account is None:
                raise CredentialsRefused()
            return found.account
        check = self._checks.under_way(key)
        if check is None:
            # Each waits for nobody but itself.
            place = f"certificate {shown.sha256.hex()}"
            quick = not self._asks_of_certificates
            check = Check(self._checks, shown, name=b"", place=place, key=key, quick=quick, certified=True)
            self._checks.add(check)
        return _answer(check, request)

    def _ask(self, value: bytes, key: bytes, request: Request) -> Account | Check:
        if self._roster is None:
            raise CredentialsRefused("this proxy has no accounts")
        credentials = parse_credentials(value)
        if isinstance(credentials, DigestResponse) and credentials.name_hash:
            if not self._settings.userhash:
                raise CredentialsRefused("its Digest has a hashed name, which was not asked for")
            # Nobody is called nothing, so that one of nobody's is refused as late as a wrong password.
            credentials.name = self._roster.name_hashes.get(credentials.name_hash, b"")
        request.user = credentials.name
        check: Check | None
        if isinstance(credentials, DigestResponse):
            check = self._digest_check(credentials, request)
            self._checks.add(check)
        else:
            if "basic" not in self._settings.schemes:
                raise CredentialsRefused("this proxy does not take Basic")
            check = self._checks.under_way(key)
            if check is None:
                proof = UsernamePassword(credentials.name, credentials.password)
                place = place_of(request.client_address)
                check = Check(self._checks, proof, name=credentials.name, place=place, key=key)
                self._checks.add(check)
        return _answer(check, request)

    def _digest_check(self, response: DigestResponse, request: Request) -> Check:
        """The check of a Digest, which has to be for this very request. Raises `CredentialsRefused`."""
        if "digest" not in self._settings.schemes:
            raise CredentialsRefused("this proxy does not take Digest")
        if response.realm != self._settings.realm.encode("ascii"):
            raise CredentialsRefused("its Digest is for another realm")
        if not _is_for(response.uri, request.url):
            raise CredentialsRefused("its Digest is for another URL")
        response.method = request.method
        if not self._nonces.fresh(response.nonce, response.number):
            error = CredentialsRefused("its nonce is too old, or has been used")
            error.stale = True
            raise error
        proof = _Once(response, self._nonces)
        return Check(self._checks, proof, name=response.name, place=place_of(request.client_address), quick=True)

    def _settled(self, check: Check) -> None:
        """Remember how a check has ended."""
        if not check.key or self._roster is None:
            return
        if check.account is not None:
            hashed = CERTIFIED if check.certified else self._roster.hashes.get(check.account.name)
            self._results.right(check.key, check.account, hashed)
        elif isinstance(check.error, CredentialsRefused):
            self._results.wrong(check.key, check.name)

    # ------------------------------------------------------------ challenges

    def challenges(self, *, stale: bool = False) -> list[bytes]:
        """The values of Proxy-Authenticate fields, the best scheme first (RFC 9110 section 11.7.1)."""
        realm = self._settings.realm
        return [
            digest_challenge(realm, self._nonces.new(), stale=stale, userhash=self._settings.userhash)
            if scheme == "digest"
            else basic_challenge(realm)
            for scheme in self._settings.schemes
        ]

    # ------------------------------------------------------------ threads

    def _call(self, work: Callable[[], T]) -> Deferred[T]:
        return self.in_thread(work)

    def _in_thread(self, work: Callable[[], T]) -> Deferred[T]:
        called: Deferred[T] = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work)
        return called


class _Once(DigestCredentials):
    """A Digest that counts as a use of its nonce when it is right, and else as none."""

    def __init__(self, response: DigestResponse, nonces: Nonces) -> None:
        super().__init__(response)
        self._nonces = nonces

    def checkHash(self, digestHash: bytes) -> bool:
        response = self._response
        # It may have waited, and another of the same nonce and count may have been quicker.
        if not (super().checkHash(digestHash) and self._nonces.fresh(response.nonce, response.number)):
            return False
        self._nonces.use(response.nonce, response.number)
        return True


def _answer(check: Check, request: Request) -> Account | Check:
    """What ``check`` has come to; itself where it tells ``request`` later."""
    if not check.over:
        check.askers.append(request)
        return check
    if check.account is None:
        raise check.error or CredentialsRefused()
    return check.account


def _is_for(uri: bytes, target: bytes) -> bool:
    """Whether the URI in a Digest is the request's target, or its path: clients do either (RFC 7616 section 3.4.6)."""
    if uri == target:
        return True
    _, separator, rest = target.partition(b"://")
    if not separator or not uri.startswith(b"/"):
        return False
    path = rest.partition(b"/")
    return uri == b"/" + path[2] if path[1] else uri == b"/"
