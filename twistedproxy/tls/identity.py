"""Whether a certificate is for the server that was asked for (RFC 9525): by its alternative names, never by others."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID
from service_identity import VerificationError
from service_identity.exceptions import CertificateError
from service_identity.hazmat import (
    DNS_ID,
    CertificatePattern,
    DNSPattern,
    IPAddress_ID,
    IPAddressPattern,
    verify_service_identity,
)

from twistedproxy.tls.certificate_errors import (
    CertificateForOtherAddresses,
    CertificateForOtherNames,
    CertificateMalformed,
    CertificateWithoutNames,
)
from twistedproxy.tls.chain import extensions, quoted
from twistedproxy.tls.findings import Finding
from twistedproxy.tls.names import InvalidName, canonical_name

_SHOWN: Final = 5
"""Names of a certificate that are told."""

_A_LABEL: Final = "xn--"


class Identity:
    """Who a server has to be: ``host`` is a name, also an international one or with a dot at its end, or an address."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._id: DNS_ID | IPAddress_ID | None = None
        self.server_name: bytes | None = None
        """What goes into the ClientHello; none for an address (RFC 6066 section 3)."""
        try:
            name = canonical_name(host)
        except InvalidName:
            # No certificate is for that.
            return
        if isinstance(name, str):
            self._id = DNS_ID(name)
            self.server_name = name.encode("ascii")
        else:
            self._id = IPAddress_ID(str(name))

    def __repr__(self) -> str:
        return f"<Identity {self.host}>"

    def check(self, certificate: x509.Certificate) -> Finding | None:
        """What is wrong with ``certificate`` as a proof of this identity; None where nothing is."""
        try:
            names = extensions(certificate).get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return Finding(CertificateWithoutNames, f"it has no alternative names{_common_name(certificate)}")
        except ValueError as error:
            return Finding(CertificateMalformed, f"its extensions cannot be read ({quoted(str(error))})")
        patterns = list(_patterns(names))
        if self._id is not None:
            try:
                verify_service_identity(patterns, [self._id], [])
                return None
            except (VerificationError, CertificateError):
                if isinstance(self._id, DNS_ID) and _stands_for(patterns, self._id.hostname):
                    return None
        if isinstance(self._id, IPAddress_ID):
            return Finding(CertificateForOtherAddresses, f"it is for {_told(names)}")
        if not patterns and not names.get_values_for_type(x509.DNSName):
            return Finding(
                CertificateWithoutNames, f"it has no alternative names that are hosts{_common_name(certificate)}"
            )
        return Finding(CertificateForOtherNames, f"it is for {_told(names)}")


def _patterns(names: x509.SubjectAlternativeName) -> Iterator[CertificatePattern]:
    """What service-identity compares with; a name that means nothing does not spoil those beside it."""
    for name in names:
        try:
            if isinstance(name, x509.DNSName):
                pattern = DNSPattern.from_bytes(name.value.encode("ascii"))
                label, _, _parent = pattern.pattern.partition(b".")
                # RFC 9525 section 6.3: the wildcard is the whole label, or none.
                if b"*" not in label or label == b"*":
                    yield pattern
            elif isinstance(name, x509.IPAddress) and isinstance(name.value, IPv4Address | IPv6Address):
                yield IPAddressPattern(name.value)
        except (CertificateError, UnicodeError):
            continue


def _stands_for(patterns: list[CertificatePattern], hostname: bytes) -> bool:
    """Whether a wildcard stands for an A-label, which service-identity does not let it; RFC 9525 section 6.3 does."""
    label, _, parent = hostname.partition(b".")
    return label.startswith(_A_LABEL.encode()) and DNSPattern(b"*." + parent) in patterns


def _told(names: x509.SubjectAlternativeName) -> str:
    shown = [quoted(str(getattr(name, "value", name))) for _, name in zip(range(_SHOWN), names, strict=False)]
    more = len(list(names)) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") if shown else "nobody"


def _common_name(certificate: x509.Certificate) -> str:
    try:
        found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        return ""
    return f", only the common name {quoted(str(found[0].value))}" if found else ""
