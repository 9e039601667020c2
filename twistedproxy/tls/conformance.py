"""What is asked of a chain beyond what OpenSSL looks at, by RFC 5280 and the rules that browsers have for public sites.

Theory of operation. OpenSSL has built and verified the chain; here it is read once more. Strong keys and signatures are
asked for always, of everything that a signature counts for: that of a trust anchor proves nothing, and is not looked
at. What is only a matter of form is asked for when it is to be ``strict``, and never of the anchor, which somebody has
chosen to trust as it is (RFC 5280 section 6.1).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from twistedproxy.tls.certificate_errors import (
    CertificateForOtherPurpose,
    CertificateMalformed,
    ChainTooLong,
    KeyWeak,
    SignatureWeak,
)
from twistedproxy.tls.chain import extensions, key, quoted, signature, subject
from twistedproxy.tls.findings import Finding

SHORTEST_RSA: Final = 2048
"""Bits."""

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)

_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_BROKEN: Final = frozenset(("md5", "sha1"))
_LONGEST_SERIAL: Final = 20
"""Octets (RFC 5280 section 4.1.2.2)."""

# RFC 5280 sections 4.2.1.11 and 4.2.1.14 want these critical, since whoever does not know them is deceived.
_HAVE_TO_BE_CRITICAL: Final = (ExtensionOID.POLICY_CONSTRAINTS, ExtensionOID.INHIBIT_ANY_POLICY)
# And these not, sections 4.2.2.1, 4.2.1.6 for an issuer's, and 4.2.1.15.
_NEVER_CRITICAL: Final = (ExtensionOID.AUTHORITY_INFORMATION_ACCESS, ExtensionOID.FRESHEST_CRL)


def check_chain(chain: Sequence[x509.Certificate], *, strict: bool, max_intermediates: int) -> Finding | None:
    """What is wrong with a chain that was verified, the server's certificate first and the trust anchor last."""
    if len(chain) - 2 > max_intermediates:
        return Finding(ChainTooLong, f"there are {len(chain) - 2} authorities between, and {max_intermediates} may be")
    for number, certificate in enumerate(chain):
        # A certificate that is trusted itself is its own anchor.
        is_anchor = number == len(chain) - 1
        judge = _judge_authority if number else _judge
        problem = judge(certificate, number, is_anchor, strict)
        if problem is not None:
            return problem
    return None


def _judge(certificate: x509.Certificate, depth: int, is_anchor: bool, strict: bool) -> Finding | None:
    for problem in _problems(certificate, depth, is_anchor=is_anchor, strict=strict):
        return problem._replace(text=f"the certificate {subject(certificate)} {problem.text}", certificate=certificate)
    return None


# The servers of the world have a few dozen authorities above them; each is looked at once.
_judge_authority: Final = lru_cache(maxsize=256)(_judge)


def _problems(certificate: x509.Certificate, depth: int, *, is_anchor: bool, strict: bool) -> Iterator[Finding]:
    yield from _key_problems(certificate)
    if not is_anchor:
        yield from _signature_problems(certificate)
    try:
        found = extensions(certificate)
    except ValueError as error:
        if strict or not is_anchor:
            text = f"has extensions that cannot be read ({quoted(str(error))})"
            yield Finding(CertificateMalformed, text)
        return
    yield from _purpose_problems(found, depth, is_anchor=is_anchor)
    if strict and not is_anchor:
        yield from _form_problems(certificate, found, depth)


def _key_problems(certificate: x509.Certificate) -> Iterator[Finding]:
    try:
        public = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        yield Finding(KeyWeak, "has a key of a kind that is not known here")
        return
    match public:
        case rsa.RSAPublicKey():
            if public.key_size < SHORTEST_RSA or public.key_size % 8:
                yield Finding(KeyWeak, f"has a key ({key(certificate)}) that is not of {SHORTEST_RSA} bits or more")
            elif public.public_numbers().e < 3 or not public.public_numbers().e % 2:
                yield Finding(KeyWeak, "has an RSA key with an exponent that hides nothing")
        case ec.EllipticCurvePublicKey():
            if not isinstance(public.curve, _CURVES):
                yield Finding(KeyWeak, f"has a key ({key(certificate)}) that is not on P-256, P-384 or P-521")
        case dsa.DSAPublicKey():
            yield Finding(KeyWeak, f"has a key ({key(certificate)}) of a kind that TLS has given up")


def _signature_problems(certificate: x509.Certificate) -> Iterator[Finding]:
    try:
        digest = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        yield Finding(SignatureWeak, f"is {signature(certificate)}, which is not known here")
        return
    if digest is not None and digest.name in _BROKEN:
        yield Finding(SignatureWeak, f"is {signature(certificate)}, and that digest was broken")


def _purpose_problems(among: x509.Extensions, depth: int, *, is_anchor: bool) -> Iterator[Finding]:
    usage = _value(among, x509.ExtendedKeyUsage)
    if usage is not None and ExtendedKeyUsageOID.SERVER_AUTH not in usage:
        # Nor is anyExtendedKeyUsage enough: OpenSSL does not let it, and public sites may not have it (CABF BR
        # 7.1.2.7.10).
        yield Finding(CertificateForOtherPurpose, "is not for servers, by its extended key usage")
    key_usage = _value(among, x509.KeyUsage)
    # RFC 5280 section 4.2.1.3: one of these is what TLS does with a server's key.
    if depth == 0 and not (
        key_usage is None or key_usage.digital_signature or key_usage.key_encipherment or key_usage.key_agreement
    ):
        yield Finding(CertificateForOtherPurpose, "is not for servers, by its key usage")
    constraints = _value(among, x509.BasicConstraints)
    if depth == 0 and not is_anchor and constraints is not None and constraints.ca:
        yield Finding(CertificateForOtherPurpose, "is an authority's, not a server's")


def _form_problems(certificate: x509.Certificate, among: x509.Extensions, depth: int) -> Iterator[Finding]:
    serial = _serial(certificate)
    if serial <= 0 or serial.bit_length() >= 8 * _LONGEST_SERIAL:
        yield Finding(CertificateMalformed, "has a serial number that is not positive, or too long")
    names = _extension(among, x509.SubjectAlternativeName)
    if depth == 0 and names is not None and not names.critical and not list(certificate.subject):
        # RFC 5280 section 4.1.2.6.
        yield Finding(CertificateMalformed, "has no subject, and alternative names that are not critical")
    for rule in _RULES:
        if (text := rule(among, depth)) is not None:
            yield Finding(CertificateMalformed, text)


def _serial(certificate: x509.Certificate) -> int:
    with warnings.catch_warnings():
        # That it is not positive is what is asked here.
        warnings.simplefilter("ignore")
        return certificate.serial_number


def _criticality(among: x509.Extensions, _depth: int) -> str | None:
    for extension in among:
        if extension.oid in _HAVE_TO_BE_CRITICAL and not extension.critical:
            return "has policy constraints that are not critical"
        if extension.oid in _NEVER_CRITICAL and extension.critical:
            return "has an extension for information that is critical"
    return None


def _name_constraints(among: x509.Extensions, depth: int) -> str | None:
    constraints = _value(among, x509.NameConstraints)
    if constraints is None:
        return None
    if depth == 0:
        return "is a server's, and constrains the names that it would sign for"
    if not constraints.permitted_subtrees and not constraints.excluded_subtrees:
        return "has name constraints that name nothing"
    return None


def _extension(among: x509.Extensions, kind: type[_Kind]) -> x509.Extension[_Kind] | None:
    try:
        return among.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None


def _value(among: x509.Extensions, kind: type[_Kind]) -> _Kind | None:
    found = _extension(among, kind)
    return None if found is None else found.value


_RULES: Final[tuple[Callable[[x509.Extensions, int], str | None], ...]] = (_criticality, _name_constraints)
