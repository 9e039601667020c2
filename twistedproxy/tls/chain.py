"""A chain of certificates in words, for a person. Whatever is in a certificate, anybody may have made up."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import NameOID
from OpenSSL import crypto

from twistedproxy.settings.spelling import printable

MOST: Final = 6
"""How many certificates are told of."""

UNREADABLE: Final = "a certificate that cannot be read"

_LONGEST: Final = 100
"""Characters of a name."""


def as_sent(certificates: Iterable[crypto.X509]) -> list[x509.Certificate | None]:
    """Each of these certificates in its place; None in that of one that cannot be read."""
    read: list[x509.Certificate | None] = []
    for certificate in certificates:
        try:
            read.append(parsed(certificate))
        except ValueError:
            read.append(None)
    return read


def parsed(certificate: crypto.X509) -> x509.Certificate:
    """OpenSSL's certificate, taken apart. Raises ValueError where that cannot be done."""
    with warnings.catch_warnings():
        # What is odd about it is found by who looks for it.
        warnings.simplefilter("ignore")
        try:
            return certificate.to_cryptography()
        except x509.InvalidVersion as error:
            raise ValueError(str(error)) from None


def summary(chain: Sequence[x509.Certificate | None]) -> list[str]:
    """One line for each: subject, issuer, validity, key and signature. Those beyond `MOST` are only counted."""
    lines = [
        f"subject {subject(one)}; issuer {issuer(one)}; {_validity(one)}; {key(one)}; {signature(one)}"
        if one is not None
        else UNREADABLE
        for one in chain[:MOST]
    ]
    if len(chain) > MOST:
        lines.append(f"and {len(chain) - MOST} more")
    return lines


def extensions(certificate: x509.Certificate) -> x509.Extensions:
    """Its extensions. Raises ValueError where there is one that cannot be read, or one twice."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return certificate.extensions
    except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise ValueError(str(error)) from None


def subject(certificate: x509.Certificate) -> str:
    """Whom it is for: the common name where there is one, else all of the name; quoted and short."""
    return _name(certificate, "subject")


def issuer(certificate: x509.Certificate) -> str:
    """Who has signed it, in the same way."""
    return _name(certificate, "issuer")


def key(certificate: x509.Certificate) -> str:
    """The kind and size of its key."""
    try:
        public = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return "a key of an unknown kind"
    match public:
        case rsa.RSAPublicKey():
            return f"RSA {public.key_size}"
        case ec.EllipticCurvePublicKey():
            return f"EC {printable(public.curve.name)}"
        case dsa.DSAPublicKey():
            return f"DSA {public.key_size}"
    return type(public).__name__.strip("_").removesuffix("PublicKey")


def signature(certificate: x509.Certificate) -> str:
    """What its signature was made with."""
    algorithm = certificate.signature_algorithm_oid
    known = algorithm._name
    return f"signed with {algorithm.dotted_string[:_LONGEST] if known == 'Unknown OID' else known}"


def _name(certificate: x509.Certificate, which: str) -> str:
    try:
        name: x509.Name = getattr(certificate, which)
        common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
        text = f"CN={_text(common[-1].value)}" if common else name.rfc4514_string()
    except ValueError:
        return "that cannot be read"
    return quoted(text)


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.hex()


def quoted(text: str) -> str:
    """A name out of a certificate, short and on one line, so that it cannot be taken for words of ours."""
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return '"' + printable(cut.replace('"', "'")) + '"'


def _validity(certificate: x509.Certificate) -> str:
    try:
        starts, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except ValueError:
        return "valid at no time that can be read"
    return f"valid {starts:%Y-%m-%d} to {ends:%Y-%m-%d}"
