"""Messages into bytes: always written anew from their parts, never copied through (RFC 9112)."""

from __future__ import annotations

from collections.abc import Iterable

from twistedproxy.http.message import FieldLine

LAST_CHUNK = b"0\r\n\r\n"


def request_bytes(method: bytes, target: bytes, section: bytes) -> bytes:
    """A request's head. Its ``section`` is a `field_section`."""
    return b"%b %b HTTP/1.1\r\n%b" % (method, target, section)


def response_bytes(status: int, phrase: bytes, lines: Iterable[FieldLine]) -> bytes:
    """A response's head. The space after the status code stands there without a phrase too."""
    return b"HTTP/1.1 %d %b\r\n%b" % (status, phrase, field_section(lines))


def chunk_bytes(content: bytes) -> bytes:
    """One chunk; the content must not be empty, for that would end the message."""
    return b"%x\r\n%b\r\n" % (len(content), content)


def last_chunk_bytes(trailers: Iterable[FieldLine]) -> bytes:
    """The end of a chunked message, with its trailer fields."""
    return b"0\r\n" + field_section(trailers)


def field_section(lines: Iterable[FieldLine]) -> bytes:
    """Field lines, and the empty line that ends them."""
    return b"\r\n".join([*map(b": ".join, lines), b"", b""])
