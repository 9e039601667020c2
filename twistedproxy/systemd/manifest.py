"""What an installation has made, written down so that all of it can be removed, and nothing else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from twistedproxy.systemd.steps import InstallationError

_FORMAT = 1


class Manifest(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """All paths are absolute. It is written before the rest, so it may name what an interrupted installation lacks."""

    format: int = _FORMAT
    files: tuple[str, ...] = ()
    """What the operator is not expected to change."""
    settings: dict[str, str] = msgspec.field(default_factory=dict)
    """The operator's files, and the digest of what was written into each."""
    directories: tuple[str, ...] = ()
    """Those that were not there before, each after the one it is in."""
    units: tuple[str, ...] = ()
    account: str = ""
    """The account that was not there before."""


def digest(content: bytes) -> str:
    """What tells whether a file has been changed: SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def manifest_text(manifest: Manifest) -> str:
    """The manifest as JSON for a file."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2).decode() + "\n"


def read_manifest(path: Path) -> Manifest | None:
    """The manifest in the file ``path``; None when there is no file, `InstallationError` when it is no manifest."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InstallationError(f"{path} cannot be read: {error.strerror}") from error
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.MsgspecError as error:
        raise InstallationError(f"{path} is no record of an installation: {error}") from error
    if manifest.format != _FORMAT:
        raise InstallationError(f"{path} was written by another version of twistedproxy: remove it with that one")
    named = (*manifest.files, *manifest.settings, *manifest.directories)
    if not all(one.startswith("/") and ".." not in Path(one).parts for one in named):
        raise InstallationError(f"{path} is no record of an installation: it has paths that are not absolute")
    return manifest
