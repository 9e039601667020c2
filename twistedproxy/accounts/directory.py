"""One directory of LDAP: whose a name and a password are (RFC 4511, RFC 4513).

Theory of operation. A password is right when the directory lets the account's entry bind with it. Where the entry is
follows from the name, or a search tells. The account's name is what the entry has for one, and not what was typed:
directories do not tell ``Ann`` from ``ann``, nor some other spellings, and rules do.

An empty password is refused before anybody is asked: with one, a bind succeeds that proves nothing (RFC 4513 section
5.1.2). Each check has a connection of its own, whose TLS is resumed where the directory lets us: there are as many as
checks, which are few, and what was right is remembered. All of it has to be over in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.protocol import Factory

from twistedproxy.accounts.files import AccountsError
from twistedproxy.accounts.ldap.connection import LDAPConnection, LDAPError, words_of
from twistedproxy.accounts.ldap.filters import ANY, Filter, FilterError
from twistedproxy.accounts.ldap.messages import (
    BASE,
    INAPPROPRIATE_AUTHENTICATION,
    INVALID_CREDENTIALS,
    INVALID_DN,
    NO_SUCH_OBJECT,
    SIZE_LIMIT,
    SUBTREE,
    SUCCESS,
    Entry,
    Result,
)
from twistedproxy.accounts.ldap.names import escaped, first_value
from twistedproxy.settings.account_entries import check_group, check_name
from twistedproxy.settings.directories import DN, NAME, Directory
from twistedproxy.settings.problems import Unfit
from twistedproxy.tls.client_side import ClientSide

MOST_GROUPS: Final = 1000
"""Groups of one account."""

_PORTS: Final = {"ldap": 389, "ldaps": 636}
_WRONG: Final = (INVALID_CREDENTIALS, INAPPROPRIATE_AUTHENTICATION, NO_SUCH_OBJECT, INVALID_DN)


class DirectoryUnavailable(Exception):
    """A directory cannot be asked. The text says which, and why."""


class Found(NamedTuple):
    """An account in a directory."""

    name: bytes
    groups: frozenset[str]


class DirectoryAccounts:
    """The accounts in one directory, by its ``settings``; ``tls`` verifies it.

    ``service_password`` is that of ``settings.service_dn``. Raises `AccountsError` for a filter that is none.
    """

    def __init__(self, settings: Directory, tls: ClientSide, service_password: bytes = b"") -> None:
        self.settings = settings
        parts = urlsplit(settings.url)
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._creator = tls.creator(self._host, self._port, ())
        self._service_password = service_password
        try:
            self._filter = Filter(settings.filter)
            self._group_filter = Filter(settings.group_filter)
        except FilterError as error:
            raise AccountsError(str(error)) from None

    def __repr__(self) -> str:
        return f"<DirectoryAccounts {self.settings.url}>"

    def find(self, reactor: Any, name: bytes, password: bytes) -> Deferred[Found]:
        """The account of that name and password. Fails with `UnauthorizedLogin` and `DirectoryUnavailable`."""
        text = name.decode("utf-8", "replace")
        try:
            check_name(text)
        except Unfit:
            return fail(UnauthorizedLogin())
        if not password:
            return fail(UnauthorizedLogin())
        found: Deferred[Found] = Deferred.fromCoroutine(self._find(reactor, text, password))
        return found.addTimeout(self.settings.timeout, reactor, self._timed_out)

    def _timed_out(self, _result: object, seconds: float) -> Found:
        raise self._unavailable(f"it took longer than {seconds:g} s")

    def _unavailable(self, why: str) -> DirectoryUnavailable:
        return DirectoryUnavailable(f"{self.settings.url}: {why}")

    async def _find(self, reactor: Any, name: str, password: bytes) -> Found:
        endpoint = HostnameEndpoint(reactor, self._host, self._port, self.settings.timeout)
        try:
            connection: Any = await endpoint.connect(Factory.forProtocol(LDAPConnection))
        except (ConnectError, DNSLookupError) as error:
            raise self._unavailable(str(error)) from None
        try:
            if self.settings.url.startswith("ldaps:"):
                connection.secure(self._creator)
            elif not self.settings.plain:
                await connection.start_tls(self._creator)
            found = await self._ask(connection, name, password)
        except LDAPError as error:
            connection.abort()
            raise self._unavailable(str(error)) from None
        except UnauthorizedLogin:
            connection.close()
            raise
        except BaseException:
            connection.abort()
            raise
        connection.close()
        return found

    async def _ask(self, connection: LDAPConnection, name: str, password: bytes) -> Found:
        settings = self.settings
        attributes = [settings.name_attribute] + ([] if settings.group_base else [settings.group_attribute])
        if settings.dn:
            dn = settings.dn.replace(NAME, escaped(name))
            await self._bind(connection, dn, password)
            entries = await self._search(connection, dn, BASE, ANY, attributes, 1)
            if not entries:
                raise LDAPError(f"accounts cannot read {attributes[0]} in their own entries")
        else:
            await self._serve(connection)
            wanted = self._filter.encoded({NAME: name.encode()})
            entries = await self._search(connection, settings.base, SUBTREE, wanted, attributes, 2)
            if len(entries) != 1:
                # Nobody, or not one person in particular; which takes as long to find out as a wrong password.
                await self._bind(connection, settings.base, password)
                raise UnauthorizedLogin()
            await self._bind(connection, entries[0].dn, password)
        entry = entries[0]
        canonical = _canonical(_texts(entry, settings.name_attribute), name)
        if not settings.group_base:
            names = [first_value(value) for value in _texts(entry, settings.group_attribute)]
        else:
            await self._serve(connection)
            wanted = self._group_filter.encoded({NAME: canonical.encode(), DN: entry.dn.encode()})
            found = await self._search(connection, settings.group_base, SUBTREE, wanted, ["cn"], MOST_GROUPS)
            names = [value for one in found for value in _texts(one, "cn")]
        return Found(canonical.encode(), frozenset(filter(_is_group, names[:MOST_GROUPS])))

    async def _bind(self, connection: LDAPConnection, dn: str, password: bytes) -> None:
        result = await connection.bind(dn, password)
        if result.code in _WRONG:
            raise UnauthorizedLogin()
        _succeeded(result)

    async def _serve(self, connection: LDAPConnection) -> None:
        """Be the service's account, where there is one; else nobody until the account's bind, and the account then."""
        if not self.settings.service_dn:
            return
        result = await connection.bind(self.settings.service_dn, self._service_password)
        if result.code in _WRONG:
            raise LDAPError(f"the password of {self.settings.service_dn} is wrong")
        _succeeded(result)

    async def _search(
        self, connection: LDAPConnection, base: str, scope: int, wanted: bytes, attributes: Sequence[str], most: int
    ) -> list[Entry]:
        seconds = self.settings.timeout
        result, entries = await connection.search(base, scope, wanted, attributes, most=most, seconds=seconds)
        # Who may not read an entry is told that there is none.
        if result.code not in (SIZE_LIMIT, NO_SUCH_OBJECT):
            _succeeded(result)
        return entries


def _succeeded(result: Result) -> None:
    if result.code != SUCCESS:
        raise LDAPError(words_of(result))


def _texts(entry: Entry, attribute: str) -> list[str]:
    return [value.decode("utf-8", "replace") for value in entry.attributes.get(attribute.lower(), ())]


def _canonical(names: list[str], given: str) -> str:
    """The account's name: the only one that the entry has, or the one of them that was given."""
    if not names:
        raise LDAPError("the entry of an account has no name that can be read")
    if len(names) != 1:
        names = [one for one in names if one.casefold() == given.casefold()]
    try:
        [name] = names
        check_name(name)
    except ValueError:
        # Unfit is one.
        raise UnauthorizedLogin() from None
    return name


def _is_group(name: str) -> bool:
    try:
        check_group(name)
    except Unfit:
        return False
    return True
