"""What the page for clients tells: the same facts for every form that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from twistedproxy.access.interception import ALL_BUT, LISTED, OFF
from twistedproxy.portal.names import ADDRESS
from twistedproxy.portal.variables import script
from twistedproxy.tls.authority import Authority, Format


class Download(NamedTuple):
    """One form of the certificate: its path on the page, the name of the file, its media type, and who wants it."""

    path: str
    file: str
    media_type: str
    format: Format
    title: str
    purpose: str


DOWNLOADS: Final[Sequence[Download]] = (
    Download(
        *("/ca.pem", "twistedproxy-ca-cert.pem", "application/x-pem-file", "pem"),
        title="PEM",
        purpose="Linux, macOS, Firefox, programs",
    ),
    Download(
        *("/ca.cer", "twistedproxy-ca-cert.cer", "application/x-x509-ca-cert", "der"),
        title="DER",
        purpose="Android, iOS, Windows",
    ),
    Download(
        *("/ca.p12", "twistedproxy-ca-cert.p12", "application/x-pkcs12", "p12"),
        title="PKCS #12",
        purpose="what takes nothing else; no password",
    ),
)

SECRET: Final = (
    "Whoever has its key can be any site for you, on any network. Trust it only if you agree to be looked at, and know "
    "who runs this proxy. Take it out again when you no longer use the proxy."
)

COMPARE: Final = (
    "Anybody on the way could have changed this page. Before you trust the certificate, compare its SHA-256 "
    "fingerprint with the one that the proxy's operator tells you (pyproxyctl ca shows it to them)."
)

_UNSEEN: Final = "sees the names of the servers, and how many bytes pass"
_WHOM: Final[Mapping[str, str]] = MappingProxyType(
    {
        LISTED: "with the sites that its operator has chosen",
        ALL_BUT: "with all sites but those that its operator leaves alone",
    }
)


class Certificate(NamedTuple):
    """What is told of the authority: its name (RFC 4514), its SHA-256 fingerprint, and the day on which it ends."""

    subject: str
    fingerprint: str
    ends: str

    @classmethod
    def of(cls, authority: Authority) -> Certificate:
        """What is public of it."""
        return cls(authority.subject, authority.fingerprint, f"{authority.ends:%Y-%m-%d}")


@dataclass(frozen=True, slots=True)
class Facts:
    """What one client is told.

    ``name`` is the proxy's pseudonym, ``mode`` that of `intercept`, `OFF` also where it comes to nothing. ``looked_at``
    says whether tunnels of that client's address are looked into. Without a ``certificate`` there is none to be had.
    ``proxy`` is the proxy's URL, or empty.
    """

    name: str
    mode: str
    client: str
    looked_at: bool
    certificate: Certificate | None
    proxy: str

    @property
    def http(self) -> str:
        """What it sees of requests that are not protected."""
        return "It sees all that you send and all that comes back, as everybody on the way does."

    @property
    def https(self) -> tuple[str, str]:
        """What it sees of those that are, and what there is to say besides."""
        if self.mode == OFF:
            return f"It does not look inside: it {_UNSEEN}.", "You need no certificate for that."
        whom = _WHOM[self.mode]
        if not self.looked_at:
            own = f"It does not look inside your connections (your address is {self.client}): it {_UNSEEN}."
            return f"{own} You need not trust its certificate.", f"It does look inside those of others {whom}."
        rest = f"Of the others it {_UNSEEN}."
        if self.certificate is None:
            planned = f"It is to look inside your connections {whom}, but its certificate authority cannot be used."
            return f"{planned} They are refused until its operator has put that right.", rest
        return f"It looks inside your connections {whom}: it sees all that you send there, passwords too.", rest

    @property
    def variables(self) -> Sequence[str]:
        """Lines for a shell; none when it is not known where the proxy is."""
        if not self.proxy:
            return ()
        return script(self.proxy, f"{ADDRESS}ca.pem" if self.certificate else "")
