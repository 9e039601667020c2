"""Leaves: what they say, who takes them, and how few are made."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL
from service_identity import VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address

from tests.tls.certificates import openssl_verify, pem_of, shake_hands
from tests.tls.conftest import Make
from twistedproxy.tls.authority import Authority, AuthorityError, key_usage, make_authority, read_authority
from twistedproxy.tls.leaf_files import LeafFiles
from twistedproxy.tls.leaves import Leaves, sign_leaf
from twistedproxy.tls.names import LeafNames, asked_for

LIFETIME = timedelta(days=30)


class Clock:
    """The time since 1970."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now.timestamp()

    def advance(self, span: timedelta) -> None:
        self.now += span


@pytest.fixture
def clock(now: datetime) -> Clock:
    return Clock(now)


@pytest.fixture
def leaves(authority: Authority, clock: Clock) -> Leaves:
    return Leaves(authority, clock, lifetime=LIFETIME)


def leaf_for(authority: Authority, now: datetime, *hosts: str, lifetime: timedelta = LIFETIME) -> x509.Certificate:
    each = [asked_for(host) for host in hosts]
    names = LeafNames(sum((one.hosts for one in each), ()), sum((one.addresses for one in each), ()))
    return sign_leaf(authority, ec.generate_private_key(ec.SECP256R1()).public_key(), names, now, lifetime)


def shown(context: SSL.Context, authority: Authority, name: str) -> x509.Certificate:
    """What a client sees, that verifies it."""
    der = shake_hands(context, authority.certificate, name).getpeercert(True)
    assert der
    return x509.load_der_x509_certificate(der)


# ---------------------------------------------------------------- what they say


def test_leaf(authority: Authority, now: datetime) -> None:
    """RFC 5280 section 4.2.1."""
    leaf = leaf_for(authority, now, "a.test", "192.0.2.7")
    extensions = {type(one.value): (one.value, one.critical) for one in leaf.extensions}
    names = x509.SubjectAlternativeName([x509.DNSName("a.test"), x509.IPAddress(asked_for("192.0.2.7").addresses[0])])
    own = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert extensions[x509.SubjectAlternativeName] == (names, False)
    assert extensions[x509.BasicConstraints] == (x509.BasicConstraints(False, None), True)
    assert extensions[x509.KeyUsage] == (key_usage(digital_signature=True), True)
    assert extensions[x509.ExtendedKeyUsage][0] == x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    pointer = extensions[x509.AuthorityKeyIdentifier][0]
    assert isinstance(pointer, x509.AuthorityKeyIdentifier)
    assert pointer.key_identifier == own.digest
    assert leaf.subject.rfc4514_string() == "CN=a.test"
    assert leaf.issuer == authority.certificate.subject
    assert leaf.not_valid_before_utc == now - timedelta(hours=1)
    assert leaf.not_valid_after_utc == now + LIFETIME
    assert leaf.public_key() != authority.certificate.public_key()


def test_serial_numbers(authority: Authority, now: datetime) -> None:
    """CA/Browser Forum, section 7.1: unique, and not to be guessed; RFC 5280 section 4.1.2.2: 20 bytes at most."""
    numbers = {leaf_for(authority, now, "a.test").serial_number for _ in range(50)}
    assert len(numbers) == 50
    assert all(0 < number < 2**159 for number in numbers)
    assert max(number.bit_length() for number in numbers) > 150


@pytest.mark.parametrize(
    ("lifetime", "days"), [(timedelta(days=44), 44), (timedelta(days=45), 45), (timedelta(days=400), 45)]
)
def test_longest_life(authority: Authority, now: datetime, lifetime: timedelta, days: int) -> None:
    leaf = leaf_for(authority, now, "a.test", lifetime=lifetime)
    whole = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    assert whole <= timedelta(days=45)
    assert whole.days == days


def test_never_beyond_the_authority(authority: Authority) -> None:
    late = authority.ends - timedelta(days=3)
    assert leaf_for(authority, late, "a.test").not_valid_after_utc == authority.ends
    with pytest.raises(AuthorityError, match="ended on"):
        leaf_for(authority, authority.ends, "a.test")


def test_never_before_the_authority(issue: Make, now: datetime) -> None:
    starts = now - timedelta(minutes=5)
    young = read_authority(pem_of(*issue("r", (x509.BasicConstraints(True, None), True), starts=starts)), "operator")
    assert leaf_for(young, now, "a.test").not_valid_before_utc == starts


def test_names_that_fit_no_common_name(authority: Authority, now: datetime) -> None:
    """RFC 5280 section 4.1.2.6: the subject is empty then, and the alternative names are critical."""
    long = "a" * 60 + ".test"
    leaf = leaf_for(authority, now, long)
    assert leaf.subject.rfc4514_string() == ""
    assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical


# ---------------------------------------------------------------- who takes them


@pytest.mark.parametrize(
    ("host", "options"),
    [
        ("a.test", ("-verify_hostname", "a.test")),
        ("192.0.2.7", ("-verify_ip", "192.0.2.7")),
        ("2001:db8::1", ("-verify_ip", "2001:db8::1")),
        ("bücher.test", ("-verify_hostname", "xn--bcher-kva.test")),
        ("a" * 60 + ".test", ("-verify_hostname", "a" * 60 + ".test")),
    ],
)
def test_openssl_takes_them(
    authority: Authority, now: datetime, tmp_path: Path, host: str, options: tuple[str, str]
) -> None:
    leaf = leaf_for(authority, now, host)
    assert openssl_verify(tmp_path, leaf, authority.certificate, *options) == "leaf.pem: OK\n"
    wrong = (options[0], "b.test" if options[0] == "-verify_hostname" else "192.0.2.8")
    assert "mismatch" in openssl_verify(tmp_path, leaf, authority.certificate, *wrong)
    other = make_authority(now)
    assert "unable to get local issuer" in openssl_verify(tmp_path, leaf, other.certificate)


def test_service_identity_takes_them(authority: Authority, now: datetime) -> None:
    verify_certificate_hostname(leaf_for(authority, now, "bücher.test"), "bücher.test")
    verify_certificate_ip_address(leaf_for(authority, now, "192.0.2.7"), "192.0.2.7")
    leaf = leaf_for(authority, now, "a.test", "2001:db8::1")
    verify_certificate_hostname(leaf, "a.test")
    verify_certificate_ip_address(leaf, "2001:db8::1")
    with pytest.raises(VerificationError):
        verify_certificate_hostname(leaf, "b.test")


@pytest.mark.parametrize("host", ["a.test", "192.0.2.7", "2001:db8::1", "bücher.test"])
def test_handshake(leaves: Leaves, authority: Authority, host: str) -> None:
    client = shake_hands(leaves.context(asked_for(host)), authority.certificate, host)
    assert client.version() == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match=r"mismatch|not valid for"):
        shake_hands(leaves.context(asked_for(host)), authority.certificate, "other.test")


def test_wildcard_in_a_handshake(leaves: Leaves, authority: Authority) -> None:
    names = LeafNames(("*.w.test", "w.test"))
    shake_hands(leaves.context(names), authority.certificate, "x.w.test")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(leaves.context(names), authority.certificate, "x.y.w.test")


def test_oldest_version(leaves: Leaves, authority: Authority) -> None:
    context = leaves.context(asked_for("a.test"))
    client = shake_hands(context, authority.certificate, "a.test", maximum_version=ssl.TLSVersion.TLSv1_2)
    assert client.version() == "TLSv1.2"


@pytest.mark.parametrize(
    "make_key", [lambda: ec.generate_private_key(ec.SECP384R1()), lambda: rsa.generate_private_key(65537, 2048)]
)
def test_intermediate_of_an_operator(issue: Make, clock: Clock, tmp_path: Path, make_key: Callable[[], Any]) -> None:
    """It goes with the leaf, so that a client need only know the root."""
    signs = (key_usage(key_cert_sign=True), True)
    root_key, lower_key = make_key(), make_key()
    root_id = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
    lower_id = x509.SubjectKeyIdentifier.from_public_key(lower_key.public_key())
    pointer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_id)
    root = issue("root", (x509.BasicConstraints(True, 1), True), signs, (root_id, False), key=root_key)
    lower = issue(
        "lower",
        (x509.BasicConstraints(True, 0), True),
        signs,
        (lower_id, False),
        (pointer, False),
        key=lower_key,
        issuer=root,
    )
    operators = read_authority(pem_of(lower[0], lower[1], root[1]), "operator")
    context = Leaves(operators, clock).context(asked_for("a.test"))
    der = shake_hands(context, root[1], "a.test").getpeercert(True)
    assert der
    leaf = x509.load_der_x509_certificate(der)
    assert openssl_verify(tmp_path, leaf, root[1], between=[lower[1]]) == "leaf.pem: OK\n"


# ---------------------------------------------------------------- how few are made


def test_one_leaf_for_a_hundred(leaves: Leaves) -> None:
    names = LeafNames(("a.test", "b.test"))
    contexts = {id(leaves.context(LeafNames(("a.test", "b.test")))) for _ in range(100)}
    assert contexts == {id(leaves.context(names))}
    assert leaves.made == 1
    assert leaves.context(asked_for("a.test")) is not leaves.context(names)
    assert leaves.made == 2
    assert repr(leaves) == f"<Leaves of {leaves.authority!r} 2 contexts made=2>"


def test_those_not_asked_for_longest_go(authority: Authority, clock: Clock) -> None:
    leaves = Leaves(authority, clock, most=2)
    a, b, c = map(asked_for, ("a.test", "b.test", "c.test"))
    kept = leaves.context(a)
    leaves.context(b)
    leaves.context(a)
    leaves.context(c)
    assert leaves.context(a) is kept
    assert leaves.made == 3
    leaves.context(b)
    assert leaves.made == 4


def test_renewed_before_it_ends(leaves: Leaves, clock: Clock, authority: Authority) -> None:
    names = asked_for("a.test")
    first = leaves.context(names)
    clock.advance(timedelta(days=26, hours=23))
    assert leaves.context(names) is first
    clock.advance(timedelta(hours=1))
    assert leaves.context(names) is not first
    assert leaves.made == 2


def test_last_leaf_of_an_authority(authority: Authority, clock: Clock) -> None:
    clock.now = authority.ends - timedelta(days=1)
    leaves = Leaves(authority, clock, lifetime=LIFETIME)
    first = leaves.context(asked_for("a.test"))
    clock.advance(timedelta(hours=23, minutes=59))
    assert leaves.context(asked_for("a.test")) is first
    clock.advance(timedelta(minutes=1))
    with pytest.raises(AuthorityError):
        leaves.context(asked_for("a.test"))


def test_contexts_are_prepared(authority: Authority, clock: Clock) -> None:
    prepared: list[SSL.Context] = []
    leaves = Leaves(authority, clock, prepare=prepared.append)
    assert [leaves.context(asked_for("a.test"))] == prepared


# ---------------------------------------------------------------- between two runs


def shelved(authority: Authority, clock: Clock, directory: Path, lifetime: timedelta = LIFETIME) -> Leaves:
    return Leaves(authority, clock, lifetime=lifetime, shelf=LeafFiles(directory, authority, 100))


def test_restart(authority: Authority, clock: Clock, tmp_path: Path) -> None:
    before = shelved(authority, clock, tmp_path)
    leaf = shown(before.context(asked_for("a.test")), authority, "a.test")
    clock.advance(timedelta(seconds=5))
    after = shelved(authority, clock, tmp_path)
    assert shown(after.context(asked_for("a.test")), authority, "a.test") == leaf
    assert after.made == 0
    clock.advance(timedelta(days=28))
    assert after.context(asked_for("a.test"))
    assert after.made == 1


def test_shorter_life_counts_at_once(authority: Authority, clock: Clock, tmp_path: Path) -> None:
    shelved(authority, clock, tmp_path).context(asked_for("a.test"))
    shorter = shelved(authority, clock, tmp_path, timedelta(days=5))
    shorter.context(asked_for("a.test"))
    assert shorter.made == 1


def test_another_authority(authority: Authority, clock: Clock, tmp_path: Path, now: datetime) -> None:
    shelved(authority, clock, tmp_path).context(asked_for("a.test"))
    renewed = make_authority(now)
    after = shelved(renewed, clock, tmp_path)
    shown(after.context(asked_for("a.test")), renewed, "a.test")
    assert after.made == 1


@pytest.mark.parametrize("what", ["garbage", "other names", "other key", "other authority", "not yet", "no names"])
def test_what_is_on_the_shelf_is_not_believed(
    authority: Authority, clock: Clock, tmp_path: Path, now: datetime, issue: Make, what: str
) -> None:
    first = shelved(authority, clock, tmp_path)
    first.context(asked_for("a.test"))
    files = LeafFiles(tmp_path, authority, 100)
    key = files.key().public_key()
    names = asked_for("a.test")
    planted = {
        "other names": lambda: sign_leaf(authority, key, asked_for("b.test"), now, LIFETIME),
        "other key": lambda: leaf_for(authority, now, "a.test"),
        "other authority": lambda: sign_leaf(make_authority(now), key, names, now, LIFETIME),
        "not yet": lambda: sign_leaf(authority, key, names, now + timedelta(days=2), timedelta(days=10)),
        "no names": lambda: issue("a.test", key=files.key(), issuer=(authority.key, authority.certificate))[1],
    }
    [path] = tmp_path.glob("leaves/*/*.der")
    path.write_bytes(b"garbage" if what == "garbage" else planted[what]().public_bytes(Encoding.DER))
    second = shelved(authority, clock, tmp_path)
    shown(second.context(names), authority, "a.test")
    assert second.made == 1
    # It has been replaced.
    assert shelved(authority, clock, tmp_path).context(names)
    assert x509.load_der_x509_certificate(path.read_bytes()).public_key() == key


def test_writing_waits_for_nobody(authority: Authority, clock: Clock, tmp_path: Path) -> None:
    waiting: list[Callable[[], None]] = []
    leaves = Leaves(authority, clock, shelf=LeafFiles(tmp_path, authority, 100), in_background=waiting.append)
    assert leaves.context(asked_for("a.test"))
    assert list(tmp_path.glob("leaves/*/*.der")) == []
    for call in waiting:
        call()
    assert len(list(tmp_path.glob("leaves/*/*.der"))) == 1
