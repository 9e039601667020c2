"""Why a server's certificate was refused: each check that failed has its own word and sentence.

They are of the tree of `twistedproxy.errors`, and say the same things in the same way.
"""

from __future__ import annotations

from twistedproxy.errors import TLSFailed


class CertificateRefused(TLSFailed):
    """The server's certificate does not prove that it is the server that was asked for."""

    proxy_status = "tls_certificate_error"
    reason = "tls_certificate_error"


class CertificateExpired(CertificateRefused):
    """The server's certificate, or that of an authority above it, has expired."""

    reason = "certificate_expired"


class CertificateNotYetValid(CertificateRefused):
    """The server's certificate, or that of an authority above it, is not valid yet."""

    reason = "certificate_not_yet_valid"


class CertificateForOtherNames(CertificateRefused):
    """The server's certificate is for other names than the one that was asked for."""

    reason = "certificate_wrong_host"


class CertificateForOtherAddresses(CertificateRefused):
    """The server's certificate is not for the IP address that was asked for."""

    reason = "certificate_wrong_address"


class CertificateWithoutNames(CertificateRefused):
    """The server's certificate names no host but in its common name, which proves nothing."""

    reason = "certificate_common_name_only"


class CertificateSelfSigned(CertificateRefused):
    """The server's certificate is signed by nobody but the server itself."""

    reason = "certificate_self_signed"


class RootUnknown(CertificateRefused):
    """The server's certificate comes from an authority that this proxy does not trust."""

    reason = "certificate_unknown_root"


class IntermediateMissing(CertificateRefused):
    """The server did not send the certificate of the authority that signed its own, and it is not known here."""

    reason = "certificate_chain_incomplete"


class ChainTooLong(CertificateRefused):
    """There are more authorities between the server's certificate and a trusted one than this proxy follows."""

    reason = "certificate_chain_too_long"


class NameConstraintViolated(CertificateRefused):
    """An authority above the server's certificate may not sign for the names in it."""

    reason = "certificate_name_constraint"


class CertificateForOtherPurpose(CertificateRefused):
    """The server's certificate, or that of an authority above it, is not meant for servers."""

    reason = "certificate_wrong_purpose"


class IssuerNoAuthority(CertificateRefused):
    """The server's certificate was signed with one that may not sign certificates."""

    reason = "certificate_issuer_no_authority"


class PathTooLong(CertificateRefused):
    """An authority above the server's certificate may not have as many others below it."""

    reason = "certificate_path_length"


class KeyWeak(CertificateRefused):
    """The key of the server's certificate, or of an authority above it, is too weak."""

    reason = "certificate_weak_key"


class SignatureWeak(CertificateRefused):
    """The server's certificate, or that of an authority above it, is signed with an algorithm that was broken."""

    reason = "certificate_weak_signature"


class SignatureInvalid(CertificateRefused):
    """The signature of the server's certificate, or of an authority above it, is not valid."""

    reason = "certificate_bad_signature"


class CertificateMalformed(CertificateRefused):
    """The server's certificate, or that of an authority above it, is not as certificates have to be."""

    reason = "certificate_malformed"


class PinMismatch(CertificateRefused):
    """The server's key is none of those that this proxy's settings name for it."""

    reason = "certificate_pin_mismatch"
