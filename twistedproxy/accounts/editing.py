"""Changes to a file of accounts: one line of it, while all the others stay as they are, comments too.

Who reads the file finds the old one or the new one. Two that change it at the same time take turns.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from twistedproxy.accounts.files import LARGEST, Mistake, lines_of, split_account
from twistedproxy.replacing import replace_content

Belongs = Callable[[bytes], bool]
"""Whether a line, without the white space around it, is the one that is meant."""


def line_of(name: bytes, realm: bytes | None = None) -> Belongs:
    """What finds the line of ``name``, in a file of digests that of ``realm``."""

    def belongs(line: bytes) -> bool:
        try:
            there, rest = split_account(line)
        except Mistake:
            return False
        return there == name and (realm is None or rest.rpartition(b":")[0] == realm)

    return belongs


def with_line(content: bytes, belongs: Belongs, line: bytes | None) -> tuple[bytes, int]:
    """``content`` with ``line`` in the place of the one that is meant, or at the end, or without one when it is None.

    And how many there were; of several only the first is kept.
    """
    said = dict(lines_of(content))
    kept: list[bytes] = []
    count = 0
    pieces = content.split(b"\n")
    if pieces[-1] == b"":
        pieces.pop()
    for number, piece in enumerate(pieces, 1):
        if number not in said or not belongs(said[number]):
            kept.append(piece)
            continue
        count += 1
        if line is not None and count == 1:
            kept.append(line)
    if line is not None and not count:
        kept.append(line)
    return b"".join(piece + b"\n" for piece in kept), count


def names_in(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The number of each line that has an account, its name and what follows; lines that have none are left out."""
    for number, line in lines_of(content):
        try:
            name, rest = split_account(line)
        except Mistake:
            continue
        yield number, name, rest


def read(path: Path) -> bytes:
    """What is in the file; nothing when there is none. Raises `OSError`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return b""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(content) > LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    return content


def store(path: Path, content: bytes) -> None:
    """Let the file have ``content``. Raises `OSError`, and nothing has changed then.

    A new file is for its owner only. One that is there keeps its owner, group and mode, but is nobody else's to read.
    """
    path = Path(os.path.realpath(path))
    try:
        before = os.stat(path)
    except FileNotFoundError:
        before = None

    def shape(descriptor: int) -> None:
        if before is None:
            os.fchmod(descriptor, 0o600)
            return
        own = os.fstat(descriptor)
        if (own.st_uid, own.st_gid) != (before.st_uid, before.st_gid):
            os.fchown(descriptor, before.st_uid, before.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(before.st_mode) & ~(stat.S_IRWXO | 0o111))

    replace_content(path, content, shape, prefix=f".{path.name}.")


@contextmanager
def taking_turns(path: Path) -> Iterator[None]:
    """While this lasts, others that change a file in the same directory wait. Raises `OSError`."""
    # The file itself is replaced, and a lock on it would stay with the old one.
    descriptor = os.open(os.path.dirname(os.path.realpath(path)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
