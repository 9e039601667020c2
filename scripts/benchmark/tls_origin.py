"""The origin behind intercepting proxies: nginx with TLS, HTTP/1.1 and HTTP/2, at one name and at many addresses.

Its certificates come from an authority that is made for the run. Each address of 127.1.0.0/16 has one of its own, for
proxies that make a leaf of what they find there.
"""

from __future__ import annotations

import datetime
import ipaddress
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmark.origins import NGINX_HEAD, TLSOrigin, start_nginx, write_files
from benchmark.processes import free_ports
from benchmark.tls_load import NAME, PATTERN, address
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = datetime.timedelta(days=30)
DOWNLOAD_MIB = 64
"""The size of the file ``big``."""

NGINX_TLS = """
    ssl_certificate_key key.pem;
    server {
        listen 127.0.0.1:%(http1)d ssl backlog=4096;
        listen 127.0.0.1:%(http2)d ssl http2 backlog=4096;
        ssl_certificate certificates/known.pem;
        root files;
    }
    server {
%(listen)s
        ssl_certificate certificates/$server_addr.pem;
        root files;
    }
}
"""


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority with a key on P-256, for one run of the benchmark."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, title: str) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = _builder(_name(title), _name(title), key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(True, 0), critical=True).add_extension(usage, True)
        return cls(key, builder.sign(key, hashes.SHA256()))

    def sign(self, key: ec.EllipticCurvePublicKey, title: str, names: list[x509.GeneralName]) -> bytes:
        """The certificate of a server, as PEM."""
        # Squid 5 compares an address with the common name only.
        builder = _builder(_name(title), self.certificate.subject, key)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return builder.add_extension(identifier, False).sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def key_pem(self) -> bytes:
        return _key_pem(self.key)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _name(title: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, title)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + LIFETIME)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def start_tls_origin(directory: Path, stack: ExitStack, addresses: int) -> TLSOrigin:
    """Start it; ``stack`` stops it."""
    write_files(directory)
    (directory / "files" / "big").write_bytes(PATTERN * (DOWNLOAD_MIB * 2**20 // len(PATTERN)))
    authority = Authority.make("Authority of the benchmark's origin")
    (directory / "authority.pem").write_bytes(authority.certificate_pem())
    (directory / "authority.pem").chmod(0o644)
    key = ec.generate_private_key(ec.SECP256R1())
    (directory / "key.pem").write_bytes(_key_pem(key))
    certificates = directory / "certificates"
    certificates.mkdir()
    known: list[x509.GeneralName] = [x509.DNSName(NAME)]
    (certificates / "known.pem").write_bytes(authority.sign(key.public_key(), NAME, known))
    for number in range(addresses):
        text = address(number)
        names: list[x509.GeneralName] = [x509.IPAddress(ipaddress.ip_address(text))]
        (certificates / f"{text}.pem").write_bytes(authority.sign(key.public_key(), text, names))
    http1, http2 = free_ports(2)
    listen = "\n".join(f"        listen {address(number)}:{http1} ssl;" for number in range(addresses))
    (directory / "nginx.conf").write_text(NGINX_HEAD + NGINX_TLS % {"http1": http1, "http2": http2, "listen": listen})
    start_nginx(directory, http1, stack)
    return TLSOrigin(http1, http2, directory / "authority.pem", addresses)
