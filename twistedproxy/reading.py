"""Files that the settings name, read whole: regular ones only, up to a size, and secrets only when they are kept."""

from __future__ import annotations

import os
import stat
from typing import Final, TypeAlias

EXPOSED: Final = "can be read by everybody: chmod o-rwx it"
"""What is said of a secret that is none."""

Stamp: TypeAlias = tuple[int, int, int] | None


class Unreadable(Exception):
    """A file cannot be read, or must not be. The text says which, and why; a path in it is as it was given."""


class Unusable(Exception):
    """What the settings name cannot be used. The text says which file, or what it is, and why."""


def stamp(path: str) -> Stamp:
    """What tells one file from the next of its name; None when there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def read_regular(path: str, largest: int, *, secret: str = "") -> bytes:
    """What is in the regular file at ``path``, of ``largest`` bytes at most. Raises `Unreadable`.

    One that is a ``secret`` must not be readable by everybody; the text is what is said when it is.
    """
    try:
        # A FIFO would be waited for without end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable(f"{path} is no regular file")
        if secret and status.st_mode & stat.S_IRWXO:
            raise Unreadable(f"{path} {secret}")
        if status.st_size > largest:
            raise Unreadable(f"{path} is larger than {largest} bytes")
        with open(descriptor, "rb", closefd=False) as file:
            # It may grow meanwhile.
            return file.read(largest)
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error.strerror or error}") from error
    finally:
        os.close(descriptor)
