"""What one side of a connection might send, valid and not."""

from __future__ import annotations

from random import Random

from hpack import Encoder, NeverIndexedHeaderTuple

from tests.http2.peers import GET, OK, POST, frame, hello, octets
from twistedproxy.http2.frames import FrameReader
from twistedproxy.http2.session import PREFACE


def conversation(random: Random, to_client: bool) -> bytes:
    """A valid beginning of a connection: what a client sends, or a server to a client that has made four requests."""
    encoder = Encoder()
    result = [b"" if to_client else PREFACE, hello([(4, random.choice([0, 1000, 1 << 20])), (3, 50), (77, 1)])]
    open_ones = [1, 3, 5, 7] if to_client else []
    began = set[int]()
    number = 1
    for _ in range(random.randint(1, 14)):
        kind = random.random()
        if kind < 0.3 and not to_client:
            ended = random.random() < 0.4
            result += _block(random, number, encoder.encode(GET if ended else _head(random)), ended)
            if not ended:
                open_ones.append(number)
                began.add(number)
            number += 2
        elif kind < 0.75 and open_ones:
            one = random.choice(open_ones)
            if to_client and one not in began:
                began.add(one)
                result += _block(random, one, encoder.encode([*OK, (b"a", random.randbytes(4).hex().encode())]), False)
                continue
            what = random.randrange(6)
            if what < 3:
                pad = random.randrange(3)
                content = random.randbytes(random.randrange(30))
                payload = bytes([pad]) + content + bytes(pad) if pad else content
                result.append(octets(0, (8 if pad else 0) | (what == 0), one, payload))
            elif what == 3:
                result += _block(random, one, encoder.encode([(b"trailer", b"x")]), True)
            elif what == 4:
                result.append(octets(3, 0, one, (8).to_bytes(4, "big")))
            else:
                result.append(octets(8, 0, one, random.randint(1, 1000).to_bytes(4, "big")))
            if what in (0, 3, 4):
                open_ones.remove(one)
        else:
            result.append(
                random.choice(
                    [
                        octets(6, 0, 0, random.randbytes(8)),
                        octets(4, 1, 0),
                        hello([(1, random.choice([0, 100, 1 << 20])), (5, 16384)]),
                        octets(8, 0, 0, b"\0\0\1\0"),
                        octets(2, 0, 1, bytes(5)),
                        octets(7, 0, 0, bytes(8) + b"bye"),
                        octets(200, 0, 0, b"unknown"),
                    ]
                )
            )
    return b"".join(result)


def _head(random: Random) -> list[tuple[bytes, bytes]]:
    more = [
        (b"accept", b"x"),
        (b"cookie", b"a=b"),
        (b"content-length", b"5"),
        NeverIndexedHeaderTuple(b"authorization", b"x"),
    ]
    return [*POST, *random.sample(more, random.randrange(len(more)))]


def _block(random: Random, number: int, block: bytes, ended: bool) -> list[bytes]:
    if random.random() < 0.7:
        return [octets(1, 4 | ended, number, block)]
    cut = random.randint(0, len(block))
    return [octets(1, int(ended), number, block[:cut]), octets(9, 4, number, block[cut:])]


def mutated(random: Random, data: bytes) -> bytes:
    """The same with some mistakes: in bytes, or in whole frames."""
    start = len(PREFACE) if data.startswith(PREFACE) else 0
    reader = FrameReader(1 << 24)
    reader.receive(data[start:])
    found = []
    while (one := reader.next_frame()) is not None:
        found.append(one)
    for _ in range(random.randint(1, 3)):
        if not found:
            break
        place = random.randrange(len(found)) if random.random() < 0.2 else random.randrange(len(found) // 2, len(found))
        one = found[place]
        what = random.randrange(8)
        if what == 0:
            found[place] = frame(random.randrange(12), one.flags, one.stream, one.octets[9:])
        elif what == 1:
            found[place] = frame(one.kind, one.flags ^ (1 << random.randrange(8)), one.stream, one.octets[9:])
        elif what == 2:
            found[place] = frame(one.kind, one.flags, random.choice([0, 1, 2, 3, 5, 7, 9, 2**31 - 1]), one.octets[9:])
        elif what == 3:
            found[place] = frame(one.kind, one.flags, one.stream, one.octets[9 : random.randint(9, len(one.octets))])
        elif what == 4:
            found.insert(random.randrange(len(found) + 1), one)
        elif what == 5:
            del found[place]
            found = found or [one]
        else:
            octets_of = bytearray(one.octets)
            octets_of[random.randrange(len(octets_of)) if what == 6 else random.randrange(9)] ^= 1 << random.randrange(
                8
            )
            found[place] = one._replace(octets=bytes(octets_of))
    return data[:start] + b"".join(one.octets for one in found)
