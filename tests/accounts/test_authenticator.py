"""Whose requests are: Basic and Digest, what is remembered, and files that change."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from twisted.cred.checkers import ICredentialsChecker
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from zope.interface import implementer

from tests.accounts.samples import Threads, accounts_file, basic, client_certificate
from tests.conftest import LoggedErrors
from twistedproxy.accounts.account import Account
from twistedproxy.accounts.authenticator import LOOK, Authenticator
from twistedproxy.accounts.certificates import IVerifiedCertificate, VerifiedCertificate
from twistedproxy.accounts.checks import Check
from twistedproxy.accounts.directory import DirectoryUnavailable, Found
from twistedproxy.accounts.roster import Roster
from twistedproxy.errors import AccountsUnavailable, CredentialsRefused, ProxyError
from twistedproxy.http.digest import digest_of, hash_of_name
from twistedproxy.settings.accounts import AccountsSettings, CertificateAccount

ANN = Account(b"ann")


class Request:
    """A request that waits to be told whose it is."""

    def __init__(self, client: str = "192.0.2.1", method: bytes = b"GET", url: bytes = b"http://origin.test/a") -> None:
        self.client_address = client
        self.method = method
        self.url = url
        self.user = b""
        self.told: list[Account | ProxyError] = []

    def identified(self, account: Account) -> None:
        self.told.append(account)

    def not_identified(self, error: ProxyError) -> None:
        self.told.append(error)


class Gate:
    """An authenticator whose accounts are in files in ``directory``: ann, with the password secret."""

    def __init__(self, directory: Path, schemes: Sequence[str] = ("digest", "basic"), **settings: Any) -> None:
        self.file = accounts_file(directory / "accounts", ann="secret")
        self.digests = directory / "digests"
        self.digests.write_bytes(b"ann:proxy:" + digest_of(b"ann", b"proxy", b"secret") + b"\n")
        self.digests.chmod(0o600)
        self.settings = AccountsSettings(
            htpasswd_file=str(self.file), digest_file=str(self.digests), schemes=tuple(schemes), **settings
        )
        self.clock = Clock()
        self.threads = Threads()
        self.authenticator = Authenticator(self.clock, self.clock.seconds, Roster.of(self.settings))
        self.authenticator.in_thread = self.threads

    def ask(self, value: bytes, request: Request | None = None) -> Account | ProxyError | Check:
        """What is answered at once, or by the threads that it takes."""
        request = request or Request()
        try:
            answer = self.authenticator.identify(value, self.authenticator.key_of(value), request)
        except ProxyError as error:
            return error
        if isinstance(answer, Check):
            self.threads.turn()
            return request.told[0] if request.told else answer
        return answer

    def digest(self, *, count: int = 1, password: bytes = b"secret", nonce: bytes = b"", **changes: bytes) -> bytes:
        """The answer to a challenge of the authenticator's, or one for ``nonce``."""
        if not nonce:
            nonce = self.authenticator.challenges()[0].partition(b'nonce="')[2].partition(b'"')[0]
        parts = {"username": b"ann", "realm": b"proxy", "uri": b"/a", "method": b"GET"} | changes
        method = parts.pop("method")
        request = sha256(method + b":" + parts["uri"]).hexdigest().encode()
        known = digest_of(parts["username"], parts["realm"], password)
        response = sha256(b"%b:%b:%08x:cn:auth:%b" % (known, nonce, count, request)).hexdigest()
        quoted = ", ".join(f'{name}="{value.decode()}"' for name, value in parts.items())
        return (
            f'Digest {quoted}, nonce="{nonce.decode()}", nc={count:08x}, cnonce="cn", qop=auth, '
            f'algorithm=SHA-256, response="{response}"'
        ).encode()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


# ---------------------------------------------------------------- Basic


def test_a_password_is_checked_once_and_then_known(gate: Gate) -> None:
    request = Request()
    assert gate.ask(basic(b"ann", b"secret"), request) == ANN
    assert (gate.threads.done, request.user) == (1, b"ann")
    assert gate.ask(basic(b"ann", b"secret")) == ANN
    assert gate.threads.done == 1
    gate.clock.advance(301)
    assert gate.ask(basic(b"ann", b"secret")) == ANN
    assert gate.threads.done == 2


def test_a_wrong_one_is_known_too(gate: Gate) -> None:
    for _ in range(3):
        request = Request()
        assert isinstance(gate.ask(basic(b"ann", b"guess"), request), CredentialsRefused)
        assert request.user == b"ann"
    assert gate.threads.done == 1
    gate.clock.advance(10)
    gate.ask(basic(b"ann", b"guess"))
    assert gate.threads.done == 2


def test_the_same_credentials_at_the_same_time_are_one_check(gate: Gate) -> None:
    first, second = Request("192.0.2.1"), Request("192.0.2.2")
    for request in (first, second):
        assert isinstance(gate.authenticator.identify(basic(b"ann", b"secret"), b"key", request), Check)
    assert gate.threads.turn() == 1
    assert first.told == second.told == [ANN]


def test_guesses_of_one_address_are_slowed_down(gate: Gate) -> None:
    for number in range(5):
        gate.ask(basic(b"ann", b"guess %d" % number))
    assert gate.threads.done == 1
    for seconds in (0.5, 1, 2, 4):
        gate.clock.advance(seconds)
        gate.threads.turn()
    assert gate.threads.done == 5
    assert gate.ask(basic(b"ann", b"secret"), Request("192.0.2.2")) == ANN, "others do not wait"
    assert gate.ask(basic(b"ann", b"secret")) == ANN, "and what is known does not"
    gate.ask(basic(b"ann", b"guess 9"))
    gate.clock.advance(7.5)
    assert gate.threads.turn() == 0
    gate.clock.advance(0.5)
    assert gate.threads.turn() == 1


def test_what_cannot_be_understood_is_refused_at_once(gate: Gate) -> None:
    for value in (b"Basic", b"Basic !", b"Bearer abc", b"Digest x=1", b"x" * 9000):
        assert isinstance(gate.ask(value), CredentialsRefused)
    assert gate.threads.done == 0


def test_a_scheme_that_is_not_offered_is_not_taken(tmp_path: Path) -> None:
    gate = Gate(tmp_path, ["digest"])
    assert str(gate.ask(basic(b"ann", b"secret"))) == "this proxy does not take Basic"
    gate = Gate(tmp_path, ["basic"])
    assert str(gate.ask(gate.digest(nonce=b"x"))) == "this proxy does not take Digest"


# ---------------------------------------------------------------- Digest


def test_challenges_name_the_schemes_in_order(gate: Gate) -> None:
    first, second = gate.authenticator.challenges()
    assert first.startswith(b'Digest realm="proxy", qop="auth", algorithm=SHA-256, nonce="')
    assert first.endswith(b'", charset=UTF-8')
    assert second == b'Basic realm="proxy", charset="UTF-8"'
    assert gate.authenticator.challenges(stale=True)[0].endswith(b'", charset=UTF-8, stale=true')
    nobody = Authenticator(gate.clock, gate.clock.seconds, None)
    assert nobody.challenges() == [b'Basic realm="proxy", charset="UTF-8"']


def test_a_digest_is_answered_at_once(gate: Gate) -> None:
    value = gate.digest()
    request = Request()
    assert gate.ask(value, request) == ANN
    assert (gate.threads.done, request.user) == (0, b"ann")


@pytest.mark.parametrize("uri", [b"/a", b"http://origin.test/a"])
def test_clients_name_the_path_or_the_whole_target(gate: Gate, uri: bytes) -> None:
    assert gate.ask(gate.digest(uri=uri)) == ANN


def test_the_target_of_a_connect(gate: Gate) -> None:
    value = gate.digest(uri=b"origin.test:443", method=b"CONNECT")
    assert gate.ask(value, Request(method=b"CONNECT", url=b"origin.test:443")) == ANN


def test_a_target_without_a_path(gate: Gate) -> None:
    assert gate.ask(gate.digest(uri=b"/"), Request(url=b"http://origin.test")) == ANN


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"uri": b"/b"}, "its Digest is for another URL"),
        ({"uri": b"a"}, "its Digest is for another URL"),
        ({"realm": b"other"}, "its Digest is for another realm"),
        ({"password": b"guess"}, ""),
        ({"username": b"nobody"}, ""),
        ({"method": b"POST"}, ""),
    ],
)
def test_a_digest_for_something_else_proves_nothing(gate: Gate, changes: dict[str, Any], detail: str) -> None:
    error = gate.ask(gate.digest(**changes))
    assert isinstance(error, CredentialsRefused)
    assert (error.detail, error.stale) == (detail, False)


def test_a_digest_counts_once(gate: Gate) -> None:
    value = gate.digest()
    nonce = value.partition(b'nonce="')[2].partition(b'"')[0]
    assert gate.ask(value) == ANN
    error = gate.ask(value)
    assert isinstance(error, CredentialsRefused)
    assert error.stale
    assert gate.ask(gate.digest(nonce=nonce, count=2)) == ANN


def test_a_wrong_digest_does_not_use_up_the_nonce(gate: Gate) -> None:
    value = gate.digest()
    nonce = value.partition(b'nonce="')[2].partition(b'"')[0]
    assert isinstance(gate.ask(gate.digest(nonce=nonce, password=b"guess")), CredentialsRefused)
    gate.clock.advance(1)
    assert gate.ask(value) == ANN


def test_an_old_nonce_is_stale(gate: Gate) -> None:
    value = gate.digest()
    gate.clock.advance(301)
    error = gate.ask(value)
    assert isinstance(error, CredentialsRefused)
    assert error.stale


def test_wrong_digests_are_slowed_down(gate: Gate) -> None:
    gate.ask(gate.digest(password=b"guess"))
    request = Request()
    assert isinstance(gate.ask(gate.digest(), request), Check)
    gate.clock.advance(0.5)
    assert request.told == [ANN]


def test_two_that_waited_with_the_same_count_do_not_both_pass(gate: Gate) -> None:
    value = gate.digest()
    gate.ask(gate.digest(password=b"guess"))
    first, second = Request(), Request("192.0.2.2")
    gate.ask(value, first)
    assert gate.ask(value, second) == ANN
    gate.clock.advance(0.5)
    assert [type(told) for told in first.told] == [CredentialsRefused]


# ---------------------------------------------------------------- other accounts


def test_a_file_that_changes_is_read_again(gate: Gate, said: list[str]) -> None:
    assert gate.ask(basic(b"ann", b"secret")) == ANN
    accounts_file(gate.file, ann="other", bob="word")
    assert gate.ask(basic(b"ann", b"secret")) == ANN
    gate.clock.advance(LOOK)
    gate.ask(basic(b"ann", b"secret"))
    gate.threads.turn()
    assert said == ["info the accounts have been read again: there are 2"]
    assert isinstance(gate.ask(basic(b"ann", b"secret")), CredentialsRefused)
    assert gate.ask(basic(b"bob", b"word"), Request("192.0.2.2")) == Account(b"bob")


def test_who_has_not_changed_stays_known(gate: Gate) -> None:
    gate.ask(basic(b"ann", b"secret"))
    content = gate.file.read_bytes()
    gate.file.write_bytes(content + content.replace(b"ann", b"bob"))
    gate.clock.advance(LOOK)
    gate.ask(basic(b"ann", b"secret"))
    gate.threads.turn()
    done = gate.threads.done
    assert gate.ask(basic(b"ann", b"secret")) == ANN
    assert gate.threads.done == done


def test_a_file_that_cannot_be_used_keeps_the_one_before(
    gate: Gate, said: list[str], logged_errors: LoggedErrors
) -> None:
    gate.ask(basic(b"ann", b"secret"))
    gate.file.write_text("ann:opensesame\n")
    for _ in range(5):
        gate.clock.advance(LOOK)
        assert gate.ask(basic(b"ann", b"secret")) == ANN
        gate.threads.turn()
    assert said == [
        (
            f'error {gate.file}:1: the account "ann": its hash is of no kind that this proxy knows, or a plain '
            "password; pyproxyctl passwd makes a new one"
        ),
        "error the accounts were not read again: those before stay in force",
    ]
    assert len(logged_errors.flush_messages()) == 2
    os.unlink(gate.file)
    gate.clock.advance(LOOK)
    gate.ask(basic(b"ann", b"secret"))
    gate.threads.turn()
    assert len(logged_errors.flush_messages()) == 2
    accounts_file(gate.file, ann="secret")
    gate.clock.advance(LOOK)
    gate.ask(basic(b"ann", b"secret"))
    gate.threads.turn()
    assert said[-1] == "info the accounts have been read again: there are 1"


def test_a_reload_brings_other_settings(gate: Gate, tmp_path: Path) -> None:
    gate.ask(basic(b"ann", b"secret"))
    other = AccountsSettings(htpasswd_file=str(gate.file), realm="elsewhere", cache_ttl=0.0)
    gate.authenticator.use(Roster.of(other))
    assert gate.authenticator.challenges() == [b'Basic realm="elsewhere", charset="UTF-8"']
    assert gate.ask(basic(b"ann", b"secret")) == ANN
    assert gate.threads.done == 1, "the account is as it was"
    gate.authenticator.use(None)
    assert str(gate.ask(basic(b"ann", b"secret"))) == "this proxy has no accounts"


def test_a_reload_goes_before_what_was_being_read(gate: Gate, said: list[str]) -> None:
    accounts_file(gate.file, ann="other")
    gate.clock.advance(LOOK)
    with pytest.raises(CredentialsRefused):
        gate.authenticator.identify(b"x", b"key", Request())
    roster = Roster.of(gate.settings)
    gate.authenticator.use(roster)
    gate.threads.turn()
    assert said == []
    assert repr(gate.authenticator).startswith("<Authenticator <Roster accounts=1 checkers=0> <Results right=0 ")


def test_a_fault_while_reading_is_told(gate: Gate, logged_errors: LoggedErrors) -> None:
    accounts_file(gate.file, ann="other")
    gate.clock.advance(LOOK)
    with pytest.raises(CredentialsRefused):
        gate.authenticator.identify(b"x", b"key", Request())
    _, called = gate.threads.waiting.pop()
    called.errback(OSError("no thread"))
    assert len(logged_errors.flush()) == 1


def hashed(gate: Gate, name: bytes, password: bytes = b"secret") -> bytes:
    """A Digest with a hashed name; the proof is made with the name itself (RFC 7616 section 3.4.4)."""
    value = gate.digest(username=name, password=password)
    said = hash_of_name(name, b"proxy")
    return value.replace(b'username="%b"' % name, b'username="%b", userhash=true' % said)


def test_names_may_be_hashed(tmp_path: Path) -> None:
    gate = Gate(tmp_path, userhash=True)
    assert b", userhash=true" in gate.authenticator.challenges()[0]
    request = Request()
    assert gate.ask(hashed(gate, b"ann"), request) == ANN
    assert request.user == b"ann"
    assert gate.ask(gate.digest()) == ANN, "and need not be"
    for value, user in ((hashed(gate, b"ann", b"guess"), b"ann"), (hashed(gate, b"eve"), b"")):
        request = Request()
        gate.clock.advance(10)
        error = gate.ask(value, request)
        assert isinstance(error, CredentialsRefused)
        assert (error.detail, request.user) == ("", user)
    request = Request()
    assert isinstance(gate.ask(gate.digest(), request), Check), "both were guesses"


def test_names_are_not_hashed_where_that_was_not_offered(gate: Gate) -> None:
    assert b"userhash" not in gate.authenticator.challenges()[0]
    error = gate.ask(hashed(gate, b"ann"))
    assert isinstance(error, CredentialsRefused)
    assert error.detail == "its Digest has a hashed name, which was not asked for"


# ---------------------------------------------------------------- certificates


def by_certificate(gate: Gate, shown: VerifiedCertificate, request: Request | None = None) -> Any:
    """What is answered at once."""
    try:
        return gate.authenticator.identify_certificate(shown, request or Request())
    except ProxyError as error:
        return error


def shown(name: str) -> VerifiedCertificate:
    return VerifiedCertificate((client_certificate(name),))


def test_a_certificate_of_an_account(gate: Gate) -> None:
    ann = shown("ann")
    assert by_certificate(gate, ann) == by_certificate(gate, ann) == ANN
    assert isinstance(by_certificate(gate, shown("eve")), CredentialsRefused)
    assert gate.threads.done == 0
    assert repr(gate.authenticator._results) == "<Results right=1 wrong=1>"


def test_a_certificate_does_not_wait_for_those_who_guess(gate: Gate) -> None:
    """Nobody can guess one, so that one which is nobody's makes nobody wait either."""
    for number in range(5):
        gate.ask(basic(b"ann", b"guess%d" % number))
        gate.clock.advance(8)
    assert by_certificate(gate, shown("ann")) == ANN
    other = Gate(gate.file.parent)
    for _ in range(5):
        by_certificate(other, shown("eve"))
    assert other.ask(basic(b"ann", b"secret")) == ANN
    assert other.threads.done == 1


def test_a_certificate_counts_for_as_long_as_its_account(gate: Gate) -> None:
    ann = shown("ann")
    assert by_certificate(gate, ann) == ANN
    gate.authenticator.use(Roster.of(AccountsSettings(required=True)))
    assert isinstance(by_certificate(gate, ann), CredentialsRefused)
    entry = CertificateAccount(name="bob", sha256=ann.sha256.hex(), groups=("ci",))
    gate.authenticator.use(Roster.of(AccountsSettings(certificates=(entry,))))
    assert by_certificate(gate, ann) == Account(b"bob", frozenset(["ci"]))
    gate.authenticator.use(Roster.of(AccountsSettings(certificate_accounts="all")))
    assert by_certificate(gate, ann) == ANN


def test_a_certificate_of_whom_a_file_loses(gate: Gate) -> None:
    ann = shown("ann")
    assert by_certificate(gate, ann) == ANN
    accounts_file(gate.file, bob="secret")
    gate.digests.write_bytes(b"")
    gate.clock.advance(LOOK)
    by_certificate(gate, ann)
    gate.threads.turn()
    assert isinstance(by_certificate(gate, ann), CredentialsRefused)


@implementer(ICredentialsChecker)
class Slow:
    """Takes its time to say whose a certificate is."""

    credentialInterfaces = (IVerifiedCertificate,)

    def __init__(self) -> None:
        self.asked: list[Deferred[bytes]] = []

    def requestAvatarId(self, credentials: object) -> Deferred[bytes]:
        self.asked.append(Deferred())
        return self.asked[-1]


def test_checkers_may_take_their_time(gate: Gate, logged_errors: LoggedErrors) -> None:
    made, slow = Roster.of(gate.settings), Slow()
    assert made is not None
    object.__setattr__(made, "checkers", (slow,))
    gate.authenticator.use(made)
    eve, first, second = shown("eve"), Request(), Request()
    for request in (first, second):
        assert isinstance(by_certificate(gate, eve, request), Check)
    assert len(slow.asked) == 1
    slow.asked[0].callback(b"guest")
    assert first.told == second.told == [Account(b"guest")]
    assert by_certificate(gate, eve) == Account(b"guest")
    gate.clock.advance(301)
    third = Request()
    assert isinstance(by_certificate(gate, eve, third), Check)
    gate.clock.advance(30)
    assert [type(one) for one in third.told] == [AccountsUnavailable]
    assert len(logged_errors.flush()) == 1


def test_a_directory_that_is_down_is_told_of_in_a_line(gate: Gate, logged_errors: LoggedErrors) -> None:
    class Down:
        def find(self, reactor: object, name: bytes, password: bytes) -> Deferred[Found]:
            return fail(DirectoryUnavailable("ldaps://h: refused"))

    made = Roster.of(gate.settings)
    assert made is not None
    object.__setattr__(made, "directories", (Down(),))
    gate.authenticator.use(made)
    assert isinstance(gate.ask(basic(b"eve", b"secret")), AccountsUnavailable)
    assert logged_errors.flush_messages() == ["a directory could not be asked: ldaps://h: refused"]
