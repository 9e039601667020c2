"""The portal: passwords and digests by the roster, and the operator's own checkers."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.x509.oid import NameOID
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.accounts.samples import Threads, client_certificate, quick_hash
from twistedproxy.accounts.account import Account, IAccount
from twistedproxy.accounts.certificates import IVerifiedCertificate, VerifiedCertificate
from twistedproxy.accounts.checkers import (
    Accounts,
    CertificateChecker,
    DigestChecker,
    DigestCredentials,
    DirectoryChecker,
    PasswordChecker,
    portal_to,
)
from twistedproxy.accounts.directory import DirectoryUnavailable, Found
from twistedproxy.accounts.roster import Roster
from twistedproxy.http.digest import DigestResponse, digest_of
from twistedproxy.settings.accounts import AccountGroup, AccountsSettings, StaticAccount


@implementer(ICredentialsChecker)
class Elsewhere:
    """Knows some names itself: what it says of each."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, **says: Any) -> None:
        self.says = says
        self.asked: list[bytes] = []

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        self.asked.append(credentials.username)
        said = self.says.get(credentials.username.decode(), UnauthorizedLogin())
        if isinstance(said, Exception):
            return fail(said)
        return succeed(said)


def roster(*checkers: Any, **passwords: bytes) -> Roster:
    static = tuple(StaticAccount(name=n, hash=quick_hash(p).decode()) for n, p in passwords.items())
    groups = (AccountGroup(name="staff", members=("ann", "eve")),)
    made = Roster.of(AccountsSettings(required=True, static=static, groups=groups))
    assert made is not None
    object.__setattr__(made, "checkers", checkers)
    object.__setattr__(made, "digests", {b"ann": digest_of(b"ann", b"proxy", b"secret")})
    return made


def login(made: Roster, credentials: Any) -> tuple[Any, Threads]:
    """The account, or the error; and the threads in which it was found out."""
    threads = Threads()
    results: list[Any] = []
    portal_to(made, threads).login(credentials, None, IAccount).addCallbacks(
        lambda passed: results.append(passed[1]), lambda failure: results.append(failure.value)
    )
    threads.turn()
    [result] = results
    return result, threads


def test_interfaces_are_kept() -> None:
    made = roster()
    verifyObject(ICredentialsChecker, PasswordChecker(made, Threads()))
    verifyObject(ICredentialsChecker, DigestChecker(made))
    verifyObject(IRealm, Accounts(made))
    with pytest.raises(NotImplementedError, match="only accounts"):
        Accounts(made).requestAvatar(b"ann", None, IRealm)


def test_the_right_password() -> None:
    account, threads = login(roster(ann=b"secret"), UsernamePassword(b"ann", b"secret"))
    assert account == Account(b"ann", frozenset(["staff"]))
    assert threads.done == 1


@pytest.mark.parametrize("name", [b"ann", b"nobody"])
def test_wrong_passwords_and_unknown_names_cost_the_same(name: bytes) -> None:
    error, threads = login(roster(ann=b"secret"), UsernamePassword(name, b"guess"))
    assert isinstance(error, UnauthorizedLogin)
    assert threads.done == 1


def test_the_password_of_a_decoy_lets_nobody_in() -> None:
    error, _ = login(roster(ann=b"secret"), UsernamePassword(b"nobody", b"secret"))
    assert isinstance(error, UnauthorizedLogin)


def test_without_any_account_there_is_nothing_to_compare() -> None:
    error, threads = login(roster(), UsernamePassword(b"nobody", b"secret"))
    assert isinstance(error, UnauthorizedLogin)
    assert threads.done == 0


def test_checkers_are_asked_for_names_that_are_not_here() -> None:
    first, second = Elsewhere(bob=b"bob"), Elsewhere(eve="eve", anybody=())
    made = roster(first, second, ann=b"secret")
    assert login(made, UsernamePassword(b"bob", b"x"))[0] == Account(b"bob")
    assert login(made, UsernamePassword(b"eve", b"x"))[0] == Account(b"eve", frozenset(["staff"]))
    assert isinstance(login(made, UsernamePassword(b"anybody", b"x"))[0], UnauthorizedLogin)
    assert isinstance(login(made, UsernamePassword(b"ann", b"x"))[0], UnauthorizedLogin)
    assert (first.asked, second.asked) == ([b"bob", b"eve", b"anybody"], [b"eve", b"anybody"])


def test_a_checker_that_fails_is_not_one_that_says_no() -> None:
    made = roster(Elsewhere(bob=OSError("directory down")), Elsewhere(bob=b"bob"))
    assert isinstance(login(made, UsernamePassword(b"bob", b"x"))[0], OSError)


def digest(name: bytes, password: bytes) -> DigestCredentials:
    from hashlib import sha256

    request = sha256(b"GET:/").hexdigest().encode()
    stated = b"%b:n:00000001:c:auth:%b" % (digest_of(name, b"proxy", password), request)
    response = sha256(stated).hexdigest().encode()
    return DigestCredentials(
        DigestResponse(
            name=name,
            realm=b"proxy",
            nonce=b"n",
            uri=b"/",
            response=response,
            client_nonce=b"c",
            count=b"00000001",
            method=b"GET",
        )
    )


def test_digests_need_no_thread() -> None:
    account, threads = login(roster(), digest(b"ann", b"secret"))
    assert (account, threads.done) == (Account(b"ann", frozenset(["staff"])), 0)
    assert isinstance(login(roster(), digest(b"ann", b"guess"))[0], UnauthorizedLogin)
    assert isinstance(login(roster(), digest(b"nobody", b"secret"))[0], UnauthorizedLogin)


# ---------------------------------------------------------------- certificates


@implementer(ICredentialsChecker)
class Directory:
    """Knows certificates by the organization of their subject."""

    credentialInterfaces = (IVerifiedCertificate,)

    def __init__(self, **says: Any) -> None:
        self.says = says
        self.asked: list[IVerifiedCertificate] = []

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        self.asked.append(credentials)
        [organization] = credentials.certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        said = self.says.get(organization.value, UnauthorizedLogin())
        return fail(said) if isinstance(said, Exception) else succeed(said)


def shown(name: str, organization: str = "") -> VerifiedCertificate:
    return VerifiedCertificate((client_certificate(name, organization=organization),))


def test_a_certificate_is_an_accounts() -> None:
    made = roster(ann=b"secret")
    verifyObject(ICredentialsChecker, CertificateChecker(made))
    assert login(made, shown("ann"))[0] == Account(b"ann", frozenset(["staff"]))
    assert isinstance(login(made, shown("bob"))[0], UnauthorizedLogin)


def test_checkers_of_passwords_are_not_asked_of_certificates_and_the_reverse() -> None:
    passwords, certificates = Elsewhere(eve="eve"), Directory(Example="eve")
    made = roster(passwords, certificates, ann=b"secret")
    assert login(made, shown("bob", "Example"))[0] == Account(b"eve", frozenset(["staff"]))
    assert login(made, UsernamePassword(b"eve", b"x"))[0] == Account(b"eve", frozenset(["staff"]))
    assert (passwords.asked, [one.name for one in certificates.asked]) == ([b"eve"], [b"bob"])
    login(made, shown("ann", "Example"))
    assert len(certificates.asked) == 1, "what is known here is not asked there"
    assert isinstance(login(made, shown("bob", "Other"))[0], UnauthorizedLogin)
    broken = roster(Directory(Example=OSError("down")))
    assert isinstance(login(broken, shown("bob", "Example"))[0], OSError)


# ---------------------------------------------------------------- directories


class Known:
    """A directory that knows eve and ann, however they are spelled."""

    def find(self, reactor: Any, name: bytes, password: bytes) -> Deferred[Found]:
        if name.lower() not in (b"eve", b"ann") or password != b"secret":
            return fail(UnauthorizedLogin())
        return succeed(Found(name.lower(), frozenset(["elsewhere"])))


def with_directories(*directories: Any) -> Roster:
    made = roster(Elsewhere(bob="bob"), ann=b"word")
    object.__setattr__(made, "directories", directories)
    return made


def test_a_directory_is_asked_of_names_that_are_not_here() -> None:
    made = with_directories(Known())
    verifyObject(ICredentialsChecker, DirectoryChecker(Known(), made, None))  # type: ignore[arg-type]  # a double
    found = login(made, UsernamePassword(b"EVE", b"secret"))[0]
    assert found == Account(b"eve", frozenset(["staff", "elsewhere"]), frozenset(["elsewhere"]))
    assert type(found.name) is bytes
    assert login(made, UsernamePassword(b"bob", b"x"))[0] == Account(b"bob"), "checkers come after it"
    assert isinstance(login(made, UsernamePassword(b"eve", b"word"))[0], UnauthorizedLogin)


def test_nobody_is_another_by_another_spelling() -> None:
    """The account ann is one in the settings, with a password there."""
    made = with_directories(Known())
    for name in (b"ann", b"Ann"):
        assert isinstance(login(made, UsernamePassword(name, b"secret"))[0], UnauthorizedLogin)


def test_a_directory_that_cannot_be_asked_does_not_let_others_decide() -> None:
    class Down:
        def find(self, reactor: Any, name: bytes, password: bytes) -> Deferred[Found]:
            return fail(DirectoryUnavailable("down"))

    assert isinstance(login(with_directories(Down()), UsernamePassword(b"bob", b"x"))[0], DirectoryUnavailable)
