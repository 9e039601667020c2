"""A certificate authority: one of the proxy's own making, or the operator's, and what each of them has to be.

Everything here is objects and bytes; `authority_files` keeps them. An own authority has an EC key on P-256 and a root
certificate that may sign leaves and nothing else (basicConstraints with pathlen 0, RFC 5280 section 4.2.1.9). The
operator's comes as PEM: a key, its certificate, and those above it where it is an intermediate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAME: Final = "twistedproxy CA"
LIFETIME: Final = timedelta(days=3652)
BACKDATED: Final = timedelta(days=1)
"""Clients whose clock is slow take the certificate all the same."""

WARN_BEFORE: Final = timedelta(days=30)

WEAKEST_RSA: Final = 2048
"""Bits; clients take no shorter key (CA/Browser Forum, section 6.1.5)."""

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Origin: TypeAlias = Literal["own", "operator"]
Format: TypeAlias = Literal["pem", "der", "p12"]
E = TypeVar("E", bound=x509.ExtensionType)

_UNREADABLE: Final = (x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType)
_WEAK_HASHES: Final = (hashes.MD5, hashes.SHA1)
_PEM_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


class AuthorityError(Exception):
    """There is no authority that can be used. The text says why, in one line."""


@dataclass(frozen=True, slots=True, repr=False)
class Authority:
    """A key that signs, its certificate, and the certificates above that one, nearest first."""

    key: Key
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()
    origin: Origin = "own"

    def __repr__(self) -> str:
        return f"<Authority {self.origin} {self.subject!r} {self.fingerprint[:11]}>"

    @property
    def subject(self) -> str:
        """Its name (RFC 4514)."""
        return self.certificate.subject.rfc4514_string()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, as people compare it: ``AB:CD:...``."""
        return self.certificate.fingerprint(hashes.SHA256()).hex(":").upper()

    @property
    def ends(self) -> datetime:
        """When it, or what is above it, ends."""
        return min(one.not_valid_after_utc for one in (self.certificate, *self.chain))

    @property
    def sent(self) -> tuple[x509.Certificate, ...]:
        """What goes with a leaf in a handshake: itself and what is above, but for roots, which clients have."""
        return tuple(one for one in (self.certificate, *self.chain) if one.subject != one.issuer)

    def days_left(self, now: datetime) -> int:
        """Whole days until it ends; negative once it has."""
        return (self.ends - now).days

    def check_date(self, now: datetime) -> None:
        """`AuthorityError` when a certificate of its chain is not valid at ``now``."""
        for one in (self.certificate, *self.chain):
            if now >= one.not_valid_after_utc:
                raise AuthorityError(f"{_named(one)} ended on {one.not_valid_after_utc:%Y-%m-%d}")
            if now < one.not_valid_before_utc:
                raise AuthorityError(f"{_named(one)} is not valid before {one.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")

    def key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """How leaves point to its key (RFC 5280 section 4.2.1.1)."""
        own = _extension(self.certificate, x509.SubjectKeyIdentifier)
        if own is not None:
            return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())

    def private_pem(self) -> bytes:
        """Key and certificates; a secret."""
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + b"".join(one.public_bytes(Encoding.PEM) for one in (self.certificate, *self.chain))

    def export(self, format: Format) -> bytes:
        """The certificate, without the key, for clients to trust.

        ``p12`` has no password: it holds nothing secret, and every system that imports it takes an empty one.
        """
        match format:
            case "pem":
                return self.certificate.public_bytes(Encoding.PEM)
            case "der":
                return self.certificate.public_bytes(Encoding.DER)
            case "p12":
                name = NAME.encode()
                return pkcs12.serialize_key_and_certificates(name, None, self.certificate, None, NoEncryption())


def make_authority(now: datetime) -> Authority:
    """A new one, with a new key."""
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # Two authorities of one name, an old and a new one, confuse clients that look for an issuer by its name.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{NAME} {identifier.digest.hex()[:8]}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(key, certificate)


def key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    """What a key is for (RFC 5280 section 4.2.1.3)."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def read_authority(pem: bytes, origin: Origin) -> Authority:
    """The authority that ``pem`` holds: one key, its certificate, and those above it in any order.

    Raises `AuthorityError` for what cannot sign leaves that clients take. The date is not looked at.
    """
    key = _read_key(pem)
    certificates = _read_certificates(pem)
    own = [one for one in certificates if _public(one.public_key()) == _public(key.public_key())]
    if not own:
        raise AuthorityError("none of its certificates belongs to its key")
    certificate = own[0]
    chain = _above(certificate, [one for one in certificates if one not in own])
    for height, one in enumerate((certificate, *chain)):
        _check_signs(one, height)
    return Authority(key, certificate, chain, origin)


def _read_key(pem: bytes) -> Key:
    blocks = [match[0] for match in _PEM_BLOCK.finditer(pem) if match[1].endswith(b"PRIVATE KEY")]
    if not blocks:
        raise AuthorityError("it has no private key")
    if len(blocks) > 1:
        raise AuthorityError("it has more than one private key")
    try:
        key = load_pem_private_key(blocks[0], None)
    except TypeError:
        raise AuthorityError("its private key has a password, which nobody is there to enter") from None
    except (ValueError, UnsupportedAlgorithm):
        raise AuthorityError("its private key cannot be read") from None
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < WEAKEST_RSA:
            raise AuthorityError(f"its RSA key has {key.key_size} bits, and clients want {WEAKEST_RSA} at least")
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(
        key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1
    ):
        return key
    raise AuthorityError("its key is neither RSA nor EC on P-256, P-384 or P-521, which clients take")


def _read_certificates(pem: bytes) -> list[x509.Certificate]:
    blocks = [match[0] for match in _PEM_BLOCK.finditer(pem) if match[1] == b"CERTIFICATE"]
    if not blocks:
        raise AuthorityError("it has no certificate")
    try:
        certificates = [x509.load_pem_x509_certificate(block) for block in blocks]
        # What they have is parsed when it is asked for.
        for one in certificates:
            _public(one.public_key())
            list(one.extensions)
            _ = one.subject.rfc4514_string(), one.issuer, one.not_valid_before_utc, one.not_valid_after_utc
            _hash(one)
    except (ValueError, TypeError, UnsupportedAlgorithm, *_UNREADABLE) as error:
        raise AuthorityError(f"a certificate of it cannot be read: {error}") from None
    return certificates


def _above(certificate: x509.Certificate, others: list[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """The certificates from the issuer of ``certificate`` upwards; every one there is has to be one of them."""
    chain: list[x509.Certificate] = []
    lowest, left = certificate, list(others)
    while left and lowest.subject != lowest.issuer:
        issuer = next((one for one in left if _issued(one, lowest)), None)
        if issuer is None:
            break
        chain.append(issuer)
        left.remove(issuer)
        lowest = issuer
    if left:
        raise AuthorityError(f"{_named(left[0])} is not above its certificate")
    return tuple(chain)


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _check_signs(certificate: x509.Certificate, height: int) -> None:
    """Whether a certificate that stands ``height`` above the one that signs leaves is fit for that."""
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        raise AuthorityError(f"{_named(certificate)} is no authority's: its basicConstraints do not say CA")
    if constraints.path_length is not None and constraints.path_length < height:
        raise AuthorityError(f"{_named(certificate)} allows {constraints.path_length} authorities below, not {height}")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        raise AuthorityError(f"{_named(certificate)} may not sign certificates: its keyUsage lacks keyCertSign")
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    if purposes is not None and not {
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    } & set(purposes):
        raise AuthorityError(f"{_named(certificate)} may not sign for servers: its extendedKeyUsage lacks serverAuth")
    is_root = certificate.subject == certificate.issuer
    if not is_root and isinstance(_hash(certificate), _WEAK_HASHES):
        raise AuthorityError(f"{_named(certificate)} has a weak signature, which clients refuse")
    public = certificate.public_key()
    if isinstance(public, rsa.RSAPublicKey) and public.key_size < WEAKEST_RSA:
        raise AuthorityError(f"{_named(certificate)} has an RSA key of {public.key_size} bits, which clients refuse")


def _hash(certificate: x509.Certificate) -> hashes.HashAlgorithm | None:
    try:
        return certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _public(key: object) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return encoded


def _named(certificate: x509.Certificate) -> str:
    return f"the certificate {certificate.subject.rfc4514_string() or '(without a name)'!r}"


def utc(seconds: float) -> datetime:
    """The moment ``seconds`` after the beginning of 1970, to the second, as certificates have it."""
    return datetime.fromtimestamp(int(seconds), UTC)
