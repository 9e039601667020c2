"""SOCKS version 5 from the client's side (RFC 1928, and RFC 1929 for name and password), without I/O.

we                                      the proxy                           state it comes in
version, methods                        version, method                     METHOD
version, name, password                 version, status                     PASSWORD, where that was the method
version, CONNECT, 0, address, port      version, reply, 0, address, port    REPLY
"""

from __future__ import annotations

import ipaddress
from enum import Enum, auto
from typing import Final

from twistedproxy.errors import (
    ConnectionRefused,
    ParentBroken,
    ParentFailed,
    ParentRefused,
    ParentUnauthorized,
    ProxyError,
    Unreachable,
)

_VERSION: Final = 5
_PASSWORD_VERSION: Final = 1
_NO_PASSWORD: Final = 0
_WITH_PASSWORD: Final = 2
_NONE_OF_THEM: Final = 0xFF
_CONNECT: Final = b"\5\1\0"
_IPV4, _NAME, _IPV6 = 1, 3, 4

_REPLIES: Final[dict[int, tuple[type[ProxyError], str]]] = {
    1: (ParentFailed, "general failure"),
    2: (ParentRefused, "connection not allowed by its rules"),
    3: (Unreachable, "network unreachable"),
    4: (Unreachable, "host unreachable"),
    5: (ConnectionRefused, "connection refused"),
    6: (Unreachable, "time to live expired"),
    7: (ParentFailed, "command not supported"),
    8: (ParentFailed, "kind of address not supported"),
}


class _State(Enum):
    METHOD = auto()
    PASSWORD = auto()
    REPLY = auto()


class SOCKS5:
    """Asks for a connection to ``host``, an address or a name, at ``port``, as ``user`` where that is not empty."""

    __slots__ = ("_buffer", "_host", "_password", "_port", "_state", "_user", "done")

    def __init__(self, host: str, port: int, user: bytes = b"", password: bytes = b"") -> None:
        self.done = False
        self._host = host
        self._port = port
        self._user = user
        self._password = password
        self._state = _State.METHOD
        self._buffer = b""

    def __repr__(self) -> str:
        return f"<SOCKS5 {self._host}:{self._port} {'done' if self.done else self._state.name}>"

    def begin(self) -> bytes:
        """What is said first."""
        methods = bytes((_NO_PASSWORD, _WITH_PASSWORD)) if self._user else bytes((_NO_PASSWORD,))
        return bytes((_VERSION, len(methods))) + methods

    def take(self, data: bytes) -> tuple[int, bytes]:
        """Read of ``data``, what came next: how many of its bytes were the proxy's words, and what to say then.

        Bytes that it leaves are the server's. Raises `ProxyError` when there will be no connection.
        """
        before = len(self._buffer)
        self._buffer += data
        size = self._size()
        if len(self._buffer) < size:
            return len(data), b""
        message, self._buffer = self._buffer[:size], b""
        return size - before, self._read(message)

    def _size(self) -> int:
        """How long the message is that begins the buffer, or how much of it has to be there to know more."""
        buffer = self._buffer
        if buffer and buffer[0] != (_PASSWORD_VERSION if self._state is _State.PASSWORD else _VERSION):
            raise ParentBroken("it does not speak SOCKS 5")
        if self._state is not _State.REPLY:
            return 2
        if len(buffer) > 1 and buffer[1]:
            # Why it failed is all that matters.
            return 2
        if len(buffer) < 5:
            return 5
        kind = buffer[3]
        if kind not in (_IPV4, _NAME, _IPV6):
            raise ParentBroken("it tells a kind of address that there is not")
        return 6 + {_IPV4: 4, _IPV6: 16, _NAME: 1 + buffer[4]}[kind]

    def _read(self, message: bytes) -> bytes:
        """Take in a whole message; what to say to it."""
        said = message[1]
        if self._state is _State.METHOD:
            if said == _NO_PASSWORD:
                return self._connect()
            if said == _WITH_PASSWORD and self._user:
                self._state = _State.PASSWORD
                return bytes((_PASSWORD_VERSION,)) + _counted(self._user) + _counted(self._password)
            if said in (_NONE_OF_THEM, _WITH_PASSWORD):
                wanted = "none of the ways to say who we are" if self._user else "no one without name and password"
                raise ParentUnauthorized(f"it takes {wanted}")
            raise ParentBroken("it chose a method that was not offered")
        if self._state is _State.PASSWORD:
            if said:
                raise ParentUnauthorized("it does not take name and password")
            return self._connect()
        if said:
            kind, why = _REPLIES.get(said, (ParentFailed, f"reply {said}"))
            raise kind(f"the parent says: {why}")
        self.done = True
        return b""

    def _connect(self) -> bytes:
        self._state = _State.REPLY
        return _CONNECT + _address(self._host) + self._port.to_bytes(2, "big")


def _address(host: str) -> bytes:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return bytes((_NAME,)) + _counted(host.encode("ascii"))
    return bytes((_IPV4 if address.version == 4 else _IPV6,)) + address.packed


def _counted(text: bytes) -> bytes:
    return bytes((len(text),)) + text
