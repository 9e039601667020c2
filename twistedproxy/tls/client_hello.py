"""The first message of a TLS client, read from bytes as they come, before anything is decided about it.

Theory of operation. A `HelloReader` is fed until it gives a `ClientHello`. It takes record headers off, gathers the
handshake message that may lie in many records, and reads it once it is whole; each byte is moved once and read once.
What was fed stays in `HelloReader.received` as it came, for whoever gets the connection next, since nothing has been
answered yet. Bytes after the record in which the message ends (early data, say) are kept too, and not judged.

It says as early as it can that something is no TLS at all (`NotTLS`, at the first byte that does not fit), and is
strict about what is: a length that lies, an extension that comes twice, bytes that are left over are `MalformedHello`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

LONGEST_HELLO: Final = 64 * 1024
"""How many bytes of records a hello may take up. Large ones have a few KiB, for post-quantum key shares."""

TLS12: Final = 0x0303
TLS13: Final = 0x0304

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_RECORD_HEAD: Final = 5
_MESSAGE_HEAD: Final = 4
_LARGEST_RECORD: Final = 2**14
"""RFC 8446 section 5.1."""

_SERVER_NAME: Final = 0
_ALPN: Final = 16
_PRE_SHARED_KEY: Final = 41
_SUPPORTED_VERSIONS: Final = 43
_ENCRYPTED_CLIENT_HELLO: Final = 0xFE0D

_LONGEST_NAME: Final = 253
# Letters, digits and hyphens (RFC 5890 section 2.3.1), and the underscore, which names in use have.
_NAME: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# What every reader of addresses takes for a part of one, and no top-level domain is.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


class HelloError(ValueError):
    """The bytes are no ClientHello. The text says why."""


class NotTLS(HelloError):
    """They are not TLS at all: another protocol, whose bytes may mean something elsewhere."""


class MalformedHello(HelloError):
    """They begin as TLS does, but cannot be read as a ClientHello."""


class HelloTooLarge(MalformedHello):
    """The message is larger than is taken, by its own account or by what has come."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client wants.

    ``server_name`` is in lower case, or an IP address in its canonical form, which RFC 6066 section 3 does not allow
    and some send (``is_address``); empty when there is none. ``protocols`` are those of ALPN (RFC 7301) in the
    client's order. ``versions`` are those of supported_versions in its order; without that extension, the one highest
    version that the client knows. With ``offers_ech`` the name is the outer one of Encrypted Client Hello (RFC 9849),
    or the extension is only there for show: from outside, the two look the same. GREASE (RFC 8701) is left out of
    everything.
    """

    server_name: str
    is_address: bool
    protocols: tuple[bytes, ...]
    versions: tuple[int, ...]
    offers_ech: bool


class HelloReader:
    """Reads one ClientHello; ``limit`` is how many bytes of records it may take up."""

    __slots__ = ("_begun", "_limit", "_message", "_position", "hello", "received")

    def __init__(self, limit: int = LONGEST_HELLO) -> None:
        self._limit = limit
        self._position = 0
        self._message = bytearray()
        self._begun = False
        self.received = bytearray()
        """Every byte that was fed."""
        self.hello: ClientHello | None = None

    def __repr__(self) -> str:
        return f"<HelloReader {len(self.received)} bytes {self.hello or 'incomplete'}>"

    def feed(self, data: bytes) -> ClientHello | None:
        """Take more bytes; the hello when it is whole, None while it is not.

        Raises `NotTLS`, `MalformedHello` or `HelloTooLarge`; nothing more can be read then. What comes after the hello
        is only kept.
        """
        self.received += data
        while self.hello is None and self._take_record():
            pass
        return self.hello

    def _take_record(self) -> bool:
        """Take in the part of the record that is there, if it can be; False when more is needed first."""
        received, start = self.received, self._position
        available = len(received) - start
        if not self._begun:
            _check_beginning(received)
        if available < _RECORD_HEAD:
            _check_continuation(received[start : start + available])
            return False
        _check_continuation(received[start : start + 3])
        length = int.from_bytes(received[start + 3 : start + _RECORD_HEAD])
        if not 0 < length <= _LARGEST_RECORD:
            raise MalformedHello(f"a record of {length} bytes (RFC 8446 section 5.1)")
        end = start + _RECORD_HEAD + length
        if end > self._limit:
            raise HelloTooLarge(f"it is larger than {self._limit} bytes")
        if not self._begun and available > _RECORD_HEAD:
            self._begun = True
            if received[start + _RECORD_HEAD] != _CLIENT_HELLO:
                raise MalformedHello(f"the handshake begins with message {received[start + _RECORD_HEAD]}, not 1")
        if len(received) < end:
            self._check_size(received[start + _RECORD_HEAD : start + _RECORD_HEAD + _MESSAGE_HEAD])
            return False
        self._begun = True
        self._message += memoryview(received)[start + _RECORD_HEAD : end]
        self._position = end
        self._check_size(b"")
        self._read_message()
        return True

    def _check_size(self, more: bytes | bytearray) -> None:
        """Believe the message's own length as soon as it is there: nobody need wait for what will not be taken."""
        head = bytes(self._message[:_MESSAGE_HEAD]) + more
        if len(head) >= _MESSAGE_HEAD and int.from_bytes(head[1:_MESSAGE_HEAD]) > self._limit:
            raise HelloTooLarge(f"it is larger than {self._limit} bytes")

    def _read_message(self) -> None:
        message = self._message
        if len(message) < _MESSAGE_HEAD:
            return
        end = _MESSAGE_HEAD + int.from_bytes(message[1:_MESSAGE_HEAD])
        if len(message) > end:
            raise MalformedHello("another message follows in the same record (RFC 8446 section 5.1)")
        if len(message) == end:
            self.hello = _read_hello(_Fields(bytes(message[_MESSAGE_HEAD:]), "the ClientHello"))


def _check_beginning(received: bytearray) -> None:
    """The first bytes of any TLS: a handshake record of version 3.x."""
    if received[:1] and received[0] != _HANDSHAKE:
        raise NotTLS(f"the first byte is {received[0]:#04x}, and TLS begins with 0x16")
    if received[1:2] and received[1] != 3:
        raise NotTLS(f"the second byte is {received[1]:#04x}, and that of TLS is 0x03")
    if received[2:3] and received[2] > 4:
        raise NotTLS(f"the third byte is {received[2]:#04x}, and no version of TLS is 3.{received[2]}")


def _check_continuation(head: bytearray) -> None:
    """The head of a record, or what is there of it. The version is to be ignored, but for its major number."""
    if head[:1] and head[0] != _HANDSHAKE:
        raise MalformedHello(f"a record of type {head[0]} interrupts it (RFC 8446 section 5.1)")
    if head[1:2] and head[1] != 3:
        raise MalformedHello(f"a record of version {head[1]}.x")


class _Fields:
    """Bytes that are taken off from the front, a field at a time; ``what`` they are, for messages."""

    __slots__ = ("_data", "_position", "_what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._position = 0
        self._what = what

    @property
    def left(self) -> int:
        return len(self._data) - self._position

    def take(self, size: int) -> bytes:
        if self.left < size:
            raise MalformedHello(f"{self._what} ends too early")
        start, self._position = self._position, self._position + size
        return self._data[start : self._position]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int, least: int, most: int) -> bytes:
        """A vector whose length has ``size`` bytes (RFC 8446 section 3.4)."""
        length = self.number(size)
        if not least <= length <= most:
            raise MalformedHello(f"a field of {length} bytes in {self._what}")
        return self.take(length)

    def end(self) -> None:
        if self.left:
            raise MalformedHello(f"{self.left} bytes are left over in {self._what}")


def _read_hello(fields: _Fields) -> ClientHello:
    """RFC 8446 section 4.1.2."""
    version = fields.number(2)
    if version >> 8 != 3:
        raise MalformedHello(f"it is for version {version >> 8}.x")
    fields.take(32)
    fields.vector(1, 0, 32)
    suites = fields.vector(2, 2, 0xFFFE)
    if len(suites) % 2:
        raise MalformedHello("half a cipher suite")
    fields.vector(1, 1, 0xFF)
    extensions = dict(_extensions(fields)) if fields.left else {}
    name, is_address = _server_name(extensions.get(_SERVER_NAME))
    return ClientHello(
        server_name=name,
        is_address=is_address,
        protocols=_protocols(extensions.get(_ALPN)),
        versions=_versions(extensions.get(_SUPPORTED_VERSIONS), version),
        offers_ech=_offers_ech(extensions.get(_ENCRYPTED_CLIENT_HELLO)),
    )


def _extensions(fields: _Fields) -> Iterator[tuple[int, bytes]]:
    """RFC 8446 section 4.2. None may come twice, and pre_shared_key is the last (section 4.2.11)."""
    inner = _Fields(fields.vector(2, 0, 0xFFFF), "the extensions")
    fields.end()
    seen: set[int] = set()
    while inner.left:
        kind = inner.number(2)
        if kind in seen:
            raise MalformedHello(f"extension {kind} comes twice")
        if _PRE_SHARED_KEY in seen:
            raise MalformedHello("an extension follows pre_shared_key")
        seen.add(kind)
        yield kind, inner.vector(2, 0, 0xFFFF)


def _server_name(data: bytes | None) -> tuple[str, bool]:
    """RFC 6066 section 3: a list with one entry, of the only type there is."""
    if data is None:
        return "", False
    fields = _Fields(data, "server_name")
    entries = _Fields(fields.vector(2, 1, 0xFFFF), "server_name")
    fields.end()
    kind = entries.number(1)
    if kind != 0:
        raise MalformedHello(f"a server name of type {kind}")
    raw = entries.vector(2, 1, 0xFFFF)
    if entries.left:
        raise MalformedHello("more than one server name")
    if len(raw) > _LONGEST_NAME or not raw.isascii():
        raise MalformedHello("the server name is no host name")
    name = raw.decode("ascii").lower()
    try:
        # One with a zone means nothing elsewhere.
        return str(ipaddress.ip_address(name.replace("%", "/"))), True
    except ValueError:
        pass
    if _NAME.fullmatch(name) is None or _NUMBER.fullmatch(name.rpartition(".")[2]):
        raise MalformedHello("the server name is no host name")
    return name, False


def _protocols(data: bytes | None) -> tuple[bytes, ...]:
    """RFC 7301 section 3.1."""
    if data is None:
        return ()
    fields = _Fields(data, "ALPN")
    names = _Fields(fields.vector(2, 2, 0xFFFF), "ALPN")
    fields.end()
    listed = []
    while names.left:
        listed.append(names.vector(1, 1, 0xFF))
    return tuple(name for name in listed if not (len(name) == 2 and is_grease(int.from_bytes(name))))


def _versions(data: bytes | None, legacy: int) -> tuple[int, ...]:
    """RFC 8446 section 4.2.1; where the extension is absent, the client knows TLS 1.2 at most."""
    if data is None:
        return (min(legacy, TLS12),)
    fields = _Fields(data, "supported_versions")
    listed = fields.vector(1, 2, 254)
    fields.end()
    if len(listed) % 2:
        raise MalformedHello("half a version")
    versions = [int.from_bytes(listed[start : start + 2]) for start in range(0, len(listed), 2)]
    return tuple(version for version in versions if not is_grease(version))


def _offers_ech(data: bytes | None) -> bool:
    """RFC 9849 section 5: only the outer hello travels in the open."""
    if data is None:
        return False
    fields = _Fields(data, "encrypted_client_hello")
    if fields.number(1) != 0:
        raise MalformedHello("an encrypted_client_hello that is not the outer one")
    fields.take(5)
    fields.vector(2, 0, 0xFFFF)
    fields.vector(2, 1, 0xFFFF)
    fields.end()
    return True


def is_grease(value: int) -> bool:
    """Whether a number of two bytes is one that clients make up (RFC 8701 section 2): 0x0a0a, 0x1a1a, ... 0xfafa."""
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF
