"""The portal of `twisted.cred` that clients have to pass: a realm whose avatars are accounts, and its checkers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernameDigestHash, IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.python.failure import Failure
from zope.interface import implementer

from twistedproxy.accounts.account import Account, IAccount
from twistedproxy.accounts.certificates import IVerifiedCertificate
from twistedproxy.accounts.directory import DirectoryAccounts, Found
from twistedproxy.accounts.hashes import verify
from twistedproxy.accounts.roster import NO_GROUPS, Roster
from twistedproxy.http.digest import DigestResponse

T = TypeVar("T")

AvatarId: TypeAlias = bytes | tuple[()]
"""What a checker finds, as `twisted.cred` has it: here always a name."""


class InThread(Protocol):
    """Calls something in a thread, and fires with what it returns."""

    def __call__(self, work: Callable[[], T]) -> Deferred[T]:
        """Call ``work`` there."""


@implementer(IUsernameDigestHash)
class DigestCredentials:
    """A Digest as credentials of `twisted.cred`."""

    def __init__(self, response: DigestResponse) -> None:
        self.username = response.name
        self._response = response

    def checkHash(self, digestHash: bytes) -> bool:
        """Whether it was made with the password of that digest."""
        return self._response.proves(digestHash)


@implementer(ICredentialsChecker)
class PasswordChecker:
    """Checks names and passwords by a roster, and by the operator's own checkers for names that it does not have."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, roster: Roster, in_thread: InThread, reactor: Any = None) -> None:
        self._roster = roster
        self._in_thread = in_thread
        directories = [DirectoryChecker(one, roster, reactor) for one in roster.directories]
        self._others = [*directories, *roster.checkers_of(IUsernamePassword)]

    def requestAvatarId(self, credentials: Any) -> Deferred[AvatarId]:
        """The account's name; fails with `UnauthorizedLogin`."""
        name, password = credentials.username, credentials.password
        roster = self._roster
        hashed = roster.hashes.get(name)
        if hashed is not None:
            return self._in_thread(lambda: verify(hashed, password)).addCallback(_settled, name)
        if self._others:
            return _ask(self._others, credentials)
        decoy = roster.decoy(name)
        if decoy is None:
            return fail(UnauthorizedLogin())
        return self._in_thread(lambda: verify(decoy, password)).addCallback(lambda _: _settled(False, name))


class InDirectory(bytes):
    """The name of an account that a directory knows, with the ``groups`` that it is in there."""

    groups: frozenset[str]


@implementer(ICredentialsChecker)
class DirectoryChecker:
    """Checks names and passwords by a directory of LDAP."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, directory: DirectoryAccounts, roster: Roster, reactor: Any) -> None:
        self._directory = directory
        self._roster = roster
        self._reactor = reactor

    def requestAvatarId(self, credentials: Any) -> Deferred[AvatarId]:
        """The account's name as the directory has it; fails with `UnauthorizedLogin` and `DirectoryUnavailable`."""
        asked = self._directory.find(self._reactor, credentials.username, credentials.password)
        return asked.addCallback(self._found)

    def _found(self, found: Found) -> AvatarId:
        if found.name in self._roster.hashes:
            # Somebody else is called so here, and was asked for in another spelling.
            raise UnauthorizedLogin()
        name = InDirectory(found.name)
        name.groups = found.groups
        return name


@implementer(ICredentialsChecker)
class DigestChecker:
    """Checks Digests by a roster; that takes microseconds."""

    credentialInterfaces = (IUsernameDigestHash,)

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    def requestAvatarId(self, credentials: Any) -> Deferred[AvatarId]:
        """The account's name; fails with `UnauthorizedLogin`."""
        name = credentials.username
        digest = self._roster.digests.get(name)
        # One that nobody's is, so that it takes as long.
        fits = credentials.checkHash(digest or b"0" * 64)
        return succeed(name) if fits and digest is not None else fail(UnauthorizedLogin())


@implementer(ICredentialsChecker)
class CertificateChecker:
    """Finds the accounts of certificates that are verified, by a roster and the operator's own checkers."""

    credentialInterfaces = (IVerifiedCertificate,)

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._others = roster.checkers_of(IVerifiedCertificate)

    def requestAvatarId(self, credentials: Any) -> Deferred[AvatarId]:
        """The account's name; fails with `UnauthorizedLogin`."""
        if self._roster.certified(credentials):
            return succeed(credentials.name)
        return _ask(self._others, credentials) if self._others else fail(UnauthorizedLogin())


@implementer(IRealm)
class Accounts:
    """The realm: what an account is once its name is proven."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: Any) -> tuple[Any, Account, Callable[[], None]]:
        """The account of that name, which there is nothing to log out of."""
        if IAccount not in interfaces:
            raise NotImplementedError("only accounts can be had here")
        found = avatarId.groups if isinstance(avatarId, InDirectory) else NO_GROUPS
        return IAccount, self._roster.account(bytes(avatarId), found), lambda: None


def portal_to(roster: Roster, in_thread: InThread, reactor: Any = None) -> Portal:
    """The portal to the accounts of ``roster``; directories are connected to by way of ``reactor``."""
    return Portal(
        Accounts(roster),
        [PasswordChecker(roster, in_thread, reactor), DigestChecker(roster), CertificateChecker(roster)],
    )


def _ask(checkers: Sequence[Any], credentials: Any) -> Deferred[AvatarId]:
    """Ask the operator's checkers, one after the other."""
    asked: Deferred[Any] = maybeDeferred(checkers[0].requestAvatarId, credentials)

    def named(avatar: object) -> AvatarId:
        if isinstance(avatar, str):
            avatar = avatar.encode()
        if not isinstance(avatar, bytes) or not avatar:
            # Nobody in particular, as twisted.cred has it, is no account.
            raise UnauthorizedLogin()
        return avatar

    def next_one(failure: Failure) -> Any:
        failure.trap(UnauthorizedLogin)
        return _ask(checkers[1:], credentials) if len(checkers) > 1 else failure

    answered: Deferred[Any] = asked.addCallback(named).addErrback(next_one)
    return answered


def _settled(fits: bool, name: bytes) -> AvatarId:
    if not fits:
        raise UnauthorizedLogin()
    return name
