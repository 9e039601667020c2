"""Whom to trust: certificates out of files, and those of the system.

Theory of operation. Reading a system's 150 authorities takes OpenSSL 5 ms, and giving them to a store once they are
read 0.3 ms. So they are read once, and shared by the contexts of all settings, until their file is another one.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from OpenSSL import crypto
from twisted.logger import Logger

_BLOCK: Final = re.compile(
    rb"-----BEGIN ((?:TRUSTED )?CERTIFICATE|X509 CERTIFICATE)-----.+?-----END \1-----", re.DOTALL
)

# Where the distributions have theirs, for an OpenSSL that was built elsewhere: Debian, Fedora, SUSE, Alpine, BSD.
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
)
_DIRECTORIES: Final = ("/etc/ssl/certs", "/etc/pki/tls/certs")
_LARGEST: Final = 16 * 1024 * 1024
"""Bytes; those of a system have a few hundred thousand."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """Certificates that are trusted, and directories in which OpenSSL looks for more by the hash of their name."""

    certificates: tuple[crypto.X509, ...] = ()
    directories: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Anchors {len(self.certificates)}{''.join(f' {directory}' for directory in self.directories)}>"

    def fill(self, store: crypto.X509Store) -> None:
        """Let ``store`` trust them."""
        for certificate in self.certificates:
            store.add_cert(certificate)
        for directory in self.directories:
            try:
                store.load_locations(None, directory)
            except crypto.Error:
                continue

    def and_also(self, others: Anchors) -> Anchors:
        """These and ``others``."""
        return Anchors(self.certificates + others.certificates, self.directories + others.directories)


NOBODY: Final = Anchors()


class SystemAnchors:
    """Those of the system, by the variables SSL_CERT_FILE and SSL_CERT_DIR of ``environment`` or its own places."""

    _log = Logger()

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self._read: Anchors | None = None
        self._stamp: tuple[str, int, int, int] | None = None

    def __repr__(self) -> str:
        return f"<SystemAnchors {self._read!r}>"

    def anchors(self) -> Anchors:
        """What they are now."""
        file, directories = places(self._environment)
        stamp = None
        if file:
            try:
                status = os.stat(file)
                stamp = (file, status.st_ino, status.st_mtime_ns, status.st_size)
            except OSError:
                pass
        if self._read is None or stamp != self._stamp or self._read.directories != directories:
            self._read = Anchors(self._certificates(file), directories)
            self._stamp = stamp
        return self._read

    def _certificates(self, file: str) -> tuple[crypto.X509, ...]:
        if not file:
            return ()
        try:
            with open(file, "rb") as bundle:
                found = certificates(bundle.read(_LARGEST))
        except OSError as error:
            self._log.error("the system's authorities cannot be read from {file}: {error}", file=file, error=error)
            return ()
        if not found:
            self._log.error("there is no certificate in {file}, which has the system's authorities", file=file)
        return found


def places(environment: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """The system's file, empty for none, and its directories."""
    file, directory = environment.get("SSL_CERT_FILE"), environment.get("SSL_CERT_DIR")
    if file is not None or directory is not None:
        return file or "", tuple(part for part in (directory or "").split(":") if part)
    built_in = ssl.get_default_verify_paths()
    files = [path for path in (built_in.openssl_cafile, *_BUNDLES) if os.path.isfile(path)]
    directories = [path for path in (built_in.openssl_capath, *_DIRECTORIES) if os.path.isdir(path)]
    return (files[0] if files else ""), tuple(directories[:1])


def certificates(pem: bytes) -> tuple[crypto.X509, ...]:
    """The certificates in ``pem``; what is none, or cannot be read, is left out."""
    found = []
    for block in _BLOCK.finditer(pem):
        if block[1] == b"TRUSTED CERTIFICATE":
            # What it may be used for is in there too, and nobody would heed that.
            continue
        try:
            found.append(crypto.load_certificate(crypto.FILETYPE_PEM, block[0] + b"\n"))
        except crypto.Error:
            continue
    return tuple(found)
