"""What a name server might send, valid or nearly, and what holds for all of it (see `check_reply`, `check_stream`)."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable
from random import Random
from types import FrameType
from typing import Any, NamedTuple
from unittest.mock import patch

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from tests.fuzz.messages import Oddity, cuts
from tests.fuzz.reading import Reading, octets, pieces
from twistedproxy.deadlines import Deadlines
from twistedproxy.errors import RequestError
from twistedproxy.settings.name_servers import NameServerAddress
from twistedproxy.upstream.answers import MOST_ADDRESSES
from twistedproxy.upstream.dns import stream
from twistedproxy.upstream.dns.messages import (
    AAAA,
    LARGEST_REPLY,
    MOST_ALIASES,
    NXDOMAIN,
    UNTOLD,
    A,
    Malformed,
    Reply,
    is_reply,
    question,
    read_reply,
)

NAME = "www.example"
ID = 0x1234
MOST_CALLS = 120_000
"""Calls that reading one reply may take, of functions of any kind: some ten milliseconds."""

NS, CNAME, SOA, MX, TXT, OPT = 2, 5, 6, 15, 16, 41
OTHERS = (
    NS,
    MX,
    TXT,
    OPT,
    *(10, 11, 12, 13, 14, 17, 18, 33, 35, 38, 39, 44, 46, 48, 65, 99, 250, 251, 252, 255, 65280),
)
NAMES = (b"www.example", b"WWW.Example", b"b.example", b"c.example", b"bank.example", b"example", b"")
TTLS = (0, 1, 60, 300, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
BITS = (0x8180, 0x8180, 0x8180, 0x8580, 0x8000, 0x8183, 0x8182, 0x8185)
ODD_BITS = (0x0180, 0x8380, 0xA180, 0x818F, 0xFFFF, 0)

SPLICES = (
    *(b"\0", b"\1", b"\3", b"\4", b"\x3f", b"\x40", b"\x80", b"\xc0", b"\xff", b"\xc0\x0c", b"\xc0\x1d", b"\xff\xff"),
    *(b"\0\1\0\1", b"\0\5\0\1", b"\0\x1c\0\1", b"\0\6\0\1", b"\0\4\xc0\0\2\1", b"\3www\7example\0", b"\1b\7example\0"),
    *(b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1", b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\2\xc0\x10", b"\1a" * 60),
)


# ---------------------------------------------------------------- what it might send


def reply(random: Random, oddities: int = 2, id: int = ID, name: str = NAME) -> bytes:
    """A reply to the question for ``name``, mostly."""
    if random.randrange(30) == 0:
        return _pointing(random, id, name)
    oddity = Oddity(random, oddities)
    asked = question(name, A)
    if oddity.left and random.randrange(10) == 0:
        oddity.left -= 1
        id ^= random.choice((1, 0x8000))
    if oddity.left and random.randrange(10) == 0:
        oddity.left -= 1
        asked = random.choice((question("www.exampld", A), question(NAME, AAAA), b"", question(NAME, A)[:-1] + b"\3"))
    if random.randrange(4) == 0:
        asked = asked.swapcase() if asked.isascii() else asked
    bits = random.choice(ODD_BITS) if oddity.left and random.randrange(16) == 0 else random.choice(BITS)
    counts = [random.choice((0, 1, 1, 2, 3, 5)), random.choice((0, 0, 1)), random.choice((0, 0, 1))]
    data = struct.pack("!6H", id, bits, 1, *counts) + asked
    for section, count in enumerate(counts):
        for _ in range(count):
            data += _record(random, oddity, len(data), section)
    if oddity.left and random.randrange(12) == 0:
        at = random.choice((4, 6, 8, 10))
        data = data[:at] + struct.pack("!H", random.choice((0, 1, 2, 40, 0xFFFF))) + data[at + 2 :]
    return data


def _pointing(random: Random, id: int, name: str) -> bytes:
    """Many records whose names all are one and the same."""
    asked = question(name, A)
    at = struct.pack("!H", 0xC000 | (12 + len(asked)))
    record = struct.pack("!2HLH", CNAME, 1, 60, 2) + at
    count = random.choice((2, 100, 140))
    records = b"\1a" * random.choice((3, 127, 1000)) + b"\0" + record + (at + record) * (count - 1)
    return struct.pack("!6H", id, 0x8180, 1, count, 0, 0) + asked + records


def _record(random: Random, oddity: Oddity, position: int, section: int) -> bytes:
    kind = random.choice((A, A, CNAME, CNAME, AAAA)) if section == 0 else random.choice((SOA, SOA, NS, A, OPT))
    if random.randrange(10) == 0:
        kind = random.choice(OTHERS)
    if kind == A:
        data = random.choice((b"\xc0\0\2\1", b"\xc0\0\2\2", b"\x7f\0\0\1"))
    elif kind == AAAA:
        data = random.choice((bytes(15) + b"\1", bytes(10) + b"\xff\xff\x7f\0\0\1"))
    elif kind in (CNAME, NS):
        data = _name(random, oddity)
    elif kind == SOA:
        data = _name(random, oddity) + _name(random, oddity) + struct.pack("!5L", 1, 2, 3, 4, random.choice(TTLS))
    else:
        data = random.choice((b"", random.randbytes(random.randrange(30)), b"\0\x0a" + _name(random, oddity)))
    length = len(data)
    if oddity.left and random.randrange(16) == 0:
        oddity.left -= 1
        length = random.choice((0, 1, length + 1, max(0, length - 1), 0xFFFF))
    cls = 1 if random.randrange(20) else random.choice((3, 255, 0))
    return _name(random, oddity) + struct.pack("!2HLH", kind, cls, random.choice(TTLS), length) + data


def _name(random: Random, oddity: Oddity) -> bytes:
    if random.randrange(3) == 0:
        return b"\xc0\x0c"
    labels = random.choice(NAMES).split(b".")
    if oddity.left and random.randrange(16) == 0:
        oddity.left -= 1
        labels.append(random.choice((b"a.b", b"\xff\0", b"x" * 63, b"")))
    wire = b"".join(bytes((len(label),)) + label for label in labels if label)
    return wire + oddity.one(
        (b"\0", b"\0", b"\0", b"\xc0\x10"), (b"\xc0\x0c", b"\xc0\xff", b"\xc0\x1d", b"\xff\xff", b"\x40", b"\x80", b"")
    )


# ---------------------------------------------------------------- one reply


def reply_reading(data: bytes) -> Reading:
    """What is made of one message, in the form that the fuzzer looks at."""
    if not is_reply(data, ID, question(NAME, A)):
        return Reading(error=RequestError("no reply"))
    try:
        told = read_reply(data, NAME, A)
    except Malformed as error:
        return Reading(error=RequestError(str(error)))
    return Reading(closed=f"{told.code} {len(told.addresses)} {told.aliases} {told.truncated} {told.ttl == UNTOLD}")


def check_reply(data: bytes, random: Random) -> None:
    """Raises `AssertionError` when

    * a message is taken for a reply, or not, that is the contrary by its header and question, read here;
    * anything but `Malformed` comes out, more than the bounds allow, or reading it takes too many calls;
    * of a reply that is right by the letter the addresses, aliases or times are others than those found here, which
      come from the records that the question leads to, and from no others.
    """
    asked = question(NAME, A)
    taken = is_reply(data, ID, asked)
    assert taken == _is_reply(data)
    if not taken:
        return
    calls = _Calls()
    try:
        told = calls.run(data)
    except Malformed:
        told = None
    assert calls.count <= MOST_CALLS
    if told is None:
        return
    assert len(told.addresses) <= MOST_ADDRESSES // 2
    assert UNTOLD <= told.ttl <= 0x7FFFFFFF
    assert told.aliases <= MOST_ALIASES
    assert all(bytes(map(int, one.address.split("."))) in data for one in told.addresses)
    expected = None if told.truncated else _told(data)
    if expected is not None:
        found = (tuple(one.address for one in told.addresses), told.name, told.aliases)
        assert found == expected[:3]
        assert not told.addresses or told.ttl == expected[3]


class _Calls:
    """Counts the calls of any function while a reply is read."""

    def __init__(self) -> None:
        self.count = 0

    def run(self, data: bytes) -> Reply:
        before = sys.getprofile()
        sys.setprofile(self._note)
        try:
            return read_reply(data, NAME, A)
        finally:
            sys.setprofile(before)

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        self.count += event.endswith("call")
        if self.count > MOST_CALLS:
            sys.setprofile(None)


def _is_reply(data: bytes) -> bool:
    if len(data) < 12:
        return False
    id, bits, questions = struct.unpack_from("!3H", data)
    labels, at = [], 12
    while at < len(data) and 0 < data[at] < 64:
        labels.append(data[at + 1 : at + 1 + data[at]].lower())
        at += 1 + data[at]
    ends_well = data[at : at + 5] == b"\0\0\1\0\1"
    return (id, bits >> 11, questions, labels) == (ID, 0b10000, 1, [b"www", b"example"]) and ends_well


class _Record(NamedTuple):
    owner: str
    kind: int
    cls: int
    ttl: int
    data: bytes
    target: str


def _told(data: bytes) -> tuple[tuple[str, ...], str, int, int] | None:
    """Addresses, where aliases led, their number, and the time to live; None when something is not by the letter."""
    code, answers = data[3] & 15, struct.unpack_from("!H", data, 6)[0]
    if code not in (0, NXDOMAIN):
        return None
    records = []
    at = 12 + len(question(NAME, A))
    for number in range(sum(struct.unpack_from("!3H", data, 6))):
        read = _read_record(data, at)
        if read is None:
            return None
        record, at = read
        if number < answers and record.cls == 1:
            records.append(record)
    name, times, aliases = NAME, [0x7FFFFFFF], 0
    while True:
        here = [one for one in records if one.owner == name]
        addresses = {one.data: one.ttl for one in reversed(here) if one.kind == A}
        others = [one for one in here if one.kind == CNAME]
        if (addresses and code == 0) or not others:
            break
        name, aliases = others[0].target, aliases + 1
        times.append(others[0].ttl)
        assert aliases <= MOST_ALIASES, "more should have been refused"
    first = [*dict.fromkeys(one.data for one in here if one.kind == A)][: MOST_ADDRESSES // 2] if code == 0 else []
    ttl = min(*times, *(addresses[one] for one in first), 0x7FFFFFFF)
    return tuple(".".join(map(str, one)) for one in first), name, aliases, ttl


def _read_record(data: bytes, at: int) -> tuple[_Record, int] | None:
    owner, at = _read_name(data, at)
    if at < 0 or at + 10 > len(data):
        return None
    kind, cls, ttl, length = struct.unpack_from("!2HLH", data, at)
    at += 10
    end = at + length
    if end > len(data):
        return None
    target = ""
    if kind in (CNAME, NS):
        target, after = _read_name(data, at)
        at = after
    elif kind == SOA:
        _, at = _read_name(data, at)
        _, at = _read_name(data, at) if at > 0 else ("", -1)
        at = at + 20 if at > 0 else at
    elif kind in (A, AAAA):
        at += 4 if kind == A else 16
    elif kind in (OPT, 65280):
        at = end
    else:
        return None
    if at != end:
        return None
    return _Record(owner, kind, cls, ttl if ttl < 1 << 31 else 0, data[end - length : end], target), end


def _read_name(data: bytes, at: int) -> tuple[str, int]:
    """The name, in lower case, and where it ends; -1 when it is none, or points forward."""
    labels: list[bytes] = []
    end = 0
    while at < len(data):
        size = data[at]
        if size == 0:
            name = b".".join(labels)
            text = name.lower().decode("ascii", "backslashreplace")
            return text, (end or at + 1) if len(name) < 254 else -1
        if size < 64:
            labels.append(data[at + 1 : at + 1 + size])
            at += 1 + size
        elif size >= 192 and at + 1 < len(data):
            target = (size & 63) << 8 | data[at + 1]
            end = end or at + 2
            if target >= at:
                break
            at = target
        else:
            break
    return "", -1


# ---------------------------------------------------------------- a connection

# The ids of the questions there are 1, 2 and so on; the first reply lets one more be asked, and one be given up.
_QUESTIONS = ("www.example", "b.example", "www.example", "c.example")
_ONE_MORE = "more.example"


def connection(random: Random) -> bytes:
    """What a server sends over TCP."""
    sent = []
    for _ in range(random.choice((1, 2, 4, 6, 40))):
        id = random.choice((1, 2, 3, 4, 4, 5, 6))
        name = [*_QUESTIONS, _ONE_MORE, "www.example"][id - 1]
        message = (
            reply(random, 1, id, name) if random.randrange(8) else random.choice((b"", b"\0", bytes(12), b"x" * 40))
        )
        length = (
            len(message) if random.randrange(40) else random.choice((0, 1, LARGEST_REPLY, LARGEST_REPLY + 1, 0xFFFF))
        )
        sent.append(struct.pack("!H", length) + message)
    return b"".join(sent)


class _Numbers:
    """Ids one after the other, so that a server knows them."""

    def __init__(self) -> None:
        self._last = 0

    def randbits(self, bits: int) -> int:
        self._last += 1
        return self._last


class _Network:
    """A reactor that connects at once, and its connections."""

    def __init__(self) -> None:
        self.made: list[tuple[Any, StringTransport]] = []

    def connectTCP(self, address: str, port: int, factory: Any, timeout: float) -> None:
        transport = StringTransport()
        protocol = factory.buildProtocol(None)
        self.made.append((protocol, transport))
        protocol.makeConnection(transport)


class _Told(NamedTuple):
    id: int
    question: bytes
    data: bytes | None
    why: str


def read_stream(received: Iterable[bytes]) -> tuple[list[_Told], int]:
    """What those who ask over one connection are told until it ends, and how many connections there were."""
    network = _Network()
    told: list[_Told] = []
    asked: dict[int, stream.StreamQuestion] = {}
    server = stream.Stream(network, NameServerAddress("192.0.2.53", 53), Deadlines(Clock()))

    def ask(name: str) -> None:
        def replied(data: bytes | None, why: str) -> None:
            told.append(_Told(one.id, one.question, data, why))
            if len(told) == 1 and data is not None:
                asked[2].cancel()
                ask(_ONE_MORE)

        one = server.ask(question(name, A), replied)
        asked[one.id] = one

    with patch.object(stream, "secrets", _Numbers()):
        for name in _QUESTIONS:
            ask(name)
        # All of them wait for one connection.
        [(protocol, transport)] = network.made
        for piece in received:
            if transport.disconnected:
                break
            protocol.dataReceived(piece)
            assert len(protocol._unprocessed) <= LARGEST_REPLY + 2 or transport.disconnected
        for one, _ in network.made:
            one.connectionLost(Failure(ConnectionDone()))
    server.close()
    return told, len(network.made)


def stream_reading(data: bytes) -> Reading:
    """That, in the form that the fuzzer looks at."""
    told, connections = read_stream([data])
    return Reading(closed=f"{connections} {[(one.id, one.why) for one in told]}")


def check_stream(data: bytes, random: Random) -> None:
    """Raises `AssertionError` when

    * anything comes out as an exception, or it depends on how the bytes were split;
    * somebody is told twice, never, or after giving up;
    * a reply is given to a question that it is not to.
    """
    told, connections = read_stream([data] if data else [])
    for received in (octets(data), pieces(data, cuts(random, len(data)))):
        assert read_stream(received) == (told, connections)
    ids = [one.id for one in told]
    expected = {1, 2, 3, 4}
    if told[0].data is not None:
        expected = {1, 3, 4, 5} if told[0].id != 2 else {1, 2, 3, 4, 5}
    assert sorted(ids) == sorted(expected)
    assert connections <= 2
    for one in told:
        assert (one.data is None) == bool(one.why)
        if one.data is not None:
            assert len(one.data) <= LARGEST_REPLY
            assert is_reply(one.data, one.id, one.question)
            assert one.data[:2] == struct.pack("!H", one.id)
            assert struct.pack("!H", len(one.data)) + one.data in data
