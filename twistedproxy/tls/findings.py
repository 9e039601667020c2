"""What can be wrong with a chain: the complaints of OpenSSL, and which of our errors each comes to.

The numbers are those of X509_V_ERR_* in OpenSSL's x509_vfy.h, which never change their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from cryptography import x509

from twistedproxy.tls.certificate_errors import (
    CertificateExpired,
    CertificateForOtherPurpose,
    CertificateMalformed,
    CertificateNotYetValid,
    CertificateRefused,
    CertificateSelfSigned,
    ChainTooLong,
    IntermediateMissing,
    IssuerNoAuthority,
    KeyWeak,
    NameConstraintViolated,
    PathTooLong,
    RootUnknown,
    SignatureInvalid,
    SignatureWeak,
)
from twistedproxy.tls.chain import extensions, issuer, quoted, subject


class Finding(NamedTuple):
    """One thing that is wrong, what it is in words, and with which certificate, where it is with one."""

    error: type[CertificateRefused]
    text: str
    certificate: x509.Certificate | None = None


NAME_CONSTRAINTS: Final = frozenset((47, 48, 49, 51, 52, 53))
EXPIRED: Final = 10
NOT_YET_VALID: Final = 9
SELF_SIGNED: Final = 18
ROOT_UNKNOWN: Final = 19
NO_ISSUER: Final = frozenset((2, 20, 21))

# Each is said of one certificate: "... has a key that is too short".
_FINDINGS: Final[Mapping[int, tuple[type[CertificateRefused], str]]] = MappingProxyType(
    {
        # Unspecified; seen for keys that are none.
        1: (CertificateMalformed, "has something in it that cannot be read, such as its key"),
        4: (SignatureInvalid, "has a signature that cannot be read"),
        6: (CertificateMalformed, "was signed with a key that cannot be read"),
        7: (SignatureInvalid, "has a signature that its issuer did not make"),
        13: (CertificateMalformed, "has a beginning that is no time"),
        14: (CertificateMalformed, "has an end that is no time"),
        22: (ChainTooLong, "has too many authorities above it"),
        24: (CertificateMalformed, "was signed with a key that cannot be read"),
        25: (PathTooLong, "has more authorities below it than it allows"),
        26: (CertificateForOtherPurpose, "is not for servers, by its extended key usage, key usage or type"),
        27: (RootUnknown, "is not trusted"),
        28: (RootUnknown, "is marked as one that is not to be trusted"),
        29: (SignatureInvalid, "does not follow from the one above it"),
        32: (IssuerNoAuthority, "may not sign certificates, by its key usage"),
        34: (CertificateMalformed, "has a critical extension that is not known here"),
        37: (CertificateMalformed, "is an authority's where none may be"),
        39: (CertificateForOtherPurpose, "may not sign, by its key usage"),
        40: (CertificateMalformed, "is a proxy certificate"),
        41: (CertificateMalformed, "has an extension that is not valid, or has one twice"),
        42: (CertificateMalformed, "has a policy extension that is not valid"),
        47: (NameConstraintViolated, "has a name that the authority above it is not permitted to sign for"),
        48: (NameConstraintViolated, "has a name that the authority above it is forbidden to sign for"),
        49: (NameConstraintViolated, "is below a name constraint with a minimum or a maximum"),
        51: (NameConstraintViolated, "is below a name constraint of a kind that is not known here"),
        52: (NameConstraintViolated, "is below a name constraint that is not valid"),
        53: (NameConstraintViolated, "has a name that name constraints cannot be held against"),
        55: (CertificateMalformed, "is its own authority, by way of others"),
        66: (KeyWeak, "has a key that is too short"),
        67: (KeyWeak, "has a key that is too short for an authority"),
        68: (SignatureWeak, "is signed with a digest that was broken (MD5, SHA-1 or the like)"),
        76: (SignatureInvalid, "is signed with an algorithm that is not known here"),
        77: (SignatureInvalid, "is signed with an algorithm that its issuer's key is not for"),
        78: (CertificateMalformed, "names two different algorithms of its signature"),
        79: (IssuerNoAuthority, "is no authority's (no basic constraints that say so)"),
        80: (CertificateMalformed, "has a path length, but is no authority's"),
        81: (CertificateMalformed, "has a path length, but may not sign certificates"),
        82: (CertificateMalformed, "may sign certificates, but is no authority's"),
        83: (CertificateMalformed, "has an issuer without a name"),
        84: (CertificateMalformed, "is an authority's without a name"),
        85: (CertificateMalformed, "has no authority key identifier"),
        86: (CertificateMalformed, "is an authority's without a subject key identifier"),
        87: (CertificateMalformed, "has an extension for alternative names without any"),
        88: (CertificateMalformed, "has no subject, and alternative names that are not critical"),
        89: (CertificateMalformed, "is an authority's with basic constraints that are not critical"),
        90: (CertificateMalformed, "has an authority key identifier that is critical"),
        91: (CertificateMalformed, "has a subject key identifier that is critical"),
        92: (CertificateMalformed, "is an authority's without a key usage"),
        93: (CertificateMalformed, "has extensions, but not the version that allows them"),
        102: (CertificateMalformed, "has an authority key identifier that says nothing"),
        103: (CertificateMalformed, "has an authority key identifier with an issuer or a serial number alone"),
        94: (KeyWeak, "has a key on a curve that it describes itself"),
    }
)


def finding(code: int, depth: int, certificate: x509.Certificate | None) -> Finding:
    """What OpenSSL's complaint ``code`` comes to, about the ``certificate`` that many steps above the server's."""
    which = f"the certificate {subject(certificate)}" if certificate is not None else "a certificate that is unreadable"
    if code in (EXPIRED, NOT_YET_VALID):
        when = ""
        if certificate is not None:
            moment = certificate.not_valid_after_utc if code == EXPIRED else certificate.not_valid_before_utc
            when = f" {moment:%Y-%m-%d %H:%M:%S} UTC"
        if code == EXPIRED:
            return Finding(CertificateExpired, f"{which} ended on{when}")
        return Finding(CertificateNotYetValid, f"{which} begins on{when}")
    if code == SELF_SIGNED:
        return Finding(CertificateSelfSigned, f"{which} is signed with its own key, and not trusted")
    if code == ROOT_UNKNOWN:
        return Finding(RootUnknown, f"the chain ends at {which}, which is not trusted")
    if code in NO_ISSUER:
        if certificate is not None:
            try:
                extensions(certificate)
            except ValueError as why:
                # OpenSSL looks for nobody who may have signed such a one.
                return Finding(CertificateMalformed, f"{which} has extensions that cannot be read ({quoted(str(why))})")
        above = issuer(certificate) if certificate is not None else "an unreadable one"
        if depth == 0:
            return Finding(IntermediateMissing, f"{above}, which signed {which}, was neither sent nor is it trusted")
        return Finding(RootUnknown, f"the chain ends at {which}, and {above}, which signed that, is not trusted")
    error, text = _FINDINGS.get(code, (CertificateRefused, f"was refused by OpenSSL (X509_V_ERR {code})"))
    return Finding(error, f"{which} {text}")
