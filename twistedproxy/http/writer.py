"""Messages into bytes: always written anew from their parts, never copied through (RFC 9112)."""

from __future__ import annotations

from collections.abc import Iterable

from twistedproxy.http.message import FieldLine

LAST_CHUNK = b"0\r\n\r\n"


def request_bytes(method: bytes, target: bytes, lines: Iterable[FieldLine]) -> bytes:
    """A request's head."""
    parts = [method + b" " + target + b" HTTP/1.1"]
    parts += [b": ".join(line) for line in lines]
    parts.append(b"\r\n")
    return b"\r\n".join(parts)


def response_bytes(status: int, phrase: bytes, lines: Iterable[FieldLine]) -> bytes:
    """A response's head. The space after the status code stands there without a phrase too."""
    parts = [b"HTTP/1.1 %d %b" % (status, phrase)]
    parts += [b": ".join(line) for line in lines]
    parts.append(b"\r\n")
    return b"\r\n".join(parts)


def chunk_bytes(content: bytes) -> bytes:
    """One chunk; the content must not be empty, for that would end the message."""
    return b"%x\r\n%b\r\n" % (len(content), content)


def last_chunk_bytes(trailers: Iterable[FieldLine]) -> bytes:
    """The end of a chunked message, with its trailer fields."""
    parts = [b"0"]
    parts += [b": ".join(line) for line in trailers]
    parts.append(b"\r\n")
    return b"\r\n".join(parts)
