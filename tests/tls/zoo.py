"""Chains of servers with one thing wrong each, and good ones; made for 127.0.0.1, ``localhost`` and names of tests."""

from __future__ import annotations

import ipaddress
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from OpenSSL import crypto

NOW: Final = datetime.now(UTC).replace(microsecond=0)
DAY: Final = timedelta(days=1)
PLACEHOLDER: Final = ObjectIdentifier("2.5.29.99")
"""An extension that is replaced by another one in the bytes."""


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@lru_cache
def rsa_key(size: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, size)


@dataclass
class One:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any


def names(*hosts: str) -> x509.SubjectAlternativeName:
    made: list[x509.GeneralName] = []
    for host in hosts:
        try:
            made.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            made.append(x509.DNSName(host))
    return x509.SubjectAlternativeName(made)


def usage(**wanted: bool) -> x509.KeyUsage:
    every = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{one: wanted.get(one, False) for one in every})


def make(
    subject: str,
    issuer: One | None = None,
    *,
    key: Any = None,
    ca: bool = False,
    path_length: int | None = None,
    starts: datetime = NOW - DAY,
    ends: datetime = NOW + 30 * DAY,
    serial: int = 0,
    left_out: Sequence[type[x509.ExtensionType]] = (),
    changed: Sequence[tuple[x509.ExtensionType, bool]] = (),
    tampered: Callable[[bytes], bytes] | None = None,
) -> One:
    """A certificate as it should be, but for what is said. ``tampered`` changes the bytes that are signed."""
    own = key or new_key()
    signer = issuer.key if issuer else own
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else [])
    above = issuer.certificate.subject if issuer else name
    extensions: dict[type, tuple[x509.ExtensionType, bool]] = {
        x509.BasicConstraints: (x509.BasicConstraints(ca, path_length), True),
        x509.KeyUsage: (usage(key_cert_sign=True, crl_sign=True) if ca else usage(digital_signature=True), True),
        x509.SubjectKeyIdentifier: (x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False),
    }
    if issuer:
        public = issuer.key.public_key()
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(public)
        extensions[x509.AuthorityKeyIdentifier] = (identifier, False)
    if not ca:
        extensions[x509.ExtendedKeyUsage] = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        extensions[x509.SubjectAlternativeName] = (names("127.0.0.1", "localhost"), not subject)
    for extension, critical in changed:
        extensions[type(extension)] = (extension, critical)
    for kind in left_out:
        extensions.pop(kind, None)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(above)
        .public_key(own.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(ends)
    )
    for value, critical in extensions.values():
        builder = builder.add_extension(value, critical)
    used = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    certificate = builder.sign(signer, used)
    if tampered is not None:
        certificate = _signed_again(certificate, signer, tampered)
    return One(certificate, own)


def weakly_signed(certificate: x509.Certificate, signer: rsa.RSAPrivateKey, digest: Any) -> x509.Certificate:
    """The same, signed with a digest that nobody signs with any more."""
    head = bytes.fromhex("2a864886f70d0101")
    new = head + {"md5": b"\x04", "sha1": b"\x05"}[digest.name]
    whole = certificate.public_bytes(Encoding.DER).replace(head + b"\x0b", new)
    tbs = certificate.tbs_certificate_bytes.replace(head + b"\x0b", new)
    signature = signer.sign(tbs, padding.PKCS1v15(), digest)
    return x509.load_der_x509_certificate(whole[: -len(signature)] + signature)


def _signed_again(certificate: x509.Certificate, signer: Any, tampered: Callable[[bytes], bytes]) -> x509.Certificate:
    der = certificate.public_bytes(Encoding.DER)
    old = certificate.tbs_certificate_bytes
    new = tampered(old)
    assert new != old
    assert len(new) == len(old)
    rest = der[der.index(old) + len(old) :]
    algorithm = rest[: 2 + rest[1]]
    signed = b"\0" + signer.sign(new, ec.ECDSA(hashes.SHA256()))
    with warnings.catch_warnings():
        # It warns of serial numbers.
        warnings.simplefilter("ignore")
        return x509.load_der_x509_certificate(_der(0x30, new + algorithm + _der(0x03, signed)))


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    short = bytes([length]) if length < 128 else b"\x82" + length.to_bytes(2)
    return bytes([tag]) + short + content


@dataclass
class Case:
    """What a server shows, to who asks for ``host`` and trusts ``roots``; ``reason`` is empty where that is good."""

    leaf: One
    sent: Sequence[One]
    roots: Sequence[One]
    reason: str = ""
    host: str = "localhost"

    @property
    def intermediates(self) -> list[x509.Certificate]:
        return [one.certificate for one in self.sent]


class Authorities:
    """A root and what is below it, as they should be."""

    def __init__(self) -> None:
        self.root = make("Zoo Root", ca=True)
        self.between = make("Zoo Intermediate", self.root, ca=True, path_length=0)
        self.stranger = make("Unknown Root", ca=True)

    def case(self, reason: str = "", host: str = "localhost", subject: str = "zoo.test", **how: Any) -> Case:
        """A server below both."""
        return Case(make(subject, self.between, **how), [self.between], [self.root], reason, host)

    def below(self, reason: str, host: str = "localhost", **how: Any) -> Case:
        """A server as it should be, below an intermediate that is not."""
        between = make("Odd Intermediate", self.root, **({"ca": True} | how))
        return Case(make("zoo.test", between), [between], [self.root], reason, host)


@lru_cache
def authorities() -> Authorities:
    return Authorities()


def _constrained(reason: str, permitted: Sequence[str] = (), excluded: Sequence[str] = (), **how: Any) -> Case:
    zoo = authorities()

    def subtrees(hosts: Sequence[str]) -> list[x509.GeneralName] | None:
        made: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_network(host)) if "/" in host else x509.DNSName(host) for host in hosts
        ]
        return made or None

    constraints = x509.NameConstraints(subtrees(permitted), subtrees(excluded))
    between = make("Constrained Intermediate", zoo.root, ca=True, changed=[(constraints, True)])
    san = names(*how.pop("names", ("localhost",)))
    return Case(make("zoo.test", between, changed=[(san, False)]), [between], [zoo.root], reason, **how)


def _cross_signed() -> Case:
    """Two certificates of one intermediate: the first that is sent has expired."""
    zoo = authorities()
    key = new_key()
    expired = make("Twice Signed", zoo.root, ca=True, key=key, starts=NOW - 9 * DAY, ends=NOW - DAY)
    current = make("Twice Signed", zoo.root, ca=True, key=key)
    return Case(make("zoo.test", current), [expired, current], [zoo.root])


def _several_ways() -> Case:
    """Of three certificates of one intermediate, one is for mail and one has expired."""
    zoo = authorities()
    key = new_key()
    mail = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    ways = [
        make("Thrice Signed", zoo.root, ca=True, key=key, changed=[(mail, False)]),
        make("Thrice Signed", zoo.root, ca=True, key=key, starts=NOW - 9 * DAY, ends=NOW - DAY),
        make("Thrice Signed", zoo.root, ca=True, key=key),
    ]
    return Case(make("zoo.test", ways[0]), ways, [zoo.root])


def _permitted_by_another_way() -> Case:
    """Of two certificates of one intermediate, one constrains names."""
    zoo = authorities()
    key = new_key()
    constraints = x509.NameConstraints(None, [x509.DNSName("localhost")])
    ways = [
        make("Twice Signed", zoo.root, ca=True, key=key, changed=[(constraints, True)]),
        make("Twice Signed", zoo.root, ca=True, key=key),
    ]
    return Case(make("zoo.test", ways[0]), ways, [zoo.root])


def _forged() -> Case:
    zoo = authorities()
    false = One(zoo.between.certificate, new_key())
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(zoo.between.key.public_key())
    leaf = make("zoo.test", false, changed=[(identifier, False)])
    return Case(leaf, [zoo.between], [zoo.root], "certificate_bad_signature")


def _sent(reason: str, leaf: One, *sent: One, roots: Sequence[One] | None = None, host: str = "localhost") -> Case:
    return Case(leaf, sent, [authorities().root] if roots is None else roots, reason, host)


def unreadable(one: One) -> crypto.X509:
    """``one`` with a version that there is not: OpenSSL reads it, and nobody else."""
    der = one.certificate.public_bytes(Encoding.DER)
    head = b"\xa0\x03\x02\x01"
    assert head + b"\x02" in der
    return crypto.load_certificate(crypto.FILETYPE_ASN1, der.replace(head + b"\x02", head + b"\x06", 1))


def _tampered_serial(serial: bytes) -> Callable[[bytes], bytes]:
    # The version, and then a serial number of one octet.
    head = b"\xa0\x03\x02\x01\x02\x02\x01"
    return lambda tbs: tbs.replace(head + b"\x01", head + serial, 1)


CASES: Final[dict[str, Callable[[], Case]]] = {
    # What is good.
    "intermediate": lambda: authorities().case(),
    "root-directly": lambda: _sent("", make("zoo.test", authorities().root)),
    "root-sent-too": lambda: _sent(
        "", make("zoo.test", authorities().between), authorities().between, authorities().root
    ),
    "sent-in-disorder": lambda: _sent(
        "", make("zoo.test", authorities().between), authorities().root, authorities().between
    ),
    "address": lambda: authorities().case(host="127.0.0.1"),
    "dot-at-the-end": lambda: authorities().case(host="localhost."),
    "capitals": lambda: authorities().case(host="LocalHost"),
    "no-subject": lambda: authorities().case(subject=""),
    "rsa": lambda: authorities().case(key=rsa_key(2048)),
    "p384": lambda: authorities().case(key=ec.generate_private_key(ec.SECP384R1())),
    "ed25519": lambda: authorities().case(key=ed25519.Ed25519PrivateKey.generate()),
    "no-extended-key-usage": lambda: authorities().case(left_out=[x509.ExtendedKeyUsage]),
    "permitted-name": lambda: _constrained("", permitted=["localhost"]),
    "permitted-address": lambda: _constrained("", permitted=["127.0.0.0/8"], names=("127.0.0.1",), host="127.0.0.1"),
    "cross-signed": _cross_signed,
    "several-ways": lambda: _several_ways(),
    "permitted-by-another-way": lambda: _permitted_by_another_way(),
    # What is not.
    "expired": lambda: authorities().case("certificate_expired", starts=NOW - 9 * DAY, ends=NOW - DAY),
    "expired-intermediate": lambda: authorities().below("certificate_expired", starts=NOW - 9 * DAY, ends=NOW - DAY),
    "not-yet-valid": lambda: authorities().case("certificate_not_yet_valid", starts=NOW + DAY),
    "wrong-host": lambda: authorities().case("certificate_wrong_host", changed=[(names("other.test"), False)]),
    "wrong-address": lambda: authorities().case(
        "certificate_wrong_address", host="127.0.0.1", changed=[(names("192.0.2.1", "localhost"), False)]
    ),
    "address-as-a-name": lambda: authorities().case(
        "certificate_wrong_address", host="127.0.0.1", changed=[(names("localhost"), False)], subject="127.0.0.1"
    ),
    "wildcard-for-all": lambda: authorities().case("certificate_wrong_host", changed=[(names("*"), False)]),
    "common-name-only": lambda: authorities().case(
        "certificate_common_name_only", subject="localhost", left_out=[x509.SubjectAlternativeName]
    ),
    "only-a-mail-address": lambda: authorities().case(
        "certificate_common_name_only",
        subject="localhost",
        changed=[(x509.SubjectAlternativeName([x509.RFC822Name("me@zoo.test")]), False)],
    ),
    "self-signed": lambda: _sent("certificate_self_signed", make("zoo.test")),
    "unknown-root": lambda: _sent(
        "certificate_unknown_root", make("zoo.test", authorities().stranger), authorities().stranger
    ),
    "unknown-root-not-sent": lambda: _below_stray("certificate_unknown_root"),
    "intermediate-missing": lambda: _sent("certificate_chain_incomplete", make("zoo.test", authorities().between)),
    "permitted-other-name": lambda: _constrained("certificate_name_constraint", permitted=["example.test"]),
    "excluded-name": lambda: _constrained("certificate_name_constraint", excluded=["localhost"]),
    "permitted-other-network": lambda: _constrained(
        "certificate_name_constraint", permitted=["192.0.2.0/24"], names=("127.0.0.1",), host="127.0.0.1"
    ),
    "excluded-network": lambda: _constrained(
        "certificate_name_constraint", excluded=["127.0.0.0/8"], names=("127.0.0.1",), host="127.0.0.1"
    ),
    "for-clients": lambda: authorities().case(
        "certificate_wrong_purpose",
        changed=[(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)],
    ),
    "for-any-purpose": lambda: authorities().case(
        "certificate_wrong_purpose",
        changed=[(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False)],
    ),
    "intermediate-for-mail": lambda: authorities().below(
        "certificate_wrong_purpose",
        changed=[(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)],
    ),
    "key-usage-for-revocation": lambda: authorities().case(
        "certificate_wrong_purpose", changed=[(usage(crl_sign=True), True)]
    ),
    "authority-as-server": lambda: _sent(
        "certificate_wrong_purpose",
        make("zoo.test", authorities().root, ca=True, changed=[(names("localhost"), False)]),
    ),
    "rsa-1024": lambda: authorities().case("certificate_weak_key", key=rsa_key(1024)),
    "intermediate-rsa-1024": lambda: authorities().below("certificate_weak_key", key=rsa_key(1024)),
    "p192": lambda: authorities().case("certificate_weak_key", key=ec.generate_private_key(ec.SECP192R1())),
    "p224": lambda: authorities().case("certificate_weak_key", key=ec.generate_private_key(ec.SECP224R1())),
    "sha1": lambda: _weakly_signed(hashes.SHA1()),
    "md5": lambda: _weakly_signed(hashes.MD5()),
    "intermediate-sha1": lambda: _intermediate_weakly_signed(hashes.SHA1()),
    "forged": _forged,
    "intermediate-no-authority": lambda: authorities().below("certificate_issuer_no_authority", ca=False),
    "intermediate-without-constraints": lambda: authorities().below(
        "certificate_issuer_no_authority", left_out=[x509.BasicConstraints]
    ),
    "intermediate-may-not-sign": lambda: authorities().below(
        "certificate_issuer_no_authority", changed=[(usage(crl_sign=True), True)]
    ),
    "path-length": lambda: _too_deep(),
    "too-many": lambda: _too_many(),
    "unknown-critical-extension": lambda: authorities().case(
        "certificate_malformed", changed=[(x509.UnrecognizedExtension(PLACEHOLDER, b"\x05\x00"), True)]
    ),
    "extension-twice": lambda: authorities().case(
        "certificate_malformed",
        changed=[(x509.UnrecognizedExtension(PLACEHOLDER, bytes.fromhex("03020780")), False)],
        tampered=lambda tbs: tbs.replace(b"\x06\x03\x55\x1d\x63", b"\x06\x03\x55\x1d\x0f"),
    ),
    "serial-zero": lambda: authorities().case("certificate_malformed", serial=1, tampered=_tampered_serial(b"\x00")),
    "serial-negative": lambda: authorities().case(
        "certificate_malformed", serial=1, tampered=_tampered_serial(b"\xff")
    ),
    "no-authority-key-identifier": lambda: authorities().case(
        "certificate_malformed", left_out=[x509.AuthorityKeyIdentifier]
    ),
    "intermediate-without-key-identifier": lambda: authorities().below(
        "certificate_malformed", left_out=[x509.SubjectKeyIdentifier]
    ),
    "no-names-at-all": lambda: authorities().case(
        "certificate_malformed", changed=[(x509.SubjectAlternativeName([]), False)]
    ),
    "no-subject-and-names-not-critical": lambda: authorities().case(
        "certificate_malformed", subject="", changed=[(names("localhost"), False)]
    ),
    "constraints-in-a-server's": lambda: authorities().case(
        "certificate_malformed", changed=[(x509.NameConstraints([x509.DNSName("localhost")], None), True)]
    ),
}


def _weakly_signed(digest: Any) -> Case:
    zoo = authorities()
    between = make("Old Intermediate", zoo.root, ca=True, key=rsa_key(2048))
    leaf = make("zoo.test", between)
    leaf.certificate = weakly_signed(leaf.certificate, between.key, digest)
    return _sent("certificate_weak_signature", leaf, between)


def _intermediate_weakly_signed(digest: Any) -> Case:
    root = make("Old Root", ca=True, key=rsa_key(2048))
    between = make("Old Intermediate", root, ca=True)
    between.certificate = weakly_signed(between.certificate, root.key, digest)
    return _sent("certificate_weak_signature", make("zoo.test", between), between, roots=[root])


def _too_many() -> Case:
    above = authorities().root
    sent: list[One] = []
    for number in range(9):
        above = make(f"Step {number}", above, ca=True)
        sent.insert(0, above)
    return Case(make("zoo.test", above), sent, [authorities().root], "certificate_chain_too_long")


def _below_stray(reason: str) -> Case:
    between = make("Stray Intermediate", authorities().stranger, ca=True)
    return _sent(reason, make("zoo.test", between), between)


def _too_deep() -> Case:
    deeper = make("Too Deep", authorities().between, ca=True)
    return _sent("certificate_path_length", make("zoo.test", deeper), deeper, authorities().between)
