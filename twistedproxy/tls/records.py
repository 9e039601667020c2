"""Content into TLS and out of it, as many records at a time as there are.

Theory of operation. A TLS record holds 16 KiB at most, and pyOpenSSL moves one with each call: a Python function, a new
buffer and, when there is nothing more, an exception. All of that is paid for four times with every 64 KiB of a
download, on both of its sides. Here OpenSSL's own functions (through the bindings that pyOpenSSL itself calls) are
called until there is no more, into memory that is made once and is everybody's: what leaves it is a copy of what came,
and nothing else. The handshake, the end and every error stay pyOpenSSL's.
"""

from __future__ import annotations

from typing import Any, Final

from OpenSSL._util import ffi, lib
from OpenSSL.SSL import Connection, Error, WantReadError

CONTENT: Final = 120 * 1024
"""Bytes of content that are told as one piece at most: what comes from a socket at a time, where much comes."""

WIRE: Final = 128 * 1024
"""Bytes for the peer that are given out as one piece at most."""


class Records:
    """The memory for it. One is enough for all connections of a reactor; they need memory BIOs, and a handshake."""

    __slots__ = ("_content", "_content_at", "_wire", "_wire_at")

    def __init__(self) -> None:
        content, wire = bytearray(CONTENT), bytearray(WIRE)
        self._content, self._content_at = memoryview(content), ffi.from_buffer(content)
        self._wire, self._wire_at = memoryview(wire), ffi.from_buffer(wire)

    def __repr__(self) -> str:
        return f"<Records {(CONTENT + WIRE) // 1024} KiB>"

    def receive(self, connection: Connection) -> tuple[bytes, Error | None]:
        """The content that has come, `CONTENT` bytes at most, and why there is no more.

        That is `WantReadError` as long as all is well, and None when there may be more.
        """
        ssl: Any = connection._ssl
        read, at = lib.SSL_read, self._content_at
        got = 0
        while got < CONTENT:
            result = read(ssl, at + got, CONTENT - got)
            if result <= 0:
                return bytes(self._content[:got]), _error(connection, result)
            got += result
        return bytes(self._content), None

    def send(self, connection: Connection, content: bytes) -> int:
        """Say ``content``. How much of it was taken: less only when the peer has to be heard first; raises `Error`."""
        ssl: Any = connection._ssl
        write = lib.SSL_write
        size = len(content)
        sent = 0
        with ffi.from_buffer(content) as at:
            while sent < size:
                # It takes one record.
                result = write(ssl, at + sent, size - sent)
                if result <= 0:
                    error = _error(connection, result)
                    if type(error) is WantReadError:
                        break
                    raise error
                sent += result
        return sent

    def take_said(self, connection: Connection) -> bytes:
        """What is to be sent to the peer, `WIRE` bytes at most; nothing when that is all."""
        got = lib.BIO_read(connection._from_ssl, self._wire_at, WIRE)
        return bytes(self._wire[:got]) if got > 0 else b""


def _error(connection: Connection, result: int) -> Error:
    """Why one of OpenSSL's functions has come back with ``result``."""
    if lib.SSL_get_error(connection._ssl, result) == lib.SSL_ERROR_WANT_READ:
        return WantReadError()
    try:
        connection._raise_ssl_error(connection._ssl, result)
    except Error as error:
        return error
    raise AssertionError("OpenSSL did not do it, and knows of no error")
