"""The handshake of WebSocket in HTTP/1.1 (RFC 6455 section 4), for a client that did not have to do it (RFC 8441)."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from secrets import token_bytes
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 section 1.3."""


def new_key() -> bytes:
    """A value for Sec-WebSocket-Key, which nobody has had before."""
    return b64encode(token_bytes(16))


def accept_for(key: bytes) -> bytes:
    """What Sec-WebSocket-Accept has to be for that key."""
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())
