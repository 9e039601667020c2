"""Where the proxy's own authority is kept: a directory of its own, in which nothing is ever half-written.

Theory of operation. The file with the key is the authority; the others are made from it, for people to hand out. A file
is written under another name, brought to the disk, and put in its place in one step. Whoever is about to write holds a
lock on the directory itself, which leaves no file and ends with the process, so that of several processes that need the
authority at the same time one makes it and the others read it. What a process that died has left undone, the next one
does.

A key that other users can read is no secret any more: it is refused, and not quietly made private.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import pkcs12

from twistedproxy.replacing import replace_content
from twistedproxy.tls.authority import Authority, AuthorityError, Format, make_authority, read_authority

DIRECTORY: Final = "ca"
"""The directory's name, in that of the state."""

KEY_FILE: Final = "twistedproxy-ca.pem"
CERTIFICATE_FILES: Final[dict[str, Format]] = {
    "twistedproxy-ca-cert.pem": "pem",
    "twistedproxy-ca-cert.cer": "der",
    "twistedproxy-ca-cert.p12": "p12",
}

LARGEST_PEM: Final = 1024 * 1024
"""Bytes; a key and a chain have a few thousand."""

_UNFINISHED: Final = ".new-"
_ANYBODY_ELSE: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def own_authority(directory: Path, now: datetime) -> Authority:
    """The proxy's own authority, made now where there is none. Raises `AuthorityError`."""
    with _in_words(directory), _locked(directory):
        path = directory / KEY_FILE
        if not path.exists():
            authority = make_authority(now)
            write_file(path, authority.private_pem(), 0o600)
        else:
            authority = _read(path, _ANYBODY_ELSE, "own")
        _complete(directory, authority)
        return authority


def existing_authority(directory: Path) -> Authority | None:
    """The proxy's own authority where there is one; nothing is made. Raises `AuthorityError`."""
    with _in_words(directory):
        path = directory / KEY_FILE
        return _read(path, _ANYBODY_ELSE, "own") if path.exists() else None


def operators_authority(path: Path) -> Authority:
    """The operator's authority. Raises `AuthorityError`.

    The file's group may read it: that is how systemd hands out credentials, and how keys are shared on Debian.
    """
    with _in_words(path):
        return _read(path, stat.S_IRWXO | stat.S_IWGRP, "operator")


def renew_authority(directory: Path, now: datetime) -> Authority:
    """A new authority in the place of the old one, whose files stay beside it. Raises `AuthorityError`.

    Their names get a dot and the time, such as ``twistedproxy-ca.pem.20270131T120000Z``.
    """
    with _in_words(directory), _locked(directory):
        authority = make_authority(now)
        suffix = _unused_suffix(directory, f"{now:%Y%m%dT%H%M%SZ}")
        for name in (KEY_FILE, *CERTIFICATE_FILES):
            # A second name, so that the first one is never without a file.
            try:
                os.link(directory / name, directory / f"{name}.{suffix}", follow_symlinks=False)
            except FileNotFoundError:
                pass
        write_file(directory / KEY_FILE, authority.private_pem(), 0o600)
        _complete(directory, authority)
        return authority


def files_of(directory: Path) -> list[str]:
    """The paths of the files that an own authority has."""
    return [str(directory / name) for name in (KEY_FILE, *CERTIFICATE_FILES)]


def write_file(path: Path, content: bytes, mode: int, *, durable: bool = True) -> None:
    """Let ``path`` have this content in one step; ``durable``: also after a power cut. Raises OSError."""
    replace_content(path, content, lambda file: os.fchmod(file, mode), prefix=_UNFINISHED, durable=durable)
    if durable:
        _sync_directory(path.parent)


def make_private(directory: Path) -> None:
    """Make a directory for this user alone; AuthorityError when it is there and others may write to it."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.stat()
    if status.st_uid not in (os.geteuid(), 0) or status.st_mode & _OTHERS_WRITE:
        raise AuthorityError(f"other users may write to {directory}: chmod 700 it, and see what is in there")


def read_private(path: Path, forbidden: int) -> bytes:
    """A file of secrets. `AuthorityError` when somebody may use it whom ``forbidden``, permission bits, names."""
    # A FIFO would be waited for without end.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise AuthorityError(f"{path} is no regular file")
        if status.st_mode & forbidden or status.st_uid not in (os.geteuid(), 0):
            raise AuthorityError(
                f"{path} has a private key that other users can read (mode {stat.S_IMODE(status.st_mode):04o}, "
                f"owner {status.st_uid}): it may be known to them. If it is not: chmod 600 {path}"
            )
        if status.st_size > LARGEST_PEM:
            raise AuthorityError(f"{path} is too large for a key and its certificates")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(LARGEST_PEM)
    finally:
        os.close(descriptor)


def _read(path: Path, forbidden: int, origin: str) -> Authority:
    content = read_private(path, forbidden)
    try:
        return read_authority(content, "own" if origin == "own" else "operator")
    except AuthorityError as error:
        raise AuthorityError(f"{path}: {error}") from None


def _complete(directory: Path, authority: Authority) -> None:
    """Write the files that are made from the authority, where they are not there or another one's."""
    for name, format in CERTIFICATE_FILES.items():
        path = directory / name
        content = authority.export(format)
        if not (path.exists() and _is_current(path.read_bytes(), content, authority)):
            write_file(path, content, 0o644)


def _is_current(there: bytes, wanted: bytes, authority: Authority) -> bool:
    if there == wanted:
        return True
    try:
        # One of PKCS #12 has salt in it, and is never the same twice.
        held = pkcs12.load_pkcs12(there, None)
    except ValueError:
        return False
    return [one.certificate for one in held.additional_certs] == [authority.certificate]


def _unused_suffix(directory: Path, stem: str) -> str:
    suffix, number = stem, 1
    while (directory / f"{KEY_FILE}.{suffix}").exists():
        number += 1
        suffix = f"{stem}-{number}"
    return suffix


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep other processes, and other threads, from writing to ``directory`` meanwhile."""
    make_private(directory)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for left in directory.glob(f"{_UNFINISHED}*"):
            # Of a process that ended while it wrote a file; it may be a key.
            left.unlink()
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AuthorityError(f"{error.filename or path}: {error.strerror or error}") from None


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
