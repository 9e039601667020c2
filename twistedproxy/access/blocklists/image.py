"""A list, compiled: the bytes that are kept on disk, and mapped into memory by every process that looks something up.

Theory of operation. A head that says what it is, then the words of the table of names, on a page of their own, and its
tails, then the rest in MessagePack: the report, the rules for paths and the regular expressions, which are few. The
words are in the order of the machine's bytes, since the image never leaves it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from twistedproxy.access.blocklists.patterns import PathCount, Paths, Regexes
from twistedproxy.access.blocklists.reading import Reading
from twistedproxy.access.blocklists.report import Report
from twistedproxy.access.blocklists.rules import PathRule, RegexRule
from twistedproxy.access.blocklists.table import Table

_MAGIC: Final = b"pyproxy blocklist 3\n"
# Order of bytes, prime, names, words, length and checksum of what follows the table, checksum of the table, and what is
# in that: names without a dot, and exceptions.
_HEAD: Final = struct.Struct("=20sIQQQQIII")
_ORDER: Final = 0x01020304
_TOPS: Final = 1
_EXCEPTIONS: Final = 2
_PAGE: Final = 4096


class NoImage(ValueError):
    """These bytes are no image that can be used."""


class Rest(msgspec.Struct):
    """What an image has beside the table. ``source`` says what it was made from."""

    source: str
    report: Report
    paths: list[PathRule]
    regexes: list[str]


class Compilation:
    """Takes the rules of one list; a `Sink`."""

    def __init__(self, prime: int, room: int = 0) -> None:
        self.table = Table(prime, room)
        self._paths = PathCount()
        self._regexes = Regexes()

    def __repr__(self) -> str:
        return f"<Compilation {self.table!r}>"

    def add_names(self, names: Iterable[bytes], flags: int) -> None:
        self.table.add(names, flags)

    def add_name(self, name: bytes, flags: int) -> None:
        if b"." in name or b":" in name:
            self.table.add((name,), flags)
        else:
            self.table.add_top(name, flags)

    def add_path(self, rule: PathRule) -> None:
        self._paths.add(rule)

    def add_regex(self, rule: RegexRule) -> None:
        self._regexes.add(rule.expression)

    def pieces(self, source: str, report: Report) -> Iterator[bytes | memoryview]:
        """The image, in order."""
        words = memoryview(self.table.buffer).cast("B")
        rest = msgspec.msgpack.encode(Rest(source, report, self._paths.rules, self._regexes.expressions))
        head = _HEAD.pack(
            _MAGIC,
            _ORDER,
            self.table.prime,
            self.table.count,
            len(self.table.words),
            len(rest),
            zlib.crc32(rest),
            zlib.crc32(self.table.tails, zlib.crc32(words)),
            _TOPS * self.table.has_tops | _EXCEPTIONS * self.table.has_exceptions,
        )
        yield head.ljust(_PAGE, b"\0")
        yield words
        yield memoryview(self.table.tails)
        yield rest


def compile_list(
    blocks: Iterable[bytes], *, format: str, subdomains: bool, prime: int, source: str, size: int = 0
) -> tuple[Report, Iterator[bytes | memoryview]]:
    """What a list comes to, and the pieces of its image.

    ``blocks`` are its bytes, ``size`` how many there will be, if that is known. Raises `RegexesUnavailable`.
    """
    # A line has 20 bytes at least in most lists; room that is not needed would stay in the image.
    compilation = Compilation(prime, size // 40)
    reading = Reading(format, compilation, subdomains=subdomains)
    for block in blocks:
        reading.feed(block)
    report = reading.end()
    # Names that stand there twice are one.
    report.names = compilation.table.count
    return report, compilation.pieces(source, report)


class Image:
    """The compiled list in ``buffer``, which must not change. Raises `NoImage`.

    ``prime`` is the one that names are hashed with.
    """

    __slots__ = ("paths", "regexes", "report", "size", "source", "table")

    def __init__(self, buffer: Any, prime: int) -> None:
        view = memoryview(buffer)
        try:
            magic, order, own_prime, count, words, length, rest_sum, table_sum, kinds = _HEAD.unpack_from(view)
        except struct.error:
            raise NoImage("it is too short") from None
        if magic != _MAGIC or order != _ORDER or own_prime != prime:
            raise NoImage("it is of another kind")
        tails = _PAGE + 8 * words
        end = tails + words
        if len(view) != end + length or zlib.crc32(view[end:]) != rest_sum or zlib.crc32(view[_PAGE:end]) != table_sum:
            raise NoImage("it is damaged")
        try:
            self.table = Table.over(
                view[_PAGE:tails].cast("Q"),
                view[tails:end],
                count,
                prime,
                has_tops=kinds & _TOPS > 0,
                has_exceptions=kinds & _EXCEPTIONS > 0,
            )
            rest = msgspec.msgpack.decode(view[end:], type=Rest)
            self.regexes = Regexes(rest.regexes)
        except (ValueError, msgspec.MsgspecError) as error:
            raise NoImage(str(error)) from None
        self.paths = Paths(rest.paths)
        self.report = rest.report
        self.source = rest.source
        self.size = len(view)

    def __repr__(self) -> str:
        return f"<Image {self.table!r} {self.paths!r} {self.regexes!r}>"
