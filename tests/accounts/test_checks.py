"""Checks: one at a time for each address, a few in all, and each made once for all that wait for it."""

from __future__ import annotations

import pytest
from twisted.cred.credentials import UsernamePassword
from twisted.internet.task import Clock

from tests.accounts.samples import Threads, quick_hash
from tests.conftest import LoggedErrors
from twistedproxy.accounts.account import Account
from twistedproxy.accounts.checkers import portal_to
from twistedproxy.accounts.checks import LONGEST_CHECK, MOST_WAITING, Check, Checks
from twistedproxy.accounts.roster import Roster
from twistedproxy.accounts.slowing import Slowing
from twistedproxy.errors import AccountsUnavailable, CredentialsRefused, ProxyError
from twistedproxy.settings.accounts import AccountsSettings, StaticAccount


class Asker:
    """Somebody who waits for a check: what they were told."""

    def __init__(self) -> None:
        self.told: list[Account | ProxyError] = []

    def identified(self, account: Account) -> None:
        self.told.append(account)

    def not_identified(self, error: ProxyError) -> None:
        self.told.append(error)


class Office:
    """Checks with a clock and threads that are turned by hand."""

    def __init__(self, threads: int = 2) -> None:
        self.clock = Clock()
        self.threads = Threads()
        self.settled: list[Check] = []
        static = StaticAccount(name="ann", hash=quick_hash(b"secret").decode())
        roster = Roster.of(AccountsSettings(static=(static,)))
        assert roster is not None
        self.checks = Checks(self.clock, Slowing(self.clock.seconds, 8.0), threads, self.settled.append)
        self.checks.portal = portal_to(roster, self.threads)

    def bring(self, password: bytes, place: str = "a", key: bytes = b"") -> tuple[Check, Asker]:
        """Somebody brings a password of ann's."""
        check = Check(self.checks, UsernamePassword(b"ann", password), name=b"ann", place=place, key=key)
        self.checks.add(check)
        asker = Asker()
        check.askers.append(asker)
        return check, asker


def test_who_asks_is_told() -> None:
    office = Office()
    (right, knows), (wrong, guesses) = office.bring(b"secret"), office.bring(b"guess", "b")
    assert repr(right) == "<Check b'ann' from a running>"
    office.threads.turn()
    assert knows.told == [Account(b"ann")]
    assert [type(told) for told in guesses.told] == [CredentialsRefused]
    assert office.settled == [right, wrong]
    assert repr(office.checks) == "<Checks busy=0/2 waiting=0>"


def test_one_at_a_time_for_each_address() -> None:
    office = Office(threads=10)
    for place in ("a", "a", "b", "a"):
        office.bring(b"secret", place)
    assert len(office.threads.waiting) == 2
    assert repr(office.checks) == "<Checks busy=2/10 waiting=2>"
    assert office.threads.turn() == 4


def test_a_few_in_all_in_the_order_of_addresses() -> None:
    office = Office(threads=1)
    askers = [office.bring(b"secret", place)[1] for place in ("a", "a", "a", "b", "c")]
    order = []
    while office.threads.turn(1):
        order.append("".join("x" if asker.told else "." for asker in askers))
    assert order == ["x....", "x..x.", "x..xx", "xx.xx", "xxxxx"]


def test_an_address_waits_after_failures_and_others_do_not() -> None:
    office = Office()
    for _ in range(3):
        office.bring(b"guess")
    office.threads.turn()
    assert len(office.settled) == 1
    _, other = office.bring(b"secret", "b")
    office.threads.turn()
    assert other.told == [Account(b"ann")]
    office.clock.advance(0.49)
    assert office.threads.waiting == []
    office.clock.advance(0.01)
    assert office.threads.turn() == 1
    office.clock.advance(0.99)
    assert office.threads.turn() == 0
    office.clock.advance(0.01)
    assert office.threads.turn() == 1
    assert office.clock.getDelayedCalls() == []


def test_the_queue_of_an_address_is_bounded() -> None:
    office = Office()
    for _ in range(MOST_WAITING + 1):
        office.bring(b"guess")
    with pytest.raises(AccountsUnavailable, match="64 names and passwords of your address wait"):
        office.bring(b"guess")
    office.bring(b"secret", "b")


def test_the_same_credentials_are_checked_once() -> None:
    office = Office()
    check, first = office.bring(b"secret", key=b"k")
    assert office.checks.under_way(b"k") is check
    second = Asker()
    check.askers.append(second)
    assert office.threads.turn() == 1
    assert first.told == second.told == [Account(b"ann")]
    assert office.checks.under_way(b"k") is None


def test_who_leaves_is_not_told_and_what_nobody_waits_for_does_not_begin() -> None:
    office = Office()
    running, first = office.bring(b"guess")
    waiting, second = office.bring(b"secret", key=b"k")
    running.leave(first)
    waiting.leave(second)
    waiting.leave(second)
    assert office.checks.under_way(b"k") is None
    assert office.threads.turn() == 1
    assert (first.told, second.told) == ([], [])
    assert repr(office.checks) == "<Checks busy=0/2 waiting=0>"


def test_leaving_while_the_address_waits_leaves_no_timer() -> None:
    office = Office()
    office.bring(b"guess")
    office.threads.turn()
    check, asker = office.bring(b"secret")
    assert len(office.clock.getDelayedCalls()) == 1
    check.leave(asker)
    assert office.clock.getDelayedCalls() == []
    office.clock.advance(1)
    _, again = office.bring(b"secret")
    office.threads.turn()
    assert again.told == [Account(b"ann")]


def test_leaving_while_the_address_is_in_line() -> None:
    office = Office(threads=1)
    office.bring(b"secret", "a")
    check, asker = office.bring(b"secret", "b")
    check.leave(asker)
    _, other = office.bring(b"secret", "b")
    assert office.threads.turn() == 2
    assert other.told == [Account(b"ann")]
    assert repr(office.checks) == "<Checks busy=0/1 waiting=0>"


def test_a_check_that_takes_too_long_is_given_up(logged_errors: LoggedErrors) -> None:
    office = Office(threads=1)
    _, asker = office.bring(b"secret")
    office.clock.advance(LONGEST_CHECK)
    assert [type(told) for told in asker.told] == [AccountsUnavailable]
    assert len(logged_errors.flush()) == 1
    _, other = office.bring(b"secret")
    office.threads.waiting.pop(0)
    office.threads.turn()
    assert other.told == [Account(b"ann")]


def test_a_fault_is_nobodys_failure(logged_errors: LoggedErrors) -> None:
    office = Office()
    _, asker = office.bring(b"secret")
    _, called = office.threads.waiting.pop()
    called.errback(OSError("no thread"))
    assert [type(told) for told in asker.told] == [AccountsUnavailable]
    assert len(logged_errors.flush()) == 1
    assert office.checks.slowing.wait("a") == 0
