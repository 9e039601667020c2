"""What the settings of accounts come to, with the files that they name read: who there is, and who needs to be one.

Frozen: a reload makes another one, and so does a change of the files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import IUsernamePassword
from twisted.python.reflect import namedAny

from twistedproxy.access.addresses import AddressSet
from twistedproxy.accounts import hashes
from twistedproxy.accounts.account import Account
from twistedproxy.accounts.certificates import CertificateNaming, IVerifiedCertificate, VerifiedCertificate, key_of
from twistedproxy.accounts.directory import DirectoryAccounts
from twistedproxy.accounts.files import (
    AccountsError,
    located,
    read_content,
    read_digests,
    read_groups,
    read_hashes,
)
from twistedproxy.http.digest import hash_of_name
from twistedproxy.reading import Stamp, stamp
from twistedproxy.settings.accounts import AccountsSettings, CertificateAccount, StaticAccount, has_accounts
from twistedproxy.settings.directories import Directory
from twistedproxy.settings.load import Fault
from twistedproxy.settings.spelling import toml_string
from twistedproxy.settings.types import Settings
from twistedproxy.settings.upstream_tls import UpstreamTLSSettings
from twistedproxy.tls.client_side import ClientSide
from twistedproxy.tls.trust import Trust, TrustError

T = TypeVar("T")

_CHECKED: Final = (IUsernamePassword, IVerifiedCertificate)

NO_GROUPS: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Roster:
    """The accounts, by name. Made with `of`.

    ``hashes`` are those of passwords, ``digests`` those for the scheme Digest, and ``name_hashes`` has the names of the
    latter by their hashes, where clients may send those. ``naming`` tells whose a certificate is. ``directories`` are
    those of LDAP, ``checkers`` the operator's. ``files`` are those that it was read from, with what tells whether they
    have changed since.
    """

    settings: AccountsSettings
    hashes: Mapping[bytes, bytes]
    digests: Mapping[bytes, bytes]
    name_hashes: Mapping[bytes, bytes]
    groups: Mapping[bytes, frozenset[str]]
    naming: CertificateNaming
    directories: Sequence[DirectoryAccounts]
    checkers: Sequence[Any]
    exempt: AddressSet
    files: Mapping[str, Stamp]
    decoys: Sequence[bytes]
    with_certificates: frozenset[bytes]

    @classmethod
    def of(cls, settings: AccountsSettings, environment: Mapping[str, str] = os.environ) -> Roster | None:
        """Read what ``settings`` name; None where they know of no account and want none. Raises `AccountsError`."""
        if not (settings.required or has_accounts(settings)):
            return None
        return _read(settings, [checker_of(name) for name in settings.checkers], environment)

    def again(self, environment: Mapping[str, str] = os.environ) -> Roster:
        """The same, with the files as they are now. Raises `AccountsError`."""
        return _read(self.settings, self.checkers, environment)

    def __repr__(self) -> str:
        return f"<Roster accounts={self.count} checkers={len(self.checkers)}>"

    @property
    def count(self) -> int:
        """How many accounts there are, but for those that only checkers or authorities know."""
        return len(self.hashes.keys() | self.digests.keys() | self.with_certificates)

    def checkers_of(self, kind: Any) -> list[Any]:
        """The operator's checkers of credentials of that kind, an interface."""
        return [one for one in self.checkers if any(those.isOrExtends(kind) for those in one.credentialInterfaces)]

    def certified(self, shown: VerifiedCertificate) -> bool:
        """Whether a client's certificate is that of an account in here; its ``name`` is what it says from now on."""
        name = shown.name = self.naming.name(shown.said)
        if not name:
            return False
        if self.settings.certificate_accounts == "all":
            return True
        return name in self.with_certificates or name in self.hashes or name in self.digests

    def needed_from(self, client: str) -> bool:
        """Whether a request of the client at an address needs an account."""
        return self.settings.required and client not in self.exempt

    def account(self, name: bytes, found: frozenset[str] = NO_GROUPS) -> Account:
        """The account of that name, whether it is in here or a checker knows it, which has ``found`` groups."""
        return Account(name, self.groups.get(name, NO_GROUPS) | found, found)

    def decoy(self, name: bytes) -> bytes | None:
        """A hash to check a password against when nobody is called ``name``, so that it takes as long; None for none.

        Always the same for one name: who tries it twice learns nothing.
        """
        return self.decoys[hash(name) % len(self.decoys)] if self.decoys else None


def _read(settings: AccountsSettings, checkers: Sequence[Any], environment: Mapping[str, str]) -> Roster:
    files: dict[str, Stamp] = {}
    mistakes: list[str] = []

    def content(path: str, secret: bool = True) -> tuple[str, bytes]:
        path = located(path, environment)
        # Before it is read, so that a change meanwhile is seen later.
        files[path] = stamp(path)
        return path, read_content(path, secret=secret)

    def took(read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except AccountsError as error:
            mistakes.append(str(error))
            return otherwise

    passwords: dict[bytes, bytes] = {}
    digests: dict[bytes, bytes] = {}
    groups: dict[bytes, set[str]] = {}
    realm = settings.realm.encode("ascii")
    if settings.htpasswd_file:
        passwords = took(lambda: read_hashes(*content(settings.htpasswd_file)), passwords)
    if settings.digest_file:
        digests = took(lambda: read_digests(*content(settings.digest_file), realm), digests)
    if settings.group_file:
        groups = took(lambda: read_groups(*content(settings.group_file, False)), groups)
    for one in settings.static:
        name = one.name.encode()
        if one.password_file:
            passwords[name] = took(partial(_hash_of_file, one.password_file, content), b"")
        else:
            passwords[name] = took(partial(_static_hash, one), b"")
        groups.setdefault(name, set()).update(one.groups)
    for entry in settings.certificates:
        took(partial(_known_by, entry), None)
        groups.setdefault(entry.name.encode(), set()).update(entry.groups)
    directories = [took(partial(_directory, one, content, environment), None) for one in settings.ldap]
    if mistakes:
        raise AccountsError("\n".join(mistakes))
    for group in settings.groups:
        for member in group.members:
            groups.setdefault(member.encode(), set()).add(group.name)
    return Roster(
        settings=settings,
        hashes=passwords,
        digests=digests,
        name_hashes={hash_of_name(name, realm): name for name in digests} if settings.userhash else {},
        groups={name: frozenset(those) for name, those in groups.items() if those},
        naming=CertificateNaming(settings.certificates, settings.certificate_names),
        directories=[one for one in directories if one is not None],
        checkers=checkers,
        exempt=AddressSet.of(settings.exempt_clients, look_inside=False),
        files=files,
        decoys=tuple(passwords.values()),
        with_certificates=frozenset(entry.name.encode() for entry in settings.certificates),
    )


def _directory(
    directory: Directory, content: Callable[[str], tuple[str, bytes]], environment: Mapping[str, str]
) -> DirectoryAccounts:
    anchors = (directory.anchors,) if directory.anchors else ()
    try:
        trust = Trust.of(UpstreamTLSSettings(anchors=anchors, system_anchors=not anchors), environment)
    except TrustError as error:
        raise AccountsError(str(error)) from None
    password = b""
    if directory.service_password_file:
        password = _first_line(directory.service_password_file, content)
    return DirectoryAccounts(directory, ClientSide(trust), password)


def _known_by(entry: CertificateAccount) -> None:
    try:
        key_of(entry)
    except ValueError:
        raise AccountsError(f"{toml_string(entry.subject)} is no subject in the form of RFC 4514") from None


def _static_hash(account: StaticAccount) -> bytes:
    hashed = account.hash.encode("ascii", "replace")
    why = hashes.unusable(hashed)
    if why:
        raise AccountsError(f"the account {account.name}: its hash {why}; pyproxyctl passwd makes a new one")
    return hashed


def _hash_of_file(path: str, content: Callable[[str], tuple[str, bytes]]) -> bytes:
    """The hash of the password in a file: nobody needs to keep the password itself."""
    password = _first_line(path, content)
    # Of the kind that may be as long as it likes; and not for long enough to be stolen, so that it may be quick.
    return hashes.make(password, "scrypt", 14)


def _first_line(path: str, content: Callable[[str], tuple[str, bytes]]) -> bytes:
    """The password that is a file's first line."""
    password = content(path)[1].partition(b"\n")[0].rstrip(b"\r")
    if not password:
        raise AccountsError(f"there is no password in the first line of {path}")
    return password


def checker_of(name: str) -> Any:
    """The checker of that dotted name. Raises `AccountsError`."""
    try:
        found = namedAny(name)
        if not ICredentialsChecker.providedBy(found) and callable(found):
            found = found()
    except Exception as error:
        # Whatever an operator's own module raises; it is not known here.
        raise AccountsError(f"{name} cannot be imported: {type(error).__name__}: {error}") from None
    if not ICredentialsChecker.providedBy(found):
        raise AccountsError(f"{name} provides no ICredentialsChecker")
    if not any(one.isOrExtends(kind) for one in found.credentialInterfaces for kind in _CHECKED):
        raise AccountsError(
            f"{name} checks neither passwords nor certificates: neither IUsernamePassword nor IVerifiedCertificate is "
            "in its credentialInterfaces"
        )
    return found


def faults(settings: Settings, environment: Mapping[str, str] = os.environ) -> Iterator[tuple[str, Fault]]:
    """What is wrong with the accounts that ``settings`` name, by key path, as `twistedproxy.settings.load.Check`."""
    wanted = settings.accounts
    if wanted.required and not has_accounts(wanted):
        yield "accounts.required", Fault("there is no account: name a file, static accounts or checkers")
    if "digest" in wanted.schemes and not wanted.digest_file:
        yield "accounts.schemes", Fault('"digest" needs accounts.digest_file')
    for key in ("htpasswd_file", "digest_file", "group_file"):
        path = getattr(wanted, key)
        if path:
            alone = AccountsSettings(realm=wanted.realm, **{key: path})
            yield from ((f"accounts.{key}", Fault(line)) for line in _mistakes(alone, environment))
    for number, account in enumerate(wanted.static):
        within = "hash" if account.hash else "password_file"
        for line in _mistakes(AccountsSettings(static=(account,)), environment):
            yield "accounts.static", Fault(line, number, within)
    for number, entry in enumerate(wanted.certificates):
        for line in _mistakes(AccountsSettings(certificates=(entry,)), environment):
            yield "accounts.certificates", Fault(line, number, "subject")
    for number, directory in enumerate(wanted.ldap):
        for line in _mistakes(AccountsSettings(ldap=(directory,)), environment):
            yield "accounts.ldap", Fault(line, number)
    for number, name in enumerate(wanted.checkers):
        try:
            checker_of(name)
        except AccountsError as error:
            yield "accounts.checkers", Fault(str(error), number)


def _mistakes(settings: AccountsSettings, environment: Mapping[str, str]) -> list[str]:
    try:
        _read(settings, (), environment)
    except AccountsError as error:
        return str(error).splitlines()
    return []
