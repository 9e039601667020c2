"""What the settings say of servers, with the files that they name read: whom to trust for which, and what to show whom.

The files are read when the settings are, at the start and at a reload; connections read none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

from twistedproxy.access.hosts import HostSet
from twistedproxy.reading import Unreadable, Unusable, read_regular
from twistedproxy.settings.load import Fault
from twistedproxy.settings.paths import expand_credential
from twistedproxy.settings.problems import Unfit
from twistedproxy.settings.types import Settings
from twistedproxy.settings.upstream_hosts import pin_bytes
from twistedproxy.settings.upstream_tls import UpstreamHost, UpstreamTLSSettings
from twistedproxy.tls.anchors import NOBODY, Anchors, certificates

_LARGEST: Final = 4 * 1024 * 1024
"""Bytes of a file."""

_EXPOSED: Final = "has a private key that everybody can read: chmod o-rwx it, or make a new one"

_VERSIONS: Final = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


class TrustError(Unusable):
    """A file that the settings name cannot be used. The text says which, and why."""


@dataclass(frozen=True, slots=True, eq=False)
class ClientCertificate:
    """What is shown to a server that asks who we are: the certificate, those above it, and its private key."""

    certificate: x509.Certificate
    above: tuple[x509.Certificate, ...]
    key: PrivateKeyTypes


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """How some servers are treated. ``pins`` are digests of public keys; ``own_anchors`` come beside those for all."""

    verify: bool = True
    pins: frozenset[bytes] = frozenset()
    own_anchors: Anchors = NOBODY
    client: ClientCertificate | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Trust:
    """What the settings come to. Made with `of`."""

    settings: UpstreamTLSSettings
    anchors: Anchors
    usual: Policy
    special: tuple[tuple[HostSet, Policy], ...]

    @classmethod
    def of(cls, settings: UpstreamTLSSettings, environment: Mapping[str, str] = os.environ) -> Trust:
        """Read what ``settings`` name. Raises `TrustError`."""
        anchors = Anchors()
        for path in settings.anchors:
            anchors = anchors.and_also(read_anchors(path, environment))
        special = tuple((HostSet(host.names), _policy(host, environment)) for host in settings.hosts)
        return cls(settings, anchors, Policy(), special)

    def __repr__(self) -> str:
        return f"<Trust {self.anchors!r} hosts={len(self.special)}>"

    @property
    def versions(self) -> tuple[int, int]:
        """The lowest and the highest version of TLS, as OpenSSL numbers them."""
        return _VERSIONS[self.settings.min_version], _VERSIONS[self.settings.max_version]

    def policy(self, host: str) -> Policy:
        """How the server ``host`` is treated."""
        for hosts, policy in self.special:
            if host in hosts:
                return policy
        return self.usual


def faults(settings: Settings, environment: Mapping[str, str] = os.environ) -> Iterator[tuple[str, Fault]]:
    """What is wrong with the files that ``settings`` name, by key path; for `twistedproxy.settings.sources.Sources`."""
    wanted = settings.upstream_tls
    if wanted.min_version > wanted.max_version:
        key = "min_version" if wanted.min_version != "1.2" else "max_version"
        text = f"{wanted.min_version} is more than upstream_tls.max_version ({wanted.max_version})"
        if key == "max_version":
            text = f"{wanted.max_version} is less than upstream_tls.min_version ({wanted.min_version})"
        yield f"upstream_tls.{key}", Fault(text)
    for number, path in enumerate(wanted.anchors):
        try:
            read_anchors(path, environment)
        except TrustError as error:
            yield "upstream_tls.anchors", Fault(str(error), number)
    for number, host in enumerate(wanted.hosts):
        for place, path in enumerate(host.anchors):
            try:
                read_anchors(path, environment)
            except TrustError as error:
                yield "upstream_tls.hosts", Fault(str(error), number, f"anchors[{place}]")
        try:
            _client_certificate(host, environment)
        except TrustError as error:
            yield "upstream_tls.hosts", Fault(str(error), number, "certificate")


def read_anchors(path: str, environment: Mapping[str, str] = os.environ) -> Anchors:
    """The authorities in a file. Raises `TrustError`."""
    found = certificates(_content(path, environment))
    if not found:
        raise TrustError(f"there is no certificate in {path}")
    return Anchors(found)


def _policy(host: UpstreamHost, environment: Mapping[str, str]) -> Policy:
    own = Anchors()
    for path in host.anchors:
        own = own.and_also(read_anchors(path, environment))
    pins = frozenset(map(pin_bytes, host.pins))
    return Policy(host.verify, pins, own, _client_certificate(host, environment))


def _client_certificate(host: UpstreamHost, environment: Mapping[str, str]) -> ClientCertificate | None:
    if not host.certificate:
        return None
    content = _content(host.certificate, environment, secret=not host.key)
    try:
        first, *above = x509.load_pem_x509_certificates(content)
    except ValueError:
        raise TrustError(f"there is no certificate in {host.certificate}") from None
    path = host.key or host.certificate
    pem = _content(path, environment, secret=True) if host.key else content
    try:
        key = load_pem_private_key(pem, None)
    except TypeError:
        raise TrustError(f"the private key in {path} has a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise TrustError(f"there is no private key in {path}") from None
    if key.public_key() != first.public_key():
        raise TrustError(f"the private key in {path} is not that of the certificate in {host.certificate}")
    client = ClientCertificate(first, tuple(above), key)
    try:
        show(client, SSL.Context(SSL.TLS_CLIENT_METHOD))
    except (SSL.Error, ValueError, TypeError):
        raise TrustError(f"OpenSSL does not take the certificate in {host.certificate}: is its key too weak?") from None
    return client


def show(client: ClientCertificate, context: SSL.Context) -> None:
    """Let connections of ``context`` show it to servers that ask."""
    context.use_certificate(client.certificate)
    context.use_privatekey(client.key)  # type: ignore[arg-type]  # any that OpenSSL knows
    for certificate in client.above:
        context.add_extra_chain_cert(certificate)


def _content(path: str, environment: Mapping[str, str], *, secret: bool = False) -> bytes:
    try:
        return read_regular(expand_credential(path, environment), _LARGEST, secret=_EXPOSED if secret else "")
    except Unfit as unfit:
        raise TrustError(f"expected {unfit.expected}") from None
    except Unreadable as error:
        raise TrustError(str(error)) from None
