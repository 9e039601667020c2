"""What the settings of accounts come to, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.cred.checkers import AllowAnonymousAccess, InMemoryUsernamePasswordDatabaseDontUse

from tests.accounts.samples import accounts_file, client_certificate, quick_hash
from twistedproxy.accounts.account import Account
from twistedproxy.accounts.certificates import VerifiedCertificate
from twistedproxy.accounts.files import AccountsError
from twistedproxy.accounts.hashes import verify
from twistedproxy.accounts.roster import Roster, checker_of, faults
from twistedproxy.settings.accounts import AccountGroup, AccountsSettings, CertificateAccount, StaticAccount
from twistedproxy.settings.directories import Directory
from twistedproxy.settings.types import Settings

HASH = quick_hash(b"secret")
MEMORY = "twisted.cred.checkers.InMemoryUsernamePasswordDatabaseDontUse"


def roster(**settings: Any) -> Roster:
    made = Roster.of(AccountsSettings(**settings))
    assert made is not None
    return made


def told(**settings: Any) -> list[tuple[str, str, int | None, str]]:
    found = faults(Settings(accounts=AccountsSettings(**settings)), {})
    return [(path, fault.message, fault.entry, fault.within) for path, fault in found]


def test_there_is_none_unless_somebody_is_named() -> None:
    assert Roster.of(AccountsSettings()) is None
    assert Roster.of(AccountsSettings(groups=(AccountGroup(name="staff", members=("ann",)),))) is None
    assert Roster.of(AccountsSettings(required=True)) is not None


def test_accounts_come_from_files_and_settings(tmp_path: Path) -> None:
    (tmp_path / "groups").write_text("admins: ann\nstaff: bob\n")
    (tmp_path / "digests").write_text("ann:proxy:" + "0" * 64 + "\n")
    (tmp_path / "digests").chmod(0o600)
    made = roster(
        htpasswd_file=str(accounts_file(tmp_path / "accounts", ann="one", ci="two")),
        digest_file=str(tmp_path / "digests"),
        group_file=str(tmp_path / "groups"),
        static=(StaticAccount(name="ci", hash=HASH.decode(), groups=("robots",)),),
        groups=(AccountGroup(name="staff", members=("ann", "eve")),),
    )
    assert sorted(made.hashes) == [b"ann", b"ci"]
    assert made.hashes[b"ci"] == HASH, "what stands in the settings goes first"
    assert made.digests == {b"ann": b"0" * 64}
    assert made.account(b"ann") == Account(b"ann", frozenset(["admins", "staff"]))
    assert made.account(b"ci") == Account(b"ci", frozenset(["robots"]))
    assert made.account(b"eve") == Account(b"eve", frozenset(["staff"]))
    assert made.account(b"nobody") == Account(b"nobody")
    assert sorted(made.files) == [str(tmp_path / name) for name in ("accounts", "digests", "groups")]
    assert repr(made) == "<Roster accounts=2 checkers=0>"


def test_a_password_in_a_file_is_hashed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ci"
    path.write_text("pass word\r\nanything\n")
    path.chmod(0o600)
    made = roster(static=(StaticAccount(name="ci", password_file=str(path)),))
    assert verify(made.hashes[b"ci"], b"pass word")
    path.write_text("\n")
    with pytest.raises(AccountsError, match="no password in the first line"):
        made.again()


def test_the_files_can_be_read_again(tmp_path: Path) -> None:
    path = accounts_file(tmp_path / "accounts", ann="one")
    made = roster(htpasswd_file=str(path))
    accounts_file(path, ann="one", bob="two")
    again = made.again()
    assert (sorted(made.hashes), sorted(again.hashes)) == ([b"ann"], [b"ann", b"bob"])
    assert again.files != made.files


def test_who_needs_an_account() -> None:
    made = roster(required=True, exempt_clients=("loopback", "192.0.2.0/24"))
    assert [made.needed_from(client) for client in ("127.0.0.1", "192.0.2.9", "198.51.100.1", "")] == [
        False,
        False,
        True,
        True,
    ]
    assert not roster(static=(StaticAccount(name="a", hash=HASH.decode()),)).needed_from("198.51.100.1")


def test_decoys_are_the_same_for_one_name() -> None:
    other = quick_hash(b"x", b"other")
    made = roster(static=(StaticAccount(name="a", hash=HASH.decode()), StaticAccount(name="b", hash=other.decode())))
    assert {made.decoy(b"n%d" % number) for number in range(100)} == {HASH, other}
    assert made.decoy(b"nobody") == made.decoy(b"nobody")
    assert roster(required=True).decoy(b"nobody") is None


def test_checkers_are_found_by_their_names() -> None:
    assert isinstance(checker_of(MEMORY), InMemoryUsernamePasswordDatabaseDontUse)
    assert len(roster(checkers=(MEMORY,)).checkers) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module.Checker", "cannot be imported: ObjectNotFound"),
        ("twisted.cred.checkers.Missing", "cannot be imported: AttributeError"),
        ("twistedproxy.accounts.roster.Roster", "cannot be imported: TypeError"),
        ("collections.OrderedDict", "provides no ICredentialsChecker"),
        ("sys.path", "provides no ICredentialsChecker"),
        (
            "twisted.cred.checkers.AllowAnonymousAccess",
            "checks neither passwords nor certificates: neither IUsernamePassword nor IVerifiedCertificate is in its ",
        ),
    ],
)
def test_checkers_that_cannot_be_used(name: str, message: str) -> None:
    with pytest.raises(AccountsError, match=f"^{name} {message}"):
        checker_of(name)
    [(path, text, entry, _)] = told(checkers=(name,))
    assert (path, entry) == ("accounts.checkers", 0)
    assert text.startswith(f"{name} {message}")
    assert AllowAnonymousAccess().credentialInterfaces


def test_what_is_wrong_is_told_by_key(tmp_path: Path) -> None:
    path = tmp_path / "accounts"
    path.write_text("ann:x\nbob:$apr1$a$b\n")
    path.chmod(0o600)
    refused = "its hash is Apache's MD5 (apr1), which is found out too fast; pyproxyctl passwd makes a new one"
    assert told(required=True) == [
        ("accounts.required", "there is no account: name a file, static accounts or checkers", None, "")
    ]
    assert told(schemes=("digest",)) == [("accounts.schemes", '"digest" needs accounts.digest_file', None, "")]
    assert [(one[0], one[1]) for one in told(htpasswd_file=str(path), group_file="/nowhere/groups")] == [
        (
            "accounts.htpasswd_file",
            (
                f'{path}:1: the account "ann": its hash is of no kind that this proxy knows, or a plain password; '
                "pyproxyctl passwd makes a new one"
            ),
        ),
        ("accounts.htpasswd_file", f'{path}:2: the account "bob": {refused}'),
        ("accounts.group_file", "/nowhere/groups cannot be read: No such file or directory"),
    ]
    static = (StaticAccount(name="a", hash="$apr1$x"), StaticAccount(name="b", password_file="/nowhere/b"))
    assert told(static=static) == [
        ("accounts.static", f"the account a: {refused}", 0, "hash"),
        ("accounts.static", "/nowhere/b cannot be read: No such file or directory", 1, "password_file"),
    ]
    assert told() == []


def shown(common_name: str) -> VerifiedCertificate:
    return VerifiedCertificate((client_certificate(common_name),))


def test_certificates_are_those_of_accounts() -> None:
    build = CertificateAccount(name="build", subject="CN=builder,O=Example", groups=("ci",))
    static = (StaticAccount(name="ann", hash=HASH.decode()),)
    made = roster(certificates=(build,), static=static)
    by_subject = VerifiedCertificate((client_certificate("builder", organization="Example"),))
    assert (made.certified(by_subject), by_subject.name) == (True, b"build")
    assert made.account(b"build") == Account(b"build", frozenset(["ci"]))
    assert made.certified(shown("ann"))
    eve = shown("eve")
    assert (made.certified(eve), eve.name) == (False, b"eve")
    assert repr(made) == "<Roster accounts=2 checkers=0>"


def test_an_authority_may_make_accounts() -> None:
    made = roster(certificate_accounts="all")
    assert made.certified(shown("eve"))
    assert not made.certified(shown("a:b"))
    assert made.account(b"eve") == Account(b"eve")


def test_directories(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("service\n")
    password.chmod(0o600)
    by_search = Directory(
        url="ldap://h", base="dc=x", service_dn="cn=s", service_password_file=str(password), filter="(uid={name})"
    )
    made = roster(ldap=(Directory(url="ldaps://h", dn="uid={name}"), by_search))
    assert [repr(one) for one in made.directories] == ["<DirectoryAccounts ldaps://h>", "<DirectoryAccounts ldap://h>"]
    assert str(password) in made.files
    assert made.account(b"ann", frozenset(["staff"])) == Account(b"ann", frozenset(["staff"]), frozenset(["staff"]))


def test_directories_that_cannot_be_used(tmp_path: Path) -> None:
    settings = {"url": "ldaps://h", "base": "dc=x"}
    missing = str(tmp_path / "missing")
    for more, said in (
        ({"filter": "(uid={name}"}, "there is no filter of RFC 4515 at character 12 of (uid={name}"),
        ({"anchors": missing}, f"{missing} cannot be read: No such file or directory"),
        ({"service_password_file": missing}, f"{missing} cannot be read: No such file or directory"),
    ):
        assert told(ldap=(Directory(**settings, **more),)) == [("accounts.ldap", said, 0, "")]


def test_a_subject_that_cannot_be_read() -> None:
    bad = CertificateAccount(name="build", subject="builder")
    good = CertificateAccount(name="build", subject="CN=builder")
    said = '"builder" is no subject in the form of RFC 4514'
    assert told(certificates=(good, bad)) == [("accounts.certificates", said, 1, "subject")]
    with pytest.raises(AccountsError, match="is no subject"):
        roster(certificates=(good, bad))
