"""The files of the lists, in a directory of their own below the state directory.

Of a list there is ``NAME.HASH.image``, compiled, where the hash is that of what it was made from; of one that is
fetched also ``NAME.list``, as it came; and ``NAME.json``, which says when and how. ``prime`` has what names are hashed
with, for nobody else to read. The operator's own lists are ``local.list`` and ``local-allow.list``.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import secrets
import stat
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from twisted.logger import Logger

from twistedproxy.access.blocklists.image import Image, NoImage
from twistedproxy.access.blocklists.lists import Blocklists, OpenList
from twistedproxy.access.blocklists.table import is_prime, random_prime
from twistedproxy.access.hosts import HostSet
from twistedproxy.replacing import replace_content

DIRECTORY: Final = "blocklists"

_READ: Final = 1 << 18
_GZIP: Final = b"\x1f\x8b"


class BlocklistError(Exception):
    """A list cannot be used. The text says which, and why."""


class ListOrder(msgspec.Struct, frozen=True):
    """One list, as a worker is told of it: what is done with it, and the path of its image."""

    name: str
    category: str
    action: str
    allow: bool
    everybody: bool
    exceptions: tuple[str, ...]
    image: str


class ListOrders(msgspec.Struct, frozen=True):
    """The lists to go by, and the prime that their names are hashed with."""

    prime: int = 0
    lists: tuple[ListOrder, ...] = ()


class ListFiles:
    """The files in ``directory``, which is made when it is needed. What is not possible raises `OSError`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __repr__(self) -> str:
        return f"<ListFiles {self.directory}>"

    def image(self, name: str, made_from: str) -> Path:
        """Where the list ``name`` is, compiled from that."""
        mark = hashlib.blake2b(made_from.encode("utf-8", "replace"), digest_size=8).hexdigest()
        return self.directory / f"{name}.{mark}.image"

    def copy(self, name: str) -> Path:
        """Where the list ``name`` is as it came."""
        return self.directory / f"{name}.list"

    def facts(self, name: str) -> Path:
        """Where it is written down how it came."""
        return self.directory / f"{name}.json"

    def prime(self) -> int:
        """The prime that names are hashed with; made where there is none."""
        path = self.directory / "prime"
        with suppress(FileNotFoundError, ValueError):
            number = int(path.read_text("ascii").strip()[:32])
            if number.bit_length() == 59 and is_prime(number):
                return number
        self.make_directory()
        number = random_prime()
        replace_content(path, b"%d\n" % number, private, prefix=".prime-")
        return number

    def make_directory(self) -> None:
        """Have a directory, for the proxy's account alone."""
        os.makedirs(self.directory, mode=0o700, exist_ok=True)

    def keep(self, path: Path, content: bytes) -> None:
        """Let the file at ``path`` have ``content``."""
        self.make_directory()
        replace_content(path, content, private, prefix=f".{path.name}-")

    def beside(self, path: Path) -> Path:
        """A name for what may become the file at ``path``."""
        self.make_directory()
        return path.with_name(f".{path.name}-{secrets.token_hex(4)}")

    def forget(self, kept: Iterable[str], images: Iterable[str]) -> None:
        """Remove what there is of lists other than ``kept``, and all images but those at the paths ``images``."""
        names, used = set(kept), set(images)
        with suppress(FileNotFoundError):
            for path in self.directory.iterdir():
                known = path.suffix in (".list", ".json") and path.stem not in names
                if known or (path.suffix == ".image" and str(path) not in used):
                    path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove what was never finished, by a process that is not there any more."""
        with suppress(FileNotFoundError):
            for path in self.directory.glob(".*"):
                path.unlink(missing_ok=True)


class Opened:
    """The images that are mapped, each once, however often they are asked for."""

    _log = Logger()

    def __init__(self) -> None:
        self._images: dict[str, tuple[tuple[int, ...], Image]] = {}

    def __repr__(self) -> str:
        return f"<Opened {len(self._images)}>"

    def lists(self, orders: ListOrders) -> Blocklists | None:
        """What ``orders`` name; None when that is nothing. A list that cannot be opened is left out, and logged."""
        found: list[OpenList] = []
        images: dict[str, tuple[tuple[int, ...], Image]] = {}
        for one in orders.lists:
            try:
                image = images[one.image] = self._open(one.image, orders.prime)
            except (OSError, NoImage) as error:
                self._log.error("the list {name} cannot be opened: {error}", name=one.name, error=error)
                continue
            exceptions = HostSet(one.exceptions)
            found.append(OpenList(one.name, one.category, one.action, one.allow, one.everybody, exceptions, image[1]))
        self._images = images
        return Blocklists(found, orders.prime) if found else None

    def _open(self, path: str, prime: int) -> tuple[tuple[int, ...], Image]:
        status = os.stat(path)
        identity = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size, prime)
        known = self._images.get(path)
        return known if known is not None and known[0] == identity else (identity, open_image(path, prime))


def open_image(path: str | Path, prime: int) -> Image:
    """The compiled list at ``path``, mapped into memory. Raises `OSError` and `NoImage`."""
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise NoImage("it is empty")
        return Image(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), prime)


def write_image(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Let the file at ``path`` be the image that ``pieces`` come to, in one step. Raises `OSError`."""
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(descriptor)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise


def blocks_of(path: str | Path, most: int) -> Iterator[bytes]:
    """The content of a file, unpacked where it is one of gzip's, in pieces.

    Raises `OSError`, and `BlocklistError` where there is more than ``most``, or the packed file is damaged.
    """
    # A FIFO would be waited for without end.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BlocklistError("it is no regular file")
        unpacking = None
        read = 0
        while block := file.read(_READ):
            if not read and block.startswith(_GZIP):
                unpacking = Unpacking()
            for piece in (block,) if unpacking is None else unpacking.feed(block):
                read += len(piece)
                if read > most:
                    raise BlocklistError(f"it is larger than {most} bytes")
                yield piece
        if unpacking is not None:
            unpacking.end()


class Unpacking:
    """Unpacks what gzip has packed (RFC 1952), in pieces of bounded size. Raises `BlocklistError`."""

    def __init__(self) -> None:
        self._inflating = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` unpacks to."""
        while data:
            if self._inflating.eof:
                # Another member, or padding.
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._inflating = zlib.decompressobj(16 + zlib.MAX_WBITS)
            try:
                piece = self._inflating.decompress(data, _READ)
            except zlib.error as error:
                raise BlocklistError(f"it cannot be unpacked: {error}") from None
            if piece:
                yield piece
            data = self._inflating.unconsumed_tail or self._inflating.unused_data

    def end(self) -> None:
        """There is no more."""
        if not self._inflating.eof:
            raise BlocklistError("it is packed, and its end is missing")


def private(descriptor: int) -> None:
    """For the proxy's account alone."""
    os.fchmod(descriptor, 0o600)
