"""What a parent might say before it has opened the way, and what holds for all of it (see `check_parent`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import NamedTuple

from tests.fuzz.messages import Oddity, cuts
from tests.fuzz.reading import SMALL, Reading, octets, pieces
from twistedproxy.errors import ProxyError
from twistedproxy.routes.http_connect import HTTPConnect
from twistedproxy.routes.socks5 import SOCKS5
from twistedproxy.upstream.negotiating import Negotiation

SECRET = b"s3cret"

STATUSES = (b"200", b"200", b"200", b"204", b"299", b"100", b"103", b"403", b"407", b"451", b"502", b"503")
ODD_STATUSES = (b"101", b"000", b"99", b"2000", b"600", b"-1", b"", b"\xb2\xb2\xb2")
VERSIONS = (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0")
ODD_VERSIONS = (b"HTTP/2.0", b"HTTP/1.10", b"http/1.1", b"ICY", b"HTTP/1.1\0", b"\5\0", b"SSH-2.0")
LINES = (
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Proxy-Agent: x\r\n", b"Connection: close\r\n"),
    *(b"Proxy-Authenticate: Basic realm=x\r\n", b"Via: 1.1 x\r\n", b"Upgrade: h2c\r\n"),
)
ODD_LINES = (
    *(b"Content-Length: 1, 2\r\n", b" folded\r\n", b"A : b\r\n", b"A\r\n", b": b\r\n", b"A: \0\r\n", b"A: b\n"),
    *(b"A: " + b"b" * 600 + b"\r\n", b"A: b\r\n" * 13),
)
RESTS = (b"", b"", b"\x16\3\1", b"HTTP/1.1 200 OK\r\n\r\n", b"220 mail\r\n", b"\5\0\0\1", b"\r\n")

HTTP_SPLICES = (
    *(b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b" ", b":", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 100 x\r\n\r\n"),
    *(b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"407", b"\xff"),
)
SOCKS_SPLICES = (
    *(b"\0", b"\1", b"\2", b"\3", b"\4", b"\5", b"\x08", b"\xff", b"\5\0", b"\5\2", b"\5\xff", b"\1\0", b"\1\1"),
    *(b"\5\0\0\1\0\0\0\0\0\0", b"\5\0\0\3\1a\0\0", b"\5\0\0\4" + bytes(18), b"\5\5\0\1", b"HTTP/1.1"),
)


# ---------------------------------------------------------------- what it might say


def answers(random: Random) -> bytes:
    """Answers to CONNECT: interim ones, and one that ends it."""
    oddity = Oddity(random, random.choice((0, 1, 2)))
    said = b""
    for _ in range(random.choice((1, 1, 1, 2, 3, 25))):
        status = b"%b %b %b\r\n" % (
            oddity.one(VERSIONS, ODD_VERSIONS),
            oddity.one(STATUSES, ODD_STATUSES),
            random.choice((b"OK", b"", b"Connection established", b"\xe9\t")),
        )
        lines = [oddity.one(LINES, ODD_LINES) for _ in range(random.choice((0, 0, 1, 2, 3)))]
        said += status + b"".join(lines) + oddity.one((b"\r\n",), (b"\n", b"", b"\r\n\r\n"))
    return said + random.choice(RESTS)


def words(random: Random) -> bytes:
    """A SOCKS proxy's side of the conversation."""
    oddity = Oddity(random, random.choice((0, 1, 2)))
    said = oddity.one((b"\5\0", b"\5\2"), (b"\5\xff", b"\5\1", b"\4\0", b"\5", b"H"))
    if said == b"\5\2":
        said += oddity.one((b"\1\0",), (b"\1\1", b"\5\0", b"\1", b"\1\xff"))
    kinds = (b"\1\xc0\0\2\1", b"\4" + bytes(16), b"\3\1a", b"\3\0", b"\3\xff" + b"a" * 255)
    reply = oddity.one((b"\0",), (b"\1", b"\2", b"\5", b"\x08", b"\x09", b"\xff"))
    return (
        said
        + oddity.one((b"\5",), (b"\4", b"\0", b""))
        + reply
        + oddity.one((b"\0",), (b"\1", b"\xff"))
        + oddity.one(kinds, (b"\0", b"\2\1", b"\3", b"\5aaaaa", b"\xff"))
        + oddity.one((b"\0\x50",), (b"\0", b""))
        + random.choice(RESTS)
    )


def http_connect() -> Negotiation:
    """One that asks by CONNECT."""
    return HTTPConnect(b"origin.test:443", b"us", b"Basic " + SECRET, SMALL)


def socks() -> Negotiation:
    """One that asks by SOCKS."""
    return SOCKS5("origin.test", 443, b"me", SECRET)


# ---------------------------------------------------------------- what comes of it


class Outcome(NamedTuple):
    """How many bytes were the parent's, what was said to it, whether the way is open, and what went wrong."""

    taken: int
    said: bytes
    done: bool
    error: tuple[type[ProxyError], str, int] | None


def outcome(make: Callable[[], Negotiation], received: Iterable[bytes]) -> Outcome:
    """What comes of bytes that are received in these pieces; what is not taken is looked at again with the next."""
    negotiation = make()
    said = negotiation.begin()
    taken, waiting = 0, b""
    for piece in received:
        waiting += piece
        # As a socket tells of what is in it, until nothing more is taken.
        while waiting and not negotiation.done:
            try:
                used, more = negotiation.take(waiting)
            except ProxyError as error:
                return Outcome(taken, said, negotiation.done, (type(error), error.detail, error.status))
            assert 0 < used <= len(waiting)
            taken, waiting, said = taken + used, waiting[used:], said + more
    return Outcome(taken, said, negotiation.done, None)


def parent_reading(make: Callable[[], Negotiation], data: bytes) -> Reading:
    """What is made of it, in the form that the fuzzer looks at."""
    whole = outcome(make, [data])
    error = whole.error[0](whole.error[1]) if whole.error is not None else None
    return Reading(error=error, consumed=whole.taken, closed=f"{whole.done} {len(whole.said)}")


def check_parent(make: Callable[[], Negotiation], data: bytes, random: Random) -> None:
    """Raises `AssertionError` when

    * anything but a `ProxyError` comes out, or its text has the password or what is no text;
    * it matters how the bytes were cut;
    * it is done, and bytes were taken that are not needed for that, or it goes on without them;
    * it matters what comes after the parent's last word, or that is somewhere else than it is measured to be here.
    """
    whole = outcome(make, [data])
    for received in (octets(data), pieces(data, cuts(random, len(data)))):
        cut = outcome(make, received)
        # How many bytes it took to see what is wrong depends on the pieces.
        assert cut[1:] == whole[1:]
        assert whole.error is not None or cut.taken == whole.taken
    if whole.error is not None:
        assert not whole.done
        assert SECRET.decode() not in whole.error[1]
        assert whole.error[1].isprintable()
        assert 400 <= whole.error[2] < 600
    elif whole.done:
        assert whole.taken == _length(make, data)
        assert outcome(make, [data[: whole.taken]]) == whole
        assert not outcome(make, [data[: whole.taken - 1]]).done
        assert outcome(make, [data[: whole.taken] + random.randbytes(9)]) == whole
    else:
        assert whole.taken == len(data)


def _length(make: Callable[[], Negotiation], data: bytes) -> int:
    """Where the way begins in ``data``, by which it is opened."""
    if make is http_connect:
        start = 0
        while True:
            end = data.index(b"\r\n\r\n", start) + 4
            if data[start + 9 : start + 10] != b"1":
                return end
            start = end
    start = 4 if data[1] == 2 else 2
    kind, rest = data[start + 3], data[start + 4 :]
    return start + 4 + {1: 4, 3: 1 + rest[0], 4: 16}[kind] + 2
