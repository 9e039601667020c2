"""What is known of credentials that were checked of late."""

from __future__ import annotations

from twisted.internet.task import Clock

from tests.accounts.samples import quick_hash
from twistedproxy.accounts.account import Account
from twistedproxy.accounts.remembered import CERTIFIED, REFUSED_FOR, Results
from twistedproxy.accounts.roster import Roster
from twistedproxy.settings.accounts import AccountGroup, AccountsSettings, StaticAccount

ANN = Account(b"ann")


def results(size: int = 10, ttl: float = 60.0) -> tuple[Results, Clock]:
    clock = Clock()
    return Results(clock.seconds, ttl, size), clock


def roster(**hashes: bytes) -> Roster:
    static = tuple(StaticAccount(name=n, hash=h.decode(), groups=("staff",)) for n, h in hashes.items())
    made = Roster.of(AccountsSettings(static=static))
    assert made is not None
    return made


def test_right_ones_are_known_for_a_time() -> None:
    known, clock = results()
    key = known.key_of(b"Basic eA==")
    assert known.get(key, clock.seconds()) is None
    known.right(key, ANN, b"hash")
    clock.advance(59)
    found = known.get(key, clock.seconds())
    assert found is not None
    assert found.account == ANN
    clock.advance(1)
    assert known.get(key, clock.seconds()) is None


def test_wrong_ones_are_known_for_a_shorter_time() -> None:
    known, clock = results()
    key = known.key_of(b"Basic eA==")
    known.wrong(key, b"ann")
    found = known.get(key, clock.seconds())
    assert found is not None
    assert (found.account, found.name) == (None, b"ann")
    assert known.get(key, REFUSED_FOR) is None


def test_credentials_themselves_are_not_kept() -> None:
    known, _ = results()
    assert known.key_of(b"Basic c2VjcmV0") == known.key_of(b"Basic c2VjcmV0")
    assert known.key_of(b"Basic c2VjcmV0") != results()[0].key_of(b"Basic c2VjcmV0")
    known.right(known.key_of(b"Basic c2VjcmV0"), ANN, b"hash")
    assert b"c2VjcmV0" not in repr(known).encode() + b"".join(known._right)


def test_both_are_bounded_and_apart() -> None:
    known, _ = results(size=2)
    for number in range(2000):
        known.wrong(b"%d" % number, b"x")
    for number in range(3):
        known.right(b"right %d" % number, ANN, None)
    assert repr(known) == "<Results right=2 wrong=1000>"
    assert [known.get(b"right %d" % number, 0) is not None for number in range(3)] == [False, True, True]


def test_what_turns_out_right_is_not_wrong_any_more() -> None:
    known, _ = results(ttl=0)
    known.wrong(b"k", b"ann")
    known.right(b"k", ANN, None)
    assert known.get(b"k", 0) is None


def test_another_roster_makes_forget_what_has_changed() -> None:
    known, _ = results()
    same, old, new = quick_hash(b"a"), quick_hash(b"b"), quick_hash(b"c")
    for name, hashed in {b"same": same, b"changed": old, b"gone": old, b"elsewhere": None}.items():
        known.right(name, Account(name), hashed)
    known.wrong(b"w", b"w")
    known.go_by(roster(same=same, changed=new), same_checkers=True)
    kept = known.get(b"same", 0)
    assert kept is not None
    assert kept.account == Account(b"same", frozenset(["staff"]))
    assert [known.get(key, 0) is not None for key in (b"changed", b"gone", b"elsewhere", b"w")] == [
        False,
        False,
        True,
        False,
    ]
    known.go_by(roster(same=same), same_checkers=False)
    assert known.get(b"elsewhere", 0) is None
    known.clear()
    assert repr(known) == "<Results right=0 wrong=0>"


def test_somebody_elses_account_that_comes_into_the_file_is_asked_for_again() -> None:
    known, _ = results()
    known.right(b"k", Account(b"ann"), None)
    known.go_by(roster(ann=quick_hash(b"a")), same_checkers=True)
    assert known.get(b"k", 0) is None


def test_what_is_not_right_any_more_is_known_to_be_wrong() -> None:
    known, clock = results(ttl=1)
    known.right(b"k", ANN, None)
    clock.advance(1)
    known.wrong(b"k", b"ann")
    found = known.get(b"k", clock.seconds())
    assert found is not None
    assert found.account is None
    assert repr(known) == "<Results right=0 wrong=1>"


def test_what_a_directory_said_stays_with_the_same_directories() -> None:
    """Its groups too; those of the new roster come to them."""
    known, clock = results()
    key = known.key_of(b"x")
    known.right(key, Account(b"eve", frozenset(["far"]), frozenset(["far"])), None)
    after = Roster.of(AccountsSettings(required=True, groups=(AccountGroup(name="near", members=("eve",)),)))
    assert after is not None
    known.go_by(after, same_checkers=True)
    found = known.get(key, clock.seconds())
    assert found is not None
    assert found.account == Account(b"eve", frozenset(["far", "near"]), frozenset(["far"]))
    known.go_by(after, same_checkers=False)
    assert known.get(key, clock.seconds()) is None


def test_certificates_are_looked_at_anew() -> None:
    known, clock = results()
    key = known.key_of(b"x")
    known.right(key, ANN, CERTIFIED)
    known.go_by(roster(ann=quick_hash(b"a")), same_checkers=True)
    assert known.get(key, clock.seconds()) is None
