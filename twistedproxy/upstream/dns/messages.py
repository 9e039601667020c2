"""Questions for name servers, and what their replies say (RFC 1035), in the codec of ``twisted.names``.

Theory of operation. A question has one name, type and class, and asks for recursion. A reply is taken for one only if
its id, its bits and its question are right (RFC 5452 section 9.1), which is seen before anything in it is decoded. Of
its records those count that the question leads to: aliases (CNAME) from the name that was asked for, one by one, and
the addresses at their end. Whatever else a reply says, and of whichever names, is not looked at.
"""

from __future__ import annotations

import socket
import struct
from io import BytesIO
from typing import Final, NamedTuple

from twisted.names import dns

from twistedproxy.upstream.answers import MOST_ADDRESSES
from twistedproxy.upstream.literals import ResolvedAddress, canonical

A: Final = dns.A
AAAA: Final = dns.AAAA

LARGEST_REPLY: Final = 4096
"""Bytes; addresses and their aliases never need as many, and decoding costs by the record."""

MOST_ALIASES: Final = 16
"""How many aliases lead from a name to its addresses at most."""

CODES: Final = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
"""What the codes of replies are called."""

OK: Final = 0
SERVFAIL: Final = 2
NXDOMAIN: Final = 3

_MOST_SECONDS: Final = 0x7FFFFFFF

UNTOLD: Final = -1
"""The time to live of what a reply does not tell one of."""

_HEADER: Final = struct.Struct("!6H")
_RESPONSE: Final = 0x8000
_OPCODE: Final = 0x7800
_TRUNCATED: Final = 0x0200
_RECURSION_DESIRED: Final = 0x0100
_RECURSION_AVAILABLE: Final = 0x0080
_AUTHORITATIVE: Final = 0x0400
_CODE: Final = 0x000F
_MOST_READS: Final = 1 << 14
"""How often something is read of one reply: a label, its length, a header; ten milliseconds for all."""

_LONGEST_NAME: Final = 255
_LONGEST_LABEL: Final = 63
_SIZES: Final = {A: 4, AAAA: 16}


class Malformed(ValueError):
    """The reply cannot be understood."""


class Reply(NamedTuple):
    """What a reply says.

    ``code`` is the RCODE. ``addresses`` hold for ``ttl`` seconds, the least of all records on the way to them; without
    any, ``ttl`` is how long that may be remembered (RFC 2308), or `UNTOLD`. ``name`` is where the aliases led, in lower
    case, ``aliases`` is their number, and ``alias_ttl`` how long they hold. A ``truncated`` one has to be asked for
    again by TCP. ``is_referral`` is one of a server that only says whom else to ask.
    """

    code: int
    truncated: bool = False
    addresses: tuple[ResolvedAddress, ...] = ()
    ttl: int = UNTOLD
    name: str = ""
    aliases: int = 0
    alias_ttl: int = _MOST_SECONDS
    is_referral: bool = False


def question(name: str, type: int) -> bytes:
    """The question for ``name``, which is ASCII and may end with a dot. ValueError when that can be no name."""
    parts = []
    for label in name.removesuffix(".").split("."):
        encoded = label.encode("ascii")
        if not 1 <= len(encoded) <= _LONGEST_LABEL:
            raise ValueError(f"a label of {len(encoded)} bytes")
        parts.append(bytes((len(encoded),)) + encoded)
    wire = b"".join(parts) + b"\0"
    if len(wire) > _LONGEST_NAME:
        raise ValueError(f"a name of {len(wire)} bytes")
    return wire + struct.pack("!2H", type, dns.IN)


def query(id: int, question: bytes) -> bytes:
    """The message that asks ``question``."""
    return _HEADER.pack(id, _RECURSION_DESIRED, 1, 0, 0, 0) + question


def is_reply(data: bytes, id: int, question: bytes) -> bool:
    """Whether ``data`` is a reply to that very message. Servers may change the case of letters."""
    if len(data) < _HEADER.size + len(question):
        return False
    its_id, bits, questions, _, _, _ = _HEADER.unpack_from(data)
    if its_id != id or not bits & _RESPONSE or bits & _OPCODE or questions != 1:
        return False
    # Lengths of labels are no letters, nor are the types and the class.
    return data[_HEADER.size : _HEADER.size + len(question)].lower() == question.lower()


def read_reply(data: bytes, name: str, type: int) -> Reply:
    """What a reply to the question for ``name``, in lower case, says. Raises `Malformed`."""
    bits = _HEADER.unpack_from(data)[1]
    code = bits & _CODE
    if bits & _TRUNCATED:
        return Reply(code, truncated=True, name=name)
    if code not in (OK, NXDOMAIN):
        return Reply(code, name=name)
    if len(data) > LARGEST_REPLY:
        raise Malformed(f"more than {LARGEST_REPLY} bytes")
    message = dns.Message()
    try:
        message.decode(_Bounded(data))
        reply = _follow(message, code, name, type)
    except Malformed:
        raise
    except (ValueError, EOFError, LookupError, struct.error, OSError) as error:
        raise Malformed(f"{error.__class__.__name__}: {error}") from None
    answers_nothing = code == OK and not reply.addresses and not reply.aliases and reply.ttl == UNTOLD
    if answers_nothing and not bits & (_AUTHORITATIVE | _RECURSION_AVAILABLE):
        return reply._replace(is_referral=True)
    return reply


class _Bounded(BytesIO):
    """Lets only so much be read: by pointing back, every record can have the same long name decoded again."""

    _reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > _MOST_READS:
            raise Malformed("it takes too long to read")
        return super().read(size)


def _follow(message: dns.Message, code: int, name: str, type: int) -> Reply:
    """Go from alias to alias, and take the addresses at the end."""
    aliases: dict[bytes, tuple[bytes, int]] = {}
    addresses: dict[bytes, dict[ResolvedAddress, int]] = {}
    for header in message.answers:
        if header.cls != dns.IN:
            continue
        owner, ttl = header.name.name.lower(), _seconds(header.ttl)
        record = header.payload
        if isinstance(record, dns.Record_CNAME):
            aliases.setdefault(owner, (record.name.name.lower(), ttl))
        elif isinstance(record, dns.Record_A | dns.Record_AAAA) and header.type == type:
            if header.rdlength != _SIZES[type]:
                raise Malformed(f"an address of {header.rdlength} bytes")
            addresses.setdefault(owner, {}).setdefault(_address(record.address, type), ttl)
    at = name.removesuffix(".").encode("ascii")
    least = _MOST_SECONDS
    count = 0
    while at in aliases and (code == NXDOMAIN or at not in addresses):
        at, ttl = aliases[at]
        least = min(least, ttl)
        count += 1
        if count > MOST_ALIASES:
            raise Malformed(f"more than {MOST_ALIASES} aliases")
    end = at.decode("ascii", "backslashreplace")
    found = addresses.get(at, {}) if code == OK else {}
    if found:
        # Both families together come to what is tried at most.
        some = dict(list(found.items())[: MOST_ADDRESSES // 2])
        return Reply(code, False, tuple(some), min(least, *some.values()), end, count, least)
    return Reply(code, False, (), _negative_ttl(message, at, least), end, count, least)


def _negative_ttl(message: dns.Message, name: bytes, least: int) -> int:
    """How long it may be remembered that there is nothing at ``name`` (RFC 2308 section 5)."""
    for header in message.authority:
        record, zone = header.payload, header.name.name.lower()
        if not isinstance(record, dns.Record_SOA) or header.cls != dns.IN:
            continue
        if not zone or name == zone or name.endswith(b"." + zone):
            return min(least, _seconds(header.ttl), _seconds(record.minimum))
    return UNTOLD


def _seconds(ttl: int) -> int:
    """RFC 2181 section 8: one with the highest bit is none."""
    return ttl if ttl <= _MOST_SECONDS else 0


def _address(packed: bytes, type: int) -> ResolvedAddress:
    family = socket.AF_INET if type == A else socket.AF_INET6
    return canonical(socket.inet_ntop(family, packed), family)
