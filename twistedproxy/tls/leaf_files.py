"""Leaves in a directory, so that a restart, and the other workers, need not make them again.

Theory of operation. Each authority has a directory, by its fingerprint, since the leaves of another one are of no use;
in it are the key that all leaves have, and a file for each leaf. Files come into being whole (see `authority_files`),
and when two workers make the key at the same time the first one's stays. A leaf's file is no secret and can be made
again, so that it is not brought to the disk before anything else happens, and whatever cannot be read is as good as
nothing. When there are ``most`` files the oldest quarter goes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from twistedproxy.tls.authority import Authority, AuthorityError
from twistedproxy.tls.authority_files import make_private, read_private, write_file

DIRECTORY: Final = "leaves"
"""The directory's name, in that of the authority."""

KEY_FILE: Final = "key.pem"
_SUFFIX: Final = ".der"
_LARGEST: Final = 64 * 1024
_ANYBODY_ELSE: Final = 0o077


class LeafFiles:
    """The leaves of ``authority`` in ``directory``, at most ``most``. Raises `AuthorityError` when it cannot be
    used."""

    def __init__(self, directory: Path, authority: Authority, most: int) -> None:
        self._most = most
        self._directory = directory / DIRECTORY / authority.fingerprint.replace(":", "").lower()[:32]
        try:
            make_private(directory)
            make_private(directory / DIRECTORY)
            make_private(self._directory)
            self._forget_others()
            self._key = self._read_key() or self._make_key()
            self._count = len(self._leaves())
        except OSError as error:
            raise AuthorityError(f"{error.filename or directory}: {error.strerror or error}") from None
        self.lost = 0
        """How many leaves could not be written."""

    def __repr__(self) -> str:
        return f"<LeafFiles {self._directory} about {self._count}>"

    def key(self) -> ec.EllipticCurvePrivateKey:
        """The key that all of its leaves have."""
        return self._key

    def find(self, name: str) -> x509.Certificate | None:
        """The leaf of that name; None where there is none, or something that is none."""
        try:
            with open(self._directory / f"{name}{_SUFFIX}", "rb") as file:
                return x509.load_der_x509_certificate(file.read(_LARGEST))
        except (OSError, ValueError, x509.InvalidVersion):
            return None

    def keep(self, name: str, certificate: x509.Certificate) -> None:
        """Write a leaf; where that fails, it is only counted."""
        path = self._directory / f"{name}{_SUFFIX}"
        try:
            is_new = not path.exists()
            if is_new and self._count >= self._most:
                self._make_room()
            write_file(path, certificate.public_bytes(Encoding.DER), 0o600, durable=False)
            self._count += is_new
        except OSError:
            self.lost += 1

    def _make_room(self) -> None:
        """Remove the oldest, those that other workers have written included."""
        aged: list[tuple[int, Path]] = []
        for path in self._leaves():
            try:
                aged.append((path.stat().st_mtime_ns, path))
            except FileNotFoundError:
                pass  # another worker was faster
        aged.sort()
        excess = max(0, len(aged) - (self._most - max(1, self._most // 4)))
        for _age, path in aged[:excess]:
            path.unlink(missing_ok=True)
        self._count = len(aged) - excess

    def _leaves(self) -> list[Path]:
        """The leaves, and with them what a process left that ended while it wrote one."""
        return [path for path in self._directory.iterdir() if path.name != KEY_FILE and path.is_file()]

    def _forget_others(self) -> None:
        """Remove what earlier authorities have signed."""
        for other in self._directory.parent.iterdir():
            if other != self._directory:
                shutil.rmtree(other, ignore_errors=True)

    def _read_key(self) -> ec.EllipticCurvePrivateKey | None:
        path = self._directory / KEY_FILE
        try:
            key = load_pem_private_key(read_private(path, _ANYBODY_ELSE), None)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, AuthorityError):
            # It can be made again, and the leaves with it.
            path.unlink(missing_ok=True)
            return None
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
            return key
        path.unlink(missing_ok=True)
        return None

    def _make_key(self) -> ec.EllipticCurvePrivateKey:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        descriptor, temporary = tempfile.mkstemp(prefix=".new-", dir=self._directory)
        try:
            with open(descriptor, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(descriptor)
            # Unlike a renaming, this leaves the key of whoever was faster.
            os.link(temporary, self._directory / KEY_FILE)
        except FileExistsError:
            other = self._read_key()
            return key if other is None else other
        finally:
            os.unlink(temporary)
        return key
