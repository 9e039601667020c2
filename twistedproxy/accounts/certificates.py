"""Certificates of clients: what a verified one says of whose it is, and whose that makes it.

Theory of operation. The handshake has shown that the client has the key of a certificate, and that an authority which
the operator trusts has signed it; what is left is a name. Where the operator has said whose a certificate is, that goes
first. Else the name stands in the first of the fields that the settings list and the certificate has. What could be one
name or another is none: two entries that disagree, or two common names, name nobody.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID
from twisted.cred.credentials import ICredentials
from zope.interface import Attribute, implementer

from twistedproxy.settings.account_entries import check_name
from twistedproxy.settings.accounts import CertificateAccount
from twistedproxy.settings.problems import Unfit

MOST_NAMES: Final = 100
"""Alternative names of a certificate; one with more names nobody."""

Key = tuple[str, object]
"""By what a certificate is known: a key of `CertificateAccount`, and what stands there."""


class IVerifiedCertificate(ICredentials):
    """Credentials for `twisted.cred`: the certificate of a client that has proven in its handshake that it has the key.

    Nothing about it is left to verify but whether it is somebody's here.
    """

    certificate = Attribute("The client's certificate: a `cryptography.x509.Certificate`.")
    chain = Attribute("It and those above it, up to the one that is trusted: a tuple of them.")
    name = Attribute("The name that it has, in UTF-8, by the settings; empty where it has none.")


class Said(NamedTuple):
    """What a certificate says of its client. ``fields`` has the texts of each of `CERTIFICATE_FIELDS`."""

    keys: frozenset[Key]
    fields: Mapping[str, Sequence[str]]


@implementer(IVerifiedCertificate)
class VerifiedCertificate:
    """What a client has shown in its handshake. ``chain`` begins with its own."""

    __slots__ = ("_said", "chain", "name", "sha256")

    def __init__(self, chain: tuple[x509.Certificate, ...]) -> None:
        self.chain = chain
        self.sha256 = chain[0].fingerprint(SHA256())
        self.name = b""
        self._said: Said | None = None

    def __repr__(self) -> str:
        return f"<VerifiedCertificate {self.sha256.hex()[:16]} {self.name!r}>"

    @property
    def certificate(self) -> x509.Certificate:
        """The client's own."""
        return self.chain[0]

    @property
    def said(self) -> Said:
        """What it says; read once."""
        if self._said is None:
            self._said = _read(self.certificate, self.sha256)
        return self._said


class CertificateNaming:
    """Whose a certificate is, by ``entries`` and then by its own ``fields``. Raises ValueError for a bad subject."""

    def __init__(self, entries: Iterable[CertificateAccount], fields: Sequence[str]) -> None:
        self._fields = fields
        self._names: dict[Key, set[bytes]] = {}
        for entry in entries:
            self._names.setdefault(key_of(entry), set()).add(entry.name.encode())

    def __repr__(self) -> str:
        return f"<CertificateNaming entries={len(self._names)} fields={','.join(self._fields)}>"

    def name(self, said: Said) -> bytes:
        """The account's name; empty where there is none, or more than one."""
        names: set[bytes] = set()
        for key in said.keys:
            names |= self._names.get(key, set())
        if names:
            return names.pop() if len(names) == 1 else b""
        for field in self._fields:
            texts = set(said.fields.get(field, ()))
            if texts:
                return _as_name(texts.pop()) if len(texts) == 1 else b""
        return b""


def key_of(entry: CertificateAccount) -> Key:
    """By what ``entry`` knows a certificate. Raises ValueError where its subject cannot be read."""
    if entry.subject:
        return "subject", x509.Name.from_rfc4514_string(entry.subject)
    if entry.sha256:
        return "sha256", bytes.fromhex(entry.sha256.replace(":", ""))
    for field in ("email", "dns", "uri"):
        text = getattr(entry, field)
        if text:
            return field, text
    raise ValueError("it knows no certificate")


def _as_name(text: str) -> bytes:
    """``text`` as the name of an account; empty where it cannot be one, such as a URI, which has a colon."""
    try:
        check_name(text)
        return text.encode()
    except (Unfit, UnicodeEncodeError):
        return b""


def _read(certificate: x509.Certificate, sha256: bytes) -> Said:
    """What a certificate says; of one that cannot be read, no more than which one it is."""
    by_print: Key = ("sha256", sha256)
    with warnings.catch_warnings():
        # What is odd about it does not matter here.
        warnings.simplefilter("ignore")
        try:
            subject = certificate.subject
            fields = {
                "cn": [str(one.value) for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)],
                **_alternative_names(certificate),
            }
        except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
            return Said(frozenset((by_print,)), {})
    if sum(map(len, fields.values())) > MOST_NAMES:
        return Said(frozenset((by_print,)), {})
    keys: set[Key] = {by_print, ("subject", subject)}
    keys.update((field, text) for field, texts in fields.items() if field != "cn" for text in texts)
    return Said(frozenset(keys), fields)


def _alternative_names(certificate: x509.Certificate) -> dict[str, list[str]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return {}
    return {
        "email": names.get_values_for_type(x509.RFC822Name),
        "dns": names.get_values_for_type(x509.DNSName),
        "uri": names.get_values_for_type(x509.UniformResourceIdentifier),
    }
