"""Messages as the proxy sees them: fields in their order and case, heads, and the end of the content."""

from __future__ import annotations

from collections.abc import Iterable

CHUNKED = -1
"""The content is framed by the chunked transfer coding (RFC 9112 section 7.1)."""

UNTIL_CLOSE = -2
"""The content of a response goes on until the connection closes (RFC 9112 section 6.3, rule 8)."""

FieldLine = tuple[bytes, bytes]
"""A field's name, in the case it came in, and its value without the white space around it."""


class Fields:
    """The field lines of one message, in order, with a look-up by name (RFC 9110 section 5.3).

    ``index`` has, by name in lower case, the value; or the values when there are several. It is there for those who ask
    often. Nobody changes either: the fields may be those of later messages too.

    For these is kept what was made of them: ``forwarded`` by `forwarding.forwarded_request_section`, and
    ``credentials_key`` for the accounts.
    """

    __slots__ = ("credentials_key", "forwarded", "index", "lines")

    def __init__(self, lines: Iterable[FieldLine] = ()) -> None:
        self.lines: list[FieldLine] = list(lines)
        # Most names come once, and a tuple for each would cost as much as the rest of this.
        index: dict[bytes, bytes | tuple[bytes, ...]] = {}
        for name, value in self.lines:
            index[name.lower()] = value
        if len(index) != len(self.lines):
            _collect_repeated(index, self.lines)
        self.index = index
        self.forwarded: tuple[object, bytes] | None = None
        self.credentials_key = b""

    @classmethod
    def indexed(cls, lines: list[FieldLine], index: dict[bytes, bytes | tuple[bytes, ...]]) -> Fields:
        """The fields of ``lines``, whose ``index`` is known already."""
        fields = cls.__new__(cls)
        fields.lines = lines
        fields.index = index
        fields.forwarded = None
        fields.credentials_key = b""
        return fields

    def __repr__(self) -> str:
        return f"Fields({self.lines!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and other.lines == self.lines

    __hash__ = None  # type: ignore[assignment]  # equal by content, which can be large: not a key

    def __contains__(self, name: bytes) -> bool:
        return name in self.index

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """The values of all lines called ``name`` (in lower case), in order; empty when there is none."""
        found = self.index.get(name)
        if found is None:
            return ()
        return (found,) if isinstance(found, bytes) else found

    def first(self, name: bytes) -> bytes:
        """The value of the first line called ``name`` (in lower case), or nothing."""
        found = self.index.get(name, b"")
        return found if isinstance(found, bytes) else found[0]


def _collect_repeated(index: dict[bytes, bytes | tuple[bytes, ...]], lines: list[FieldLine]) -> None:
    """Give the names that come more than once all of their values, in time linear in the lines."""
    collected: dict[bytes, list[bytes]] = {}
    for name, value in lines:
        collected.setdefault(name.lower(), []).append(value)
    index.update((name, tuple(values)) for name, values in collected.items() if len(values) > 1)


NO_OPTIONS: frozenset[bytes] = frozenset()

HTTP2 = b"2.0"
"""The version of a message that came over HTTP/2."""

_VERSIONS = (b"1.0", b"1.1")


class RequestHead:
    """A request's control data and header fields, valid and with its framing decided.

    ``length`` is the content's length in bytes, or `CHUNKED`: it ends when it ends. ``minor`` is the minor version,
    0 or 1: a higher one is treated as 1 (RFC 9110 section 6.2), and so is HTTP/2, which can do all that 1.1 can.
    ``version`` is the one that the message came in, as Via names it. ``options`` are the connection options in lower
    case. ``section`` are the bytes that ``fields`` were read from, where these were not too many to keep.
    """

    __slots__ = (
        "expects_continue",
        "fields",
        "keep_alive",
        "length",
        "method",
        "minor",
        "options",
        "section",
        "target",
        "version",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        minor: int,
        fields: Fields,
        length: int = 0,
        options: frozenset[bytes] = NO_OPTIONS,
        expects_continue: bool = False,
        version: bytes = b"",
        section: bytes = b"",
    ) -> None:
        self.section = section
        self.method = method
        self.target = target
        self.minor = minor
        self.fields = fields
        self.length = length
        self.options = options
        self.expects_continue = expects_continue
        self.version = version or _VERSIONS[minor]
        # A proxy never keeps an HTTP/1.0 client's connection (RFC 9112 section 9.3).
        self.keep_alive = minor > 0 and b"close" not in options

    def __repr__(self) -> str:
        version = self.version.decode("ascii")
        return f"<RequestHead {self.method!r} {self.target!r} HTTP/{version} length={self.length}>"


class ResponseHead:
    """A response's control data and header fields, valid and with its framing decided.

    ``length`` is the content's length in bytes, `CHUNKED` or `UNTIL_CLOSE`. ``keep_alive`` tells whether the
    connection may carry another exchange after this one. ``minor`` and ``version`` are as in a `RequestHead`.
    """

    __slots__ = ("fields", "keep_alive", "length", "minor", "options", "phrase", "status", "version")

    def __init__(
        self,
        status: int,
        phrase: bytes,
        minor: int,
        fields: Fields,
        length: int = 0,
        options: frozenset[bytes] = NO_OPTIONS,
        version: bytes = b"",
    ) -> None:
        self.status = status
        self.phrase = phrase
        self.minor = minor
        self.fields = fields
        self.length = length
        self.options = options
        self.version = version or _VERSIONS[minor]
        self.keep_alive = minor > 0 and length != UNTIL_CLOSE and b"close" not in options

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} HTTP/{self.version.decode('ascii')} length={self.length}>"


class End:
    """The end of a message, with the trailer fields that followed its content, if any."""

    __slots__ = ("trailers",)

    def __init__(self, trailers: Fields) -> None:
        self.trailers = trailers

    def __repr__(self) -> str:
        return f"End({self.trailers!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, End) and other.trailers == self.trailers

    __hash__ = None  # type: ignore[assignment]  # see Fields


END = End(Fields())
"""The end of a message without trailer fields."""
