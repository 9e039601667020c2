"""What a directory might say over LDAP, valid or nearly, and what holds for all of it (see `check_directory`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.fuzz.messages import Oddity, cuts
from tests.fuzz.reading import Reading, octets, pieces
from twistedproxy.accounts.ldap import ber
from twistedproxy.accounts.ldap.connection import LDAPConnection, LDAPError
from twistedproxy.accounts.ldap.filters import ANY
from twistedproxy.accounts.ldap.messages import (
    BASE,
    BIND_RESPONSE,
    EXTENDED_RESPONSE,
    SEARCH_DONE,
    SEARCH_ENTRY,
    SEARCH_REFERENCE,
    Entry,
    Result,
    parse_message,
)
from twistedproxy.errors import RequestError

TAGS = (
    0x00,
    0x01,
    0x02,
    0x04,
    0x0A,
    0x30,
    0x31,
    0x1F,
    0x3F,
    0x61,
    0x64,
    0x65,
    0x73,
    0x78,
    0x79,
    0x80,
    0xA0,
    0xA3,
    0xFF,
)
ODD_LENGTHS = (
    b"\0",
    b"\1",
    b"\x7f",
    b"\x80",
    b"\x81",
    b"\x82\xff",
    b"\x84\xff\xff\xff\xff",
    b"\x85\0\0\0\0\1",
    b"\xff",
)
CODES = (b"\0", b"\0", b"\x20", b"\x31", b"\x04", b"\0\0")
ODD_CODES = (b"", b"\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0\0")
DNS = (b"uid=ann,ou=people", b"cn=a\\,b,dc=x", b"", "cn=ü".encode())
ODD_DNS = (b"\xff\xfe", b"\0", b"cn=" + b"x" * 300, b"\xed\xa0\x80", b"\r\n")
NAMES = (b"uid", b"UID", b"memberOf", b"cn", b"uid;lang-en")
ODD_NAMES = (b"", b"\xff", "\u0130".encode())

SPLICES = (
    *(
        b"\0",
        b"\1",
        b"\2",
        b"\4",
        b"\x30",
        b"\x31",
        b"\x7f",
        b"\x80",
        b"\x81",
        b"\xff",
        b"\x30\0",
        b"\4\0",
        b"\x1f\x81",
    ),
    *(b"\x30\x84\0\0\0\0", b"\x0a\1\0", b"\2\1\0", b"\2\1\1", b"\2\1\2", b"\2\1\3", b"\x61\7\x0a\1\0\4\0\4\0"),
    *(b"\x30\x0c\2\1\1\x61\7\x0a\1\0\4\0\4\0", b"\x30\x0c\2\1\0\x78\7\x0a\1\x34\4\0\4\0"),
)

# What is asked of the directory: a bind, and so many searches.
_SEARCHES = 2


# ---------------------------------------------------------------- what it might say


def conversation(random: Random, oddities: int = 2) -> bytes:
    """What a directory says to a bind and the searches after it, mostly."""
    draw = _Draw(random, Oddity(random, oddities))
    said = [draw.message(1, draw.result(BIND_RESPONSE))]
    for number in range(2, 2 + _SEARCHES):
        found = [draw.entry() if random.randrange(4) else draw.reference() for _ in range(random.randrange(4))]
        said += [draw.message(number, one) for one in (*found, draw.result(SEARCH_DONE))]
    if random.randrange(6) == 0:
        said.insert(random.randrange(len(said) + 1), draw.message(0, draw.result(EXTENDED_RESPONSE)))
    if random.randrange(8) == 0:
        random.shuffle(said)
    return b"".join(said[: random.randrange(1, len(said) + 1)] if random.randrange(4) == 0 else said)


class _Draw:
    def __init__(self, random: Random, oddity: Oddity) -> None:
        self._random = random
        self._oddity = oddity

    def element(self, tag: int, *contents: bytes) -> bytes:
        content = b"".join(contents)
        kind = self._random.randrange(40)
        if kind == 0:
            # A longer length than it takes is allowed.
            size = self._random.randrange(2, 5)
            return bytes((tag, 0x80 | size)) + len(content).to_bytes(size) + content
        if kind < 3 and self._oddity.left:
            self._oddity.left -= 1
            if kind == 1:
                return bytes((tag,)) + self._random.choice(ODD_LENGTHS) + content
            return ber.element(self._random.choice(TAGS), content)
        return ber.element(tag, content)

    def message(self, number: int, operation: bytes) -> bytes:
        if self._random.randrange(30) == 0:
            number = self._random.choice((0, 1, 2, 3, 127, 255, 0x7FFFFFFF))
        controls = [self.element(0xA0, self.element(0x30, self.element(4, b"1.2.3")))]
        return self.element(0x30, ber.integer(number), operation, *controls[: self._random.randrange(6) == 0])

    def result(self, operation: int) -> bytes:
        code = self.element(0x0A, self._oddity.one(CODES, ODD_CODES))
        parts = [
            code,
            self.element(4, b""),
            self.element(4, self._oddity.one((b"", b"words"), (b"\xff\n", b"w" * 400))),
        ]
        if self._random.randrange(8) == 0:
            parts.append(self.element(0xA3, self.element(4, b"ldap://x")))
        return self.element(operation, *parts)

    def entry(self) -> bytes:
        attributes = []
        for _ in range(self._random.randrange(4)):
            values = [self.element(4, self._oddity.one(DNS, ODD_DNS)) for _ in range(self._random.randrange(3))]
            name = self.element(4, self._oddity.one(NAMES, ODD_NAMES))
            attributes.append(self.element(0x30, name, self.element(0x31, *values)))
        return self.element(
            SEARCH_ENTRY, self.element(4, self._oddity.one(DNS, ODD_DNS)), self.element(0x30, *attributes)
        )

    def reference(self) -> bytes:
        return self.element(SEARCH_REFERENCE, self.element(4, b"ldap://other.example/"))


# ---------------------------------------------------------------- what is made of it


class Securing(StringTransport):
    """Notes that TLS begins."""

    is_secured = False

    def startTLS(self, creator: Any) -> None:
        self.is_secured = True


Answers = list[tuple[Result, list[Entry]]]


def read_directory(received: Iterable[bytes]) -> tuple[Answers, str]:
    """What a client that binds and searches is told, and what the end of the connection was; of bytes in pieces."""
    connection, transport = _connected()
    told: Answers = []

    async def ask() -> None:
        told.append((await connection.bind("cn=x", b"y"), []))
        for _ in range(_SEARCHES):
            told.append(await connection.search("dc=x", BASE, ANY, ["uid"], most=2, seconds=1))
        # One more, that says how things stand: nobody answers it.
        await connection.search("dc=x", BASE, ANY, ["uid"], most=2, seconds=1)

    ended: list[Any] = []
    Deferred.fromCoroutine(ask()).addBoth(ended.append)
    for piece in received:
        if transport.disconnected:
            break
        connection.dataReceived(piece)
    connection.connectionLost(Failure(ConnectionDone()))
    [end] = ended
    if end is None:
        return told, "all is answered"
    assert isinstance(end.value, LDAPError), end.value
    return told, str(end.value)


def reading_of(data: bytes) -> Reading:
    """That, in the form that the fuzzer looks at."""
    told, why = read_directory([data])
    return Reading(error=RequestError(why), closed=f"{len(told)} {sum(len(entries) for _, entries in told)}")


def _connected() -> tuple[LDAPConnection, Securing]:
    connection, transport = LDAPConnection(), Securing()
    connection.makeConnection(transport)
    return connection, transport


# ---------------------------------------------------------------- what holds


def check_directory(data: bytes, random: Random) -> None:
    """Raises `AssertionError` when

    * anything but an `LDAPError` comes out, or it depends on how the bytes were split;
    * an answer is taken that has another number than the question, or more comes out than went in;
    * our reader of BER differs from the one here, or what it has read is other when it is written and read again;
    * TLS begins after anything but exactly the answer to the request for it.
    """
    told, why = read_directory([data] if data else [])
    for received in (octets(data), pieces(data, cuts(random, len(data)))):
        assert read_directory(received) == (told, why)
    _check_numbers(data, len(told))
    assert sum(map(_size, told)) <= len(data)
    for result, entries in told:
        assert type(result) is Result
        for entry in entries:
            assert _again(_entry_bytes(entry)) == entry
    _check_elements(data, 12)
    _check_start_tls(data)


def parts_of(content: bytes) -> list[tuple[int, bytes]] | None:
    """The elements that ``content`` consists of, by a reader of its own; None when it does not."""
    found = []
    stream = BytesIO(content)
    while tag := stream.read(1):
        first = stream.read(1)
        if tag[0] & 0x1F == 0x1F or not first:
            return None
        length = first[0]
        if length > 127:
            digits = stream.read(length - 128)
            if not 0 < len(digits) == length - 128 < 5:
                return None
            length = int.from_bytes(digits, "big")
        body = stream.read(length)
        if len(body) < length:
            return None
        found.append((tag[0], body))
    return found


def _check_elements(content: bytes, depth: int) -> None:
    expected = parts_of(content)
    try:
        found = list(ber.elements(content))
    except ber.Malformed:
        assert expected is None
        return
    assert found == expected
    written = b"".join(ber.element(tag, one) for tag, one in found)
    assert len(written) <= len(content)
    assert list(ber.elements(written)) == found
    for tag, one in found:
        if tag & 0x20 and depth:
            _check_elements(one, depth - 1)


def _whole_messages(data: bytes) -> Iterator[bytes]:
    """The contents of the messages that are there whole, one after the other."""
    position = 0
    while length := ber.whole_length(data[position:], len(data) - position):
        [(_, content)] = parts_of(data[position : position + length]) or []
        yield content
        position += length


def _check_numbers(data: bytes, answers: int) -> None:
    number = 1
    messages = _whole_messages(data)
    while number <= answers:
        its_number, said = parse_message(next(messages))
        assert its_number == number
        number += isinstance(said, Result)


def _size(answer: tuple[Result, Sequence[Entry]]) -> int:
    result, entries = answer
    # A byte that is not of UTF-8 becomes a character.
    return len(result.words) + sum(
        len(entry.dn) + sum(len(value) for values in entry.attributes.values() for value in values) for entry in entries
    )


def _entry_bytes(entry: Entry) -> bytes:
    attributes = [
        ber.element(0x30, ber.octets(name.encode()), ber.element(0x31, *map(ber.octets, values)))
        for name, values in entry.attributes.items()
    ]
    return ber.element(SEARCH_ENTRY, ber.octets(entry.dn.encode()), ber.element(0x30, *attributes))


def _again(operation: bytes) -> object:
    number, said = parse_message(ber.integer(1) + operation)
    assert number == 1
    return said


def _check_start_tls(data: bytes) -> None:
    connection, transport = _connected()
    ended: list[Any] = []
    creator: Any = object()
    Deferred.fromCoroutine(connection.start_tls(creator)).addBoth(ended.append)
    connection.dataReceived(data)
    if transport.is_secured:
        [message] = parts_of(data) or []
        number, said = parse_message(message[1])
        assert isinstance(said, Result)
        assert (number, said.operation, said.code) == (1, EXTENDED_RESPONSE, 0)
    elif ended:
        assert isinstance(ended[0].value, LDAPError)
    connection.connectionLost(Failure(ConnectionDone()))
