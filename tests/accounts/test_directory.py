"""What is asked of a directory, and what its answers come to; a real one is in tests/live."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from twistedproxy.accounts.directory import MOST_GROUPS, DirectoryAccounts, DirectoryUnavailable, Found
from twistedproxy.accounts.files import AccountsError
from twistedproxy.accounts.ldap.connection import LDAPConnection, LDAPError
from twistedproxy.accounts.ldap.filters import ANY, Filter
from twistedproxy.accounts.ldap.messages import BASE, SUBTREE, Entry, Result
from twistedproxy.settings.directories import Directory
from twistedproxy.settings.upstream_tls import UpstreamTLSSettings
from twistedproxy.tls.client_side import ClientSide
from twistedproxy.tls.trust import Trust

DONE = Result(0x65, 0, "")
GROUPS = [b"cn=staff,ou=groups", b"cn=two words,ou=groups", b"cn=admins", b"nonsense"]
ENTRY = Entry("uid=ann,ou=people", {"uid": [b"ann"], "memberof": GROUPS})
BY_NAME = {"url": "ldaps://ldap.example", "dn": "uid={name},ou=people"}
BY_SEARCH = {"url": "ldap://ldap.example", "base": "ou=people", "service_dn": "cn=s", "service_password_file": "/x"}


class Answering(LDAPConnection):
    """Answers each question by a list; ``asked`` are the questions."""

    def __init__(self, *answers: Any) -> None:
        super().__init__()
        self.answers = list(answers)
        self.asked: list[tuple[Any, ...]] = []

    async def bind(self, dn: str, password: bytes) -> Result:
        self.asked.append(("bind", dn, password))
        return Result(0x61, self.answers.pop(0), "words")

    async def search(self, base: str, scope: int, wanted: bytes, attributes: Any, **bounds: int) -> Any:
        self.asked.append(("search", base, scope, wanted, attributes, bounds["most"]))
        entries = self.answers.pop(0)
        return (entries, []) if isinstance(entries, Result) else (DONE, entries)


def accounts(**settings: Any) -> DirectoryAccounts:
    return DirectoryAccounts(Directory(**settings), ClientSide(Trust.of(UpstreamTLSSettings())), b"service")


def ask(known: DirectoryAccounts, connection: Answering, name: str = "ann", password: bytes = b"secret") -> Any:
    """What is found, or the error."""
    results: list[Any] = []
    Deferred.fromCoroutine(known._ask(connection, name, password)).addCallbacks(
        results.append, lambda failure: results.append(failure.value)
    )
    [result] = results
    return result


def test_by_name() -> None:
    connection = Answering(0, [ENTRY])
    assert ask(accounts(**BY_NAME), connection) == Found(b"ann", frozenset(["staff", "admins"]))
    assert connection.asked == [
        ("bind", "uid=ann,ou=people", b"secret"),
        ("search", "uid=ann,ou=people", BASE, ANY, ["uid", "memberOf"], 1),
    ]


def test_by_a_search_of_the_services() -> None:
    connection = Answering(0, [ENTRY], 0)
    assert ask(accounts(**BY_SEARCH), connection).name == b"ann"
    assert connection.asked == [
        ("bind", "cn=s", b"service"),
        ("search", "ou=people", SUBTREE, Filter("(uid=ann)").encoded({}), ["uid", "memberOf"], 2),
        ("bind", "uid=ann,ou=people", b"secret"),
    ]


def test_groups_are_searched_for() -> None:
    groups = [Entry("cn=a", {"cn": [b"a", b"two words"]}), Entry("cn=b", {"cn": [b"b"]})]
    connection = Answering(0, [ENTRY], 0, 0, groups)
    found = ask(accounts(**BY_SEARCH, group_base="ou=groups"), connection)
    assert found == Found(b"ann", frozenset(["a", "b"]))
    wanted = Filter("(member=uid=ann,ou=people)").encoded({})
    assert connection.asked[1][4] == ["uid"]
    assert connection.asked[3:] == [
        ("bind", "cn=s", b"service"),
        ("search", "ou=groups", SUBTREE, wanted, ["cn"], MOST_GROUPS),
    ]


@pytest.mark.parametrize("code", [49, 48, 32, 34])
def test_a_wrong_password(code: int) -> None:
    assert isinstance(ask(accounts(**BY_NAME), Answering(code)), UnauthorizedLogin)
    assert isinstance(ask(accounts(**BY_SEARCH), Answering(0, [ENTRY], code)), UnauthorizedLogin)


@pytest.mark.parametrize("found", [[], [ENTRY, ENTRY], Result(0x65, 4, ""), Result(0x65, 32, "")])
def test_nobody_or_more_than_one_takes_as_long(found: Any) -> None:
    """Even if somebody can bind as the base with that password."""
    for code in (49, 0):
        connection = Answering(0, found, code)
        assert isinstance(ask(accounts(**BY_SEARCH), connection), UnauthorizedLogin)
        assert connection.asked[-1] == ("bind", "ou=people", b"secret")


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ((49,), "the password of cn=s is wrong"),
        ((53,), "result 53: words"),
        ((0, Result(0x65, 50, "no\nmore")), "result 50: no\\nmore"),
        ((0, [ENTRY], 51), "result 51: words"),
        ((0, [Entry("uid=ann", {})], 0), "the entry of an account has no name that can be read"),
    ],
)
def test_what_cannot_be_found_out(answers: Any, why: str) -> None:
    error = ask(accounts(**BY_SEARCH), Answering(*answers))
    assert isinstance(error, LDAPError)
    assert str(error) == why


def test_an_entry_that_its_account_cannot_read() -> None:
    error = ask(accounts(**BY_NAME), Answering(0, []))
    assert str(error) == "accounts cannot read uid in their own entries"


@pytest.mark.parametrize(
    ("names", "given", "found"),
    [
        ([b"ann"], "ANN", b"ann"),
        ([b"ann"], "somebody", b"ann"),
        ([b"ann", b"annie"], "ANNIE", b"annie"),
        ([b"ann", b"annie"], "x", None),
        ([b"ann", b"Ann"], "ann", None),
        ([b"a:b"], "a", None),
        ([b"a\nb"], "a", None),
        ([b"\xff"], "a", "\ufffd".encode()),
    ],
)
def test_the_name_is_the_entrys(names: list[bytes], given: str, found: bytes | None) -> None:
    result = ask(accounts(**BY_NAME), Answering(0, [Entry("uid=ann", {"uid": names})]), given)
    assert isinstance(result, UnauthorizedLogin) if found is None else result.name == found


def test_without_a_service_nobody_binds_for_the_search() -> None:
    connection = Answering([ENTRY], 0)
    assert ask(accounts(url="ldap://h", base="ou=people"), connection).name == b"ann"
    assert [one[0] for one in connection.asked] == ["search", "bind"]


@pytest.mark.parametrize(("name", "password"), [(b"ann", b""), (b"a:b", b"x"), (b"\xff\x00", b"x"), (b" ", b"x")])
def test_what_nobody_is_asked(name: bytes, password: bytes) -> None:
    """RFC 4513 section 5.1.2: with an empty password a bind proves nothing."""
    reactor = MemoryReactorClock()
    failures: list[Any] = []
    accounts(**BY_NAME).find(reactor, name, password).addErrback(failures.append)
    assert failures[0].check(UnauthorizedLogin)
    assert reactor.tcpClients == []


def test_time_is_short() -> None:
    reactor = MemoryReactorClock()
    failures: list[Any] = []
    known = accounts(url="ldaps://127.0.0.1", dn="uid={name}", timeout=3)
    known.find(reactor, b"ann", b"secret").addErrback(failures.append)
    reactor.advance(2.9)
    assert failures == []
    reactor.advance(0.1)
    assert failures[0].check(DirectoryUnavailable)
    assert str(failures[0].value) == "ldaps://127.0.0.1: it took longer than 3 s"


@pytest.mark.parametrize("key", ["filter", "group_filter"])
def test_filters_that_are_none(key: str) -> None:
    with pytest.raises(AccountsError, match="there is no filter of RFC 4515"):
        accounts(**BY_SEARCH, **{key: "(uid={name}"})
